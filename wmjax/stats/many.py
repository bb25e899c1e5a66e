"""Many keys and models at once: one bound over all of them."""

import numpy as np


def e_bh(bits: np.ndarray, tests: int, fdr: float) -> np.ndarray:
    """Which hypotheses e-BH rejects: their false discovery rate is at most `fdr` under any dependence.

    The k strongest are rejected for the largest k of which the weakest still has wealth tests / (k fdr)
    (Wang & Ramdas 2022, "False discovery rate control with e-values").

    >>> e_bh(np.array([9.0, 0.0, 8.0, np.nan]), tests=4, fdr=0.02).tolist()
    [True, False, True, False]

    Args:
      bits: log2 of the e-values, any shape; NaN for a hypothesis without one.
      tests: hypotheses in all, of this part and of others.
      fdr: in (0, 1).
    """
    ranked = np.sort(bits[~np.isnan(bits)])[::-1]
    needed = np.log2(max(tests, 1) / fdr) - np.log2(np.arange(1, len(ranked) + 1))
    held = np.flatnonzero(ranked >= needed)
    return bits >= ranked[held[-1]] if len(held) else np.zeros(bits.shape, bool)
