"""The gradient of a batch, summed over parts small enough for a CPU's cache."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from jax import Array, lax

Gradient = Callable[..., tuple[tuple[Array, Any], Any]]


def accumulate(gradient: Gradient, params: Any, batch: Any, size: int) -> tuple[tuple[Array, Any], Any]:
    """The mean loss and gradient of a batch, `size` rows at a time.

    Only for losses that are means over rows of what each row alone makes of the parameters: not with batch norm.

    >>> loss = lambda w, x: (jnp.mean(w * x), x + 1)
    >>> (value, aux), grad = accumulate(jax.value_and_grad(loss, has_aux=True), 2.0, jnp.arange(4.0), size=2)
    >>> float(value), aux.tolist(), float(grad)
    (3.0, [1.0, 2.0, 3.0, 4.0], 1.5)

    Args:
      gradient: `jax.value_and_grad(loss, has_aux=True)`; `loss(params, part)` returns the mean over the rows of `part`
        and a pytree of arrays with those rows in front.
      params: the parameters, a pytree.
      batch: a pytree of arrays [N, ...], random keys among them if each row has its own.
      size: rows at a time, a divisor of N.

    Returns:
      what `gradient(params, batch)` returns, to float32 accuracy.
    """
    count = jax.tree.leaves(batch)[0].shape[0] // size
    parts = jax.tree.map(lambda a: a.reshape(count, size, *a.shape[1:]), batch)

    def add(total: Any, part: Any) -> tuple[Any, Any]:
        (loss, aux), grads = gradient(params, part)
        return jax.tree.map(jnp.add, total, (loss, grads)), aux

    zeros = (jnp.zeros(()), jax.tree.map(jnp.zeros_like, params))
    total, aux = lax.scan(add, zeros, parts)
    loss, grads = jax.tree.map(lambda a: a / count, total)
    return (loss, jax.tree.map(lambda a: a.reshape(count * size, *a.shape[2:]), aux)), grads
