"""What answers show of a `spread` key's coins: T, the correlation of each with features that were fixed before them.

T_jk is the sum over images of what an answer shows along contrast j of the classes, times feature k, less what the
references show, as much of each as fits best. All sums are of whole numbers, so that every machine finds the same T; no
coin is looked at.

What an answer shows is taken in several forms. The best class is what a server can least hide. Roots of the
probabilities tell most of students that saw labels alone, logarithms most of those that saw probabilities. Who trains a
copy on with true labels makes it surer of its best class, and so hides what either tells; the order of the other
classes stays, down to those of a probability of 1e-30.

A suspect's outputs may have other names, or there may be more or fewer of them: they are matched to the key's classes
by how often they go together with the first reference's answers, which knows no coin either.
"""

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
from scipy import optimize
from scipy.stats import rankdata

UNIT = 65_535  # a probability of 1
LEAST = 7  # of UNIT: smaller probabilities count as this one in logarithms
_FINEST = 1_024  # T is rounded to such parts of its root mean square
_STEPS = 512  # of a logarithm, from one power of 2 to the next
_LOWEST = 126  # 2 to the power of minus this is the least that differs from none
_NOISE = 2.0**-30  # what is left of sums that references fit exactly: no machine rounds it like another


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


class Expected(NamedTuple):
    """What the references show on some probes: for all suspects that answered these.

    Attributes:
      features: int64 [t, K], of the probes.
      best: int64 [t], the class that the first reference gives most.
      wavering: int64 [t, 1], how much less than all that is, in 1/256.
      sums: float64 [5, R, M K], by each form of the answers; those of labels first.
    """

    features: np.ndarray
    best: np.ndarray
    wavering: np.ndarray
    sums: np.ndarray


def quantised(probabilities: np.ndarray) -> np.ndarray:
    """Logarithms of probabilities as whole numbers from 1 on, uint16; straight lines from one power of 2 to the next.

    They follow from the bits of the numbers, so they are the same on every machine.

    >>> quantised(np.array([1.0, 0.5, 0.75, 1e-99, 0.0])).tolist()
    [64513, 64001, 64257, 1, 1]
    """
    least = np.maximum(np.asarray(probabilities, np.float64), 2.0**-_LOWEST)
    bits = (least.view(np.int64) + (1 << 42)) >> 43  # nine bits of the fraction are left
    return np.asarray(bits - ((1023 - _LOWEST) * _STEPS - 1), np.uint16)


def _values() -> np.ndarray:
    """What each number of `quantised` stands for, in `UNIT`s; 0 is a refusal."""
    powers, steps = np.divmod(np.arange(-1, UNIT), _STEPS)
    values = np.minimum(UNIT, np.rint(UNIT * np.ldexp(1.0 + steps / _STEPS, powers - _LOWEST)))
    return np.asarray(np.where(powers < 0, 0, values), np.uint16)


_VALUES, _LOGARITHMS = _values(), quantised(np.arange(UNIT + 1) / UNIT)


def units(given: np.ndarray) -> np.ndarray:
    """Probabilities in `UNIT`s, uint16, of what `quantised` made; zeros of a refusal.

    >>> units(np.array([64513, 64001, 1, 0])).tolist()
    [65535, 32768, 0, 0]
    """
    return np.asarray(_VALUES[given])


def expected(rows: np.ndarray, truth: Coins) -> Expected:
    """What the references show on the probes of these rows, int64 [t]."""
    references, features = truth.references[:, rows].astype(np.int64), truth.features[rows].astype(np.int64)
    wavering = (UNIT - references[0].max(axis=-1, keepdims=True)) >> 8
    sums = [_sums(form, features, truth) for form in _forms_expected(references, wavering)]
    return Expected(features, references[0].argmax(axis=-1), wavering, np.stack(sums))


def statistics(given: np.ndarray, beside: Expected, truth: Coins) -> np.ndarray:
    """T by every form of the answers, each in units of its root mean square; no coin is looked at.

    Args:
      given: uint16 [t, A], what was answered, as of `Gathered`; no refusals.
      beside: what the references show on the same probes.
      truth: what was fixed before the coins.

    Returns:
      float64 [statistics, M, K]: of the labels two; of the probabilities, where there are any, three; and the mean of
      those of the probabilities, else of the labels.
    """
    if not len(given):
        return np.zeros((1, *truth.coins.shape))
    found = []
    for form, others in zip(_forms(given, beside, truth.references.shape[-1]), beside.sums, strict=False):
        own = _sums(form[None], beside.features, truth)[0]
        found.append(_in_units(_beyond(own, others).reshape(truth.coins.shape)))
    return np.stack([*found, _in_units(np.mean(found[2:] or found, axis=0))])


def _sums(answered: np.ndarray, features: np.ndarray, truth: Coins) -> np.ndarray:
    """What answers [N, t, C] show along each contrast, times each feature: float64 [N, M K]."""
    many, rows, classes = answered.shape
    contrasts, kinds = truth.coins.shape
    along = _times(answered.reshape(many * rows, classes), truth.contrasts.T).reshape(many, rows, contrasts)
    products = _times(np.moveaxis(along, -1, 1).reshape(many * contrasts, rows), features)
    return np.asarray(products.reshape(many, contrasts, kinds) / truth.norms).reshape(many, -1)


def _beyond(own: np.ndarray, others: np.ndarray) -> np.ndarray:
    """Sums [M K] less their best fit by the references' [R, M K]; nothing where rounding is all that is left."""
    residual = own - others.T @ np.linalg.lstsq(others.T, own, rcond=None)[0]
    return residual if np.abs(residual).max() > _NOISE * np.abs(own).max() else np.zeros_like(own)


def _times(one: np.ndarray, other: np.ndarray) -> np.ndarray:
    """The matrix product of whole numbers; in float64 where that is exact, which is up to a hundred times faster."""
    most = len(other) * int(np.abs(one).max(initial=0)) * int(np.abs(other).max(initial=0))
    return np.asarray(one.astype(np.float64) @ other.astype(np.float64) if most <= 1 << 53 else one @ other)


def _in_units(sums: np.ndarray) -> np.ndarray:
    size = float(np.sqrt(np.mean(sums**2)))
    return np.rint(sums / size * _FINEST) / _FINEST if size > 0.0 else np.zeros_like(sums)


def _forms(given: np.ndarray, beside: Expected, classes: int) -> Iterator[np.ndarray]:
    """Answers as whole numbers [t, C] that sums are formed of, in each way that is played: those of labels first."""
    owners = _owners(given, beside.best, classes)
    if given.shape[1] == 1:
        yield from _of_labels(owners, beside.wavering, classes)
        return
    belongs, least = np.eye(classes)[owners], _LOGARITHMS[LEAST]
    outputs = np.maximum(1, belongs.sum(axis=0)).astype(np.int64)
    shares = _gathered(units(given), belongs)
    yield from _of_labels(shares.argmax(axis=1), beside.wavering, classes)
    yield _roots(shares)
    yield _centred(_gathered(np.maximum(given, least) - least, belongs) // outputs)
    yield _ranks(_gathered(given, belongs) // outputs)


def _forms_expected(references: np.ndarray, wavering: np.ndarray) -> Iterator[np.ndarray]:
    """The same of the references, int64 [R, t, C]."""
    yield references
    yield references * wavering
    yield _roots(references)
    yield _centred(np.maximum(_LOGARITHMS[references].astype(np.int64) - int(_LOGARITHMS[LEAST]), 0))
    yield _ranks(references)


def _of_labels(labels: np.ndarray, wavering: np.ndarray, classes: int) -> Iterator[np.ndarray]:
    """Labels, and labels weighed by how far the first reference wavers: where it does a mark changes them."""
    answered = UNIT * np.eye(classes, dtype=np.int64)[labels]
    yield answered
    yield answered * wavering


def _gathered(values: np.ndarray, belongs: np.ndarray) -> np.ndarray:
    """Whole numbers [t, A] summed over the outputs of each class; in float64, which is exact up to 2**53 and faster."""
    return np.asarray(values.astype(np.float64) @ belongs, np.int64)


def _roots(values: np.ndarray) -> np.ndarray:
    return np.asarray(np.rint(256.0 * np.sqrt(values)), np.int64)


def _ranks(values: np.ndarray) -> np.ndarray:
    """How many are below each [..., C] less how many are above it: whole numbers, the same of equal ones."""
    return np.asarray(2 * rankdata(values, axis=-1) - (values.shape[-1] + 1), np.int64)


def _centred(values: np.ndarray) -> np.ndarray:
    """Times C, less their sum: whole numbers."""
    return np.asarray(values * values.shape[-1] - values.sum(axis=-1, keepdims=True))


def _owners(given: np.ndarray, best: np.ndarray, classes: int) -> np.ndarray:
    """Which class each output means, int64 [A]; of labels, each answer: int64 [t].

    The outputs go to different classes where there are enough, so that as many answers as can be agree with the first
    reference; those left over to whichever they most often go with.
    """
    if given.shape[1] == 1:
        _, output = np.unique(given[:, 0], return_inverse=True)
        together = np.zeros((int(output.max()) + 1, classes))
        np.add.at(together, (output, best), 1.0)
        return _matched(together)[output]
    return _matched(units(given).T.astype(np.float64) @ np.eye(classes)[best])


def _matched(together: np.ndarray) -> np.ndarray:
    """For each output (the rows) its class."""
    owners = together.argmax(axis=1)
    if len(together) >= together.shape[1]:
        outputs, taken = optimize.linear_sum_assignment(together, maximize=True)
        owners[outputs] = taken
    return np.asarray(owners)
