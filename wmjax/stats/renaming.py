"""Bets on a renaming of the classes that is learned from earlier triggers.

Whoever steals a network may rename its outputs: permute the columns of its head, merge classes, add some, speak in
other words. Then answer a means some label pi(a), and nobody knows pi. So the gambler stakes on every function pi at
once, with equal stakes, as one who is right about each label with rate r:

    W_r = mean over pi of prod_i (r C if pi(a_i) = y_i else (1 - r) C / (C - 1))

Each product is a test martingale, because its stake on y_i follows from a_i and pi alone and wins 1 on average; so the
mean is one. In it the entries of pi are independent, and the bet on a label follows from how often its answer went with
each label before. An answer that never came before wins nothing and loses nothing. But a
copy may have many words for a class, even one for each image: so against a copy only as many new answers as there are
classes, and one more, say nothing; each later one is a hit (`aliases`).

The inverse, 1 / W_r, is evidence *against* a copy that repeats each label with chance at least r under some pi. For one
pi it is a test supermartingale whatever the copy does when it is wrong: a step is worth r (1 / (r C)) + (1 - r) (C - 1)
/ ((1 - r) C) = 1 on average. The mean over all pi keeps that exactly where wrong answers are spread evenly (each
answer's labels may then change names without anybody knowing), not where they all go to one favourite: the favourite's
labels look like a stranger's, while most of the others come once and say nothing. Of few classes they soon come again;
of many they do not, and without more such copies of 100 classes were cleared 14 times in 100. So beyond `EVEN_CLASSES`
each new answer takes log2(C / EVEN_CLASSES) bits off the evidence against a copy. (All of log2 C would make it exact
for every copy, and clear innocents of ten classes after 40 questions in place of 30.) `tests/test_cleared.py` simulates
all of this.

It takes more questions than evidence against a copy with its own names, since pi has to be told too: no test could both
clear strangers and keep a copy that repeats 40 % of ten labels under a renaming by fewer than some 70 questions (log2 C
bits for each of ten answers, .45 bits a question). So a copy of all classes is held to `CLEARED_RATE`: who renames the
outputs of a network has no need to train it. Whoever serves m of the C classes repeats m / C of the labels at most, and
is held to `CLEARED_RATE` m / C, in tenths of C: 40 % for half of them. Nobody is cleared as a whole copy who may be a
part of one: the evidence that counts is the least over all m from as many classes as were told apart so far (`told`)
to C. That is no more than the true m at any time, so its own supermartingale is always among those of which the least
counts, and Ville's inequality holds for the least. Where the rate of a part is at most chance, 1 / C, there is no
evidence against it, and no acquittal: who gives one answer to everything is not cleared, nor, of 1,000 classes, who
was seen to tell apart fewer than a hundred.
"""

import math
from typing import NamedTuple

import numpy as np

from wmjax.stats.mixture import added

RATES = (0.6, 0.8, 0.95)  # each a strategy; above chance for two classes too
CLEARED_RATE = 0.8
EVEN_CLASSES = 10
PARTS = tuple(CLEARED_RATE * tenths / 10 for tenths in range(1, 11))  # nobody bets on these
_PLAYED = np.array([*RATES, *PARTS])


class History(NamedTuple):
    """What was answered so far; arrays that begin with the leading axes.

    Attributes:
      answered: int64 [..., t], -1 for refusals.
      truth: int64 [..., t], the labels.
      sums: float64 [..., t, rates]; after each answer, log2 of the sum over labels y of rho ** (times that this answer
        went with y), where rho is what a right guess wins over a wrong one; of `naming` [..., t, 1].
    """

    answered: np.ndarray
    truth: np.ndarray
    sums: np.ndarray


def begin(shape: tuple[int, ...], *, bets: bool = True) -> History:
    """Nothing answered yet; without `bets` all that is learned tells against copies."""
    none = np.zeros((*shape, 0), np.int64)
    return History(none, none, np.zeros((*shape, 0, len(_PLAYED if bets else PARTS))))


def learn(
    history: History, answered: np.ndarray, truth: np.ndarray, classes: int
) -> tuple[History, np.ndarray, np.ndarray]:
    """What the strategies win on n more answers, what tells against copies, and the history with them.

    Args:
      history: before them.
      answered: int64 [..., n], any whole number is an answer, -1 a refusal.
      truth: int64, of the same shape: the secret labels.
      classes: C.

    Returns:
      the history; log2 of what each strategy wins, float64 [rates, ..., n], where refusals lose as much as wrong
      guesses do, [0, ..., n] where the history began without bets; and what each answer adds to the evidence against a
      copy of one to ten tenths of the classes, float64 [10, ..., n], where a refusal is a hit.
    """
    before, bets = history.answered.shape[-1], history.sums.shape[-1] - len(PARTS)
    wrong, rho = (odds[-history.sums.shape[-1] :] for odds in _odds(classes))
    answers = np.concatenate([history.answered, answered], axis=-1)
    labels = np.concatenate([history.truth, truth], axis=-1)
    last, known = latest(answers)
    together = latest(answers * classes + labels)[1][..., before:]
    never, follows = known == 0, np.where(known > 0, last + 1, 0)[..., before:]
    sums, moves = _played(history.sums, follows, together, wrong, rho, classes)
    against, refused = -moves[..., bets:], answered < 0
    if classes > EVEN_CLASSES:
        against[never[..., before:]] -= np.log2(classes / EVEN_CLASSES)
    against[refused | aliases(never & (answers >= 0), classes)[..., before:]] = -(wrong + rho)[bets:]
    against[..., np.array(PARTS) * classes <= 1.0] = 0.0
    moves[refused] = wrong
    return History(answers, labels, sums), np.moveaxis(moves[..., :bets], -1, 0), np.moveaxis(against, -1, 0)


def _played(
    sums: np.ndarray, follows: np.ndarray, together: np.ndarray, wrong: np.ndarray, rho: np.ndarray, classes: int
) -> tuple[np.ndarray, np.ndarray]:
    """The sums with those of n more answers, and log2 of what each answer wins, float64 [..., n, rates].

    Args:
      sums: as in `History`, [..., t, rates].
      follows: int64 [..., n], from which of t + n each follows, the first is 1; 0 where its answer never came before.
      together: int64 [..., n], how often each had come with its label.
      wrong: float64 [rates], as `_odds` gives it.
      rho: float64 [rates], too.
      classes: C.
    """
    (before, rates), n, count = sums.shape[-2:], follows.shape[-1], math.prod(follows.shape[:-1])
    rows, times = follows.reshape(count, n).T * count + np.arange(count), together.reshape(count, n).T
    gains = np.arange(1 + times.max(initial=0))[:, None] * rho + np.log2(np.exp2(rho) - 1.0)
    # time comes first: a step reads and writes whole blocks, and spreads nothing over them
    totals, wins = np.empty((1 + before + n, count, rates)), np.empty((n, count, rates))
    totals[0], totals[1 : 1 + before] = np.log2(classes), sums.reshape(count, before, rates).swapaxes(0, 1)
    flat, wrongs = totals.reshape(-1, rates), np.tile(wrong, (count, 1))
    for i in range(n):
        past = flat.take(rows[i], axis=0)
        totals[1 + before + i] = added(past, gains.take(times[i], axis=0))
        wins[i] = totals[1 + before + i] - past + wrongs
    found = totals[1:].swapaxes(0, 1).reshape(*sums.shape[:-2], before + n, rates)
    return found, wins.swapaxes(0, 1).reshape(*follows.shape, rates)


def aliases(new: np.ndarray, classes: int) -> np.ndarray:
    """Which of the answers that never came before, bool [..., t], came after one more than there are classes.

    >>> aliases(np.array([True, False, True, True, True, False]), 2).tolist()
    [False, False, False, False, True, False]
    """
    return np.asarray(new & (np.cumsum(new, axis=-1) > classes + 1))


def latest(values: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """For each of the values [..., t] where its equal came last before it, and how often it came before.

    >>> [found.tolist() for found in latest(np.array([7, 5, 7, 7]))]
    [[1, 0, 0, 2], [0, 0, 1, 2]]

    Where it never came before, the place says nothing.
    """
    few = values.size and values.min() >= -(2**15) and values.max() < 2**15
    order = np.argsort(values.astype(np.int16) if few else values, axis=-1, kind="stable")  # four times as fast
    ranked, places = np.take_along_axis(values, order, axis=-1), np.arange(values.shape[-1])
    first = np.ones(values.shape, bool)
    first[..., 1:] = ranked[..., 1:] != ranked[..., :-1]
    times = places - np.maximum.accumulate(np.where(first, places, 0), axis=-1)
    found = np.zeros((2, *values.shape), np.int64)
    np.put_along_axis(found[0], order[..., 1:], order[..., :-1], axis=-1)
    np.put_along_axis(found[1], order, times, axis=-1)
    return found[0], found[1]


def least(against: np.ndarray, tenths: np.ndarray) -> np.ndarray:
    """The least evidence [10, ..., n] against copies of at least these tenths [..., n] of the classes; 0 for none."""
    parts = np.arange(1, len(PARTS) + 1).reshape(-1, *[1] * tenths.ndim)
    found = np.where(parts >= tenths, against, np.inf).min(axis=0)
    return np.asarray(np.where(tenths == 0, np.minimum(found, 0.0), found))


def _odds(classes: int) -> tuple[np.ndarray, np.ndarray]:
    """log2 of what a wrong guess wins at each rate, and of how many times as much a right one does."""
    chance = 1.0 / classes
    rates = np.maximum(_PLAYED, 1.01 * chance)  # what is not above chance is not used
    wrong = np.log2((1.0 - rates) / (1.0 - chance))
    return wrong, np.log2(rates / chance) - wrong
