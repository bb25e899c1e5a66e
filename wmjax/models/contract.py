"""What a family of networks is."""

from collections.abc import Callable, Mapping
from typing import NamedTuple

import numpy as np
from flax import nnx

from wmjax.models.config import Config, Image

Draw = Callable[[np.random.Generator, tuple[str, ...], tuple[int, ...]], np.ndarray]


class Training(NamedTuple):
    """What trains a family well; what is the same for all families is `wmjax.train.default_recipe`'s.

    Attributes:
      learning_rate: peak, of SGD with momentum in batches of 64 (small images) or 128.
    """

    learning_rate: float


class Family(NamedTuple):
    """Networks of one design.

    Attributes:
      name: what users type.
      module: `module(config, rngs)` makes the NNX module, or raises ValueError if it cannot be built. It maps float
        images [n, H, W, C], and PRNG keys [n] for dropout or None, to logits; its last layer is a dense `head`.
      usual: `usual(image, classes)` is the configuration at its usual size, smaller for small images; raises
        `UsageError` where images are too small for it.
      training: `training(image)` is what trains that well.
      draw: `draw(rng, path, shape)` gives the first value of the variable at `path`, float32 of that shape.
      parameters: what its configurations hold beside widths, dense units and dropout, and the values allowed.
      unseen: those of its parameters that no tensor's shape shows.
    """

    name: str
    module: Callable[[Config, nnx.Rngs], nnx.Module]
    usual: Callable[[Image, int], Config]
    training: Callable[[Image], Training]
    draw: Draw
    parameters: Mapping[str, range] = {}
    unseen: tuple[str, ...] = ()


def small(image: Image) -> bool:
    """Whether images are so small that the usual network is a small one.

    >>> small((8, 8, 1)), small((32, 32, 3))
    (True, False)
    """
    return max(image[:2]) <= 16


def he_normal(rng: np.random.Generator, path: tuple[str, ...], shape: tuple[int, ...]) -> np.ndarray:
    """For ReLUs: He normal kernels (He et al. 2015), half the variance in the head, zero biases, unit scales.

    Args:
      rng: moved on by a kernel, by nothing else.
      path: of names, such as `("head", "kernel")`.
      shape: of the variable.

    Returns:
      float32 of that shape.
    """
    if path[-1] == "kernel":
        gain = 1.0 if path[-2] == "head" else 2.0
        scale = np.sqrt(gain / np.prod(shape[:-1]))
        return (scale * rng.standard_normal(shape)).astype(np.float32)
    return np.full(shape, 1.0 if path[-1] in ("scale", "var") else 0.0, np.float32)
