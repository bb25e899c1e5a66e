"""Writing a family of models as one safetensors file, piece by piece: it need not fit into memory."""

import json
import math
import os
import secrets
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

from wmjax import stores
from wmjax.errors import AccessError, UsageError
from wmjax.files import check_room
from wmjax.suspects.contract import Weights
from wmjax.suspects.formats.safetensors import DTYPES, LARGEST_HEADER, Tensor

_CODES = {dtype: code for code, dtype in DTYPES.items()}
_ALIGN = 64  # where the tensors' bytes begin


class Writer:
    """Writes `[rows, ...]` tensors piece by piece; `write_stacked` makes one."""

    def __init__(self, descriptor: int, shapes: Mapping[str, Any], rows: int, metadata_size: int):
        # Wide types first keeps every tensor aligned to its own elements.
        order = sorted(shapes, key=lambda name: (-shapes[name].dtype.itemsize, name))
        self._descriptor, self._tensors, at = descriptor, {}, 0
        for name in order:
            shape, dtype = (rows, *shapes[name].shape), np.dtype(shapes[name].dtype)
            size = math.prod(shape) * dtype.itemsize
            self._tensors[name] = Tensor(dtype, shape, at, at + size)
            at += size
        room = len(self._header({})) + metadata_size
        self._start = -(-(8 + room) // _ALIGN) * _ALIGN
        self.size, self.finished = self._start + at, False

    def _header(self, metadata: Mapping[str, str]) -> bytes:
        entries = {
            name: {"dtype": _CODES[dtype], "shape": shape, "data_offsets": [begin, end]}
            for name, (dtype, shape, begin, end) in self._tensors.items()
        }
        return json.dumps({"__metadata__": dict(metadata), **entries}, separators=(",", ":")).encode()

    def write(self, row: int, weights: Weights) -> None:
        """Writes models from `row` on; rows that are never written are zeros.

        Args:
          row: of the first.
          weights: the tensors, [n, ...] each, of the types that the file has.
        """
        for name, (dtype, shape, begin, _) in self._tensors.items():
            rows = np.ascontiguousarray(weights[name], dtype)
            place = self._start + begin + row * math.prod(shape[1:]) * dtype.itemsize
            _write_all(self._descriptor, rows.reshape(-1).view(np.uint8).data, place)

    def finish(self, metadata: Mapping[str, str]) -> None:
        """Writes the header, filled up with spaces: what it says of the models is known only now."""
        header = self._header(metadata)
        if len(header) > min(self._start - 8, LARGEST_HEADER):
            raise UsageError(f"metadata of {len(header)} bytes do not fit into the header: pack fewer models at once")
        header = (self._start - 8).to_bytes(8, "little") + header.ljust(self._start - 8)
        _write_all(self._descriptor, memoryview(header), 0)
        self.finished = True


def _write_all(descriptor: int, data: memoryview, place: int) -> None:
    while data:
        count = os.pwrite(descriptor, data, place)
        data, place = data[count:], place + count


@contextmanager
def write_stacked(path: Path, shapes: Mapping[str, Any], rows: int, metadata_size: int) -> Iterator[Writer]:
    """Writes a family of models that need not fit into memory: `Writer.write` as they come, then `Writer.finish`.

    The file appears under its name when the block ends after `finish` and without an error; else nothing is left of it.

    Args:
      path: where.
      shapes: shape and dtype of one model's tensors by name.
      rows: models.
      metadata_size: bytes of JSON that the metadata of `finish` will take at most.

    Raises:
      AccessError: the file cannot be written, or the disk is full.
    """
    beside = path.with_name(f".{path.name}.{secrets.token_hex(4)}")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        descriptor = os.open(beside, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o644)
        try:
            writer = Writer(descriptor, shapes, rows, metadata_size)
            check_room(path.parent, writer.size)
            os.truncate(descriptor, writer.size)
            yield writer
            if writer.finished:
                os.fsync(descriptor)
                beside.rename(path)
        finally:
            os.close(descriptor)
            beside.unlink(missing_ok=True)
    except OSError as error:
        raise AccessError(f"cannot write {path}: {error.strerror}") from error
    if writer.finished:
        stores.put(path)
