"""ONNX's convolutions and pools of values [n, C, ...] with one to three axes that a window moves along.

They run with channels last, which XLA's CPU compiler computes fast in loops too; it lays the values between them out so
that the transposes cost nothing.
"""

import math
from collections.abc import Callable, Sequence
from typing import Any

import jax.numpy as jnp
import numpy as np
from jax import Array, lax

from wmjax.kernels.conv import conv as same_conv
from wmjax.kernels.grouped import grouped
from wmjax.suspects.formats.onnx_graph import Node

_LARGEST = 4096  # stride, dilation, pad or side of a window
Sizes = tuple[int, ...]  # one an axis that the window moves along
Pads = tuple[tuple[int, int], ...]


def _sizes(node: Node, name: str, count: int, default: int) -> Sizes:
    values = tuple(node.attributes.get(name, (default,) * count))
    if len(values) != count or not all(1 <= value <= _LARGEST for value in values):
        raise ValueError(f"{name} {list(values)[:4]} is not {count} sizes")
    return values


def _extents(window: Sizes, dilations: Sizes) -> list[int]:
    return [(k - 1) * d + 1 for k, d in zip(window, dilations, strict=True)]


def _geometry(node: Node, size: Sizes, extents: Sequence[int]) -> tuple[Sizes, Pads]:
    """Strides and declared pads of windows of such extents that move over values of `size`."""
    strides = _sizes(node, "strides", len(size), 1)
    auto = node.attributes.get("auto_pad", "NOTSET")
    if auto in ("SAME_UPPER", "SAME_LOWER"):
        totals = [max((-(-n // s) - 1) * s + k - n, 0) for n, s, k in zip(size, strides, extents, strict=True)]
        low = [(total + (auto == "SAME_LOWER")) // 2 for total in totals]
        return strides, tuple((before, total - before) for before, total in zip(low, totals, strict=True))
    none = (0,) * 2 * len(size)
    pads = node.attributes.get("pads", none) if auto == "NOTSET" else none
    if auto not in ("NOTSET", "VALID") or len(pads) != len(none) or not all(0 <= pad <= _LARGEST for pad in pads):
        raise ValueError(f"auto_pad {auto[:20]!r} with pads {list(pads)[:4]} is not read")
    return strides, tuple(zip(pads[: len(size)], pads[len(size) :], strict=True))


def _last(x: Any) -> Any:
    """Channels after all other axes."""
    return jnp.transpose(x, (0, *range(2, x.ndim), 1))


def _first(x: Array) -> Array:
    return jnp.transpose(x, (0, x.ndim - 1, *range(1, x.ndim - 1)))


def conv(node: Node, x: Array, kernel: Array, bias: Array | None = None, *, plain: bool = False) -> Array:
    """Conv: [n, C, ...] with a kernel [O, C / group, ...].

    `plain`: as JAX has it, slow to compute on CPUs and quick to trace, for who wants its shape alone.
    """
    if not 3 <= x.ndim <= 5 or kernel.ndim != x.ndim:
        raise ValueError(f"input of {x.ndim} and kernel of {kernel.ndim} axes: this is not convolved")
    size, window, moving = x.shape[2:], kernel.shape[2:], x.ndim - 2
    dilations = _sizes(node, "dilations", moving, 1)
    strides, pads = _geometry(node, size, _extents(window, dilations))
    groups = node.attributes.get("group", 1)
    values, filters = _last(x), jnp.transpose(kernel, (*range(2, x.ndim), 1, 0))
    usual = moving == 2 and groups == 1 and dilations == (1, 1) and not plain
    if usual and list(pads) == lax.padtype_to_pads(size, window, strides, "SAME"):
        out = same_conv(values, filters, (strides[0], strides[1]))
    elif moving == 2 and not plain:
        out = grouped(values, filters, strides, pads, dilations, groups)
    else:
        axes = "DHW"[-moving:]
        order = (f"N{axes}C", f"{axes}IO", f"N{axes}C")
        out = lax.conv_general_dilated(
            values, filters, strides, pads, None, dilations, order, feature_group_count=groups
        )
    return _first(out if bias is None else out + jnp.reshape(bias, (1,) * (moving + 1) + (-1,)))


def _pool_geometry(node: Node, x: Array) -> tuple[Sizes, Sizes, Sizes, Pads, Pads]:
    """Window, strides, dilations, declared pads, and the pads that give the output its size."""
    if not 3 <= x.ndim <= 5:
        raise ValueError(f"input of {x.ndim} axes: this is not pooled")
    size, window = x.shape[2:], _sizes(node, "kernel_shape", x.ndim - 2, 0)
    dilations = _sizes(node, "dilations", len(size), 1)
    # ONNX Runtime's SAME leaves the dilation of a pool's window out of account, though not that of a convolution's.
    same = str(node.attributes.get("auto_pad", "")).startswith("SAME")
    strides, pads = _geometry(node, size, window if same else _extents(window, dilations))
    reach: list[tuple[int, int]] = []
    for n, s, extent, (low, high) in zip(size, strides, _extents(window, dilations), pads, strict=True):
        if max(low, high) >= extent or n + low + high < extent:
            raise ValueError(f"a window of {extent} does not fit {n} pixels and pads {low}, {high}")
        out = (n + low + high - extent) // s + 1
        if node.attributes.get("ceil_mode", 0):
            out = -(-(n + low + high - extent) // s) + 1
            out -= (out - 1) * s >= n + low  # a window that begins beyond the image is left out
        reach.append((low, max(0, (out - 1) * s + extent - n - low)))
    return window, strides, dilations, pads, tuple(reach)


def _pool(
    x: Array, start: Any, function: Callable[..., Any], window: Sizes, strides: Sizes, dilations: Sizes, pads: Pads
) -> Array:
    outer = ((0, 0), *pads, (0, 0))
    last = _last(x)  # pools too, or the layout would change around each of them
    return _first(
        lax.reduce_window(last, start, function, (1, *window, 1), (1, *strides, 1), outer, None, (1, *dilations, 1))
    )


def max_pool(node: Node, x: Array) -> Array:
    """MaxPool without its second output."""
    window, strides, dilations, _, reach = _pool_geometry(node, x)
    lowest = -jnp.inf if jnp.issubdtype(x.dtype, jnp.floating) else np.asarray(np.iinfo(x.dtype).min, x.dtype)
    return _pool(x, lowest, lax.max, window, strides, dilations, reach)


def average_pool(node: Node, x: Array) -> Array:
    """AveragePool; what lies beyond the declared pads never counts."""
    window, strides, dilations, pads, reach = _pool_geometry(node, x)
    total = _pool(x, 0.0, lax.add, window, strides, dilations, reach)
    counts: Any = np.ones((), np.float32)
    for axis in range(x.ndim - 2):
        low, high = pads[axis] if node.attributes.get("count_include_pad", 0) else (0, 0)
        starts = np.arange(total.shape[2 + axis])[:, None] * strides[axis] - pads[axis][0]
        places = starts + np.arange(window[axis]) * dilations[axis]
        counts = np.multiply.outer(counts, ((places >= -low) & (places < x.shape[2 + axis] + high)).sum(1))
    average: Array = total / counts.astype(np.float32)[None, None]
    return average


def global_average_pool(node: Node, x: Array) -> Array:
    """GlobalAveragePool."""
    return jnp.mean(x, tuple(range(2, x.ndim)), keepdims=True)


def global_max_pool(node: Node, x: Array) -> Array:
    """GlobalMaxPool."""
    return jnp.max(x, tuple(range(2, x.ndim)), keepdims=True)


def products(node: Node, inputs: Sequence[Any], out: Array) -> int:
    """Numbers that are read to compute `out`, for the limit on a stranger's graph."""
    if "Conv" in node.op:
        kernels = [value for value in inputs[1:4] if value is not None and value.ndim > 2]
        read = math.prod(kernels[0].shape[1:]) if kernels else 1
    elif node.op.endswith("Pool") and "kernel_shape" in node.attributes:
        read = math.prod(node.attributes["kernel_shape"])
    elif "MatMul" in node.op or "Gemm" in node.op or node.op == "Attention":
        read = max(max(value.shape[-2:], default=1) for value in inputs if value is not None)
    elif node.op == "Einsum":
        read = math.prod(max(value.shape, default=1) for value in inputs)
    elif node.op == "LRN":
        read = node.attributes["size"]
    elif node.op in ("Resize", "Upsample"):
        read = sum(inputs[0].shape)
    else:
        read = 1
    return int(out.size * read)
