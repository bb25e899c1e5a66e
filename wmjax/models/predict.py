"""What a network answers on many images."""

import math
from collections.abc import Callable
from functools import partial
from typing import Any

import jax
import numpy as np
from jax import Array
from jax.sharding import Mesh, NamedSharding, PartitionSpec

from wmjax.models.config import Config
from wmjax.models.functional import Variables, apply

_BATCH = 250  # divides the usual test sets; 100-500 measured alike on CPUs
_PIXELS = 1 << 24  # in a batch at most: large images go in smaller ones

Program = Callable[[Any, Array], Array]  # (weights, uint8 images [n, H, W, C]) to what is told of each image


@partial(jax.jit, static_argnums=0)
def _logits(config: Config, variables: Variables, images: Array) -> Array:
    return apply(config, variables, images)[0]


@partial(jax.jit, static_argnums=0)
def _probabilities(config: Config, variables: Variables, images: Array) -> Array:
    return jax.nn.softmax(apply(config, variables, images)[0])


def dispatch(config: Config, variables: Variables, images: np.ndarray) -> list[Array]:
    """Sets this process's devices to compute `predict`, batch by batch, without waiting; `collect` fetches it."""
    return _batches(partial(_probabilities, config), variables, images)


def _batches(program: Program, weights: Any, images: np.ndarray) -> list[Array]:
    """What a program gives for each batch; the last is padded, so that nothing is compiled twice."""
    devices = jax.local_devices()
    most = max(1, min(_BATCH, _PIXELS // math.prod(images.shape[1:])))
    size = min(most, -(-len(images) // len(devices))) * len(devices)
    weights, rows = everywhere(weights), NamedSharding(_mesh(), PartitionSpec("images"))
    parts = []
    for at in range(0, len(images), size):
        part = images[at : at + size]
        padded = np.pad(part, ((0, size - len(part)), (0, 0), (0, 0), (0, 0)))
        parts.append(program(weights, jax.device_put(padded, rows)))
    return parts


def everywhere(weights: Any) -> Any:
    """A tree of weights on every device of this process; those that are there already are not moved."""
    whole = NamedSharding(_mesh(), PartitionSpec())
    return jax.tree.map(lambda leaf: _local(leaf, whole), weights)


def _mesh() -> Mesh:
    return Mesh(np.array(jax.local_devices()), ("images",))


def _local(leaf: Any, whole: NamedSharding) -> Array:
    """A weight on every device of this process; one that lies on other processes' devices too is the same on all."""
    if isinstance(leaf, Array) and not leaf.is_fully_addressable:
        leaf = leaf.addressable_data(0)
    return jax.device_put(leaf, whole)


def collect(parts: list[Array], count: int) -> np.ndarray:
    """Waits for what `dispatch` began: float32 [count, classes]."""
    return np.concatenate(jax.device_get(parts))[:count]


def predict(config: Config, variables: Variables, images: np.ndarray) -> np.ndarray:
    """Class probabilities.

    Args:
      config: the network.
      variables: its weights.
      images: uint8 [n, H, W, C].

    Returns:
      float32 [n, classes].
    """
    return answered(partial(_probabilities, config), variables, images, config.classes)


def logits(config: Config, variables: Variables, images: np.ndarray) -> np.ndarray:
    """What `predict` takes the softmax of, float32 [n, classes]."""
    return answered(partial(_logits, config), variables, images, config.classes)


def answered(program: Program, weights: Any, images: np.ndarray, classes: int) -> np.ndarray:
    """What a compiled program tells of many images, batch by batch on all devices of this process.

    Args:
      program: jitted, to float32 [n, classes].
      weights: a tree of arrays, wherever they are.
      images: uint8 [n, H, W, C].
      classes: numbers for each image.
    """
    if len(images) == 0:
        return np.empty((0, classes), np.float32)
    return collect(_batches(program, weights, images), len(images))


def accuracy(config: Config, variables: Variables, images: np.ndarray, labels: np.ndarray) -> float:
    """Share of images whose most probable class is their label."""
    return float(np.mean(predict(config, variables, images).argmax(axis=1) == labels))
