"""ONNX's convolutions and pools of images [n, C, H, W].

They run in the order NHWC, HWIO, which XLA's CPU compiler computes fast in loops too; it lays the values between them
out so that the transposes cost nothing.
"""

import math
from collections.abc import Callable
from typing import Any

import jax.numpy as jnp
import numpy as np
from jax import Array, lax

from wmjax.kernels.conv import conv as same_conv
from wmjax.suspects.formats.onnx_graph import Node

_LARGEST = 4096  # stride, dilation, pad or side of a window
_ORDER = ("NHWC", "HWIO", "NHWC")
Pair = tuple[int, int]
Pads = tuple[Pair, Pair]


def _pair(node: Node, name: str, default: Pair) -> Pair:
    values = node.attributes.get(name, default)
    if len(values) != 2 or not all(1 <= value <= _LARGEST for value in values):
        raise ValueError(f"{name} {list(values)[:4]} is not two sizes")
    return values[0], values[1]


def _geometry(node: Node, size: Pair, window: Pair) -> tuple[Pair, Pair, Pads]:
    """Strides, dilations and declared pads of a window that moves over images of `size` pixels."""
    strides, dilations = _pair(node, "strides", (1, 1)), _pair(node, "dilations", (1, 1))
    auto = node.attributes.get("auto_pad", "NOTSET")
    if auto in ("SAME_UPPER", "SAME_LOWER"):
        extents = [(k - 1) * d + 1 for k, d in zip(window, dilations, strict=True)]
        totals = [max((-(-n // s) - 1) * s + k - n, 0) for n, s, k in zip(size, strides, extents, strict=True)]
        low = [(total + (auto == "SAME_LOWER")) // 2 for total in totals]
        high = [total - before for total, before in zip(totals, low, strict=True)]
        return strides, dilations, ((low[0], high[0]), (low[1], high[1]))
    pads = node.attributes.get("pads", (0, 0, 0, 0)) if auto == "NOTSET" else (0, 0, 0, 0)
    if auto not in ("NOTSET", "VALID") or len(pads) != 4 or not all(0 <= pad <= _LARGEST for pad in pads):
        raise ValueError(f"auto_pad {auto[:20]!r} with pads {list(pads)[:4]} is not read")
    return strides, dilations, ((pads[0], pads[2]), (pads[1], pads[3]))


def conv(node: Node, x: Array, kernel: Array, bias: Array | None = None) -> Array:
    """Conv: images [n, C, H, W] with a kernel [O, C / group, kh, kw]."""
    if x.ndim != 4 or kernel.ndim != 4:
        raise ValueError(f"input of {x.ndim} and kernel of {kernel.ndim} axes: only images are convolved")
    size, window = (x.shape[2], x.shape[3]), (kernel.shape[2], kernel.shape[3])
    strides, dilations, pads = _geometry(node, size, window)
    groups = node.attributes.get("group", 1)
    images, filters = jnp.transpose(x, (0, 2, 3, 1)), jnp.transpose(kernel, (2, 3, 1, 0))
    if groups == 1 and dilations == (1, 1) and list(pads) == lax.padtype_to_pads(size, window, strides, "SAME"):
        out = same_conv(images, filters, strides)
    else:
        out = lax.conv_general_dilated(
            images, filters, strides, pads, None, dilations, _ORDER, feature_group_count=groups
        )
    if bias is not None:
        out = out + jnp.reshape(bias, (1, 1, 1, -1))
    return jnp.transpose(out, (0, 3, 1, 2))


def _pool_geometry(node: Node, x: Array) -> tuple[Pair, Pair, Pair, Pads, Pads]:
    """Window, strides, dilations, declared pads, and the pads that give the output its size."""
    if x.ndim != 4:
        raise ValueError(f"input of {x.ndim} axes: only images are pooled")
    size, window = (x.shape[2], x.shape[3]), _pair(node, "kernel_shape", (0, 0))
    strides, dilations, pads = _geometry(node, size, window)
    reach: list[Pair] = []
    for n, k, s, d, (low, high) in zip(size, window, strides, dilations, pads, strict=True):
        extent = (k - 1) * d + 1
        if max(low, high) >= extent or n + low + high < extent:
            raise ValueError(f"a window of {extent} does not fit {n} pixels and pads {low}, {high}")
        out = (n + low + high - extent) // s + 1
        if node.attributes.get("ceil_mode", 0):
            out = -(-(n + low + high - extent) // s) + 1
            out -= (out - 1) * s >= n + low  # a window that begins beyond the image is left out
        reach.append((low, max(0, (out - 1) * s + extent - n - low)))
    return window, strides, dilations, pads, (reach[0], reach[1])


def _pool(
    x: Array, start: float, function: Callable[..., Any], window: Pair, strides: Pair, dilations: Pair, pads: Pads
) -> Array:
    last = jnp.transpose(x, (0, 2, 3, 1))  # pools too, or the layout would change around each of them
    out = lax.reduce_window(
        last, start, function, (1, *window, 1), (1, *strides, 1), ((0, 0), *pads, (0, 0)), None, (1, *dilations, 1)
    )
    return jnp.transpose(out, (0, 3, 1, 2))


def max_pool(node: Node, x: Array) -> Array:
    """MaxPool without its second output."""
    window, strides, dilations, _, reach = _pool_geometry(node, x)
    return _pool(x, -jnp.inf, lax.max, window, strides, dilations, reach)


def average_pool(node: Node, x: Array) -> Array:
    """AveragePool; what lies beyond the declared pads never counts."""
    window, strides, dilations, pads, reach = _pool_geometry(node, x)
    total = _pool(x, 0.0, lax.add, window, strides, dilations, reach)
    counts = []
    for axis in range(2):
        low, high = pads[axis] if node.attributes.get("count_include_pad", 0) else (0, 0)
        starts = np.arange(total.shape[2 + axis])[:, None] * strides[axis] - pads[axis][0]
        places = starts + np.arange(window[axis]) * dilations[axis]
        counts.append(((places >= -low) & (places < x.shape[2 + axis] + high)).sum(1))
    average: Array = total / np.outer(*counts).astype(np.float32)[None, None]
    return average


def global_average_pool(node: Node, x: Array) -> Array:
    """GlobalAveragePool."""
    return jnp.mean(x, tuple(range(2, x.ndim)), keepdims=True)


def global_max_pool(node: Node, x: Array) -> Array:
    """GlobalMaxPool."""
    return jnp.max(x, tuple(range(2, x.ndim)), keepdims=True)


def products(node: Node, inputs: list[Array | None], out: Array) -> int:
    """Numbers that are read to compute `out`, for the limit on a stranger's graph."""
    if node.op == "Conv" and inputs[1] is not None:
        return out.size * math.prod(inputs[1].shape[1:])
    if node.op in ("MaxPool", "AveragePool"):
        return out.size * math.prod(_pair(node, "kernel_shape", (0, 0)))
    if node.op in ("Gemm", "MatMul") and inputs[0] is not None:
        return out.size * max(inputs[0].shape[-2:])
    return out.size
