"""Evidence against a copy, whatever it means by its answers: the least that counts, for every kind that bets on labels.

A copy may rename its classes or serve a part of them (`renaming` and `naming`, with `told`), mean another class than
that of its highest score (`turned`), or answer in some other form (`neighbours`). Nobody is cleared whom one of these
does not clear, nor anybody whose scores may hide another network's (`answers.may_hide`).
"""

from collections.abc import Callable
from typing import NamedTuple

import numpy as np

from wmjax.stats import neighbours, renaming, told, turned
from wmjax.stats.answers import Answers
from wmjax.stats.renaming import History


class Doubts(NamedTuple):
    """What was seen so far; arrays that begin with the leading axes.

    Attributes:
      against: float64 [..., 10], evidence against one of so many tenths of the classes under any names.
      seen, other, near: as `told`, `turned` and `neighbours` keep them.
    """

    against: np.ndarray
    seen: told.Told
    other: turned.Turned
    near: neighbours.Neighbours


def nothing(shape: tuple[int, ...], begin: Callable[[tuple[int, ...]], History]) -> Doubts:
    """No answers yet, and histories that begin so."""
    against = np.zeros((*shape, len(renaming.PARTS)))
    return Doubts(against, told.nothing(shape), turned.nothing(shape, begin), neighbours.nothing(shape))


def weigh(
    before: Doubts,
    past: History,
    answers: Answers,
    truth: np.ndarray,
    learn: turned.Learn,
    moves: np.ndarray,
    *,
    outputs: int,
    among: np.ndarray | None = None,
) -> tuple[Doubts, np.ndarray]:
    """What was seen after n more answers, and the least evidence against a copy after each, in bits, float64 [..., n].

    Args:
      before: what was seen.
      past: what was answered before, with its labels.
      answers: labels [..., n].
      truth: int64 [..., n], the secret labels.
      learn: how evidence under any names is counted.
      moves: float64 [10, ..., n], what that adds for the classes as they were answered.
      outputs: as of `told.of_any`.
      among: as of `neighbours.doubt`.
    """
    against = np.moveaxis(before.against, -1, 0)[..., None] + np.cumsum(moves, axis=-1)
    seen, tenths = told.tell(before.seen, past.answered, answers, truth.shape)
    tenths = told.of_any(tenths, outputs)
    other, doubted = turned.doubt(before.other, past.truth, answers, truth, tenths, learn)
    near, unlike = neighbours.doubt(before.near, past.truth, answers, truth, among)
    least = np.minimum.reduce([renaming.least(against, tenths), doubted, unlike])
    after = Doubts(np.moveaxis(against[..., -1], 0, -1), seen, other, near)
    return after, told.withheld(least, not answers.may_hide)
