"""ONNX's operators that image classifiers use, as functions of a node and its inputs.

A value is a NumPy array where it follows from the file's graph alone (sizes, axes), and is computed while the program
is traced; all else is a JAX array. An operator that cannot do what the node asks raises `ValueError`.
"""

import math
from collections.abc import Callable, Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array, lax

from wmjax.suspects.formats import onnx_windows
from wmjax.suspects.formats.onnx_graph import Node

_LARGEST = 1 << 16  # numbers in a value that is computed while tracing
_FLOATS = (1, 10, 11, 16)  # TensorProto.DataType
_INTEGERS: dict[int, type] = {6: np.int32, 7: np.int64, 9: np.bool_}


def _known(value: Any, what: str) -> np.ndarray:
    """A value that must follow from the graph alone."""
    if not isinstance(value, np.ndarray):
        raise ValueError(f"{what} depends on pixels or weights")
    return value


def _integers(value: Any, what: str) -> tuple[int, ...]:
    return tuple(int(n) for n in _known(value, what).reshape(-1))


def _axes(node: Node, axes: Any, rank: int) -> tuple[int, ...] | None:
    """Axes from an attribute or, in later versions, an input; None where there is neither."""
    given = node.attributes.get("axes") if axes is None else _integers(axes, "axes")
    if given is None:
        return None
    if not all(-rank <= axis < rank for axis in given):
        raise ValueError(f"axes {list(given)[:8]} of a value with {rank}")
    return tuple(axis % rank for axis in given)


def _unary(name: str) -> Callable[..., Any]:
    def apply(node: Node, x: Any) -> Any:
        return getattr(np if isinstance(x, np.ndarray) else jnp, name)(x)

    return apply


def _binary(name: str) -> Callable[..., Any]:
    """An operator with broadcasting, which is spelt out: JAX may be set to refuse it between different ranks."""

    def apply(node: Node, a: Any, b: Any) -> Any:
        rank = max(a.ndim, b.ndim)
        a, b = (x.reshape((1,) * (rank - x.ndim) + x.shape) for x in (a, b))
        if not isinstance(a, np.ndarray) or not isinstance(b, np.ndarray):
            return getattr(jnp, name)(a, b)
        if math.prod(np.broadcast_shapes(a.shape, b.shape)) > _LARGEST:
            raise ValueError("sizes of tensors that are themselves too large")
        if name == "divide" and np.issubdtype(a.dtype, np.integer):
            return np.where(b == 0, 0, np.trunc(a / np.where(b == 0, 1, b))).astype(a.dtype)  # ONNX rounds to zero
        return getattr(np, name)(a, b)

    return apply


def _reduce(function: Callable[..., Array]) -> Callable[..., Array]:
    def apply(node: Node, x: Array, axes: Any = None) -> Array:
        found = _axes(node, axes, x.ndim)
        if not found and node.attributes.get("noop_with_empty_axes", 0):
            return x
        return function(x, found or None, keepdims=bool(node.attributes.get("keepdims", 1)))

    return apply


def _batch_norm(node: Node, x: Array, scale: Array, bias: Array, mean: Array, variance: Array) -> Array:
    if node.attributes.get("training_mode", 0) or not node.attributes.get("spatial", 1):
        raise ValueError("batch norm in training mode or of each pixel: export the model for inference")
    factor = scale * lax.rsqrt(variance + node.attributes.get("epsilon", 1e-5))
    shape = (1, -1, *[1] * (x.ndim - 2))
    return x * factor.reshape(shape) + (bias - mean * factor).reshape(shape)


def _layer_norm(node: Node, x: Array, scale: Array, bias: Array | None = None) -> Array:
    axes = tuple(range(_axis(node, -1, x.ndim), x.ndim))
    centred = x - jnp.mean(x, axes, keepdims=True)
    spread = jnp.mean(jnp.square(centred), axes, keepdims=True) + node.attributes.get("epsilon", 1e-5)
    out: Array = _binary("multiply")(node, centred * lax.rsqrt(spread), scale)
    return out if bias is None else _binary("add")(node, out, bias)


def _gemm(node: Node, a: Array, b: Array, c: Array | None = None) -> Array:
    a = a.T if node.attributes.get("transA", 0) else a
    b = b.T if node.attributes.get("transB", 0) else b
    if a.ndim != 2 or b.ndim != 2:
        raise ValueError("not two matrices")
    product: Array = node.attributes.get("alpha", 1.0) * jnp.matmul(a, b)
    if c is not None:
        product += node.attributes.get("beta", 1.0) * jnp.asarray(c).reshape((1,) * (2 - c.ndim) + c.shape)
    return product


def _clip(node: Node, x: Array, low: Any = None, high: Any = None) -> Array:
    low = node.attributes.get("min") if low is None else low.reshape((1,) * x.ndim)
    high = node.attributes.get("max") if high is None else high.reshape((1,) * x.ndim)
    x = x if low is None else jnp.maximum(x, low)
    return x if high is None else jnp.minimum(x, high)


def _softmax(function: Callable[..., Array]) -> Callable[..., Array]:
    def apply(node: Node, x: Array) -> Array:
        if node.opset >= 13:
            return function(x, axis=node.attributes.get("axis", -1))
        axis = _axis(node, 1, x.ndim)  # before version 13 over all axes from this one on
        return function(x.reshape(math.prod(x.shape[:axis]), -1), axis=-1).reshape(x.shape)

    return apply


def _axis(node: Node, default: int, rank: int) -> int:
    axis: int = node.attributes.get("axis", default)
    if not -rank <= axis <= rank:
        raise ValueError(f"axis {axis} of a value with {rank}")
    return axis + rank if axis < 0 else axis


def _gelu(node: Node, x: Array) -> Array:
    return jax.nn.gelu(x, approximate=node.attributes.get("approximate", "none") == "tanh")


def _hard_sigmoid(node: Node, x: Array) -> Array:
    return jnp.clip(x * node.attributes.get("alpha", 0.2) + node.attributes.get("beta", 0.5), 0.0, 1.0)


def _dropout(node: Node, x: Any, ratio: Any = None, training: Any = None) -> Any:
    if training is not None and _known(training, "training_mode").any():
        raise ValueError("dropout in training mode: export the model for inference")
    return x


def _flatten(node: Node, x: Any) -> Any:
    axis = _axis(node, 1, x.ndim)
    return x.reshape(math.prod(x.shape[:axis]), math.prod(x.shape[axis:]))


def _reshape(node: Node, x: Any, shape: Any) -> Any:
    sizes = list(_integers(shape, "shape"))
    if not node.attributes.get("allowzero", 0):
        sizes = [x.shape[i] if size == 0 else size for i, size in enumerate(sizes)]
    return x.reshape(sizes)


def _transpose(node: Node, x: Any) -> Any:
    return x.transpose(node.attributes.get("perm", range(x.ndim)[::-1]))


def _squeeze(node: Node, x: Any, axes: Any = None) -> Any:
    return x.squeeze(_axes(node, axes, x.ndim))


def _unsqueeze(node: Node, x: Any, axes: Any = None) -> Any:
    given = node.attributes.get("axes", ()) if axes is None else _integers(axes, "axes")
    found = _axes(node, np.asarray(given, np.int64), x.ndim + len(given)) or ()
    rest = iter(x.shape)
    return x.reshape([1 if axis in found else next(rest) for axis in range(x.ndim + len(given))])


def _concat(node: Node, *parts: Any) -> Any:
    known = all(isinstance(part, np.ndarray) for part in parts)
    return (np if known else jnp).concatenate(parts, axis=node.attributes["axis"])


def _shape(node: Node, x: Any) -> np.ndarray:
    return np.asarray(x.shape[node.attributes.get("start", 0) : node.attributes.get("end")], np.int64)


def _constant_of_shape(node: Node, shape: Any) -> np.ndarray:
    sizes = _integers(shape, "shape")
    if min(sizes, default=0) < 0 or math.prod(sizes) > _LARGEST:
        raise ValueError("sizes of tensors that are themselves too large")
    value = node.attributes.get("value", 0.0)
    return np.full(sizes, value, np.float32 if isinstance(value, float) else np.int64)


def _gather(node: Node, x: Any, indices: Any) -> Any:
    places = _known(indices, "indices")
    axis = node.attributes.get("axis", 0)
    if not all(-x.shape[axis] <= place < x.shape[axis] for place in places.reshape(-1)):
        raise ValueError(f"indices beyond the {x.shape[axis]} that there are")
    if isinstance(x, np.ndarray):
        if x.size * places.size > _LARGEST:
            raise ValueError("sizes of tensors that are themselves too large")
        return np.take(x, places, axis)
    return jnp.take(x, (places % x.shape[axis]).astype(np.int32), axis)


def _slice(node: Node, x: Any, starts: Any = None, ends: Any = None, axes: Any = None, steps: Any = None) -> Any:
    first = node.attributes.get("starts", ()) if starts is None else _integers(starts, "starts")
    last = node.attributes.get("ends", ()) if ends is None else _integers(ends, "ends")
    along = _axes(node, axes, x.ndim) or tuple(range(len(first)))
    by = (1,) * len(first) if steps is None else _integers(steps, "steps")
    cuts = [slice(None)] * x.ndim
    for axis, *cut in zip(along, first, last, by, strict=True):
        cuts[axis] = slice(*cut)
    return x[tuple(cuts)]


def _pad(node: Node, x: Any, pads: Any = None, value: Any = None, axes: Any = None) -> Array:
    sizes = node.attributes.get("pads", ()) if pads is None else _integers(pads, "pads")
    along = _axes(node, axes, x.ndim) or tuple(range(x.ndim))
    if len(sizes) != 2 * len(along) or not all(abs(size) <= 4096 for size in sizes):
        raise ValueError(f"pads {list(sizes)[:8]} for {len(along)} axes")
    widths = [(0, 0)] * x.ndim
    for axis, low, high in zip(along, sizes[: len(along)], sizes[len(along) :], strict=True):
        widths[axis] = (low, high)
    mode = node.attributes.get("mode", "constant")
    if mode == "constant":
        fill = jnp.asarray(node.attributes.get("value", 0.0) if value is None else value, x.dtype).reshape(())
        return lax.pad(x, fill, [(low, high, 0) for low, high in widths])
    if mode not in ("reflect", "edge"):
        raise ValueError(f"mode {mode[:20]!r} is not read")
    return jnp.pad(x, widths, mode)


def _cast(node: Node, x: Any) -> Any:
    to = node.attributes.get("to")
    if to in _FLOATS:
        return x.astype(np.float32)
    if to not in _INTEGERS:
        raise ValueError(f"to type {to} is not read")
    return _known(x, "a whole number").astype(_INTEGERS[to])


OPERATORS: Mapping[str, Callable[..., Any]] = {
    "Abs": _unary("abs"),
    "Add": _binary("add"),
    "AveragePool": onnx_windows.average_pool,
    "BatchNormalization": _batch_norm,
    "Cast": _cast,
    "Clip": _clip,
    "Concat": _concat,
    "ConstantOfShape": _constant_of_shape,
    "Conv": onnx_windows.conv,
    "Div": _binary("divide"),
    "Dropout": _dropout,
    "Elu": lambda node, x: jax.nn.elu(x, node.attributes.get("alpha", 1.0)),
    "Erf": lambda node, x: lax.erf(x),
    "Exp": _unary("exp"),
    "Flatten": _flatten,
    "Gather": _gather,
    "Gelu": _gelu,
    "Gemm": _gemm,
    "GlobalAveragePool": onnx_windows.global_average_pool,
    "GlobalMaxPool": onnx_windows.global_max_pool,
    "HardSigmoid": _hard_sigmoid,
    "HardSwish": lambda node, x: x * jnp.clip(x / 6.0 + 0.5, 0.0, 1.0),
    "Identity": lambda node, x: x,
    "LayerNormalization": _layer_norm,
    "LeakyRelu": lambda node, x: jnp.where(x >= 0, x, x * node.attributes.get("alpha", 0.01)),
    "LogSoftmax": _softmax(jax.nn.log_softmax),
    "MatMul": lambda node, a, b: jnp.matmul(a, b),
    "Max": _binary("maximum"),
    "MaxPool": onnx_windows.max_pool,
    "Min": _binary("minimum"),
    "Mul": _binary("multiply"),
    "Neg": _unary("negative"),
    "PRelu": lambda node, x, slope: jnp.where(x >= 0, x, _binary("multiply")(node, x, slope)),
    "Pad": _pad,
    "Pow": _binary("power"),
    "ReduceMax": _reduce(jnp.max),
    "ReduceMean": _reduce(jnp.mean),
    "ReduceSum": _reduce(jnp.sum),
    "Relu": lambda node, x: jnp.maximum(x, 0.0),
    "Reshape": _reshape,
    "Shape": _shape,
    "Sigmoid": lambda node, x: jax.nn.sigmoid(x),
    "Slice": _slice,
    "Softmax": _softmax(jax.nn.softmax),
    "Softplus": lambda node, x: jax.nn.softplus(x),
    "Sqrt": _unary("sqrt"),
    "Squeeze": _squeeze,
    "Sub": _binary("subtract"),
    "Tanh": _unary("tanh"),
    "Transpose": _transpose,
    "Unsqueeze": _unsqueeze,
}
