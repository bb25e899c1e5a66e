"""Whether network, recipe, data, keys and devices go together: told before anything is trained or written."""

import math
from collections.abc import Iterator, Sequence
from numbers import Integral, Real
from typing import get_args

import numpy as np

from wmjax.data.dataset import Dataset, Examples
from wmjax.errors import UsageError
from wmjax.keys.keyset import Key, check_independent
from wmjax.models import Config, check_config
from wmjax.text import by
from wmjax.train.mapping import DeviceMapping
from wmjax.train.recipe import Precision, Recipe, total_steps
from wmjax.train.relabel import natural_answers

_WHOLE = ("epochs", "batch", "crop", "key_per_batch")  # numbers of a recipe
_REAL = ("learning_rate", "weight_decay", "label_smoothing", "temperature")


def check(config: Config, recipe: Recipe, train: Examples, keys: Sequence[Key], mapping: DeviceMapping) -> None:
    """Raises `UsageError` where model, data, keys, recipe and devices cannot be, or cannot go together."""
    check_config(config)
    check_data(train, "train")
    if (train.image, train.classes) != (config.image, config.classes):
        raise UsageError(
            f"the model takes {config.image} and {config.classes} classes, "
            f"the data have {train.image} and {train.classes}"
        )
    for key in keys:
        if (key.spec.image, key.spec.classes) != (config.image, config.classes):
            raise UsageError(
                f"key {key.commitment.id[:12]} is for {key.spec.image} and {key.spec.classes} classes, "
                f"the model takes {config.image} and {config.classes}: make a key for this model"
            )
    check_independent(keys)
    natural_answers(keys)
    check_seed(recipe.seed)
    for name, words in _faults(recipe, train, any(key.mixed for key in keys), mapping.size):
        raise UsageError(f"`{name}` {getattr(recipe, name)!r:.50}: must be {words}")


def _faults(recipe: Recipe, train: Examples, marked: bool, devices: int) -> Iterator[tuple[str, str]]:
    """Names of what a recipe says and cannot, and what each must be; only the first of them is sure to be one."""
    size = len(train)
    yield from ((name, "a whole number") for name in _WHOLE if not isinstance(getattr(recipe, name), Integral))
    yield from ((name, "a number") for name in _REAL if not isinstance(getattr(recipe, name), Real))
    if not 1 <= recipe.batch <= size:
        yield "batch", f"in 1..{size}, the size of the training split"
    if recipe.batch % devices:
        yield "batch", f"a multiple of the {devices} devices"
    if marked and not 1 <= recipe.key_per_batch < recipe.batch:
        yield "key_per_batch", f"in 1..{recipe.batch - 1}, below `batch`"
    if recipe.epochs < 1 or total_steps(recipe, size) >= 2**31:
        yield "epochs", f"in 1..{(2**31 - 1) // max(1, size // recipe.batch)}"
    if not 0 <= recipe.crop <= max(train.image[:2]):
        yield "crop", f"in 0..{max(train.image[:2])}, pixels of an image"
    if not 0 <= recipe.label_smoothing < 1:
        yield "label_smoothing", "at least 0 and below 1"
    if not 1e-37 < recipe.learning_rate < 1e38:  # a program takes it as float32
        yield "learning_rate", "above 0, and a float32"
    if not 0 <= recipe.weight_decay < math.inf:
        yield "weight_decay", "at least 0"
    if not 0 < recipe.temperature < math.inf:
        yield "temperature", "above 0"
    if recipe.precision not in get_args(Precision):
        yield "precision", " or ".join(get_args(Precision))


def check_data(examples: Examples, name: str) -> None:
    """Raises `UsageError` where a split in memory is not what a `Dataset` holds; `name` is the parameter's."""
    if not isinstance(examples, Dataset):
        return
    images, labels = (np.asarray(array) for array in (examples.images, examples.labels))
    if images.dtype != np.uint8 or images.ndim != 4:
        raise UsageError(f"`{name}`: images must be uint8 [N, H, W, C], these are {images.dtype} {list(images.shape)}")
    if not np.issubdtype(labels.dtype, np.integer) or labels.shape != images.shape[:1]:
        raise UsageError(
            f"`{name}`: labels must be integers [{len(images)}], one an image, these are {labels.dtype} "
            f"{list(labels.shape)}"
        )
    if len(labels) and not 0 <= labels.min() <= labels.max() < examples.classes:
        raise UsageError(
            f"`{name}`: labels must be in 0..{examples.classes - 1}, these are in {labels.min()}..{labels.max()}"
        )


def check_teacher(teacher: Config, config: Config, keys: Sequence[Key]) -> None:
    """Raises `UsageError` where a network cannot be distilled into one of this shape that learns these keys."""
    if (teacher.image, teacher.classes) != (config.image, config.classes):
        raise UsageError(
            f"`teacher` is for {by(teacher.image)} and {teacher.classes} classes, the model for {by(config.image)} "
            f"and {config.classes}: distil one that answers the same images with the same classes"
        )
    if moving := [key for key in keys if key.answers is None]:
        name = moving[0].commitment.id[:12]
        raise UsageError(f"`teacher`: spread key {name} moves the answers of its own base: give one of the two")


def check_seed(seed: int) -> None:
    """Raises `UsageError` where a number cannot seed a training."""
    if not (isinstance(seed, Integral) and 0 <= int(seed) < 2**31):
        raise UsageError(f"`seed` {seed!r:.50}: must be a whole number in 0..{2**31 - 1}")


def check_saving(save_every: int | None) -> None:
    """Raises `UsageError` where a run cannot be saved so often."""
    if save_every is not None and not (isinstance(save_every, Integral) and save_every >= 1):
        raise UsageError(f"`save_every` {save_every!r:.50}: must be a whole number, at least 1")
