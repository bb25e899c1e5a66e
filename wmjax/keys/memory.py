"""Which triggers a service was shown: remembered beside the key, since the service may remember too."""

import dataclasses
import json
import os
from collections.abc import Collection, Iterable
from pathlib import Path
from typing import Protocol

from wmjax.errors import InvalidFile
from wmjax.files import add_line, alone, read_bytes
from wmjax.stores import place

FORMAT = "wmjax-asked/2"


def shown_to(path: str | os.PathLike[str], suspect: str) -> frozenset[int]:
    """The triggers that a suspect of this name was shown; none where nothing is remembered.

    Args:
      path: of the key file; NAME.asked.jsonl is beside NAME.age.
      suspect: its name, as the user types it.

    Raises:
      InvalidFile: the file is damaged.
      AccessError: it cannot be read.
    """
    return frozenset(_Lines().read(_beside(path)).get(suspect, ()))


class _Lines:
    """What a file remembers, read from where it was read to before: it only grows."""

    def __init__(self) -> None:
        self._shown: dict[str, set[int]] = {}
        self._end = 0

    def read(self, file: Path) -> dict[str, set[int]]:
        """Triggers by the suspects' names; raises as `shown_to`."""
        if not file.exists() or 0 < self._end == file.stat().st_size:
            return self._shown
        raw = read_bytes(file)
        end = raw.rfind(b"\n") + 1  # a last line that is not whole was cut short before its triggers were shown
        try:
            lines = raw[self._end : end].decode().split("\n")[:-1]
            if not self._end and json.loads(lines.pop(0)) != {"format": FORMAT}:
                raise ValueError
            told = [(str(name), [int(i) for i in shown]) for name, shown in map(json.loads, lines)]
        except (IndexError, TypeError, ValueError, RecursionError) as error:
            raise InvalidFile(
                f"{file} is damaged: what was asked is not known; remove it only if nothing was"
            ) from error
        for name, shown in told:
            self._shown.setdefault(name, set()).update(shown)
        self._end = end
        return self._shown


def remember(path: str | os.PathLike[str], suspect: str, triggers: Iterable[int]) -> None:
    """Adds triggers that are about to be shown to a suspect; they are on the disk when this returns.

    Raises:
      AccessError: the file cannot be written.
    """
    line = json.dumps([suspect, list(map(int, triggers))], separators=(",", ":"))
    file = _beside(path)
    with alone(file.parent, wait=True):  # of the key's own file there is another one whenever a claim spends a trigger
        add_line(file, line, first=json.dumps({"format": FORMAT}), mode=0o600)


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
    _read: dict[str, _Lines] = dataclasses.field(default_factory=dict, init=False, repr=False, compare=False)

    def shown(self, key: str, suspect: str) -> Collection[int]:
        """As `shown_to`; each line is read once."""
        lines = self._read.setdefault(key, _Lines())
        return frozenset(lines.read(_beside(self.folder / f"{key}.age")).get(suspect, ()))

    def remember(self, key: str, suspect: str, triggers: Iterable[int]) -> None:
        """As the function `remember`."""
        remember(self.folder / f"{key}.age", suspect, triggers)


def _beside(path: str | os.PathLike[str]) -> Path:
    return place(path).resolve().with_suffix(".asked.jsonl")
