"""Pruning: weights or units are set to zero, and perhaps the rest is trained on."""

from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array, lax

from wmjax.attacks.contract import Attack, Attacked, Stolen, Thief
from wmjax.attacks.families.features import features
from wmjax.attacks.families.finetune import RATE, tune
from wmjax.devices import briefly
from wmjax.models import Variables, one


@partial(jax.jit, static_argnames="by_layer")
def prune(variables: Variables, share: Array | float, *, by_layer: bool = False) -> Variables:
    """Zeroes the smallest weights by magnitude (Han et al. 2015; Zhang et al. 2018, 5.4).

    Args:
      variables: the network's.
      share: of kernel weights to zero, in [0, 1).
      by_layer: the same share of every kernel, instead of the smallest of all kernels together.
    """
    share = jnp.asarray(share, jnp.float32)
    magnitudes = [jnp.abs(leaf).ravel() for leaf in jax.tree.leaves(variables.params) if leaf.ndim > 1]
    smallest = None if by_layer else jnp.quantile(jnp.concatenate(magnitudes), share)

    def cut(kernel: Array) -> Array:
        threshold = jnp.quantile(jnp.abs(kernel), share) if smallest is None else smallest
        return jnp.where(jnp.abs(kernel) < threshold, jnp.zeros_like(kernel), kernel)

    params = jax.tree.map(lambda leaf: cut(leaf) if leaf.ndim > 1 else leaf, variables.params)
    return Variables(params, variables.stats)


@partial(briefly, static_argnames="by_layer")
def _many(variables: Variables, shares: Array, *, by_layer: bool) -> Variables:
    return lax.map(lambda network: prune(*network, by_layer=by_layer), (variables, shares))


def _pruned(stolen: Stolen, thief: Thief, *, by_layer: bool) -> Attacked:
    shares = jnp.array(stolen.strengths, jnp.float32)
    return Attacked(stolen.config, jax.device_get(_many(stolen.variables, shares, by_layer=by_layer)))


def _tuned_on(stolen: Stolen, thief: Thief, variables: Variables) -> Attacked:
    """Trains pruned networks on; what is zero stays zero."""
    moving = jax.tree.map(lambda leaf: (leaf != 0.0).astype(np.float32) if leaf.ndim > 2 else 1.0, variables.params)
    rates = [RATE] * len(stolen.seeds)
    tuned = tune(stolen.config, variables, thief.owned(), thief.tuning(), stolen.seeds, rates, moving=moving)
    return Attacked(stolen.config, tuned)


def _prune_tune(stolen: Stolen, thief: Thief) -> Attacked:
    return _tuned_on(stolen, thief, _pruned(stolen, thief, by_layer=False).variables)


def _fine_prune(stolen: Stolen, thief: Thief) -> Attacked:
    """Units before the last layer that sleep on clean images are cut off, then fine-tuning (after Liu et al. 2018).

    They cut channels of the last convolution. Here it is inputs of the last layer, whatever the family: pooled channels
    or dense units.
    """
    images = thief.owned().images
    params: dict[str, Any] = {**stolen.variables.params}
    kernels = np.array(params["head"]["kernel"])
    for i, share in enumerate(stolen.strengths):
        activity = features(stolen.config, one(stolen.variables, i), images).mean(axis=0)
        kernels[i, np.argsort(activity, kind="stable")[: round(share * len(activity))]] = 0.0
    params["head"] = {**params["head"], "kernel": kernels}
    return _tuned_on(stolen, thief, Variables(params, stolen.variables.stats))


_NOTHING: frozenset[Any] = frozenset()
_IMAGES: frozenset[Any] = frozenset({"images"})
_FULL = (0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 0.95)

ATTACKS = (
    Attack(
        "prune",
        "has the weights and no data; zeroes the smallest of all of them",
        "share of the weights",
        (0.5, 0.7, 0.9),
        _FULL,
        _NOTHING,
        partial(_pruned, by_layer=False),
    ),
    Attack(
        "prune-layer",
        "has the weights and no data; zeroes the smallest of each layer",
        "share of the weights",
        (0.5,),
        _FULL,
        _NOTHING,
        partial(_pruned, by_layer=True),
    ),
    Attack(
        "prune-tune",
        "has the weights and labelled images of the task; zeroes the smallest weights and trains the others on",
        "share of the weights",
        (0.7,),
        (0.3, 0.5, 0.7, 0.9, 0.95),
        _IMAGES,
        _prune_tune,
    ),
    Attack(
        "fine-prune",
        "has the weights and labelled images of the task; cuts the units that sleep on them and trains the rest on",
        "share of the units before the last layer",
        (0.5,),
        (0.3, 0.5, 0.7, 0.9),
        _IMAGES,
        _fine_prune,
    ),
)
