"""Classes that an answer may mean beside that of its highest score.

The lowest score may be the best one, as of losses, distances, ranks, or a head whose sign was changed. Some outputs may
always be low, as those of classes which are never meant or of a background. So the lowest is also looked for among
those that were not one of the k lowest in more than half of the answers: k from 0, which leaves out none, to `MOST`.
And one score may be none of a class, but the number of the best class, how sure it is, or how long it took, which is
mostly high: so the highest is also looked for beside the one that was the highest in more than half of the answers.

By its highest score such a copy repeats no label and would pass for a stranger. These classes convict nobody: who reads
answers so may say so, by a function. But nobody is cleared whom the evidence against a copy, under any names, does not
clear by each of them.
"""

from collections.abc import Callable
from typing import NamedTuple

import numpy as np

from wmjax.stats import renaming
from wmjax.stats.answers import Answers
from wmjax.stats.renaming import History

MOST = 3  # outputs that may always be low
WAYS = 2 + MOST

Learn = Callable[[History, np.ndarray, np.ndarray], tuple[History, np.ndarray]]
"""What more answers [..., n] and their labels add to a history, and to the evidence against copies, [10, ..., n]."""


class Turned(NamedTuple):
    """What was seen so far; arrays that begin with the leading axes. W ways to read an answer are looked at.

    Attributes:
      often: int64 [..., 1 + MOST, A], how often each output was the highest, and one of the 1 to `MOST` lowest;
        [..., 1 + MOST, 0] at first.
      meant: int64 [..., W, t], the classes that were looked at, -1 for a refusal.
      sums: as in the histories that are learned from, [..., W, t, rates].
      against: float64 [..., W, 10], evidence against copies of so many tenths of the classes.
    """

    often: np.ndarray
    meant: np.ndarray
    sums: np.ndarray
    against: np.ndarray


def nothing(shape: tuple[int, ...], begin: Callable[[tuple[int, ...]], History]) -> Turned:
    """No answers yet, and histories that begin so."""
    often, meant = np.zeros((*shape, 1 + MOST, 0), np.int64), np.zeros((*shape, WAYS, 0), np.int64)
    return Turned(often, meant, begin((*shape, WAYS)).sums, np.zeros((*shape, WAYS, len(renaming.PARTS))))


def doubt(
    before: Turned, past: np.ndarray, answers: Answers, truth: np.ndarray, tenths: np.ndarray, learn: Learn
) -> tuple[Turned, np.ndarray]:
    """What was seen after n more answers, and the least evidence against a copy after each, in bits, float64 [..., n].

    Args:
      before: what was seen.
      past: int64 [..., t], the earlier labels.
      answers: where they have no scores nothing is seen, and the evidence is infinite.
      truth: int64 [..., n], the secret labels.
      tenths: int64 [..., n], of the classes that were told apart.
      learn: how the evidence is counted.
    """
    if answers.probabilities is None:
        return before, np.full(truth.shape, np.inf)
    scores = np.broadcast_to(answers.probabilities, (*truth.shape, answers.scores))
    usable = np.broadcast_to(answers.labels >= 0, truth.shape)
    often, meant = _meant(before.often, scores, usable)
    meant = np.where(usable[..., None, :], meant, -1)
    known = History(before.meant, np.broadcast_to(past[..., None, :], before.meant.shape), before.sums)
    history, moves = learn(known, meant, np.broadcast_to(truth[..., None, :], meant.shape))
    against = np.moveaxis(before.against, -1, 0)[..., None] + np.cumsum(moves, axis=-1)
    after = Turned(often, history.answered, history.sums, np.moveaxis(against[..., -1], 0, -1))
    return after, renaming.least(against, tenths[..., None, :]).min(axis=-2)


def _meant(often: np.ndarray, scores: np.ndarray, usable: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """How often outputs were high or low after n more answers, and what each way looks at, int64 [..., WAYS, n].

    Of equal scores the first is the lower, and the higher.
    """
    often = often.copy() if often.shape[-1] else np.zeros((*scores.shape[:-2], 1 + MOST, scores.shape[-1]), np.int64)
    meant = np.empty((*scores.shape[:-2], WAYS, scores.shape[-2]), np.int64)
    places = np.arange(scores.shape[-1])
    for i in range(scores.shape[-2]):
        now, left, counts = scores[..., i, :], scores[..., i, :].copy(), usable[..., i, None]
        highest = places == now.argmax(axis=-1)[..., None]
        often[..., 0, :] += highest & counts
        for k in range(1, 1 + min(MOST, scores.shape[-1])):
            lowest = places == left.argmin(axis=-1)[..., None]
            left[lowest] = np.inf
            often[..., k:, :] += (lowest & counts)[..., None, :]
        mostly = 2 * often > often[..., :1, :].sum(axis=-1, keepdims=True)
        meant[..., 0, i] = np.where(mostly[..., 0, :], -np.inf, now).argmax(axis=-1)
        meant[..., 1, i] = now.argmin(axis=-1)
        meant[..., 2:, i] = np.where(mostly[..., 1:, :], np.inf, now[..., None, :]).argmin(axis=-1)
    return often, meant
