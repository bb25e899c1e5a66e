"""What a network answers on many images."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array

from wmjax.models.config import Config
from wmjax.models.functional import Variables, apply

_BATCH = 250  # divides the usual test sets; 100-500 measured alike on CPUs


@partial(jax.jit, static_argnums=0)
def _probabilities(config: Config, variables: Variables, images: Array) -> Array:
    logits, _ = apply(config, variables, images)
    return jax.nn.softmax(logits)


def predict(config: Config, variables: Variables, images: np.ndarray) -> np.ndarray:
    """Class probabilities, batch by batch; the last batch is padded so that nothing is compiled twice.

    Args:
      config: the network.
      variables: its weights.
      images: uint8 [n, H, W, C].

    Returns:
      float32 [n, classes].
    """
    size = min(_BATCH, len(images))
    if size == 0:
        return np.empty((0, config.classes), np.float32)
    variables = jax.device_put(variables)
    parts = []
    for at in range(0, len(images), size):
        part = images[at : at + size]
        padded = np.pad(part, ((0, size - len(part)), (0, 0), (0, 0), (0, 0)))
        parts.append(_probabilities(config, variables, jnp.asarray(padded)))
    return np.concatenate(jax.device_get(parts))[: len(images)]


def accuracy(config: Config, variables: Variables, images: np.ndarray, labels: np.ndarray) -> float:
    """Share of images whose most probable class is their label."""
    return float(np.mean(predict(config, variables, images).argmax(axis=1) == labels))
