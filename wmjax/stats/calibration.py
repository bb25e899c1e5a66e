"""Ranks among what the null produced: the only p-values where no exact evidence exists."""

import numpy as np


def calibrated_p(score: float, null_scores: np.ndarray) -> float:
    """Rank of a score among scores that the null produced: (1 + #{null >= score}) / (N + 1).

    Valid where score and null scores are exchangeable under the null; never below 1 / (N + 1), the smallest p-value
    that the calibration set supports (Phipson & Smyth 2010).

    >>> calibrated_p(5.0, np.array([1, 2, 5, 7]))
    0.6
    """
    return (1 + int(np.sum(np.asarray(null_scores) >= score))) / (len(null_scores) + 1)


def nulls_for(level: float) -> int:
    """How many null scores it takes for `calibrated_p` to reach a level, between 0 and 1.

    >>> nulls_for(0.03), calibrated_p(1.0, np.zeros(32)) <= 0.03, calibrated_p(1.0, np.zeros(33)) <= 0.03
    (33, False, True)
    """
    near = round(1 / level) - 1
    return near + (1 / (near + 1) > level)
