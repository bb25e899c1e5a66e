"""What will be wanted next of a bucket: whoever looks at one file looks at those that are called alike."""

import os
import re
from collections import Counter
from collections.abc import Sequence
from typing import Generic, TypeVar

from wmjax.stores.contract import Object

_LOOKED = 64  # files whose beginnings are on their way while one is looked at
_WHOLE = 8  # files that are fetched whole before their turn, where those before them were wanted whole
_SMALL = 1 << 10  # bytes; walks leave out some files that are smaller, and none that is not

Kind = tuple[str, ...]
File = TypeVar("File")


class Alike(Generic[File]):
    """The files of one kind.

    Attributes:
      files: in the order of the listing.
    """

    def __init__(self) -> None:
        self.files: list[File] = []
        self._looked, self._last, self._followed = 0, -2, 0  # places behind those that are on their way

    def look(self, place: int) -> Sequence[File]:
        """Whose beginnings are to be fetched while that of a file is looked at."""
        begin, end = max(self._looked, place + 1), place + 1 + _LOOKED
        self._looked = max(self._looked, end)
        return self.files[begin:end]

    def follow(self, place: int) -> Sequence[File]:
        """What is to be fetched whole as a file is: where the one before it was too, a walk wants them all."""
        follows, self._last = place == self._last + 1, place
        begin = max(self._followed, place + 1)
        self._followed = max(begin, place + 1 + _WHOLE) if follows else begin
        return self.files[begin : self._followed]


def kinds(objects: Sequence[Object]) -> list[Kind]:
    """For each object what it shares with others: folders' names, its ending or its name, and whether it is small.

    Numbers in names do not count, nor names that no other file or folder has, as pieces of tensors have.

    >>> kinds([Object("run/1/a.onnx", 9000, ""), Object("run/2/b.onnx", 9000, "")])
    [('', '0', '.onnx', 'large'), ('', '0', '.onnx', 'large')]
    """
    named = [("", "", *_plain(one.name).split("/")) for one in objects]
    files = Counter(parts[-1] for parts in named)
    folders = Counter(_plain(folder.rpartition("/")[2]) for folder in _folders(objects))
    found = []
    for parts, one in zip(named, objects, strict=True):
        above = (part if folders[part] > 1 else "" for part in parts[-3:-1])
        own = os.path.splitext(parts[-1])[1] or (parts[-1] if files[parts[-1]] > 1 else "")
        found.append((*above, own, "small" if one.size < _SMALL else "large"))
    return found


def _plain(name: str) -> str:
    return re.sub(r"\d+", "0", name)


def _folders(objects: Sequence[Object]) -> set[str]:
    """The folders that the objects lie in."""
    found = set[str]()
    for one in objects:
        folder = one.name.rpartition("/")[0]
        while folder and folder not in found:
            found.add(folder)
            folder = folder.rpartition("/")[0]
    return found
