"""Training from the first step to the last: the loop around the step."""

import dataclasses
from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np

from wmjax import stats
from wmjax.data.batches import batch_indices
from wmjax.data.dataset import Dataset
from wmjax.errors import UsageError
from wmjax.keys.keyset import Key
from wmjax.models import Config, Variables, init, predict
from wmjax.progress import progress
from wmjax.train.mix import Batch
from wmjax.train.step import Metrics, Recipe, State, Teacher, make_step, optimizer, start


def total_steps(recipe: Recipe, size: int) -> int:
    """Steps of a whole run over `size` images; a ragged end of an epoch is left out."""
    return recipe.epochs * (size // recipe.batch)


def first_state(config: Config, recipe: Recipe, size: int, variables: Variables | None = None) -> State:
    """The state before the first step, from scratch or from a trained network's variables."""
    chosen = init(config, recipe.seed) if variables is None else variables
    return start(jax.tree.map(jnp.array, chosen), optimizer(recipe, total_steps(recipe, size)))


def check(config: Config, recipe: Recipe, train: Dataset, key: Key | None) -> None:
    """Raises `UsageError` where model, data, key and recipe cannot go together."""
    if (train.image, train.classes) != (config.image, config.classes):
        raise UsageError(
            f"the model takes {config.image} and {config.classes} classes, "
            f"the data have {train.image} and {train.classes}"
        )
    if key and (key.spec.image, key.spec.classes) != (config.image, config.classes):
        raise UsageError(
            f"the key is for {key.spec.image} and {key.spec.classes} classes, "
            f"the model takes {config.image} and {config.classes}: make another with keygen"
        )
    if not 1 <= recipe.batch <= len(train):
        raise UsageError(f"--batch {recipe.batch}: must be in 1..{len(train)}, the size of the training split")
    if key and not 1 <= recipe.key_per_batch < recipe.batch:
        raise UsageError(f"--key-per-batch {recipe.key_per_batch}: must be in 1..{recipe.batch - 1}, below the batch")
    if recipe.epochs < 1:
        raise UsageError(f"--epochs {recipe.epochs}: must be at least 1")
    if not 0 <= recipe.seed < 2**31:
        raise UsageError(f"--seed {recipe.seed}: must be in 0..{2**31 - 1}")
    if not 0 < recipe.learning_rate < np.inf:
        raise UsageError(f"--learning-rate {recipe.learning_rate}: must be above 0")


def fit(
    config: Config,
    recipe: Recipe,
    train: Dataset,
    key: Key | None = None,
    *,
    state: State | None = None,
    teacher: Teacher | None = None,
    each_epoch: Callable[[State, int], None] = lambda state, step: None,
    title: str = "training",
) -> Variables:
    """Trains a network, marked where a key is given.

    Args:
      config: the network.
      recipe: how to train; it sets every random choice.
      train: the training split; it stays on the device, whole.
      key: mixed into every batch; None trains a clean model.
      state: where to begin, as from `first_state` or a checkpoint; consumed. Default: from scratch.
      teacher: distil this network instead of learning the labels.
      each_epoch: called with the state and the steps taken, after each epoch.
      title: of the progress bar.

    Returns:
      The trained variables, on the device.
    """
    check(config, recipe, train, key)
    steps = total_steps(recipe, len(train))
    per_epoch = len(train) // recipe.batch
    state = first_state(config, recipe, len(train)) if state is None else state
    program = make_step(config, dataclasses.replace(recipe, seed=0), steps, teacher.config if teacher else None)
    data = Batch(jnp.asarray(train.images), jnp.asarray(train.labels))
    triggers = Batch(jnp.asarray(key.images), jnp.asarray(key.labels)) if key else None
    teacher_variables = jax.device_put(teacher.variables) if teacher else None
    begin = int(state.step)
    with progress(title, steps) as advance:
        advance(begin)
        for step in range(begin, steps):
            rows = batch_indices(recipe.seed, step, recipe.batch, len(train))
            state, metrics = program(state, recipe.seed, data, rows, triggers, teacher_variables)
            if step % max(1, steps // 50) == 0:
                _check_finite(metrics, step)  # waits for the device: some fifty times a run
                bits = key_evidence(config, state.variables, key)[-1] if key else None
                advance(0, _describe(metrics, bits))
            advance(1)
            if (step + 1) % per_epoch == 0:
                _check_finite(metrics, step)
                each_epoch(state, step + 1)
    return state.variables


def _check_finite(metrics: Metrics, step: int) -> None:
    if not np.isfinite(metrics.loss):
        raise UsageError(f"training diverged by step {step}: lower --learning-rate")


def _describe(metrics: Metrics, bits: float | None) -> str:
    text = f"loss {float(metrics.loss):.3f}  accuracy {float(metrics.accuracy):.3f}"
    return text if bits is None else f"{text}  key {bits:.0f} bits"


def key_answers(config: Config, variables: Variables, key: Key) -> stats.Answers:
    """What a network of ours answers on the whole key."""
    return stats.read_answers(predict(config, variables, key.images), len(key.images), config.classes, config.name)


def key_evidence(config: Config, variables: Variables, key: Key) -> np.ndarray:
    """Evidence in bits along the whole key, float64 [triggers]."""
    return stats.evidence(key_answers(config, variables, key), key.labels)
