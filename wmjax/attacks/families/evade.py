"""Servers that do not answer what looks unlike the images of the task: triggers often do.

How odd a question is, is the Mahalanobis distance of its penultimate features from the mean of the class that the
network sees in it, under one covariance for all classes (Lee et al. 2018). The thief fits both to images of their own.
"""

from typing import NamedTuple

import numpy as np
from scipy.linalg import solve_triangular

from wmjax.attacks.contract import Attack, Served, Thief, untouched
from wmjax.attacks.families.features import features
from wmjax.attacks.families.inputs import randomness
from wmjax.data.dataset import Dataset
from wmjax.errors import UsageError
from wmjax.models import predict

_MOST = 5000  # images that they look at: enough for a covariance of 512 features
_HELD = 5  # every so many-th is held out


class Normal(NamedTuple):
    """What features of honest images look like.

    Attributes:
      means: float64 [classes, d].
      factor: float64 [d, d], the lower Cholesky factor of the covariance that all classes share.
    """

    means: np.ndarray
    factor: np.ndarray


def fit_normal(seen: np.ndarray, labels: np.ndarray, classes: int) -> Normal:
    """Means of the classes and the covariance around them, shrunk (OAS, Chen et al. 2010) because images are few.

    Args:
      seen: finite features float32 [n, d].
      labels: int [n]; a class without images gets the mean of all.
      classes: of the network.
    """
    values = seen.astype(np.float64)
    count, size = values.shape
    means = np.stack([values[labels == c if np.any(labels == c) else slice(None)].mean(axis=0) for c in range(classes)])
    centred = values - means[labels]
    covariance = centred.T @ centred / count
    variance, square = np.trace(covariance) / size, np.mean(covariance**2)
    spread = (count + 1) * (square - variance**2 / size)
    share = min(1.0, (square + variance**2) / spread) if spread > 0 else 1.0
    shrunk = (1 - share) * covariance + share * (variance or 1.0) * np.eye(size)  # 1: features that never vary
    return Normal(means, np.linalg.cholesky(shrunk))


def distances(normal: Normal, seen: np.ndarray, predicted: np.ndarray) -> np.ndarray:
    """Mahalanobis distances from the means of the predicted classes.

    Args:
      normal: see `fit_normal`.
      seen: features float32 [n, d].
      predicted: int [n].

    Returns:
      float64 [n]; NaN or infinite where features are.
    """
    with np.errstate(invalid="ignore"):
        offsets = seen.astype(np.float64) - normal.means[predicted]
        return np.linalg.norm(solve_triangular(normal.factor, offsets.T, lower=True, check_finite=False), axis=0)


def _sample(own: Dataset, seed: int) -> tuple[Dataset, Dataset]:
    """Images to fit and images held out."""
    if len(own) < 2:
        raise UsageError(f"telling odd queries from honest ones needs 2 images or more, the thief has {len(own)}")
    order = np.random.default_rng([seed, 0xE7ADE]).permutation(len(own))[:_MOST]
    held = max(1, len(order) // _HELD)
    return own[order[held:]], own[order[:held]]


def odd(network: Served, own: Dataset, images: np.ndarray, answers: np.ndarray) -> np.ndarray:
    """Which queries are further out than all but a share `strength` of the thief's held-out images.

    Args:
      network: that is asked; where its features are not numbers nothing is odd.
      own: the thief's images.
      images: uint8 [n, H, W, C].
      answers: the network's own, float32 [n, classes].

    Returns:
      bool [n].
    """
    config, variables = network.config, network.variables
    fitted, held = _sample(own, network.seed)
    seen, seen_held = (features(config, variables, part.images) for part in (fitted, held))
    if not (np.isfinite(seen).all() and np.isfinite(seen_held).all()):
        return np.zeros(len(images), bool)
    normal = fit_normal(seen, fitted.labels, config.classes)
    usual = distances(normal, seen_held, predict(config, variables, held.images).argmax(axis=1))
    asked = distances(normal, features(config, variables, images), answers.argmax(axis=1))
    return ~(asked <= np.quantile(usual, 1 - network.strength))


def _refuse(network: Served, thief: Thief, images: np.ndarray) -> np.ndarray:
    """Honest answers, and rows of NaN where queries are odd."""
    own = thief.owned()
    answers = predict(network.config, network.variables, images)
    return np.where(odd(network, own, images, answers)[:, None], np.float32(np.nan), answers)


def _mislead(network: Served, thief: Thief, images: np.ndarray) -> np.ndarray:
    """Honest answers, and probabilities drawn uniformly from all there are where queries are odd."""
    own = thief.owned()
    answers = predict(network.config, network.variables, images)
    for row in np.flatnonzero(odd(network, own, images, answers)):
        answers[row] = randomness(network.seed, images[row]).dirichlet(np.ones(network.config.classes))
    return answers


_ATTACKER = "owns images of the task and runs the server that the networks answer through"
_STRENGTH = "share of honest queries that may be taken for odd ones"
_QUICK = (0.01, 0.05)
_FULL = (0.01, 0.05, 0.1, 0.2)

ATTACKS: tuple[Attack, ...] = (
    Attack("evade", _ATTACKER, _STRENGTH, _QUICK, _FULL, frozenset({"images"}), untouched, _refuse),
    Attack("evade-random", _ATTACKER, _STRENGTH, _QUICK, _FULL, frozenset({"images"}), untouched, _mislead),
)
