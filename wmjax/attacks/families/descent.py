"""Gradient descent on pictures, for many networks at a time."""

from collections.abc import Callable
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array, lax

from wmjax.devices import briefly, on_cpu
from wmjax.models import Config, Variables, apply

RATE = 8.0  # grey levels that the fastest pixel moves in a step
AT_ONCE = 8  # networks that an accelerator works on at a time: enough to keep it busy, few enough for its memory


def each_network(body: Callable[..., Any], *own: Any) -> Any:
    """`body` for each network, inside a jitted function: one after another on a CPU, as in training; else some at once.

    Args:
      body: pure, for one network.
      *own: its arguments, arrays [networks, ...].
    """
    return lax.map(lambda one: body(*one), own, batch_size=None if on_cpu() else AT_ONCE)


@partial(briefly, static_argnames=("config", "steps"))
def invert(config: Config, variables: Variables, starts: Array, targets: Array, steps: int, rate: float) -> Array:
    """Gradient descent on pictures until networks take them for the target classes.

    The slope of the cross-entropy is scaled to its steepest pixel: that of a network that is sure of itself is tiny.
    Pixels whose slope is not a number stay where they are.

    Args:
      config: of all networks.
      variables: theirs, arrays [networks, ...].
      starts: float32 [networks, pictures, H, W, C], grey levels in 0..255.
      targets: int32 [networks, pictures].
      steps: of the descent.
      rate: grey levels that the fastest pixel moves in a step.

    Returns:
      float32 [networks, pictures, H, W, C], in 0..255.
    """

    def one(own: Variables, pictures: Array, classes: Array) -> Array:
        def loss(pictures: Array) -> Array:
            logits, _ = apply(config, own, pictures)
            return -jnp.sum(jnp.take_along_axis(jax.nn.log_softmax(logits), classes[:, None], axis=1))

        def step(pictures: Array, _: None) -> tuple[Array, None]:
            slope = jnp.nan_to_num(jax.grad(loss)(pictures), posinf=0.0, neginf=0.0)
            steepest = jnp.max(jnp.abs(slope), axis=(1, 2, 3), keepdims=True)
            slope = slope / jnp.maximum(steepest, np.finfo(np.float32).tiny)
            return jnp.clip(pictures - rate * slope, 0.0, 255.0), None

        return lax.scan(step, pictures, None, length=steps)[0]

    return each_network(one, variables, starts, targets)
