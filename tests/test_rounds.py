"""An audit's verdicts are those of `wmjax.verify`, pair by pair, and its bounds hold where nothing is to be found."""

import dataclasses
import os
import signal
import subprocess
import sys
from functools import lru_cache
from pathlib import Path
from typing import Any

import audit_worker as worker
import jax
import jax.numpy as jnp
import journals
import numpy as np
import pytest
from test_material_keys import material_of

import wmjax
from wmjax.grounds import Ground
from wmjax.keys import SCHEMES, Source
from wmjax.keys.specify import default_rule
from wmjax.models import Config, init
from wmjax.stats.spread import perfect
from wmjax.suspects import Suspect
from wmjax.suspects.adapt import adapt, adaptation
from wmjax.suspects.contract import Network
from wmjax.suspects.network import from_config, names_of
from wmjax.zoo import width as width_module
from wmjax.zoo.panel import Loaded
from wmjax.zoo.plan import make_plan
from wmjax.zoo.records import Zoo
from wmjax.zoo.result import MATCH, OUTCOMES
from wmjax.zoo.rounds import ask_all
from wmjax.zoo.scope import Level, why_not
from wmjax.zoo.score import Scorer, mesh_for
from wmjax.zoo.width import choose_width

MODELS = 8
CNN = Config("cnn", (8, 8, 1), 10, (4,), (8,))


def table_suspect(logits: np.ndarray) -> Suspect:
    """A table behind the interface that `verify` asks."""
    ask = lambda images: logits[images.reshape(len(images), 2).astype(int) @ [1, 256]]  # noqa: E731
    return Suspect("table", ask, remembers=False)


@lru_cache
def verified(sizes: tuple[int, ...]) -> list[list[wmjax.Verdict]]:
    """What `verify` says of each model and key of `worker.mixed(sizes)`."""
    keys, logits = worker.mixed(sizes, MODELS)
    return [[wmjax.verify(table_suspect(table), key) for key in keys.values()] for table in logits]


@pytest.mark.parametrize(
    ("sizes", "width", "memory"), [((20,), 4, 16), ((100,), 1, 4), (worker.SIZES, 1, 16), (worker.SIZES, 4, 4)]
)
def test_verdicts_are_those_of_verify(sizes: tuple[int, ...], width: int, memory: int) -> None:
    keys, logits = worker.mixed(sizes, MODELS)
    zoo = worker.zoo(logits)
    result = worker.audited(zoo, keys, width=width, memory=worker.portions(zoo, memory))
    for (i, k), outcome in np.ndenumerate(result.outcomes):
        alone = verified(sizes)[i][k]
        told = (OUTCOMES[outcome], result.queries[i, k], result.matches[i, k])
        assert told == (alone.verdict, alone.queries, alone.matches), (i, k)
        assert result.bits[i, k] == pytest.approx(alone.path[-1], abs=1e-9)
        assert ((i, k) in result.curves) == (alone.path[-1] >= 3), (i, k)
        if (i, k) in result.curves:
            np.testing.assert_allclose(result.curves[i, k], alone.path, atol=6e-4)
    if len(sizes) > 1:
        assert {OUTCOMES[outcome] for outcome in result.outcomes.ravel()} == {"match", "no-match", "inconclusive"}


def test_what_verify_calls_a_match_is_never_cleared() -> None:
    """Where the bound over all pairs asks for more than the key: seven answers of a mark, then none."""
    keys = worker.keys((60,))
    (key,) = keys.values()
    logits = -9.0 * np.eye(10, dtype=np.float32)[key.labels][None]
    logits[0, :7] *= -1
    logits[0, 7:10, 0] = -np.inf  # a score without a finite value is an answer too
    alone = wmjax.verify(table_suspect(logits[0]), key)
    result = worker.audited(worker.zoo(np.maximum(logits, worker.LOWEST)), keys, fwer=1e-12)
    assert (alone.verdict, alone.queries) == ("match", 7)
    assert OUTCOMES[result.outcomes[0, 0]] == "inconclusive"
    assert result.bits[0, 0] < 0
    assert result.queries[0, 0] == 60


def with_material(size: int = 340) -> tuple[dict[str, wmjax.Key], np.ndarray]:
    """A key of labels, one of coins and one of pairs, and tables: of a stranger, of whoever knows one, or all."""
    labelled = worker.keys((20, size, size))
    (one, key), *others = labelled.items()
    made = {one: key}
    for (name, other), scheme in zip(others, ("spread", "tie"), strict=True):
        material = material_of(scheme, range(size), n=size)
        source = Source("any", "0" * 64)
        policy = SCHEMES[scheme].labels
        spec = dataclasses.replace(other.spec, scheme=scheme, labels=policy, source=source, material=material.sha256)
        drawn = spec.policy.draw(other.secret, spec, range(size))
        commitment = dataclasses.replace(other.commitment, spec=spec, rule=default_rule(spec))
        made[name] = dataclasses.replace(other, commitment=commitment, labels=drawn, material=material)
    rng = np.random.default_rng(3)
    logits = rng.standard_normal((5, 20 + 2 * size, 10))
    known = [8.0 * np.eye(10)[key.labels]]
    coins, pairs = list(made.values())[1:]
    known.append(np.log(perfect(coins.truth(slice(None)), 10).probabilities))
    known.append(4.0 * np.eye(10)[pairs.answers])
    ends = np.cumsum([0, 20, size, size])
    for place, table in enumerate(known):
        for model in (place + 1, 4):
            logits[model, ends[place] : ends[place + 1]] = table + 0.1 * rng.standard_normal(table.shape)
    return made, logits.astype(np.float32)


def test_keys_with_material_are_asked_by_stages_beside_others() -> None:
    keys, logits = with_material()
    result = worker.audited(worker.zoo(logits), keys, width=1)
    for (i, k), outcome in np.ndenumerate(result.outcomes):
        alone = wmjax.verify(table_suspect(logits[i]), list(keys.values())[k])
        told = (OUTCOMES[outcome], result.queries[i, k], result.matches[i, k])
        assert told == (alone.verdict, alone.queries, alone.matches), (i, k)
        assert result.bits[i, k] == pytest.approx(alone.path[-1], abs=1e-9)
    matched = result.outcomes == MATCH
    assert matched[4].all()
    assert (matched[1:4] == np.eye(3, dtype=bool)).all()
    assert not matched[0].any()


def cnn_weights(models: int) -> dict[str, np.ndarray]:
    """Weights of so many networks, stacked; biases are no zeros, so that each has answers of its own."""
    drawn = [init(CNN, seed)._asdict() for seed in range(models)]
    names, _ = names_of(drawn[0])
    rng = np.random.default_rng(1)
    flat = [jax.tree.leaves(tree) for tree in drawn]
    paths = ["/".join(str(part.key) for part in path) for path, _ in jax.tree_util.tree_leaves_with_path(drawn[0])]
    stacked = {name: np.stack(leaves) for name, leaves in zip(paths, zip(*flat, strict=True), strict=True)}
    assert stacked.keys() == names.keys()
    return {
        name: leaf + 0.3 * rng.standard_normal(leaf.shape, np.float32) * name.endswith("bias")
        for name, leaf in stacked.items()
    }


@pytest.mark.parametrize("width", [1, 4])
def test_answers_are_the_network_s_own(width: int) -> None:
    network, weights = from_config(CNN), cnn_weights(8)
    rng = np.random.default_rng(0)
    images = rng.integers(0, 256, (32, *network.image), np.uint8)
    alone = jax.jit(network.logits)
    expected = np.stack([alone({name: leaf[i] for name, leaf in weights.items()}, images) for i in range(8)])
    scorer = Scorer(network, mesh_for(8), width)
    placed, bank = scorer.place(weights), scorer.replicate(images)
    for rows in ([0, 1, 2, 3, 4, 5, 6, 7], [6, 1, 3, 0, 7], [5], []):
        some = np.array(rows, np.int64)
        got = scorer.answers(placed, some, 0, bank, np.arange(32, dtype=np.int32))
        assert got.shape == (len(rows), 32, 10)
        np.testing.assert_allclose(got, expected[some], rtol=1e-4, atol=1e-5)
        picks = rng.integers(0, 32, (len(rows), 16), np.int32)
        got = scorer.answers(placed, some, 0, bank, picks)
        np.testing.assert_allclose(got, expected[some[:, None], picks], rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(("width", "programs"), [(1, 1), (4, 2)])
def test_nothing_is_compiled_again(width: int, programs: int) -> None:
    """Models one at a time have a program for the same and for other images, several side by side one for each."""
    traced = []

    def logits(weights: Any, images: jax.Array, reading: jax.Array) -> jax.Array:
        traced.append(images.shape)
        return weights["w"][None] + images.reshape(len(images), -1)[:, :3].astype(jnp.float32)

    network = Network("sum", f"sum {width}", {"w": jax.ShapeDtypeStruct((3,), np.float32)}, logits, (2, 2, 1), 3)
    weights = {"w": np.arange(48, dtype=np.float32).reshape(16, 3)}
    images = np.random.default_rng(0).integers(0, 256, (8, 2, 2, 1), np.uint8)
    scorer = Scorer(network, mesh_for(16), width)
    placed, bank = scorer.place(weights), scorer.replicate(images)
    everything = np.arange(8, dtype=np.int32)
    first = scorer.answers(placed, np.arange(16), 0, bank, everything)
    scorer.answers(placed, np.arange(16), 0, bank, np.zeros((16, 8), np.int32))
    assert len(traced) == programs
    for rows in ([3], [9, 2, 14, 0, 1]):
        again = Scorer(network, mesh_for(16), width)  # equal to the first, as each chunk's is
        np.testing.assert_array_equal(again.answers(placed, np.array(rows), 0, bank, everything), first[rows])
        picks = np.tile(np.arange(8, dtype=np.int32)[::-1], (len(rows), 1))
        np.testing.assert_array_equal(again.answers(placed, np.array(rows), 0, bank, picks), first[rows][:, ::-1])
    assert len(traced) == programs


def test_width_is_measured_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    network = worker.network(32)
    scorer = Scorer(network, mesh_for(16))
    weights = scorer.place({"table": np.zeros((16, 32, 10), np.float32)})
    images = scorer.replicate(np.zeros((16, *network.image), np.uint8))
    assert choose_width(scorer, weights, images, 16, 8) == 1  # too few for measuring to pay
    assert list(tmp_path.iterdir()) == []
    monkeypatch.setattr(width_module, "_WORTH", 0.0)
    for damage in (None, b"{", b"[1]", b'{"a":"b"}'):
        if damage is not None:
            next(tmp_path.glob("wmjax/*.json")).write_bytes(damage)
        assert 16 % choose_width(scorer, weights, images, 16, 1000) == 0
    with monkeypatch.context() as patch:
        patch.setattr(width_module, "_seconds", None)  # it is remembered
        assert 16 % choose_width(scorer, weights, images, 16, 1000) == 0


@pytest.fixture(scope="module")
def eight_devices(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What a process with eight devices wrote before it killed itself in an audit."""
    out = tmp_path_factory.mktemp("eight")
    environment = {**os.environ, "JAX_NUM_CPU_DEVICES": "8"}
    done = subprocess.run([sys.executable, worker.__file__, str(out)], env=environment, timeout=120)
    assert done.returncode == -signal.SIGKILL
    return out


def test_devices_and_widths_change_nothing(eight_devices: Path) -> None:
    found = np.load(eight_devices / "out.npz")
    keys, logits = worker.mixed(models=40)
    expected = worker.audited(worker.zoo(logits), keys)
    assert found["devices"] == 8
    for width in (1, 4):
        for name in ("outcomes", "bits", "queries", "matches"):
            np.testing.assert_array_equal(found[f"{name}{width}"], getattr(expected, name))


def test_a_killed_audit_goes_on_with_other_devices(eight_devices: Path) -> None:
    keys, logits = worker.mixed(models=40)
    zoo = worker.zoo(logits)
    raw = (eight_devices / "journal-1-of-1.jsonl").read_bytes()
    assert raw.count(b"\n") == 3
    assert not raw.endswith(b"\n")
    options = {"out": eight_devices, "memory": worker.portions(zoo, 8)}
    resumed = worker.audited(zoo, keys, resume=True, **options)
    worker.assert_same(resumed, worker.audited(zoo, keys, memory=worker.portions(zoo, 8)))


def test_a_remembered_width_may_not_fit(tmp_path: Path) -> None:
    """A journal of fewer devices, or of wider chunks, names a width that a device's share here is no multiple of."""
    keys, logits = worker.mixed(models=8)
    zoo = worker.zoo(logits)
    options = {"out": tmp_path, "memory": worker.portions(zoo, 2)}
    expected = worker.audited(zoo, keys, **options)
    path = tmp_path / "journal-1-of-1.jsonl"
    header, *records = journals.values_of(path)
    journals.write_chained(path, [header, *(record | {"width": 16} for record in records[:2])], keys)
    worker.assert_same(worker.audited(zoo, keys, resume=True, **options), expected)


# Under the null -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("alpha", [0.05, 0.01])
def test_chance_of_a_false_match(alpha: float) -> None:
    """Of 6000 pairs of models and keys that have nothing to do with each other, with a bound for each alone."""
    keys = worker.keys((20,) * 30, seed=3, alpha=alpha)
    logits = worker.tables(keys, np.zeros((200, 30)), seed=4)
    logits[:50] *= 10  # very sure of themselves
    for model in range(50, 70):
        logits[model, :, model % 10] += 9  # always the same class
    scorer = Scorer(worker.network(600), mesh_for(16))
    weights = scorer.place({"table": np.concatenate([logits, np.zeros((56, 600, 10), np.float32)])})
    zoo = worker.zoo(logits)
    _, questions = make_plan(zoo, keys, Level("fdr", 0.5), 1 << 40).questions(zoo.entries[0].network)
    questions.match_bits[:] = -np.log2(alpha)
    verdicts = ask_all(Loaded(scorer, weights, scorer.replicate(questions.images)), questions, np.arange(200))
    assert 0 < np.mean(verdicts.outcomes == MATCH) <= alpha + 3 * np.sqrt(alpha / 6000)


def test_share_of_false_ones_among_the_matches() -> None:
    """Keys whose own bound is loose: without the one over all pairs half of what they call a match is false."""
    proportions, found, loose = [], 0, 0
    keys = worker.keys((20,) * 12, seed=6, alpha=0.5)
    shares = np.zeros((30, 12))
    true = np.zeros((30, 12), bool)
    true[np.arange(6), np.arange(6)] = True
    shares[true] = 0.9
    for seed in range(12):
        result = worker.audited(worker.zoo(worker.tables(keys, shares, seed)), keys, fdr=0.2)
        matched = result.outcomes == MATCH
        proportions.append(np.sum(matched & ~true) / max(1, matched.sum()))
        found += int(np.sum(matched & true))
        loose += int(np.sum((result.bits >= 1) & ~true))
    assert np.mean(proportions) <= 0.2
    assert found > 60  # of 72
    assert loose > 72


# Other shapes ---------------------------------------------------------------------------------------------------------


def test_triggers_of_another_shape() -> None:
    keys = worker.keys((20, 7))
    grey = worker.network(27, image=(1, 2, 1))
    colour = dataclasses.replace(worker.network(27, image=(2, 4, 3)), name="colour")
    other = [worker.network(27, classes=4), worker.network(27, image=(1, 2, 2)), worker.network(27, image=(4, 4, 2))]
    logits = worker.tables(keys, np.ones((2, 2)))
    networks = [grey, colour, *other]
    entries = [
        worker.zoo(logits[:, :, : family.classes]).entries[i % 2].__class__(f"m{i}", family, source)
        for i, family in enumerate(networks)
        for source in [worker.Memory(logits[:, :, : family.classes])]
    ]
    result = worker.audited(Zoo(entries, []), keys)
    np.testing.assert_array_equal(result.outcomes[2:], OUTCOMES.index("not-applicable"))
    assert np.isnan(result.bits[2:]).all()
    assert (result.queries[2:] == 0).all()
    assert (result.queries[:2] > 0).all()
    assert OUTCOMES[result.outcomes[0, 0]] == "match"
    changed = Ground("adapted", {"from": "1x2x1", "to": "2x4x3"})
    assert not any(ground.code == "adapted" for ground in result.grounds[0, 0])
    plan = make_plan(Zoo(entries, []), keys, Level("fdr", 0.01), 1 << 40)
    assert plan.tests == 4
    assert plan.adapted(colour) == [(changed,)] * 2
    assert all(changed in grounds for (i, _), grounds in result.grounds.items() if i == 1)
    assert result.remarks["colour"] == (("k0", changed), ("k1", changed))
    said = [why_not(keys["k0"].spec, network) for network in other]
    assert [ground.code for (ground,) in said] == ["other-task", "no-picture", "no-picture"]
    assert said[0][0].values == {"theirs": 4, "ours": keys["k0"].spec.classes}


@pytest.mark.parametrize(
    ("theirs", "ours", "said"),
    [
        ((8, 8, 1), (8, 8, 1), []),
        ((8, 8, 2), (8, 8, 2), []),
        ((8, 8, 3), (8, 8, 1), [{"code": "adapted", "from": "8x8x3", "to": "8x8x1"}]),
        ((8, 8, 1), (16, 16, 3), [{"code": "adapted", "from": "8x8x1", "to": "16x16x3"}]),
        ((8, 8, 1), (8, 8, 2), None),
        ((8, 8, 2), (16, 16, 2), None),
        ((8, 8, 4), (16, 16, 4), None),
    ],
)
def test_adaptation(theirs: tuple[int, int, int], ours: tuple[int, int, int], said: list[Any] | None) -> None:
    grounds = adaptation(theirs, ours)
    assert (grounds is None) == (said is None)
    if grounds is not None:
        assert [ground.to_json() for ground in grounds] == said
        grey = np.full((2, *theirs), 77, np.uint8)
        np.testing.assert_array_equal(adapt(grey, ours), np.full((2, *ours), 77, np.uint8))
