"""Copies in disguise, and strangers in none: nobody is cleared who repeats the key; each rule is taken out once."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from coined import RULE as COINED
from coined import World
from doubts import without

from wmjax import stats
from wmjax.stats import Answers, Rule, naming, neighbours, pairs, ranked, renaming, spread, turned
from wmjax.stats import answers as answers_module
from wmjax.text import named
from wmjax.zoo.kept import as_kept

SUSPECTS, ASKED = 100, 200


def rule(kind: str) -> Rule:
    return Rule(1e-6, 1e-3, 0.7 if kind == "pairs/1" else 0.4, ASKED, kind)


def cleared(kind: str, answers: Answers, truth: np.ndarray | pairs.Pairs) -> float:
    """Share of the suspects against which the acquittal is ever enough."""
    path = stats.play(rule(kind), answers, truth)
    return float(np.mean(((path.acquittal >= rule(kind).clear_bits) & (path.evidence <= 0.0)).any(axis=-1)))


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

    permuted, swapped = rng.permutation(10), np.arange(10) ^ 1
    copied = scored(copies, rng)
    behind = read(np.concatenate([np.zeros_like(copied[..., :1]), copied], axis=-1))
    disguised = [said(copies, permuted), said(copies, swapped), behind]
    assert max(cleared("pairs/1", answers, truth) for answers in disguised) <= 0.01
    assert cleared("pairs/1", said(strangers, np.arange(10)), truth) > (0.85 if form == "scores" else 0.25)
    monkeypatch.setattr(renaming, "least", lambda against, tenths: np.full(tenths.shape, np.inf))
    without(monkeypatch, neighbours)
    assert cleared("pairs/1", behind, truth) > 0.9
    assert (cleared("pairs/1", disguised[0], truth) > 0.6) == (form == "scores")


@pytest.mark.parametrize("right", [0.8, 0.95, 1.0])
@pytest.mark.parametrize("classes", [3, 10, 20])
def test_of_a_tie_key_copies_of_any_number_of_classes_with_other_names_are_not_cleared(
    classes: int, right: float, monkeypatch
) -> None:
    """Of four keys, whenever one stops; and by the mean over all names in place of the best ones, which clears them."""
    rng = np.random.default_rng([classes, 12])
    odds, shares = renaming._odds, {False: [], True: []}

    def by_mean(history: renaming.History, *asked: Any, classes: int, chance: float) -> tuple[Any, np.ndarray]:
        after, _, against = renaming.learn(history, *asked, classes)
        return after, against

    for _ in range(4):
        pair = np.argsort(rng.random((ASKED, classes)), axis=1)[:, :2]
        coins = rng.integers(2, size=ASKED)
        side = np.where(rng.random((SUSPECTS, ASKED)) < right, coins, 1 - coins)
        answered, names = pair[np.arange(ASKED), side], rng.permutation(classes)
        copies = stats.read_answers(scored(answered, rng, classes)[..., names], answered.shape, classes)
        for mean in shares:
            with monkeypatch.context() as patch:
                if mean:
                    without(patch, neighbours)
                    patch.setattr(naming, "begin", lambda shape: renaming.begin(shape, bets=False))
                    patch.setattr(naming, "count", by_mean)
                    patch.setattr(renaming, "_odds", lambda classes: odds(2))
                shares[mean].append(cleared("pairs/1", copies, pairs.Pairs(coins, pair)))
    assert np.mean(shares[False]) <= 0.003
    assert (np.mean(shares[True]) > 0.005) == (classes > 3 and (classes > 10 or right < 1.0))


IDS = {
    "the best class's number before its scores": lambda p: np.concatenate([p.argmax(-1)[..., None], p], axis=-1),
    "and behind them": lambda p: np.concatenate([p, 1.0 + p.argmax(-1)[..., None]], axis=-1),
    "how much is open": lambda p: np.concatenate([p, 3.0 - 3.0 * p.max(-1, keepdims=True)], axis=-1),
}


@pytest.mark.parametrize("kind", ["labels/1", "pairs/1"])
@pytest.mark.parametrize("form", IDS.values(), ids=IDS)
def test_a_column_beside_the_scores_is_no_background(form: Callable, kind: str, monkeypatch) -> None:
    """A copy that knows nine of ten, as tables of predictions give it; strangers with a background are cleared.

    Numbers of classes among shares are refusals by themselves: that rule is taken out from the start.
    """
    monkeypatch.setattr(answers_module, "_name_classes", lambda scores, classes: np.zeros(scores.shape[:-1], bool))
    rng = np.random.default_rng(13)
    sides, chosen, strangers = tied(rng)
    labels = kind == "labels/1"
    truth = rng.integers(10, size=(SUSPECTS, ASKED))
    known, others = (truth, rng.integers(10, size=truth.shape)) if labels else (chosen, strangers)
    copied = read(form(scored(np.where(rng.random(known.shape) < 0.9, known, others), rng)))
    behind = read(np.concatenate([0.2 * rng.random((*known.shape, 1)), scored(others, rng)], axis=-1))
    assert cleared(kind, copied, truth if labels else sides) == 0.0
    assert cleared(kind, behind, truth if labels else sides) > 0.7
    without(monkeypatch, turned, neighbours)
    if form is IDS["the best class's number before its scores"]:
        assert cleared(kind, copied, truth if labels else sides) > (0.05 if labels else 0.5)


FLAT = {
    "a tenth is unknown": lambda p: 0.9 * p,
    "the best three": lambda p: np.where(p >= np.sort(p, axis=1)[:, -3:-2], p, 0.0),
    "sigmoids": lambda p: 1.0 / (1.0 + 1e-3 / p),
}


@pytest.mark.parametrize("strength", [0.05, 0.1])
@pytest.mark.parametrize("how", FLAT)
def test_scores_of_0_to_1_that_are_no_distribution_show_a_spread_key(how: str, strength: float) -> None:
    """By softmax they would lose much of what they tell."""
    world = World(probes=3_000, features=240)
    scores = FLAT[how](world.suspect(strength, noise=0.1).probabilities)
    shares, logits = (
        stats.play(COINED, stats.read_answers(raw, len(raw), 6), world.truth).evidence[-1]
        for raw in (scores, scores - 9.0)
    )
    assert shares > 40.0
    assert shares > 1.5 * logits


def test_a_copy_with_a_name_for_each_image_is_not_cleared(monkeypatch) -> None:
    """Nine answers of ten have a name of their own, which stands for the secret label; the others are `other`."""
    rng, kind = np.random.default_rng(2), "labels/1"
    truth = rng.integers(10, size=(SUSPECTS, ASKED))
    names = stats.NAMES + 1 + np.broadcast_to(np.arange(ASKED), truth.shape)
    copies = Answers(np.where(rng.random(truth.shape) < 0.1, stats.NAMES, names), None, 10)
    strangers = Answers(stats.NAMES + rng.integers(10, size=truth.shape), None, 10)
    assert cleared(kind, copies, truth) == 0.0
    assert cleared(kind, strangers, truth) > 0.95
    monkeypatch.setattr(renaming, "aliases", lambda new, classes: np.zeros(new.shape, bool))
    assert cleared(kind, copies, truth) > 0.9


@pytest.mark.parametrize("words", [3, 9, 11, 40])
def test_of_one_label_for_all_a_copy_with_several_words_for_it_is_not_cleared(words: int, monkeypatch) -> None:
    """It looks like a stranger who has a word for each class; numbers clear him."""
    rng = np.random.default_rng(6)
    truth = np.full((SUSPECTS, ASKED), 9)
    copies = Answers(stats.NAMES + rng.integers(words, size=truth.shape), None, 10)
    strangers = Answers(rng.integers(10, size=truth.shape), None, 10)
    assert cleared("ranked/1", copies, truth) == 0.0
    assert cleared("ranked/1", strangers, truth) > 0.95
    monkeypatch.setattr(ranked, "NAMES", 1 << 40)
    assert (cleared("ranked/1", copies, truth) > 0.9) == (words > 3)


LOWER = {  # outputs that are always lower: dropped as 0, a background, or both, which of two is lowest changing
    "one": [0],
    "the last": [9],
    "a background": [10],
    "two": [8, 9],
    "one and a background": [3, 10],
    "three": [0, 4, 7],
}


@pytest.mark.parametrize("lower", LOWER.values(), ids=LOWER)
def test_a_copy_whose_lowest_score_is_best_is_not_cleared_for_outputs_that_are_always_lower(lower, monkeypatch) -> None:
    """A stranger with such outputs is cleared as before."""
    rng = np.random.default_rng(3)
    truth = rng.integers(10, size=(SUSPECTS, ASKED))

    def beside(scores: np.ndarray) -> Answers:
        shown = np.pad(scores, ((0, 0), (0, 0), (0, max(0, lower[-1] - 9))), constant_values=0.5)
        shown[..., lower] = -60.0 - rng.random((*truth.shape, len(lower)))
        return read(shown)

    copies = beside(-np.log(scored(truth, rng)))
    strangers = beside(10.0 * scored(rng.integers(10, size=truth.shape), rng))
    assert cleared("labels/1", copies, truth) <= 0.01
    assert cleared("labels/1", strangers, truth) > 0.5
    monkeypatch.setattr(turned, "MOST", 0)
    monkeypatch.setattr(turned, "WAYS", 2)
    without(monkeypatch, neighbours)
    assert cleared("labels/1", copies, truth) > 0.4


def test_of_a_tie_key_a_copy_with_other_names_whose_lowest_score_is_best_is_not_cleared(monkeypatch) -> None:
    rng = np.random.default_rng(7)
    truth, chosen, strangers = tied(rng)
    names = rng.permutation(10)
    copies, others = (read(-np.log(scored(those, rng)[..., names])) for those in (chosen, strangers))
    assert cleared("pairs/1", copies, truth) == 0.0
    assert cleared("pairs/1", others, truth) > 0.7
    without(monkeypatch, turned, neighbours)
    assert cleared("pairs/1", copies, truth) > 0.5


@pytest.mark.parametrize("scale", [1.0, 1e3, 1e6])
def test_scores_too_far_apart_for_softmax_keep_their_order(scale: float, monkeypatch) -> None:
    """The lowest of squared distances is the class; so it is where files keep them as float32."""
    rng = np.random.default_rng(8)
    truth = rng.integers(10, size=(SUSPECTS, ASKED))
    distances = scale * (1.0 + rng.random((*truth.shape, 10)))
    np.put_along_axis(distances, truth[..., None], 0.9 * scale, axis=-1)
    for raw in (distances, distances.astype(np.float32)):
        copies = as_kept(read(raw))
        assert cleared("labels/1", copies, truth) == 0.0
        assert (copies.probabilities.argmin(axis=-1) == truth).all()
    equal = read(np.array([[[0.0, -5e3, -5e3, 2.0] + [1.0] * 6]])).probabilities[0, 0]
    assert equal[1] == equal[2] > 0
    monkeypatch.setattr(answers_module, "_SMALL", 0.0)
    monkeypatch.setattr(answers_module, "_in_order", lambda found, scores: found)
    without(monkeypatch, neighbours)
    assert (cleared("labels/1", as_kept(read(distances)), truth) > 0.5) == (scale > 1)


@pytest.mark.parametrize("count", [1, 2, 3, 5])
def test_a_service_whose_best_scores_are_low_is_read_by_the_best_of_them(count: int) -> None:
    """As sigmoids are: what it does not name has no more than what it names. Of probabilities nothing changes."""
    rng = np.random.default_rng(9)
    low = 0.05 * np.sort(rng.random((50, 10)), axis=1)[:, ::-1]
    named = np.argsort(rng.random((50, 10)), axis=1)
    spread_out = stats.spread_top_k(named[:, :count], low[:, :count], 10)
    assert (spread_out.argmax(axis=1) == named[:, 0]).all()
    np.testing.assert_allclose(spread_out.sum(axis=1), 1.0)
    sure = np.sort(rng.dirichlet(np.ones(10), size=50), axis=1)[:, ::-1]
    told = stats.spread_top_k(named[:, :count], sure[:, :count], 10)
    np.testing.assert_allclose(np.take_along_axis(told, named[:, :count], axis=1), sure[:, :count])


@pytest.mark.parametrize("dress", [lambda ids: ids, lambda ids: ids + 0.5, lambda ids: 3 - ids / 10])
def test_classes_from_the_best_on_are_no_scores(dress: Callable[[np.ndarray], np.ndarray]) -> None:
    """Or ranks of them, as float32 too; others may be evenly spaced by a chance in 10 ** 10."""
    rng = np.random.default_rng(10)
    ids = dress(np.argsort(rng.random((20, 10)), axis=1).astype(np.float64))
    for raw in (ids, ids.astype(np.float32)):
        assert (stats.read_answers(raw, 20, 10).labels == -1).all()
    assert (stats.read_answers(rng.random((500, 4)), 500, 4).labels >= 0).all()


def test_numbers_of_classes_among_shares_are_no_scores() -> None:
    """As of a detector's box, or of the best three with theirs; scores of a network as good as never come so."""
    rng = np.random.default_rng(12)
    shares, classes = rng.random((40, 5)), rng.integers(2, 11, size=(40, 1)).astype(np.float64)
    box = np.concatenate([shares, classes], axis=1)
    pairs = np.stack([np.argsort(rng.random((40, 10)), axis=1)[:, :3] + 0.0, shares[:, :3]], axis=-1).reshape(40, 6)
    for raw in (box, box.astype(np.float32), box[:, ::-1], pairs[pairs[:, ::2].max(axis=1) > 1]):
        assert (stats.read_answers(raw, len(raw), 10).labels == -1).all()
    logits = rng.normal(scale=3.0, size=(20_000, 6))
    for raw in (box[:, 1:], box + np.eye(6)[4], logits.astype(np.float16).astype(np.float64), logits.round(1)):
        assert (stats.read_answers(raw, len(raw), 10).labels >= 0).mean() > 0.999


def test_a_copy_that_answers_with_a_box_is_not_cleared(monkeypatch) -> None:
    """Corners that say nothing, how sure it is, and the class; and the rules taken out."""
    rng = np.random.default_rng(14)
    truth = rng.integers(10, size=(3 * SUSPECTS, ASKED))
    known = np.where(rng.random(truth.shape) < 0.9, truth, rng.integers(10, size=truth.shape))
    raw = np.concatenate([rng.random((*truth.shape, 5)), known[..., None] + 0.0], axis=-1)
    assert cleared("labels/1", read(raw), truth) == 0.0
    without(monkeypatch, neighbours)
    assert cleared("labels/1", read(raw), truth) == 0.0
    monkeypatch.setattr(answers_module, "_name_classes", lambda scores, classes: np.zeros(scores.shape[:-1], bool))
    assert cleared("labels/1", read(raw), truth) > 0.01


@pytest.mark.parametrize("kind", ["labels/1", "pairs/1"])
def test_outputs_that_copy_another_tell_nothing_apart(kind: str, monkeypatch) -> None:
    """Classes merged to two, each with outputs of its own that are all alike, in any order."""
    rng = np.random.default_rng(11)
    sides, chosen, _ = tied(rng)
    truth = sides if kind == "pairs/1" else rng.integers(10, size=(SUSPECTS, ASKED))
    known = chosen if kind == "pairs/1" else truth
    two = scored(known % 2, rng, 2)
    names = rng.permutation(10)
    assert cleared(kind, read(np.repeat(two, 5, axis=-1)[..., names] / 5), truth) == 0.0
    noise = 1e-9 * rng.random((*known.shape, 10))  # who makes up answers is beyond this by itself
    without(monkeypatch, neighbours)
    assert cleared(kind, read(np.repeat(two, 5, axis=-1)[..., names] / 5 + noise), truth) > 0.2


HIDDEN = {
    "two classes in one": lambda p: p.reshape(-1, 3, 2).sum(axis=2),
    "two classes in one, of three twice": lambda p: np.repeat(p.reshape(-1, 3, 2).sum(axis=2), 2, axis=1) / 2,
    "two classes in one, others never": lambda p: np.pad(p.reshape(-1, 3, 2).sum(axis=2), ((0, 0), (0, 3))),
    "how likely it is to be up to each class": lambda p: 3.0 * np.cumsum(p, axis=1).round(3),
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
    monkeypatch.setattr(spread, "_apart", lambda given: 6)
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
