"""NumPy's `.npz` archives of arrays, as big_vision writes them: read without running anything that lies in them.

An archive of arrays is not a pickle; one of Python objects would be, and is refused.
"""

import dataclasses
import io
import math
import os
import zipfile
import zlib
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any

import ml_dtypes
import numpy as np

from wmjax.errors import AccessError, InvalidFile
from wmjax.orbax import Tensors, fill
from wmjax.suspects.contract import Weights
from wmjax.suspects.formats.safetensors import opened, stamp

_LARGEST_PIECE = 16 << 20  # bytes of the archive's list of contents
_MOST = 1 << 16  # arrays
_DAMAGE = (zipfile.BadZipFile, zlib.error, ValueError, EOFError, RuntimeError, LookupError, OSError)


class _Bounded(io.FileIO):
    """A file of which no large piece is read: not what a hostile archive says of its contents."""

    def read(self, size: int | None = -1, /) -> bytes:
        rest = os.fstat(self.fileno()).st_size - self.tell() if size is None or size < 0 else size
        if rest > _LARGEST_PIECE:
            raise ValueError("its list of contents is larger than any that wmjax reads")
        return super().read(size)


@dataclasses.dataclass(frozen=True, eq=False)
class Npz:
    """An archive as the `Source` of one model.

    Attributes:
      path: of the file.
      stamp: of the file whose contents were listed; one that has changed since is not read.
      names: stored name of each of the network's tensors.
    """

    path: Path
    stamp: tuple[int, int, int]
    names: Mapping[str, str]

    def read(self, start: int, stop: int, out: Weights) -> None:
        """Fills `out[name][0]` with the arrays, converted to its dtype.

        Raises:
          InvalidFile: it is damaged, or not the file any more whose contents were listed.
          AccessError: the file cannot be read.
        """
        with _archive(self.path, io.FileIO) as (archive, found):
            if found != self.stamp:
                raise InvalidFile(f"{self.path} was changed while it was used: start again")
            for name, rows in out.items():
                with archive.open(self.names[name] + ".npy") as member:
                    fill(rows[0, ...], _values(member, rows.shape[1:]))


def read_npz(path: Path) -> tuple[Tensors, tuple[int, int, int]]:
    """Shapes and dtypes of an archive's arrays by name, and the file's stamp; no array is read.

    Raises:
      InvalidFile: it is no such archive, damaged, or holds Python objects.
      AccessError: the file cannot be read.
    """
    tensors: Tensors = {}
    with _archive(path, _Bounded) as (archive, found):
        members = archive.infolist()
        if len(members) > _MOST:
            raise ValueError("it holds more arrays than any model")
        for member in members:
            if not member.filename.endswith(".npy"):
                raise ValueError(f"it holds more than arrays: {member.filename!r:.80}")
            if member.filename.removesuffix(".npy") in tensors:
                raise ValueError(f"it holds {member.filename!r:.80} twice: which is meant is not said")
            with archive.open(member) as opened_member:
                shape, dtype, _ = _described(opened_member)
            tensors[member.filename.removesuffix(".npy")] = shape, str(dtype.newbyteorder("="))
    return tensors, found


@contextmanager
def _archive(path: Path, kind: type[io.FileIO]) -> Iterator[tuple[zipfile.ZipFile, tuple[int, int, int]]]:
    """An open archive, and its file's stamp; whatever is wrong with it is one line."""
    with opened(path) as (descriptor, status):
        try:
            with kind(descriptor, closefd=False) as file, zipfile.ZipFile(file) as archive:
                yield archive, stamp(status)
        except (InvalidFile, AccessError):
            raise
        except _DAMAGE as error:
            reason = f": {error!s:.160}" if type(error) is ValueError else ""
            raise InvalidFile(f"{path} is not an archive of arrays, or damaged{reason}") from error


def _described(member: IO[bytes]) -> tuple[tuple[int, ...], np.dtype[Any], bool]:
    """Shape, dtype and whether columns come first, of the array that begins here."""
    version = np.lib.format.read_magic(member)
    read = {(1, 0): np.lib.format.read_array_header_1_0, (2, 0): np.lib.format.read_array_header_2_0}[version]
    shape, columns_first, dtype = read(member)
    if dtype.hasobject:
        raise ValueError("it holds Python objects, and a pickle can run code")
    return shape, np.dtype(ml_dtypes.bfloat16) if dtype == np.dtype("V2") else dtype, columns_first


def _values(member: IO[bytes], wanted: tuple[int, ...]) -> np.ndarray:
    """The array of a member that must have this shape; no more memory is taken than that needs."""
    shape, dtype, columns_first = _described(member)
    if shape != wanted:
        raise ValueError(f"an array has shape {list(shape)}, its model's has {list(wanted)}")
    size = math.prod(shape) * dtype.itemsize
    raw = member.read(size)
    if len(raw) != size or member.read(1):  # at the end its checksum is compared
        raise ValueError("an array has another size than its shape says")
    return np.frombuffer(raw, dtype).reshape(shape, order="F" if columns_first else "C")
