"""Mixing a watermark key into training batches, for any training loop."""

from typing import NamedTuple

import jax.numpy as jnp
from jax import Array


class Batch(NamedTuple):
    """Examples and what the model shall answer.

    Attributes:
      images: [N, H, W, C].
      targets: integer labels [N], or distributions over classes [N, C].
    """

    images: Array
    targets: Array


def key_batch(triggers: Batch, step: Array | int, count: int) -> Batch:
    """The `count` triggers whose turn it is at `step`: in order, around and around.

    Which ones follows from the step number alone, so resuming a run needs no extra state.

    >>> triggers = Batch(jnp.arange(6).reshape(3, 1, 1, 2), jnp.array([7, 8, 9]))
    >>> key_batch(triggers, step=1, count=2).targets.tolist()
    [9, 7]

    Args:
      triggers: the whole key, K rows.
      step: training step, from 0.
      count: rows wanted, static.
    """
    size = triggers.targets.shape[0]
    # step % size first: step * count would overflow int32 in a very long run
    rows = (jnp.asarray(step) % size * count + jnp.arange(count)) % size
    return Batch(triggers.images[rows], triggers.targets[rows])


def mix(batch: Batch, key: Batch) -> Batch:
    """Puts a key batch in the place of the batch's first rows: same shapes, so the step costs what it cost.

    Pure and traceable; call it inside your own jitted step, after augmentation (triggers are never augmented).

    >>> real = Batch(jnp.zeros((4, 1, 1, 1)), jnp.zeros(4, jnp.int32))
    >>> mix(real, Batch(jnp.ones((1, 1, 1, 1)), jnp.ones(1, jnp.int32))).targets.tolist()
    [1, 0, 0, 0]

    Args:
      batch: N real examples.
      key: k <= N triggers, with images and targets of the same trailing shapes and dtypes.
    """
    count = key.targets.shape[0]
    return Batch(batch.images.at[:count].set(key.images), batch.targets.at[:count].set(key.targets))
