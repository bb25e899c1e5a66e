"""What is held of files, up to a number of bytes: what was not used for longest makes room."""

from collections.abc import Callable
from typing import Generic, TypeVar

File = TypeVar("File")


class Room(Generic[File]):
    """Bytes held by file. Not safe among threads: whoever shares one has a lock.

    Args:
      most: bytes that are held.
      drop: lets go of a file's bytes; false where they are in use and must stay.

    >>> room = Room[str](10, lambda name: name != "in use")
    >>> for name in ("in use", "old", "new"):
    ...     room.hold(name, 5)
    >>> room.bytes, room.files
    (10, ['in use', 'new'])
    """

    def __init__(self, most: int, drop: Callable[[File], bool]):
        self.most, self.bytes, self._drop = most, 0, drop
        self._sizes: dict[File, int] = {}  # what was not used for longest comes first

    @property
    def files(self) -> list[File]:
        """Those of which something is held, in the order of their last use."""
        return list(self._sizes)

    def hold(self, file: File, size: int) -> None:
        """So many bytes of a file are held now, and it was used."""
        self.forget(file)
        self._sizes[file] = size
        self.bytes += size
        for one in self.files if self.bytes > self.most else ():
            if self.bytes > self.most and self._drop(one):
                self.forget(one)

    def use(self, file: File) -> None:
        """It was used, if any of it is held."""
        if file in self._sizes:
            self._sizes[file] = self._sizes.pop(file)

    def forget(self, file: File) -> None:
        """None of it is held."""
        self.bytes -= self._sizes.pop(file, 0)
