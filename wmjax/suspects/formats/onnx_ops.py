"""ONNX's operators that image classifiers use, as functions of a node and its inputs.

Those inputs that `onnx_graph.SIZES` names are NumPy arrays; any other may be one, or a JAX array. An operator with
several outputs returns a tuple. One that cannot do what the node asks raises `ValueError`.
"""

import math
import re
from collections.abc import Callable, Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array, lax

from wmjax.suspects.formats import onnx_resize, onnx_windows
from wmjax.suspects.formats.onnx_graph import MICROSOFT, Node
from wmjax.suspects.formats.onnx_layout import LAYOUT, aligned, axes_of, axis_of, integers
from wmjax.suspects.formats.onnx_norms import NORMS, length
from wmjax.suspects.formats.onnx_quantised import QUANTISED
from wmjax.suspects.formats.onnx_shapes import CASTS, ROUNDED

Operator = Callable[..., Any]


def _unary(function: Callable[[Any], Array]) -> Operator:
    return lambda node, x: function(x)


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


def _gemm(node: Node, a: Array, b: Array, c: Array | None = None) -> Array:
    a = a.T if node.attributes.get("transA", 0) else a
    b = b.T if node.attributes.get("transB", 0) else b
    if a.ndim != 2 or b.ndim != 2:
        raise ValueError("not two matrices")
    product: Array = node.attributes.get("alpha", 1.0) * jnp.matmul(a, b)
    if c is not None:
        product += node.attributes.get("beta", 1.0) * jnp.asarray(c).reshape((1,) * (2 - c.ndim) + c.shape)
    return product


def _einsum(node: Node, *values: Array) -> Array:
    equation = re.sub(r"\s", "", node.attributes["equation"])
    if not re.fullmatch(r"[A-Za-z,.]*(->[A-Za-z.]*)?", equation):
        raise ValueError("its equation is not one of letters")
    return jnp.einsum(equation, *values)


def _clip(node: Node, x: Array, low: Any = None, high: Any = None) -> Array:
    low = node.attributes.get("min") if low is None else low.reshape((1,) * x.ndim)
    high = node.attributes.get("max") if high is None else high.reshape((1,) * x.ndim)
    x = x if low is None else jnp.maximum(x, low)
    return x if high is None else jnp.minimum(x, high)


def _softmax(function: Callable[..., Array]) -> Operator:
    def apply(node: Node, x: Array) -> Array:
        if node.opset >= 13:
            return function(x, axis=node.attributes.get("axis", -1))
        axis = axis_of(node, 1, x.ndim)  # before version 13 over all axes from this one on
        return function(x.reshape(math.prod(x.shape[:axis]), -1), axis=-1).reshape(x.shape)

    return apply


def _gelu(node: Node, x: Array) -> Array:
    return jax.nn.gelu(x, approximate=node.attributes.get("approximate", "none") == "tanh")


def _bias_gelu(node: Node, x: Array, bias: Array) -> Array:
    return jax.nn.gelu(jnp.add(*aligned(x, bias)), approximate=False)


def _fast_gelu(node: Node, x: Array, bias: Array | None = None) -> Array:
    return jax.nn.gelu(x if bias is None else jnp.add(*aligned(x, bias)), approximate=True)


def _hard_sigmoid(node: Node, x: Array) -> Array:
    return jnp.clip(x * node.attributes.get("alpha", 0.2) + node.attributes.get("beta", 0.5), 0.0, 1.0)


def _swish(node: Node, x: Array) -> Array:
    return x * jax.nn.sigmoid(node.attributes.get("alpha", 1.0) * x)


def _selu(node: Node, x: Array) -> Any:
    alpha, gamma = node.attributes.get("alpha", 1.6732632), node.attributes.get("gamma", 1.0507010)
    return gamma * jnp.where(x > 0, x, alpha * jnp.expm1(jnp.minimum(x, 0.0)))


def _celu(node: Node, x: Array) -> Array:
    return jax.nn.celu(x, node.attributes.get("alpha", 1.0))


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


def _attention(node: Node, q: Array, k: Array, v: Array, mask: Array | None = None) -> Array:
    """Attention of version 23, of [n, heads, length, size] or [n, length, heads * size]; without caches."""
    if other := set(node.attributes) - {"q_num_heads", "kv_num_heads", "scale", "is_causal", "softmax_precision"}:
        raise NotImplementedError(f"attribute {min(other)!r} is not read")
    heads = node.attributes.get("q_num_heads", 0), node.attributes.get("kv_num_heads", 0)
    flat = q.ndim == 3
    if flat:
        q, k, v = (
            x.reshape(*x.shape[:2], count, -1).transpose(0, 2, 1, 3)
            for x, count in ((q, heads[0]), (k, heads[1]), (v, heads[1]))
        )
    k, v = (jnp.repeat(x, q.shape[1] // x.shape[1], 1) for x in (k, v))
    logits = jnp.matmul(q, k.transpose(0, 1, 3, 2)) * node.attributes.get("scale", q.shape[-1] ** -0.5)
    if mask is not None:
        mask, logits = aligned(mask, logits)
        logits = jnp.where(mask, logits, -jnp.inf) if mask.dtype == bool else logits + mask
    if node.attributes.get("is_causal", 0):
        logits = jnp.where(jnp.tril(jnp.ones(logits.shape[-2:], bool))[None, None], logits, -jnp.inf)
    out = jnp.matmul(jax.nn.softmax(logits, axis=-1), v)
    return out.transpose(0, 2, 1, 3).reshape(out.shape[0], out.shape[2], -1) if flat else out


_ACTIVATIONS: Mapping[str, Callable[..., Array]] = {  # within ONNX Runtime's fused nodes
    "": lambda x: x,
    "Relu": lambda x: jnp.maximum(x, 0.0),
    "Tanh": jnp.tanh,
    "Sigmoid": jax.nn.sigmoid,
    "LeakyRelu": lambda x, alpha=0.01: jnp.where(x >= 0, x, x * alpha),
    "Clip": lambda x, low, high: jnp.clip(x, low, high),
    "HardSigmoid": lambda x, alpha=0.2, beta=0.5: jnp.clip(x * alpha + beta, 0.0, 1.0),
}


def _fused_conv(node: Node, x: Array, kernel: Array, bias: Array | None = None, sum_: Array | None = None) -> Array:
    out = onnx_windows.conv(node, x, kernel, bias)
    activate = _ACTIVATIONS[node.attributes.get("activation", "")]
    return activate(out if sum_ is None else out + sum_, *node.attributes.get("activation_params", ()))


def _fused_gemm(node: Node, a: Array, b: Array, c: Array | None = None) -> Array:
    given = node.attributes
    numbers = (given[name] for name in ("activation_alpha", "activation_beta", "activation_gamma") if name in given)
    return _ACTIVATIONS[given.get("activation", "")](_gemm(node, a, b, c), *numbers)


def _fused_matmul(node: Node, a: Array, b: Array) -> Any:
    if node.attributes.get("transBatchA", 0) or node.attributes.get("transBatchB", 0):
        raise NotImplementedError("transBatchA and transBatchB are not read")
    a = jnp.swapaxes(a, -1, -2) if node.attributes.get("transA", 0) else a
    b = jnp.swapaxes(b, -1, -2) if node.attributes.get("transB", 0) else b
    return node.attributes.get("alpha", 1.0) * jnp.matmul(a, b)


OPERATORS: Mapping[str, Operator] = {
    **LAYOUT,
    **NORMS,
    **QUANTISED,
    "Abs": _unary(jnp.abs),
    "Add": _binary(jnp.add),
    "And": _binary(jnp.logical_and),
    "ArgMax": _best(jnp.argmax),
    "ArgMin": _best(jnp.argmin),
    "Attention": _attention,
    "AveragePool": onnx_windows.average_pool,
    "Cast": _cast,
    "CastLike": lambda node, x, like: jnp.asarray(x).astype(like.dtype),
    "Ceil": _unary(jnp.ceil),
    "Celu": _celu,
    "Clip": _clip,
    "ConstantOfShape": _constant_of_shape,
    "Conv": onnx_windows.conv,
    "Cos": _unary(jnp.cos),
    "Div": _binary(_divide),
    "Dropout": _dropout,
    "Einsum": _einsum,
    "Elu": lambda node, x: jax.nn.elu(x, node.attributes.get("alpha", 1.0)),
    "Equal": _binary(jnp.equal),
    "Erf": _unary(lax.erf),
    "Exp": _unary(jnp.exp),
    "Floor": _unary(jnp.floor),
    "Gelu": _gelu,
    "Gemm": _gemm,
    "GlobalAveragePool": onnx_windows.global_average_pool,
    "GlobalMaxPool": onnx_windows.global_max_pool,
    "Greater": _binary(jnp.greater),
    "GreaterOrEqual": _binary(jnp.greater_equal),
    "HardSigmoid": _hard_sigmoid,
    "HardSwish": lambda node, x: x * jnp.clip(x / 6.0 + 0.5, 0.0, 1.0),
    "IsInf": _is_inf,
    "IsNaN": _unary(jnp.isnan),
    "LeakyRelu": lambda node, x: jnp.where(x >= 0, x, x * node.attributes.get("alpha", 0.01)),
    "Less": _binary(jnp.less),
    "LessOrEqual": _binary(jnp.less_equal),
    "Log": _unary(jnp.log),
    "LogSoftmax": _softmax(jax.nn.log_softmax),
    "MatMul": lambda node, a, b: jnp.matmul(a, b),
    "Max": _binary(jnp.maximum),
    "MaxPool": onnx_windows.max_pool,
    "Mean": _mean,
    "Min": _binary(jnp.minimum),
    "Mish": lambda node, x: x * jnp.tanh(jax.nn.softplus(x)),
    "Mod": _mod,
    "Mul": _binary(jnp.multiply),
    "Neg": _unary(jnp.negative),
    "Not": _unary(jnp.logical_not),
    "OneHot": _one_hot,
    "Or": _binary(jnp.logical_or),
    "PRelu": lambda node, x, slope: jnp.where(x >= 0, x, _binary(jnp.multiply)(node, x, slope)),
    "Pad": _pad,
    "Pow": _binary(lambda a, b: jnp.power(a, b.astype(a.dtype))),
    "Reciprocal": _unary(jnp.reciprocal),
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
    "Relu": _unary(lambda x: jnp.maximum(x, jnp.zeros((), x.dtype))),
    "Resize": onnx_resize.resize,
    "Round": _unary(jnp.round),
    "Selu": _selu,
    "Sigmoid": _unary(jax.nn.sigmoid),
    "Sign": _unary(jnp.sign),
    "Sin": _unary(jnp.sin),
    "Softmax": _softmax(jax.nn.softmax),
    "Softplus": _unary(jax.nn.softplus),
    "Softsign": _unary(jax.nn.soft_sign),
    "Sqrt": _unary(jnp.sqrt),
    "Sub": _binary(jnp.subtract),
    "Sum": _binary(jnp.add),
    "Swish": _swish,
    "Tanh": _unary(jnp.tanh),
    "ThresholdedRelu": lambda node, x: jnp.where(x > node.attributes.get("alpha", 1.0), x, 0.0),
    "TopK": _top_k,
    "Upsample": onnx_resize.upsample,
    "Xor": _binary(jnp.logical_xor),
    f"{MICROSOFT}.BiasGelu": _bias_gelu,
    f"{MICROSOFT}.FastGelu": _fast_gelu,
    f"{MICROSOFT}.FusedConv": _fused_conv,
    f"{MICROSOFT}.FusedGemm": _fused_gemm,
    f"{MICROSOFT}.FusedMatMul": _fused_matmul,
    f"{MICROSOFT}.Gelu": _gelu,
    f"{MICROSOFT}.QuickGelu": lambda node, x: x * jax.nn.sigmoid(node.attributes.get("alpha", 1.702) * x),
}
