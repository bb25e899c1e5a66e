"""Quantisation: kernels are rounded to few bits."""

import jax
import jax.numpy as jnp
from jax import Array, lax

from wmjax.attacks.contract import Attack, Attacked, Stolen, Thief
from wmjax.devices import briefly
from wmjax.models import Variables


@jax.jit
def quantise(variables: Variables, bits: Array) -> Variables:
    """Rounds every kernel symmetrically, each output channel with a scale of its own; 16 bits are IEEE half precision.

    Args:
      variables: the network's.
      bits: float32 scalar: 16, or from 2 to 8.
    """

    def rounded(kernel: Array) -> Array:
        levels = 2.0 ** (bits - 1.0) - 1.0
        scale = jnp.maximum(jnp.abs(kernel).max(tuple(range(kernel.ndim - 1)), keepdims=True) / levels, 1e-30)
        half = kernel.astype(jnp.float16).astype(jnp.float32)
        return jnp.where(bits >= 16.0, half, jnp.round(kernel / scale) * scale)

    params = jax.tree.map(lambda leaf: rounded(leaf) if leaf.ndim > 1 else leaf, variables.params)
    return Variables(params, variables.stats)


@briefly
def _many(variables: Variables, bits: Array) -> Variables:
    return lax.map(lambda network: quantise(*network), (variables, bits))


def _run(stolen: Stolen, thief: Thief) -> Attacked:
    return Attacked(stolen.config, jax.device_get(_many(stolen.variables, jnp.array(stolen.strengths, jnp.float32))))


ATTACKS = (
    Attack(
        "quantise",
        "has the weights and no data; rounds them",
        "bits a weight",
        (8.0, 4.0),
        (16.0, 8.0, 4.0, 3.0, 2.0),
        frozenset(),
        _run,
    ),
)
