"""Whether network, recipe, data, keys and devices go together: told before anything is trained or written."""

from collections.abc import Sequence

from wmjax.data.dataset import Examples
from wmjax.errors import UsageError
from wmjax.keys.keyset import Key, check_independent
from wmjax.models import Config
from wmjax.text import by
from wmjax.train.mapping import Mapping
from wmjax.train.recipe import Recipe, total_steps
from wmjax.train.relabel import natural_answers


def check(config: Config, recipe: Recipe, train: Examples, keys: Sequence[Key], mapping: Mapping) -> None:
    """Raises `UsageError` where model, data, keys, recipe and devices cannot go together."""
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
    if not 1 <= recipe.batch <= len(train):
        raise UsageError(f"`batch` {recipe.batch}: must be in 1..{len(train)}, the size of the training split")
    if recipe.batch % mapping.size:
        raise UsageError(f"`batch` {recipe.batch}: must be a multiple of the {mapping.size} devices")
    if any(key.mixed for key in keys) and not 1 <= recipe.key_per_batch < recipe.batch:
        raise UsageError(f"`key_per_batch` {recipe.key_per_batch}: must be in 1..{recipe.batch - 1}, below `batch`")
    if recipe.epochs < 1 or total_steps(recipe, len(train)) >= 2**31:
        most = (2**31 - 1) // max(1, len(train) // recipe.batch)
        raise UsageError(f"`epochs` {recipe.epochs}: must be in 1..{most}")
    if not 0 <= recipe.seed < 2**31:
        raise UsageError(f"`seed` {recipe.seed}: must be in 0..{2**31 - 1}")
    if not 0 <= recipe.label_smoothing < 1:
        raise UsageError(f"`label_smoothing` {recipe.label_smoothing}: must be at least 0 and below 1")
    if not 1e-37 < recipe.learning_rate < 1e38:  # a program takes it as float32
        raise UsageError(f"`learning_rate` {recipe.learning_rate}: must be above 0, and a float32")


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
