"""Scores of which the lowest is best, as of losses, distances, ranks, or a head whose sign was changed.

Such a copy repeats no label by its highest score, and would pass for a stranger. So the class of the lowest one is
looked at too, by the same bets: nobody is cleared while these have won, as nobody is while the others have. It convicts
nobody: who reads answers so may say so, by a function. An output that is lowest most of the time, as that of a class
which is never meant, is passed over: the lowest of the others is looked at then.
"""

from typing import NamedTuple

import numpy as np

from wmjax.stats import renaming, told
from wmjax.stats.answers import Answers
from wmjax.stats.mixture import mixed


class Turned(NamedTuple):
    """What was seen so far; arrays that begin with the leading axes.

    Attributes:
      lowest: int64 [..., t], the class of each answer's lowest score, -1 for refusals.
      meant: int64 [..., t], the class that was looked at.
      sums: as in `renaming.History`.
      totals: float64 [..., strategies], log2 wealth of each; [..., 1] before the first answers.
    """

    lowest: np.ndarray
    meant: np.ndarray
    sums: np.ndarray
    totals: np.ndarray


def nothing(shape: tuple[int, ...]) -> Turned:
    """No answers yet."""
    lowest, _, sums = renaming.begin(shape, parts=False)
    return Turned(lowest, lowest, sums, np.zeros((*shape, 1)))


def look(
    before: Turned, past: np.ndarray, answers: Answers, truth: np.ndarray, hedges: tuple[float, ...], *, readings: bool
) -> tuple[Turned, np.ndarray]:
    """What was seen after n more answers, and what the bets come to after each of them, in bits, float64 [..., n].

    Args:
      before: what was seen.
      past: int64 [..., t], the earlier labels.
      answers: where they have no scores nothing is seen, and nothing was won.
      truth: int64 [..., n], the secret labels.
      hedges: of bets on the class itself.
      readings: whether the last of the leading axes are readings of one suspect, whose stakes are equal.
    """
    if answers.probabilities is None:
        return before, np.full(truth.shape, -np.inf)
    lowest, second = (np.broadcast_to(found, truth.shape) for found in _two_lowest(answers))
    lowest = np.concatenate([before.lowest, lowest], axis=-1)
    meant = np.where(mostly(lowest)[..., -truth.shape[-1] :], second, lowest[..., -truth.shape[-1] :])
    known = renaming.History(before.meant, past, before.sums)
    history, guessed, _ = renaming.learn(known, meant, truth, answers.classes)
    own = [np.log2((1.0 - eps) * answers.classes * (meant == truth) + eps) for eps in hedges]
    totals, bits = evidence(before.totals, np.concatenate([own, guessed]), readings=readings)
    return Turned(lowest, history.answered, history.sums, totals), bits


def _two_lowest(answers: Answers) -> tuple[np.ndarray, np.ndarray]:
    """Of each answer the class of the lowest score, and of the lowest but one: of two scores the same."""
    assert answers.probabilities is not None
    lowest = answers.probabilities.argmin(axis=-1)
    if answers.scores == 2:
        second = lowest
    else:
        others = answers.probabilities.copy()
        np.put_along_axis(others, lowest[..., None], np.inf, axis=-1)
        second = others.argmin(axis=-1)
    return np.where(answers.labels < 0, -1, lowest), np.where(answers.labels < 0, -1, second)


def mostly(values: np.ndarray) -> np.ndarray:
    """Which of the values [..., t] more than half of those so far are equal to, refusals (-1) aside.

    >>> mostly(np.array([4, 4, 7, 7, 7, -1])).tolist()
    [True, True, False, False, True, False]
    """
    usable = values >= 0
    times = 1 + renaming.repeats(values)[1]
    return np.asarray(usable & (2 * times > np.cumsum(usable, axis=-1)))


def evidence(totals: np.ndarray, payoffs: np.ndarray, *, readings: bool) -> tuple[np.ndarray, np.ndarray]:
    """Totals after what bets [strategies, ..., n] win, and what all come to after each answer; else as of `look`."""
    sums = np.moveaxis(totals, -1, 0)[..., None] + np.cumsum(payoffs, axis=-1)
    bits = mixed(sums)
    if readings:
        bits = np.broadcast_to(np.expand_dims(mixed(bits, axis=-2), -2), bits.shape)
    return np.moveaxis(sums[..., -1], 0, -1), bits


def withheld(acquittal: np.ndarray, bits: np.ndarray) -> np.ndarray:
    """The acquittal, at most 0 while bets on the lowest scores have won.

    >>> withheld(np.array([9.0, 12.0, -1.0]), np.array([-1.0, 7.0, 8.0])).tolist()
    [9.0, 0.0, -1.0]
    """
    return told.withheld(acquittal, bits < 0.0)
