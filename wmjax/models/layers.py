"""The layers that the networks share."""

from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp
from flax import nnx
from jax import Array

from wmjax.kernels.conv import conv


def conv_general_dilated(x: Array, kernel: Array, strides: Sequence[int], padding: Any, **ignored: Any) -> Array:
    """`wmjax.kernels.conv.conv` under the signature that `nnx.Conv` calls; for two axes, without groups or dilation."""
    if not isinstance(padding, str):
        padding = tuple((int(low), int(high)) for low, high in padding)
    return conv(x, kernel, (strides[0], strides[1]), padding)


def convolution(inputs: int, outputs: int, size: int = 3, stride: int = 1, *, bias: bool, rngs: nnx.Rngs) -> nnx.Conv:
    """A SAME convolution through `wmjax.kernels.conv`."""
    return nnx.Conv(
        inputs,
        outputs,
        (size, size),
        strides=stride,
        use_bias=bias,
        conv_general_dilated=conv_general_dilated,
        rngs=rngs,
    )


def batch_norm(features: int, rngs: nnx.Rngs) -> nnx.BatchNorm:
    """Batch norm whose running averages follow within some tens of steps: short trainings need that."""
    return nnx.BatchNorm(features, momentum=0.9, rngs=rngs)


def dropout(x: Array, keys: Array | None, rate: float, site: int) -> Array:
    """Drops units of each row at random and scales the rest up; a row's mask follows from its own key.

    Sixteen random bits a unit, half of what `jax.random.bernoulli` draws: the generator is slow on CPUs.

    Args:
      x: float [N, ...].
      keys: typed PRNG keys [N]; None drops nothing.
      rate: share of units dropped, to the nearest 65536th.
      site: number of this dropout in the network.
    """
    if keys is None or rate == 0:
        return x

    def draw(key: Array) -> Array:
        return jax.random.bits(jax.random.fold_in(key, site), x.shape[1:], jnp.uint16)

    return jnp.where(jax.vmap(draw)(keys) >= round(rate * 65536), x / (1 - rate), jnp.zeros((), x.dtype))
