"""The bytes of objects: fetched when they are wanted, and somewhat before, of the version that was listed.

What is only looked at is a file's beginning, which stays in memory; what is wanted whole is in a file of this machine;
tensors' bytes go straight to whoever asks for them. What is not in use makes room for what comes after it.
"""

import hashlib
import os
import shutil
import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor, wait
from contextlib import ExitStack, contextmanager, suppress

from wmjax.errors import AccessError
from wmjax.stores.alike import Alike
from wmjax.stores.contract import CONNECTIONS, Object, Store, Unreachable
from wmjax.stores.room import Room

HEAD = 32 << 10  # bytes that are fetched of files that are only looked at
WHOLE = 256 << 10  # bytes; smaller files are fetched whole: a request takes longer than they do
_HEADS = 256 << 20  # bytes of beginnings that are kept
_PIECE = 16 << 20  # bytes of one request, as stores like them: a connection has a part of the speed that several have
_LARGE = 64 << 20  # bytes; larger files are not fetched before their turn
_MOST = 4 << 30  # bytes of files that are kept, or half of what is free

Pieces = Sequence[tuple[int, Sequence[memoryview]]]  # where each begins in a file, and what it goes into


class File:
    """An object's file here.

    Attributes:
      path: where it is.
      object: what was listed, or written.
      alike, place: the files of its kind, and which of them it is.
      head: its first bytes, where they are in memory.
      whole: whether all its bytes are in the file; else none is.
      users: how many read it; while there are any the file stays as it is.
    """

    def __init__(self, path: str, store: Store, found: Object, alike: "Alike[File]"):
        self.path, self.store, self.object = path, store, found
        self.alike, self.place = alike, len(alike.files)
        alike.files.append(self)
        self.head, self.whole, self.users, self.lock = b"", not found.size, 0, threading.Lock()

    @property
    def beginning(self) -> int:
        """Bytes that are fetched of it when it is looked at."""
        return HEAD if self.object.size > WHOLE else self.object.size

    @property
    def time(self) -> int:
        """Its time of change, which follows from its version."""
        return int.from_bytes(hashlib.sha256(self.object.version.encode()).digest()[:7])

    def date(self) -> None:
        """Sets its time of change."""
        os.utime(self.path, ns=(self.time, self.time))

    def empty(self) -> bool:
        """Has its bytes make room, unless they are in use."""
        if self.users:
            return False
        self.whole = False
        os.truncate(self.path, 0)
        os.truncate(self.path, self.object.size)
        self.date()
        return True

    def behead(self) -> bool:
        """Has its beginning make room."""
        self.head = b""
        return True


class Contents:
    """Whatever is fetched of files.

    Attributes:
      gone: why a store could not be reached, once that happened.
    """

    def __init__(self, folder: str):
        self.gone: Unreachable | None = None
        self._lock = threading.Lock()
        self._heads = Room(_HEADS, File.behead)
        self._here = Room(min(_MOST, shutil.disk_usage(folder).free // 2), File.empty)
        self._pool = ThreadPoolExecutor(CONNECTIONS, "wmjax-store")
        self._parts = ThreadPoolExecutor(CONNECTIONS, "wmjax-store-parts")  # of files that the others wait for

    def close(self) -> None:
        """Ends what is on its way."""
        self._pool.shutdown(cancel_futures=True)
        self._parts.shutdown(cancel_futures=True)

    @contextmanager
    def present(self, files: Sequence[File]) -> Iterator[None]:
        """Has files whole on this machine while the block runs.

        Raises:
          AccessError: one of them cannot be had, or is not any more what was listed.
        """
        with self.steady(files):
            if len(files) == 1:
                (self._look if files[0].object.size <= WHOLE else self._follow)(files[0])
            for _ in self._pool.map(self._fill, [file for file in files if not file.whole]):
                pass
            yield

    @contextmanager
    def steady(self, files: Sequence[File]) -> Iterator[None]:
        """Has files' sizes, times and what is there of them stay as they are while the block runs."""
        with ExitStack() as used:
            for file in files:
                used.enter_context(self._used(file))
            yield

    def read(self, file: File, descriptor: int, count: int, at: int) -> bytes:
        """`os.pread` of a file that is open; what is not here comes from its bucket."""
        end = min(at + count, file.object.size)
        if end <= at:
            return os.pread(descriptor, count, at)
        with self._used(file):
            head = self._look(file) if end <= HEAD else file.head
            if end <= len(head):
                return head[at:end]
            return os.pread(descriptor, end - at, at) if file.whole else self._asked(file, at, end)

    def fetch(self, file: File, pieces: Pieces) -> None:
        """Reads pieces of a file into memory, without keeping them."""

        def one(part: tuple[int, list[memoryview]]) -> None:
            at, views = part
            data = memoryview(self._part(file, at, at + sum(map(len, views))))
            for view in views:
                view[:], data = data[: len(view)], data[len(view) :]

        for _ in self._parts.map(one, _cut(pieces)):
            pass

    def parts(self, wanted: Sequence[tuple[File, int, int]]) -> Iterator[bytes]:
        """Reads parts of files at once, without keeping them: of each its begin and end."""
        return self._parts.map(lambda part: self._part(*part), wanted)

    def forget(self, file: File) -> None:
        """A file was written or removed: what was fetched of it counts no more."""
        with self._lock:
            self._heads.forget(file)
            self._here.forget(file)

    @contextmanager
    def told(self, what: str, file: File) -> Iterator[None]:
        """Has errors name the file."""
        try:
            yield
        except AccessError as error:
            if isinstance(error, Unreachable):
                self.gone = self.gone or error
            raise error.saying(f"cannot {what} {file.path}: {error}") from error

    @contextmanager
    def _used(self, file: File) -> Iterator[None]:
        with self._lock:
            file.users += 1
            self._here.use(file)
            self._heads.use(file)
        try:
            yield
        finally:
            with self._lock:
                file.users -= 1

    def _part(self, file: File, begin: int, end: int) -> bytes:
        """Bytes of a file, from here if they are."""
        with self._used(file):
            if end <= len(head := file.head):
                return head[begin:end]
            if not file.whole:
                return self._asked(file, begin, end)
            with open(file.path, "rb") as here:
                return os.pread(here.fileno(), end - begin, begin)

    def _follow(self, file: File) -> None:
        """Has the next files fetched where a file is wanted whole after the one before it."""
        with self._lock:
            following = file.alike.follow(file.place)
        for one in following:
            if one.object.size <= _LARGE:
                self._pool.submit(self._ahead, one, self._fill)

    def _look(self, file: File) -> bytes:
        """A file's beginning, or nothing where the file has it; meanwhile those of the next ones are fetched."""
        with self._lock:
            following = file.alike.look(file.place)
        for one in following:
            self._pool.submit(self._ahead, one, self._begin)
        return self._begin(file)

    def _ahead(self, file: File, fetch: Callable[[File], object]) -> None:
        with suppress(AccessError), self._used(file):  # what is wrong with it is said when its turn comes
            fetch(file)

    def _begin(self, file: File) -> bytes:
        """Has the beginning of a file in memory, unless the file has it."""
        with file.lock:
            head = file.head
            if not file.whole and not head:
                head = file.head = self._asked(file, 0, file.beginning)
                with self._lock:
                    self._heads.hold(file, len(head))
            return head

    def _fill(self, file: File) -> None:
        """Has all bytes of a file in it."""
        with file.lock:
            if file.whole:
                return
            with open(file.path, "r+b") as out:
                if os.fstat(out.fileno()).st_mtime_ns != file.time:  # it was written anew here meanwhile
                    return
                try:
                    self._complete(file, out.fileno())
                finally:
                    file.date()  # else it would be one that was written anew, with zeros in it
            with self._lock:
                file.whole, file.head = True, b""
                self._heads.forget(file)
                self._here.hold(file, file.object.size)

    def _complete(self, file: File, out: int) -> None:
        """Puts what is known of a file's beginning into it, and what else it has."""
        head, size = file.head, file.object.size

        def one(at: int) -> None:
            os.pwrite(out, self._asked(file, at, min(at + _PIECE, size)), at)

        os.pwrite(out, head, 0)
        first, *others = range(len(head), size, _PIECE) or (size,)
        parts = [self._parts.submit(one, at) for at in others]
        try:
            if first < size:
                one(first)
        finally:
            wait(parts)  # all of them: they write into the open file
        for part in parts:
            part.result()

    def _asked(self, file: File, begin: int, end: int) -> bytes:
        """Bytes of a file as the store has them."""
        with self.told("read", file):
            if self.gone:
                raise self.gone
            data = file.store.read(file.object, begin, end)
            if len(data) != end - begin:
                raise AccessError(f"{len(data)} bytes came of {end - begin}")
            return data


def _cut(pieces: Pieces) -> Iterator[tuple[int, list[memoryview]]]:
    """The same pieces, none larger than one request shall be."""
    for at, views in pieces:
        begun, size = list[memoryview](), 0
        for view in views:
            while len(view):
                part = view[: _PIECE - size]
                begun.append(part)
                size, view = size + len(part), view[len(part) :]
                if size == _PIECE:
                    yield at, begun
                    at, begun, size = at + size, [], 0
        if size:
            yield at, begun
