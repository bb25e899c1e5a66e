"""Several keys about one suspect: independent secrets, so their evidence multiplies.

Whatever the suspect answered about earlier keys, and whatever these turned out to say, another key's labels are as
uniform as before; so while the keys are asked one after another the product of their wealths is a test martingale, as
each wealth alone is, and as is the mean of all of these. By Ville's inequality that mean ever reaches 1/alpha with
chance alpha at most, if the suspect has nothing to do with any of the keys. The product is large where it carries all
of them; the terms of single keys keep one that it does not carry from spoiling the evidence of the others.
"""

from collections.abc import Sequence

import numpy as np

from wmjax.stats.mixture import mixed


def multiplied(paths: Sequence[np.ndarray]) -> np.ndarray:
    """Evidence of several keys together, in bits: log2 of the mean of the product of all wealths and of each alone.

    >>> multiplied([np.array([3.0, 12.0]), np.array([-1.0, 11.0])]).round(2).tolist()
    [2.5, 11.42, 11.0, 21.42]

    Args:
      paths: of each key, float64 [n], its evidence after each answer; the keys were asked one after another.

    Returns:
      float64 [all answers], after each answer about the first key, then about the second, and so on.
    """
    lengths = [len(path) for path in paths]
    wealths = np.zeros((len(paths), sum(lengths)))
    for wealth, path, end in zip(wealths, paths, np.cumsum(lengths), strict=True):
        wealth[end - len(path) : end] = path
        wealth[end:] = path[-1]
    return mixed(np.stack([wealths.sum(axis=0), *wealths]))


def cost(keys: int) -> float:
    """Bits that one key must have beyond the threshold to reach it whatever the others say.

    >>> cost(3)
    2.0
    """
    return float(np.log2(keys + 1))
