"""Which triggers a service was shown: remembered beside the key, since the service may remember too."""

import dataclasses
import json
import os
from collections.abc import Collection, Iterable
from pathlib import Path
from typing import Protocol

from wmjax.errors import InvalidFile
from wmjax.files import alone, read_bytes, write_bytes
from wmjax.stores import place

FORMAT = "wmjax-asked/1"


def shown_to(path: str | os.PathLike[str], suspect: str) -> frozenset[int]:
    """The triggers that a suspect of this name was shown; none where nothing is remembered.

    Args:
      path: of the key file; NAME.asked.json lies beside NAME.age.
      suspect: its name, as the user types it.

    Raises:
      InvalidFile: the file is damaged.
      AccessError: it cannot be read.
    """
    return frozenset(_read(_beside(path)).get(suspect, ()))


def remember(path: str | os.PathLike[str], suspect: str, triggers: Iterable[int]) -> None:
    """Adds triggers that are about to be shown to a suspect; they are on the disk when this returns.

    Raises:
      InvalidFile: the file is damaged.
      AccessError: it cannot be written.
    """
    with alone(place(path), wait=True):
        known = _read(_beside(path))
        known[suspect] = sorted({*known.get(suspect, ()), *map(int, triggers)})
        document = {"format": FORMAT, "shown": known}
        write_bytes(_beside(path), json.dumps(document, indent=1).encode() + b"\n", mode=0o600)


class Memory(Protocol):
    """What suspects were shown of several keys."""

    def shown(self, key: str, suspect: str) -> Collection[int]:
        """The triggers of a key, by its name, that a suspect was shown, by the name that `wmjax verify` gives it."""

    def remember(self, key: str, suspect: str, triggers: Iterable[int]) -> None:
        """Keeps triggers that are about to be shown; called from one thread at a time."""


@dataclasses.dataclass(frozen=True)
class Beside:
    """Memory beside the key files of a folder, where `wmjax verify` has its own.

    Attributes:
      folder: of NAME.age.
    """

    folder: Path

    def shown(self, key: str, suspect: str) -> Collection[int]:
        """As `shown_to`."""
        return shown_to(self.folder / f"{key}.age", suspect)

    def remember(self, key: str, suspect: str, triggers: Iterable[int]) -> None:
        """As the function `remember`."""
        remember(self.folder / f"{key}.age", suspect, triggers)


def _beside(path: str | os.PathLike[str]) -> Path:
    return place(path).resolve().with_suffix(".asked.json")


def _read(path: Path) -> dict[str, list[int]]:
    if not path.exists():
        return {}
    try:
        document = json.loads(read_bytes(path))
        shown = {str(name): [int(i) for i in triggers] for name, triggers in document["shown"].items()}
        if document["format"] != FORMAT:
            raise ValueError
    except (KeyError, TypeError, ValueError, AttributeError, RecursionError) as error:
        raise InvalidFile(f"{path} is damaged: what was asked is not known; remove it only if nothing was") from error
    return shown
