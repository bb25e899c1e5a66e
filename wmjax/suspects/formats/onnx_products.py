"""ONNX's products of matrices, as functions of a node and its inputs; ONNX Runtime's have activations in them."""

import re
from collections.abc import Callable, Mapping
from typing import Any

import jax
import jax.numpy as jnp
from jax import Array

from wmjax.suspects.formats import onnx_windows
from wmjax.suspects.formats.onnx_activations import FUSED
from wmjax.suspects.formats.onnx_graph import MICROSOFT, Node
from wmjax.suspects.formats.onnx_layout import aligned


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


def _fused_conv(node: Node, x: Array, kernel: Array, bias: Array | None = None, sum_: Array | None = None) -> Array:
    out = onnx_windows.conv(node, x, kernel, bias)
    activate = FUSED[node.attributes.get("activation", "")]
    return activate(out if sum_ is None else out + sum_, *node.attributes.get("activation_params", ()))


def _fused_gemm(node: Node, a: Array, b: Array, c: Array | None = None) -> Array:
    given = node.attributes
    numbers = (given[name] for name in ("activation_alpha", "activation_beta", "activation_gamma") if name in given)
    return FUSED[given.get("activation", "")](_gemm(node, a, b, c), *numbers)


def _fused_matmul(node: Node, a: Array, b: Array) -> Any:
    if node.attributes.get("transBatchA", 0) or node.attributes.get("transBatchB", 0):
        raise NotImplementedError("transBatchA and transBatchB are not read")
    a = jnp.swapaxes(a, -1, -2) if node.attributes.get("transA", 0) else a
    b = jnp.swapaxes(b, -1, -2) if node.attributes.get("transB", 0) else b
    return node.attributes.get("alpha", 1.0) * jnp.matmul(a, b)


PRODUCTS: Mapping[str, Callable[..., Any]] = {
    "Attention": _attention,
    "Einsum": _einsum,
    "Gemm": _gemm,
    "MatMul": lambda node, a, b: jnp.matmul(a, b),
    f"{MICROSOFT}.FusedConv": _fused_conv,
    f"{MICROSOFT}.FusedGemm": _fused_gemm,
    f"{MICROSOFT}.FusedMatMul": _fused_matmul,
}
