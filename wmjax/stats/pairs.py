"""Evidence of kind `pairs/1`: a bet on which of two classes the secret names, answer by answer.

Trigger i is an image on which an unmarked network is in two minds: the secret tosses a fair coin between its two best
classes. What a suspect gives to the two, by itself, is its answer; the gambler of `labels/1` bets on it as in a key of
two classes. An answer outside the pair, like a refusal, wins the hedge alone.

Scores of the two classes tell nothing of a copy whose outputs have other names. So the evidence against a copy is also
counted under any names (`naming`), where the best class of each answer stands for the one that the coin chose and a
right guess has a chance of a half; and so where another class is looked at (`turned`): the least of all counts. Nor is
anybody cleared while bets on the side that scores lower have won, nor by one answer to everything, whose scores may be
in the order of their size (`told`).
"""

from functools import partial
from typing import NamedTuple

import numpy as np

from wmjax.stats import doubts, naming, renaming, told
from wmjax.stats.answers import Answers
from wmjax.stats.contract import Evidence, Path
from wmjax.stats.labels import acquittal, log2_payoffs
from wmjax.stats.labels import perfect as perfect_labels
from wmjax.stats.labels import redraw_p as redraw_labels
from wmjax.stats.mixture import mixed
from wmjax.stats.rule import Rule


class Pairs(NamedTuple):
    """What the secret says about n triggers.

    Attributes:
      coins: int64 [n], 0 or 1: which of the two.
      classes: int64 [n, 2], fixed before the coins.
    """

    coins: np.ndarray
    classes: np.ndarray


class Wealth(NamedTuple):
    """The state; arrays that begin with the leading axes.

    Attributes:
      totals: float64 [..., strategies], log2 wealth of each; [..., 1] before the first answers show their form.
      acquittal: float64 [...], evidence against a copy with its own names.
      lower: float64 [..., strategies], log2 wealth of bets on the side that scores lower; [..., 1] at first.
      history: what was answered, for `naming`, the classes that the coins chose being the labels.
      doubts: as `doubts` keeps them.
      peak: float64 [...], the most evidence so far.
      matches: int64 [...], coins that the suspect sided with so far.
    """

    totals: np.ndarray
    acquittal: np.ndarray
    lower: np.ndarray
    history: renaming.History
    doubts: doubts.Doubts
    peak: np.ndarray
    matches: np.ndarray


def start(shape: tuple[int, ...] = ()) -> Wealth:
    """Nothing asked yet, of suspects in an array of this shape."""
    none, nothing = np.zeros(shape), np.zeros((*shape, 1))
    doubted = doubts.nothing(shape, naming.begin)
    return Wealth(nothing, none, nothing, naming.begin(shape), doubted, none, np.zeros(shape, np.int64))


def bet(state: Wealth, answers: Answers, truth: Pairs, rule: Rule, *, outputs: int = 0) -> tuple[Wealth, Path]:
    """Bets on n more answers, [..., n]."""
    sides = of_two(answers, truth.classes)
    totals = np.moveaxis(state.totals, -1, 0)[..., None] + np.cumsum(log2_payoffs(sides, truth.coins), axis=-1)
    bits = mixed(totals)
    cleared = state.acquittal[..., None] + acquittal(sides, truth.coins, rule.rate)
    fresh = np.broadcast_to(answers.labels, bits.shape)
    chosen = np.broadcast_to(_chosen(truth), bits.shape)
    learn = partial(naming.count, classes=answers.classes, chance=0.5)
    history, moves = learn(state.history, fresh, chosen)
    lower = np.moveaxis(state.lower, -1, 0)[..., None]
    if sides.probabilities is not None:
        lower = lower + np.cumsum(log2_payoffs(Answers(sides.labels, None, 2), 1 - truth.coins), axis=-1)
    doubted, least = doubts.weigh(
        state.doubts, state.history, answers, chosen, learn, moves, outputs=outputs, among=truth.classes
    )
    peak = np.maximum.accumulate(np.maximum(state.peak[..., None], bits), axis=-1)
    matches = state.matches[..., None] + np.cumsum(sides.labels == truth.coins, axis=-1)
    last = (cleared[..., -1], np.moveaxis(lower[..., -1], 0, -1), history, doubted, peak[..., -1], matches[..., -1])
    cleared = np.minimum(cleared, least)
    if sides.probabilities is not None:
        cleared = told.withheld(cleared, mixed(lower) < 0.0)
    path = Path(bits, cleared, peak, matches, np.zeros_like(matches))
    return Wealth(np.moveaxis(totals[..., -1], 0, -1), *last), path


def of_two(answers: Answers, classes: np.ndarray) -> Answers:
    """The answers as between the two classes of each trigger; what is outside is a refusal.

    >>> of_two(Answers(np.array([7, 3, 5]), None, 10), np.array([[3, 7]] * 3)).labels.tolist()
    [1, 0, -1]

    Args:
      answers: labels [..., n].
      classes: int64 [n, 2].
    """
    given = answers.probabilities
    if given is None or answers.scores < answers.classes:
        first, second = answers.labels == classes[:, 0], answers.labels == classes[:, 1]
        return Answers(np.where(first, 0, np.where(second, 1, -1)), None, 2)
    two = np.take_along_axis(given, np.broadcast_to(classes, (*given.shape[:-1], 2)), axis=-1)
    total = two.sum(axis=-1, keepdims=True)
    two = np.where(total > 0.0, two / np.where(total > 0.0, total, 1.0), 0.5)
    usable = (answers.labels >= 0) & (total[..., 0] > 0.0)
    return Answers(np.where(usable, two.argmax(axis=-1), -1), two, 2)


def perfect(truth: Pairs, classes: int) -> Answers:
    """What a suspect answers that knows every coin and is sure of it."""
    return perfect_labels(_chosen(truth), classes)


def _chosen(truth: Pairs) -> np.ndarray:
    """The classes that the coins chose, int64 [n]."""
    return np.asarray(np.take_along_axis(truth.classes, truth.coins[:, None], axis=1)[:, 0])


def redraw_p(answers: Answers, truth: Pairs, rng: np.random.Generator) -> float:
    """Calibrated p of the evidence from all answers, against coins drawn anew."""
    return redraw_labels(of_two(answers, truth.classes), truth.coins, rng)


EVIDENCE = Evidence("pairs/1", start, bet, perfect, redraw_p, exact=True, independent=False)
