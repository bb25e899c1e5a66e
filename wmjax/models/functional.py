"""Networks as pure functions: `init` makes weights, `apply` answers."""

from collections.abc import Sequence
from functools import lru_cache
from numbers import Real
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx
from jax import Array

from wmjax.errors import UsageError
from wmjax.models.config import Config, check_shape
from wmjax.models.families import FAMILIES
from wmjax.text import first_line


class Variables(NamedTuple):
    """A network's numbers: nested dictionaries of float32 arrays.

    Attributes:
      params: what the optimiser moves.
      stats: running averages of batch norm; empty for networks without it.
    """

    params: dict[str, Any]
    stats: dict[str, Any]


def build(config: Config, rngs: nnx.Rngs) -> nnx.Module:
    """The NNX module of `config`, with weights drawn by NNX (slow; `init` is what wmjax uses)."""
    return FAMILIES[config.name].module(config, rngs)


@lru_cache(maxsize=64)
def _skeleton(config: Config) -> tuple[Any, Variables]:
    """Graph definition and abstract variables, without computing a weight."""
    model = nnx.eval_shape(lambda: build(config, nnx.Rngs(0)))
    graph, *states = nnx.split(model, nnx.Param, ...)
    params, stats = states
    return graph, Variables(nnx.to_pure_dict(params), nnx.to_pure_dict(stats))


def shapes(config: Config) -> Variables:
    """The variables of `config` as `jax.ShapeDtypeStruct`s."""
    return _skeleton(config)[1]


def check_config(config: Config) -> None:
    """Raises `UsageError`, naming what is wrong, where no network can be built from a configuration."""
    check_shape(config, {family.name: family.parameters for family in FAMILIES.values()})
    if not (isinstance(config.dropout, Real) and 0 <= config.dropout < 1):
        raise UsageError(f"`dropout` {config.dropout!r:.50}: must be at least 0 and below 1")
    try:
        shapes(config)
    except ValueError as error:
        raise UsageError(f"no {config.name} can be built: {first_line(error)}") from error


def init(config: Config, seed: int) -> Variables:
    """Draws weights on the host, each as the network's family says.

    NumPy rather than JAX initialisers: those compile one program for every shape, seconds for a ResNet.

    Args:
      config: the network.
      seed: any non-negative integer; the same seed gives the same weights.

    Raises:
      UsageError: as `check_config`.
    """
    check_config(config)
    rng, draw = np.random.default_rng([seed, 0x1417]), FAMILIES[config.name].draw

    def value(path: tuple[Any, ...], leaf: jax.ShapeDtypeStruct) -> np.ndarray:
        return draw(rng, tuple(str(part.key) for part in path[1:]), leaf.shape)

    return jax.tree_util.tree_map_with_path(value, shapes(config))


def one(variables: Variables, number: int) -> Variables:
    """The variables of one of many networks."""
    return jax.tree.map(lambda leaf: leaf[number], variables)


def stack(networks: Sequence[Variables]) -> Variables:
    """The variables of many networks, NumPy arrays [networks, ...]."""
    return jax.tree.map(lambda *leaves: np.stack([np.asarray(leaf) for leaf in leaves]), *networks)


def apply(
    config: Config,
    variables: Variables,
    images: Array,
    *,
    train: bool = False,
    keys: Array | None = None,
    axis: str | None = None,
    precision: str = "float32",
) -> tuple[Array, dict[str, Any]]:
    """Runs the network.

    Args:
      config: the network.
      variables: its weights, as from `init`.
      images: uint8 [N, H, W, C].
      train: batch statistics and dropout instead of running averages and none.
      keys: typed PRNG keys [N] for dropout, one a row; needed where `train` is true.
      axis: mapped axis over which batch statistics are taken, where each device sees a part of the batch.
      precision: dtype of the arithmetic, `float32` or `bfloat16`; batch statistics are taken and kept in float32.

    Returns:
      logits float32 [N, classes], and the new `stats` (unchanged where `train` is false).
    """
    model = _module(config, variables)
    for _, module in nnx.iter_modules(model):
        if hasattr(module, "dtype"):
            module.dtype = jnp.dtype(precision)
        if isinstance(module, nnx.BatchNorm):
            module.use_running_average, module.axis_name = not train, axis
    logits = model(_scaled(images), keys if train else None)
    return logits.astype(jnp.float32), nnx.to_pure_dict(nnx.state(model, nnx.BatchStat))


def features(config: Config, variables: Variables, images: Array) -> tuple[Array, Array]:
    """What goes into the network's `head`, float32 [N, H], and the logits that come out of it, float32 [N, classes]."""
    model = _module(config, variables)
    model.eval()
    head, model.head = model.head, _Nothing()
    hidden = model(_scaled(images), None)
    return hidden, head(hidden)


class _Nothing(nnx.Module):
    """A layer that gives what it gets."""

    def __call__(self, x: Array) -> Array:
        return x


def _module(config: Config, variables: Variables) -> Any:
    return nnx.merge(_skeleton(config)[0], variables.params, variables.stats)


def _scaled(images: Array) -> Array:
    return (images.astype(jnp.float32) - 127.5) / 64.0  # about unit variance on photographs
