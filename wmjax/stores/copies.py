"""Journals of what goes into a bucket: written on this machine line by line, and copied there whole every so often.

An object cannot be added to. So a kill loses nothing where the audit, claim or suite is resumed on this machine; on
another one it goes on from the copy, which lacks the last seconds.
"""

import hashlib
import shutil
import time
from pathlib import Path

from wmjax import stores
from wmjax.errors import AccessError, InvalidFile
from wmjax.files import own_folder

_SHARE = 20  # copying takes a twentieth of the time at most
_SECONDS = 1.0  # Google takes one write a second of an object


def own_file(path: Path) -> Path:
    """The file of this machine that goes with a path: itself, or for one in a bucket one that all processes here see.

    Raises:
      UsageError: no home folder is known.
    """
    if not stores.is_stored(path):
        return path
    home = own_folder("XDG_STATE_HOME", "~/.local/state")
    return home / hashlib.sha256(stores.unmirrored(str(path)).encode()).hexdigest()[:16] / path.name


def journal_file(path: Path) -> Path:
    """Where a journal is written: itself, or for one in a bucket a file of this machine that has at least its lines.

    Raises:
      UsageError: no home folder is known.
      InvalidFile: the copies contradict each other.
      AccessError: one cannot be read.
    """
    own = own_file(path)
    if own == path:
        return path
    try:
        own.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        if not path.exists():  # the bucket decides whether there is one
            own.unlink(missing_ok=True)
            return own
        with stores.present(path):
            theirs, mine = path.read_bytes(), own.read_bytes() if own.exists() else b""
        if mine.startswith(theirs):
            return own
        if not theirs.startswith(mine):
            raise InvalidFile(f"{path} contradicts the copy of it on this machine: remove it, or {own}")
        shutil.copyfile(path, own)
        return own
    except OSError as error:
        raise AccessError(f"cannot keep a copy of {path} in {own.parent}: {error.strerror}") from error


class Copy:
    """A journal's copy in a bucket.

    Args:
      own: the journal on this machine.
      path: what stands for the object.
    """

    def __init__(self, own: Path, path: Path):
        self._own, self._path = own, path
        self._behind, self._next = False, 0.0

    def line(self) -> None:
        """A line was written: copies them all, unless that was done just now; raises `AccessError` where it fails."""
        self._behind = True
        if time.monotonic() >= self._next:
            self.end()

    def end(self) -> None:
        """Copies what was not; raises as `line`."""
        if self._behind:
            began = time.monotonic()
            try:
                self._path.parent.mkdir(parents=True, exist_ok=True)
                shutil.copyfile(self._own, self._path)
            except OSError as error:
                raise AccessError(f"cannot copy {self._own} to {self._path}: {error.strerror}") from error
            stores.put(self._path)
            now = time.monotonic()
            self._behind, self._next = False, now + max(_SECONDS, _SHARE * (now - began))
