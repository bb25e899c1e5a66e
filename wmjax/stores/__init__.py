"""Object stores: `gs://BUCKET/NAME`, `s3://BUCKET/NAME` and `hf://OWNER/REPOSITORY/NAME` wherever a path is taken.

`place` gives the path under which a file of this machine stands for an object (`mirror` says how); for ordinary paths
it does nothing, and neither do the others here. Whoever opens a file does it within `present`, or reads it by `read`.
"""

import atexit
import contextlib
import importlib
import os
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager
from pathlib import Path

from wmjax.errors import AccessError, UsageError
from wmjax.stores import names
from wmjax.stores.contents import Pieces
from wmjax.stores.contract import Store
from wmjax.stores.mirror import Mirror

_PROVIDERS = {"gs": "wmjax.stores.gs", "s3": "wmjax.stores.s3", "hf": "wmjax.stores.hf"}
_CLIENTS = {"gs": "google-cloud-storage", "s3": "botocore", "hf": "huggingface_hub"}


class _Process:
    """What this process has of stores.

    Attributes:
      owner: its number.
      mirror: None before a store is named.
      listed: what was listed; a later change is noticed, and not followed.
      buckets: by scheme and name.
    """

    def __init__(self) -> None:
        self.owner = os.getpid()
        self.mirror: Mirror | None = None
        self.listed: set[names.Url] = set()
        self.buckets: dict[tuple[str, str], Store] = {}


_process = _Process()


def place(name: str | os.PathLike[str]) -> Path:
    """Where a path, or what stands for an object, is on this machine.

    What begins with the object's name and a slash is listed, and what is beside it.

    >>> place("models/a")
    PosixPath('models/a')

    Raises:
      UsageError: no bucket is named, or what speaks to such stores is not installed.
      AccessError: the bucket is not there, cannot be reached, or may not be listed.
    """
    text = os.fspath(name)
    url = names.parse(text)
    if url is None:
        return Path(text)
    if not url.bucket or (url.scheme == "hf" and "/" not in url.bucket):
        raise UsageError(f"{text}: name a bucket, as gs://BUCKET/NAME, s3://BUCKET/NAME or hf://OWNER/REPOSITORY/NAME")
    mirror = _process.mirror = _process.mirror or Mirror()
    base = f"{url.scheme}/{url.bucket}"
    if url not in _process.listed:
        folder = "/".join(url.name.split("/")[:-1])
        try:
            store = _opened(url)
            beside = list(store.list(folder and f"{folder}/", deep=not url.name))
            below = list(store.list(f"{url.name}/", deep=True)) if url.name else []
        except AccessError as error:
            raise error.saying(f"cannot list {url.scheme}://{url.bucket}/{url.name}: {error}") from error
        mirror.lay(base, store, sorted({*beside, *below}))
        _process.listed.add(url)
    return Path(mirror.root, base, names.local_name(url.name)) if url.name else Path(mirror.root, base)


@atexit.register
def forget() -> None:
    """Removes what was fetched, and has buckets listed anew; a process that was forked off leaves that to its parent.

    Within a process a bucket stays what it was when it was first named: what changes later is noticed, not followed.
    """
    if _process.mirror and os.getpid() == _process.owner:
        _process.mirror.close()
    _process.mirror = None
    _process.listed.clear()
    _process.buckets.clear()


def renew(name: str | os.PathLike[str]) -> None:
    """Has a place listed anew when it is named next: what others wrote there is found, what was known stays."""
    if url := names.parse(os.fspath(name)):
        _process.listed.discard(url)


def _opened(url: names.Url) -> Store:
    known = _process.buckets
    if (url.scheme, url.bucket) not in known:
        try:
            provider = importlib.import_module(_PROVIDERS[url.scheme])
        except ImportError as error:
            client = _CLIENTS[url.scheme]
            raise UsageError(f"{url.scheme}:// needs {client}: pip install 'wmjax[cloud]'") from error
        known[url.scheme, url.bucket] = provider.open_store(url.bucket)
    return known[url.scheme, url.bucket]


def _holder(path: str | os.PathLike[str]) -> tuple[Mirror | None, str]:
    """The mirror that a path lies in, and its absolute form."""
    mirror = _process.mirror
    if mirror is None:
        return None, ""
    text = os.path.abspath(path)
    return (mirror, text) if text.startswith(f"{mirror.root}/") else (None, "")


def is_stored(path: str | os.PathLike[str]) -> bool:
    """Whether a path stands for an object."""
    return _holder(path)[0] is not None


def in_use() -> bool:
    """Whether a store was named."""
    return _process.mirror is not None


def private(name: str | os.PathLike[str]) -> Path:
    """The path of what opens a key or signs for one; raises `UsageError` where it is in a store, which others read."""
    if names.parse(os.fspath(name)) or is_stored(name):
        told = unmirrored(os.fspath(name))
        raise UsageError(f"{told}: what opens a key or signs for one, and a service's token, stay on this machine")
    return Path(name)


def present(path: str | os.PathLike[str]) -> AbstractContextManager[None]:
    """Has a file, or all of a folder, here while a block reads it; raises `AccessError` where it cannot be had."""
    mirror, text = _holder(path)
    return mirror.present(text) if mirror else contextlib.nullcontext()


def steady(path: str | os.PathLike[str]) -> AbstractContextManager[None]:
    """Has a file stay what it is while a block reads pieces of it by `read` and `fetch`."""
    mirror, text = _holder(path)
    return mirror.steady(text) if mirror else contextlib.nullcontext()


def read(path: str | os.PathLike[str], descriptor: int, count: int, at: int) -> bytes:
    """`os.pread` of an open file, wherever its bytes are."""
    mirror, text = _holder(path)
    return mirror.read(text, descriptor, count, at) if mirror else os.pread(descriptor, count, at)


def stamp(path: str | os.PathLike[str], status: os.stat_result) -> tuple[int, int]:
    """A file's size and time of change in ns; of what stands for an object its version's, whatever is fetched of it."""
    mirror, text = _holder(path)
    return mirror.stamp(text, status) if mirror else (status.st_size, status.st_mtime_ns)


def fetch(path: str | os.PathLike[str], pieces: Pieces) -> None:
    """Reads pieces of what stands for an object straight into memory."""
    mirror, text = _holder(path)
    if mirror:
        mirror.fetch(text, pieces)


def parts(wanted: Sequence[tuple[str | os.PathLike[str], int, int]]) -> Iterator[bytes]:
    """Reads parts of what stands for objects, all at once: of each its path, begin and end."""
    mirror, found = _process.mirror, [(os.path.abspath(path), begin, end) for path, begin, end in wanted]
    return mirror.parts(found) if mirror else iter(())


def put(path: str | os.PathLike[str], last: str = "") -> None:
    """Puts what was written here into its bucket: a file, or the files of a folder, one called `last` behind them."""
    mirror, text = _holder(path)
    if mirror:
        mirror.put(text, last)


def remove(path: str | os.PathLike[str]) -> None:
    """Removes a stored file or folder, here and in its bucket."""
    mirror, text = _holder(path)
    if mirror:
        mirror.remove(text)


def check() -> None:
    """Raises `AccessError` where a store could not be reached: what was not read says nothing of what lies there."""
    if _process.mirror and _process.mirror.contents.gone:
        raise AccessError(f"a store cannot be reached: {_process.mirror.contents.gone}")


def unmirrored(text: str) -> str:
    """A text with the names of objects in place of those of files that stand for them."""
    if mirror := _process.mirror:
        for scheme in _PROVIDERS:
            text = text.replace(f"{mirror.root}/{scheme}/", f"{scheme}://")
    return text
