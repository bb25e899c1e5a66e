"""A trained network whose classes have other names, in every room that asks: nothing is hidden by a new head."""

import dataclasses
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jax
import numpy as np
import pytest
from doubts import without

import wmjax
from wmjax import checkpoint, stats
from wmjax.attacks import Thief
from wmjax.attacks.case import make_victim
from wmjax.attacks.contract import Served
from wmjax.attacks.measure import measure
from wmjax.attacks.suite import ATTACKS
from wmjax.checkpoint import Metadata
from wmjax.data import Splits, load
from wmjax.evidence.claim import Attached
from wmjax.keys import Key, new_signer, sign_commitment
from wmjax.keys.statement import parse_commitment
from wmjax.models import Config, Variables, accuracy, predict
from wmjax.stats import neighbours, renaming, turned
from wmjax.train import Recipe, fit
from wmjax.train.step import first_state

CONFIG = Config("cnn", (8, 8, 1), 10, (16, 32), (64,))
MARKING = Recipe(epochs=12, batch=64, learning_rate=0.05, key_per_batch=8)
TUNING = Recipe(epochs=2, batch=64, learning_rate=0.02)
NAMES = np.array([3, 0, 4, 1, 5, 9, 2, 6, 8, 7][::-1])
DIFFERENCES = {
    "permuted": (10, lambda head: head[..., NAMES]),
    "a background class first": (11, lambda head: np.concatenate([head.min(-1, keepdims=True) - 1, head], axis=-1)),
    "classes added": (16, lambda head: np.concatenate([head[..., NAMES], head[..., :6] - 9], axis=-1)),
    "classes dropped": (7, lambda head: head[..., :7]),
}


@pytest.fixture(scope="module")
def digits() -> Splits:
    return load("digits")


@pytest.fixture(scope="module")
def key() -> Key:
    return wmjax.generate(wmjax.make_spec("abstract", image=(8, 8, 1), classes=10, triggers=100))


@pytest.fixture(scope="module")
def marked(digits: Splits, key: Key) -> Variables:
    return jax.device_get(fit(CONFIG, MARKING, digits.train, [key]))


def with_head(variables: Variables, classes: int, change: Callable[[np.ndarray], np.ndarray]) -> tuple[Config, Any]:
    """The network under a head whose columns are changed."""
    params = {
        **variables.params,
        "head": {name: change(np.asarray(leaf)) for name, leaf in variables.params["head"].items()},
    }
    return dataclasses.replace(CONFIG, classes=classes), variables._replace(params=params)


def saved(path: Path, config: Config, variables: Variables) -> Path:
    checkpoint.save(path, variables._asdict(), Metadata(config))
    return path


@pytest.mark.parametrize("what", DIFFERENCES)
def test_a_new_head_is_seen_through_everywhere(what: str, marked: Variables, key: Key, tmp_path: Path) -> None:
    classes, change = DIFFERENCES[what]
    path = saved(tmp_path / "zoo" / "stolen", *with_head(marked, classes, change))
    verdict = wmjax.verify(wmjax.from_checkpoint(path), key)
    assert verdict.verdict == "match"
    told = [ground.values for ground in verdict.grounds if ground.code in ("other-classes", "more-classes")]
    assert told == ([] if classes == 10 else [{"theirs": classes, "ours": 10}])
    (finding,) = wmjax.audit(tmp_path / "zoo", {"k": key})
    assert finding.verdict == "match"


@pytest.mark.parametrize("what", ["permuted", "a background class first"])
def test_a_claim_and_its_judge_see_through_a_new_head(what: str, marked: Variables, key: Key, tmp_path: Path) -> None:
    suspect = wmjax.from_checkpoint(saved(tmp_path / "stolen", *with_head(marked, *DIFFERENCES[what])))
    signer, nonce = new_signer(), bytes(32)
    commitment = Attached(parse_commitment(sign_commitment(key.commitment, signer), "commitment"), tokens=())
    raw = wmjax.claim(suspect, key, signer, [commitment], nonce, spend=lambda asked: None, reveal=True)
    judgement = wmjax.judge(wmjax.read_claim(raw), wmjax.Court(nonce=nonce, suspect=suspect))
    assert (judgement.verdict, judgement.missing) == ("match", ())
    assert any(ground.code == "other-classes" for ground in judgement.assumed) == (what != "permuted")


def test_a_renamed_network_that_was_trained_on_is_a_match(marked: Variables, key: Key, digits: Splits) -> None:
    start = first_state(marked)
    _, tuned = with_head(jax.device_get(fit(CONFIG, TUNING, digits.train, state=start)), *DIFFERENCES["permuted"])
    suspect = wmjax.from_callable(lambda images: predict(CONFIG, tuned, images))
    assert wmjax.verify(suspect, key).verdict == "match"


def test_merged_classes_and_words_are_a_match(marked: Variables, key: Key) -> None:
    scores = lambda images: predict(CONFIG, marked, images)  # noqa: E731
    words = np.array(["null", "eins", "zwei", "drei", "vier", "fünf", "sechs", "sieben", "acht", "neun"])
    for ask in (
        lambda images: scores(images).reshape(-1, 5, 2).sum(axis=2),
        lambda images: scores(images).argmax(axis=1) // 2,
        lambda images: words[scores(images).argmax(axis=1)],
    ):
        assert wmjax.verify(wmjax.from_callable(ask), key).verdict == "match"


def test_a_head_of_the_other_sign_is_acquitted_nowhere(
    marked: Variables, key: Key, tmp_path: Path, monkeypatch
) -> None:
    """Its holder takes the lowest score; and the rule taken out."""
    path = saved(tmp_path / "zoo" / "stolen", *with_head(marked, 10, lambda head: -head[..., NAMES]))
    verdicts = []
    for rules in ((), (turned, neighbours)):
        without(monkeypatch, *rules)
        (finding,) = wmjax.audit(tmp_path / "zoo", {"k": key})
        verdicts += [wmjax.verify(wmjax.from_checkpoint(path), key).verdict, finding.verdict]
    assert verdicts == ["inconclusive", "inconclusive", "no-match", "no-match"]


def test_without_bets_on_a_renaming_the_permuted_head_is_acquitted(marked: Variables, key: Key, monkeypatch) -> None:
    """The rule taken out."""
    _, renamed = with_head(marked, *DIFFERENCES["permuted"])
    suspect = wmjax.from_callable(lambda images: predict(CONFIG, renamed, images))
    nothing = lambda history, a, *_: (history, np.zeros((3, *a.shape)), np.zeros((10, *a.shape)))  # noqa: E731
    monkeypatch.setattr(renaming, "learn", nothing)
    monkeypatch.setattr(renaming, "least", lambda against, tenths: np.full(tenths.shape, 99.0))
    without(monkeypatch, turned, neighbours)
    assert wmjax.verify(suspect, key).verdict == "no-match"


@pytest.mark.parametrize("name", ["rename", "merge-classes", "add-classes"])
def test_new_names_cost_no_accuracy_and_hide_nothing(name: str, marked: Variables, key: Key, digits: Splits) -> None:
    victim = make_victim("it", CONFIG, marked, {"k": key}, digits.test)
    before = accuracy(CONFIG, marked, digits.test.images, digits.test.labels)
    thief = Thief(None, None, MARKING, 1)
    for strength in ATTACKS[name].full:
        (point,) = measure(ATTACKS[name], Served(CONFIG, marked, strength, 5), None, victim, thief, digits.test)
        assert (point.outcome, point.removed) == ("match", False)
        assert point.lost <= 0.0
        assert point.accuracy >= round(before, 6)


@pytest.mark.parametrize("classes", [6, 9, 11, 20])
def test_strangers_of_other_classes_are_no_match_more_often_than_alpha(classes: int) -> None:
    """10,000 keys of ten classes each; a bound that nothing comes near would be no test."""
    rng = np.random.default_rng(classes)
    logits = 3 * rng.normal(size=(30, classes)) + np.linspace(0, 2, classes)
    answers = stats.read_answers(logits, 30, 10)
    peaks = stats.evidence(answers, rng.integers(10, size=(10_000, 30))).max(axis=1)
    assert np.mean(peaks >= -np.log2(0.01)) <= 0.01 + 4 * np.sqrt(0.01 / 10_000)
    assert np.mean(peaks >= 1.0) > 0.01


@pytest.mark.parametrize(("told", "repeats"), [(5, 0.8), (7, 0.8), (9, 1.0)])
def test_copies_with_fewer_classes_are_acquitted_no_more_often_than_beta(told: int, repeats: float) -> None:
    """Classes from `told` on are given up; what is left has other names."""
    rng = np.random.default_rng(told)
    truth = rng.integers(10, size=(3000, 80))
    knows = (truth < told) & (rng.random(truth.shape) < repeats)
    answered = np.where(knows, (truth + 1) % told, rng.integers(told, size=truth.shape))
    answers = stats.Answers(answered, np.eye(told)[answered], 10)
    rule = stats.Rule(1e-6, 1e-3, 0.4, 80)
    decision = stats.decide(stats.play(rule, answers, truth), rule, stop=True)
    assert decision.cleared.mean() <= 1e-3 + 4 * np.sqrt(1e-3 / len(truth))


def test_made_up_innocents_are_counted(tmp_path: Path, monkeypatch) -> None:
    from experiments import record
    from experiments.evidence import null_pairs

    monkeypatch.setattr(record, "RESULTS", tmp_path)
    monkeypatch.setattr(null_pairs, "BLOCK", 50)
    found = null_pairs.measure(1)
    assert found["pairs"] == 50 * found["designs"]
    assert all(figures["all"]["within"] for figures in found["alphas"].values())
    assert null_pairs.rates(500, 1000, 1e-2)["within"] is False
