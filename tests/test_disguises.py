"""Copies in disguise, and strangers in none: nobody is cleared who repeats the key; each rule is taken out once."""

from collections.abc import Callable

import numpy as np
import pytest
from coined import RULE as COINED
from coined import World

from wmjax import stats
from wmjax.stats import Answers, Rule, pairs, renaming, spread, turned
from wmjax.text import named

SUSPECTS, ASKED = 400, 200


def rule(kind: str) -> Rule:
    return Rule(1e-6, 1e-3, 0.7 if kind == "pairs/1" else 0.4, ASKED, kind)


def cleared(kind: str, answers: Answers, truth: np.ndarray | pairs.Pairs) -> float:
    """Share of the suspects against which the acquittal is enough after all of their answers."""
    path = stats.play(rule(kind), answers, truth)
    return float(np.mean(path.acquittal[:, -1] >= rule(kind).clear_bits))


def scored(answered: np.ndarray, rng: np.random.Generator, classes: int = 10) -> np.ndarray:
    """Scores of which the answer's is the highest, the others in any order."""
    scores = rng.dirichlet(np.full(classes, 3.0), size=answered.shape)
    np.put_along_axis(scores, answered[..., None], 1.0, axis=-1)
    return np.asarray(scores / scores.sum(axis=-1, keepdims=True))


def read(scores: np.ndarray) -> Answers:
    return stats.read_answers(scores, scores.shape[:-1], 10)


def tied(rng: np.random.Generator) -> tuple[pairs.Pairs, np.ndarray, np.ndarray]:
    """Pairs with their coins, and what copies and strangers answer: these one of the two, or now and then another."""
    classes = np.argsort(rng.random((ASKED, 10)), axis=1)[:, :2]
    coins, toss = rng.integers(2, size=ASKED), rng.integers(2, size=(SUSPECTS, ASKED))
    chosen = classes[np.arange(ASKED), coins]
    strangers = np.where(
        rng.random(toss.shape) < 0.8, classes[np.arange(ASKED), toss], rng.integers(10, size=toss.shape)
    )
    return pairs.Pairs(coins, classes), np.broadcast_to(chosen, toss.shape), strangers


@pytest.mark.parametrize("form", ["labels", "scores"])
def test_of_a_tie_key_a_copy_with_other_names_is_not_cleared(form: str, monkeypatch) -> None:
    """One that knows nine of ten coins, its outputs permuted, or with a background first; strangers are cleared."""
    rng = np.random.default_rng(1)
    truth, chosen, strangers = tied(rng)
    copies = np.where(rng.random(chosen.shape) < 0.9, chosen, strangers)

    def said(answered: np.ndarray, names: np.ndarray) -> Answers:
        return Answers(names[answered], None, 10) if form == "labels" else read(scored(answered, rng)[..., names])

    permuted, neighbours = rng.permutation(10), np.arange(10) ^ 1
    copied = scored(copies, rng)
    behind = read(np.concatenate([np.zeros_like(copied[..., :1]), copied], axis=-1))
    disguised = [said(copies, permuted), said(copies, neighbours), behind]
    assert max(cleared("pairs/1", answers, truth) for answers in disguised) <= 0.01
    assert cleared("pairs/1", said(strangers, np.arange(10)), truth) > (0.85 if form == "scores" else 0.25)
    monkeypatch.setattr(renaming, "least", lambda against, tenths: np.full(tenths.shape, np.inf))
    assert cleared("pairs/1", behind, truth) > 0.9
    assert (cleared("pairs/1", disguised[0], truth) > 0.6) == (form == "scores")


@pytest.mark.parametrize("kind", ["labels/1", "ranked/1"])
def test_a_copy_with_a_name_for_each_image_is_not_cleared(kind: str, monkeypatch) -> None:
    """Nine answers of ten have a name of their own, which stands for the secret label; the others are `other`."""
    rng = np.random.default_rng(2)
    truth = rng.integers(10, size=(SUSPECTS, ASKED)) if kind == "labels/1" else np.full((SUSPECTS, ASKED), 9)
    names = stats.NAMES + 1 + np.broadcast_to(np.arange(ASKED), truth.shape)
    copies = Answers(np.where(rng.random(truth.shape) < 0.1, stats.NAMES, names), None, 10)
    strangers = Answers(stats.NAMES + rng.integers(10, size=truth.shape), None, 10)
    assert cleared(kind, copies, truth) == 0.0
    assert cleared(kind, strangers, truth) > 0.95
    monkeypatch.setattr(renaming, "aliases", lambda new, classes: np.zeros(new.shape, bool))
    assert cleared(kind, copies, truth) > 0.9


@pytest.mark.parametrize("place", [0, 9, 10])
def test_a_copy_whose_lowest_score_is_best_is_not_cleared_for_a_class_that_is_always_lower(place, monkeypatch) -> None:
    """A class that was dropped as 0, or a background; a stranger that never means a class is cleared as before."""
    rng = np.random.default_rng(3)
    truth = rng.integers(10, size=(SUSPECTS, ASKED))

    def beside(scores: np.ndarray) -> Answers:
        shown = np.pad(scores, ((0, 0), (0, 0), (0, max(0, place - 9))), constant_values=0.5)
        shown[..., place] = -60.0
        return read(shown)

    copies = beside(-np.log(scored(truth, rng)))
    strangers = beside(10.0 * scored(rng.integers(10, size=truth.shape), rng))
    assert cleared("labels/1", copies, truth) == 0.0
    assert cleared("labels/1", strangers, truth) > 0.9
    monkeypatch.setattr(turned, "thrice", lambda values: np.zeros(values.shape, bool))
    assert cleared("labels/1", copies, truth) > 0.4


HIDDEN = {
    "two classes in one": lambda p: p.reshape(-1, 3, 2).sum(axis=2),
    "how likely it is to be up to each class": lambda p: np.cumsum(p, axis=1).round(3),
}


@pytest.mark.parametrize("how", HIDDEN)
def test_of_a_spread_key_a_copy_that_hides_some_coins_is_not_cleared(how: str, monkeypatch) -> None:
    world = World(probes=3_000, features=240)

    def against(strength: float, dress: Callable[[np.ndarray], np.ndarray]) -> float:
        scores = dress(world.suspect(strength, noise=0.1).probabilities)
        answers = stats.read_answers(scores, len(scores), 6)
        return float(stats.play(COINED, answers, world.truth).acquittal[-1])

    assert against(0.1, lambda p: p) < 0.0
    assert against(0.1, HIDDEN[how]) <= 0.0
    assert against(0.0, lambda p: p) > COINED.clear_bits
    monkeypatch.setattr(Answers, "lacks", False)
    monkeypatch.setattr(spread, "_in_order", lambda given: np.zeros(given.shape[:-1], bool))
    assert against(0.1, HIDDEN[how]) > COINED.clear_bits


def test_long_names_that_differ_in_the_middle_stay_different() -> None:
    """A caption around the class: its two ends alone would be one name, or any."""
    captions = [f"{i % 7} {'a picture of the digit ' * 6}{i}{', as one writes it' * 8} {i % 7}" for i in range(10)]
    assert len({named(caption) for caption in captions}) == 10
    assert {len(named(caption)) for caption in captions} == {200}
    names: dict[str, int] = {}
    answers = stats.read_answers(np.array(captions), 10, 10, names=names)
    assert len(set(answers.labels.tolist())) == 10
