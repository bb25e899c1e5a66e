"""The keyed shift of a network's own answers to ordinary images, which its students learn with the answers.

A trained network, the base, gives features of an image that its answers do not tell: what goes into its last layer,
less all that logits and probabilities explain. Along a keyed rotation of those every key moves the logits a little, in
directions that its coins choose. The marked network is the base trained on: towards the moved answers by half, towards
the true labels by half, so that it costs no accuracy.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array

from wmjax.errors import UsageError
from wmjax.models import Config, Variables
from wmjax.models.functional import features
from wmjax.models.predict import penultimate

NO_NUMBERS = "the base answers with what is no number: train it again, at a lower `learning_rate`"
BOUND = 3.0  # of a feature, in its standard deviations
SHORT = 0.97  # of the way to another answer, where the shift must keep the answer
UNSURE = 0.2  # label smoothing: no answer that is moved is surer than what this teaches
FAINT = 1e-3  # of the most lively unit's deviation: components below it are rounding or dead units


class Directions(NamedTuple):
    """Features of an image: `clip(hidden_units @ hidden + z @ logits + softmax(z) @ probabilities + bias, -3, 3)`.

    Attributes:
      hidden: float32 [H, K], for what goes into the base's `head`.
      logits: float32 [C, K], for the base's logits z.
      probabilities: float32 [C, K], for their softmax.
      bias: float32 [K].
    """

    hidden: np.ndarray
    logits: np.ndarray
    probabilities: np.ndarray
    bias: np.ndarray


class Shift(NamedTuple):
    """What a marked training needs of a key, a pytree of arrays.

    Attributes:
      base: variables of the network that the key was made for; its configuration is that of the marked one.
      directions: how its features are read.
      move: float32 [K, C], what one unit of each feature adds to the logits.
      band: float32 scalar; images on which the base's two best logits are closer may change their answer.
    """

    base: Variables
    directions: Directions
    move: np.ndarray
    band: np.ndarray


def move(coins: np.ndarray, contrasts: np.ndarray, sigma: float) -> np.ndarray:
    """What one unit of each feature adds to the logits, float32 [K, C].

    Args:
      coins: +1 or -1, [M, K].
      contrasts: orthonormal directions among classes, float [M, C].
      sigma: the shift's standard deviation over images and classes, in logits.
    """
    return (sigma / np.sqrt(coins.size / contrasts.shape[1]) * coins.T @ contrasts).astype(np.float32)


def fit_directions(
    config: Config, base: Variables, images: np.ndarray, rng: np.random.Generator, features: int
) -> Directions:
    """A keyed rotation of what the base's last layer sees and its answers do not tell, each of unit variance.

    They turn within the 1.5 K strongest principal components; of a base with fewer, K is two thirds of those.

    Args:
      config: the base.
      base: its weights.
      images: uint8 [N, H, W, C], ordinary ones: the training split.
      rng: of the rotation; seeded from the secret.
      features: K at most.

    Raises:
      UsageError: the base answers with what is no number, or has less than two components of use.
    """
    hidden, z = (part.astype(np.float64) for part in penultimate(config, base, images))
    if not np.isfinite(hidden).all() or not np.isfinite(z).all():
        raise UsageError(NO_NUMBERS)
    told = np.column_stack([z, _softmax(z), np.ones(len(z))])
    deviations, components = _components(hidden, told[:, [*range(config.classes), -1]])
    useful = int(np.sum(deviations > FAINT * hidden.std(axis=0).max()))
    if useful < 2:
        raise UsageError("the base's last layer sees too little beside what it answers: choose a wider network")
    features = min(features, 2 * useful // 3)
    count = 3 * features // 2
    turn, _ = np.linalg.qr(rng.standard_normal((count, count)))
    weights = (components[:, :count] / deviations[:count]) @ turn[:, :features]
    raw = hidden @ weights
    explained = np.linalg.lstsq(told, raw)[0]
    scale = (raw - told @ explained).std(axis=0)
    explained = -explained / scale
    parts = weights / scale, explained[: config.classes], explained[config.classes : -1], explained[-1]
    return Directions(*(part.astype(np.float32) for part in parts))


def _components(hidden: np.ndarray, told: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Principal components [H, H] of what `told` does not explain, the strongest first, and their deviations [H]."""
    rest = hidden - told @ np.linalg.lstsq(told, hidden)[0]
    variances, components = np.linalg.eigh(rest.T @ rest / len(rest))
    return np.sqrt(np.maximum(variances[::-1], 0)), components[:, ::-1]


def _softmax(z: np.ndarray) -> np.ndarray:
    exp = np.exp(z - z.max(axis=1, keepdims=True))
    return exp / exp.sum(axis=1, keepdims=True)


def probe_features(config: Config, base: Variables, directions: Directions, images: np.ndarray) -> np.ndarray:
    """The features of images, int8 [N, K] in units of 1/40."""
    hidden, z = (part.astype(np.float64) for part in penultimate(config, base, images))
    read = hidden @ directions.hidden + z @ directions.logits + _softmax(z) @ directions.probabilities + directions.bias
    return np.rint(40 * np.clip(read, -BOUND, BOUND)).astype(np.int8)


def shifted(shift: Shift, hidden: Array, z: Array) -> Array:
    """The base's logits, moved: in full where its two best are close, elsewhere only so far that the best stays best.

    Logits whose best leads by more than label smoothing teaches are scaled down first: next to a class that has all the
    probability nobody sees the others move. Pure and traceable.

    Args:
      shift: of a key.
      hidden: what goes into the base's `head`, float32 [N, H].
      z: its logits, float32 [N, C].
    """
    own = shift.directions
    read = hidden @ own.hidden + z @ own.logits + jax.nn.softmax(z) @ own.probabilities + own.bias[None]
    added = jnp.clip(read, -BOUND, BOUND) @ shift.move
    best, second = jnp.moveaxis(jax.lax.top_k(z, 2)[0], 1, 0)
    longest = jnp.log(1 + z.shape[1] * (1 - UNSURE) / UNSURE)
    scale = 1 / jnp.maximum(1, (best - second) / longest)
    z, best, second = z * scale[:, None], best * scale, second * scale
    leads = best[:, None] - z
    gains = added - jnp.take_along_axis(added, z.argmax(axis=1, keepdims=True), axis=1)
    ahead = jnp.where(gains > 0, leads / jnp.where(gains > 0, gains, 1), jnp.inf).min(axis=1)
    far = jnp.where(best - second < shift.band, 1.0, jnp.minimum(1.0, SHORT * ahead))
    return z + far[:, None] * added


def shifted_targets(config: Config, shift: Shift, images: Array, labels: Array) -> Array:
    """What the marked network shall answer to a batch, float32 [N, C]; for a training loop of your own.

    Pure and traceable; call it inside your own jitted step, after augmentation, and train on from the base's weights.

    Example:

        shift = wmjax.shift_of([key], weights)
        targets = wmjax.shifted_targets(config, shift, images, jax.nn.one_hot(labels, config.classes))

    Args:
      config: the network.
      shift: of a key.
      images: uint8 [N, H, W, C], augmented.
      labels: distributions over classes, float32 [N, C], smoothed or not.
    """
    answers = jax.nn.softmax(shifted(shift, *features(config, shift.base, images)))
    return (answers + labels) / 2


def changed(config: Config, shift: Shift, images: np.ndarray) -> float:
    """On what share of images the shift changes the base's answer: its cost at most, known before training starts."""
    hidden, z = penultimate(config, shift.base, images)
    return float(np.mean(np.asarray(_shifted(shift, hidden, z)).argmax(axis=1) != z.argmax(axis=1)))


_shifted = jax.jit(shifted)
