"""Bets on a renaming of the classes that is learned from earlier triggers.

Whoever steals a network may rename its outputs: permute the columns of its head, merge classes, add some, speak in
other words. Then answer a means some label pi(a), and nobody knows pi. So the gambler stakes on every function pi at
once, with equal stakes, as one who is right about each label with rate r:

    W_r = mean over pi of prod_i (r C if pi(a_i) = y_i else (1 - r) C / (C - 1))

Each product is a test martingale, because its stake on y_i follows from a_i and pi alone and wins 1 on average; so the
mean is one. In it the entries of pi are independent, and the bet on a label follows from how often its answer went with
each label before. An answer that never came before wins nothing and loses nothing.

The inverse, 1 / W_r, is evidence *against* a copy that repeats each label with chance at least r under some pi,
whatever pi is: 1 / W_r does not change when labels change names, and a key's labels are as likely under any names. It
takes more questions than evidence against a copy with its own names, since pi has to be told too: no test could both
clear strangers and keep a copy that repeats 40 % of ten labels under a renaming by fewer than some 70 questions (log2 C
bits for each of ten answers, .45 bits a question). So the acquittal holds for `CLEARED_RATE`: who renames the outputs
of a network has no need to train it. Whoever drops or merges half of the classes can name half of the labels at most: a
suspect with fewer classes than the key is held to `FEWER_RATE`, one with less than half of them is never cleared.
"""

from typing import NamedTuple

import numpy as np

RATES = (0.6, 0.8, 0.95)  # each a strategy; above chance for two classes too
CLEARED_RATE = 0.8
FEWER_RATE = 0.4  # nobody bets on it
_PLAYED = (*RATES, FEWER_RATE)


class History(NamedTuple):
    """What was answered so far; arrays that begin with the leading axes.

    Attributes:
      answered: int64 [..., t], -1 for refusals.
      truth: int64 [..., t], the labels.
      sums: float64 [..., t, rates + 1]; after each answer, log2 of the sum over labels y of rho ** (times that this
        answer went with y), where rho is what a right guess wins over a wrong one.
    """

    answered: np.ndarray
    truth: np.ndarray
    sums: np.ndarray


def begin(shape: tuple[int, ...]) -> History:
    """Nothing answered yet."""
    none = np.zeros((*shape, 0), np.int64)
    return History(none, none, np.zeros((*shape, 0, len(_PLAYED))))


def learn(history: History, answered: np.ndarray, truth: np.ndarray, classes: int) -> tuple[History, np.ndarray]:
    """What the strategies win on n more answers, and the history with them.

    Args:
      history: before them.
      answered: int64 [..., n], any whole number is an answer, -1 a refusal.
      truth: int64, of the same shape: the secret labels.
      classes: C.

    Returns:
      the history, and log2 of what each wins, float64 [rates + 1, ..., n], the last for `FEWER_RATE`; refusals lose as
      much as wrong guesses do.
    """
    wrong, rho = _odds(classes)
    before, n = history.answered.shape[-1], answered.shape[-1]
    answers = np.concatenate([history.answered, answered], axis=-1)
    labels = np.concatenate([history.truth, truth], axis=-1)
    sums = np.concatenate([history.sums, np.empty((*answered.shape, len(_PLAYED)))], axis=-2)
    moves = np.empty((*answered.shape, len(_PLAYED)))
    for i in range(before, before + n):
        same = answers[..., :i] == answers[..., i, None]
        together = (same & (labels[..., :i] == labels[..., i, None])).sum(axis=-1)
        last = np.where(same.any(axis=-1), i - 1 - np.argmax(same[..., ::-1], axis=-1) if i else 0, 0)
        known = np.take_along_axis(sums, last[..., None, None], axis=-2)[..., 0, :]
        past = np.where(same.any(axis=-1)[..., None], known, np.log2(classes))
        sums[..., i, :] = np.logaddexp2(past, together[..., None] * rho + np.log2(np.exp2(rho) - 1.0))
        moves[..., i - before, :] = sums[..., i, :] - past + wrong
    moves = np.where(answered[..., None] < 0, wrong, moves)
    return History(answers, labels, sums), np.moveaxis(moves, -1, 0)


def _odds(classes: int) -> tuple[np.ndarray, np.ndarray]:
    """log2 of what a wrong guess wins at each rate, and of how many times as much a right one does."""
    rates = np.maximum(_PLAYED, 1.2 / classes)  # above chance; of two classes none can be missing
    wrong = np.log2((1.0 - rates) * classes / (classes - 1))
    return wrong, np.log2(rates * classes) - wrong
