"""ONNX's activations, as functions of a node and its inputs."""

import math
from collections.abc import Callable, Mapping
from typing import Any

import jax
import jax.numpy as jnp
from jax import Array

from wmjax.suspects.formats.onnx_graph import MICROSOFT, Node
from wmjax.suspects.formats.onnx_layout import aligned, axis_of


def unary(function: Callable[[Any], Array]) -> Callable[..., Any]:
    """An operator of one value, without attributes."""
    return lambda node, x: function(x)


def _softmax(function: Callable[..., Array]) -> Callable[..., Any]:
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


FUSED: Mapping[str, Callable[..., Array]] = {  # those that ONNX Runtime has within its products
    "": lambda x: x,
    "Relu": lambda x: jnp.maximum(x, 0.0),
    "Tanh": jnp.tanh,
    "Sigmoid": jax.nn.sigmoid,
    "LeakyRelu": lambda x, alpha=0.01: jnp.where(x >= 0, x, x * alpha),
    "Clip": lambda x, low, high: jnp.clip(x, low, high),
    "HardSigmoid": lambda x, alpha=0.2, beta=0.5: jnp.clip(x * alpha + beta, 0.0, 1.0),
}


ACTIVATIONS: Mapping[str, Callable[..., Any]] = {
    "Celu": _celu,
    "Elu": lambda node, x: jax.nn.elu(x, node.attributes.get("alpha", 1.0)),
    "Gelu": _gelu,
    "HardSigmoid": _hard_sigmoid,
    "HardSwish": lambda node, x: x * jnp.clip(x / 6.0 + 0.5, 0.0, 1.0),
    "LeakyRelu": lambda node, x: jnp.where(x >= 0, x, x * node.attributes.get("alpha", 0.01)),
    "LogSoftmax": _softmax(jax.nn.log_softmax),
    "Mish": lambda node, x: x * jnp.tanh(jax.nn.softplus(x)),
    "Relu": unary(lambda x: jnp.maximum(x, jnp.zeros((), x.dtype))),
    "Selu": _selu,
    "Sigmoid": unary(jax.nn.sigmoid),
    "Softmax": _softmax(jax.nn.softmax),
    "Softplus": unary(jax.nn.softplus),
    "Softsign": unary(jax.nn.soft_sign),
    "Swish": _swish,
    "ThresholdedRelu": lambda node, x: jnp.where(x > node.attributes.get("alpha", 1.0), x, 0.0),
    f"{MICROSOFT}.BiasGelu": _bias_gelu,
    f"{MICROSOFT}.FastGelu": _fast_gelu,
    f"{MICROSOFT}.Gelu": _gelu,
    f"{MICROSOFT}.QuickGelu": lambda node, x: x * jax.nn.sigmoid(node.attributes.get("alpha", 1.702) * x),
}
