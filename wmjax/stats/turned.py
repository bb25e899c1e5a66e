"""Scores of which the lowest is best, as of losses, distances, ranks, or a head whose sign was changed.

Such a copy repeats no label by its highest score, and would pass for a stranger. So the class of the lowest one is
looked at too, by the same bets: nobody is cleared while these have won, as nobody is while the others have. It convicts
nobody: who reads answers so may say so, by a function. An output may always be the lowest, as that of a class which is
never meant: so where it is the lowest for the third time in a row, the lowest of the others is looked at.
"""

from typing import NamedTuple

import numpy as np

from wmjax.stats import renaming, told
from wmjax.stats.answers import Answers
from wmjax.stats.mixture import mixed


class Turned(NamedTuple):
    """What was seen so far; arrays that begin with the leading axes.

    Attributes:
      lowest: int64 [..., 2], the classes of the last two answers' lowest scores, -1 for a refusal; fewer at first.
      meant: int64 [..., t], the classes that were looked at.
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
    before: Turned, past: np.ndarray, answers: Answers, truth: np.ndarray, hedges: tuple[float, ...]
) -> tuple[Turned, np.ndarray]:
    """What was seen after n more answers, and what the bets come to after each of them, in bits, float64 [..., n].

    Args:
      before: what was seen.
      past: int64 [..., t], the earlier labels.
      answers: where they have no scores nothing is seen, and nothing was won.
      truth: int64 [..., n], the secret labels.
      hedges: of bets on the class itself.
    """
    if answers.probabilities is None:
        return before, np.full(truth.shape, -np.inf)
    n, usable = truth.shape[-1], answers.labels >= 0
    places = answers.probabilities.argmin(axis=-1)
    lowest = np.concatenate([before.lowest, np.broadcast_to(np.where(usable, places, -1), truth.shape)], axis=-1)
    meant, again = lowest[..., -n:], thrice(lowest)[..., -n:]
    if answers.scores > 2 and again.any():
        others = answers.probabilities.copy()
        np.put_along_axis(others, places[..., None], np.inf, axis=-1)
        meant = np.where(again, np.where(usable, others.argmin(axis=-1), -1), meant)
    known = renaming.History(before.meant, past, before.sums)
    history, guessed, _ = renaming.learn(known, meant, truth, answers.classes)
    own = [np.log2((1.0 - eps) * answers.classes * (meant == truth) + eps) for eps in hedges]
    totals, bits = evidence(before.totals, np.concatenate([own, guessed]))
    return Turned(lowest[..., -2:], history.answered, history.sums, totals), bits


def thrice(values: np.ndarray) -> np.ndarray:
    """Which of the values [..., t] are equal to the two before.

    >>> thrice(np.array([4, 4, 4, 4, 7, 7])).tolist()
    [False, False, True, True, False, False]
    """
    found = np.zeros(values.shape, bool)
    found[..., 2:] = (values[..., 2:] == values[..., 1:-1]) & (values[..., 2:] == values[..., :-2])
    return found


def evidence(totals: np.ndarray, payoffs: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Totals after what bets [strategies, ..., n] win, and what all come to after each answer; else as of `look`."""
    sums = np.moveaxis(totals, -1, 0)[..., None] + np.cumsum(payoffs, axis=-1)
    return np.moveaxis(sums[..., -1], 0, -1), mixed(sums)


def withheld(acquittal: np.ndarray, bits: np.ndarray) -> np.ndarray:
    """The acquittal, at most 0 while bets on the lowest scores have won.

    >>> withheld(np.array([9.0, 12.0, -1.0]), np.array([-1.0, 7.0, 8.0])).tolist()
    [9.0, 0.0, -1.0]
    """
    return told.withheld(acquittal, bits < 0.0)
