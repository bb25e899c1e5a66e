"""Records that the zoo's modules exchange."""

import dataclasses
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from wmjax import forms, orbax, stores
from wmjax.suspects.contract import Network, Source


@dataclasses.dataclass(frozen=True, eq=False)
class Entry:
    """One model of a zoo.

    Attributes:
      name: its path within the zoo; of a packed one, `PACK.safetensors:NAME`.
      network: the same object for all models of a family.
      source: where its tensors lie.
      row: in the source; 0 for a model of its own.
      digest: of its weights as `pack` recorded it; empty where none was.
      stamp: changes when its weights do: size and time of change of what holds them.
    """

    name: str
    network: Network
    source: Source
    row: int = 0
    digest: str = ""
    stamp: str = ""


@dataclasses.dataclass(frozen=True)
class Unreadable:
    """Something in the zoo that looks like a model or key and cannot be used.

    Attributes:
      path: where it lies.
      why: in one line.
    """

    path: str
    why: str

    @classmethod
    def from_json(cls, values: Any) -> "Unreadable":
        """Reads its fields back; raises ValueError on anything else."""
        found = forms.fields(values, ("path", "why"))
        return cls(forms.text(found["path"]), forms.text(found["why"]))


@dataclasses.dataclass(frozen=True)
class Zoo:
    """What a walk found.

    Attributes:
      entries: models in the order of family and name.
      unreadable: what could not be read.
      others: files that are plainly no models, and no part of one: how many with each ending; how many sets of tensors
        are called as an optimiser's, and would fit a network; and how many older checkpoints runs have.
    """

    entries: list[Entry]
    unreadable: list[Unreadable]
    others: Mapping[str, int] = dataclasses.field(default_factory=dict)


def stamp(*paths: Path) -> str:
    """By which a change of the files or folders that hold a model's weights is noticed.

    Raises:
      AccessError, InvalidFile: as of `wmjax.orbax.stamp`.
    """
    return " ".join(orbax.stamp(path) if path.is_dir() else _file(path) for path in paths)


def _file(path: Path) -> str:
    size, time = stores.stamp(path, path.stat())
    return f"{size} {time}"
