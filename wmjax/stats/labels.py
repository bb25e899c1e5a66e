"""Evidence of kind `labels/1`: a bet on the secret label of each trigger, answer by answer.

For trigger i the gambler stakes q_i, which follows from the suspect's answer to it alone, and wins C q_i(y_i). Each of
the strategies (`LABEL_HEDGES`; for probabilities also `TEMPERATURES` x `PROBABILITY_HEDGES`) keeps a hedge eps, spread
evenly over all classes, so that an unlucky answer costs a factor eps, never ruin. The package's docstring has the
argument. Beside them `renaming` bets on a renaming of the classes that it learns from earlier triggers.

Where a suspect gives scores to other classes than the key has, the strategies are played on what it gives to the key's
(`_readings`); where it has one more, half of them take the first for a background class and call its second class 0: in
a key of 1,000 classes hardly any label comes twice, so that nothing could be learned.
"""

from collections.abc import Iterator
from functools import partial
from typing import NamedTuple

import numpy as np

from wmjax.stats import doubts, renaming
from wmjax.stats.answers import Answers
from wmjax.stats.calibration import calibrated_p
from wmjax.stats.contract import Evidence, Path
from wmjax.stats.mixture import mixed
from wmjax.stats.rule import Rule

LABEL_HEDGES = (0.01, 0.05, 0.2, 0.5, 0.8, 0.95)
TEMPERATURES = (0.5, 1.0, 2.0, 4.0)
PROBABILITY_HEDGES = (0.01, 0.1, 0.5, 0.9)


class Wealth(NamedTuple):
    """The state; arrays that begin with the leading axes.

    Attributes:
      totals: float64 [..., strategies], log2 wealth of each; [..., 1] before the first answers show their form.
      acquittal: float64 [...], evidence against a copy with its own names.
      history: what was answered, for `renaming`.
      doubts: as `doubts` keeps them.
      peak: float64 [...], the most evidence so far.
      matches: int64 [...], labels repeated so far.
    """

    totals: np.ndarray
    acquittal: np.ndarray
    history: renaming.History
    doubts: doubts.Doubts
    peak: np.ndarray
    matches: np.ndarray


def start(shape: tuple[int, ...] = ()) -> Wealth:
    """Nothing asked yet, of suspects in an array of this shape."""
    none, doubted = np.zeros(shape), doubts.nothing(shape, partial(renaming.begin, bets=False))
    return Wealth(np.zeros((*shape, 1)), none, renaming.begin(shape), doubted, none, np.zeros(shape, np.int64))


def bet(state: Wealth, answers: Answers, truth: np.ndarray, rule: Rule, *, outputs: int = 0) -> tuple[Wealth, Path]:
    """Bets on n more answers.

    Args:
      state: before them.
      answers: labels [..., n]; all of a suspect's answers have one form.
      truth: int [n] or [..., n], the secret labels.
      rule: its `rate` is what the acquittal is about.
      outputs: of how many the readings are, one after another, where labels are [..., readings, n] of one suspect.
    """
    shape = np.broadcast_shapes(answers.labels.shape, truth.shape)
    answered, truth = np.broadcast_to(answers.labels, shape), np.broadcast_to(truth, shape).astype(np.int64)
    history, payoffs, moves = _all_payoffs(state.history, answers, answered, truth)
    learn = partial(_against, answers.classes)
    doubted, least = doubts.weigh(state.doubts, state.history, answers, truth, learn, moves, outputs=outputs)
    totals = np.moveaxis(state.totals, -1, 0)[..., None] + np.cumsum(payoffs, axis=-1)
    bits = mixed(totals)
    cleared = state.acquittal[..., None] + acquittal(answers, truth, rule.rate)
    peak = np.maximum.accumulate(np.maximum(state.peak[..., None], bits), axis=-1)
    matches = state.matches[..., None] + np.cumsum(answered == truth, axis=-1)
    last = (cleared[..., -1], history, doubted, peak[..., -1], matches[..., -1])
    path = Path(bits, np.minimum(cleared, least), peak, matches, np.zeros_like(matches))
    return Wealth(np.moveaxis(totals[..., -1], 0, -1), *last), path


def _all_payoffs(
    history: renaming.History, answers: Answers, answered: np.ndarray, truth: np.ndarray
) -> tuple[renaming.History, np.ndarray, np.ndarray]:
    """The history after n more answers, what every strategy wins on them, and what tells against renamed copies."""
    history, guessed, moves = renaming.learn(history, answered, truth, answers.classes)
    return history, np.concatenate([log2_payoffs(answers, truth), guessed]), moves


def _against(
    classes: int, history: renaming.History, answered: np.ndarray, truth: np.ndarray
) -> tuple[renaming.History, np.ndarray]:
    history, _, moves = renaming.learn(history, answered, truth, classes)
    return history, moves


def log2_payoffs(answers: Answers, labels: np.ndarray | None = None) -> np.ndarray:
    """What every strategy wins on the given labels, log2(C q): float64 [strategies, ..., n].

    Without labels, on every possible one: float64 [strategies, ..., n, C]. A refused answer wins eps, the hedge, on
    every label: it counts against the owner.

    Args:
      answers: labels [..., n].
      labels: int [n] or [..., n]; they may have more leading axes than the answers: several keys, asked alike.
    """
    refused, payoffs = answers.labels < 0, []
    if labels is None:
        refused = refused[..., None]
    for reading in _readings(answers):
        for staked, hedges in _staked(reading, labels):
            for eps in hedges:
                payoffs.append(np.log2(np.where(refused, eps, (1.0 - eps) * answers.classes * staked + eps)))
    return np.stack(payoffs)


def _readings(answers: Answers) -> list[Answers]:
    """The answers in the key's classes, in each way that they may be meant."""
    if answers.probabilities is None or answers.scores == answers.classes:
        return [answers]
    readings = [Answers(answers.labels, _within(answers.probabilities, answers.classes), answers.classes)]
    if answers.scores == answers.classes + 1:
        behind = _within(answers.probabilities[..., 1:], answers.classes)
        readings.append(Answers(answers.labels - 1, behind, answers.classes))
    return readings


def _within(probabilities: np.ndarray, classes: int) -> np.ndarray:
    """What [..., A] gives to the first classes; the rest is spread evenly over all of them."""
    ours = probabilities[..., :classes]
    filled = np.zeros((*ours.shape[:-1], classes))
    filled[..., : ours.shape[-1]] = ours
    return np.asarray(filled + np.maximum(0.0, 1.0 - ours.sum(axis=-1, keepdims=True)) / classes)


def _staked(answers: Answers, labels: np.ndarray | None) -> Iterator[tuple[np.ndarray, tuple[float, ...]]]:
    """What each probability vector that is bet on puts on the given labels, or on all; with its hedges."""
    on = np.arange(answers.classes) if labels is None else labels
    yield ((answers.labels[..., None] if labels is None else answers.labels) == on).astype(np.float64), LABEL_HEDGES
    if answers.probabilities is None:
        return
    for temperature in TEMPERATURES:
        raised = answers.probabilities ** (1.0 / temperature)  # the softmax of log p / temperature
        guess = raised / raised.sum(axis=-1, keepdims=True)
        yield guess if labels is None else _picked(guess, labels), PROBABILITY_HEDGES


def _picked(guess: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """Of each vector [..., n, C] the entry of its label."""
    shape = np.broadcast_shapes(guess.shape[:-1], labels.shape)
    wide = np.broadcast_to(guess, (*shape, guess.shape[-1]))
    return np.take_along_axis(wide, np.broadcast_to(labels, shape)[..., None], axis=-1)[..., 0]


def evidence(answers: Answers, labels: np.ndarray) -> np.ndarray:
    """Evidence in bits after each answer; at least log2(1/alpha) with chance at most alpha under the null.

    >>> evidence(Answers(np.array([3, 1]), None, 10), np.array([3, 1])).round(2).tolist()
    [2.17, 5.06]

    Args:
      answers: of n triggers.
      labels: int [n], the key's; of several keys over the same triggers [keys, n].

    Returns:
      float64, shaped like the labels.
    """
    shape = np.broadcast_shapes(answers.labels.shape, labels.shape)
    answered, truth = np.broadcast_to(answers.labels, shape), np.broadcast_to(labels, shape).astype(np.int64)
    _, payoffs, _ = _all_payoffs(renaming.begin(shape[:-1]), answers, answered, truth)
    return mixed(np.cumsum(payoffs, axis=-1))


def acquittal(answers: Answers, labels: np.ndarray, rate: float) -> np.ndarray:
    """Evidence in bits against "at least `rate` of the labels are repeated under their own names", after each answer.

    The likelihood ratio of matching by chance (1/C) over matching at `rate`: under any match probability of at
    least `rate` its expectation is at most 1, whatever the labels' policy. A refused answer counts as a match: nobody
    is acquitted by silence.

    Args:
      answers: labels [..., n].
      labels: int [n] or [..., n], the key's.
      rate: in (1/C, 1).

    Returns:
      float64 [..., n].
    """
    chance = 1.0 / answers.classes
    match = np.log2(chance / rate)
    miss = np.log2((1.0 - chance) / (1.0 - rate))
    return np.cumsum(np.where((answers.labels == labels) | (answers.labels < 0), match, miss), axis=-1)


def perfect(truth: np.ndarray, classes: int) -> Answers:
    """What a suspect answers that knows every label and is sure of it."""
    sure = np.zeros((len(truth), classes))
    sure[np.arange(len(truth)), truth] = 1.0
    return Answers(truth.astype(np.int64), sure, classes)


def redraw_p(answers: Answers, labels: np.ndarray, rng: np.random.Generator, redraws: int = 9999) -> float:
    """Calibrated p of the evidence from all answers, against decoy keys with the same images and other labels.

    Under the null a `random` key's labels and fresh uniform ones are exchangeable given the answers, so this is a
    randomisation test without a further query. Never use it for `fixed` labels, which are no such draws.

    Args:
      answers: of n triggers, n fixed before.
      labels: int [n], the key's.
      rng: of the decoy labels.
      redraws: decoy keys.
    """
    payoffs = log2_payoffs(answers)
    decoys = rng.integers(answers.classes, size=(redraws, len(answers)))
    totals = np.zeros((len(payoffs), redraws))
    for i in range(len(answers)):  # trigger by trigger: all at once would take strategies x redraws x n floats
        totals += np.take(payoffs[:, i], decoys[:, i], axis=-1)
    score = float(mixed(log2_payoffs(answers, labels).sum(axis=-1)))
    return calibrated_p(score - 1e-9, mixed(totals))  # ties are ties, whatever the order of summing


EVIDENCE = Evidence("labels/1", start, bet, perfect, redraw_p, exact=True, independent=True)
