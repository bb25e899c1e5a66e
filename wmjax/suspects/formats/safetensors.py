"""The safetensors format: headers that are believed only after every check, and reads into given arrays.

A file is eight bytes of header length (little-endian), a JSON header, and the tensors' bytes without gaps
(https://github.com/huggingface/safetensors). The `safetensors` package reads one file into new arrays; here rows go
straight into arrays that are used again. `wmjax.zoo.writer` writes such files.
"""

import dataclasses
import json
import math
import os
import stat
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import ml_dtypes
import numpy as np

from wmjax import stores
from wmjax.errors import AccessError, InvalidFile
from wmjax.files import read_bytes
from wmjax.orbax import fill
from wmjax.suspects.contract import Weights

DTYPES = {
    "F64": np.dtype(np.float64),
    "F32": np.dtype(np.float32),
    "F16": np.dtype(np.float16),
    "BF16": np.dtype(ml_dtypes.bfloat16),
    "F8_E4M3": np.dtype(ml_dtypes.float8_e4m3fn),
    "F8_E5M2": np.dtype(ml_dtypes.float8_e5m2),
    "C64": np.dtype(np.complex64),
    "I64": np.dtype(np.int64),
    "I32": np.dtype(np.int32),
    "I16": np.dtype(np.int16),
    "I8": np.dtype(np.int8),
    "U64": np.dtype(np.uint64),
    "U32": np.dtype(np.uint32),
    "U16": np.dtype(np.uint16),
    "U8": np.dtype(np.uint8),
    "BOOL": np.dtype(np.bool_),
}
_OTHERS = {"F4", "F6_E2M3", "F6_E3M2", "F8_E8M0"}  # numbers of scaled blocks: meaningless without their scales
INDEX = ".safetensors.index.json"  # ends the name of what tells of a model in several files
LARGEST_HEADER = 32 << 20  # 200,000 packed models; parsing takes up to twenty times the header's size in memory
_LARGEST_RANK = 32
_LARGEST_SIZE = 1 << 48  # bytes of a tensor; NumPy refuses sizes that overflow even where a dimension is zero
_VECTORS = 1024  # buffers that one system call takes at most (IOV_MAX)


class Tensor(NamedTuple):
    """A stored tensor.

    Attributes:
      dtype: of its elements.
      shape: sizes of its dimensions.
      begin, end: where its bytes lie, from the header's end on.
    """

    dtype: np.dtype[Any]
    shape: tuple[int, ...]
    begin: int
    end: int


class Header(NamedTuple):
    """What a file says of itself, checked.

    Attributes:
      tensors: by name, in the order of their bytes.
      metadata: free text by name.
      data_start: bytes before the first tensor.
      stamp: size, time of change and inode of the file that was read, by which a later change is noticed.
    """

    tensors: dict[str, Tensor]
    metadata: dict[str, str]
    data_start: int
    stamp: tuple[int, int, int]


@contextmanager
def opened(path: Path, *, whole: bool = True) -> Iterator[tuple[int, os.stat_result]]:
    """A descriptor for reading, of a regular file only: opening a pipe would wait for ever.

    Args:
      path: of the file.
      whole: its bytes are read through the descriptor; else by `stores.read` and `stores.fetch`.
    """
    with (stores.present if whole else stores.steady)(path), _descriptor(path) as found:
        yield found


@contextmanager
def _descriptor(path: Path) -> Iterator[tuple[int, os.stat_result]]:
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
        try:
            status = os.fstat(descriptor)
            if not stat.S_ISREG(status.st_mode):
                raise InvalidFile(f"{path} is not a regular file")
            yield descriptor, status
        finally:
            os.close(descriptor)
    except OSError as error:
        raise AccessError(f"cannot read {path}: {error.strerror}") from error


def read_header(path: Path) -> Header:
    """Reads and checks a file's header; no tensor is read.

    Raises:
      AccessError: the file cannot be read.
      InvalidFile: it is not a safetensors file, damaged, or cut short.
    """
    with opened(path, whole=False) as (descriptor, status):
        prefix = stores.read(path, descriptor, 8, 0)
        length = int.from_bytes(prefix, "little")
        if len(prefix) < 8 or length > status.st_size - 8:
            raise InvalidFile(f"{path} is not a safetensors file, or cut short: it ends within its header")
        if length > LARGEST_HEADER:
            raise InvalidFile(f"{path}: a header of {length} bytes is larger than any that wmjax reads")
        raw = stores.read(path, descriptor, length, 8)
    try:
        entries, metadata = _parse(raw)
        tensors = {name: _tensor(name, entry) for name, entry in entries.items()}
        tensors = dict(sorted(tensors.items(), key=lambda item: (item[1].begin, item[1].end)))
        _check_places(tensors, status.st_size - 8 - length)
    except (ValueError, RecursionError) as error:
        raise InvalidFile(f"{path} is not a safetensors file, or damaged: {_first_line(error)}") from error
    return Header(tensors, metadata, 8 + length, stamp(status))


def _first_line(error: Exception) -> str:
    if isinstance(error, json.JSONDecodeError | UnicodeDecodeError | RecursionError):
        return "its header is not JSON that can be read"
    return str(error)


def stamp(status: os.stat_result) -> tuple[int, int, int]:
    """By which a file's change is noticed: size, time of change and inode."""
    return status.st_size, status.st_mtime_ns, status.st_ino


def _parse(raw: bytes) -> tuple[dict[str, Any], dict[str, str]]:
    """The header's entries, and its metadata apart."""
    header = json.loads(raw.decode(), object_pairs_hook=_without_duplicates)
    if not isinstance(header, dict):
        raise ValueError("its header is not an object")
    metadata = header.pop("__metadata__", None)
    if metadata is None:
        metadata = {}
    if not isinstance(metadata, dict) or not all(isinstance(value, str) for value in metadata.values()):
        raise ValueError("its metadata are not strings by name")
    return header, metadata


def _without_duplicates(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        raise ValueError("its header gives a name twice")
    return found


def _tensor(name: str, entry: Any) -> Tensor:
    """One entry of the header; `ValueError` where it contradicts itself."""
    what = f"its tensor {name!r:.100}"
    if not name.isprintable() or not isinstance(entry, dict) or set(entry) != {"dtype", "shape", "data_offsets"}:
        raise ValueError(f"{what} is not described as it should be")
    code, shape, offsets = entry["dtype"], entry["shape"], entry["data_offsets"]
    if code in _OTHERS if isinstance(code, str) else False:
        raise InvalidFile(f"{what} is of type {code}, which is not read")
    if not isinstance(code, str) or code not in DTYPES:
        raise ValueError(f"{what} is of type {code!r:.20}; wmjax reads {', '.join(DTYPES)}")
    if not _sizes(shape) or len(shape) > _LARGEST_RANK or not _sizes(offsets) or len(offsets) != 2:
        raise ValueError(f"{what} has no proper shape and place")
    dtype, (begin, end) = DTYPES[code], offsets
    if math.prod(max(n, 1) for n in shape) * dtype.itemsize > _LARGEST_SIZE:
        raise ValueError(f"{what} is larger than any that wmjax reads")
    if math.prod(shape) * dtype.itemsize != end - begin:
        raise ValueError(f"{what} has another size than its place")
    return Tensor(dtype, tuple(shape), begin, end)


def _sizes(values: Any) -> bool:
    """Whether these are non-negative integers; `True` is none."""
    return isinstance(values, list) and all(type(n) is int and n >= 0 for n in values)


def _check_places(tensors: dict[str, Tensor], size: int) -> None:
    """Raises `ValueError` unless the tensors, in the order of their places, fill `size` bytes exactly."""
    at = 0
    for name, tensor in tensors.items():
        if tensor.begin != at:
            raise ValueError(f"its tensor {name!r:.100} does not begin where the one before ends")
        at = tensor.end
    if at > size:
        raise ValueError(f"it is cut short, {size} bytes of tensors are there of {at}")
    if at < size:
        raise ValueError(f"it has {size - at} bytes behind its last tensor")


@dataclasses.dataclass(frozen=True, eq=False)
class File:
    """A file of tensors that lie in it as they are, as a `Source`: one model, or the rows of a packed family.

    Attributes:
      path: where it is.
      header: where they lie; a file that has changed since it was read is not read.
      names: stored name of each of the network's tensors.
      stacked: whether every tensor has a leading axis of models.
    """

    path: Path
    header: Header
    names: Mapping[str, str]
    stacked: bool

    def read(self, start: int, stop: int, out: Weights) -> None:
        """Fills `out[name][: stop - start]`, C-contiguous arrays, with the models of rows `start` to `stop`.

        Shapes are the caller's to compare beforehand; numbers of another type are converted, e.g. bfloat16 to
        float32. Threads may read at once: no position is shared.

        Raises:
          AccessError: the file cannot be read.
          InvalidFile: it is not the file any more whose header was read.
        """
        with opened(self.path, whole=False) as (descriptor, status):
            if stamp(status) != self.header.stamp:
                raise InvalidFile(f"{self.path} was changed while it was used: start again")
            wanted, converted = [], []
            for name, rows in out.items():
                tensor = self.header.tensors[self.names[name]]
                size = (tensor.end - tensor.begin) // (tensor.shape[0] or 1) if self.stacked else 0
                target = rows[: stop - start]
                same = target.dtype == tensor.dtype and tensor.dtype != np.bool_  # a byte 2 makes a broken boolean
                if not same:
                    stored = np.uint8 if tensor.dtype == np.bool_ else tensor.dtype
                    converted.append((target, np.empty(target.shape, stored)))
                    target = converted[-1][1]
                place = self.header.data_start + tensor.begin + start * size
                wanted.append((place, target.reshape(-1).view(np.uint8)))
            self._fill(descriptor, sorted(wanted, key=lambda item: item[0]))
        for target, stored_rows in converted:
            fill(target, stored_rows)

    def _fill(self, descriptor: int, wanted: list[tuple[int, np.ndarray]]) -> None:
        """Reads pieces given in the order of their places; those that adjoin in the file share a system call."""
        pieces = []
        first = 0
        while first < len(wanted):
            place, last, end = wanted[first][0], first, wanted[first][0]
            while last < len(wanted) and wanted[last][0] == end:
                end += wanted[last][1].size
                last += 1
            pieces.append((place, [piece.data for _, piece in wanted[first:last] if piece.size]))
            first = last
        if stores.is_stored(self.path):
            stores.fetch(self.path, pieces)
            return
        for place, views in pieces:
            while views:
                count = os.preadv(descriptor, views[:_VECTORS], place)
                if count == 0:
                    raise InvalidFile(f"{self.path} was cut short while it was read")
                place += count
                views = _rest(views, count)


def read_index(path: Path) -> dict[str, Path]:
    """Where the tensors of a model in several files lie, by the index beside them.

    Raises:
      AccessError: it cannot be read.
      InvalidFile: it is not an index, or one of its files is missing.
    """
    try:
        places = json.loads(read_bytes(path))["weight_map"]
        if not places or not all(isinstance(name, str) and name == Path(name).name for name in places.values()):
            raise ValueError
    except (ValueError, LookupError, TypeError, AttributeError, RecursionError) as error:
        raise InvalidFile(f"{path}: no index that names the files beside it, or a damaged one") from error
    for name in sorted(set(places.values())):
        if not path.with_name(name).exists():
            raise InvalidFile(f"{path}: its file {name!r:.100} is missing")
    return {tensor: path.with_name(name) for tensor, name in places.items()}


def _rest(views: list[memoryview], count: int) -> list[memoryview]:
    """What is left of the buffers after the first `count` bytes."""
    for i, view in enumerate(views):
        if count < len(view):
            return [view[count:], *views[i + 1 :]]
        count -= len(view)
    return []
