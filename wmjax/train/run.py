"""A run in a folder: settings, checkpoints, resume, and what came of it."""

import dataclasses
import os
import time
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from wmjax import checkpoint, hosts
from wmjax.data.dataset import Dataset, Examples, Splits, keep, read, share_bounds
from wmjax.errors import UsageError
from wmjax.keys.keyset import Key
from wmjax.keys.vault import armour
from wmjax.models import Config, Variables, init, predict
from wmjax.stores import is_stored, place, unmirrored
from wmjax.suspects.contract import Wanted
from wmjax.suspects.stored import load_variables
from wmjax.train.begin import begun, check_out
from wmjax.train.check import check, check_data, check_saving, check_teacher
from wmjax.train.loop import fit
from wmjax.train.mapping import DeviceMapping, all_devices
from wmjax.train.mark import Mark, mark_of
from wmjax.train.memory import fits_host, fits_resident
from wmjax.train.recipe import Recipe, total_steps
from wmjax.train.shift import Shift, changed
from wmjax.train.spread import BAND, shift_of, shifting
from wmjax.train.step import State, Teacher, as_tree, first_state

TEST_BLOCK = 2000  # test images in memory at a time where the split is too large
COUNTED = 10_000  # training images on which a shift's cost is counted


@dataclasses.dataclass(frozen=True)
class Report:
    """What came of a run.

    Attributes:
      out: the run folder.
      steps: training steps.
      test_accuracy: top-1, on the whole test split.
      marks: one a key, in their order.
      changed: share of the first 10,000 training images on which the keys' shift changed an answer, beforehand; 0
        without a shift.
      seconds: wall time of this call.
    """

    out: str
    steps: int
    test_accuracy: float
    marks: tuple[Mark, ...]
    changed: float
    seconds: float


def embed(
    out: str | os.PathLike[str],
    config: Config,
    recipe: Recipe,
    splits: Splits[Examples],
    *,
    keys: Sequence[Key] = (),
    begin_with: str | os.PathLike[str] | None = None,
    teacher: str | os.PathLike[str] | None = None,
    sigma: float | None = None,
    band: float = BAND,
    resume: bool = False,
    mapping: DeviceMapping | None = None,
    streamed: bool = False,
    save_every: int | None = None,
) -> Report:
    """Trains in a folder, with a checkpoint after every epoch; a killed run resumes bit for bit.

    Under `jax.distributed` every process calls it with the same arguments, and sees the same folder.

    Example:

        splits = wmjax.load("digits")
        config = wmjax.default_config("cnn", splits.train.image, splits.train.classes)
        key = wmjax.open_key("my.age", wmjax.Unlock(identity=identity))
        print(wmjax.embed("run", config, wmjax.default_recipe(config), splits, keys=[key]).marks)

    Args:
      out: the run folder; new, or with `resume` one that was begun with the same settings.
      config: the network.
      recipe: how to train.
      splits: data; a training split that fits stays on the devices.
      keys: from `open_key`; the model is marked with each, as by `fit`, and every checkpoint carries them sealed.
      begin_with: run, checkpoint or file of the same network, whose weights to begin with.
      teacher: run, checkpoint or file of a network of wmjax's own, to distil.
      sigma: size of the shift by which `spread` keys are learned, as of `shift_of`; their base is `begin_with`.
      band: of that shift, as of `shift_of`.
      resume: continue after the newest complete checkpoint.
      mapping: the devices; all of them by default.
      streamed: read the training split from disk batch by batch even where it fits.
      save_every: steps after which to save within an epoch as well.

    Raises:
      UsageError: settings that cannot be, or not those that the run began with, or not the same in every process; a
        key that was not opened from its file, or two that share a secret; another process writes the run.
      AccessError: the folder cannot be written.
    """
    began = time.monotonic()
    out, mapping = place(out), mapping or all_devices()
    with hosts.together():
        _check(out, config, recipe, splits, keys, mapping, save_every)
        sealed = tuple(map(_sealed, keys))
        first, taught = (None if path is None else _newest(os.fspath(path)) for path in (begin_with, teacher))
        settings = _settings(config, recipe, splits, keys, first, taught) | _shift_settings(keys, sigma, band)
    hosts.agree({**settings, "mapping": mapping.kind, "streamed": streamed, "save_every": save_every, "resume": resume})
    resident = not streamed and hosts.everyone(fits_resident(splits.train))
    with hosts.together():
        check_out(out, settings, resume)
        start = _start(config, recipe, splits, keys, first, taught, sigma, band)
        mine = read(splits.train, f"reading {splits.name} train", hosts.share()) if resident else None
        test = _test_blocks(splits)
    train = _training_split(splits.train, mine)

    def save(state: State, step: int) -> None:
        checkpoint.save_step(out, as_tree(state), checkpoint.Metadata(config, step, sealed))

    with begun(out, settings, resume, start.fresh) as state:
        variables = fit(
            config,
            recipe,
            train,
            keys,
            state=state,
            teacher=start.teacher,
            shift=start.shift,
            mapping=mapping,
            save=save,
            save_every=save_every,
            streamed=not resident,
            title=f"training {config.name}" + (f", changing {start.changed:.2%} of answers" if start.shift else ""),
        )
    marks = tuple(mark_of(config, variables, key) for key in keys)
    steps, right = total_steps(recipe, len(splits.train)), _test_accuracy(config, variables, test)
    return Report(str(out), steps, right, marks, start.changed, time.monotonic() - began)


def _check(
    out: Path,
    config: Config,
    recipe: Recipe,
    splits: Splits[Examples],
    keys: Sequence[Key],
    mapping: DeviceMapping,
    save_every: int | None,
) -> None:
    """Raises `UsageError` where there can be no such run; no image is read for it."""
    if is_stored(out) and hosts.share()[1] > 1:
        raise UsageError(f"{unmirrored(str(out))}: several processes write into one folder that all of them see")
    check(config, recipe, splits.train, keys, mapping)
    check_saving(save_every)
    check_data(splits.test, "splits")
    if (splits.test.image, splits.test.classes) != (config.image, config.classes):
        raise UsageError(f"`splits`: images and classes of {splits.name} test are not those of its train")


def _sealed(key: Key) -> checkpoint.SealedKey:
    """What checkpoints carry of a key."""
    if key.sealed is None:
        name = key.commitment.id[:12]
        raise UsageError(f"`keys` {name} was not opened from its file: write it with write_key, then use open_key")
    return checkpoint.SealedKey(key.commitment.id, armour(key.sealed))


def _test_blocks(splits: Splits[Examples]) -> Iterable[Dataset]:
    """This process's part of the test split; read now where it fits: bad data must not end a long run."""
    test = splits.test
    if fits_resident(test):
        return [read(test, f"reading {splits.name} test", hosts.share())]
    first, last = share_bounds(len(test), hosts.share())
    return (test[at : min(at + TEST_BLOCK, last)] for at in range(first, last, TEST_BLOCK))


def _training_split(train: Examples, mine: Dataset | None) -> Examples:
    """The whole split, of which every process has read its part; or, where none has, one read when asked for."""
    if mine is None:
        return keep(train) if fits_host(train) else train
    processes = hosts.share()[1]
    bounds = [share_bounds(len(train), (i, processes)) for i in range(processes)]
    sizes = [last - first for first, last in bounds]
    return Dataset(hosts.concatenate(mine.images, sizes), hosts.concatenate(mine.labels, sizes), mine.classes)


def _settings(
    config: Config,
    recipe: Recipe,
    splits: Splits[Examples],
    keys: Sequence[Key],
    begin_with: str | None,
    teacher: str | None,
) -> dict[str, Any]:
    return {
        "model": config.to_json(),
        **dataclasses.asdict(recipe),
        "data": f"{splits.name} {splits.train.fingerprint()}",
        "keys": [key.commitment.id for key in keys],
        "from": begin_with,
        "teacher": teacher,
    }


def _shift_settings(keys: Sequence[Key], sigma: float | None, band: float) -> dict[str, Any]:
    if shifting(keys):
        return {"sigma": sigma, "band": band}
    if (sigma, band) != (None, BAND):
        raise UsageError("`sigma` and `band` belong to keys of scheme spread: none of `keys` is one")
    return {}


def _newest(path: str | os.PathLike[str]) -> str:
    """What a path stands for when a run begins: of another run its newest checkpoint."""
    return unmirrored(str(checkpoint.latest(place(path)) or os.fspath(path)))


class _Start(NamedTuple):
    """What a run begins with.

    Attributes:
      fresh: the state before its first step.
      teacher: the network to distil; None where there is none.
      shift: of its `spread` keys; None without any.
      changed: share of images on which that changes an answer.
    """

    fresh: State
    teacher: Teacher | None
    shift: Shift | None
    changed: float


def _start(
    config: Config,
    recipe: Recipe,
    splits: Splits[Examples],
    keys: Sequence[Key],
    first: str | None,
    taught: str | None,
    sigma: float | None,
    band: float,
) -> _Start:
    """Reads the networks that a run begins with and learns from."""
    weights, teacher = _weights(first, config), _teacher(taught, config, keys)
    shift = shift_of(keys, weights, sigma, band)
    share = changed(config, shift, splits.train[:COUNTED].images) if shift else 0.0
    return _Start(first_state(init(config, recipe.seed) if weights is None else weights), teacher, shift, share)


def _weights(begin_with: str | None, config: Config) -> Variables | None:
    """The variables that a run begins with; None for fresh ones."""
    if begin_with is None:
        return None
    other, variables = load_variables(begin_with, Wanted((config.name,), (config.image,)))
    if other != config:
        raise UsageError(f"{begin_with} is not the model asked for: {_differing(other, config)}")
    return variables


def _differing(found: Config, asked: Config) -> str:
    """In what two networks differ; of those of two families only that."""
    if found.name != asked.name:
        return f"it is a {found.name}, not a {asked.name}"
    names = [field.name for field in dataclasses.fields(Config)]
    pairs = [(name, getattr(found, name), getattr(asked, name)) for name in names]
    return "; ".join(f"its {name}: {one!r}, not {other!r}" for name, one, other in pairs if one != other)


def _teacher(path: str | None, config: Config, keys: Sequence[Key]) -> Teacher | None:
    """The network to distil; None where there is none."""
    if path is None:
        return None
    teacher = Teacher(*load_variables(path, Wanted((config.name,), (config.image,))))
    check_teacher(teacher.config, config, keys)
    return teacher


def _test_accuracy(config: Config, variables: Variables, blocks: Iterable[Dataset]) -> float:
    """Top-1 on the test split, of which every process has its part."""
    right = count = 0
    for block in blocks:
        right += int(np.sum(predict(config, variables, block.images).argmax(axis=1) == block.labels))
        count += len(block)
    right, count = hosts.gather(np.array([right, count], np.int32)).sum(axis=0)
    return float(right / count)
