"""Weight noise and weight shifting: kernels are moved at random, without data."""

from functools import partial

import jax
import jax.numpy as jnp
from jax import Array, lax

from wmjax.attacks.contract import Attack, Attacked, Stolen, Thief
from wmjax.devices import briefly
from wmjax.models import Variables


@partial(jax.jit, static_argnames="shifted")
def perturb(variables: Variables, strength: Array, seed: Array, *, shifted: bool = False) -> Variables:
    """Adds noise to every kernel, in units of its standard deviation.

    Args:
      variables: the network's.
      strength: float32 scalar, standard deviations of the kernel.
      seed: int32 scalar.
      shifted: move all weights of an output channel together, up or down, instead of each by Gaussian noise (after
        the weight shifting of Lukas et al. 2022).
    """
    leaves, tree = jax.tree.flatten(variables.params)

    def moved(number: int, kernel: Array) -> Array:
        key = jax.random.fold_in(jax.random.key(seed), number)
        if shifted:
            drawn = jax.random.rademacher(key, (*[1] * (kernel.ndim - 1), kernel.shape[-1]), jnp.float32)
        else:
            drawn = jax.random.normal(key, kernel.shape)
        return kernel + strength * jnp.std(kernel) * drawn

    params = [moved(number, leaf) if leaf.ndim > 1 else leaf for number, leaf in enumerate(leaves)]
    return Variables(jax.tree.unflatten(tree, params), variables.stats)


@partial(briefly, static_argnames="shifted")
def _many(variables: Variables, strengths: Array, seeds: Array, *, shifted: bool) -> Variables:
    return lax.map(lambda network: perturb(*network, shifted=shifted), (variables, strengths, seeds))


def _run(stolen: Stolen, thief: Thief, *, shifted: bool) -> Attacked:
    strengths, seeds = jnp.array(stolen.strengths, jnp.float32), jnp.array(stolen.seeds, jnp.int32)
    return Attacked(stolen.config, jax.device_get(_many(stolen.variables, strengths, seeds, shifted=shifted)))


ATTACKS = (
    Attack(
        "weight-noise",
        "has the weights and no data; adds Gaussian noise to every kernel",
        "standard deviations of the kernel",
        (0.2, 0.4),
        (0.1, 0.2, 0.4, 0.8),
        frozenset(),
        partial(_run, shifted=False),
    ),
    Attack(
        "weight-shift",
        "has the weights and no data; shifts every output channel's weights up or down",
        "standard deviations of the kernel",
        (0.2,),
        (0.05, 0.1, 0.2, 0.4),
        frozenset(),
        partial(_run, shifted=True),
    ),
)
