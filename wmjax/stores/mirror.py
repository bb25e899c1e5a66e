"""A bucket as a folder of this machine: names and sizes at once, contents when they are wanted.

Every object that a listing names is a file of its size, without its bytes (a sparse one). `present` and `read` fetch
what is about to be read, always of the version that was listed, so that nothing is mixed of two; what is not in use
makes room for what comes after it. What is written there is put into the bucket as a whole object, over the version
that was listed and no other. So formats, keys and reports know nothing of buckets.

A file's time of change follows from its object's version: whoever notices changes by size and time notices these.
"""

import fcntl
import hashlib
import os
import shutil
import tempfile
import threading
from collections import OrderedDict, defaultdict
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor, wait
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path

from wmjax.errors import AccessError, WmjaxError
from wmjax.stores.alike import Alike, Kind, kinds
from wmjax.stores.contract import CONNECTIONS, Meanwhile, Object, Store, Unreachable
from wmjax.stores.names import PREFIX, local_name

HEAD = 32 << 10  # bytes that are fetched of files that are only looked at
WHOLE = 256 << 10  # bytes; smaller files are fetched whole: a request takes longer than they do
_PIECE = 16 << 20  # bytes of one request, as stores like them: a connection has a part of the speed that several have
_LARGE = 64 << 20  # bytes; larger files are not fetched before their turn
_MOST = 4 << 30  # bytes that are kept, or half of what is free
_KEPT = ".kept"  # in a mirror whose writes did not all reach their buckets

Pieces = Sequence[tuple[int, Sequence[memoryview]]]  # where each begins in a file, and what it goes into


class _File:
    """An object's file here.

    Attributes:
      path: where it is.
      object: what was listed, or written.
      alike, place: the files of its kind, and which of them it is.
      filled: bytes that are there, from its beginning on.
      users: how many read it; while there are any its bytes stay.
    """

    def __init__(self, path: str, store: Store, found: Object, alike: "Alike[_File]"):
        self.path, self.store, self.object = path, store, found
        self.alike, self.place = alike, len(alike.files)
        alike.files.append(self)
        self.filled, self.users, self.lock = 0, 0, threading.Lock()

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


class Mirror:
    """The objects that this process was told of.

    Attributes:
      root: folder; `root/gs/BUCKET/NAME` is `gs://BUCKET/NAME`.
      gone: why a store could not be reached, once that happened.
    """

    def __init__(self, most: int | None = None):
        _sweep()
        self.root = os.path.realpath(tempfile.mkdtemp(prefix=PREFIX))
        self._kept = self.root.replace(PREFIX, "wmjax-kept-")
        self._held = os.open(self.root, os.O_RDONLY)
        fcntl.flock(self._held, fcntl.LOCK_EX)  # it ends with this process: then another one may remove the folder
        self.gone: Unreachable | None = None
        self._most = min(_MOST, shutil.disk_usage(self.root).free // 2) if most is None else most
        self._files: dict[str, _File] = {}
        self._alike = defaultdict[tuple[str, Kind], Alike[_File]](Alike)  # by bucket
        self._buckets: dict[str, Store] = {}
        self._filled: OrderedDict[str, _File] = OrderedDict()  # what may make room, the longest unused first
        self._bytes = 0
        self._lock = threading.Lock()
        self._pool = ThreadPoolExecutor(CONNECTIONS, "wmjax-store")
        self._parts = ThreadPoolExecutor(CONNECTIONS, "wmjax-store-parts")  # of files that the others wait for

    def close(self) -> None:
        """Removes it all, but for what could not be put into its bucket."""
        self._pool.shutdown(cancel_futures=True)
        self._parts.shutdown(cancel_futures=True)
        if os.path.exists(f"{self.root}/{_KEPT}"):
            os.rename(self.root, self._kept)
        else:
            shutil.rmtree(self.root, ignore_errors=True)
        os.close(self._held)

    def lay(self, base: str, store: Store, objects: Iterable[Object]) -> None:
        """Makes the files of a bucket's objects below `root/base`."""
        self._buckets[base] = store
        os.makedirs(f"{self.root}/{base}", mode=0o700, exist_ok=True)
        objects = [one for one in objects if one.size or not one.name.endswith("/")]  # what consoles call a folder
        for found, kind in zip(objects, kinds(objects), strict=True):
            path = self._free(f"{self.root}/{base}/", local_name(found.name))
            if path in self._files:
                continue
            with open(path, "xb") as new:
                new.truncate(found.size)
            self._files[path] = file = _File(path, store, found, self._alike[base, kind])
            file.date()

    def _free(self, above: str, name: str) -> str:
        """Where a file can lie: a store may have an object `a` beside `a/b`, a file system cannot."""
        at = 0
        while (at := name.find("/", at + 1)) > 0:
            if above + name[:at] in self._files:
                name, at = f"{name[:at]}%{name[at:]}", at + 1
        if os.path.isdir(above + name):
            name += "%"
        os.makedirs(os.path.dirname(above + name), mode=0o700, exist_ok=True)
        return above + name

    @contextmanager
    def present(self, path: str) -> Iterator[None]:
        """Has a file, or all files of a folder, whole while the block runs.

        Raises:
          AccessError: one of them cannot be had, or is not any more what was listed.
        """
        with ExitStack() as used:
            files = self._below(path)
            for file in files:
                used.enter_context(self._used(file))
            if len(files) == 1:
                (self._look if files[0].object.size <= WHOLE else self._follow)(files[0])
            missing = [file for file in files if file.filled < file.object.size]
            for _ in self._pool.map(lambda file: self._fill(file, file.object.size), missing):
                pass
            yield

    @contextmanager
    def steady(self, path: str) -> Iterator[None]:
        """Has a file's size, time and what is there of it stay as they are while the block runs."""
        with ExitStack() as used:
            for file in self._below(path):
                used.enter_context(self._used(file))
            yield

    def read(self, path: str, descriptor: int, count: int, at: int) -> bytes:
        """`os.pread` of an open file; what is not here comes from its bucket."""
        file = self._files.get(path)
        end = min(at + count, file.object.size) if file else 0
        if file is None or end <= at:
            return os.pread(descriptor, count, at)
        with self._used(file):
            if end <= HEAD:
                self._look(file)
            return os.pread(descriptor, end - at, at) if end <= file.filled else self._asked(file, at, end)

    def fetch(self, path: str, pieces: Pieces) -> None:
        """Reads pieces of a file into memory, without keeping them."""
        file = self._files[path]

        def one(part: tuple[int, list[memoryview]]) -> None:
            at, views = part
            data = memoryview(self._part(file, at, at + sum(map(len, views))))
            for view in views:
                view[:], data = data[: len(view)], data[len(view) :]

        for _ in self._parts.map(one, _cut(pieces)):
            pass

    def parts(self, wanted: Sequence[tuple[str, int, int]]) -> Iterator[bytes]:
        """Reads parts of files at once, without keeping them: of each its path, begin and end."""
        return self._parts.map(lambda part: self._part(self._files[part[0]], *part[1:]), wanted)

    def _part(self, file: _File, begin: int, end: int) -> bytes:
        """Bytes of a file, from here if they are."""
        with self._used(file):
            if end > file.filled:
                return self._asked(file, begin, end)
            with open(file.path, "rb") as here:
                return os.pread(here.fileno(), end - begin, begin)

    def put(self, path: str, last: str) -> None:
        """Puts a file, or the files of a folder, into the bucket; one called `last` when all others are there.

        Raises:
          AccessError: one cannot be written, or somebody else has written it meanwhile; it is kept here then.
        """
        paths = [path] if os.path.isfile(path) else _walk(path)
        ends = [one for one in paths if os.path.basename(one) == last]
        for group in ([one for one in paths if one not in ends], ends):
            for _ in self._pool.map(self._put, group):
                pass

    def _put(self, path: str) -> None:
        base, store = next(pair for pair in self._buckets.items() if path.startswith(f"{self.root}/{pair[0]}/"))
        known = self._files.get(path)
        name = known.object.name if known else os.path.relpath(path, f"{self.root}/{base}")
        try:
            if self.gone:
                raise self.gone
            written = _write(store, name, Path(path), known.object.version if known else None)
        except WmjaxError as error:
            Path(self.root, _KEPT).touch()
            kept = path.replace(self.root, self._kept)
            raise type(error)(f"cannot write {path}: {error}; it will be in {kept}") from error
        file = _File(path, store, written, Alike())
        file.filled = written.size  # and never makes room: it is this process's own
        file.date()
        with self._lock:
            if self._filled.pop(path, None) and known:
                self._bytes -= known.filled
            self._files[path] = file

    def remove(self, path: str) -> None:
        """Removes a file or a folder, here and in the bucket."""
        for file in self._below(path):
            with self._told("remove", file):
                file.store.remove(file.object.name)
            with self._lock:
                self._files.pop(file.path)
                if self._filled.pop(file.path, None):
                    self._bytes -= file.filled
        if os.path.isdir(path):
            shutil.rmtree(path, ignore_errors=True)
        else:
            Path(path).unlink(missing_ok=True)

    def _below(self, path: str) -> list[_File]:
        """The file of this path, or the files of this folder; what was made here and not put is none."""
        if path in self._files:
            return [self._files[path]]
        return [self._files[one] for one in _walk(path) if one in self._files]

    @contextmanager
    def _used(self, file: _File) -> Iterator[None]:
        with self._lock:
            file.users += 1
            if file.path in self._filled:
                self._filled.move_to_end(file.path)
        try:
            yield
        finally:
            with self._lock:
                file.users -= 1

    def _ahead(self, files: Sequence[_File], end: int = 0) -> None:
        """Has the first bytes of files fetched in threads, or their beginnings."""

        def ahead(one: _File) -> None:
            with suppress(AccessError), self._used(one):  # what is wrong with it is said when its turn comes
                self._fill(one, end or one.beginning)

        for one in files:
            self._pool.submit(ahead, one)

    def _follow(self, file: _File) -> None:
        """Has the next files fetched where a file is wanted whole after the one before it."""
        with self._lock:
            following = file.alike.follow(file.place)
        self._ahead([one for one in following if one.object.size <= _LARGE], _LARGE)

    def _look(self, file: _File) -> None:
        """Fetches a file's beginning, and meanwhile those of the next ones that are called alike."""
        with self._lock:
            following = file.alike.look(file.place)
        self._ahead(following)
        self._fill(file, file.beginning)

    def _fill(self, file: _File, end: int) -> None:
        """Has at least the first bytes of a file here."""
        end = min(end, file.object.size)
        with file.lock:
            begin = file.filled
            if begin >= end:
                return
            with open(file.path, "r+b") as out:
                if os.fstat(out.fileno()).st_mtime_ns != file.time:  # it was written anew here meanwhile
                    return

                def one(at: int) -> None:
                    os.pwrite(out.fileno(), self._asked(file, at, min(at + _PIECE, end)), at)

                if end - begin <= _PIECE:
                    one(begin)
                else:
                    parts = [self._parts.submit(one, at) for at in range(begin, end, _PIECE)]
                    wait(parts)  # all of them: they write into the open file
                    for part in parts:
                        part.result()
            file.date()
            with self._lock:
                file.filled = end
                self._bytes += end - begin
                self._filled[file.path] = file
                self._filled.move_to_end(file.path)
                self._make_room()

    def _make_room(self) -> None:
        for file in list(self._filled.values()) if self._bytes > self._most else ():
            if self._bytes <= self._most:
                return
            if not file.users:
                del self._filled[file.path]
                self._bytes -= file.filled
                file.filled = 0
                os.truncate(file.path, 0)
                os.truncate(file.path, file.object.size)
                file.date()

    def _asked(self, file: _File, begin: int, end: int) -> bytes:
        """Bytes of a file as the store has them."""
        with self._told("read", file):
            if self.gone:
                raise self.gone
            data = file.store.read(file.object, begin, end)
            if len(data) != end - begin:
                raise AccessError(f"{len(data)} bytes came of {end - begin}")
            return data

    @contextmanager
    def _told(self, what: str, file: _File) -> Iterator[None]:
        try:
            yield
        except AccessError as error:
            if isinstance(error, Unreachable):
                self.gone = self.gone or error
            raise type(error)(f"cannot {what} {file.path}: {error}") from error


def _write(store: Store, name: str, path: Path, over: str | None) -> Object:
    """Puts a file over a version of an object; one that has its bytes by then is the same, if an answer was lost."""
    try:
        return store.write(name, path, over)
    except Meanwhile:
        data = path.read_bytes()
        for found in store.list(name, deep=True):
            if found.name == name and found.size == len(data) and store.read(found, 0, found.size) == data:
                return found
        raise


def _walk(folder: str) -> list[str]:
    return [os.path.join(above, name) for above, _, names in os.walk(folder) for name in sorted(names)]


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


def _sweep() -> None:
    """Removes what processes left here that were killed."""
    for folder in Path(tempfile.gettempdir()).glob(f"{PREFIX}*"):
        with suppress(OSError):
            if folder.stat().st_uid != os.getuid() or (folder / _KEPT).exists():
                continue
            descriptor = os.open(folder, os.O_RDONLY | os.O_NOFOLLOW)
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
                shutil.rmtree(folder, ignore_errors=True)
            finally:
                os.close(descriptor)
