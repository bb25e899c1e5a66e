"""The msgpack files of `flax.serialization`: names and places of their arrays, found without taking memory for them.

Flax writes a tree of maps (https://msgpack.org) whose arrays are extensions of type 1: shape, name of the dtype, bytes.
Those of type 3 are its scalars, and restored as what their shape says. Its own reader, and that of the `msgpack`
package, builds all that a file describes: a hostile byte takes a hundred.
"""

import math
import os
import struct
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from wmjax.errors import InvalidFile
from wmjax.suspects.formats.safetensors import Header, Tensor, opened, stamp
from wmjax.zarr import FLOATS

_DEEPEST = 64
_MOST = 1 << 17  # maps, lists and values
_LONGEST = 1 << 24  # characters of all names
_ARRAYS = (1, 3)
_BYTES = np.dtype(np.uint8)
_SMALL = 1 << 10  # bytes that are not an array, and less than any model
_CHUNKED = "__msgpack_chunked_array__"
_SIZED = {  # kind and form of the length behind a first byte
    0xC4: ("bin", ">B"), 0xC5: ("bin", ">H"), 0xC6: ("bin", ">I"),
    0xC7: ("ext", ">B"), 0xC8: ("ext", ">H"), 0xC9: ("ext", ">I"),
    0xD9: ("str", ">B"), 0xDA: ("str", ">H"), 0xDB: ("str", ">I"),
    0xDC: ("list", ">H"), 0xDD: ("list", ">I"), 0xDE: ("map", ">H"), 0xDF: ("map", ">I"),
}  # fmt: skip
_INTEGERS = {0xCC: ">B", 0xCD: ">H", 0xCE: ">I", 0xCF: ">Q"}
_PLAIN = {0xC0: 0, 0xC2: 0, 0xC3: 0, 0xCA: 4, 0xCB: 8, 0xD0: 1, 0xD1: 2, 0xD2: 4, 0xD3: 8}  # bytes behind the first


class _Token(NamedTuple):
    """One value: its kind, its length or number, and where what it holds begins."""

    kind: str
    number: int
    begin: int


def read_msgpack(path: Path) -> Header:
    """The arrays of a file, by their way through its tree as `params/head/kernel`; none is read.

    Raises:
      AccessError: the file cannot be read.
      InvalidFile: it is no such file, damaged, or larger in structure than any model's.
    """
    with opened(path) as (descriptor, status):
        walk = _Walk(descriptor, status.st_size)
        try:
            end = walk.value(0, (), 0)
            if end != status.st_size:
                raise ValueError(f"it has {status.st_size - end} bytes behind its tree")
        except (ValueError, struct.error) as error:
            reason = "it is cut short" if isinstance(error, struct.error) else str(error)
            raise InvalidFile(f"{path} is not a file of flax.serialization, or damaged: {reason}") from error
    return Header(walk.tensors, {}, 0, stamp(status))


class _Walk:
    """A way through a file's tree, and the arrays that it has met."""

    def __init__(self, descriptor: int, size: int):
        self._descriptor, self._size = descriptor, size
        self._values, self._characters = _MOST, _LONGEST
        self.tensors: dict[str, Tensor] = {}

    def value(self, at: int, way: tuple[str, ...], depth: int) -> int:
        """Walks the value at a place; where it ends."""
        self._values -= 1
        if depth > _DEEPEST or self._values < 0:
            raise ValueError("more of it is structure than any model has")
        token = self._token(at)
        if token.kind in ("map", "list"):
            at = token.begin
            for place in range(token.number):
                name, at = self._key(at) if token.kind == "map" else (str(place), at)
                if name == _CHUNKED:
                    raise ValueError("it has an array of more than 1 GiB, which is not read")
                at = self.value(at, (*way, name), depth + 1)
            return at
        if token.kind == "number":
            return token.begin
        if token.kind == "ext" and self._bytes(token.begin, "B")[0] in _ARRAYS:
            self._array(token, way)
        elif token.kind in ("ext", "bin", "str") and _SMALL < token.number <= self._size:
            self._note(way, Tensor(_BYTES, (token.number,), token.begin, self._end(token)))  # another file, perhaps
        return self._end(token)

    def _end(self, token: _Token) -> int:
        end = token.begin + token.number
        if end > self._size:
            raise ValueError("it is cut short")
        return end

    def _key(self, at: int) -> tuple[str, int]:
        """A map's key, and where its value begins."""
        token = self._token(at)
        if token.kind == "number":
            return str(token.number), token.begin
        if token.kind != "str" or token.number > self._characters:
            raise ValueError("a name in its tree is none")
        self._characters -= token.number
        name = os.pread(self._descriptor, token.number, token.begin).decode()
        if not name.isprintable():
            raise ValueError("a name in its tree cannot be shown")
        return name, self._end(token)

    def _array(self, token: _Token, way: tuple[str, ...]) -> None:
        """Notes an array of Flax's."""
        at = token.begin + 1
        whole, sizes = self._token(at), self._token(at + 1)
        if (whole.kind, whole.number, sizes.kind) != ("list", 3, "list") or sizes.number > 32:
            raise ValueError("an array in it has no shape")
        at, shape = sizes.begin, []
        for _ in range(sizes.number):
            size = self._token(at)
            if size.kind != "number" or not 0 <= size.number < 1 << 40:
                raise ValueError("an array in it has no shape")
            shape.append(size.number)
            at = size.begin
        kind = self._token(at)
        if kind.kind != "str" or kind.number > 100:
            raise ValueError("an array in it has no type")
        dtype = _dtype(os.pread(self._descriptor, kind.number, kind.begin).decode())
        values = self._token(self._end(kind))
        end = values.begin + values.number
        if values.kind != "bin" or end != self._end(token) or math.prod(shape) * dtype.itemsize != values.number:
            raise ValueError("an array in it has another size than its shape says")
        self._note(way, Tensor(dtype, tuple(shape), values.begin, end))

    def _note(self, way: tuple[str, ...], tensor: Tensor) -> None:
        name = "/".join(way)
        self._characters -= len(name)
        if name in self.tensors or self._characters < 0:
            raise ValueError("its names are given twice, or longer than any model's")
        self.tensors[name] = tensor

    def _bytes(self, at: int, form: str) -> tuple[Any, ...]:
        return struct.unpack(form, os.pread(self._descriptor, struct.calcsize(form), at))

    def _token(self, at: int) -> _Token:
        """Reads the first bytes of a value."""
        first = self._bytes(at, "B")[0]
        at += 1
        if first < 0x80 or first >= 0xE0:
            return _Token("number", first if first < 0x80 else first - 256, at)
        if first < 0xC0:
            kind = "map" if first < 0x90 else "list" if first < 0xA0 else "str"
            return _Token(kind, first & (31 if kind == "str" else 15), at)
        if first in _SIZED:
            kind, form = _SIZED[first]
            extra = kind == "ext"  # its code is a byte more
            return _Token(kind, self._bytes(at, form)[0] + extra, at + struct.calcsize(form))
        if first in _INTEGERS:
            return _Token("number", self._bytes(at, _INTEGERS[first])[0], at + struct.calcsize(_INTEGERS[first]))
        if 0xD4 <= first <= 0xD8:
            return _Token("ext", (1 << (first - 0xD4)) + 1, at)
        if first in _PLAIN:
            return _Token("other", _PLAIN[first], at)
        raise ValueError("a byte in it begins nothing")


def _dtype(name: str) -> np.dtype[Any]:
    """Of an array, by NumPy's name; objects are none."""
    try:
        dtype: np.dtype[Any] = FLOATS[name] if name in FLOATS else np.dtype(name)
    except TypeError as error:
        raise ValueError(f"an array in it is of type {name!r:.20}") from error
    if name not in FLOATS and (dtype.hasobject or dtype.kind not in "biufc"):
        raise ValueError(f"an array in it is of type {name!r:.20}")
    return dtype
