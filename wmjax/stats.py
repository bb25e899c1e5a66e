"""Evidence that a model knows a secret key: NumPy and SciPy only, float64, no JAX.

The labels of a key with the `random` policy are uniform over C classes and independent of the key's images and of
every model that never saw the key. So for any probability vector q_i computed from a suspect's answer to trigger i
alone, E[C q_i(y_i)] = 1: a gambler who bets q_i on the secret label y_i plays a fair game. The gambler's

    wealth_t = prod_{i <= t} C q_i(y_i)          evidence in bits = log2(wealth_t)

is a test martingale under "this model has nothing to do with this secret", and by Ville's inequality the chance
that it *ever* reaches 1/alpha is at most alpha, whatever the model and whenever one stops (Shafer 2021, "Testing by
betting"; Ville 1939). The gambler plays a fixed, published set of strategies (`LABEL_HEDGES`, `TEMPERATURES`,
`PROBABILITY_HEDGES`) side by side with equal stakes; an average of wealths is a wealth, so nothing is tuned on the
suspect.
"""

import dataclasses
from collections.abc import Iterator
from typing import Literal

import numpy as np
from scipy import special

from wmjax.errors import InvalidFile, UsageError

# Each strategy keeps a hedge eps spread evenly over all classes: an unlucky answer costs a factor eps, never ruin.
LABEL_HEDGES = (0.01, 0.05, 0.2, 0.5, 0.8, 0.95)
TEMPERATURES = (0.5, 1.0, 2.0, 4.0)
PROBABILITY_HEDGES = (0.01, 0.1, 0.5, 0.9)

Outcome = Literal["match", "no-match", "inconclusive"]


@dataclasses.dataclass(frozen=True)
class Answers:
    """What a suspect said about n triggers, in the order of the questions.

    Attributes:
      labels: int64 [n], top-1 class; -1 where the answer was refused or unusable.
      probabilities: float64 [n, C] with rows that sum to 1, or None where only labels came back.
      classes: C.
    """

    labels: np.ndarray
    probabilities: np.ndarray | None
    classes: int

    def __len__(self) -> int:
        return len(self.labels)

    def __getitem__(self, rows: slice) -> "Answers":
        probabilities = None if self.probabilities is None else self.probabilities[rows]
        return Answers(self.labels[rows], probabilities, self.classes)


@dataclasses.dataclass(frozen=True)
class Rule:
    """How a verdict is reached; fixed in the commitment, before any suspect is asked.

    Attributes:
      alpha: largest chance that a model independent of the key is ever called a match.
      beta: largest chance that a model repeating at least `rate` of the labels is ever called no match.
      rate: share of the labels that a copy is held to repeat.
      max_queries: triggers that may be asked.
    """

    alpha: float
    beta: float
    rate: float
    max_queries: int

    def __post_init__(self) -> None:
        for name in ("alpha", "beta", "rate"):
            value = getattr(self, name)
            if type(value) is not float or not 0.0 < value < 1.0:
                raise UsageError(f"{name} {value!r:.50}: must be between 0 and 1")
        if type(self.max_queries) is not int or self.max_queries < 1:
            raise UsageError(f"max_queries {self.max_queries!r:.50}: must be at least 1")

    @property
    def match_bits(self) -> float:
        """Evidence that makes a match."""
        return -float(np.log2(self.alpha))

    @property
    def clear_bits(self) -> float:
        """Evidence against copying that makes a no-match."""
        return -float(np.log2(self.beta))


def spread_top_k(classes_named: np.ndarray, scores: np.ndarray, classes: int) -> np.ndarray:
    """Probabilities from a service that names its k best classes: the rest is spread evenly.

    >>> spread_top_k(np.array([[2, 0]]), np.array([[0.6, 0.2]]), classes=4).round(3).tolist()
    [[0.2, 0.1, 0.6, 0.1]]

    Args:
      classes_named: int [n, k], each row's classes different.
      scores: float [n, k], their probabilities.
      classes: C > k.

    Returns:
      float64 [n, C].
    """
    if classes_named.shape[1] >= classes:
        raise UsageError(f"{classes_named.shape[1]} classes named of {classes}: give the scores of all as they are")
    rest = np.clip(1.0 - scores.sum(axis=1), 0.0, 1.0) / (classes - classes_named.shape[1])
    full = np.repeat(rest[:, None], classes, axis=1)
    np.put_along_axis(full, classes_named, scores, axis=1)
    return full / full.sum(axis=1, keepdims=True)


def read_answers(raw: np.ndarray, n: int, classes: int, name: str = "model") -> Answers:
    """Labels from integers [n], probabilities from floats [n, classes] (logits go through softmax).

    A label outside the classes, a NaN, or scores without a finite maximum are a refusal: label -1.

    Raises:
      InvalidFile: the array is neither, for these classes; `name` says whose it is.
    """
    if np.issubdtype(raw.dtype, np.integer) and raw.shape == (n,):
        labels = np.where((raw >= 0) & (raw < classes), raw, -1).astype(np.int64)
        return Answers(labels, None, classes)
    if not np.issubdtype(raw.dtype, np.floating) or raw.shape != (n, classes):
        expected = f"integers [{n}] or floats [{n}, {classes}]"
        raise InvalidFile(f"suspect {name} answered {raw.dtype} {list(raw.shape)}, not {expected}")
    scores = raw.astype(np.float64)
    usable = ~np.isnan(scores).any(axis=1) & np.isfinite(scores.max(axis=1))
    scores = np.where(usable[:, None], scores, 0.0)
    sums = scores.sum(axis=1, keepdims=True)
    is_distribution = (scores >= 0).all(axis=1, keepdims=True) & (np.abs(sums - 1.0) < 1e-2)
    with np.errstate(invalid="ignore", divide="ignore"):  # where it is no distribution the quotient is not taken
        probabilities = np.where(is_distribution, scores / sums, special.softmax(scores, axis=1))
    return Answers(np.where(usable, probabilities.argmax(axis=1), -1), probabilities, classes)


def log2_payoffs(answers: Answers, labels: np.ndarray | None = None) -> np.ndarray:
    """What every strategy wins on the given labels, log2(C q): float64 [strategies, n].

    Without labels, on every possible one: float64 [strategies, n, C]. A refused answer wins eps, the hedge, on every
    label: it counts against the owner.
    """
    refused, payoffs = answers.labels < 0, []
    if labels is None:
        refused = refused[:, None]
    for guess, hedges in _guesses(answers):
        staked = guess if labels is None else guess[np.arange(len(guess)), labels]
        for eps in hedges:
            payoffs.append(np.log2(np.where(refused, eps, (1.0 - eps) * answers.classes * staked + eps)))
    return np.stack(payoffs)


def _guesses(answers: Answers) -> Iterator[tuple[np.ndarray, tuple[float, ...]]]:
    """Each probability vector that is bet on, [n, C], with its hedges."""
    top = np.zeros((len(answers), answers.classes))
    top[np.arange(len(answers)), np.maximum(answers.labels, 0)] = 1.0
    yield top, LABEL_HEDGES
    if answers.probabilities is None:
        return
    for temperature in TEMPERATURES:
        raised = answers.probabilities ** (1.0 / temperature)  # the softmax of log p / temperature
        yield raised / raised.sum(axis=1, keepdims=True), PROBABILITY_HEDGES


def evidence(answers: Answers, labels: np.ndarray) -> np.ndarray:
    """Evidence in bits after each answer; at least log2(1/alpha) with chance at most alpha under the null.

    >>> evidence(Answers(np.array([3, 1]), None, 10), np.array([3, 1])).round(2).tolist()
    [2.64, 5.63]

    Args:
      answers: of n triggers.
      labels: int [n], the key's; of several keys over the same triggers [keys, n].

    Returns:
      float64, shaped like the labels.
    """
    return mixed_bits(np.cumsum(log2_payoffs(answers, labels), axis=-1))


def mixed_bits(totals: np.ndarray) -> np.ndarray:
    """log2 of the mean over strategies (the first axis) of wealths given as log2."""
    return np.logaddexp2.reduce(totals, axis=0) - np.log2(len(totals))


def acquittal(answers: Answers, labels: np.ndarray, rate: float) -> np.ndarray:
    """Evidence in bits against "at least `rate` of the labels are repeated", after each answer.

    The likelihood ratio of matching by chance (1/C) over matching at `rate`: under any match probability of at
    least `rate` its expectation is at most 1, whatever the labels' policy. A refused answer moves it nowhere: nobody
    is acquitted by silence.

    Args:
      answers: of n triggers.
      labels: int [n], the key's.
      rate: in (1/C, 1).

    Returns:
      float64 [n].
    """
    return np.cumsum(acquittal_moves(answers, labels, rate))


def acquittal_moves(answers: Answers, labels: np.ndarray, rate: float) -> np.ndarray:
    """What each answer adds to `acquittal`, float64 [n]."""
    chance = 1.0 / answers.classes
    match = np.log2(chance / rate)
    miss = np.log2((1.0 - chance) / (1.0 - rate))
    moves = np.where(answers.labels == labels, match, miss)
    return np.where(answers.labels < 0, 0.0, moves)


def decide(evidence_bits: np.ndarray, acquittal_bits: np.ndarray, rule: Rule, *, stop: bool) -> tuple[Outcome, int]:
    """The three-way verdict, and the number of answers it used.

    `match` as soon as evidence reaches log2(1/alpha); `no-match` as soon as acquittal reaches log2(1/beta) while
    there is no evidence for the key (below 0 bits): a copy that repeats few labels but leans towards them goes on
    being asked. Neither: `inconclusive`, which never means "not stolen".

    Args:
      evidence_bits: as from `evidence`, [n].
      acquittal_bits: as from `acquittal`, [n].
      rule: the thresholds.
      stop: use no answer after the first that decides. Otherwise use all: a match at any of them stays one, an
        acquittal must still stand at the last.
    """
    matched = evidence_bits >= rule.match_bits
    cleared = (acquittal_bits >= rule.clear_bits) & (evidence_bits < 0.0)
    if stop and (matched | cleared).any():
        first = int(np.argmax(matched | cleared))
        return ("match" if matched[first] else "no-match"), first + 1
    if matched.any():
        return "match", len(matched)
    return ("no-match" if cleared[-1] else "inconclusive"), len(matched)


def binomial_p(matches: int, n: int, classes: int) -> float:
    """Exact chance of at least `matches` of n uniform random labels repeated; valid for a number n fixed before.

    >>> binomial_p(2, 2, 10)
    0.010000000000000002
    """
    return 1.0 if matches == 0 else float(special.betainc(matches, n - matches + 1, 1.0 / classes))


def clopper_pearson(matches: int, n: int, confidence: float = 0.95) -> tuple[float, float]:
    """Exact confidence interval of the match rate (Clopper & Pearson 1934)."""
    tail = (1.0 - confidence) / 2.0
    low = 0.0 if matches == 0 else float(special.betaincinv(matches, n - matches + 1, tail))
    high = 1.0 if matches == n else float(special.betaincinv(matches + 1, n - matches, 1.0 - tail))
    return low, high


def calibrated_p(score: float, null_scores: np.ndarray) -> float:
    """Rank of a score among scores that the null produced: (1 + #{null >= score}) / (N + 1).

    Valid where score and null scores are exchangeable under the null; never below 1 / (N + 1), the smallest p-value
    that the calibration set supports (Phipson & Smyth 2010).
    """
    return (1 + int(np.sum(np.asarray(null_scores) >= score))) / (len(null_scores) + 1)


def e_bh(bits: np.ndarray, tests: int, fdr: float) -> np.ndarray:
    """Which hypotheses e-BH rejects: their false discovery rate is at most `fdr` under any dependence.

    The k strongest are rejected for the largest k of which the weakest still has wealth tests / (k fdr)
    (Wang & Ramdas 2022, "False discovery rate control with e-values").

    >>> e_bh(np.array([9.0, 0.0, 8.0, np.nan]), tests=4, fdr=0.02).tolist()
    [True, False, True, False]

    Args:
      bits: log2 of the e-values, any shape; NaN where there is none.
      tests: hypotheses in all, of this part and of others.
      fdr: in (0, 1).
    """
    ranked = np.sort(bits[~np.isnan(bits)])[::-1]
    needed = np.log2(max(tests, 1) / fdr) - np.log2(np.arange(1, len(ranked) + 1))
    held = np.flatnonzero(ranked >= needed)
    return bits >= ranked[held[-1]] if len(held) else np.zeros(bits.shape, bool)


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
        totals += payoffs[:, i, decoys[:, i]]
    score = float(mixed_bits(log2_payoffs(answers, labels).sum(axis=-1)))
    return calibrated_p(score - 1e-9, mixed_bits(totals))  # ties are ties, whatever the order of summing
