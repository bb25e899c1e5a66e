"""What answers show of a `spread` key's coins: T, the correlation of each with features that were fixed before them.

T_jk is the sum over images of what an answer shows more than the references do, along contrast j of the classes, times
feature k. All sums are of whole numbers, so that every machine finds the same T; no coin is looked at.

A suspect's outputs may have other names, or there may be more or fewer of them: they are matched to the key's classes
by how often they go together with the first reference's answers, which knows no coin either.
"""

from typing import NamedTuple

import numpy as np

UNIT = 65_535  # a probability of 1
LEAST = 7  # of UNIT: smaller probabilities count as this one in logarithms
_FINEST = 1_024  # T is rounded to such parts of its root mean square


class Coins(NamedTuple):
    """What the secret, and what was fixed before it, say about some probes.

    Attributes:
      rows: int64 [n], which probes.
      features: int8 [N, K], of all probes.
      references: uint16 [R, N, C], probabilities of unmarked networks in `UNIT`s.
      coins: int8 [M, K], -1 or 1.
      contrasts: int64 [M, C], of the classes.
    """

    rows: np.ndarray
    features: np.ndarray
    references: np.ndarray
    coins: np.ndarray
    contrasts: np.ndarray

    @property
    def norms(self) -> np.ndarray:
        """Lengths of the contrasts, float64 [M, 1]: divided by them they are orthonormal."""
        return np.asarray(np.sqrt((self.contrasts**2).sum(axis=1))[:, None])


def statistics(rows: np.ndarray, given: np.ndarray, truth: Coins) -> np.ndarray:
    """T by every statistic and choice of references, each in units of its root mean square; no coin is looked at.

    Args:
      rows: int64 [t], the probes that were asked.
      given: uint16 [t, A], what was answered, as of `Gathered`.
      truth: what was fixed before the coins.

    Returns:
      float64 [statistics, M, K]; the last one is that of the logarithms (if there are probabilities) with all
      references.
    """
    usable = given.any(axis=1)
    rows, given = rows[usable], given[usable]
    references = truth.references[:, rows].astype(np.int64)
    features = truth.features[rows].astype(np.int64)
    found = []
    for answered, expected in _forms(given, references):
        sums = [_times(truth.contrasts @ each.T, features) / truth.norms for each in (answered, *expected)]
        for used in dict.fromkeys((0, 1, len(expected))):
            fit = _fitted(answered, expected[:used])
            residual = sums[0] - sum((c * s for c, s in zip(fit, sums[1:], strict=False)), start=np.zeros(1))
            found.append(_in_units(residual))
    return np.stack(found)


def _times(one: np.ndarray, other: np.ndarray) -> np.ndarray:
    """The matrix product of whole numbers; in float64 where that is exact, which is up to a hundred times faster."""
    most = len(other) * int(np.abs(one).max(initial=0)) * int(np.abs(other).max(initial=0))
    return np.asarray(one.astype(np.float64) @ other.astype(np.float64) if most <= 1 << 53 else one @ other)


def _in_units(sums: np.ndarray) -> np.ndarray:
    size = float(np.sqrt(np.mean(sums**2)))
    return np.rint(sums / size * _FINEST) / _FINEST if size > 0.0 else np.zeros_like(sums)


def _fitted(answered: np.ndarray, expected: np.ndarray) -> np.ndarray:
    """How much of each reference is in the answers, by least squares; float64 [references]."""
    if not len(expected):
        return np.zeros(0)
    products = np.array([[_product(one, other) for other in expected] for one in expected])
    targets = np.array([_product(each, answered) for each in expected])
    return np.asarray(np.linalg.lstsq(products, targets, rcond=None)[0])


def _product(one: np.ndarray, other: np.ndarray) -> float:
    """The sum of products of whole numbers [t, C], rounded once: with many classes it is beyond 2**63."""
    rows = np.einsum("tc,tc->t", one, other)
    return float((int(np.sum(rows >> 32)) << 32) + int(np.sum(rows & 0xFFFFFFFF)))


def _forms(given: np.ndarray, references: np.ndarray) -> list[tuple[np.ndarray, np.ndarray]]:
    """Answers [t, C] and references [R, t, C] as whole numbers that sums are formed of, in each way that is played."""
    if not len(given):
        return [(np.zeros(references.shape[1:], np.int64), references)]
    owners = _owners(given, references)
    classes = references.shape[-1]
    if given.shape[1] == 1:
        return [(UNIT * np.eye(classes, dtype=np.int64)[owners], references)]
    belongs = np.eye(classes)[owners]
    outputs = np.maximum(1, belongs.sum(axis=0)).astype(np.int64)
    logarithms = _gathered(_logarithms(given), belongs) // outputs
    return [
        (_gathered(given, belongs), references),
        (_centred(logarithms), np.stack([_centred(_logarithms(each)) for each in references])),
    ]


def _gathered(values: np.ndarray, belongs: np.ndarray) -> np.ndarray:
    """Whole numbers [t, A] summed over the outputs of each class; in float64, which is exact up to 2**53 and faster."""
    return np.asarray(values.astype(np.float64) @ belongs, np.int64)


def _logarithms(units: np.ndarray) -> np.ndarray:
    return np.asarray(np.rint(1024.0 * np.log2(np.maximum(units, LEAST) / UNIT)), np.int64)


def _centred(values: np.ndarray) -> np.ndarray:
    """Times C, less their sum: whole numbers."""
    return np.asarray(values * values.shape[-1] - values.sum(axis=-1, keepdims=True))


def _owners(given: np.ndarray, references: np.ndarray) -> np.ndarray:
    """Which class each output means, int64 [A]; of labels, each answer: int64 [t].

    The outputs go to different classes where there are enough, so that as many answers as can be agree with the first
    reference; those left over to whichever they most often go with.
    """
    classes = references.shape[-1]
    expected = references[0].argmax(axis=-1)
    if given.shape[1] == 1:
        _, output = np.unique(given[:, 0], return_inverse=True)
        together = np.zeros((int(output.max()) + 1, classes))
        np.add.at(together, (output, expected), 1.0)
        return _matched(together)[output]
    return _matched(given.T.astype(np.float64) @ np.eye(classes)[expected])


def _matched(together: np.ndarray) -> np.ndarray:
    """For each output (the rows) its class."""
    owners = together.argmax(axis=1)
    if len(together) >= together.shape[1]:
        from scipy import optimize  # a third of a second, of which judges of labels need none

        outputs, taken = optimize.linear_sum_assignment(together, maximize=True)
        owners[outputs] = taken
    return np.asarray(owners)
