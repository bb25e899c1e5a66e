"""Reading and writing whole files: errors in one line, never a half-written output."""

import contextlib
import errno
import fcntl
import io
import os
import secrets
import shutil
import stat
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

from wmjax import stores
from wmjax.errors import AccessError, UsageError

_DESCRIPTORS = "/proc/self/fd"
LARGEST = 1 << 30  # no file of wmjax's own comes near; a hostile one must not fill the memory
_LARGEST_SECRET = 1 << 20  # bytes of a passphrase, a token, an identity or a signing key
_PIECE = 1 << 20  # bytes that are read at once


def expanded(path: str | os.PathLike[str], variable: str = "HOME") -> Path:
    """A path with the user's home folder in the place of `~`.

    Args:
      path: e.g. `~/models`.
      variable: of the environment, which would have said it.

    Raises:
      UsageError: no home folder is known, as of a user without an entry in the system's list.
    """
    try:
        return Path(path).expanduser()
    except RuntimeError as error:
        names = " or ".join(dict.fromkeys(("HOME", variable)))
        raise UsageError(f"{os.fspath(path)}: no home folder is known: set {names}") from error


def own_folder(variable: str, usual: str) -> Path:
    """Where this user's programs keep things of a kind: as a variable says, or in the home folder.

    Raises:
      UsageError: as `expanded`.
    """
    return expanded(os.environ.get(variable) or usual, variable) / "wmjax"


@contextlib.contextmanager
def opened(path: str | os.PathLike[str] | int) -> Iterator[BinaryIO]:
    """Opens a regular file, by its path or descriptor; raises `OSError` for pipes and devices, which may never end."""
    with open(path, "rb", opener=lambda name, flags: os.open(name, flags | os.O_NONBLOCK)) as file:  # a pipe would wait
        if not stat.S_ISREG(os.fstat(file.fileno()).st_mode):
            raise OSError(errno.EINVAL, "not a regular file")
        yield file


def read_bytes(path: Path, most: int = LARGEST) -> bytes:
    """A regular file's bytes; raises `AccessError` in one line, also where there are more than `most`."""
    try:
        if (size := path.stat().st_size) > most:
            raise AccessError(f"{path} has {size} bytes: too large to be what it should be")
        with stores.present(path), opened(path) as file:
            return _all_of(file, path, most)
    except OSError as error:
        raise AccessError(f"cannot read {path}: {error.strerror}") from error


def read_private(path: Path) -> bytes:
    """A secret's bytes, from a file or a pipe on this machine.

    Raises:
      UsageError: it is in a store.
      AccessError: it cannot be read, or is too large.
    """
    try:
        with open(stores.private(path), "rb") as file:
            return _all_of(file, path, _LARGEST_SECRET)
    except OSError as error:
        raise AccessError(f"cannot read {path}: {error.strerror}") from error


def _all_of(file: BinaryIO, path: Path, most: int) -> bytes:
    """What a file holds, whatever size it says that it has; raises `AccessError` where that is more than `most`."""
    held = io.BytesIO()
    while piece := file.read(_PIECE):
        if held.tell() + len(piece) > most:
            raise AccessError(f"{path} has more than {most} bytes: too large to be what it should be")
        held.write(piece)
    return held.getvalue()


def read_start(path: Path, count: int) -> bytes:
    """The first bytes of a regular file, `count` at most; raises `AccessError` in one line."""
    try:
        with opened(path) as file:
            return stores.read(path, file.fileno(), count, 0)
    except OSError as error:
        raise AccessError(f"cannot read {path}: {error.strerror}") from error


def check_room(folder: Path, size: int) -> None:
    """Makes the folder and raises `AccessError` where it cannot be written or has not `size` bytes free."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder):
            pass
        free = shutil.disk_usage(folder).free
    except OSError as error:
        raise AccessError(f"cannot write {folder.absolute()}: {error.strerror}") from error
    if free < size:
        raise AccessError(f"no space in {folder}: {size >> 10} KiB are needed, {free >> 10} are free")


def write_bytes(path: Path, data: bytes, mode: int = 0o644) -> None:
    """Writes beside, then renames: the file is there whole or not at all, also after a loss of power.

    Args:
      path: where; a symbolic link is followed, and stays one.
      data: what.
      mode: permissions, from its first byte on.
    """
    target = Path(os.path.realpath(path))
    beside = target.with_name(f".{target.name}.{secrets.token_hex(4)}")
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        nameless = _open_nameless(target.parent, mode)
        descriptor = os.open(beside, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode) if nameless is None else nameless
        try:
            with os.fdopen(descriptor, "wb") as file:
                file.write(data)
                file.flush()
                os.fsync(descriptor)
                if nameless is not None:
                    # With a descriptor, though the path is absolute: only then is the link in /proc followed.
                    os.link(f"{_DESCRIPTORS}/{descriptor}", beside, src_dir_fd=descriptor, follow_symlinks=True)
            beside.rename(target)
        finally:
            beside.unlink(missing_ok=True)
        keep_name(target)
    except OSError as error:
        raise AccessError(f"cannot write {path}: {error.strerror}") from error
    stores.put(target)


def add_line(path: Path, line: str, first: str, mode: int = 0o644) -> None:
    """Adds a line to a file; it is on the disk when this returns, or nothing of it is.

    Args:
      path: where; called by one process at a time. An object in a bucket is written anew.
      line: what, without a newline.
      first: line with which a new file begins, or one that holds no whole line yet.
      mode: permissions of a new file.
    """
    raw = line.encode() + b"\n"
    if stores.is_stored(path) or not path.exists():
        write_bytes(path, ((read_bytes(path) if path.exists() else b"") or first.encode() + b"\n") + raw, mode)
        return
    try:
        descriptor = os.open(path, os.O_RDWR | os.O_APPEND)
        try:
            size = _whole_lines(descriptor)
            raw = raw if size else first.encode() + b"\n" + raw
            try:
                os.ftruncate(descriptor, size)  # of a line that a kill cut short
                if os.write(descriptor, raw) < len(raw):
                    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
                os.fsync(descriptor)
            except OSError:
                os.ftruncate(descriptor, size)
                raise
        finally:
            os.close(descriptor)
    except OSError as error:
        raise AccessError(f"cannot write {path}: {error.strerror}") from error


def _whole_lines(descriptor: int) -> int:
    """Bytes of a file up to the end of its last whole line."""
    size = os.lseek(descriptor, 0, os.SEEK_END)
    if not size or os.pread(descriptor, 1, size - 1) == b"\n":
        return size
    return os.pread(descriptor, size, 0).rfind(b"\n") + 1


def _open_nameless(folder: Path, mode: int) -> int | None:
    """A new file that has no name yet, so that a kill leaves nothing of it; None where no such file can be made."""
    if not (hasattr(os, "O_TMPFILE") and os.path.isdir(_DESCRIPTORS)):
        return None
    try:
        return os.open(folder, os.O_TMPFILE | os.O_WRONLY, mode)
    except OSError:  # this file system does not: whatever else is wrong is told when the file is opened by name
        return None


def keep_name(path: Path) -> None:
    """Has the disk remember that a file of this name is in its folder, where the file system can be told to."""
    descriptor = os.open(path.parent, os.O_RDONLY)
    try:
        with contextlib.suppress(OSError):
            os.fsync(descriptor)
    finally:
        os.close(descriptor)


def write_new(path: Path, data: bytes, mode: int = 0o644) -> None:
    """`write_bytes`, but raises `UsageError` where something already exists."""
    if os.path.lexists(path):
        raise UsageError(f"{path} already exists: choose another name")
    write_bytes(path, data, mode)


@contextlib.contextmanager
def alone(path: Path, *, wait: bool = False) -> Iterator[None]:
    """Holds a file for one process at a time; waits for another one that holds it, or raises `UsageError`."""
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK)  # whoever reads it refuses a pipe
    except OSError as error:
        raise AccessError(f"cannot read {path}: {error.strerror}") from error
    try:
        hold(descriptor, path, "is in use by another process: wait for it to end", wait=wait)
        yield
    finally:
        os.close(descriptor)


@contextlib.contextmanager
def locked(lock: Path, folder: Path, busy: str) -> Iterator[None]:
    """Makes a folder and a file that is its lock, and holds that one while a block runs; a kill lets it go.

    Where the file system knows no locks, as some on a network, nobody is kept out.

    Args:
      lock: the file, in the folder or elsewhere on this machine.
      folder: what errors name.
      busy: as of `hold`, which says what is raised.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        lock.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        descriptor = os.open(lock, os.O_RDWR | os.O_CREAT, 0o644)
    except OSError as error:
        raise AccessError(f"cannot write {folder}: {error.strerror}") from error
    try:
        with contextlib.suppress(AccessError):
            hold(descriptor, folder, busy)
        yield
    finally:
        os.close(descriptor)


def hold(descriptor: int, path: Path, busy: str, *, wait: bool = False) -> None:
    """Locks an open file for this process, until it is closed.

    Args:
      descriptor: of the file.
      path: what errors name.
      busy: what is said where another process holds it.
      wait: wait for that one instead.

    Raises:
      UsageError: another process holds it.
      AccessError: the file system knows no locks, as some on a network.
    """
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))
    except BlockingIOError as error:
        raise UsageError(f"{path} {busy}") from error
    except OSError as error:
        raise AccessError(f"cannot lock {path}: {error.strerror}: choose a folder on another disk") from error
