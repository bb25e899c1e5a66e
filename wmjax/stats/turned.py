"""Scores of which the lowest is best, as of losses, distances, ranks, or a head whose sign was changed.

Such a copy repeats no label by its highest score, and would pass for a stranger. So the class of the lowest one is
looked at too, by the same bets: nobody is cleared while these have won, as nobody is while the others have. It convicts
nobody: who reads answers so may say so, by a function.
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
      sums: as in `renaming.History`.
      totals: float64 [..., strategies], log2 wealth of each; [..., 1] before the first answers.
    """

    lowest: np.ndarray
    sums: np.ndarray
    totals: np.ndarray


def nothing(shape: tuple[int, ...]) -> Turned:
    """No answers yet."""
    lowest, _, sums = renaming.begin(shape, parts=False)
    return Turned(lowest, sums, np.zeros((*shape, 1)))


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
    fresh = np.broadcast_to(np.where(answers.labels < 0, -1, answers.probabilities.argmin(axis=-1)), truth.shape)
    known = renaming.History(before.lowest, past, before.sums)
    history, guessed, _ = renaming.learn(known, fresh, truth, answers.classes)
    own = [np.log2((1.0 - eps) * answers.classes * (fresh == truth) + eps) for eps in hedges]
    totals, bits = evidence(before.totals, np.concatenate([own, guessed]), readings=readings)
    return Turned(history.answered, history.sums, totals), bits


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
