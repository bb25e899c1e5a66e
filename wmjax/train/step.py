"""The training step: gather, augment, mix the key in, descend; and the program that runs many steps on the device.

Pure, donated, keyed by the step number; what a row of the batch goes through follows from its place in the whole batch,
so that the numbers do not depend on how many devices share it.
"""

import dataclasses
import math
from collections.abc import Callable
from functools import lru_cache, partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax
from jax import Array, lax

from wmjax.data.batches import augment
from wmjax.devices import on_cpu
from wmjax.models import Config, Variables, apply
from wmjax.train.mapping import DeviceMapping
from wmjax.train.microbatch import accumulate
from wmjax.train.mix import Batch, key_batch, mix
from wmjax.train.recipe import Recipe, Schedule
from wmjax.train.shift import Shift, shifted_targets


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True)
class State:
    """All that a step changes.

    Attributes:
      variables: the network's parameters and running averages.
      opt_state: of the optax optimiser.
      step: int32 scalar, steps taken.
    """

    variables: Variables
    opt_state: Any
    step: Array


class Inputs(NamedTuple):
    """What the steps of a program see beside the state.

    Attributes:
      seed: int32 scalar, of augmentation and dropout.
      schedule: when to learn how fast.
      data: the whole training split, uint8 images and int32 labels, resident on the devices; None for streamed data.
      picks: rows of `data` for each step, int32 [steps, batch]; streamed, a `Batch` of [steps, batch, ...].
      triggers: the keys', as from `pool`; None for a clean model.
      teacher: variables of the network to distil; None to learn the labels.
      pace: multiplies every update, like the parameters or broadcastable to them; None leaves updates as they are.
      shift: moves the answers that are learned, of a key that marks them; None learns the labels alone.
    """

    seed: Array
    schedule: Schedule
    data: Batch | None
    picks: Any
    triggers: Batch | None = None
    teacher: Variables | None = None
    pace: Any = None
    shift: Shift | None = None


class Metrics(NamedTuple):
    """Of each step, float32: loss over the batch, top-1 accuracy on its real rows."""

    loss: Array
    accuracy: Array


class Teacher(NamedTuple):
    """A trained network whose answers replace the labels of real examples.

    Attributes:
      config: the network.
      variables: its numbers, as `fit` gives them.
    """

    config: Config
    variables: Variables


def optimizer(weight_decay: float) -> optax.GradientTransformation:
    """What gradients are turned into before they are multiplied by the learning rate: decay and Nesterov momentum."""
    decay = optax.add_decayed_weights(weight_decay, mask=lambda p: jax.tree.map(lambda leaf: leaf.ndim > 1, p))
    return optax.chain(decay, optax.trace(0.9, nesterov=True))


def first_state(variables: Variables) -> State:
    """The state before the first step, of a network from `init` or of a trained one.

    Example:

        tuned = wmjax.fit(config, recipe, more, state=wmjax.first_state(variables))

    Args:
      variables: of the network, as `fit` gives them.
    """
    return State(variables, _at_rest(variables.params), jnp.zeros((), jnp.int32))


@jax.jit  # one program for all parameters, in place of one for each shape
def _at_rest(params: Any) -> Any:
    return optimizer(0.0).init(params)


def as_tree(state: State) -> dict[str, Any]:
    """A state as nested dictionaries of arrays, for checkpoints."""
    optimiser = {str(i): leaf for i, leaf in enumerate(jax.tree.leaves(state.opt_state))}
    return {**state.variables._asdict(), "optimiser": optimiser, "step": state.step}


def from_tree(tree: dict[str, Any], like: State) -> State:
    """The state that `as_tree` took apart, in the structure of `like`."""
    leaves = [tree["optimiser"][str(i)] for i in range(len(tree["optimiser"]))]
    opt_state = jax.tree.unflatten(jax.tree.structure(like.opt_state), leaves)
    return State(Variables(tree["params"], tree["stats"]), opt_state, tree["step"])


PART = 16  # rows whose activations stay in a CPU's cache


@dataclasses.dataclass(frozen=True)
class Plan:
    """What a program is compiled for, as from `plan_of`.

    Attributes:
      config: the network.
      recipe: how to train; what `Inputs` have of it is not looked at.
      mapping: the devices.
      teacher: network to distil.
    """

    config: Config
    recipe: Recipe
    mapping: DeviceMapping
    teacher: Config | None = None


def plan_of(config: Config, recipe: Recipe, mapping: DeviceMapping, teacher: Config | None = None) -> Plan:
    """The plan, the same for all seeds, epochs and learning rates: runs that differ in these share a program."""
    return Plan(config, dataclasses.replace(recipe, seed=0, epochs=1, learning_rate=1.0), mapping, teacher)


@lru_cache(maxsize=32)
def make_program(plan: Plan) -> Callable[[State, Inputs], tuple[State, Metrics]]:
    """The program that runs `steps_of(plan)` on the devices, one for equal plans: a second run compiles nothing.

    Its arguments are as `plan.mapping` places them; the state is donated.
    """
    return plan.mapping.compile(steps_of(plan), Inputs, divided="picks")


def steps_of(plan: Plan) -> Callable[[State, Inputs], tuple[State, Metrics]]:
    """The steps of a training as a pure function, to be mapped over devices or models.

    It takes a `State` and `Inputs`, and gives the state after as many steps as these have picks, with the steps'
    `Metrics`, [steps] each.
    """

    def steps(state: State, inputs: Inputs) -> tuple[State, Metrics]:
        data, triggers = inputs.data, inputs.triggers

        def step(state: State, pick: Any) -> tuple[State, Metrics]:
            batch = pick if data is None else Batch(data.images[pick], data.targets[pick])
            rows = plan.mapping.rows(len(batch.targets))
            augment_keys, dropout_keys = row_keys(inputs.seed, state.step, rows)
            batch = _real(plan, batch, augment_keys, inputs)
            if triggers is not None:
                turn = key_batch(triggers, state.step, plan.recipe.key_per_batch)
                batch = mix(batch, turn._replace(targets=jax.nn.one_hot(turn.targets, plan.config.classes)), rows)
            keyed = plan.recipe.key_per_batch if triggers else 0
            return _descend(plan, state, batch, dropout_keys, rows, keyed, inputs)

        return lax.scan(step, state, inputs.picks)

    return steps


def row_keys(seed: Array, step: Array, rows: Array) -> tuple[Array, Array]:
    """PRNG keys for each row of the batch, of augmentation and of dropout: the same wherever the row is computed."""
    augmentation, dropout = jax.random.split(jax.random.fold_in(jax.random.key(seed), step))
    of_rows = jax.vmap(jax.random.fold_in, (None, 0))
    return of_rows(augmentation, rows), of_rows(dropout, rows)


def _real(plan: Plan, batch: Batch, keys: Array, inputs: Inputs) -> Batch:
    """Real examples, augmented, with the distributions that the network shall answer."""
    recipe = plan.recipe
    images = augment(batch.images, keys, flip=recipe.flip, crop=recipe.crop)
    if plan.teacher is not None and inputs.teacher is not None:
        logits, _ = apply(plan.teacher, inputs.teacher, images, precision=recipe.precision)
        return Batch(images, jax.nn.softmax(logits / recipe.temperature))
    hard = jax.nn.one_hot(batch.targets, plan.config.classes)
    labels = optax.smooth_labels(hard, recipe.label_smoothing)
    if inputs.shift is not None:
        labels = shifted_targets(plan.config, inputs.shift, images, labels)
    return Batch(images, labels)


def _descend(
    plan: Plan, state: State, batch: Batch, keys: Array, rows: Array, keyed: int, inputs: Inputs
) -> tuple[State, Metrics]:
    """Loss, gradients and update of one batch, whose first `keyed` rows are triggers."""
    config, recipe, mapping = plan.config, plan.recipe, plan.mapping
    real = rows >= keyed
    scale = jnp.where(real, 1.0 if plan.teacher is None else 1.0 / recipe.temperature, 1.0)

    def loss_of(params: Any, part: tuple[Batch, Array, Array]) -> tuple[Array, tuple[Array, Any]]:
        batch, scale, keys = part
        logits, stats = apply(
            config,
            Variables(params, state.variables.stats),
            batch.images,
            keys=keys,
            train=True,
            axis=mapping.axis,
            precision=recipe.precision,
        )
        losses = optax.losses.softmax_cross_entropy(logits * scale[:, None], batch.targets)
        # soft targets' gradients shrink with the temperature squared (Hinton et al. 2015)
        return jnp.mean(losses / scale**2), (logits, stats)

    gradient = jax.value_and_grad(loss_of, has_aux=True)
    if _in_parts(plan, state, len(rows)):
        gradient = partial(accumulate, gradient, size=PART)
    (loss, (logits, stats)), grads = gradient(state.variables.params, (batch, scale, keys))
    right = (logits.argmax(-1) == batch.targets.argmax(-1)) & real
    share = jnp.mean(right.astype(jnp.float32)) * (recipe.batch / (recipe.batch - keyed))
    loss, share, grads = mapping.mean((loss, share, grads))
    updates, opt_state = optimizer(recipe.weight_decay).update(grads, state.opt_state, state.variables.params)
    rate = inputs.schedule.rate(state.step)
    updates = jax.tree.map(lambda update: -rate * update, updates)
    if inputs.pace is not None:
        updates = jax.tree.map(jnp.multiply, updates, inputs.pace)
    params = optax.apply_updates(state.variables.params, updates)
    return State(Variables(params, stats), opt_state, state.step + 1), Metrics(loss, share)


def _in_parts(plan: Plan, state: State, rows: int) -> bool:
    """Whether the gradient is summed over parts: for large images on a CPU; batch norm needs the batch whole."""
    large = math.prod(plan.config.image[:2]) >= 512
    return large and not state.variables.stats and rows % PART == 0 and on_cpu()
