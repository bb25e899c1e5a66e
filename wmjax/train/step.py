"""The training step: gather, augment, mix the key in, descend; and the program that runs many steps on the device.

Pure, donated, keyed by the step number; what a row of the batch goes through follows from its place in the whole batch,
so that the numbers do not depend on how many devices share it.
"""

import dataclasses
import math
from collections.abc import Callable
from functools import lru_cache, partial
from typing import Any, Literal, NamedTuple

import jax
import jax.numpy as jnp
import optax
from jax import Array, lax

from wmjax.data.batches import augment
from wmjax.devices import on_cpu
from wmjax.models import FAMILIES, Config, Variables, apply
from wmjax.models.contract import small
from wmjax.train.mapping import Mapping
from wmjax.train.microbatch import accumulate
from wmjax.train.mix import Batch, key_batch, mix
from wmjax.train.shift import Shift, shifted_targets

Precision = Literal["float32", "bfloat16"]


@dataclasses.dataclass(frozen=True)
class Recipe:
    """How a network is trained; with the data and the seed it determines every weight.

    Attributes:
      epochs: passes over the training split.
      batch: examples in a step, triggers included.
      seed: of weights, order, augmentation and dropout.
      learning_rate: peak; it rises linearly over the first fifth and falls linearly to zero.
      weight_decay: L2 pull on kernels, not on biases and norms.
      label_smoothing: share of each real target spread over all classes; triggers keep theirs.
      flip: mirror images at random.
      crop: pixels of a random shift; 0 for none.
      key_per_batch: triggers in each batch of a marked run.
      temperature: of teacher and student logits when distilling.
      precision: of the network's arithmetic; weights, sums and losses stay float32.
    """

    epochs: int
    batch: int = 128
    seed: int = 0
    learning_rate: float = 0.1
    weight_decay: float = 5e-4
    label_smoothing: float = 0.0
    flip: bool = False
    crop: int = 0
    key_per_batch: int = 4
    temperature: float = 2.0
    precision: Precision = "float32"


def default_recipe(config: Config) -> Recipe:
    """What trains a network of ours well: its family says how, colour pictures are augmented.

    >>> from wmjax.models import default_config
    >>> default_recipe(default_config("vgg", (32, 32, 3), 10)).flip
    True

    Args:
      config: the network.
    """
    training = FAMILIES[config.name].training(config.image)
    if small(config.image):
        return Recipe(epochs=60, batch=64, **training._asdict())
    photographs = config.image[2] == 3
    return Recipe(epochs=10, flip=photographs, crop=2 if photographs else 0, **training._asdict())


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
      seed: int32 scalar, of augmentation and dropout; the recipe's is not looked at: many seeds share one program.
      data: the whole training split, uint8 images and int32 labels, resident on the devices; None for streamed data.
      picks: rows of `data` for each step, int32 [steps, batch]; streamed, a `Batch` of [steps, batch, ...].
      triggers: the keys', as from `pool`; None for a clean model.
      teacher: variables of the network to distil; None to learn the labels.
      pace: multiplies every update, like the parameters or broadcastable to them; None leaves updates as they are.
      shift: moves the answers that are learned, of a key that marks them; None learns the labels alone.
    """

    seed: Array
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
    """A trained network whose answers replace the labels of real examples."""

    config: Config
    variables: Variables


def optimizer(recipe: Recipe, steps: int) -> optax.GradientTransformation:
    """SGD with Nesterov momentum under a one-cycle schedule of `steps` steps."""
    warmup = max(1, steps // 5)
    schedule = optax.join_schedules(
        [
            optax.linear_schedule(recipe.learning_rate / warmup, recipe.learning_rate, warmup),
            optax.linear_schedule(recipe.learning_rate, 0.0, max(1, steps - warmup)),
        ],
        [warmup],
    )
    decay = optax.add_decayed_weights(recipe.weight_decay, mask=lambda p: jax.tree.map(lambda leaf: leaf.ndim > 1, p))
    return optax.chain(decay, optax.sgd(schedule, momentum=0.9, nesterov=True))


def start(variables: Variables, tx: optax.GradientTransformation) -> State:
    """The state before the first step."""
    return State(variables, tx.init(variables.params), jnp.zeros((), jnp.int32))


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
    """What a program is compiled for.

    Attributes:
      config: the network.
      recipe: how to train.
      steps: of the whole run: the schedule's length.
      mapping: the devices.
      teacher: network to distil.
    """

    config: Config
    recipe: Recipe
    steps: int
    mapping: Mapping
    teacher: Config | None = None


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
            return _descend(plan, state, batch, dropout_keys, rows, keyed, inputs.pace)

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
    plan: Plan, state: State, batch: Batch, keys: Array, rows: Array, keyed: int, pace: Any
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
    updates, opt_state = optimizer(recipe, plan.steps).update(grads, state.opt_state, state.variables.params)
    if pace is not None:
        updates = jax.tree.map(jnp.multiply, updates, pace)
    params = optax.apply_updates(state.variables.params, updates)
    return State(Variables(params, stats), opt_state, state.step + 1), Metrics(loss, share)


def _in_parts(plan: Plan, state: State, rows: int) -> bool:
    """Whether the gradient is summed over parts: for large images on a CPU; batch norm needs the batch whole."""
    large = math.prod(plan.config.image[:2]) >= 512
    return large and not state.variables.stats and rows % PART == 0 and on_cpu()
