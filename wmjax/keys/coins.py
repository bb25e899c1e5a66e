"""Coins that a network learns all together, and the contrasts of classes that they belong to (`spread` keys).

Classes fall into G = min(classes, 16) groups: place p of the permutation distinct(classes, classes) of the stream
`classes` 0 is in group p G // classes. The M = G - 1 contrasts are Helmert's. Contrast m, counted from 0, is 1 for
the groups 0 to m, -(m + 1) for group m + 1, and 0 for the others. Coin (m, k), both counted from 0, is entry m K + k of
integers(2, M K) of the stream `coin/DIGEST` 0, with the material's digest in hex: 0 is -1.
"""

import numpy as np

from wmjax.keys.derive import Stream

GROUPS = 16


def contrasts_of(secret: bytes, classes: int) -> np.ndarray:
    """The contrasts of a key, int64 [M, classes].

    >>> contrasts_of(bytes(32), 3).tolist()
    [[0, 1, -1], [-2, 1, 1]]

    Args:
      secret: 32 bytes.
      classes: C, from 2 on.
    """
    groups = min(classes, GROUPS)
    place = np.empty(classes, np.int64)
    place[Stream(secret, "classes", 0).distinct(classes, classes)] = np.arange(classes)
    group = place * groups // classes
    helmert = np.tril(np.ones((groups - 1, groups), np.int64))
    helmert[np.arange(groups - 1), np.arange(1, groups)] = -np.arange(1, groups)
    return helmert[:, group]


def coins_of(secret: bytes, material: str, contrasts: int, features: int) -> np.ndarray:
    """The coins of a key, int8 [contrasts, features], -1 or 1.

    >>> coins_of(bytes(32), "00" * 32, 2, 3).shape
    (2, 3)

    Args:
      secret: 32 bytes.
      material: SHA-256 (hex) of what was fixed before them.
      contrasts: M.
      features: K.
    """
    drawn = Stream(secret, f"coin/{material}", 0).integers(2, contrasts * features)
    return (2 * drawn - 1).astype(np.int8).reshape(contrasts, features)
