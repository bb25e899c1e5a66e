"""Attacking one run: from a folder, keys and names of data sets to what its mark survives."""

import dataclasses
import os
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np

from wmjax.attacks.case import Case, make_victim
from wmjax.attacks.contract import Thief
from wmjax.attacks.grid import try_suite
from wmjax.attacks.result import AttackResult
from wmjax.attacks.suite import make_suite
from wmjax.checkpoint import settings_of
from wmjax.data import Dataset, Examples, load_source, open_splits, read
from wmjax.errors import AccessError, UsageError
from wmjax.keys import Key
from wmjax.keys.specify import is_made_from, split_of
from wmjax.models import Config
from wmjax.stores import place
from wmjax.suspects.adapt import adapt, adaptation
from wmjax.suspects.contract import Wanted
from wmjax.suspects.stored import load_variables
from wmjax.train import Recipe, default_recipe
from wmjax.train.check import check_seed

QUICK_IMAGES, QUICK_TEST, QUICK_EPOCHS = 5000, 2000, 20  # at most, in the quick suite


def attack(
    run: str | os.PathLike[str],
    keys: dict[str, Key],
    suite: str = "quick",
    *,
    models: Sequence[str] = (),
    data: str | None = None,
    data_dir: str | os.PathLike[str] | None = None,
    queries: str | None = None,
    images: int | None = None,
    epochs: int | None = None,
    batch: int | None = None,
    seed: int = 0,
    out: str | os.PathLike[str] | None = None,
    resume: bool = False,
    say: Callable[[str], None] | None = None,
) -> AttackResult:
    """Tries to rid a run of its mark, and tells for each attack what is left of mark and accuracy.

    Example:

        key = wmjax.open_key("my.age", wmjax.Unlock(identity=identity))
        for point in wmjax.attack("run", {"mine": key}, "prune,quantise").points:
            print(point.attack, point.strength, point.bits)

    Args:
      run: run folder, or any file or folder of a model of wmjax's own networks.
      keys: opened keys that the run may carry, by name.
      suite: `quick`, `full`, or attacks by name with commas between.
      models: architectures that bare weights may be of.
      data: data set of the task; by default the one that the run was trained on.
      data_dir: TFDS folder.
      queries: data set whose images the thief asks about besides.
      images: labelled training images that the thief has, drawn at random, 0 for none; by default all, in the quick
        suite at most 5,000.
      epochs: of the thief's trainings from scratch; a quarter of it of fine-tunings. Default: the network's usual,
        in the quick suite at most 20.
      batch: images in a step of those trainings.
      seed: of every random choice.
      out: folder of the journal; none is written by default.
      resume: continue the journal in `out`.
      say: told a line about each attack that is done.

    Raises:
      UsageError: run, keys, data and options cannot go together.
      AccessError: a file cannot be read or written.
      InvalidFile: the run is damaged.
    """
    if not keys:
        raise UsageError("`keys` is empty: give those that the run may carry, by name")
    check_seed(seed)
    chosen, quick, run = make_suite(suite), suite == "quick", place(run)
    config, variables = load_variables(str(run), Wanted.by((key.spec for key in keys.values()), models))
    # a run's own pictures may have been fitted to the network
    splits = open_splits(data, data_dir) if data else open_splits(_data_of(run), data_dir, config.image)
    if (splits.train.image, splits.train.classes) != (config.image, config.classes):
        raise UsageError(
            f"{splits.name} has images {splits.train.image} of {splits.train.classes} classes, the network takes "
            f"{config.image} and {config.classes}: name the data set of its task with `data`"
        )
    test = _sample(splits.test, QUICK_TEST if quick else None, seed, f"reading {splits.name} test")
    thief = Thief(
        _thief_images(splits.train, images, quick, seed),
        None if queries is None else _queries(queries, config, data_dir),
        *_training(config, epochs, batch, quick),
    )
    victim = make_victim(str(run), config, variables, keys, test)
    sources = {n: source for n, key in keys.items() if chosen.inversion and (source := _source(key, data_dir))}
    case = Case(splits.name, config, [victim], thief, test, sources, seed)
    return try_suite(chosen, case, out=None if out is None else place(out), resume=resume, say=say)


def _data_of(run: Path) -> str:
    """Name of the data set that a run was trained on."""
    began = settings_of(run)
    if not began or "data" not in began:
        raise UsageError(f"{run} does not say what it was trained on: name the data set with `data`")
    return str(began["data"]).rpartition(" ")[0]


def _sample(examples: Examples, most: int | None, seed: int, title: str) -> Dataset:
    """A split, or so many of its images drawn at random."""
    if most is None or most >= len(examples):
        return read(examples, title)
    return examples[np.sort(np.random.default_rng([seed, 0x5A3]).permutation(len(examples))[:most])]


def _thief_images(train: Examples, images: int | None, quick: bool, seed: int) -> Dataset | None:
    if images is not None and images < 0:
        raise UsageError(f"`images` {images}: must be at least 0")
    if images == 0:
        return None
    return _sample(train, images or (QUICK_IMAGES if quick else None), seed, "reading the thief's images")


def _queries(name: str, config: Config, data_dir: str | os.PathLike[str] | None) -> np.ndarray:
    """Images of another data set, as the network takes them."""
    other = load_source(name, data_dir)
    if adaptation(other.image, config.image) is None:
        raise UsageError(f"images of {name} cannot be made {config.image}: choose another `queries`")
    return adapt(other.images, config.image)


def _training(config: Config, epochs: int | None, batch: int | None, quick: bool) -> tuple[Recipe, int]:
    """How the thief trains, and for how many epochs they fine-tune."""
    recipe = default_recipe(config)
    if epochs is None:
        epochs = min(recipe.epochs, QUICK_EPOCHS) if quick else recipe.epochs
    batch = recipe.batch if batch is None else batch
    if epochs < 1 or batch < 1:
        raise UsageError("`epochs` and `batch` must be at least 1")
    return dataclasses.replace(recipe, epochs=epochs, batch=batch), max(1, epochs // 4)


def _source(key: Key, data_dir: str | os.PathLike[str] | None) -> Dataset | None:
    """The key's source images, where the very ones are at hand: decoy keys for model inversion need them."""
    if key.spec.source is None:
        return None
    try:
        source = load_source(key.spec.source.name, data_dir, key.spec.image, split_of(key.spec))
    except (AccessError, UsageError):
        return None
    return source if is_made_from(key.spec, source) else None
