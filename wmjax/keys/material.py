"""What a key fixes beside its spec before any of its coins is drawn: the arrays that its evidence is computed with.

A key's coins follow from its secret *and* from the digest of these arrays, which is in the spec. So whoever changes a
byte of them has other coins, and nothing in them need be true or honest for the evidence to be exact.
"""

import dataclasses
import hashlib
import math
from collections.abc import Mapping
from functools import cached_property
from typing import Any

import numpy as np

from wmjax.errors import InvalidFile
from wmjax.packed import pack, unpack

LARGEST = 1 << 26  # bytes in all
_MOST_AXES = 4
_DTYPES = ("int8", "uint8", "uint16", "int32", "float32")


@dataclasses.dataclass(frozen=True, eq=False)
class Material:
    """Named arrays, small whole numbers.

    >>> Material({"pairs": np.zeros((2, 2), np.uint16)}).sha256[:12]
    'd1251b612568'

    Attributes:
      arrays: by name.
    """

    arrays: Mapping[str, np.ndarray]

    @cached_property
    def sha256(self) -> str:
        """Hex digest of, array by array in the order of their names, NAME DTYPE SHAPE and a newline, then the bytes.

        Shapes are written like `3000x32`; the bytes are little-endian and in C order.
        """
        sha = hashlib.sha256(b"wmjax-material/1\n")
        for name, array in sorted(self.arrays.items()):
            sha.update(f"{name} {array.dtype.name} {'x'.join(map(str, array.shape))}\n".encode())
            sha.update(_bytes(array))
        return sha.hexdigest()

    def __getitem__(self, name: str) -> np.ndarray:
        return self.arrays[name]

    def to_json(self) -> dict[str, Any]:
        """The arrays as JSON values, compressed."""
        return {name: _packed(array) for name, array in sorted(self.arrays.items())}

    @classmethod
    def from_json(cls, values: Any) -> "Material":
        """Reads `to_json` back; raises `InvalidFile` on anything else, before it takes memory for it."""
        try:
            if any(value["dtype"] not in _DTYPES for value in values.values()):
                raise ValueError("other arrays")
            if sum(_size(value) for value in values.values()) > LARGEST:
                raise ValueError("too many")
            return cls({str(name): _unpacked(value) for name, value in values.items()})
        except (KeyError, TypeError, ValueError, AttributeError, OverflowError) as error:
            raise InvalidFile("the arrays that a key's evidence is computed with cannot be read") from error


def _size(value: Mapping[str, Any]) -> int:
    """Bytes of an array, as it is declared; nothing but whole numbers is multiplied."""
    shape = value["shape"]
    if type(shape) is not list or len(shape) > _MOST_AXES or any(type(n) is not int or n < 0 for n in shape):
        raise ValueError("not a shape")
    return int(math.prod(shape) * np.dtype(value["dtype"]).itemsize)


def _bytes(array: np.ndarray) -> memoryview:
    """Little-endian, in C order; not copied where they lie so."""
    return np.ascontiguousarray(array, array.dtype.newbyteorder("<")).reshape(-1).view(np.uint8).data


def _packed(array: np.ndarray) -> dict[str, Any]:
    return {"dtype": array.dtype.name, "shape": list(array.shape), "data": pack(_bytes(array))}


def _unpacked(value: Mapping[str, Any]) -> np.ndarray:
    shape, dtype = value["shape"], np.dtype(value["dtype"])
    if set(value) != {"dtype", "shape", "data"}:
        raise ValueError("not an array")
    raw = unpack(value["data"], _size(value))
    return np.frombuffer(raw, dtype.newbyteorder("<")).astype(dtype, copy=False).reshape(shape)
