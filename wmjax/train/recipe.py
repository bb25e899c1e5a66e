"""How a network is trained, and what of that its program is given instead of being compiled for it."""

import dataclasses
from typing import Literal, NamedTuple

import jax.numpy as jnp
import numpy as np
from jax import Array

from wmjax.models import FAMILIES, Config, check_config
from wmjax.models.contract import small

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
    """A recipe that trains a wmjax network well; colour images are augmented unless they are small.

    >>> from wmjax.models import default_config
    >>> default_recipe(default_config("vgg", (32, 32, 3), 10)).flip
    True

    Args:
      config: the network.

    Raises:
      UsageError: no such network can be built.
    """
    check_config(config)
    training = FAMILIES[config.name].training(config.image)
    if small(config.image):
        return Recipe(epochs=60, batch=64, **training._asdict())
    photographs = config.image[2] == 3
    return Recipe(epochs=10, flip=photographs, crop=2 if photographs else 0, **training._asdict())


class Schedule(NamedTuple):
    """One cycle: the learning rate rises linearly over the first fifth of a run and falls linearly to zero.

    Attributes:
      peak: float32 scalar, the highest rate.
      steps: int32 scalar, of the whole run.
    """

    peak: Array
    steps: Array

    def rate(self, step: Array) -> Array:
        """Of the step of this number, float32."""
        warmup = jnp.maximum(1, self.steps // 5)
        rest = jnp.maximum(1, self.steps - warmup)
        rising, falling = step < warmup, _ratio(self.steps - step, rest)
        begin = self.peak / warmup.astype(jnp.float32)
        risen = begin + (self.peak - begin) * _ratio(step, warmup)
        return jnp.where(rising, risen, self.peak * jnp.maximum(falling, 0.0))


def _ratio(part: Array, whole: Array) -> Array:
    return part.astype(jnp.float32) / whole.astype(jnp.float32)


def schedule_of(recipe: Recipe, size: int) -> Schedule:
    """That of a run over `size` images, as scalars of the host."""
    return Schedule(np.float32(recipe.learning_rate), np.int32(total_steps(recipe, size)))  # type: ignore[arg-type]


def total_steps(recipe: Recipe, size: int) -> int:
    """Steps of a whole run over `size` images; a ragged end of an epoch is left out."""
    return recipe.epochs * (size // recipe.batch)
