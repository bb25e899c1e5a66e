"""A bucket as a folder of this machine: names and sizes at once, contents when they are wanted.

Every object that a listing names is a file of its size, without its bytes (a sparse one). `present` and `read` fetch
what is about to be read, always of the version that was listed, so that nothing is mixed of two (`contents` says how).
What is written there is put into the bucket as a whole object, over the version that was listed and no other. So
formats, keys and reports know nothing of buckets.

A file's time of change follows from its object's version: whoever notices changes by size and time notices these.
"""

import fcntl
import os
import shutil
import tempfile
from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager, suppress
from pathlib import Path

from wmjax.errors import WmjaxError
from wmjax.stores.alike import Alike, Kind, kinds
from wmjax.stores.contents import Contents, File, Pieces
from wmjax.stores.contract import CONNECTIONS, Meanwhile, Object, Store
from wmjax.stores.names import PREFIX, local_name

_KEPT = ".kept"  # in a mirror whose writes did not all reach their buckets


class Mirror:
    """The objects that this process was told of.

    Attributes:
      root: folder; `root/gs/BUCKET/NAME` is `gs://BUCKET/NAME`.
      contents: what is fetched of them.
    """

    def __init__(self) -> None:
        _sweep()
        self.root, self._held = _make()
        self._kept = self.root.replace(PREFIX, "wmjax-kept-")
        self.contents = Contents(self.root)
        self._files: dict[str, File] = {}
        self._alike = defaultdict[tuple[str, Kind], Alike[File]](Alike)  # by bucket
        self._buckets: dict[str, Store] = {}

    def close(self) -> None:
        """Removes it all, but for what could not be put into its bucket."""
        self.contents.close()
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
            path = self._free(f"{self.root}/{base}/", found)
            if path in self._files:
                continue
            with open(path, "xb") as new:
                new.truncate(found.size)
            self._files[path] = file = File(path, store, found, self._alike[base, kind])
            file.date()

    def _free(self, above: str, found: Object) -> str:
        """Where an object's file can lie: a store may have an object `a` beside `a/b`, a file system cannot.

        What is called otherwise here for that, or by `local_name`, may be called as another object is.
        """
        name, at = local_name(found.name), 0
        while (at := name.find("/", at + 1)) > 0:
            while above + name[:at] in self._files:
                name, at = f"{name[:at]}%{name[at:]}", at + 1
        while os.path.isdir(above + name) or self._is_another(above + name, found):
            name += "%"
        os.makedirs(os.path.dirname(above + name), mode=0o700, exist_ok=True)
        return above + name

    def _is_another(self, path: str, found: Object) -> bool:
        """Whether a file stands for another object."""
        return path in self._files and self._files[path].object.name != found.name

    def present(self, path: str) -> AbstractContextManager[None]:
        """Has a file, or a folder's files, whole while a block runs; raises `AccessError` where it cannot be had."""
        return self.contents.present(self._below(path))

    def steady(self, path: str) -> AbstractContextManager[None]:
        """Has a file's size, time and what is there of it stay as they are while a block runs."""
        return self.contents.steady(self._below(path))

    def read(self, path: str, descriptor: int, count: int, at: int) -> bytes:
        """`os.pread` of an open file; what is not here comes from its bucket."""
        file = self._files.get(path)
        return self.contents.read(file, descriptor, count, at) if file else os.pread(descriptor, count, at)

    def stamp(self, path: str, status: os.stat_result) -> tuple[int, int]:
        """A file's size and time of change, also while bytes are put into it or make room."""
        file = self._files.get(path)
        return (file.object.size, file.time) if file else (status.st_size, status.st_mtime_ns)

    def fetch(self, path: str, pieces: Pieces) -> None:
        """Reads pieces of a file into memory, without keeping them."""
        self.contents.fetch(self._files[path], pieces)

    def parts(self, wanted: Sequence[tuple[str, int, int]]) -> Iterator[bytes]:
        """Reads parts of files at once, without keeping them: of each its path, begin and end."""
        return self.contents.parts([(self._files[path], begin, end) for path, begin, end in wanted])

    def put(self, path: str, last: str) -> None:
        """Puts a file, or the files of a folder, into the bucket; one called `last` when all others are there.

        Raises:
          AccessError: one cannot be written, or somebody else has written it meanwhile; it is kept here then.
        """
        paths = [path] if os.path.isfile(path) else _walk(path)
        ends = [one for one in paths if os.path.basename(one) == last]
        with ThreadPoolExecutor(CONNECTIONS) as pool:
            for group in ([one for one in paths if one not in ends], ends):
                for _ in pool.map(self._put, group):
                    pass

    def _put(self, path: str) -> None:
        base, store = next(pair for pair in self._buckets.items() if path.startswith(f"{self.root}/{pair[0]}/"))
        known = self._files.get(path)
        name = known.object.name if known else os.path.relpath(path, f"{self.root}/{base}")
        try:
            if self.contents.gone:
                raise self.contents.gone
            written = _write(store, name, Path(path), known.object.version if known else None)
        except WmjaxError as error:
            Path(self.root, _KEPT).touch()
            kept = path.replace(self.root, self._kept)
            raise error.saying(f"cannot write {path}: {error}; it will be in {kept}") from error
        file = File(path, store, written, Alike())
        file.whole = True  # and never makes room: it is this process's own
        file.date()
        self._files[path] = file
        if known:
            self.contents.forget(known)

    def remove(self, path: str) -> None:
        """Removes a file or a folder, here and in the bucket."""
        for file in self._below(path):
            with self.contents.told("remove", file):
                file.store.remove(file.object.name)
            self._files.pop(file.path)
            self.contents.forget(file)
        if os.path.isdir(path):
            shutil.rmtree(path, ignore_errors=True)
        else:
            Path(path).unlink(missing_ok=True)

    def _below(self, path: str) -> list[File]:
        """The file of this path, or the files of this folder; what was made here and not put is none."""
        if path in self._files:
            return [self._files[path]]
        return [self._files[one] for one in _walk(path) if one in self._files]


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


def _make() -> tuple[str, int]:
    """A new folder, and the lock on it, which ends with this process: then another one may remove the folder.

    Another one may also remove it before it is locked: then it is made anew.
    """
    while True:
        root = os.path.realpath(tempfile.mkdtemp(prefix=PREFIX))
        with suppress(FileNotFoundError):
            held = os.open(root, os.O_RDONLY)
            fcntl.flock(held, fcntl.LOCK_EX)
            if os.path.exists(root):
                return root, held
            os.close(held)


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
