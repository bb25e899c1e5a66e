"""The kinds of files that can be told apart: how one is known, and what is said of it."""

import base64
import dataclasses
import json
import re
from collections.abc import Callable, Mapping
from functools import cached_property
from pathlib import Path
from typing import Any, NamedTuple

from cryptography.exceptions import UnsupportedAlgorithm

from wmjax.canonical import LARGEST
from wmjax.files import read_bytes
from wmjax.suspects.kinds import Format
from wmjax.suspects.sniff import beginning, kind_of
from wmjax.text import cut

DAMAGE = (  # what parsers raise on a stranger's bytes
    *(ValueError, LookupError, TypeError, AttributeError, ArithmeticError, RecursionError, RuntimeError, MemoryError),
    UnsupportedAlgorithm,
)
_HEAD = 4096  # bytes by which a file is known
_LONGEST = 200  # characters of a stranger's text

Facts = Mapping[str, Any]  # JSON values by what they are, words with _ between them


@dataclasses.dataclass(frozen=True)
class Glimpse:
    """What is seen of a file before it is known.

    Attributes:
      path: where it lies.
      folder: whether it is one.
      size: bytes; 0 of a folder.
      head: how it begins; empty for a folder.
    """

    path: Path
    folder: bool
    size: int
    head: bytes

    @cached_property
    def raw(self) -> bytes:
        """All of its bytes; raises `AccessError`, as `read_bytes`."""
        return read_bytes(self.path)

    @cached_property
    def values(self) -> dict[str, Any]:
        """The JSON object that it is; empty where it is none."""
        if not self.head.lstrip().startswith(b"{") or self.size > LARGEST:
            return {}
        return parsed(self.raw)

    @property
    def lines_of(self) -> str:
        """The format that its first line names, where it is a file of JSON lines; else empty."""
        found = re.match(rb'\{"format": ?"([\w/-]{1,40})"', self.head)
        return found[1].decode() if found else ""

    @cached_property
    def format(self) -> Format | None:
        """What it is among the files of models; None for a folder."""
        return None if self.folder else kind_of(self.path)

    @cached_property
    def predicate(self) -> str:
        """The type of what it signs, where it is a DSSE envelope of an in-toto statement; else empty."""
        try:
            statement = parsed(base64.b64decode(self.values["payload"], validate=True))
            return str(statement["predicateType"])
        except DAMAGE:
            return ""


class Kind(NamedTuple):
    """A kind of file.

    Attributes:
      name: what documents call it.
      words: what people call it.
      fits: whether something is of this kind, by how it begins; raises nothing.
      facts: what is to be known of it; raises `InvalidFile`, or any of `DAMAGE`, where it is not what it seems.
    """

    name: str
    words: str
    fits: Callable[[Glimpse], bool]
    facts: Callable[[Glimpse], Facts]


@dataclasses.dataclass(frozen=True)
class Shown:
    """What a file is.

    Attributes:
      path: as it was named.
      kind: code of its kind.
      words: the same for people.
      facts: what is known of it, none of it secret.
    """

    path: str
    kind: str
    words: str
    facts: Facts

    def to_json(self) -> dict[str, Any]:
        """The same as JSON values."""
        return {**dataclasses.asdict(self), "facts": dict(self.facts)}


def glimpse(path: Path) -> Glimpse:
    """Looks at a file's beginning; of a pipe or device nothing is read.

    Raises:
      AccessError: it cannot be read.
      InvalidFile: it is neither a file nor a folder.
    """
    if path.is_dir():
        return Glimpse(path, True, 0, b"")
    with beginning(path) as file:
        return Glimpse(path, False, file.size, file.head[:_HEAD])


def parsed(raw: bytes) -> dict[str, Any]:
    """The JSON object that bytes are; empty where they are none."""
    try:
        values = json.loads(raw)
    except (ValueError, RecursionError):
        return {}
    return values if isinstance(values, dict) else {}


def said(value: Any) -> Any:
    """A value of an unsigned file, fit to be told: short text, a number, or how many there are."""
    if isinstance(value, str):
        return cut(value, _LONGEST)
    if isinstance(value, list | dict):
        return len(value)
    return value if value is None or isinstance(value, bool | int | float) else type(value).__name__
