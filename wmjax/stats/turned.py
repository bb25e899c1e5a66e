"""Scores of which the lowest is best, as of losses, distances, ranks, or a head whose sign was changed.

Such a copy repeats no label by its highest score, and would pass for a stranger. So the class of the lowest one is
looked at too. It convicts nobody: who reads answers so may say so, by a function. Some outputs may always be low, as
those of classes which are never meant or of a background. So the lowest is also looked for among those that were not
one of the k lowest in more than half of the answers: k from 0, which leaves out none, to `MOST`.

`look` bets on these classes as `labels` does: nobody is cleared while that has won, with equal stakes for each k.
`doubt` counts the evidence against a copy under any names, as `renaming` does: of coins, which tell less than labels, a
copy may lose some bets while its names are still learnt.
"""

from typing import NamedTuple

import numpy as np

from wmjax.stats import renaming, told
from wmjax.stats.answers import Answers
from wmjax.stats.mixture import mixed

MOST = 3  # outputs that may always be low


class Turned(NamedTuple):
    """What was seen so far; arrays that begin with the leading axes.

    Attributes:
      low: int64 [..., MOST, A], how often each output was one of the 1 to `MOST` lowest; [..., MOST, 0] at first.
      meant: int64 [..., 1 + MOST, t], the classes that were looked at for each k, -1 for a refusal.
      sums: as in `renaming.History`.
      totals: float64 [..., 1 + MOST, strategies], log2 wealth of each, [..., 1 + MOST, 1] at first; of `doubt`
        [..., 1 + MOST, 10], evidence against copies of so many tenths of the classes.
    """

    low: np.ndarray
    meant: np.ndarray
    sums: np.ndarray
    totals: np.ndarray


def nothing(shape: tuple[int, ...], *, parts: bool = False) -> Turned:
    """No answers yet; `parts` for `doubt`."""
    begun, totals = renaming.begin((*shape, 1 + MOST), parts=parts), len(renaming.PARTS) if parts else 1
    low = np.zeros((*shape, MOST, 0), np.int64)
    return Turned(low, begun.answered, begun.sums, np.zeros((*shape, 1 + MOST, totals)))


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
    known, low, meant, labels = _taken(before, past, answers, truth)
    history, guessed, _ = renaming.learn(known, meant, labels, answers.classes)
    own = [np.log2((1.0 - eps) * answers.classes * (meant == labels) + eps) for eps in hedges]
    sums = np.concatenate([own, guessed])
    np.cumsum(sums, axis=-1, out=sums)
    sums += np.moveaxis(before.totals, -1, 0)[..., None]
    after = Turned(low, history.answered, history.sums, np.moveaxis(sums[..., -1], 0, -1))
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
    known, low, meant, labels = _taken(before, past, answers, truth)
    history, _, moves = renaming.learn(known, meant, labels, answers.classes, chance)
    against = np.moveaxis(before.totals, -1, 0)[..., None] + np.cumsum(moves, axis=-1)
    after = Turned(low, history.answered, history.sums, np.moveaxis(against[..., -1], 0, -1))
    return after, renaming.least(against, tenths[..., None, :]).min(axis=-2)


def _taken(
    before: Turned, past: np.ndarray, answers: Answers, truth: np.ndarray
) -> tuple[renaming.History, np.ndarray, np.ndarray, np.ndarray]:
    """The history for each k, how often outputs were low, what is looked at now, and its labels, [..., 1 + MOST, n]."""
    assert answers.probabilities is not None
    scores = np.broadcast_to(answers.probabilities, (*truth.shape, answers.scores))
    usable = np.broadcast_to(answers.labels >= 0, truth.shape)
    low, meant = _meant(before.low, scores, usable)
    meant = np.where(usable[..., None, :], meant, -1)
    known = renaming.History(before.meant, np.broadcast_to(past[..., None, :], before.meant.shape), before.sums)
    return known, low, meant, np.broadcast_to(truth[..., None, :], meant.shape)


def _meant(low: np.ndarray, scores: np.ndarray, usable: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """How often outputs were low after n more answers, and the lowest of the others, int64 [..., 1 + MOST, n].

    Of equal scores the first is the lower.
    """
    low = low.copy() if low.shape[-1] else np.zeros((*scores.shape[:-2], MOST, scores.shape[-1]), np.int64)
    meant = np.empty((*scores.shape[:-2], 1 + MOST, scores.shape[-2]), np.int64)
    places = np.arange(scores.shape[-1])
    for i in range(scores.shape[-2]):
        now, left = scores[..., i, :], scores[..., i, :].copy()
        for k in range(min(MOST, scores.shape[-1])):
            lowest = places == left.argmin(axis=-1)[..., None]
            left[lowest] = np.inf
            low[..., k:, :] += (lowest & usable[..., i, None])[..., None, :]
        asked = low[..., :1, :].sum(axis=-1, keepdims=True)
        others = np.where(2 * low > asked, np.inf, now[..., None, :])
        meant[..., 0, i], meant[..., 1:, i] = now.argmin(axis=-1), others.argmin(axis=-1)
    return low, meant


def withheld(acquittal: np.ndarray, bits: np.ndarray) -> np.ndarray:
    """The acquittal, at most 0 while bets on the lowest scores have won.

    >>> withheld(np.array([9.0, 12.0, -1.0]), np.array([-1.0, 7.0, 8.0])).tolist()
    [9.0, 0.0, -1.0]
    """
    return told.withheld(acquittal, bits < 0.0)
