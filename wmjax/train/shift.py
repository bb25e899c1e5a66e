"""The keyed shift of a network's own answers to ordinary images, which its students learn with the answers.

Features of an image are what a trained network, the base, sees in it and its answers do not tell: what goes into its
last layer, and the colours of the image's parts, less all that logits and probabilities explain. Students of the same
architecture learn the former best, those of others the colours, which any network can see. Along a keyed rotation of
these every key moves the logits a little, in directions that its coins choose. The marked network is the base trained
on: towards the moved answers by half, towards the true labels by half, so that it costs no accuracy.
"""

from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from scipy.linalg import block_diag

from wmjax.errors import UsageError
from wmjax.models import Config, Variables
from wmjax.models.functional import features
from wmjax.models.predict import answered

NO_NUMBERS = "the base's answers contain NaN or infinities: train it again, at a lower `learning_rate`"
BOUND = 3.0  # of a feature, in its standard deviations
SHORT = 0.97  # of the way to another answer, where the shift must keep the answer
UNSURE = 0.2  # label smoothing: no answer that is moved is surer than what this teaches
FAINT = 1e-3  # of the most lively unit's deviation: components below it are rounding or dead units
PARTS = 4  # of an image's height, and of its width, whose colours are features


class Directions(NamedTuple):
    """Features of an image: `clip(seen @ own.seen + z @ logits + softmax(z) @ probabilities + bias, -3, 3)`.

    Attributes:
      seen: float32 [S, K], for what `look` sees in an image.
      logits: float32 [C, K], for the base's logits z.
      probabilities: float32 [C, K], for their softmax.
      bias: float32 [K].
    """

    seen: np.ndarray
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


def look(config: Config, base: Variables, images: Array) -> tuple[Array, Array]:
    """What there is to see in images, float32 [N, S], and the base's logits, float32 [N, C]. Pure and traceable.

    First what goes into its `head`, then the mean colours of the images' parts and of their mirror images': what a
    network is trained to answer alike, mirrored or not, is learned.
    """
    hidden, z = features(config, base, images)
    parts = jax.image.resize(images.astype(jnp.float32) / 255, (len(images), PARTS, PARTS, images.shape[3]), "linear")
    colours = (parts + parts[:, :, ::-1])[:, :, : PARTS // 2]
    return jnp.concatenate([hidden, colours.reshape(len(images), -1)], axis=1), z


def _hidden(base: Variables) -> int:
    """How much goes into its `head`: the first of what `look` sees."""
    return int(base.params["head"]["kernel"].shape[0])


@partial(jax.jit, static_argnums=0)
def _look(config: Config, base: Variables, images: Array) -> Array:
    return jnp.concatenate(look(config, base, images), axis=1)


def looked(config: Config, base: Variables, images: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The same of many images, uint8 [N, H, W, C], on the host."""
    width = _hidden(base) + PARTS * PARTS // 2 * config.image[2]
    both = answered(partial(_look, config), base, images, width + config.classes)
    return both[:, :width], both[:, width:]


def fit_directions(
    config: Config, base: Variables, images: np.ndarray, rng: np.random.Generator, features: int
) -> Directions:
    """A keyed rotation of what is seen in images and the base's answers do not tell, each of unit variance.

    Up to half of them are of colours, the others of what its last layer sees. Both turn within the strongest principal
    components, half as many again as there are features; of fewer components two thirds are used.

    Args:
      config: the base.
      base: its weights.
      images: uint8 [N, H, W, C], ordinary ones: the training split.
      rng: of the rotation; seeded from the secret.
      features: K at most.

    Raises:
      UsageError: the base's answers contain NaN or infinities, or it has fewer than two useful components.
    """
    seen, z = (part.astype(np.float64) for part in looked(config, base, images))
    if not np.isfinite(seen).all() or not np.isfinite(z).all():
        raise UsageError(NO_NUMBERS)
    told = np.column_stack([z, _softmax(z), np.ones(len(z))])
    linear, hidden = told[:, [*range(config.classes), -1]], _hidden(base)
    by_colour = _turned(seen[:, hidden:], linear, rng, features // 2)
    by_hidden = _turned(seen[:, :hidden], linear, rng, features - by_colour.shape[1])
    if by_hidden.shape[1] < 1:
        raise UsageError("the base's last layer sees too little beside what it answers: choose a wider network")
    weights = block_diag(by_hidden, by_colour)
    raw = seen @ weights
    explained = np.linalg.lstsq(told, raw)[0]
    scale = (raw - told @ explained).std(axis=0)
    explained = -explained / scale
    parts = weights / scale, explained[: config.classes], explained[config.classes : -1], explained[-1]
    return Directions(*(part.astype(np.float32) for part in parts))


def _turned(seen: np.ndarray, told: np.ndarray, rng: np.random.Generator, most: int) -> np.ndarray:
    """A random rotation of the strongest principal components that `told` does not explain: weights [S, K]."""
    rest = seen - told @ np.linalg.lstsq(told, seen)[0]
    variances, components = np.linalg.eigh(rest.T @ rest / len(rest))  # the weakest first
    deviations = np.sqrt(np.maximum(variances[::-1], 0))
    useful = int(np.sum(deviations > FAINT * seen.std(axis=0).max()))
    features = min(most, 2 * useful // 3)
    count = 3 * features // 2
    turn, _ = np.linalg.qr(rng.standard_normal((count, count)))
    return np.asarray((components[:, ::-1][:, :count] / deviations[:count]) @ turn[:, :features])


def _softmax(z: np.ndarray) -> np.ndarray:
    exp = np.exp(z - z.max(axis=1, keepdims=True))
    return exp / exp.sum(axis=1, keepdims=True)


def probe_features(config: Config, base: Variables, directions: Directions, images: np.ndarray) -> np.ndarray:
    """The features of images, int8 [N, K] in units of 1/40."""
    seen, z = (part.astype(np.float64) for part in looked(config, base, images))
    read = seen @ directions.seen + z @ directions.logits + _softmax(z) @ directions.probabilities + directions.bias
    return np.rint(40 * np.clip(read, -BOUND, BOUND)).astype(np.int8)


def shifted(shift: Shift, seen: Array, z: Array) -> Array:
    """The base's logits, moved: in full where its two best are close, elsewhere only so far that the best stays best.

    Logits whose best leads by more than label smoothing teaches are scaled down first: next to a class that has all the
    probability nobody sees the others move. Pure and traceable.

    Args:
      shift: of a key.
      seen: what `look` sees, float32 [N, S].
      z: the base's logits, float32 [N, C].
    """
    own = shift.directions
    read = seen @ own.seen + z @ own.logits + jax.nn.softmax(z) @ own.probabilities + own.bias[None]
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
    answers = jax.nn.softmax(shifted(shift, *look(config, shift.base, images)))
    return (answers + labels) / 2


def changed(config: Config, shift: Shift, images: np.ndarray) -> float:
    """On what share of images the shift changes the base's answer: its cost at most, known before training starts."""
    seen, z = looked(config, shift.base, images)
    return float(np.mean(np.asarray(_shifted(shift, seen, z)).argmax(axis=1) != z.argmax(axis=1)))


_shifted = jax.jit(shifted)
