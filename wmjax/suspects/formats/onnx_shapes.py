"""Folding: ONNX's operators on values that follow from the graph alone, in NumPy, while a program is traced.

Sizes and axes are made so. No value gets more than `MOST_KNOWN` numbers: whoever asks for one is told
(`TooManyNumbers`), before it is allocated, and has it computed like any other value.
"""

import math
from collections.abc import Callable, Mapping
from typing import Any

import ml_dtypes
import numpy as np

from wmjax.suspects.formats.onnx_graph import Node
from wmjax.suspects.formats.onnx_layout import LAYOUT, aligned, axes_of, check_known, integers

CASTS: Mapping[int, type] = {  # TensorProto.DataType
    **dict.fromkeys((1, 10, 16), np.float32), 11: np.float64,
    2: np.uint8, 3: np.int8, 4: np.uint16, 5: np.int16, 6: np.int32, 7: np.int64, 9: np.bool_, 12: np.uint32,
    13: np.uint64,
}  # fmt: skip
ROUNDED: Mapping[int, type] = {10: np.float16, 16: ml_dtypes.bfloat16}  # numbers of 16 bits: kept in 32
Known = np.ndarray


def _unary(function: Callable[[Known], Any]) -> Callable[..., Any]:
    return lambda node, x: function(x)


def _binary(function: Callable[[Known, Known], Any]) -> Callable[..., Any]:
    def apply(node: Node, *values: Known) -> Any:
        out, *rest = aligned(*values)
        for value in rest:
            check_known(math.prod(np.broadcast_shapes(out.shape, value.shape)))
            out = function(out, value)
        return out

    return apply


def _divide(a: Known, b: Known) -> Any:
    """ONNX rounds the quotient of whole numbers to zero."""
    if not np.issubdtype(a.dtype, np.integer):
        return np.divide(a, b)
    safe = np.where(b == 0, 1, b)
    return np.where(b == 0, 0, np.sign(a) * np.sign(safe) * (np.abs(a) // np.abs(safe))).astype(a.dtype)


def _mod(node: Node, a: Known, b: Known) -> Any:
    return _binary(np.fmod if node.attributes.get("fmod", 0) else np.mod)(node, a, b)


def _power(a: Known, b: Known) -> Any:
    return np.power(a, b.astype(a.dtype))


def _reduce(function: Callable[..., Any]) -> Callable[..., Any]:
    def apply(node: Node, x: Known, axes: Known | None = None) -> Known:
        found = axes_of(node, axes, x.ndim)
        if not found and node.attributes.get("noop_with_empty_axes", 0):
            return x
        return np.asarray(function(x, axis=found or None, keepdims=bool(node.attributes.get("keepdims", 1))), x.dtype)

    return apply


def _range(node: Node, start: Known, limit: Known, step: Known) -> Known:
    first, last, by = start.item(), limit.item(), step.item()
    if by == 0:
        raise ValueError("a range of step 0")
    check_known(max(0, math.ceil((last - first) / by)))
    values: Any = np.arange(first, last, by)
    return np.asarray(values, start.dtype)


def _constant_of_shape(node: Node, shape: Known) -> Known:
    sizes = integers(shape)
    if min(sizes, default=0) < 0:
        raise ValueError(f"a shape {list(sizes)[:8]}")
    check_known(math.prod(sizes))
    value = node.attributes.get("value", 0.0)
    return np.full(sizes, value, {float: np.float32, bool: np.bool_}.get(type(value), np.int64))


def _cast(node: Node, x: Known) -> Known:
    to = node.attributes["to"]
    return x.astype(ROUNDED.get(to, CASTS[to])).astype(CASTS[to])


def _clip(node: Node, x: Known, low: Known | None = None, high: Known | None = None) -> Known:
    x = x if low is None else np.maximum(x, low.astype(x.dtype).reshape(()))
    return x if high is None else np.minimum(x, high.astype(x.dtype).reshape(()))


def _nonzero(node: Node, x: Known) -> Known:
    check_known(x.size * x.ndim)
    return np.stack(np.nonzero(np.atleast_1d(x)))


FOLDED: Mapping[str, Callable[..., Any]] = {
    **LAYOUT,
    "Abs": _unary(np.abs),
    "Add": _binary(np.add),
    "And": _binary(np.logical_and),
    "Cast": _cast,
    "Ceil": _unary(np.ceil),
    "Clip": _clip,
    "ConstantOfShape": _constant_of_shape,
    "Cos": _unary(np.cos),
    "Div": _binary(_divide),
    "Equal": _binary(np.equal),
    "Exp": _unary(np.exp),
    "Floor": _unary(np.floor),
    "Greater": _binary(np.greater),
    "GreaterOrEqual": _binary(np.greater_equal),
    "Less": _binary(np.less),
    "LessOrEqual": _binary(np.less_equal),
    "Log": _unary(np.log),
    "Max": _binary(np.maximum),
    "Min": _binary(np.minimum),
    "Mod": _mod,
    "Mul": _binary(np.multiply),
    "Neg": _unary(np.negative),
    "NonZero": _nonzero,
    "Not": _unary(np.logical_not),
    "Or": _binary(np.logical_or),
    "Pow": _binary(_power),
    "Range": _range,
    "Reciprocal": _unary(np.reciprocal),
    "ReduceMax": _reduce(np.max),
    "ReduceMean": _reduce(np.mean),
    "ReduceMin": _reduce(np.min),
    "ReduceProd": _reduce(np.prod),
    "ReduceSum": _reduce(np.sum),
    "Round": _unary(np.round),
    "Sign": _unary(np.sign),
    "Sin": _unary(np.sin),
    "Sqrt": _unary(np.sqrt),
    "Sub": _binary(np.subtract),
    "Sum": _binary(np.add),
    "Xor": _binary(np.logical_xor),
}
