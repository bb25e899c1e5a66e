"""Scores of which the lowest is best, as of losses, distances, ranks, or a head whose sign was changed.

Such a copy repeats no label by its highest score, and would pass for a stranger. So the class of the lowest one is
looked at too. It convicts nobody: who reads answers so may say so, by a function. Some outputs may always be lower, as
those of classes which are never meant or of a background: so the next higher ones are looked at as well, `DEPTHS` in
all.

`look` bets on these classes as `labels` does: nobody is cleared while that has won, with equal stakes in each depth.
`doubt` counts the evidence against a copy under any names, as `renaming` does: of coins, which tell less than labels, a
copy may lose some bets while its names are still learnt.
"""

from typing import NamedTuple

import numpy as np

from wmjax.stats import renaming, told
from wmjax.stats.answers import Answers
from wmjax.stats.mixture import mixed

DEPTHS = 4  # the lowest score, and with one to three below it


class Turned(NamedTuple):
    """What was seen so far; arrays that begin with the leading axes.

    Attributes:
      meant: int64 [..., DEPTHS, t], the classes that were looked at, -1 for a refusal.
      sums: as in `renaming.History`.
      totals: float64 [..., DEPTHS, strategies], log2 wealth of each, [..., DEPTHS, 1] before the first answers; of
        `doubt` [..., DEPTHS, 10], evidence against copies of so many tenths of the classes.
    """

    meant: np.ndarray
    sums: np.ndarray
    totals: np.ndarray


def nothing(shape: tuple[int, ...], *, parts: bool = False) -> Turned:
    """No answers yet; `parts` for `doubt`."""
    begun = renaming.begin((*shape, DEPTHS), parts=parts)
    return Turned(begun.answered, begun.sums, np.zeros((*shape, DEPTHS, len(renaming.PARTS) if parts else 1)))


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
    known, meant, labels = _taken(before, past, answers, truth)
    history, guessed, _ = renaming.learn(known, meant, labels, answers.classes)
    own = [np.log2((1.0 - eps) * answers.classes * (meant == labels) + eps) for eps in hedges]
    sums = np.moveaxis(before.totals, -1, 0)[..., None] + np.cumsum(np.concatenate([own, guessed]), axis=-1)
    after = Turned(history.answered, history.sums, np.moveaxis(sums[..., -1], 0, -1))
    return after, mixed(mixed(sums), axis=-2)


def doubt(
    before: Turned, past: np.ndarray, answers: Answers, truth: np.ndarray, tenths: np.ndarray, chance: float
) -> tuple[Turned, np.ndarray]:
    """What was seen after n more answers, and the least evidence against a copy after each, in bits, float64 [..., n].

    Args:
      before: what was seen.
      past: int64 [..., t], the earlier labels.
      answers: where they have no scores nothing is seen, and the evidence is infinite.
      truth: int64 [..., n], the secret labels.
      tenths: int64 [..., n], of the classes that were told apart.
      chance: of a right guess.
    """
    if answers.probabilities is None:
        return before, np.full(truth.shape, np.inf)
    known, meant, labels = _taken(before, past, answers, truth)
    history, _, moves = renaming.learn(known, meant, labels, answers.classes, chance)
    against = np.moveaxis(before.totals, -1, 0)[..., None] + np.cumsum(moves, axis=-1)
    after = Turned(history.answered, history.sums, np.moveaxis(against[..., -1], 0, -1))
    return after, renaming.least(against, tenths[..., None, :]).min(axis=-2)


def _taken(
    before: Turned, past: np.ndarray, answers: Answers, truth: np.ndarray
) -> tuple[renaming.History, np.ndarray, np.ndarray]:
    """The history at each depth, the classes that are looked at now, and their labels, int64 [..., DEPTHS, n]."""
    lowest = _lowest(answers)
    meant = np.broadcast_to(lowest, (*truth.shape[:-1], *lowest.shape[-2:]))
    known = renaming.History(before.meant, np.broadcast_to(past[..., None, :], before.meant.shape), before.sums)
    return known, meant, np.broadcast_to(truth[..., None, :], meant.shape)


def _lowest(answers: Answers) -> np.ndarray:
    """The classes of the lowest scores, of equal ones the first: int64 [..., DEPTHS, n], -1 for a refusal.

    The highest is never among them: where there are fewer, the last is looked at again.
    """
    assert answers.probabilities is not None
    left, found = answers.probabilities.copy(), list[np.ndarray]()
    for _ in range(min(DEPTHS, answers.scores - 1)):
        found.append(left.argmin(axis=-1))
        np.put_along_axis(left, found[-1][..., None], np.inf, axis=-1)
    found += found[-1:] * (DEPTHS - len(found))
    return np.where(answers.labels[..., None, :] >= 0, np.stack(found, axis=-2), -1)


def withheld(acquittal: np.ndarray, bits: np.ndarray) -> np.ndarray:
    """The acquittal, at most 0 while bets on the lowest scores have won.

    >>> withheld(np.array([9.0, 12.0, -1.0]), np.array([-1.0, 7.0, 8.0])).tolist()
    [9.0, 0.0, -1.0]
    """
    return told.withheld(acquittal, bits < 0.0)
