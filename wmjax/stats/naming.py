"""Evidence against a copy under any names, exact whatever it says: by the names under which it repeats most.

Each answer is taken for the label that it went with most often. No other way to read the answers as labels gives more
hits, so neither does the copy's own, for which the likelihood ratio of hits by chance over hits at a rate is a test
supermartingale: the least over all readings is never above it. A first answer is always a hit, as is a refusal, so
nothing else has to be done about copies that have many words for a class.

This is for coins. A label of ten is hit by chance seldom, and to count the first answer of each class as one costs
innocents twice as many questions as the mean over all readings does (`renaming`), which is no more than nearly exact.
Of coins that mean would clear copies: it is fair where all classes are as likely to be right, not two.
"""

import numpy as np

from wmjax.stats.renaming import PARTS, History, latest


def begin(shape: tuple[int, ...]) -> History:
    """Nothing answered yet; `sums` will hold how often each answer had come with its most frequent label."""
    none = np.zeros((*shape, 0), np.int64)
    return History(none, none, np.zeros((*shape, 0, 1)))


def count(
    history: History, answered: np.ndarray, truth: np.ndarray, classes: int, chance: float
) -> tuple[History, np.ndarray]:
    """The history with n more answers, and what each adds to the evidence against copies, in bits.

    >>> answered, truth = np.array([7, 7, 7, -1]), np.array([2, 2, 4, 4])
    >>> count(begin(()), answered, truth, 10, 0.5)[1][-1].round(2).tolist()
    [-0.68, -0.68, 1.32, -0.68]

    Args:
      history: before them.
      answered: int64 [..., n], any whole number is an answer, -1 a refusal.
      truth: int64, of the same shape: the labels.
      classes: C, more than any label.
      chance: that a stranger hits.

    Returns:
      the history; and float64 [10, ..., n], of copies of one to ten tenths of the classes: 0 where such a copy need
      not hit more often than a stranger.
    """
    answers = np.concatenate([history.answered, answered], axis=-1)
    labels = np.concatenate([history.truth, truth], axis=-1)
    best, gains = most(answers, answers * classes + labels, history.sums[..., 0], answers >= 0)
    hits = (answered < 0) | (gains > 0)
    rates = np.array(PARTS).reshape(-1, *[1] * hits.ndim)
    moves = np.where(hits, np.log2(chance / rates), np.log2((1.0 - chance) / (1.0 - rates)))
    return History(answers, labels, best[..., None]), np.where(rates > chance, moves, 0.0)


def most(groups: np.ndarray, pairs: np.ndarray, best: np.ndarray, counts: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """How often its group had had its most frequent member, after each of t + n, and how much the last n added to that.

    >>> groups, pairs = np.array([0, 0, 0, 0]), np.array([1, 2, 2, 1])
    >>> [found.tolist() for found in most(groups, pairs, np.zeros(0), groups == 0)]
    [[1.0, 1.0, 2.0, 2.0], [1.0, 0.0, 1.0, 0.0]]

    Args:
      groups: int64 [..., t + n], to which each belongs.
      pairs: int64 [..., t + n], one number for each group and member.
      best: [..., t], what this gave for the first t.
      counts: bool [..., t + n], which of them may be most frequent; a later one of the same kind counts them all.
    """
    before = best.shape[-1]
    best = np.concatenate([best, np.zeros((*groups.shape[:-1], groups.shape[-1] - before), best.dtype)], axis=-1)
    gains = np.zeros_like(best[..., before:])
    last, known = latest(groups)
    together = np.where(counts, 1 + latest(pairs)[1], 0)
    for now in range(before, groups.shape[-1]):  # each follows from an earlier one
        past = np.take_along_axis(best, last[..., now, None], axis=-1)[..., 0] * (known[..., now] > 0)
        best[..., now] = np.maximum(past, together[..., now])
        gains[..., now - before] = best[..., now] - past
    return best, gains
