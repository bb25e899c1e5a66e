"""ONNX's operators that image classifiers use, as functions of a node and its inputs.

Those inputs that `onnx_graph.SIZES` names are NumPy arrays; any other may be one, or a JAX array. An operator with
several outputs returns a tuple. One that cannot do what the node asks raises `ValueError`.
"""

from collections.abc import Callable, Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array, lax

from wmjax.suspects.formats import onnx_resize, onnx_windows
from wmjax.suspects.formats.onnx_activations import ACTIVATIONS, unary
from wmjax.suspects.formats.onnx_graph import Node
from wmjax.suspects.formats.onnx_layout import LAYOUT, aligned, axes_of, integers
from wmjax.suspects.formats.onnx_norms import NORMS, length
from wmjax.suspects.formats.onnx_products import PRODUCTS
from wmjax.suspects.formats.onnx_quantised import QUANTISED
from wmjax.suspects.formats.onnx_shapes import CASTS, ROUNDED

Operator = Callable[..., Any]


def _binary(function: Callable[[Any, Any], Array]) -> Operator:
    """An operator of two values, or of more, one after another."""

    def apply(node: Node, *values: Any) -> Any:
        out, *rest = aligned(*values)
        for value in rest:
            out = function(out, value)
        return out

    return apply


def _divide(a: Any, b: Any) -> Any:
    if jnp.issubdtype(a.dtype, jnp.floating):
        return jnp.divide(a, b)
    return lax.div(*jnp.broadcast_arrays(a, b))  # rounds to zero, as ONNX does


def _mod(node: Node, a: Any, b: Any) -> Any:
    return _binary(jnp.fmod if node.attributes.get("fmod", 0) else jnp.mod)(node, a, b)


def _mean(node: Node, *values: Any) -> Any:
    return _binary(jnp.add)(node, *values) / len(values)


def _reduce(function: Callable[..., Array]) -> Operator:
    def apply(node: Node, x: Array, axes: Any = None) -> Array:
        found = axes_of(node, axes, x.ndim)
        if not found and node.attributes.get("noop_with_empty_axes", 0):
            return x
        return function(x, found or None, keepdims=bool(node.attributes.get("keepdims", 1)))

    return apply


def _best(function: Callable[..., Array]) -> Operator:
    def apply(node: Node, x: Array) -> Array:
        axis = node.attributes.get("axis", 0)
        last = node.attributes.get("select_last_index", 0)
        found = function(jnp.flip(x, axis) if last else x, axis, keepdims=bool(node.attributes.get("keepdims", 1)))
        return x.shape[axis] - 1 - found if last else found

    return apply


def _top_k(node: Node, x: Array, k: np.ndarray | None = None) -> tuple[Array, Array]:
    (count,) = (node.attributes["k"],) if k is None else integers(k)
    axis = node.attributes.get("axis", -1)
    if not 0 <= count <= x.shape[axis]:
        raise ValueError(f"the best {count} of {x.shape[axis]}")
    values = jnp.moveaxis(x, axis, -1)
    best, places = lax.top_k(values if node.attributes.get("largest", 1) else -values, count)
    best = best if node.attributes.get("largest", 1) else -best
    return jnp.moveaxis(best, -1, axis), jnp.moveaxis(places, -1, axis)


def _clip(node: Node, x: Array, low: Any = None, high: Any = None) -> Array:
    low = node.attributes.get("min") if low is None else low.reshape((1,) * x.ndim)
    high = node.attributes.get("max") if high is None else high.reshape((1,) * x.ndim)
    x = x if low is None else jnp.maximum(x, low)
    return x if high is None else jnp.minimum(x, high)


def _dropout(node: Node, x: Any, ratio: Any = None, training: Any = None) -> Any:
    if training is not None and training.any():
        raise ValueError("dropout in training mode: export the model for inference")
    return x


def _is_inf(node: Node, x: Array) -> Array:
    signs = [sign for sign, name in ((1, "positive"), (-1, "negative")) if node.attributes.get(f"detect_{name}", 1)]
    return jnp.isinf(x) & (jnp.isin(jnp.sign(x), jnp.asarray(signs, x.dtype)))


def _pad(node: Node, x: Any, pads: Any = None, value: Any = None, axes: Any = None) -> Array:
    sizes = node.attributes.get("pads", ()) if pads is None else integers(pads)
    along = axes_of(node, axes, x.ndim) or tuple(range(x.ndim))
    if len(sizes) != 2 * len(along) or not all(abs(size) <= 4096 for size in sizes):
        raise ValueError(f"pads {list(sizes)[:8]} for {len(along)} axes")
    widths = [(0, 0)] * x.ndim
    for axis, low, high in zip(along, sizes[: len(along)], sizes[len(along) :], strict=True):
        widths[axis] = (low, high)
    mode = node.attributes.get("mode", "constant")
    if mode == "constant":
        fill = jnp.asarray(node.attributes.get("value", 0.0) if value is None else value, x.dtype).reshape(())
        return lax.pad(x, fill, [(low, high, 0) for low, high in widths])
    if mode not in ("reflect", "edge", "wrap"):
        raise NotImplementedError(f"mode {mode[:20]!r} is not read")
    return jnp.pad(x, widths, mode)


def _cast(node: Node, x: Any) -> Any:
    to = node.attributes.get("to", 0)
    if to not in CASTS:
        raise NotImplementedError(f"to type {to} is not read")
    x = jnp.asarray(x)
    if to == 11 or (to in (7, 12, 13) and jnp.issubdtype(x.dtype, jnp.floating)):
        raise NotImplementedError("to numbers of 64 bits")
    if to in ROUNDED:  # behind the barrier, or the compiler would leave both conversions out
        x = lax.optimization_barrier(x.astype(ROUNDED[to]))
    return jnp.asarray(x).astype(jax.dtypes.canonicalize_dtype(CASTS[to]))


def _constant_of_shape(node: Node, shape: np.ndarray) -> Array:
    value = node.attributes.get("value", 0.0)
    return jnp.full(integers(shape), value, {float: jnp.float32, bool: jnp.bool_}.get(type(value), jnp.int32))


def _one_hot(node: Node, indices: Array, depth: np.ndarray, values: Array) -> Array:
    axis, (size,) = node.attributes.get("axis", -1), integers(depth)
    places = jnp.expand_dims(jnp.asarray(indices).astype(jnp.int32), axis)
    shape = [1] * places.ndim
    shape[axis] = -1
    hot = (places % size == jnp.arange(size).reshape(shape)) & (places >= -size) & (places < size)
    return jnp.where(hot, values[1], values[0])


OPERATORS: Mapping[str, Operator] = {
    **ACTIVATIONS,
    **LAYOUT,
    **NORMS,
    **PRODUCTS,
    **QUANTISED,
    "Abs": unary(jnp.abs),
    "Add": _binary(jnp.add),
    "And": _binary(jnp.logical_and),
    "ArgMax": _best(jnp.argmax),
    "ArgMin": _best(jnp.argmin),
    "AveragePool": onnx_windows.average_pool,
    "Cast": _cast,
    "CastLike": lambda node, x, like: jnp.asarray(x).astype(like.dtype),
    "Ceil": unary(jnp.ceil),
    "Clip": _clip,
    "ConstantOfShape": _constant_of_shape,
    "Conv": onnx_windows.conv,
    "Cos": unary(jnp.cos),
    "Div": _binary(_divide),
    "Dropout": _dropout,
    "Equal": _binary(jnp.equal),
    "Erf": unary(lax.erf),
    "Exp": unary(jnp.exp),
    "Floor": unary(jnp.floor),
    "GlobalAveragePool": onnx_windows.global_average_pool,
    "GlobalMaxPool": onnx_windows.global_max_pool,
    "Greater": _binary(jnp.greater),
    "GreaterOrEqual": _binary(jnp.greater_equal),
    "IsInf": _is_inf,
    "IsNaN": unary(jnp.isnan),
    "Less": _binary(jnp.less),
    "LessOrEqual": _binary(jnp.less_equal),
    "Log": unary(jnp.log),
    "Max": _binary(jnp.maximum),
    "MaxPool": onnx_windows.max_pool,
    "Mean": _mean,
    "Min": _binary(jnp.minimum),
    "Mod": _mod,
    "Mul": _binary(jnp.multiply),
    "Neg": unary(jnp.negative),
    "Not": unary(jnp.logical_not),
    "OneHot": _one_hot,
    "Or": _binary(jnp.logical_or),
    "PRelu": lambda node, x, slope: jnp.where(x >= 0, x, _binary(jnp.multiply)(node, x, slope)),
    "Pad": _pad,
    "Pow": _binary(lambda a, b: jnp.power(a, b.astype(a.dtype))),
    "Reciprocal": unary(jnp.reciprocal),
    "ReduceL1": _reduce(lambda x, axes, keepdims: jnp.sum(jnp.abs(x), axes, keepdims=keepdims)),
    "ReduceL2": _reduce(length),
    "ReduceLogSum": _reduce(lambda x, axes, keepdims: jnp.log(jnp.sum(x, axes, keepdims=keepdims))),
    "ReduceLogSumExp": _reduce(lambda x, axes, keepdims: jax.nn.logsumexp(x, axes, keepdims=keepdims)),
    "ReduceMax": _reduce(jnp.max),
    "ReduceMean": _reduce(jnp.mean),
    "ReduceMin": _reduce(jnp.min),
    "ReduceProd": _reduce(jnp.prod),
    "ReduceSum": _reduce(jnp.sum),
    "ReduceSumSquare": _reduce(lambda x, axes, keepdims: jnp.sum(jnp.square(x), axes, keepdims=keepdims)),
    "Resize": onnx_resize.resize,
    "Round": unary(jnp.round),
    "Sign": unary(jnp.sign),
    "Sin": unary(jnp.sin),
    "Sqrt": unary(jnp.sqrt),
    "Sub": _binary(jnp.subtract),
    "Sum": _binary(jnp.add),
    "Tanh": unary(jnp.tanh),
    "TopK": _top_k,
    "Upsample": onnx_resize.upsample,
    "Xor": _binary(jnp.logical_xor),
}
