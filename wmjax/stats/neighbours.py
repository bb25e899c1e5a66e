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
from scipy.stats import rankdata

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
      usable: bool [..., t], which were answers, not refusals.
      doubt: float64 [...], bits against a copy.
    """

    given: np.ndarray
    usable: np.ndarray
    doubt: np.ndarray


def nothing(shape: tuple[int, ...]) -> Neighbours:
    """No answers yet."""
    return Neighbours(np.zeros((*shape, 0, 0), np.float32), np.zeros((*shape, 0), bool), np.zeros(shape))


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
    hits = _in_blocks(given, usable, labels, answers.classes, among, past.shape[-1])
    chance = 1.0 / answers.classes if among is None else 0.5
    rate = chance ** (_FEWER if answers.scores < answers.classes else _ROOT)
    moves = np.array([np.log2((1.0 - chance) / (1.0 - rate)), 0.0, np.log2(chance / rate)])[hits]
    found = before.doubt[..., None] + np.cumsum(moves, axis=-1)
    return Neighbours(given, usable, found[..., -1]), found


def _in_blocks(
    given: np.ndarray, usable: np.ndarray, labels: np.ndarray, classes: int, among: np.ndarray | None, before: int
) -> np.ndarray:
    """What `_hits` gives for a few suspects after another: all at once would take much memory."""
    count, rows = math.prod(labels.shape[:-1]), labels.ndim - 1
    scores, counts, truth = (each.reshape(count, *each.shape[rows:]) for each in (given, usable, labels))
    size = max(1, _BLOCK // (max(classes, given.shape[-1]) * max(1, labels.shape[-1])))
    parts = [slice(start, start + size) for start in range(0, max(1, count), size)]
    hits = np.concatenate([_hits(scores[p], counts[p], truth[p], classes, among, before) for p in parts])
    return np.asarray(hits.reshape(*labels.shape[:-1], hits.shape[-1]))


def _hits(
    given: np.ndarray, usable: np.ndarray, labels: np.ndarray, classes: int, among: np.ndarray | None, before: int
) -> np.ndarray:
    """Of each answer from `before` on: 2 if most say its label, 0 if another, 1 if none says any; int64 [..., n].

    A refusal is a hit: nobody is cleared by silence.
    """
    ranks = np.zeros(given.shape, np.int32)  # twice those among all so far, from 0 on; of equal ones the mean
    ranks[..., :before, :] = 2 * rankdata(given[..., :before, :], axis=-2) - 2
    says = ((labels[..., None] == np.arange(classes)) & usable[..., None]).astype(np.float64)
    found = np.ones((*labels.shape[:-1], labels.shape[-1] - before), np.int64)
    for i in range(before, labels.shape[-1]):
        now, past = given[..., i, None, :], given[..., :i, :]
        moves = (past >= now).astype(np.int8) + (past > now)
        ranks[..., :i, :] += moves
        ranks[..., i, :] = 2 * i - moves.sum(axis=-2, dtype=np.int32)
        apart = np.abs(ranks[..., :i, :] - ranks[..., i, None, :]).sum(axis=-1, dtype=np.float64)
        votes = (_weights(apart, usable[..., :i])[..., None, :] @ says[..., :i, :])[..., 0, :]
        own = np.take_along_axis(votes, labels[..., i, None], axis=-1)[..., 0]
        if among is None:
            found[..., i - before] = np.where(votes.any(axis=-1), 2 * (votes.argmax(axis=-1) == labels[..., i]), 1)
        else:
            other = votes[..., among[i - before]].sum(axis=-1) - own
            found[..., i - before] = 1 + np.sign(own - other)
    return np.where(usable[..., before:], found, 2)


def _weights(apart: np.ndarray, usable: np.ndarray) -> np.ndarray:
    """What each earlier answer's word counts, by how far it is: 0 from the mean distance on; whole numbers [..., i].

    So their sums are the same on every machine.
    """
    mean = (apart * usable).sum(axis=-1, keepdims=True) / np.maximum(1, usable.sum(axis=-1, keepdims=True))
    near = np.maximum(0.0, 1.0 - apart / np.where(mean > 0.0, mean, 1.0))
    return np.asarray(np.rint(_NEAREST * near * near * near * near))
