"""Pruning: the smallest weights are set to zero."""

import jax
import numpy as np

from wmjax.models import Variables


def prune(variables: Variables, share: float) -> Variables:
    """Zeroes the smallest weights by magnitude over all kernels together (Han et al. 2015; Zhang et al. 2018, 5.4).

    The attacker knows the weights and owns no data.

    Args:
      variables: the network's.
      share: of all kernel weights to zero, in [0, 1).
    """
    kernels = [np.abs(np.asarray(leaf)).ravel() for leaf in jax.tree.leaves(variables.params) if leaf.ndim > 1]
    threshold = np.quantile(np.concatenate(kernels), share)
    keep = lambda leaf: np.where(np.abs(leaf) < threshold, 0, leaf) if leaf.ndim > 1 else leaf  # noqa: E731
    params = jax.tree.map(lambda leaf: keep(np.asarray(leaf)), variables.params)
    return Variables(params, variables.stats)
