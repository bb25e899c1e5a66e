"""Convolutions in groups of channels, and of windows with holes, as MobileNets, EfficientNets and ConvNeXts have them.

XLA's CPU compiler computes those with one or two channels a group 20 to 100 times slower than what is written here
(`experiments/training/conv_speed.py`): a sum over the positions of the window, one multiplication each, fused into one
loop.
"""

from collections.abc import Sequence

import jax.numpy as jnp
from jax import Array, lax

from wmjax.devices import on_cpu

_POSITIONS = 49  # of a window with its channels, as a term each: more take long to compile


def grouped(
    x: Array,
    kernel: Array,
    strides: Sequence[int],
    pads: Sequence[tuple[int, int]],
    dilations: Sequence[int],
    groups: int,
) -> Array:
    """Convolves images whose channels lie in groups.

    >>> grouped(jnp.ones((1, 4, 4, 6)), jnp.ones((3, 3, 1, 6)), (1, 1), [(1, 1), (1, 1)], (1, 1), 6).shape
    (1, 4, 4, 6)

    Args:
      x: images, float [N, H, W, C].
      kernel: float [kh, kw, C / groups, O]; the outputs of a group lie side by side.
      strides: step along height and width.
      pads: pixels added before and after each axis.
      dilations: distance between the window's positions.
      groups: divides C and O.

    Returns:
      float [N, H', W', O].
    """
    height, width, channels = kernel.shape[:3]
    if on_cpu() and groups > 1 and channels <= 2 and height * width * channels <= _POSITIONS:
        return _summed(jnp.pad(x, ((0, 0), *pads, (0, 0))), kernel, strides, dilations, groups)
    order = ("NHWC", "HWIO", "NHWC")
    return lax.conv_general_dilated(
        x, kernel, strides, pads, None, dilations, dimension_numbers=order, feature_group_count=groups
    )


def _summed(x: Array, kernel: Array, strides: Sequence[int], dilations: Sequence[int], groups: int) -> Array:
    """The convolution of images that are padded, as a sum over the positions of the window."""
    height, width, channels, features = kernel.shape
    padded = lax.optimization_barrier(x)  # or the compiler pads anew for each position
    sides = zip(padded.shape[1:3], kernel.shape[:2], strides, dilations, strict=True)
    out = [(side - (window - 1) * apart - 1) // step + 1 for side, window, step, apart in sides]
    reach = [(n - 1) * step + 1 for n, step in zip(out, strides, strict=True)]
    weights = kernel.reshape(height, width, channels, 1, 1, 1, groups, features // groups)
    total = jnp.zeros((x.shape[0], *out, groups, features // groups), x.dtype)
    for i in range(height):
        for j in range(width):
            top, left = i * dilations[0], j * dilations[1]
            seen = padded[:, top : top + reach[0] : strides[0], left : left + reach[1] : strides[1]]
            seen = seen.reshape(*seen.shape[:3], groups, channels)
            for channel in range(channels):
                total = total + seen[..., channel : channel + 1] * weights[i, j, channel]
    return lax.optimization_barrier(total.reshape(*total.shape[:3], features))
