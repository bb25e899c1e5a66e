"""Checkpoints: Orbax folders whose plain-JSON metadata names the network and holds the sealed keys.

A run folder holds `run.json` (the settings it began with) and `step-NNNNNNNN/`, one Orbax checkpoint each. The sealed
keys travel in the checkpoint's `custom_metadata`, readable without loading a tensor; `export` leaves them out.
"""

import contextlib
import dataclasses
import json
import logging
import os
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import jax
import numpy as np

from wmjax import hosts, orbax, stores
from wmjax.errors import AccessError, InvalidFile, UsageError, WmjaxError
from wmjax.files import check_room, locked, read_bytes, write_bytes
from wmjax.models import Config, read_config
from wmjax.orbax import CHECKPOINT
from wmjax.stores.copies import own_file
from wmjax.text import first_line

FORMAT = "wmjax-checkpoint/1"
STATE = "state"  # the folder of a checkpoint's tensors
SETTINGS = "run.json"
LOCK = ".run.lock"  # a file: not every file system on a network locks folders
KEPT = 2  # checkpoints that a run leaves
BESIDE = ("optimiser.", "step")  # begins the names of what a run keeps there beside its network


@dataclasses.dataclass(frozen=True)
class SealedKey:
    """A key as a checkpoint carries it.

    Attributes:
      commitment_id: the key's public name.
      envelope: the age file, armoured.
    """

    commitment_id: str
    envelope: str


@dataclasses.dataclass(frozen=True)
class Metadata:
    """What a checkpoint says of itself.

    Attributes:
      model: the network.
      step: training steps taken, which is also the position in the data; None in an exported model.
      keys: the sealed keys; none in a clean or an exported model.
    """

    model: Config
    step: int | None = None
    keys: tuple[SealedKey, ...] = ()

    def to_json(self) -> dict[str, Any]:
        keys = [dataclasses.asdict(key) for key in self.keys]
        return {"format": FORMAT, "model": self.model.to_json(), "step": self.step, "keys": keys}


def save(path: Path, tree: dict[str, Any], metadata: Metadata) -> None:
    """Writes one checkpoint; Orbax writes beside and renames, so it is whole or absent.

    Every process of a run calls it; the first one writes.
    """
    from orbax.checkpoint import v1 as ocp

    host_tree = jax.tree.map(_to_host, tree)
    size = sum(leaf.nbytes for leaf in jax.tree.leaves(host_tree))
    if hosts.is_first():  # in mid-write Orbax's threads fail in many lines, or wait for minutes
        check_room(path.parent, size + (1 << 20))
    with _one_line(f"cannot write checkpoint {path}"), hosts.losses_told():
        ocp.save(path.absolute(), host_tree, custom_metadata=metadata.to_json())
    stores.put(path, last=CHECKPOINT)  # without which it counts as half-written


def _to_host(leaf: Any) -> np.ndarray:
    """Which devices held a tensor must not matter to whoever reads it; each of them holds all of it."""
    return np.asarray(leaf.addressable_data(0) if isinstance(leaf, jax.Array) else leaf)


def step_path(run: Path, step: int) -> Path:
    """Where a run's checkpoint after `step` steps lies."""
    return run / f"step-{step:08d}"


def step_of(path: Path) -> int:
    """The steps after which a run's checkpoint was written, by its name."""
    return int(path.name.removeprefix("step-"))


def save_step(run: Path, tree: dict[str, Any], metadata: Metadata) -> Path:
    """Writes `step-NNNNNNNN` of a run, and prunes it."""
    path = step_path(run, metadata.step or 0)
    save(path, tree, metadata)
    if hosts.is_first():
        prune(run)
    return path


def prune(run: Path) -> None:
    """Removes all checkpoints of a run but the newest ones, `KEPT` of them: no run has more (`is_run`)."""
    for old in steps(run)[:-KEPT]:
        stores.remove(old) if stores.is_stored(old) else shutil.rmtree(old, ignore_errors=True)


@contextlib.contextmanager
def held(run: Path) -> Iterator[None]:
    """Makes a run's folder and holds it for this process alone; a kill lets it go.

    A bucket knows no locks: there only the processes of one machine keep out of each other's way.

    Raises:
      UsageError: another process holds it, or no home folder is known.
      AccessError: it cannot be written.
    """
    busy = "is being written by another process: wait for it, or choose another `out`"
    with locked(own_file(run / LOCK), run, busy):
        yield


def remove_half_written(run: Path) -> None:
    """Removes what a killed process left of the checkpoint that it was writing; whoever calls it holds the run."""
    for half_written in run.glob("step-*.orbax-checkpoint-tmp*"):
        shutil.rmtree(half_written, ignore_errors=True)
    for half_put in run.glob("step-*") if stores.is_stored(run) else ():
        if not (half_put / CHECKPOINT).exists():
            stores.remove(half_put)


def steps(run: Path) -> list[Path]:
    """The complete checkpoints of a run, oldest first; what a killed run left half-written has another name."""
    found = (path for path in run.glob("step-*") if path.name[5:].isdecimal())
    return sorted((path for path in found if (path / CHECKPOINT).exists()), key=lambda path: (step_of(path), path.name))


def latest(path: Path) -> Path | None:
    """The newest complete checkpoint of a run, or `path` itself where it is a checkpoint; None where there is none."""
    if (path / CHECKPOINT).exists():
        return path
    return next(reversed(steps(path)), None)


def is_run(path: Path) -> bool:
    """Whether a folder's checkpoints are such as a run leaves: no more of one model, with the settings it began with.

    Any number of models could be called as a run's checkpoints. A single one needs no settings.
    """
    return 1 <= len(steps(path)) <= (KEPT if (path / SETTINGS).is_file() else 1)


def read_metadata(checkpoint: Path) -> Metadata:
    """What a checkpoint says of itself, from plain JSON; raises `InvalidFile` where it is not wmjax's."""
    try:
        values = json.loads(read_bytes(checkpoint / CHECKPOINT))["custom_metadata"]
        if values["format"] != FORMAT:
            raise InvalidFile(f"{checkpoint}: format {values['format']!r}, this version reads {FORMAT}")
        keys = tuple(SealedKey(**key) for key in values["keys"])
        return Metadata(read_config(values["model"]), values["step"], keys)
    except (KeyError, TypeError, ValueError, RecursionError) as error:
        raise InvalidFile(f"{checkpoint} is not a wmjax checkpoint: its metadata cannot be read") from error


def load_tree(checkpoint: Path, like: dict[str, Any]) -> dict[str, Any]:
    """The tensors of a checkpoint that `like` names, as NumPy arrays; raises `InvalidFile` where they do not fit it."""
    try:
        leaves, structure = jax.tree_util.tree_flatten_with_path(like)
        named = {".".join(str(part.key) for part in path): leaf for path, leaf in leaves}  # as Orbax names them
        found = orbax.load(checkpoint / STATE, named)
    except WmjaxError as error:
        raise error.saying(f"cannot load checkpoint {checkpoint}: {error}") from error
    tree: dict[str, Any] = jax.tree.unflatten(structure, [found[name] for name in named])
    return tree


def write_settings(run: Path, settings: dict[str, Any]) -> None:
    """Writes `run.json`: what the run began with, to be compared when it is resumed."""
    write_bytes(run / SETTINGS, json.dumps(settings, indent=1).encode() + b"\n")


def settings_of(path: Path) -> dict[str, Any] | None:
    """The settings of the run that a path is, or is a checkpoint of; None where they are not there.

    Raises:
      InvalidFile: they are damaged.
    """
    for folder in (path, path.parent):
        if (folder / SETTINGS).exists():
            return _settings(folder)
    return None


def _settings(run: Path) -> dict[str, Any]:
    try:
        return dict(json.loads(read_bytes(run / SETTINGS)).items())
    except (ValueError, AttributeError) as error:
        raise InvalidFile(f"{run}/run.json is damaged") from error


def check_settings(run: Path, settings: dict[str, Any]) -> None:
    """Raises `UsageError` naming the first setting in which a resumed run differs from what it began with."""
    began = _settings(run)
    differing = [name for name in settings if began.get(name) != settings[name]]
    if differing:
        name = differing[0]
        if name == "keys":
            told = ", ".join(str(key)[:12] for key in began.get(name) or ()) or "none"
            raise UsageError(f"{run} began with these keys: {told}. Resume with the same `keys`")
        raise UsageError(
            f"{run} began with {name} {began.get(name)!r}, not {settings[name]!r}: resume with the same settings"
        )


@contextlib.contextmanager
def _one_line(what: str) -> Iterator[None]:
    """Turns Orbax's long errors and its background threads' log into one line."""
    loggers = [logging.getLogger(name) for name in ("absl", "asyncio")]
    levels = [logger.level for logger in loggers]
    for logger in loggers:
        logger.setLevel(logging.CRITICAL + 1)
    try:
        yield
    except (ValueError, KeyError, TypeError, OSError, RuntimeError, MemoryError, ExceptionGroup) as error:
        first = first_line(error)
        reason = os.strerror(error.errno) if isinstance(error, OSError) and error.errno else first[:160]
        raise AccessError(f"{what}: {reason}") from error
    finally:
        for logger, level in zip(loggers, levels, strict=True):
            logger.setLevel(level)
