"""Models that lie in files: their weights, their digests, and asking them on this process's devices."""

import contextlib
import dataclasses
import functools
import os
import re
from collections.abc import Callable, Sequence
from functools import lru_cache
from pathlib import Path

import jax
import numpy as np
from jax import Array

from wmjax import checkpoint
from wmjax.digest import digest, files_digest
from wmjax.errors import InvalidFile, UsageError, WmjaxError
from wmjax.keys import Model
from wmjax.models import FAMILIES, Config, Variables, read_config
from wmjax.models.predict import Program, answered, everywhere
from wmjax.progress import progress
from wmjax.stores import place
from wmjax.suspects.contract import NOTHING, Image, Network, Stored, Suspect, Wanted, Weights
from wmjax.suspects.finite import unusable
from wmjax.suspects.guarded import one_line
from wmjax.suspects.links import absolute
from wmjax.suspects.network import variables_of
from wmjax.suspects.recognise import check, located, recognise
from wmjax.text import by


def find(name: str, wanted: Wanted = NOTHING) -> Stored:
    """The one model that a user names: a path, or `PATH:NAME` for one of several, of a pack or a checkpoint.

    Raises:
      UsageError: several models lie there, or none of that name; also as `recognise`.
      AccessError, InvalidFile: as `recognise`.
    """
    chosen = find_kinds(name, wanted)
    if len(chosen) > 1:
        raise _several(Path(name), "", chosen)
    return chosen[0]


def find_kinds(name: str, wanted: Wanted = NOTHING) -> list[Stored]:
    """The one model that a user names, for each size and number of classes at which it is asked; raises as `find`."""
    path, member = located(name)
    if not member and (other := _also_called(name, wanted)):
        raise UsageError(f"{name} is a file, and a model in {other.name} is called so too: rename the file")
    try:
        found = recognise(path, wanted)
    except InvalidFile:
        check(wanted)  # a name that is none explains it better
        raise
    chosen = [stored for stored in found if member in ("", stored.name)]
    chosen = chosen or [stored for stored in found if stored.name.removeprefix(f"{member}:") in _kinds(stored.network)]
    chosen = chosen or [stored for stored in found if member in _called(stored)]
    if member and not chosen and not wanted.kept:  # one that is called as an optimiser's is asked where it is named
        with contextlib.suppress(UsageError, InvalidFile):
            return find_kinds(name, dataclasses.replace(wanted, kept=True))
    if len({(id(stored.source), stored.row) for stored in chosen}) != 1:
        raise _several(path, member, found)
    return chosen


def _also_called(name: str, wanted: Wanted) -> Path | None:
    """The path of which a model has the name of a file beside it, which would hide the model; else None."""
    for end in re.finditer(":", name):
        holder, member = place(name[: end.start()]), name[end.end() :]
        with contextlib.suppress(WmjaxError):
            if holder.exists() and any(member in _called(stored) for stored in recognise(holder, wanted)):
                return holder
    return None


def _kinds(network: Network) -> tuple[str, ...]:
    """What may follow a model's name where it is asked in several ways."""
    classes, size = f"{network.classes}-classes", by(network.image)
    return classes, size, f"{classes}:{size}"


def _called(stored: Stored) -> list[str]:
    """A model's name, and what an audit calls it that asks it in several ways, where there is one here."""
    return [stored.name, *(":".join(filter(None, (stored.name, kind))) for kind in _kinds(stored.network))]


def _several(path: Path, member: str, found: Sequence[Stored]) -> UsageError:
    """What to name instead of a path, or of a name that none there has."""
    some = ", ".join(f"{path.name}:{stored.name}" for stored in found[:3] if stored.name)
    if not some:
        return UsageError(f"{path} holds one model, without a name: leave out {member!r:.80}")
    what = f"no model {member!r:.80}" if member else f"{len(found)} models"
    return UsageError(f"{path} holds {what}: name one, as {some}{' ...' if len(found) > 3 else ''}")


def read_weights(stored: Stored) -> Weights:
    """A model's tensors by name, NumPy arrays.

    Raises:
      AccessError: they cannot be read.
      InvalidFile: they are damaged, or not those that its pack recorded.
    """
    stacked = {name: np.zeros((1, *leaf.shape), leaf.dtype) for name, leaf in stored.network.shapes.items()}
    with one_line(stored.path), progress(f"reading {absolute(stored.path).name}", 1) as advance:
        stored.source.read(stored.row, stored.row + 1, stacked)
        advance(1)
        if why := unusable(stacked):
            raise InvalidFile(why)
    weights = {name: array[0] for name, array in stacked.items()}
    if stored.digest and digest(weights) != stored.digest:
        raise InvalidFile(f"{stored.path}:{stored.name}: its weights are not those that were packed: digests differ")
    return weights


def describe(stored: Stored, weights: Weights | None = None) -> Model:
    """A model's name and digests, for statements about it.

    Args:
      stored: where it lies.
      weights: as `read_weights` gave them; read again by default.
    """
    weights = read_weights(stored) if weights is None else weights
    name = absolute(stored.path).name + (f":{stored.name}" if stored.name else "")
    return Model(name, files_digest(stored.path, *stored.parts), digest(weights))


def suspect_of(stored: Stored, name: str) -> Suspect:
    """A stored model as a suspect that answers with scores: those by which an audit weighs it too."""
    network = stored.network
    if network.askable:
        return dataclasses.replace(network.askable.suspect, name=name)
    weights = everywhere(read_weights(stored))

    def read_by(place: int) -> Suspect:
        return Suspect(
            name,
            lambda images: answered(_program(network, place), weights, images, network.classes),
            network.image,
            network.classes,
            lambda: describe(stored, {name: np.asarray(array) for name, array in weights.items()}),
            network.note,
            remembers=False,
            reading=network.readings[place],
            class_names=stored.class_names,
        )

    return Suspect.of([read_by(place) for place in range(len(network.readings))])


@lru_cache(maxsize=64)
def _program(network: Network, reading: int) -> Program:
    """Readings share one compiled program: which is meant is an argument."""
    return functools.partial(_compiled(network), reading=np.int32(reading))


@lru_cache(maxsize=64)
def _compiled(network: Network) -> Callable[..., Array]:
    return jax.jit(network.logits)


def load_variables(name: str, wanted: Wanted = NOTHING) -> tuple[Config, Variables]:
    """Configuration and weights of a model of wmjax's own networks, in whatever format: what training needs.

    Args:
      name: as `find` takes it.
      wanted: of bare weights.

    Raises:
      UsageError: it is of another network, or as `find`.
      AccessError, InvalidFile: as `find`.
    """
    stored = find(name, wanted)
    description = stored.network.description or {}
    if "config" not in description and stored.left:
        raise UsageError(f"{name}: {stored.left}: save the model that is meant alone")
    if "config" not in description:
        raise UsageError(f"{name} is {stored.network.name}: only {', '.join(FAMILIES)} of wmjax can be trained")
    config = read_config(description["config"])
    return config, variables_of(config, read_weights(stored))


def export(
    source: str | os.PathLike[str],
    out: str | os.PathLike[str],
    *,
    models: Sequence[str] = (),
    images: Sequence[Image] = (),
) -> Path:
    """Copies a model for publication: network and weights alone, without key, optimiser or settings.

    Example:

        wmjax.export("run", "release")

    Args:
      source: run, checkpoint or file of one of wmjax's own networks, or `PACK.safetensors:NAME`.
      out: the new folder, a checkpoint.
      models: architectures that bare weights may be of.
      images: height, width and channels that bare weights may be for.

    Returns:
      The folder.

    Raises:
      UsageError: `out` already exists; also as `load_variables`.
      AccessError: a file cannot be read or written; also as `load_variables`.
      InvalidFile: as `load_variables`.
    """
    out = place(out)
    if out.exists():
        raise UsageError(f"{out} already exists: choose another `out`")
    config, variables = load_variables(os.fspath(source), Wanted(tuple(models), tuple(images)))
    with progress(f"writing {out.name}", 1) as advance:
        checkpoint.save(out, variables._asdict(), checkpoint.Metadata(config))
        advance(1)
    return out
