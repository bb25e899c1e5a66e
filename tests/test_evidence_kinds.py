"""What every kind of evidence must keep, and that a second kind needs no other room: coins read off many answers."""

import dataclasses
import math
from typing import Any, NamedTuple

import audit_worker as worker
import forger
import jax
import numpy as np
import pytest

import wmjax
from wmjax import stats
from wmjax.attacks.measure import _point
from wmjax.evidence.claim import Attached
from wmjax.evidence.claim_file import read_claim
from wmjax.evidence.claimant import claim
from wmjax.evidence.facts import Court
from wmjax.evidence.judge import judge
from wmjax.keys import POLICIES, Key, derive_key, make_spec, new_signer, sign_commitment
from wmjax.keys.statement import parse_commitment
from wmjax.stats import Answers, Evidence, Path, Rule, mixture
from wmjax.stats import labels as label_bets
from wmjax.suspects import Suspect, from_callable
from wmjax.zoo.result import OUTCOMES

CLASSES = 10
STAGES = ((16, 0.5), (40, 0.5))  # answers after which the coins are read, and the share of the stake
GAINS = (0.25, 1.0)


class Coins(NamedTuple):
    """Everything said so far: what a coin is worth depends on all answers. Arrays begin with the leading axes."""

    answered: np.ndarray  # [..., t]
    truth: np.ndarray  # [..., t]
    stages: np.ndarray  # log2 wealth of each, [..., stages]
    peak: np.ndarray
    acquittal: np.ndarray
    matches: np.ndarray


def start(shape: tuple[int, ...]) -> Coins:
    none = np.zeros((*shape, 0), np.int64)
    return Coins(none, none, np.zeros((*shape, 2)), np.zeros(shape), np.zeros(shape), np.zeros(shape, np.int64))


def read(answered: np.ndarray, truth: np.ndarray) -> np.ndarray:
    """log2 wealth of one bet a coin, +1 where a label is of the upper half; its size follows from all answers."""
    leaning = np.where(answered >= CLASSES // 2, 1.0, -1.0) * (answered >= 0)
    heard = 1.0 + np.abs(leaning.mean(axis=-1, keepdims=True))  # a figure of all answers, whatever the coins are
    signs = np.where(truth >= CLASSES // 2, 1.0, -1.0)
    wealths = [np.log2(1.0 + 0.999 * signs * np.tanh(gain * leaning / heard)).sum(axis=-1) for gain in GAINS]
    return mixture.mixed(np.stack(wealths))


def bet(state: Coins, answers: Answers, truth: np.ndarray, rule: Rule, *, outputs: int = 0) -> tuple[Coins, Path]:
    truth = np.broadcast_to(truth, answers.labels.shape)
    stages, bits = state.stages.copy(), []
    for i in range(len(answers)):
        state = state._replace(
            answered=np.concatenate([state.answered, answers.labels[..., i : i + 1]], axis=-1),
            truth=np.concatenate([state.truth, truth[..., i : i + 1]], axis=-1),
        )
        for place, (n, _) in enumerate(STAGES):
            if state.answered.shape[-1] == n:
                stages[..., place] = read(state.answered, state.truth)
        bits.append(np.log2(sum(share * np.exp2(stages[..., place]) for place, (_, share) in enumerate(STAGES))))
    path = np.stack(bits, axis=-1)
    cleared = state.acquittal[..., None] + label_bets.acquittal(answers, truth, rule.rate)
    peak = np.maximum.accumulate(np.maximum(state.peak[..., None], path), axis=-1)
    matches = state.matches[..., None] + np.cumsum(answers.labels == truth, axis=-1)
    after = state._replace(stages=stages, peak=peak[..., -1], acquittal=cleared[..., -1], matches=matches[..., -1])
    return after, Path(path, cleared, peak, matches, np.zeros_like(matches))


COINS = Evidence(
    "coins/0", start, bet, label_bets.perfect, lambda answers, truth, rng: 1.0, exact=True, independent=False
)
KINDS = [stats.EVIDENCE["labels/1"], stats.EVIDENCE["ranked/1"], COINS]  # of the others: test_spread.py
EXACT = [kind for kind in KINDS if kind.exact]


@pytest.fixture(autouse=True)
def _known(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(stats.EVIDENCE, COINS.name, COINS)


def rule(kind: Evidence, alpha: float = 1e-6) -> Rule:
    return Rule(alpha, 1e-3, 0.4, 60, kind.name)


def answers(rng: np.random.Generator, *shape: int) -> Answers:
    """Labels of suspects with strong habits, some of them refused."""
    labels = np.minimum(rng.geometric(0.3, shape) - 1, CLASSES - 1)
    return Answers(np.where(rng.random(shape) < 0.1, -1, labels), None, CLASSES)


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.name)
def test_batches_and_many_suspects_are_as_one_after_another(kind):
    rng = np.random.default_rng(1)
    given, truth = answers(rng, 2, 3, 60), rng.integers(CLASSES, size=60)
    state, path = kind.bet(kind.start((2, 3)), given, truth, rule(kind))
    for at in np.ndindex(2, 3):
        alone, paths = kind.start(()), []
        for cut in (slice(0, 1), slice(1, 7), slice(7, 16), slice(16, 50), slice(50, 60)):
            alone, part = kind.bet(alone, Answers(given.labels[at], None, CLASSES)[cut], truth[cut], rule(kind))
            paths.append(part)
        for together, one in zip(path, stats.join(paths), strict=True):
            np.testing.assert_allclose(together[at], one, atol=1e-9)
        for together, one in zip(jax.tree.leaves(state), jax.tree.leaves(alone), strict=True):
            np.testing.assert_allclose(together[at], one, atol=1e-9)


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.name)
def test_a_state_is_cut_along_its_first_axis(kind):
    rng = np.random.default_rng(2)
    given, truth = answers(rng, 5, 30), rng.integers(CLASSES, size=30)
    state, _ = kind.bet(kind.start((5,)), given[:20], truth[:20], rule(kind))
    kept = np.array([0, 3])
    few = Answers(given.labels[kept], None, CLASSES)[20:]
    _, path = kind.bet(stats.rows_of(state, kept), few, truth[20:], rule(kind))
    whole = stats.play(rule(kind), given, truth)
    np.testing.assert_allclose(path.evidence, whole.evidence[kept, 20:], atol=1e-9)


@pytest.mark.parametrize("kind", EXACT, ids=lambda kind: kind.name)
def test_strangers_match_no_more_often_than_alpha(kind):
    """20,000 secrets against suspects with strong habits; and often enough that the bound is no idle one."""
    rng = np.random.default_rng(3)
    path = stats.play(rule(kind), answers(rng, 20_000, 60), rng.integers(CLASSES, size=(20_000, 60)))
    for alpha in (0.1, 0.01, 1e-3):
        share = np.mean(path.peak[:, -1] >= -np.log2(alpha))
        assert share <= alpha + 4 * math.sqrt(alpha / 20_000)
    assert np.mean(path.peak[:, -1] >= 1.0) > 0.01


@pytest.mark.parametrize("kind", EXACT, ids=lambda kind: kind.name)
def test_who_knows_the_whole_secret_is_a_match(kind):
    truth = np.random.default_rng(4).integers(CLASSES, size=60)
    path = stats.play(rule(kind), kind.perfect(truth, CLASSES), truth)
    assert stats.decide(path, rule(kind), stop=True).outcome == "match"
    assert (np.diff(path.peak) >= 0).all()


def test_without_exact_evidence_nothing_matches_and_who_keeps_to_one_answer_is_not_cleared():
    ranked, rng = stats.EVIDENCE["ranked/1"], np.random.default_rng(5)
    truth = np.full(60, 3)
    for answered, cleared in ((np.full(60, 7), False), (np.full(60, -1), False), (rng.integers(10, size=60), True)):
        path = stats.play(rule(ranked), Answers(answered, None, CLASSES), truth)
        decision = stats.decide(path, rule(ranked), stop=False, exact=False)
        assert (bool(decision.matched), bool(decision.cleared)) == (False, cleared)
        assert not path.evidence.any()


@pytest.mark.parametrize("labels", [1, 5])
def test_without_exact_evidence_copies_under_any_names_are_cleared_no_more_often_than_beta(labels):
    ranked, rng = stats.EVIDENCE["ranked/1"], np.random.default_rng(6)
    truth = rng.integers(labels, size=(5_000, 60))
    names = rng.permuted(np.tile(np.arange(CLASSES), (5_000, 1)), axis=1)
    known = np.take_along_axis(names, truth, axis=1)
    answered = np.where(rng.random(truth.shape) < 0.4, known, rng.integers(CLASSES, size=truth.shape))
    path = stats.play(rule(ranked), Answers(answered, None, CLASSES), truth)
    for beta in (0.05, 0.01):
        assert np.mean(path.acquittal.max(axis=1) >= -np.log2(beta)) <= beta


def coin_key(triggers: int = 60) -> Key:
    spec = make_spec("abstract", image=forger.IMAGE, classes=CLASSES, triggers=triggers)
    return derive_key(
        bytes(range(32)), spec, Rule(1e-3, 1e-3, 0.4, triggers, COINS.name), created="2026-01-01T00:00:00+00:00"
    )


def test_a_second_kind_is_verified_claimed_and_judged_without_another_room(monkeypatch):
    monkeypatch.setitem(POLICIES, "random", POLICIES["random"]._replace(evidence=COINS.name))
    key, signer = coin_key(200), new_signer()
    knows, innocent = from_callable(forger.knowing(key), "copy"), from_callable(forger.innocent(), "stranger")
    verdict = wmjax.verify(knows, key)
    assert (verdict.verdict, verdict.queries in [n for n, _ in STAGES]) == ("match", True)
    assert verdict.path[:15].tolist() == [0.0] * 15  # nothing is read before the first stage
    assert verdict.p_binomial is None
    assert wmjax.verify(innocent, key).verdict != "match"
    attached = Attached(parse_commitment(sign_commitment(key.commitment, signer), "it"), ())
    for suspect, outcome in ((knows, "match"), (innocent, "no-match")):
        raw = claim(
            suspect, key, signer, [attached], b"n" * 32, lambda asked: None, whole=True, reveal=True, anyway=True
        )
        made = read_claim(raw, "claim")
        assert made.stated["verdict"] == outcome
        judged = judge(made, Court(b"n" * 32, suspect, alpha=1e-3))
        assert (judged.path[-1] > 9) == (outcome == "match")
        assert judged.verdict in (outcome, "inconclusive")  # 128 bits beyond are more than these stages can hold
    point: Any = _point(
        {"attack": "none", "strength": 0.0, "victim": "v", "classes": 10, "accuracy": 1.0, "lost": 0.0},
        "key",
        key,
        key.labels,
        COINS.perfect(key.labels, CLASSES),
    )
    assert point.outcome == "match"


def test_a_second_kind_is_audited_pair_by_pair_as_it_is_verified():
    keys = {
        name: dataclasses.replace(
            key,
            commitment=dataclasses.replace(
                key.commitment, rule=dataclasses.replace(key.commitment.rule, evidence=COINS.name, alpha=1e-3)
            ),
        )
        for name, key in worker.keys((60, 100)).items()
    }
    logits = worker.tables(keys, np.random.default_rng(5).choice([0.0, 0.5, 1.0], (8, 2)))
    result = worker.audited(worker.zoo(logits), keys, fwer=0.5)
    for (i, k), outcome in np.ndenumerate(result.outcomes):
        key = list(keys.values())[k]
        ask = lambda images, i=i: logits[i][images.reshape(len(images), 2).astype(int) @ [1, 256]]  # noqa: E731
        suspect = Suspect("table", ask, remembers=False)
        alone = wmjax.verify(suspect, key)
        assert result.bits[i, k] == pytest.approx(alone.path[-1], abs=1e-9)
        assert (outcome, result.queries[i, k]) == (OUTCOMES.index(alone.verdict), alone.queries)
