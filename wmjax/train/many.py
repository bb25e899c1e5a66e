"""Many networks of one architecture trained at once, each as `fit` would train it alone."""

import dataclasses
from collections.abc import Callable, Iterator, Sequence
from functools import lru_cache
from typing import Any

import jax
import numpy as np

from wmjax.data.batches import batch_indices
from wmjax.data.dataset import Dataset
from wmjax.errors import UsageError
from wmjax.keys.keyset import Key
from wmjax.models import Config, Variables, init, stack
from wmjax.progress import progress
from wmjax.train.check import check, check_data, check_teacher
from wmjax.train.mapping import DeviceMapping, over
from wmjax.train.mix import Batch, pool
from wmjax.train.recipe import Recipe, schedule_of
from wmjax.train.relabel import natural_answers, relabelled
from wmjax.train.step import Inputs, Metrics, Plan, State, Teacher, first_state, plan_of, steps_of


def fit_many(
    config: Config,
    recipe: Recipe,
    train: Dataset,
    seeds: Sequence[int],
    keys: Sequence[Key] = (),
    *,
    rows: np.ndarray | None = None,
    variables: Variables | None = None,
    teacher: Teacher | None = None,
    pace: dict[str, Any] | None = None,
    diverging: bool = False,
    title: str = "training",
) -> Variables:
    """Trains a network for each seed, in one program that runs an epoch of all of them at a time.

    Model i is the one that `fit` trains on `train[rows[i]]` with seed `seeds[i]`, up to rounding.

    Args:
      config: of all networks.
      recipe: how to train; its seed is not looked at.
      train: the training split; it stays on the devices, whole on each.
      seeds: one a model: of weights, order, augmentation and dropout.
      keys: mixed into every batch of every model, as by `fit`, none of them a `spread` key; without keys the models are
        clean.
      rows: int [models, share], the part of the split that each model sees; by default all of it.
      variables: where to begin, arrays [models, ...]; by default from scratch.
      teacher: distil instead of learning the labels; variables of one teacher a model, arrays [models, ...].
      pace: what every update is multiplied by, like the models' parameters or broadcastable to them, [models, ...]: a
        learning rate for each model, zeros where weights stay as they are. By default 1.
      diverging: let a model whose loss is not a number go on: its weights tell.
      title: of the progress bar.

    Returns:
      The trained variables, NumPy arrays [models, ...].

    Raises:
      UsageError: model, data, keys and recipe cannot go together, or the training of a model diverges and must not.
    """
    mapping = over(jax.local_devices())  # to which the models are dealt
    seen = train if rows is None else train[rows[0]]
    check_data(train, "train")
    _check(config, recipe, seen, seeds, keys)
    if teacher:
        check_teacher(teacher.config, config, keys)
    train = relabelled(train, natural_answers(keys))
    plan = plan_of(config, recipe, over([mapping.mesh.devices.flat[0]]), teacher and teacher.config)
    places = np.minimum(np.arange(-(-len(seeds) // mapping.size) * mapping.size), len(seeds) - 1)  # each device as many
    dealt_seeds = np.array(seeds, np.int32)[places]
    state = mapping.deal(_start(config, seeds, variables, places))
    seed = mapping.deal(dealt_seeds)
    schedule = mapping.replicate(schedule_of(recipe, len(seen)))
    data = Batch(*mapping.replicate((train.images, train.labels)))
    mixed = pool(keys, recipe.flip)
    triggers = Batch(*mapping.replicate(mixed)) if mixed else None
    taught = mapping.deal(_at(places, teacher.variables)) if teacher else None
    paces = mapping.deal(_at(places, pace)) if pace is not None else None
    program = make_models_program(plan, mapping)
    with progress(title, recipe.epochs) as advance:
        for picks in _epochs(recipe, len(seen), dealt_seeds, None if rows is None else rows[places]):
            state, metrics = program(state, Inputs(seed, schedule, data, mapping.deal(picks), triggers, taught, paces))
            advance(1, _told(metrics, dealt_seeds, diverging))
    return jax.tree.map(lambda leaf: np.asarray(leaf)[: len(seeds)], state.variables)


@lru_cache(maxsize=32)
def make_models_program(plan: Plan, mapping: DeviceMapping) -> Callable[[State, Inputs], tuple[State, Metrics]]:
    """The program that runs `steps_of(plan)` for many models; what is not of each is shared."""
    return mapping.compile_models(steps_of(plan), Inputs, shared={"schedule", "data", "triggers"})


def _check(config: Config, recipe: Recipe, seen: Dataset, seeds: Sequence[int], keys: Sequence[Key]) -> None:
    if not seeds:
        raise UsageError("no seeds: give one for each model")
    if moving := [key for key in keys if key.answers is None]:
        name = moving[0].commitment.id[:12]
        raise UsageError(f"`keys`: spread key {name} is a shift of one network's answers: wmjax.fit teaches it")
    for seed in (min(seeds), max(seeds)):
        check(config, dataclasses.replace(recipe, seed=seed), seen, keys, over(jax.local_devices()[:1]))


def _start(config: Config, seeds: Sequence[int], variables: Variables | None, places: np.ndarray) -> State:
    """The state of all models before the first step, on the host."""
    if variables is None:
        variables = stack([init(config, seed) for seed in seeds])
    states: State = jax.vmap(first_state)(_at(places, variables))
    return jax.device_get(states)


def _at(places: np.ndarray, tree: Any) -> Any:
    return jax.tree.map(lambda leaf: np.asarray(leaf)[places], tree)


def _epochs(recipe: Recipe, size: int, seeds: np.ndarray, rows: np.ndarray | None) -> Iterator[np.ndarray]:
    """For each epoch the rows of the split that the models see, int32 [models, steps, batch]."""
    per_epoch = size // recipe.batch
    for epoch in range(recipe.epochs):
        steps = range(epoch * per_epoch, (epoch + 1) * per_epoch)
        picks = np.array([[batch_indices(int(seed), step, recipe.batch, size) for step in steps] for seed in seeds])
        yield picks if rows is None else np.take_along_axis(rows[:, None].astype(np.int32), picks, axis=2)


def _told(metrics: Metrics, seeds: np.ndarray, diverging: bool) -> str:
    """Text for the progress bar; raises `UsageError` where a loss is not a number and must be one."""
    loss, accuracy = jax.device_get(metrics)
    if not diverging and not np.isfinite(loss).all():
        model = int(np.argmin(np.isfinite(loss).all(axis=1)))
        raise UsageError(f"training of the model with seed {seeds[model]} diverged: it needs a lower `learning_rate`")
    return f"loss {loss.mean():.3f}  accuracy {accuracy.mean():.3f}"
