"""One training step: gather, augment, mix the key in, descend. Pure, donated, keyed by the step number."""

import dataclasses
from collections.abc import Callable
from functools import lru_cache
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax
from jax import Array

from wmjax.data.batches import augment
from wmjax.models import Config, Variables, apply
from wmjax.train.mix import Batch, key_batch, mix


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


def default_recipe(config: Config) -> Recipe:
    """What trains a network of ours well: small steps without batch norm, augmentation on colour pictures.

    >>> from wmjax.models import default_config
    >>> default_recipe(default_config("vgg", (32, 32, 3), 10)).flip
    True
    """
    photographs = config.image[2] == 3
    if max(config.image[:2]) <= 16:
        return Recipe(epochs=60, batch=64, learning_rate=0.1 if config.name != "cnn" else 0.05)
    return Recipe(
        epochs=10,
        learning_rate=0.1 if config.name != "cnn" else 0.02,
        flip=photographs,
        crop=2 if photographs else 0,
    )


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


class Metrics(NamedTuple):
    """Of one step, float32 scalars: loss over the batch, top-1 accuracy on its real rows."""

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


@lru_cache(maxsize=32)
def make_step(
    config: Config, recipe: Recipe, steps: int, teacher: Config | None = None
) -> Callable[..., tuple[State, Metrics]]:
    """The jitted step of one network and recipe, the same one for equal arguments: a second run compiles nothing.

    The returned function takes `(state, seed, data, rows, triggers, teacher_variables)`: `state` is donated; `seed` of
    augmentation and dropout (the recipe's own is not looked at, so that many seeds share one program); `data` a
    `Batch` of the whole training split (uint8 images, int32 labels) that stays on the device; `rows` int32 [batch];
    `triggers` the key as a `Batch`, or None; the teacher's variables, or None. It returns the new state and `Metrics`.
    """
    tx = optimizer(recipe, steps)

    def targets_of(images: Array, labels: Array, teacher_variables: Variables | None) -> Array:
        if teacher is None or teacher_variables is None:
            hard = jax.nn.one_hot(labels, config.classes)
            return optax.smooth_labels(hard, recipe.label_smoothing)
        logits, _ = apply(teacher, teacher_variables, images)
        return jax.nn.softmax(logits / recipe.temperature)

    def loss_of(params: Any, stats: Any, batch: Batch, keyed: int, key: Array) -> tuple[Array, tuple[Any, Array]]:
        logits, stats = apply(config, Variables(params, stats), batch.images, train=True, key=key)
        soft = recipe.temperature if teacher is not None else 1.0
        scale = jnp.where(jnp.arange(recipe.batch) < keyed, 1.0, 1.0 / soft)[:, None]
        losses = optax.losses.softmax_cross_entropy(logits * scale, batch.targets)
        # soft targets' gradients shrink with the temperature squared (Hinton et al. 2015)
        return jnp.mean(losses / scale[:, 0] ** 2), (stats, logits)

    def step(
        state: State,
        seed: Array | int,
        data: Batch,
        rows: Array,
        triggers: Batch | None,
        teacher_variables: Variables | None,
    ) -> tuple[State, Metrics]:
        augment_key, dropout_key = jax.random.split(jax.random.fold_in(jax.random.key(seed), state.step))
        images = augment(data.images[rows], augment_key, flip=recipe.flip, crop=recipe.crop)
        batch = Batch(images, targets_of(images, data.targets[rows], teacher_variables))
        keyed = 0
        if triggers is not None:
            keyed = recipe.key_per_batch
            chosen = key_batch(triggers, state.step, keyed)
            batch = mix(batch, Batch(chosen.images, jax.nn.one_hot(chosen.targets, config.classes)))
        gradient = jax.value_and_grad(loss_of, has_aux=True)
        (loss, (stats, logits)), grads = gradient(
            state.variables.params, state.variables.stats, batch, keyed, dropout_key
        )
        updates, opt_state = tx.update(grads, state.opt_state, state.variables.params)
        params = optax.apply_updates(state.variables.params, updates)
        right = (logits.argmax(-1) == batch.targets.argmax(-1))[keyed:].astype(jnp.float32)
        return State(Variables(params, stats), opt_state, state.step + 1), Metrics(loss, right.mean())

    return jax.jit(step, donate_argnums=0)
