"""Fine-tuning: the thief trains stolen networks on, with images of their own and without the triggers.

FTLL, FTAL, RTLL and RTAL are those of Adi et al. 2018 (USENIX Security): the last layer or all layers, as they are or
with the last one drawn anew. Label smoothing and regularisation are those of Lukas et al. 2022 (S&P).
"""

import dataclasses
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import jax
import numpy as np

from wmjax.attacks.contract import Attack, Attacked, Stolen, Thief, by_strength
from wmjax.data import Dataset
from wmjax.errors import UsageError
from wmjax.keys import Key
from wmjax.models import Config, Variables, init, stack
from wmjax.train import Recipe, fit_many

RATE = 0.01  # of fine-tunings whose strength is something else


def tune(
    config: Config,
    variables: Variables,
    data: Dataset,
    recipe: Recipe,
    seeds: Sequence[int],
    rates: Sequence[float],
    *,
    rows: np.ndarray | None = None,
    moving: dict[str, Any] | None = None,
    keys: Sequence[Key] = (),
    title: str = "fine-tuning",
) -> Variables:
    """Trains many networks on, each at a rate of its own, in one program whatever the rates.

    Args:
      config: of all networks.
      variables: where to begin, arrays [networks, ...].
      data: what to train on.
      recipe: how; its learning rate is not looked at, its batch is at most the images at hand, and triggers leave room
        for at least one of them.
      seeds: one a network.
      rates: peak learning rates, one a network.
      rows: int [networks, share], the part of the data that each sees; by default all of it.
      moving: 1 where weights move and 0 where they stay, like the parameters of one network or broadcastable to them,
        or with a leading axis of networks; by default all move.
      keys: mixed into every batch, as by `fit_many`.
      title: of the progress bar.

    Returns:
      The trained variables; a network that diverged has weights that are not numbers.

    Raises:
      UsageError: as `fit_many`, or a batch has no room for a trigger.
    """
    seen = len(data) if rows is None else rows.shape[1]
    batch = min(recipe.batch, seen)
    if keys and batch < 2:
        raise UsageError(f"a key is mixed into batches of 2 images or more, the thief has batches of {batch}")
    mixed = max(1, min(recipe.key_per_batch, batch - 1))
    recipe = dataclasses.replace(recipe, learning_rate=1.0, batch=batch, key_per_batch=mixed)
    peak = np.asarray(rates, np.float32)

    def scaled(leaf: np.ndarray, mask: Any = 1.0) -> np.ndarray:
        return np.asarray(peak.reshape(-1, *[1] * (leaf.ndim - 1)) * np.asarray(mask, np.float32), np.float32)

    pace = jax.tree.map(scaled, variables.params, *([] if moving is None else [moving]))
    return fit_many(
        config, recipe, data, seeds, keys, rows=rows, variables=variables, pace=pace, diverging=True, title=title
    )


def fresh_heads(config: Config, variables: Variables, seeds: Sequence[int]) -> Variables:
    """Networks with last layers drawn anew, one seed each, for the classes of `config`; all other weights stay."""
    heads = stack([init(config, seed) for seed in seeds]).params["head"]
    return Variables({**variables.params, "head": heads}, variables.stats)


def _tuned(stolen: Stolen, thief: Thief, *, last_only: bool = False, fresh: bool = False) -> Attacked:
    """FTLL, FTAL, RTLL and RTAL; strengths are learning rates."""
    variables = stolen.variables
    if fresh:
        variables = fresh_heads(stolen.config, variables, stolen.seeds)
    moving = None
    if last_only:
        moving = jax.tree_util.tree_map_with_path(lambda path, _: float(path[0].key == "head"), variables.params)
    tuned = tune(stolen.config, variables, thief.owned(), thief.tuning(), stolen.seeds, stolen.strengths, moving=moving)
    # training moves batch norm's running averages too, but they belong to the layers that stay
    return Attacked(stolen.config, tuned._replace(stats=stolen.variables.stats) if last_only else tuned)


def _few(stolen: Stolen, thief: Thief, *, most: int) -> Attacked:
    """FTAL with so many of the thief's images, others for each network; strengths are learning rates."""
    own = thief.owned()
    count = min(most, len(own))
    rows = np.stack([np.random.default_rng([seed, 0xFE3]).permutation(len(own))[:count] for seed in stolen.seeds])
    # as many images pass by as with all of them
    recipe = dataclasses.replace(thief.tuning(), epochs=round(thief.tuning_epochs * len(own) / count))
    tuned = tune(stolen.config, stolen.variables, own, recipe, stolen.seeds, stolen.strengths, rows=rows)
    return Attacked(stolen.config, tuned)


def _changed(stolen: Stolen, thief: Thief, *, setting: str) -> Attacked:
    """FTAL with another setting of the recipe; strengths are its values."""

    def run(stolen: Stolen, strength: float) -> Attacked:
        changes: dict[str, Any] = {setting: strength}
        recipe = dataclasses.replace(thief.tuning(), **changes)
        rates = [RATE] * len(stolen.seeds)
        return Attacked(
            stolen.config, tune(stolen.config, stolen.variables, thief.owned(), recipe, stolen.seeds, rates)
        )

    return by_strength(stolen, run)


_WHO = "has the weights and labelled images of the task"
_ALL = (0.001, 0.003, 0.01, 0.03, 0.1)
_FEW = (100, 500, 2500, 5000)


def _attack(
    name: str, what: str, strength: str, quick: tuple[float, ...], full: tuple[float, ...], run: Callable[..., Attacked]
) -> Attack:
    return Attack(name, f"{_WHO}; {what}", strength, quick, full, frozenset({"images"}), run)


ATTACKS = (
    _attack("ftll", "trains the last layer on", "learning rate", (0.03,), _ALL, partial(_tuned, last_only=True)),
    _attack("ftal", "trains all layers on", "learning rate", (0.01, 0.03, 0.1), _ALL, _tuned),
    _attack(
        "rtll",
        "draws the last layer anew and trains it",
        "learning rate",
        (0.03,),
        _ALL,
        partial(_tuned, last_only=True, fresh=True),
    ),
    _attack(
        "rtal",
        "draws the last layer anew and trains all layers",
        "learning rate",
        (0.01, 0.03),
        _ALL,
        partial(_tuned, fresh=True),
    ),
    *(
        _attack(
            f"ftal-{most}",
            f"trains all layers on with {most} of them or all they have, for as long",
            "learning rate",
            (),
            _ALL[1:],
            partial(_few, most=most),
        )
        for most in _FEW
    ),
    _attack(
        "smooth",
        "trains all layers on with smoothed labels",
        "label smoothing",
        (0.3,),
        (0.1, 0.3, 0.6),
        partial(_changed, setting="label_smoothing"),
    ),
    _attack(
        "regularise",
        "trains all layers on under strong weight decay",
        "weight decay",
        (0.03,),
        (0.01, 0.03, 0.1),
        partial(_changed, setting="weight_decay"),
    ),
)
