"""How many classes a suspect was seen to tell apart.

Whoever serves m of a network's C classes can repeat m / C of uniform labels at most, so nobody is cleared at the rate
of a whole copy whose answers might all come from a part of one. A class counts from the first time that it is answered;
where there are scores also from the first time that its own is more than `SHOWN` of an even share, and like no other's
in that answer: columns that are masked, smoothed, spread over what a service did not name, or copied are all alike.
What was seen so far is never more than m, whenever one looks, so a hypothesis that holds is never dropped. Who makes up
answers in unused classes is beyond this, and beyond any test: they look like a whole copy that knows less.

Scores tell nothing apart while the highest is always the same one: they may be in the order of their size, or say how
likely a class is beyond the first, the second and so on, as heads for grades and ages do. Nobody is cleared by them.
Where several are the highest it is none: of scores that are cumulated the last few are 1.
"""

from typing import NamedTuple

import numpy as np

from wmjax.stats.answers import Answers

SHOWN = 0.2


class Told(NamedTuple):
    """What was seen so far; arrays that begin with the leading axes.

    Attributes:
      told: int64 [...], classes.
      columns: bool [..., A], which, where there are scores; [..., 0] before the first answers, or without.
      highest: bool [..., A], which were ever higher than all others; likewise.
    """

    told: np.ndarray
    columns: np.ndarray
    highest: np.ndarray


def nothing(shape: tuple[int, ...]) -> Told:
    """No answers yet."""
    none = np.zeros((*shape, 0), bool)
    return Told(np.zeros(shape, np.int64), none, none)


def tell(before: Told, past: np.ndarray, answers: Answers, shape: tuple[int, ...]) -> tuple[Told, np.ndarray]:
    """What was seen after n more answers, and after each of them in tenths of the key's classes.

    >>> tell(nothing(()), np.zeros(0, int), Answers(np.array([7, 7, 2, -1]), None, 4), (4,))[1].tolist()
    [2, 2, 5, 5]

    Args:
      before: them.
      past: int64 [..., t], the labels that were answered before.
      answers: labels [..., n].
      shape: of the labels, with the leading axes of all suspects.

    Returns:
      what was seen, and int64 [..., n], tenths, rounded down: of all classes 10.
    """
    if answers.probabilities is None:
        fresh = np.broadcast_to(answers.labels, shape)
        told = before.told[..., None] + np.cumsum(first_times(past, fresh), axis=-1)
        return before._replace(told=told[..., -1]), _tenths(told, answers.classes)
    shown, highest = _columns(answers.probabilities, answers.labels)
    columns = _ever(before.columns, shown, shape)
    tops = _ever(before.highest, highest, shape)
    told = columns.sum(axis=-1)
    told = np.where(tops.sum(axis=-1) > 1, told, np.minimum(told, 1))
    return Told(told[..., -1], columns[..., -1, :], tops[..., -1, :]), _tenths(told, answers.classes)


def _tenths(told: np.ndarray, classes: int) -> np.ndarray:
    return np.asarray(10 * np.minimum(told, classes) // classes)


def _ever(before: np.ndarray, now: np.ndarray, shape: tuple[int, ...]) -> np.ndarray:
    """What was so before, bool [..., A], or up to each answer now, [..., n, A]."""
    ever = np.maximum.accumulate(now, axis=-2)
    if before.shape[-1]:
        ever = ever | before[..., None, :]
    return np.broadcast_to(ever, (*shape, ever.shape[-1]))


def of_any(tenths: np.ndarray, outputs: int) -> np.ndarray:
    """What was seen of an output of a suspect in any of its readings, for each of them: tenths [..., readings, n].

    >>> of_any(np.array([[1, 2], [3, 4]]), 1).tolist(), of_any(np.array([[1, 2], [3, 4]]), 2).tolist()
    ([[3, 4], [3, 4]], [[1, 2], [3, 4]])

    Asked as it is not meant to be, a network may give one answer to everything, and it is one file all the same. But
    what another output tells apart says nothing of this one, which may be a copy's, of a part of the classes.

    Args:
      tenths: int64 [..., readings, n], of readings that are of one output after another.
      outputs: how many; 0: what there is are suspects, and none speaks for another.
    """
    if not outputs:
        return tenths
    each = tenths.reshape(*tenths.shape[:-2], -1, outputs, tenths.shape[-1])
    return np.broadcast_to(each.max(axis=-3, keepdims=True), each.shape).reshape(tenths.shape)


def withheld(acquittal: np.ndarray, counts: np.ndarray | bool) -> np.ndarray:
    """The acquittal, at most 0 where it does not count.

    >>> withheld(np.array([9.0, 9.0, -1.0]), np.array([True, False, False])).tolist()
    [9.0, 0.0, -1.0]
    """
    return np.where(counts, acquittal, np.minimum(acquittal, 0.0))


def several(past: np.ndarray, fresh: np.ndarray) -> np.ndarray:
    """Whether different labels were answered up to each of the labels [..., n], past [..., t] ones among them.

    >>> several(np.array([-1, 3]), np.array([3, -1, 5, 3])).tolist()
    [False, False, True, True]
    """
    shape = np.broadcast_shapes(past.shape[:-1], fresh.shape[:-1])
    labels = np.concatenate([np.broadcast_to(each, (*shape, each.shape[-1])) for each in (past, fresh)], axis=-1)
    none = np.iinfo(labels.dtype).max
    least = np.minimum.accumulate(np.where(labels < 0, none, labels), axis=-1)
    return np.asarray((np.maximum.accumulate(labels, axis=-1) > least)[..., past.shape[-1] :])


def first_times(past: np.ndarray, fresh: np.ndarray) -> np.ndarray:
    """Which of the labels [..., n] were never answered before, neither in the past [..., t] nor among themselves."""
    firsts = fresh >= 0
    for i in range(fresh.shape[-1]):
        now = fresh[..., i, None]
        firsts[..., i] &= ~(past == now).any(axis=-1) & ~(fresh[..., :i] == now).any(axis=-1)
    return firsts


def _columns(scores: np.ndarray, labels: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Of each answer the classes that it shows, and the one that is higher than all others; bool [..., n, A].

    A refusal shows none.
    """
    order = np.argsort(scores, axis=-1)
    ranked, alone = np.take_along_axis(scores, order, axis=-1), np.empty(scores.shape, bool)
    rises = np.ones((*scores.shape[:-1], scores.shape[-1] + 1), bool)
    rises[..., 1:-1] = ranked[..., 1:] > ranked[..., :-1]
    np.put_along_axis(alone, order, rises[..., :-1] & rises[..., 1:], axis=-1)
    best, usable = np.arange(scores.shape[-1]) == labels[..., None], labels[..., None] >= 0
    return np.asarray((alone & (scores > SHOWN / scores.shape[-1]) | best) & usable), np.asarray(best & alone & usable)
