"""Tensors of Orbax checkpoints, read directly: most of what `ocp.load` takes is fixed work for every tensor,
and what it finds damaged its threads tell in tracebacks.

An Orbax item is a key-value store, an OCDBT database or a folder, of Zarr arrays (version 2 or 3), one for each tensor.
A tensor that lies in one zstd chunk, as Orbax writes them on one device, is fetched and unpacked here; any other
goes through TensorStore's own Zarr drivers.
"""

import dataclasses
import hashlib
import os
import re
import stat
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from wmjax import stores
from wmjax.errors import AccessError, InvalidFile
from wmjax.files import read_bytes
from wmjax.ocdbt import DOCUMENTS, Values, base, context, inside, is_ocdbt
from wmjax.text import first_line
from wmjax.zarr import LARGEST_DOCUMENT, Layout, read_layout, unpack

CHECKPOINT = "_CHECKPOINT_METADATA"  # describes a checkpoint, in its folder
ITEM = "_METADATA"  # lies in every item's folder
_OF_FOLDER = re.compile(r"/[^/]+/(zarr\.json|\.zarray) ")
_EACH_STORED = re.compile(rb'"store_array_data_equal_to_fill_value"\s*:\s*true')  # in an item's description
_LARGEST = 1 << 34  # bytes of a folder whose tensors are not known yet
_MOST_FILES = 1 << 16
_DAMAGE = (ValueError, LookupError, TypeError, AttributeError, ArithmeticError, OSError, RuntimeError, MemoryError)

_PLAIN = {
    "OUT_OF_RANGE": "a file is truncated",
    "NOT_FOUND|No such file": "a file is missing",
    "DATA_LOSS|Error decoding|INVALID_ARGUMENT": "a file is damaged",
    "(?i:zstd)": "a tensor's bytes are damaged",
}

Tensors = dict[str, tuple[tuple[int, ...], str]]  # shape and dtype by stored name


@dataclasses.dataclass(frozen=True, eq=False)
class Folder:
    """An Orbax item as the `Source` of one model.

    Attributes:
      path: folder of the item, which holds `_METADATA`.
      names: stored name ("params.convs.0.kernel") of each tensor by the network's name for it.
      size: bytes that all tensors of the item may take; 0 where that is not known.
      beside: beginnings of the names of what may lie there besides; None where anything may.
      seen: the item's `stamp` when its tensors were looked at; empty where that does not matter.
    """

    path: Path
    names: Mapping[str, str]
    size: int = 0
    beside: tuple[str, ...] | None = None
    seen: str = ""

    def read(self, start: int, stop: int, out: Mapping[str, np.ndarray]) -> None:
        """Fills `out[name][0]` with the tensors, converted to its dtype.

        Raises:
          InvalidFile: a tensor is missing, damaged, or of another shape; or a file was changed since they were seen.
          AccessError: the folder cannot be read.
        """
        wanted = sum(array[:1].nbytes for array in out.values())
        most = max(16 * wanted, min(2 * self.size, _LARGEST))  # a training state takes several times its weights
        before = _check_files(self.path, most + (64 << 20))
        arrays = {self.names[name]: array[0, ...] for name, array in out.items()}
        try:
            _read(self.path, {name: array.shape for name, array in arrays.items()}, lambda: arrays, self.beside)
        except _DAMAGE as error:
            raise InvalidFile(f"{self.path} cannot be read: {_reason(error)}") from error
        finally:
            if self.seen and not self.seen == before == stamp(self.path):
                raise InvalidFile(f"{self.path} was changed while it was used: start again")


def stamp(path: Path) -> str:
    """By which a change of any file of an item is noticed; its description does not change with its numbers.

    Raises:
      InvalidFile: it has links or special files, or more files than any.
      AccessError: the folder cannot be read.
    """
    return _check_files(path, sys.maxsize)


def fill(out: np.ndarray, values: np.ndarray) -> None:
    """Converts numbers into an array of another type; what a float cannot hold becomes infinite.

    >>> fill(np.zeros(1, np.int32), np.array([1 << 32]))
    Traceback (most recent call last):
    wmjax.errors.InvalidFile: it holds a whole number that is too large for int32

    Raises:
      InvalidFile: a whole number does not fit: cut off it would be another one.
    """
    with np.errstate(over="ignore"):
        np.copyto(out, values, casting="unsafe")
    if out.dtype != values.dtype and values.dtype.kind == out.dtype.kind == "i" and not np.array_equal(out, values):
        raise InvalidFile(f"it holds a whole number that is too large for {out.dtype}")


def load(path: Path, like: Mapping[str, Any]) -> Mapping[str, np.ndarray]:
    """Tensors of an item by stored name; no memory is taken before all are known to have the shapes of `like`.

    Raises:
      InvalidFile: a tensor is missing, damaged, or of another shape.
      AccessError: the folder cannot be read.
    """
    _check_files(path, _LARGEST)
    try:
        shapes = {name: tuple(leaf.shape) for name, leaf in like.items()}
        return _read(path, shapes, lambda: {name: np.empty(leaf.shape, leaf.dtype) for name, leaf in like.items()})
    except _DAMAGE as error:
        raise InvalidFile(f"{path} cannot be read: {_reason(error)}") from error


def items(path: Path) -> list[Path]:
    """The folders of a checkpoint's trees: itself, and those of its children that Orbax wrote as trees.

    A database among these is one without its description, too, which can be read all the same.
    """
    own = [path] if (path / ITEM).is_file() else []
    return own + sorted(child for child in path.iterdir() if not child.is_symlink() and _is_item(child))


def _is_item(folder: Path) -> bool:
    if (folder / ITEM).is_file():
        return True
    return is_ocdbt(folder) and not folder.name.startswith("ocdbt.process_")


def tensors(path: Path) -> tuple[Tensors, frozenset[str]]:
    """Shapes and dtypes of an item's arrays by stored name, and those of which chunks are not there; none is read.

    Raises:
      InvalidFile: it is damaged.
      AccessError: the folder cannot be read.
    """
    _check_files(path, _LARGEST)
    try:
        with Values(path) as store:
            found = {name: key for name, keys in store.keys.items() if (key := _document(keys))}
            store.fetch(found, dict.fromkeys(found, LARGEST_DOCUMENT))
            layouts = {name: read_layout(key, bytes(store.value(name, key))) for name, key in found.items()}
            holed = frozenset(name for name, layout in layouts.items() if layout.lacks(store.keys[name]))
    except _DAMAGE as error:
        raise InvalidFile(f"{path} cannot be read: {_reason(error)}") from error
    return {name: (layout.shape, layout.dtype) for name, layout in layouts.items()}, holed


def _reason(error: BaseException) -> str:
    """What is wrong, in plain words where TensorStore and its codecs have others."""
    text = (isinstance(error, OSError) and error.strerror) or first_line(error, 160)
    return next((plain for words, plain in _PLAIN.items() if re.search(words, str(error))), text)


def _check_files(path: Path, most: int) -> str:
    """Refuses links, devices and pipes, which a reader would follow or wait for, and more bytes than can be meant.

    Returns what changes with any of the files: their names, sizes and times, digested.
    """
    total, folders, found = 0, [str(path)], list[str]()
    try:
        while folders:
            with os.scandir(folders.pop()) as entries:
                for entry in entries:
                    status = entry.stat(follow_symlinks=False)
                    if stat.S_ISDIR(status.st_mode):
                        folders.append(entry.path)
                        continue
                    if not stat.S_ISREG(status.st_mode):
                        raise InvalidFile(f"{path} holds a link or special file: copy the checkpoint as plain files")
                    size, time = stores.stamp(entry.path, status)
                    total += size
                    found.append(f"{entry.path[len(str(path)) :]} {size} {time}")
    except FileNotFoundError as error:
        raise InvalidFile(f"{path} is missing") from error
    except OSError as error:
        raise AccessError(f"cannot read {path}: {error.strerror}") from error
    if total > most or len(found) > _MOST_FILES:
        raise InvalidFile(f"{path} has {total >> 20} MiB in {len(found)} files: more than the model it names can take")
    if is_ocdbt(path) and any(map(_OF_FOLDER.match, found)):
        raise InvalidFile(f"{path} holds tensors in folders beside its database: readers take the one or the other")
    return hashlib.sha256("\n".join(sorted(found)).encode(errors="surrogateescape")).hexdigest()


def _document(found: list[bytes]) -> bytes:
    """The description of a tensor, empty where it has none."""
    documents = [key for key in DOCUMENTS if key in found]
    if len(documents) > 1:
        raise ValueError("a tensor of it is described twice: readers take the one or the other")
    return documents[0] if documents else b""


def _read(
    path: Path,
    shapes: Mapping[str, tuple[int, ...]],
    make: Callable[[], Mapping[str, np.ndarray]],
    beside: tuple[str, ...] | None = None,
) -> Mapping[str, np.ndarray]:
    """Fills the arrays that `make` gives, by stored name; it is called when all tensors have these shapes."""
    import pyarrow as pa
    import tensorstore as ts

    codec, whole, others = pa.Codec("zstd"), {}, {}
    with Values(path) as store:
        if beside is not None and (more := [n for n in store.keys if n not in shapes and not n.startswith(beside)]):
            raise ValueError(f"it holds weights beside those of its network: first {min(more):.80}")
        documents = {name: key for name in shapes if (key := _document(store.keys.get(name, [])))}
        store.fetch(documents, dict.fromkeys(documents, LARGEST_DOCUMENT))
        layouts = {name: _checked(store, name, shape) for name, shape in shapes.items()}
        out = make()
        for name, layout in layouts.items():
            found = store.keys[name]
            if layout.chunk and len(found) == 2 and layout.chunk in found:
                whole[name] = layout.chunk
        store.fetch(whole, {name: 2 * layouts[name].size + LARGEST_DOCUMENT for name in whole})
        for name, key in whole.items():
            fill(out[name], unpack(codec, store.value(name, key), layouts[name]))
        if len(whole) < len(layouts):
            store.whole()
            filled = not _is_each_stored(path)
        for name in layouts.keys() - whole:
            place: dict[str, Any] = {"kvstore": {**base(path), "path": inside(path, name)}}
            spec = {"driver": layouts[name].driver, **place, "fill_missing_data_reads": filled}
            others[name] = ts.open(spec, open=True, read=True, context=context())
        for name, values in [(name, opened.result().read()) for name, opened in others.items()]:
            fill(out[name], values.result())
    return out


def _is_each_stored(path: Path) -> bool:
    """Whether an item says that chunks of zeros were written, too: what is missing then was lost, not zeros."""
    file = path / ITEM
    return file.is_file() and _EACH_STORED.search(read_bytes(file)) is not None


def _checked(store: Values, name: str, shape: tuple[int, ...]) -> Layout:
    """How a tensor lies that must have this shape."""
    document = _document(store.keys.get(name, []))
    if not document:
        raise ValueError(f"it has no tensor {name:.80}")
    layout = read_layout(document, bytes(store.value(name, document)))
    if layout.shape != shape:
        raise ValueError(f"tensor {name:.80} has shape {list(layout.shape)}, its model's has {list(shape)}")
    return layout
