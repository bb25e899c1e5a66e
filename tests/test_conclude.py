"""What an audit concludes: the bound over all pairs, ranks among null models, and what could not be used."""

import dataclasses
import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import audit_worker as worker
import jax
import numpy as np
import pytest

from wmjax import stats
from wmjax.errors import InvalidFile
from wmjax.keys import Commitment, Input, Spec
from wmjax.keys.specify import default_rule
from wmjax.zoo.chunk_record import ChunkRecord
from wmjax.zoo.conclude import conclude_audit
from wmjax.zoo.grounds import Basis
from wmjax.zoo.header import AuditHeader
from wmjax.zoo.merge import merge
from wmjax.zoo.plan import make_plan
from wmjax.zoo.records import Unreadable, Zoo
from wmjax.zoo.result import INCONCLUSIVE, MATCH, NO_MATCH, OUTCOMES, AuditResult
from wmjax.zoo.scope import Asked, AskedFamily, Level
from wmjax.zoo.score import Scorer


def header(bits: np.ndarray, alphas: list[float], level: Level, tests: int) -> AuditHeader:
    """What the journal of an audit with such evidence begins with; one chunk."""
    spec = Spec("abstract", Input("image", (8, 8, 1)), 10, 50, "random")
    commitments = [
        Commitment(spec, default_rule(spec, alpha), f"{k:064x}", "2026-01-01T00:00:00+00:00")
        for k, alpha in enumerate(alphas)
    ]
    return AuditHeader(
        models=tuple(f"m{i}" for i in range(len(bits))),
        nulls=0,
        weights="",
        keys=tuple(Asked(f"k{k}", commitment) for k, commitment in enumerate(commitments)),
        family=(0,) * len(bits),
        families=(AskedFamily("net", "f", (8, 8, 1), 10, ("",), ""),),
        level=level,
        tests=tests,
        chunks=(len(bits),),
        unreadable=(),
        keep_answers=False,
        others={},
        spent=((),) * len(commitments),
    )


def record(bits: np.ndarray, outcomes: np.ndarray) -> ChunkRecord:
    """A chunk's record with such evidence and, so far, such outcomes."""
    n, k = bits.shape
    return dataclasses.replace(
        ChunkRecord.unasked(0, "f", np.arange(n), {}),
        width=1,
        keys=tuple(range(k)),
        outcomes=outcomes,
        bits=bits,
        queries=np.full((n, k), 20),
        matches=np.full((n, k), 5),
        readings=np.zeros((n, k), np.int32),
        seconds=1.5,
    )


@pytest.mark.parametrize("name", ["fdr", "fwer"])
def test_a_match_needs_its_own_alpha_and_the_bound(name: str) -> None:
    """Against the procedures written out: e-BH with the largest k, and one threshold for all."""
    rng = np.random.default_rng(2)
    alphas, tests, level = [2.0**-12, 2.0**-4], 40, Level(name, 0.1)
    lost = 0
    for _ in range(60):
        bits = rng.uniform(-5, 16, (5, 2))
        before = np.where(bits >= 8, MATCH, np.where(bits < 0, NO_MATCH, INCONCLUSIVE))
        result = conclude_audit(header(bits, alphas, level, tests), [record(bits, before)], Basis.ASKED)
        ranked = sorted(bits[bits >= [12.0, 4.0]], reverse=True)  # short of its own alpha is no evidence
        held = [k for k, weakest in enumerate(ranked, 1) if 2**weakest >= tests / (k * level.value)]
        rejected = max(held, default=0) if name == "fdr" else sum(2**b >= tests / level.value for b in ranked)
        for i, k in np.ndindex(bits.shape):
            bound = bits[i, k] in ranked[:rejected]
            match = bound and bits[i, k] >= -np.log2(alphas[k])
            expected = MATCH if match else INCONCLUSIVE if before[i, k] == MATCH else before[i, k]
            assert result.outcomes[i, k] == expected
            lost += before[i, k] == MATCH != expected
        found = max(1, int(np.sum(result.outcomes == MATCH))) if name == "fdr" else 1
        assert result.match_bits == pytest.approx(max(4.0, np.log2(tests / (level.value * found))))
        assert result.procedure == {"fdr": "e-bh", "fwer": "bonferroni"}[name]
        assert len(result.grounds) == np.sum(result.outcomes == MATCH)
        bounds = [grounds[-1].to_json() for grounds in result.grounds.values()]
        assert all(ground == {"code": result.procedure, "level": 0.1, "tests": tests} for ground in bounds)
    assert lost > 50


def test_weak_evidence_of_a_strict_key_makes_no_room_for_false_discoveries() -> None:
    """Keys of alpha 1e-12 and 1e-3: true pairs short of the first one's alpha must not lower the second one's bar."""
    rng = np.random.default_rng(3)
    level, shares = Level("fdr", 0.1), []
    for _ in range(300):
        null = np.where(rng.random(300) < 2.0**-10, 10.0, -np.inf)  # an exact e-value
        bits = np.stack([np.full(300, 30.0), null], axis=1)
        bits[200:, 0] = 45.0
        result = conclude_audit(
            header(bits, [1e-12, 1e-3], level, 600), [record(bits, np.full(bits.shape, INCONCLUSIVE))], Basis.ASKED
        )
        found = result.outcomes == MATCH
        assert found[200:, 0].all()
        shares.append(found[:, 1].sum() / found.sum())
    assert np.mean(shares) <= 0.1
    assert not found[:200, 0].any()


def test_tests_are_those_of_the_plan() -> None:
    keys = worker.keys((20, 16)) | {"fixed": worker.keys((8,), labels="fixed")["k0"]}
    zoo = worker.zoo(np.zeros((3, 44, 10), np.float32))
    other = worker.zoo(np.zeros((2, 44, 4), np.float32), "other")  # of other classes: no key applies
    both = Zoo([*zoo.entries, *other.entries], [])
    level = Level("fdr", 0.01)
    assert make_plan(both, keys, level, 1 << 40).tests == 3 * 2
    assert make_plan(both, keys, level, 1 << 40, zoo.entries).tests == 3 * 3


@pytest.fixture(scope="module")
def fixed() -> Callable[..., AuditResult]:
    """An audit of three models and two keys with fixed labels, with and without innocent models."""
    keys = worker.keys((30, 24), alpha=0.1, labels="fixed")
    logits = worker.tables(keys, np.array([[1.0, 0.0], [0.5, 0.9], [0.0, 0.0]]))
    innocent = worker.zoo(worker.tables(keys, np.zeros((255, 2)), seed=9), "null")
    broken = np.full((1, 54, 10), worker.NAN)
    innocent.entries.extend(worker.zoo(broken, "broken").entries)
    innocent.unreadable.append(Unreadable("x.pt", "a pickle"))

    def run(*, nulls: bool, alpha: float = 0.1, **options: Any) -> AuditResult:
        keys = worker.keys((30, 24), alpha=alpha, labels="fixed")
        return worker.audited(worker.zoo(logits), keys, nulls=innocent if nulls else None, **options)

    return run


def test_fixed_labels_are_ranked_among_null_models(fixed: Callable[..., AuditResult]) -> None:
    keys = worker.keys((30, 24), alpha=0.1, labels="fixed")
    nulls = worker.tables(keys, np.zeros((255, 2)), seed=9).argmax(axis=-1)
    counts = [
        np.sum(nulls[:, rows] == key.labels, axis=1)
        for key, rows in zip(keys.values(), (slice(30), slice(30, 54)), strict=True)
    ]
    result = fixed(nulls=True, fwer=0.9)
    assert np.isnan(result.bits).all()
    assert result.curves == {}
    assert (result.queries == [30, 24]).all()
    for i, k in np.ndindex(3, 2):
        p = stats.calibrated_p(int(result.matches[i, k]), counts[k])
        match = p <= 0.1  # worth 10, and the bound over 6 pairs needs 6.7
        assert (result.outcomes[i, k] == MATCH) == match
        if match:
            ranked = next(ground.values for ground in result.grounds[i, k] if ground.code == "ranked")
            assert (ranked["p"], ranked["nulls"]) == (p, 255)
    found = {(finding.model, finding.key) for finding in result if finding.verdict == "match"}
    assert found == {("m000", "k0"), ("m001", "k0"), ("m001", "k1")}
    assert all(pair["evidence_bits"] is None for pair in result.pairs("match"))
    json.dumps(result.to_json(), allow_nan=False)
    assert result.models == ["m000", "m001", "m002"]
    assert [path for path, _ in worker.unreadable(result)] == ["nulls/x.pt", "broken000"]


def test_fixed_labels_need_their_own_alpha(fixed: Callable[..., AuditResult]) -> None:
    result = fixed(nulls=True, fwer=0.9, alpha=0.003)  # 255 null models support no smaller p than 1/256
    assert not result.pairs("match")


def test_fixed_labels_without_null_models_never_match(fixed: Callable[..., AuditResult]) -> None:
    result = fixed(nulls=False, fdr=0.9)
    assert not (result.outcomes == MATCH).any()
    assert (result.queries == [30, 24]).all()
    assert result.matches[0, 0] > 15
    assert np.isnan(result.bits).all()


def test_what_cannot_be_used_is_listed() -> None:
    keys, logits = worker.mixed()
    logits[3] = worker.NAN
    logits[4, ::2] = worker.NAN
    zoo = worker.zoo(logits)
    zoo.unreadable.append(Unreadable("x.pt", "a pickle"))

    class Broken(worker.Memory):
        def read(self, start: int, stop: int, out: Any) -> None:
            raise InvalidFile("m007: cut short")

    zoo.entries[7] = dataclasses.replace(zoo.entries[7], source=Broken(logits))
    zoo.entries[8] = dataclasses.replace(zoo.entries[8], network=worker.network(1 << 16))
    memory = 8 * (zoo.entries[8].network.bytes - 1)
    result = worker.audited(zoo, keys, memory=memory, closed=[Unreadable("keys/z.age", "sealed")])
    told = dict(worker.unreadable(result))
    assert told.pop("m003").startswith("gives no usable answer")
    assert told.pop("m008") == "2 MiB of weights need 20 MiB, `memory` allows 19"
    assert told == {"x.pt": "a pickle", "keys/z.age": "sealed", "m007": "m007: cut short"} or told.pop("keys/z.age")
    assert result.models == [f"m{i:03}" for i in (0, 1, 2, 4, 5, 6, 9, 10, 11)]
    whole = worker.audited(worker.zoo(logits), keys)
    for mine, theirs in ((0, 0), (6, 8)):
        np.testing.assert_array_equal(result.queries[mine], whole.queries[theirs])


@pytest.mark.parametrize("labels", ["random", "fixed"])
def test_altered_after_packing_is_never_a_match(labels: str) -> None:
    """Nor where it becomes one only in the end: by the other matches' number, or by its rank among null models."""
    keys = worker.keys((30,) * 4, alpha=0.4, labels=labels)
    nulls = worker.zoo(worker.tables(keys, np.zeros((255, 4)), seed=3), "null") if labels == "fixed" else None
    zoo = worker.zoo(worker.tables(keys, np.tile([[0.95], [0.6], [0.3], [0.2]], 4)))
    matched = worker.audited(zoo, keys, nulls=nulls, fdr=0.9)
    assert len(matched.pairs("match")) > 8
    assert any(bits and bits < np.log2(16 / 0.9) for bits in matched.bits[matched.outcomes == MATCH]) or nulls
    altered = Zoo([dataclasses.replace(entry, digest="0" * 64) for entry in zoo.entries], [])
    listed = worker.audited(altered, keys, nulls=nulls, fdr=0.9)
    assert listed.pairs("match") == []
    assert {item.path for item in listed.unreadable} >= {
        matched.models[i] for i, _ in np.argwhere(matched.outcomes == MATCH)
    }


def test_a_family_that_exhausts_the_memory_is_asked_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    keys, logits = worker.mixed()
    zoo = worker.zoo(logits)
    hostile = worker.zoo(np.zeros((2, 400, 10), np.float32), "hostile")
    answers = Scorer.answers

    def exhausted(self: Scorer, *rest: Any) -> np.ndarray:
        if self.network is hostile.entries[0].network:
            raise jax.errors.JaxRuntimeError("RESOURCE_EXHAUSTED: Out of memory allocating 1 byte.\nmore lines")
        return answers(self, *rest)

    both = Zoo([*hostile.entries, *zoo.entries], [])
    with monkeypatch.context() as patch:
        patch.setattr(Scorer, "answers", exhausted)
        result = worker.audited(both, keys, out=tmp_path / "audit")
    why = "cannot be asked: RESOURCE_EXHAUSTED: Out of memory allocating 1 byte.; `resume` tries again"
    assert worker.unreadable(result) == [("hostile000", why), ("hostile001", why)]
    assert result.models == [entry.name for entry in zoo.entries]
    assert result.pairs("match")
    shutil.copytree(tmp_path / "audit", tmp_path / "before")
    again = worker.audited(both, keys, out=tmp_path / "audit", resume=True)
    assert again.unreadable == []
    assert again.models == [entry.name for entry in both.entries]
    for order in (("before", "audit"), ("audit", "before")):  # the same shard on two machines: what is known counts
        merged = merge([tmp_path / name for name in order])
        assert (merged.models, merged.unreadable) == (again.models, [])


def test_outcomes_have_names() -> None:
    assert [OUTCOMES[i] for i in (NO_MATCH, INCONCLUSIVE, MATCH)] == ["no-match", "inconclusive", "match"]
