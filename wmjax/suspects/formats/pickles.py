"""PyTorch files (`.pt`, `.pth`, `.bin`), which are pickles: opened in processes that may do nothing else. No PyTorch.

Such a process (`pickle_child`) gives safetensors back, whose header is believed only after every check, as any
stranger's. So what a pickle can do at worst, if PyTorch's own refusal of code fails too, is to lie about its weights.
"""

import contextlib
import dataclasses
import json
import os
import select
import socket
import subprocess
import tempfile
import threading
import time
import weakref
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import IO

from wmjax import stores
from wmjax.errors import AccessError, InvalidFile, UsageError
from wmjax.suspects.contract import Weights
from wmjax.suspects.formats import pickle_child
from wmjax.suspects.formats.safetensors import LARGEST_HEADER, File, Header, read_header, stamp
from wmjax.suspects.process import STARTING, command, hide
from wmjax.text import printable

_MEMORY = 1 << 30  # bytes that a process may take beside three times the file's
_SECONDS = 60  # for a small file
_RATE = 20 << 20  # bytes a second of a large one
_LONGEST = 240  # characters of a reason
_PIECE = 1 << 20
_KEPT = ("LD_LIBRARY_PATH", "SYSTEMROOT", "TMPDIR")
_ONE_THREAD = {"OMP_NUM_THREADS": "1", "MKL_NUM_THREADS": "1"}  # forking leaves others behind


def read_pickle(path: Path) -> Header:
    """What a PyTorch file holds, as a safetensors file's header; nested dictionaries' names have dots between.

    Raises:
      UsageError: PyTorch is missing.
      AccessError: the file cannot be read.
      InvalidFile: it holds anything else than tensors and containers, or takes too long or too much memory.
    """
    stamp = _stamp(path)
    with _opened(path, whole=False) as copy:
        return read_header(copy)._replace(stamp=stamp)


@dataclasses.dataclass(frozen=True, eq=False)
class Pickle:
    """A PyTorch file as the `Source` of one model.

    Attributes:
      path: where it is.
      header: as `read_pickle` gave it; a file that has changed since is not read.
      names: stored name of each of the network's tensors.
    """

    path: Path
    header: Header
    names: Mapping[str, str]

    def read(self, start: int, stop: int, out: Weights) -> None:
        """Fills `out[name][0]`; raises as `read_pickle`."""
        stamp = _stamp(self.path)
        with _opened(self.path, whole=True) as copy:
            header = read_header(copy)
            if stamp != self.header.stamp or header.tensors != self.header.tensors:
                raise InvalidFile(f"{self.path} was changed while it was used: start again")
            File(copy, header, self.names, stacked=False).read(start, stop, out)


def _stamp(path: Path) -> tuple[int, int, int]:
    try:
        return stamp(path.stat())
    except OSError as error:
        raise AccessError(f"cannot read {path}: {error.strerror}") from error


@contextlib.contextmanager
def _opened(path: Path, *, whole: bool) -> Iterator[Path]:
    """A safetensors file with what a PyTorch file holds, of which only the header is filled in unless `whole`."""
    size = _stamp(path)[0]
    seconds = _SECONDS + size // _RATE
    try:
        with tempfile.NamedTemporaryFile(suffix=".safetensors") as copy:
            with stores.present(path), path.open("rb") as file:
                tensors, reasons = _forks().ask(file, _MEMORY + 3 * size, seconds)
            with tensors, reasons:
                done = _copied(_Reading(tensors, seconds), copy, pickle_child.TIMES * size, whole=whole)
                why = "" if done else _Reading(reasons, 1).upto(_LONGEST).decode(errors="replace").strip()
            if not done:
                raise InvalidFile(f"{path}: {printable(why) or f'it takes too much memory, or over {seconds} seconds'}")
            yield Path(copy.name)
    except OSError as error:
        raise AccessError(f"cannot read {path}: {error.strerror or error}") from error


class _Reading:
    """A pipe that is read for so many seconds at most; then it has ended."""

    def __init__(self, pipe: IO[bytes], seconds: float):
        self._pipe, self._until = pipe, time.monotonic() + seconds

    def some(self, most: int) -> bytes:
        """Up to so many bytes; none at the end."""
        ready, _, _ = select.select([self._pipe], [], [], max(0.0, self._until - time.monotonic()))
        return os.read(self._pipe.fileno(), most) if ready else b""

    def upto(self, count: int) -> bytes:
        """So many bytes; fewer at the end."""
        found = bytearray()
        while len(found) < count and (piece := self.some(min(count - len(found), _PIECE))):
            found += piece
        return bytes(found)


def _copied(stream: _Reading, copy: IO[bytes], most: int, *, whole: bool) -> bool:
    """Copies a safetensors file with tensors of at most so many bytes; whether it was all there."""
    start = stream.upto(8)
    length = int.from_bytes(start, "little")
    if len(start) < 8 or length > LARGEST_HEADER:
        return False
    raw = stream.upto(length)
    try:
        ends = [entry["data_offsets"][1] for entry in json.loads(raw).values()]
        if len(raw) < length or not ends or not all(type(end) is int and 0 <= end <= most for end in ends):
            return False
    except (ValueError, LookupError, TypeError, AttributeError, RecursionError):
        return False
    copy.write(start + raw)
    left = max(ends) if whole else 0
    while left and (piece := stream.some(min(left, _PIECE))):
        copy.write(piece)
        left -= len(piece)
    copy.flush()
    os.truncate(copy.fileno(), 8 + length + max(ends))
    return left == 0


class _Forks:
    """The process that forks for each file; it ends with the last reference."""

    def __init__(self) -> None:
        hide()
        self._channel, theirs = socket.socketpair()
        self._asking = threading.Lock()
        kept = {name: os.environ[name] for name in _KEPT if name in os.environ}
        with theirs:
            self._process = subprocess.Popen(
                command(Path(pickle_child.__file__)),
                stdin=theirs.fileno(),
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
                env=kept | _ONE_THREAD,
                cwd="/",
                start_new_session=True,
            )
        weakref.finalize(self, _end, self._channel, self._process)
        self._channel.settimeout(STARTING)
        if self._channel.recv(1) != pickle_child.READY:
            raise UsageError("PyTorch files need the torch packages: pip install 'wmjax[torch]'")

    def alive(self) -> bool:
        """Whether it can still be asked."""
        return self._process.poll() is None

    def ask(self, file: IO[bytes], memory: int, seconds: int) -> tuple[IO[bytes], IO[bytes]]:
        """Has a file opened; gives the pipes by which tensors and reasons come."""
        (tensors, to), (reasons, said) = os.pipe(), os.pipe()
        request = pickle_child.REQUEST.pack(memory, seconds)
        try:
            with self._asking:
                socket.send_fds(self._channel, [request], [file.fileno(), to, said])
        finally:
            for descriptor in (to, said):
                os.close(descriptor)
        return os.fdopen(tensors, "rb", 0), os.fdopen(reasons, "rb", 0)


_started: list[_Forks] = []
_starting = threading.Lock()


def _forks() -> _Forks:
    with _starting:
        if not (_started and _started[0].alive()):
            _started[:] = [_Forks()]
        return _started[0]


def _end(channel: socket.socket, process: "subprocess.Popen[bytes]") -> None:
    channel.close()
    process.kill()
    process.wait()
