"""ONNX's normalisations, as functions of a node and its inputs."""

from collections.abc import Callable, Mapping
from typing import Any

import jax.numpy as jnp
from jax import Array, lax

from wmjax.suspects.formats.onnx_graph import MICROSOFT, Node
from wmjax.suspects.formats.onnx_layout import aligned, axis_of


def _product(x: Array, scale: Array) -> Array:
    return jnp.multiply(*aligned(x, scale))


def length(x: Array, axes: Any, keepdims: bool) -> Array:
    """The Euclidean length along some axes."""
    return jnp.sqrt(jnp.sum(jnp.square(x), axes, keepdims=keepdims))


def _batch_norm(node: Node, x: Array, scale: Array, bias: Array, mean: Array, variance: Array) -> Array:
    axes = (0, *range(2, x.ndim))
    if node.attributes.get("training_mode", 0):  # of weights, which are standardised so: the runner sees to that
        mean, variance = jnp.mean(x, axes), jnp.var(x, axes)
    shape = (1, -1) + (1,) * (x.ndim - 2)
    factor = scale * lax.rsqrt(variance + node.attributes.get("epsilon", 1e-5))
    return x * factor.reshape(shape) + (bias - mean * factor).reshape(shape)


def _standardised(x: Array, axes: tuple[int, ...], epsilon: float) -> Array:
    centred = x - jnp.mean(x, axes, keepdims=True)
    return centred * lax.rsqrt(jnp.mean(jnp.square(centred), axes, keepdims=True) + epsilon)


def _layer_norm(node: Node, x: Array, scale: Array, bias: Array | None = None) -> Array:
    axes = tuple(range(axis_of(node, -1, x.ndim), x.ndim))
    out: Array = _product(_standardised(x, axes, node.attributes.get("epsilon", 1e-5)), scale)
    return out if bias is None else jnp.add(*aligned(out, bias))


def _rms_norm(node: Node, x: Array, scale: Array) -> Array:
    axes = tuple(range(axis_of(node, -1, x.ndim), x.ndim))
    power = jnp.mean(jnp.square(x), axes, keepdims=True) + node.attributes.get("epsilon", 1e-5)
    out: Array = _product(x * lax.rsqrt(power), scale)
    return out


def _instance_norm(node: Node, x: Array, scale: Array, bias: Array) -> Array:
    shape = (1, -1) + (1,) * (x.ndim - 2)
    out = _standardised(x, tuple(range(2, x.ndim)), node.attributes.get("epsilon", 1e-5))
    return out * scale.reshape(shape) + bias.reshape(shape)


def _group_norm(node: Node, x: Array, scale: Array, bias: Array) -> Array:
    groups = node.attributes["num_groups"]
    parts = x.reshape(x.shape[0], groups, -1)
    out = _standardised(parts, (2,), node.attributes.get("epsilon", 1e-5)).reshape(x.shape)
    repeats = x.shape[1] // scale.size  # one number a group before version 21, one a channel since
    shape = (1, -1) + (1,) * (x.ndim - 2)
    return out * jnp.repeat(scale, repeats).reshape(shape) + jnp.repeat(bias, repeats).reshape(shape)


def _lp_norm(node: Node, x: Array) -> Array:
    axis, p = node.attributes.get("axis", -1), node.attributes.get("p", 2)
    size = jnp.sum(jnp.abs(x), axis, keepdims=True) if p == 1 else length(x, axis, True)
    return jnp.where(size == 0, 0.0, x / jnp.where(size == 0, 1.0, size))


def _local_norm(node: Node, x: Array) -> Array:
    size, attributes = node.attributes["size"], node.attributes
    if not 1 <= size <= 4096:
        raise ValueError(f"size {size}")
    reach = ((0, 0), ((size - 1) // 2, size // 2)) + ((0, 0),) * (x.ndim - 2)
    window = (1, size) + (1,) * (x.ndim - 2)
    near = lax.reduce_window(jnp.square(x), 0.0, lax.add, window, (1,) * x.ndim, reach)
    scale = attributes.get("bias", 1.0) + attributes.get("alpha", 1e-4) / size * near
    return x / jnp.power(scale, attributes.get("beta", 0.75))


def _skip_layer_norm(node: Node, x: Array, skip: Array, scale: Array, bias: Any = None, more: Any = None) -> Any:
    total = jnp.add(*aligned(x, skip)) if more is None else jnp.add(*aligned(jnp.add(*aligned(x, skip)), more))
    out = _layer_norm(node, total, scale, bias)
    return out, None, None, total


NORMS: Mapping[str, Callable[..., Any]] = {
    "BatchNormalization": _batch_norm,
    "GroupNormalization": _group_norm,
    "InstanceNormalization": _instance_norm,
    "LRN": _local_norm,
    "LayerNormalization": _layer_norm,
    "LpNormalization": _lp_norm,
    "RMSNormalization": _rms_norm,
    f"{MICROSOFT}.SkipLayerNormalization": _skip_layer_norm,
}
