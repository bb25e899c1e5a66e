"""Arrays of Zarr, versions 2 and 3, as Orbax writes them: what their documents say, and how a chunk unpacks."""

import dataclasses
import itertools
import json
import math
from collections.abc import Collection, Iterator
from functools import lru_cache
from typing import Any

import ml_dtypes
import numpy as np

FLOATS = {name: np.dtype(name) for name in ("float64", "float32", "float16")} | {
    name: np.dtype(getattr(ml_dtypes, name)) for name in ("bfloat16", "float8_e4m3fn", "float8_e5m2")
}
_V2_NAMES = {"<f8": "float64", "<f4": "float32", "<f2": "float16"}
LARGEST_DOCUMENT = 1 << 16  # bytes of an array's description


@dataclasses.dataclass(frozen=True)
class Layout:
    """How a tensor lies.

    Attributes:
      shape: its own.
      dtype: by its name.
      driver: TensorStore's, which reads it.
      grid: how many chunks it has along each of its sides.
      begin: with what their keys begin; may be empty.
      separator: of that and the places in the grid, in their keys.
      chunk: the key of its only one, None where it has another form.
      sharded: whether that is a shard.
    """

    shape: tuple[int, ...]
    dtype: str
    driver: str
    grid: tuple[int, ...]
    begin: bytes
    separator: bytes
    chunk: bytes | None
    sharded: bool = False

    @property
    def size(self) -> int:
        """Bytes of its numbers, of a type in `FLOATS`."""
        return math.prod(self.shape) * int(FLOATS[self.dtype].itemsize)

    def lacks(self, keys: Collection[bytes]) -> bool:
        """Whether one of its chunks is not among these keys, of which others may be anything."""
        if self.chunk:
            return self.chunk not in keys
        chunks = math.prod(self.grid)
        return chunks > len(keys) or not (chunks == 0 or set(keys).issuperset(self.keys()))

    def keys(self) -> Iterator[bytes]:
        """Of its chunks, by their places in the grid; one of a scalar has none.

        >>> list(Layout((5, 3), "float32", "zarr3", (3, 1), b"c", b"/", None).keys())
        [b'c/0/0', b'c/1/0', b'c/2/0']
        >>> list(Layout((), "float32", "zarr", (), b"", b".", None).keys())
        [b'0']
        """
        begin = (self.begin,) if self.begin else ()
        for places in itertools.product(*([b"%d" % place for place in range(side)] for side in self.grid)):
            yield self.separator.join((*begin, *places)) or b"0"


@lru_cache(maxsize=8192)  # the models of a family have the same documents
def read_layout(key: bytes, document: bytes) -> Layout:
    """Reads a Zarr array's document; raises `ValueError` where it is damaged or would take more than it holds."""
    if len(document) > LARGEST_DOCUMENT:
        raise ValueError("an array's description is too long")
    values = json.loads(document)
    shape = tuple(int(n) for n in values["shape"])
    layout = (_version_2 if key == b".zarray" else _version_3)(values, shape)
    if not all(0 <= n < 1 << 40 for n in shape) or len(shape) > 32 or math.prod(shape) >= 1 << 40:
        raise ValueError(f"an array's shape is {list(shape)!s:.80}")
    return layout


def _version_2(values: dict[str, Any], shape: tuple[int, ...]) -> Layout:
    chunks = _chunks(values["chunks"], shape)
    plain = (values["order"], values.get("filters"), (values["compressor"] or {}).get("id")) == ("C", None, "zstd")
    separator = values.get("dimension_separator", ".")
    key = separator.join("0" * max(1, len(shape))).encode()
    dtype = _V2_NAMES.get(str(values["dtype"]), str(values["dtype"]))
    key = key if plain and chunks == shape and dtype in FLOATS else None
    return Layout(shape, dtype, "zarr", _grid(chunks, shape), b"", separator.encode(), key)


def _version_3(values: dict[str, Any], shape: tuple[int, ...]) -> Layout:
    chunks, named = _chunks(values["chunk_grid"]["configuration"]["chunk_shape"], shape), values["chunk_key_encoding"]
    codecs, sharded = values["codecs"], False
    whole = chunks == shape and named == {"name": "default"}
    if [codec["name"] for codec in codecs] == ["sharding_indexed"]:
        shard, sharded = codecs[0]["configuration"], True
        whole = whole and _chunks(shard["chunk_shape"], shape) == shape
        whole = whole and [codec["name"] for codec in shard["index_codecs"]] == ["bytes", "crc32c"]
        whole = whole and shard.get("index_location", "end") == "end"
        codecs = shard["codecs"]
    little = codecs[0] == {"name": "bytes", "configuration": {"endian": "little"}}
    plain = whole and little and [codec["name"] for codec in codecs] == ["bytes", "zstd"]
    plain = plain and not codecs[1]["configuration"].get("checksum", False) and values["data_type"] in FLOATS
    key = "/".join(["c", *("0" * len(shape))]).encode() if plain else None
    begin, usual = (b"", ".") if named["name"] == "v2" else (b"c", "/")
    separator = named.get("configuration", {}).get("separator", usual).encode()
    return Layout(shape, str(values["data_type"]), "zarr3", _grid(chunks, shape), begin, separator, key, sharded)


def _grid(chunks: tuple[int, ...], shape: tuple[int, ...]) -> tuple[int, ...]:
    return tuple(-(-n // size) for n, size in zip(shape, chunks, strict=True))


def _chunks(chunks: Any, shape: tuple[int, ...]) -> tuple[int, ...]:
    """Of a chunk's shape; a chunk larger than its array would take memory that no tensor needs."""
    sizes = tuple(int(n) for n in chunks)
    if len(sizes) != len(shape) or any(not 1 <= size <= max(1, n) for size, n in zip(sizes, shape, strict=True)):
        raise ValueError(f"an array of shape {list(shape)!s:.80} has chunks of {list(sizes)!s:.80}")
    return sizes


def unpack(codec: Any, chunk: bytes | memoryview, layout: Layout) -> np.ndarray:
    """The tensor of its only chunk; a shard of Zarr 3 ends with place and length of what it holds, and a checksum."""
    packed, dtype = memoryview(chunk), FLOATS[layout.dtype]
    if layout.sharded:
        if len(chunk) < 20:
            raise ValueError("a chunk is truncated")
        at, length = (int(n) for n in np.frombuffer(chunk[-20:-4], "<u8"))
        if at + length > len(chunk):
            raise ValueError("a chunk is truncated")
        packed = packed[at : at + length]
    return np.frombuffer(codec.decompress(packed, decompressed_size=layout.size), dtype).reshape(layout.shape)
