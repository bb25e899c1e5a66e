"""Scoring: what many models of one family answer about many images, in one compiled call.

The models of a chunk lie stacked on the devices, each device holding some. A program walks over the models it is told
to, `width` of them at a time under `vmap`: the list of models is data, so that nothing is compiled again when decided
models drop out, and a ragged tail costs only what is in it.
"""

import dataclasses
from collections.abc import Callable
from functools import lru_cache
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array, lax
from jax.sharding import Mesh, NamedSharding, PartitionSpec

from wmjax.devices import scoring_options
from wmjax.suspects.contract import Network, Weights

AXIS = "models"


@dataclasses.dataclass(frozen=True)
class Scorer:
    """A family's network on this process's devices.

    Attributes:
      network: the family's.
      mesh: the devices, one axis; each holds as many of a chunk's models as the others.
      width: models that a device runs side by side under `vmap`; divides the models of a chunk on a device.
    """

    network: Network
    mesh: Mesh
    width: int = 1

    def place(self, weights: Weights) -> dict[str, Array]:
        """A chunk's weights [size, ...] on the devices; `size` is a multiple of devices times width."""
        placed: dict[str, Array] = jax.device_put(weights, NamedSharding(self.mesh, PartitionSpec(AXIS)))
        return placed

    def replicate(self, images: np.ndarray) -> Array:
        """Images on every device."""
        return jax.device_put(images, NamedSharding(self.mesh, PartitionSpec()))

    def answers(
        self, weights: dict[str, Array], rows: np.ndarray, readings: np.ndarray | int, images: Array, picks: np.ndarray
    ) -> np.ndarray:
        """Scores of some models of a chunk.

        Args:
          weights: as from `place`, [size, ...].
          rows: int [n], the models that are asked.
          readings: int [n], in which of the network's readings, or one number for all.
          images: uint8 [B, H, W, C], to pick from.
          picks: int32 [Q], the images that all are asked about, or [n, Q], those that each is.

        Returns:
          logits float32 [n, Q, classes].
        """
        ways = len(self.network.readings)
        size = next(iter(weights.values())).shape[0] * ways
        share = size // self.mesh.size
        order = np.zeros((self.mesh.size, share), np.int32)  # models times readings
        counts = np.zeros(self.mesh.size, np.int32)
        entries = rows * ways + readings
        places = np.empty(len(entries), np.int64)  # where each one's answers will be
        for i, entry in enumerate(entries):
            device = entry // share
            places[i] = device * share + counts[device]
            order[device, counts[device]] = entry % share
            counts[device] += 1
        dealt: list[Any] = [order.reshape(size), counts]
        # What depends on the same images alone is computed once for the models that run side by side. Of one at a time
        # that saves nothing, and a program less is compiled.
        together = picks.ndim == 1 and self.width > 1
        if together:
            images = _picked(images, picks)
        else:
            spread = np.zeros((size, picks.shape[-1]), np.int32)
            spread[places] = picks
            dealt.append(spread)
        sharding = NamedSharding(self.mesh, PartitionSpec(AXIS))
        program = _program(self, picking=not together)
        out = program(weights, images, *jax.device_put(dealt, sharding))
        return np.asarray(jax.device_get(out))[places]


@jax.jit
def _picked(images: Array, picks: np.ndarray) -> Array:
    """Some images; compiled, since an index that JAX looks at each time costs a millisecond."""
    return images[picks]


@lru_cache(maxsize=64)
def _program(scorer: Scorer, *, picking: bool) -> Callable[..., Array]:
    """The compiled walk over a chunk's models."""
    network, width, ways = scorer.network, scorer.width, len(scorer.network.readings)

    def body(weights: Any, images: Array, order: Array, count: Array, picks: Array | None = None) -> Array:
        asked = images.shape[0] if picks is None else picks.shape[1]

        def step(group: Array, out: Array) -> Array:
            at = group * width
            entries = lax.dynamic_slice_in_dim(order, at, width)
            chosen, readings = _rows(weights, entries // ways), entries % ways
            if picks is None:
                answered = _side_by_side(network, chosen, images, readings, shared=True)
            else:
                picked = images[lax.dynamic_slice_in_dim(picks, at, width)]
                answered = _side_by_side(network, chosen, picked, readings, shared=False)
            return lax.dynamic_update_slice_in_dim(out, answered, at, 0)

        start = jnp.zeros((order.shape[0], asked, network.classes), jnp.float32)
        return lax.fori_loop(0, (count[0] + width - 1) // width, step, start)

    models, whole = PartitionSpec(AXIS), PartitionSpec()
    specs = (models, whole, models, models, *([models] if picking else []))
    walk = jax.shard_map(body, mesh=scorer.mesh, in_specs=specs, out_specs=models, check_vma=False)
    return jax.jit(walk, compiler_options=scoring_options())


def _rows(weights: Any, rows: Array) -> Any:
    """The weights of some models, copied one by one: XLA's gather walks element by element on CPUs."""
    pick = lambda leaf: jnp.stack([lax.dynamic_index_in_dim(leaf, row, keepdims=False) for row in rows])  # noqa: E731
    return jax.tree.map(pick, weights)


def _side_by_side(network: Network, weights: Any, images: Array, readings: Array, *, shared: bool) -> Array:
    """Answers of models [width, ...]; of a single one without `vmap`, which would only cost."""
    if next(iter(weights.values())).shape[0] > 1:
        return jax.vmap(network.logits, (0, None if shared else 0, 0))(weights, images, readings)
    alone = {name: leaf[0] for name, leaf in weights.items()}
    return network.logits(alone, images if shared else images[0], readings[0])[None]


def mesh_for(models: int) -> Mesh:
    """As many of this process's devices as can share a chunk of so many models evenly."""
    devices = jax.local_devices()
    used = max(n for n in range(1, len(devices) + 1) if models % n == 0)
    return Mesh(np.array(devices[:used]), (AXIS,))
