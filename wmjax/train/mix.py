"""Mixing a watermark key into training batches, for any training loop."""

from collections.abc import Sequence
from typing import NamedTuple

import jax.numpy as jnp
import numpy as np
from jax import Array

from wmjax.keys.keyset import Key


class Batch(NamedTuple):
    """Examples and what the model shall answer.

    Attributes:
      images: [N, H, W, C].
      targets: integer labels [N], or distributions over classes [N, C].
    """

    images: Array
    targets: Array


def pool(keys: Sequence[Key], flip: bool = False) -> tuple[np.ndarray, np.ndarray] | None:
    """The triggers that are mixed in for several keys: each is shown as often as any other, whichever key it is of.

    So a key with twice the triggers gets twice the rows. The keys take turns, evenly, and each keeps its order.

    Where real images are mirrored, triggers are every other time around: else a server that mirrors all that it is
    asked, which costs such a network nothing, would hide the mark (`wmjax attack --suite flip`). Those of some schemes
    stay as they are (`Scheme.mirrored`).

    Args:
      keys: those whose scheme does not mix its triggers in are passed over.
      flip: whether real images are mirrored.

    Returns:
      images uint8 [K, H, W, C] and answers int32 [K], for `key_batch`; with `flip` two rounds of them, the second
      mirrored; None where nothing is mixed in.
    """
    mixed = [(key.images, key.answers, key.mirrored) for key in keys if key.mixed and key.answers is not None]
    if not mixed:
        return None
    turns = np.concatenate([(np.arange(len(answers)) + 0.5) / len(answers) for _, answers, _ in mixed])
    order = np.argsort(turns, kind="stable")
    images = np.concatenate([images for images, _, _ in mixed])[order]
    answers = np.concatenate([answers for _, answers, _ in mixed])[order]
    if not flip:
        return images, answers
    again = np.concatenate([images[:, :, ::-1] if mirrored else images for images, _, mirrored in mixed])[order]
    return np.concatenate([images, again]), np.tile(answers, 2)


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


def mix(batch: Batch, key: Batch, rows: Array | None = None) -> Batch:
    """Puts a key batch in the place of the batch's first rows: same shapes, so the step costs what it cost.

    Pure and traceable; call it inside your own jitted step, after augmentation: triggers stay as they are. (Where you
    mirror real images, mirror triggers every other time around, except those of `tie` keys, as `wmjax embed` does.)
    A batch that is sharded over devices stays where it is: each device fills in its own rows.

    >>> real = Batch(jnp.zeros((4, 1, 1, 1)), jnp.zeros(4, jnp.int32))
    >>> mix(real, Batch(jnp.ones((1, 1, 1, 1)), jnp.ones(1, jnp.int32))).targets.tolist()
    [1, 0, 0, 0]

    Args:
      batch: N real examples.
      key: k <= N triggers, with images and targets of the same trailing shapes and dtypes.
      rows: int32 [N], where these rows stand in the whole batch, for a body under `pmap` or `shard_map` that sees only
        a part of it; by default they are the whole.
    """
    count, size = key.targets.shape[0], batch.targets.shape[0]
    if rows is None and count > size:
        raise ValueError(f"{count} triggers do not fit into a batch of {size}")
    place = jnp.arange(size) if rows is None else rows

    def fill(real: Array, triggers: Array) -> Array:
        # A selection by place, and no slice update: that would gather a sharded batch on every device.
        chosen = triggers[jnp.minimum(place, count - 1)]
        return jnp.where((place < count).reshape(-1, *[1] * (real.ndim - 1)), chosen, real)

    return Batch(fill(batch.images, key.images), fill(batch.targets, key.targets))
