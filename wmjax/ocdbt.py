"""An Orbax item's values by key: in an OCDBT database, whose tree is read at once, or in a folder; by TensorStore."""

import os
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import ExitStack
from functools import lru_cache
from pathlib import Path
from typing import Any

from wmjax import stores

DOCUMENTS = (b"zarr.json", b".zarray")  # what describes a tensor
_ITEM = b"_METADATA"
_DEEPEST = 34  # slashes in what follows a tensor's name: it has 32 sides at most


@lru_cache(maxsize=1)
def context() -> Any:
    """One pool of threads for all checkpoints, and no cache: nothing is read twice."""
    import tensorstore as ts

    return ts.Context({"cache_pool": {"total_bytes_limit": 0}})


def base(path: Path) -> dict[str, Any]:
    """Where an item's store is, as TensorStore takes it."""
    folder = {"driver": "file", "path": f"{path.resolve()}/"}
    return {"driver": "ocdbt", "base": folder} if is_ocdbt(path) else folder


def is_ocdbt(path: Path) -> bool:
    """Whether an item's tensors lie in a database."""
    return (path / "manifest.ocdbt").is_file()


class Values:
    """An item's values by key: inline, or a place in one of its files. To be closed.

    Attributes:
      keys: what follows a tensor's name by the name.
    """

    def __init__(self, path: Path):
        self._path, self._files, self._opened = path, dict[str, int](), ExitStack()
        self._here: dict[str, memoryview] = {}  # by place
        self._places: dict[bytes, Any] = {}
        self.keys: dict[str, list[bytes]] = {}

    def __enter__(self) -> "Values":
        import tensorstore as ts

        with ExitStack() as opened:
            self._places = _places(self._path) if is_ocdbt(self._path) else {}
            if not self._places:
                opened.enter_context(stores.present(self._path))
                self._store = ts.KvStore.open(base(self._path), context=context()).result()
            for name, rest in _named(list(self._places or self._store.list().result())):
                self.keys.setdefault(name.decode(), []).append(rest)
            self._opened = opened.pop_all()
        return self

    def whole(self) -> None:
        """Has all files here that lie in a bucket, for those who read them on their own."""
        self._opened.enter_context(stores.present(self._path))

    def value(self, name: str, key: bytes) -> bytes | memoryview:
        """What a key holds."""
        whole = name.encode() + b"/" + key
        if not self._places:
            found: bytes = self._store.read(whole).result().value
            return found
        place = self._places[whole]
        return place if isinstance(place, bytes) else self._piece(place)

    def fetch(self, keys: Mapping[str, bytes], most: Mapping[str, int]) -> None:
        """Has the values of keys that lie in a bucket here, in as few requests as may be.

        Args:
          keys: by name.
          most: bytes that each may have, by name: a hostile tree may name one piece many times.
        """
        if not self._places or not stores.is_stored(self._path):
            return
        pieces: dict[str, tuple[int, int]] = {}
        for name, key in keys.items():
            place = self._places[name.encode() + b"/" + key]
            if isinstance(place, str) and place not in self._here:
                where, at, length = _parsed(place)
                if length > most[name]:
                    raise ValueError(f"tensor {name:.80} is larger than it can be")
                self._open(where, at + length)
                pieces[place] = 0, 0
        joined: list[tuple[str, int, int]] = []  # those that adjoin, as one
        for place in sorted(pieces, key=_parsed):
            where, at, length = _parsed(place)
            if not joined or joined[-1][::2] != (where, at):
                joined.append((where, at, at))
            joined[-1] = (where, joined[-1][1], at + length)
            pieces[place] = len(joined) - 1, at - joined[-1][1]
        found = [memoryview(data) for data in stores.parts([(self._path / one, at, end) for one, at, end in joined])]
        for place, (number, at) in pieces.items():
            self._here[place] = found[number][at : at + _parsed(place)[2]]

    def _piece(self, place: str) -> bytes | memoryview:
        if place in self._here:
            return self._here.pop(place)
        where, at, length = _parsed(place)
        return stores.read(self._path / where, self._open(where, at + length), length, at)

    def _open(self, where: str, end: int) -> int:
        """A file of at least so many bytes; a hostile tree may point out of the item, or past an end.

        By its name alone: `wmjax.orbax` has seen that nothing in the item is a link.
        """
        if where not in self._files:
            file = self._path / where
            if not os.path.abspath(file).startswith(f"{os.path.abspath(self._path)}/"):
                raise ValueError("it points to a file outside of it")
            self._files[where] = os.open(file, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
            self._opened.callback(os.close, self._files[where])
        if end > os.fstat(self._files[where]).st_size:
            raise ValueError("a file is truncated")
        return self._files[where]

    def __exit__(self, *ignored: object) -> None:
        self._opened.close()


def _named(keys: Sequence[bytes]) -> Iterator[tuple[bytes, bytes]]:
    """Keys as a tensor's name, which may have slashes, and what follows it; those of items within are another store's.

    >>> list(_named([b"a/b/.zarray", b"a/b/0.0", b"c/0.0", b"d/_METADATA", b"d/e/.zarray"]))
    [(b'a/b', b'.zarray'), (b'a/b', b'0.0'), (b'c', b'0.0')]
    """
    ways = [key.rpartition(b"/") for key in keys]
    items = {way for way, _, last in ways if last == _ITEM and way}
    deep = {way for way, _, last in ways if last in DOCUMENTS and b"/" in way}
    yield from (_split(key, deep) for key in keys if key.partition(b"/")[0] not in items)


def _split(key: bytes, deep: Collection[bytes]) -> tuple[bytes, bytes]:
    """A key's tensor and what follows it: of names with slashes the longest that fits, else all up to the first one."""
    parts = key.rsplit(b"/", _DEEPEST) if deep else []
    for end in range(len(parts) - 1, 0, -1):
        if (name := b"/".join(parts[:end])) in deep:
            return name, b"/".join(parts[end:])
    name, _, rest = key.partition(b"/")
    return name, rest


def _parsed(place: str) -> tuple[str, int, int]:
    """File, offset and length of `value:FOLDER:FILE:OFFSET:LENGTH`; the folder ends with a slash, or is empty."""
    where, at, length = place.partition(":")[2].rsplit(":", 2)
    return where.replace(":", "", 1), int(at), int(length)


def _places(path: Path) -> dict[bytes, Any]:
    """Where an OCDBT database's values lie, read from its root at once: `KvStore.read` goes through it for each.

    Empty where its tree has several nodes, which takes some hundred thousand tensors.
    """
    import tensorstore as ts

    folder = ts.KvStore.open({"driver": "file", "path": f"{path.resolve()}/"}, context=context()).result()
    with stores.present(path / "manifest.ocdbt"):
        newest = ts.ocdbt.dump(folder).result()["versions"][-1]
    if newest["root_height"]:
        return {}
    place = newest["root"]["location"]
    with stores.present(path / _parsed(place)[0]):
        entries = ts.ocdbt.dump(folder, place).result()["entries"]
    return {entry["key"]: entry.get("inline_value", entry.get("indirect_value")) for entry in entries}


def inside(path: Path, name: str) -> str:
    """Where a tensor lies in its store: OCDBT counts from its own root, a folder from the file system's."""
    return f"{name}/" if is_ocdbt(path) else f"{path.resolve()}/{name}/"
