"""Exact figures on top-1 matches, for a number of questions fixed before: what readers expect beside the evidence."""

import numpy as np
from scipy import special

TELLING_P = 0.01  # at which silence about triggers, or forgetting them, is a finding


def binomial_p(matches: int, n: int, classes: int) -> float:
    """Exact chance of at least `matches` of n uniform random labels repeated; valid for a number n fixed before.

    >>> binomial_p(2, 2, 10)
    0.010000000000000002
    """
    return 1.0 if matches == 0 else float(special.betainc(matches, n - matches + 1, 1.0 / classes))


def clopper_pearson(matches: int, n: int, confidence: float = 0.95) -> tuple[float, float]:
    """Exact confidence interval of the match rate (Clopper & Pearson 1934).

    >>> clopper_pearson(0, 10)[0]
    0.0
    """
    tail = (1.0 - confidence) / 2.0
    low = 0.0 if matches == 0 else float(special.betaincinv(matches, n - matches + 1, tail))
    high = 1.0 if matches == n else float(special.betaincinv(matches + 1, n - matches, 1.0 - tail))
    return low, high


def more_often_p(hits: int, n: int, others: int, m: int) -> float:
    """Exact chance of at least `hits` of n, given that hits + others came of all n + m (Fisher's test, one-sided).

    >>> round(more_often_p(5, 5, 0, 5), 4)
    0.004

    Args:
      hits: of n trials.
      n: trials of one kind.
      others: hits of m trials.
      m: trials of the other kind.
    """
    total = hits + others
    counts = np.arange(hits, min(n, total) + 1)
    counts = counts[total - counts <= m]
    logs = _choose(n, counts) + _choose(m, total - counts) - _choose(n + m, np.array(total))
    return min(1.0, float(np.exp(np.logaddexp.reduce(logs)))) if len(counts) else 0.0


def _choose(n: int, k: np.ndarray) -> np.ndarray:
    """Natural logarithm of the binomial coefficient."""
    return np.asarray(special.gammaln(n + 1) - special.gammaln(k + 1) - special.gammaln(n - k + 1))
