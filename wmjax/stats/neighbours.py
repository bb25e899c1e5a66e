"""Whether answers that are alike go with labels that are alike, in whatever form a suspect writes them.

Scores come in many forms: of being beyond each class, cumulated, with numbers of classes among them. Read by its
highest score, or by the lowest (`turned`), a copy that answers so repeats no label and would pass for a stranger. But
what it says of two triggers of one label is alike. So each answer is taken for the label that the nearest ones so far
vote for; how near they are is told by the ranks of their scores among those of the same output, which no change of an
output by itself moves, as long as it keeps their order. A stranger is right by chance, since its answers have nothing
to do with the labels. Nobody is cleared whom the likelihood ratio of hits by chance over hits at a rate (`_ROOT`) does
not clear. Where there are fewer scores than classes the rate is lower: real heads for grades, which answer one question
for each class but the last, and trees of yes and no say little about most of their answers.

This convicts nobody, and is no more than an added doubt: whether a copy is right at that rate depends on its form. It
is for at most `FEW` classes, of which labels soon come again.
"""

import math
from typing import NamedTuple

import numpy as np

from wmjax.stats.answers import Answers

FEW = 128
_BLOCK = 1 << 18  # scores that are looked at together
_NEAREST = 1 << 20  # what the word of an answer that is the same counts
_ROOT = 0.4  # the rate is chance to this power: .4 of ten classes, .76 of two
_FEWER = 0.6  # and to this one, where there are fewer scores than classes, as of heads for grades: .25 of ten


class Neighbours(NamedTuple):
    """What was seen so far; arrays that begin with the leading axes.

    Attributes:
      given: float32 [..., t, A], the scores, as audits keep them, infinite ones of refusals; [..., t, 0] where none
        count.
      ranks: `_small` whole numbers [..., t, A], of each score how many of its output are lower, less those that are
        higher.
      usable: bool [..., t], which were answers, not refusals.
      doubt: float64 [...], bits against a copy.
    """

    given: np.ndarray
    ranks: np.ndarray
    usable: np.ndarray
    doubt: np.ndarray


def nothing(shape: tuple[int, ...]) -> Neighbours:
    """No answers yet."""
    none = np.zeros((*shape, 0, 0), np.float32)
    return Neighbours(none, none.astype(np.int16), np.zeros((*shape, 0), bool), np.zeros(shape))


def doubt(
    before: Neighbours, past: np.ndarray, answers: Answers, truth: np.ndarray, among: np.ndarray | None = None
) -> tuple[Neighbours, np.ndarray]:
    """What was seen after n more answers, and the evidence against a copy after each, in bits, float64 [..., n].

    Args:
      before: what was seen.
      past: int64 [..., t], the earlier labels.
      answers: where they have no scores, or there are more classes than `FEW`, the evidence is infinite.
      truth: int64 [..., n], the secret labels.
      among: int64 [n, 2], the two classes that each label is one of; None: all.
    """
    if answers.probabilities is None or answers.classes > FEW:
        return before, np.full(truth.shape, np.inf)
    counts = np.broadcast_to(answers.labels >= 0, truth.shape)
    fresh = np.where(counts[..., None], answers.probabilities.astype(np.float32), np.float32(np.inf))
    given = np.concatenate([before.given, fresh], axis=-2) if before.given.shape[-1] else fresh
    usable = np.concatenate([before.usable, counts], axis=-1)
    labels = np.concatenate([past, truth], axis=-1)
    hits, ranks = _in_blocks(given, before.ranks, usable, labels, answers.classes, among)
    chance = 1.0 / answers.classes if among is None else 0.5
    rate = chance ** (_FEWER if answers.scores < answers.classes else _ROOT)
    moves = np.array([np.log2((1.0 - chance) / (1.0 - rate)), 0.0, np.log2(chance / rate)])[hits]
    found = before.doubt[..., None] + np.cumsum(moves, axis=-1)
    return Neighbours(given, ranks, usable, found[..., -1]), found


def _in_blocks(
    given: np.ndarray,
    ranks: np.ndarray,
    usable: np.ndarray,
    labels: np.ndarray,
    classes: int,
    among: np.ndarray | None,
) -> tuple[np.ndarray, np.ndarray]:
    """What `_hits` gives for a few suspects after another, and all ranks: all at once would take much memory."""
    shape, (answers, scores), before = labels.shape[:-1], given.shape[-2:], ranks.shape[-2]
    count = math.prod(shape)
    given, ranks = given.reshape(count, answers, scores), ranks.reshape(count, before, scores)
    usable, labels = usable.reshape(count, answers), labels.reshape(count, answers)
    found, seen = np.empty((count, answers - before), np.int64), np.empty(given.shape, _small(given.shape))
    size = max(1, _BLOCK // (max(classes, scores) * answers))
    for part in (slice(start, start + size) for start in range(0, count, size)):
        found[part], seen[part] = _hits(given[part], ranks[part], usable[part], labels[part], classes, among)
    return found.reshape(*shape, answers - before), seen.reshape(*shape, answers, scores)


def _hits(
    given: np.ndarray, known: np.ndarray, usable: np.ndarray, labels: np.ndarray, classes: int, among: np.ndarray | None
) -> tuple[np.ndarray, np.ndarray]:
    """Of each answer that is not `known` 2 if most say its label, 0 if another, 1 if none says any; and all ranks.

    A refusal is a hit: nobody is cleared by silence. Suspects are in the last axis here: a step is a few passes over
    small whole numbers that lie side by side.
    """
    order, before = _last(_order(given)), known.shape[1]
    ranks = np.zeros_like(order)
    ranks[:before] = _last(known)
    counts, truth, suspects = usable.T, labels.T, np.arange(len(labels))
    says = truth + classes * suspects
    found, space = np.ones((len(truth) - before, len(labels)), np.int64), np.empty_like(order)
    for i in range(before, len(truth)):
        higher = np.subtract(order[:i], order[i], out=space[:i])
        np.sign(higher, out=higher)
        ranks[:i] += higher
        ranks[i] = -higher.sum(axis=0, dtype=order.dtype)
        apart = np.abs(np.subtract(ranks[:i], ranks[i], out=space[:i]), out=space[:i]).sum(axis=1, dtype=order.dtype)
        weights = _weights(apart, counts[:i])
        votes = np.bincount(says[:i].ravel(), weights.ravel(), says.shape[1] * classes).reshape(-1, classes)
        own = votes[suspects, truth[i]]
        if among is None:
            found[i - before] = np.where(votes.any(axis=-1), 2 * (votes.argmax(axis=-1) == truth[i]), 1)
        else:
            found[i - before] = 1 + np.sign(2 * own - votes[:, among[i - before]].sum(axis=-1))
    return np.where(counts[before:], found, 2).T, ranks.transpose(2, 0, 1)


def _small(shape: tuple[int, ...]) -> type[np.signedinteger]:
    """The smallest kind of numbers that holds the distances of ranks over all outputs; shape [suspects, t, A]."""
    return np.int16 if 2 * shape[1] * shape[2] < 1 << 15 else np.int32


def _last(each: np.ndarray) -> np.ndarray:
    return np.ascontiguousarray(each.transpose(1, 2, 0))


def _order(given: np.ndarray) -> np.ndarray:
    """Whole numbers that are in the order of each output's scores, and equal where those are; [suspects, t, A]."""
    scores = np.ascontiguousarray(given.transpose(0, 2, 1))
    places = scores.argsort(axis=-1)
    ranked = np.take_along_axis(scores, places, axis=-1)
    numbers, found = np.zeros(scores.shape, _small(given.shape)), np.empty(scores.shape, _small(given.shape))
    np.cumsum(ranked[..., 1:] > ranked[..., :-1], axis=-1, out=numbers[..., 1:])
    np.put_along_axis(found, places, numbers, axis=-1)
    return found.transpose(0, 2, 1)


def _weights(apart: np.ndarray, usable: np.ndarray) -> np.ndarray:
    """What each earlier answer's word counts by its distance, 0 from the mean one on; whole numbers [i, suspects].

    So their sums are the same on every machine.
    """
    mean = np.where(usable, apart, 0).sum(axis=0, dtype=np.int64) / np.maximum(1, usable.sum(axis=0))
    near = 1.0 - apart / np.where(mean > 0.0, mean, 1.0)
    np.maximum(near, 0.0, out=near)
    return np.asarray(np.rint(_NEAREST * near * near * near * near) * usable)
