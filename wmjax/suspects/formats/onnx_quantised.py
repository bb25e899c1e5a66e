"""Quantised operators of ONNX and of ONNX Runtime: whole numbers with a scale and a zero point.

Sums of products of whole numbers are computed in float32, which is exact below 2**24 and as fast as any other network.
"""

from collections.abc import Callable, Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array

from wmjax.suspects.formats import onnx_windows
from wmjax.suspects.formats.onnx_graph import MICROSOFT, Node
from wmjax.suspects.formats.onnx_layout import aligned
from wmjax.suspects.formats.onnx_shapes import CASTS

Maybe = Array | None


def _along(value: Array, x: Array, axis: int) -> Array:
    """A scale or zero point, one number or one a place of an axis, in the form in which it meets `x`."""
    if value.ndim == 0 or value.size == 1:
        return value.reshape((1,) * x.ndim)
    if value.ndim > 1:
        raise NotImplementedError("scales by block are not read")
    return value.reshape([-1 if i == axis % x.ndim else 1 for i in range(x.ndim)])


def _centred(x: Array, zero: Maybe, axis: int = 1) -> Array:
    """Whole numbers less their zero point, float32."""
    values = x.astype(jnp.float32)
    return values if zero is None else values - _along(zero.astype(jnp.float32), x, axis)


def _dequantise(x: Array, scale: Array, zero: Maybe, axis: int = 1) -> Array:
    return _centred(x, zero, axis) * _along(scale, x, axis)


def _rounded(values: Array, zero: Maybe, kind: Any, axis: int = 1) -> Array:
    """The nearest whole numbers of a kind, ties to even."""
    least, most = np.iinfo(kind).min, np.iinfo(kind).max
    shift = 0.0 if zero is None else _along(zero.astype(jnp.float32), values, axis)
    return jnp.clip(jnp.round(values) + shift, least, most).astype(kind)


def _quantise(x: Array, scale: Array, zero: Array, axis: int = 1) -> Array:
    return _rounded(x / _along(scale, x, axis), zero, zero.dtype, axis)


def _dequantize_linear(node: Node, x: Array, scale: Array, zero: Maybe = None) -> Array:
    return _dequantise(x, scale, zero, node.attributes.get("axis", 1))


def _quantize_linear(node: Node, x: Array, scale: Array, zero: Maybe = None) -> Array:
    axis, kind = node.attributes.get("axis", 1), CASTS.get(node.attributes.get("output_dtype", 2), jnp.uint8)
    return _quantise(x, scale, jnp.zeros((), kind) if zero is None else zero, axis)


def _dynamic_quantize(node: Node, x: Array) -> tuple[Array, Array, Array]:
    low, high = jnp.minimum(x.min(), 0.0), jnp.maximum(x.max(), 0.0)
    scale = (high - low) / 255.0
    scale = jnp.where(scale == 0, 1.0, scale)
    zero = jnp.clip(jnp.round(-low / scale), 0, 255).astype(jnp.uint8)
    return _quantise(x, scale, zero), scale, zero


def _conv_integer(node: Node, x: Array, kernel: Array, x_zero: Maybe = None, kernel_zero: Maybe = None) -> Array:
    out = onnx_windows.conv(node, _centred(x, x_zero), _centred(kernel, kernel_zero, 0))
    return out.astype(jnp.int32)


def _matmul_integer(node: Node, a: Array, b: Array, a_zero: Maybe = None, b_zero: Maybe = None) -> Array:
    return jnp.matmul(_centred(a, a_zero, -2), _centred(b, b_zero, -1)).astype(jnp.int32)


def _qlinear_conv(
    node: Node,
    x: Array,
    x_scale: Array,
    x_zero: Array,
    kernel: Array,
    kernel_scale: Array,
    kernel_zero: Array,
    scale: Array,
    zero: Array,
    bias: Maybe = None,
) -> Array:
    bias = None if bias is None else bias.astype(jnp.float32)
    sums = onnx_windows.conv(node, _centred(x, x_zero), _centred(kernel, kernel_zero, 0), bias)
    return _rounded(sums * _along(x_scale * kernel_scale / scale, sums, 1), zero, zero.dtype)


def _qlinear_matmul(
    node: Node, a: Array, a_scale: Array, a_zero: Array, b: Array, b_scale: Array, b_zero: Array, *to: Array
) -> Array:
    scale, zero = to
    sums = jnp.matmul(_centred(a, a_zero, -2), _centred(b, b_zero, -1))
    return _rounded(sums * _along(a_scale * b_scale / scale, sums, -1), zero, zero.dtype)


def _qgemm(
    node: Node, a: Array, a_scale: Array, a_zero: Array, b: Array, b_scale: Array, b_zero: Array, *rest: Any
) -> Array:
    c, scale, zero = (*rest, None, None, None)[:3]
    transposed = node.attributes.get("transB", 0)
    left = _centred(a, a_zero).T if node.attributes.get("transA", 0) else _centred(a, a_zero)
    right = _centred(b, b_zero, 0 if transposed else 1)
    sums = jnp.matmul(left, right.T if transposed else right)
    sums = sums if c is None else jnp.add(*aligned(sums, c.astype(jnp.float32)))
    factor = node.attributes.get("alpha", 1.0) * a_scale * b_scale
    if scale is None or zero is None:
        return sums * _along(factor, sums, -1)
    return _rounded(sums * _along(factor / scale, sums, -1), zero, zero.dtype)


def _of_two(function: Callable[[Array, Array], Array]) -> Callable[..., Array]:
    def apply(
        node: Node, a: Array, a_scale: Array, a_zero: Maybe, b: Array, b_scale: Array, b_zero: Maybe, *to: Any
    ) -> Array:
        scale, zero = (*to, None)[:2]
        values = function(*aligned(_dequantise(a, a_scale, a_zero), _dequantise(b, b_scale, b_zero)))
        return _quantise(values, scale, jnp.zeros((), a.dtype) if zero is None else zero)

    return apply


def _of_one(function: Callable[[Node, Array], Array]) -> Callable[..., Array]:
    def apply(node: Node, x: Array, x_scale: Array, x_zero: Maybe, scale: Array, zero: Maybe = None) -> Array:
        values = function(node, _dequantise(x, x_scale, x_zero))
        return _quantise(values, scale, jnp.zeros((), x.dtype) if zero is None else zero)

    return apply


def _qlinear_pool(pool: Callable[[Node, Array], Array]) -> Callable[..., Array]:
    def apply(node: Node, x: Array) -> Array:
        if not node.attributes.get("channels_last", 0):
            return pool(node, x)
        return jnp.moveaxis(pool(node, jnp.moveaxis(x, -1, 1)), 1, -1)

    return _of_one(apply)


def _qlinear_concat(node: Node, scale: Array, zero: Array, *parts: Array) -> Array:
    triples = zip(parts[::3], parts[1::3], parts[2::3], strict=True)
    joined = jnp.concatenate([_dequantise(*triple) for triple in triples], node.attributes["axis"])
    return _quantise(joined, scale, zero)


def _qlinear_softmax(node: Node, x: Array) -> Array:
    return jax.nn.softmax(x, axis=node.attributes.get("axis", -1))


def _dynamic_matmul(node: Node, a: Array, b: Array, b_scale: Array, b_zero: Maybe = None, bias: Maybe = None) -> Array:
    """DynamicQuantizeMatMul: of values that are quantised on the way."""
    quantised, scale, zero = _dynamic_quantize(node, a)
    return _matmul_to_float(node, quantised, b, scale, b_scale, zero, b_zero, bias)


def _matmul_to_float(node: Node, a: Array, b: Array, a_scale: Array, b_scale: Array, *rest: Maybe) -> Array:
    """MatMulIntegerToFloat."""
    a_zero, b_zero, bias = (*rest, None, None, None)[:3]
    sums = jnp.matmul(_centred(a, a_zero, -2), _centred(b, b_zero, -1))
    out = sums * _along(a_scale * b_scale, sums, -1)
    return out if bias is None else jnp.add(*aligned(out, bias))


def _leaky(node: Node, x: Array) -> Array:
    return jnp.where(x >= 0, x, x * node.attributes.get("alpha", 0.01))


QUANTISED: Mapping[str, Callable[..., Any]] = {
    "ConvInteger": _conv_integer,
    "DequantizeLinear": _dequantize_linear,
    "DynamicQuantizeLinear": _dynamic_quantize,
    "MatMulInteger": _matmul_integer,
    "QLinearConv": _qlinear_conv,
    "QLinearMatMul": _qlinear_matmul,
    "QuantizeLinear": _quantize_linear,
    f"{MICROSOFT}.DequantizeLinear": _dequantize_linear,
    f"{MICROSOFT}.DynamicQuantizeMatMul": _dynamic_matmul,
    f"{MICROSOFT}.MatMulIntegerToFloat": _matmul_to_float,
    f"{MICROSOFT}.QGemm": _qgemm,
    f"{MICROSOFT}.QLinearAdd": _of_two(jnp.add),
    f"{MICROSOFT}.QLinearAveragePool": _qlinear_pool(onnx_windows.average_pool),
    f"{MICROSOFT}.QLinearConcat": _qlinear_concat,
    f"{MICROSOFT}.QLinearGlobalAveragePool": _qlinear_pool(onnx_windows.global_average_pool),
    f"{MICROSOFT}.QLinearLeakyRelu": _of_one(_leaky),
    f"{MICROSOFT}.QLinearMul": _of_two(jnp.multiply),
    f"{MICROSOFT}.QLinearSigmoid": _of_one(lambda node, x: jax.nn.sigmoid(x)),
    f"{MICROSOFT}.QLinearSoftmax": _of_one(_qlinear_softmax),
    f"{MICROSOFT}.QuantizeLinear": _quantize_linear,
}
