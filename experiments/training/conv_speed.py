"""The convolution's gradients against autodiff's own and against a plain matrix product of the same FLOPs.

Command   python experiments/training/conv_speed.py
Expected  kernel gradient several times faster than autodiff's on a CPU, inside a loop by orders of magnitude; layers of
          one or two channels a group at least ten times as fast as XLA's own
Time      about 4 minutes on 2 CPU cores
"""

import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[2]))  # the checkout

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array, lax

from experiments import record
from wmjax.kernels.conv import conv
from wmjax.kernels.grouped import grouped

SHAPES = [
    (128, 32, 3, 32),
    (128, 32, 32, 32),
    (128, 32, 3, 64),
    (128, 32, 64, 64),
    (128, 16, 64, 128),
    (128, 16, 128, 128),
    (128, 16, 64, 64),
    (128, 8, 128, 128),
    (128, 4, 256, 256),
    (128, 2, 256, 256),
]
GROUPED = [  # images, side, channels, window, groups: of MobileNet, EfficientNet, ConvNeXt, ShuffleNet
    (16, 32, 96, 3, 96),
    (16, 16, 192, 3, 192),
    (16, 8, 384, 5, 384),
    (16, 8, 384, 7, 384),
    (16, 16, 128, 3, 64),
]
REPEATS = 7


def plain(x: Array, kernel: Array) -> Array:
    """The convolution that autodiff differentiates."""
    return lax.conv_general_dilated(x, kernel, (1, 1), "SAME", dimension_numbers=("NHWC", "HWIO", "NHWC"))


def timed(function: Callable[..., Any], *arguments: Array) -> float:
    """Median milliseconds of a jitted call, after its compilation."""
    jitted = jax.jit(function)
    jax.block_until_ready(jitted(*arguments))
    seconds = []
    for _ in range(REPEATS):
        began = time.perf_counter()
        jax.block_until_ready(jitted(*arguments))
        seconds.append(time.perf_counter() - began)
    return round(1e3 * float(np.median(seconds)), 2)


def measure(n: int, side: int, channels: int, features: int) -> dict[str, Any]:
    """Both gradients of one layer, and the matrix product with as many multiplications as one of them."""
    keys = jax.random.split(jax.random.key(0), 3)
    x = jax.random.normal(keys[0], (n, side, side, channels))
    kernel = jax.random.normal(keys[1], (3, 3, channels, features))
    g = jax.random.normal(keys[2], (n, side, side, features))
    gradients = lambda f: lambda a, b, c: jax.vjp(f, a, b)[1](c)  # noqa: E731
    only_kernel = lambda f: lambda a, b, c: jax.vjp(lambda k: f(a, k), b)[1](c)[0]  # noqa: E731
    looped = lambda f: lambda a, b, c: lax.scan(lambda k, _: (k - only_kernel(f)(a, k, c), None), b, length=2)[0]  # noqa: E731
    rows = n * side * side
    left, right = jax.random.normal(keys[0], (9 * channels, rows)), jax.random.normal(keys[1], (rows, features))
    case: dict[str, Any] = {"images": n, "side": side, "channels": channels, "features": features}
    case["matmul_ms"] = timed(jnp.matmul, left, right)
    for name, f in (("wmjax", conv), ("autodiff", plain)):
        case[f"{name}_kernel_gradient_ms"] = timed(only_kernel(f), x, kernel, g)
        case[f"{name}_both_gradients_ms"] = timed(gradients(f), x, kernel, g)
    if side == 8:  # autodiff's takes minutes at larger sizes
        case["wmjax_two_in_a_loop_ms"] = timed(looped(conv), x, kernel, g)
        case["autodiff_two_in_a_loop_ms"] = timed(looped(plain), x, kernel, g)
    case["kernel_gradient_share_of_matmul_rate"] = round(case["matmul_ms"] / case["wmjax_kernel_gradient_ms"], 3)
    return case


def in_groups(n: int, side: int, channels: int, window: int, groups: int) -> dict[str, Any]:
    """A layer whose channels lie in groups, forward."""
    keys, pads = jax.random.split(jax.random.key(0)), [(window // 2, window // 2)] * 2
    x = jax.random.normal(keys[0], (n, side, side, channels))
    kernel = jax.random.normal(keys[1], (window, window, channels // groups, channels))
    order = ("NHWC", "HWIO", "NHWC")
    own = lambda a, b: grouped(a, b, (1, 1), pads, (1, 1), groups)  # noqa: E731
    xla = lambda a, b: lax.conv_general_dilated(  # noqa: E731
        a, b, (1, 1), pads, dimension_numbers=order, feature_group_count=groups
    )
    case: dict[str, Any] = {"images": n, "side": side, "channels": channels, "window": window, "groups": groups}
    case.update(wmjax_ms=timed(own, x, kernel), xla_ms=timed(xla, x, kernel))
    return {**case, "ratio": round(case["xla_ms"] / case["wmjax_ms"], 1)}


if __name__ == "__main__":
    layers = [measure(*shape) for shape in SHAPES]
    record.write(
        "conv_speed", {"repeats": REPEATS, "layers": layers, "grouped": [in_groups(*case) for case in GROUPED]}
    )
