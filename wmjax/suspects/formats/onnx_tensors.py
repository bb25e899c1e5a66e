"""Tensors of ONNX files: how many numbers they hold, where those lie, and reading them. Nothing in them is believed."""

import math
import stat
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any, NoReturn

import numpy as np

from wmjax import stores
from wmjax.errors import InvalidFile
from wmjax.suspects.links import bounds, leads_into
from wmjax.text import printable

FLOATS = {1: "float_data", 10: "int32_data", 11: "double_data", 16: "int32_data"}  # TensorProto.DataType: storage
_WHOLE = {2: "int32_data", 3: "int32_data", 4: "int32_data", 5: "int32_data", 6: "int32_data", 7: "int64_data"}
STORAGE = FLOATS | _WHOLE | {9: "int32_data"}
_BYTES = {1: 4, 2: 1, 3: 1, 4: 2, 5: 2, 6: 4, 7: 8, 9: 1, 10: 2, 11: 8, 16: 2}
# As they are computed with: float32, and whole numbers of at most 32 bits, as JAX has them.
DTYPES = {**dict.fromkeys(FLOATS, "float32"), 2: "uint8", 3: "int8", 4: "uint16", 5: "int16", 6: "int32", 7: "int32"}
DTYPES[9] = "bool"
_STORED = {1: "<f4", 2: "u1", 3: "i1", 4: "<u2", 5: "<i2", 6: "<i4", 7: "<i8", 9: "?", 10: "<f2", 11: "<f8"}
DOUBLE, _BFLOAT16 = 11, 16
_FIELDS = 1 << 16  # parts of a file that are looked at one by one before it is parsed
_SMALL = 1 << 12  # bytes of a node that holds no weights worth counting
Refuse = Callable[[str], NoReturn]


def shown(text: str) -> str:
    """A stranger's words, fit for a line of text."""
    return printable(text[:120])


def refuser(path: Path) -> Refuse:
    """What raises `InvalidFile` with a reason, of this file."""

    def refuse(why: str) -> NoReturn:
        raise InvalidFile(f"{path}: {why}")

    return refuse


def check_tensor(tensor: Any, path: Path) -> None:
    """Raises `InvalidFile` unless a tensor's numbers are as many as its shape says, here or in a file beside `path`."""
    refuse, name, code = refuser(path), shown(tensor.name), tensor.data_type
    if code not in _BYTES or tensor.HasField("segment"):
        refuse(f"tensor {name!r} is of a type that is not read: {code}")
    if tensor.data_location:
        count, rest = divmod(_outside(tensor, path)[2], _BYTES[code])
    elif tensor.raw_data:
        count, rest = divmod(len(tensor.raw_data), _BYTES[code])
    else:
        count, rest = len(getattr(tensor, STORAGE[code])), 0
    if rest or min(tensor.dims, default=1) < 0 or len(tensor.dims) > 8 or math.prod(tensor.dims) != count:
        refuse(f"tensor {name!r} holds {count} numbers, not what its shape {list(tensor.dims)[:8]} says")


def array(tensor: Any, path: Path, *, double: bool = False) -> np.ndarray:
    """The numbers of a tensor that was checked: float32, whole numbers as they are stored, or bool.

    Those of 64 bits stay so with `double`.
    """
    from onnx import numpy_helper

    values = _read_outside(tensor, path) if tensor.data_location else numpy_helper.to_array(tensor)
    if tensor.data_type not in FLOATS or (double and tensor.data_type == DOUBLE):
        return values
    return values.astype(np.float32)


def data_file(tensors: list[Any], path: Path) -> Path:
    """The file whose change means other weights: the one beside, where any tensor lies there."""
    return next((_outside(tensor, path)[0] for tensor in tensors if tensor.data_location), path)


def files_of(tensors: Iterable[Any], path: Path) -> set[Path]:
    """The model's file, and those beside it that hold tensors."""
    return {path, *(_outside(tensor, path)[0] for tensor in tensors if tensor.data_location)}


def _outside(tensor: Any, path: Path) -> tuple[Path, int, int]:
    """The file beside the model's that has a tensor's numbers, and where in it they begin and how many bytes they are.

    It lies in the model's own folder; a link there may lead as far as any in that folder may.
    """
    refuse, name = refuser(path), shown(tensor.name)
    said = {entry.key: entry.value for entry in tensor.external_data}
    location = said.get("location", "")
    parts = location.split("/")
    if not location or "\0" in location or "\\" in location or location.startswith("/") or ".." in parts:
        refuse(f"tensor {name!r} lies in {shown(location)!r}, which is not a file beside it")
    beside = path.parent / location
    if not leads_into(beside, bounds(path.parent.resolve())):
        refuse(f"tensor {name!r} lies in {shown(location)!r}, a link that leaves its folder")
    try:
        status = beside.stat()
    except OSError:
        refuse(f"tensor {name!r} lies in {shown(location)!r}, which is not there: put it beside the model")
    if not stat.S_ISREG(status.st_mode):
        refuse(f"tensor {name!r} lies in {shown(location)!r}, which is not a regular file")
    offset, length = (_whole(said.get(key, "0")) for key in ("offset", "length"))
    if offset is None or length is None:
        refuse(f"tensor {name!r} lies at no valid place of {shown(location)!r}")
    length = length if "length" in said else math.prod(tensor.dims) * _BYTES[tensor.data_type]
    if offset + length > status.st_size or min(tensor.dims, default=1) < 0:
        refuse(f"tensor {name!r} lies beyond the end of {shown(location)!r}: that file is incomplete")
    return beside, offset, length


def _whole(text: str) -> int | None:
    return int(text) if text.isascii() and text.isdigit() and len(text) < 19 else None


def _read_outside(tensor: Any, path: Path) -> np.ndarray:
    beside, offset, length = _outside(tensor, path)
    with stores.present(beside), beside.open("rb") as file:
        file.seek(offset)
        data = file.read(length)
    if len(data) < length:
        raise InvalidFile(f"{path} was changed while it was being read: run the audit again")
    if tensor.data_type == _BFLOAT16:
        values = (np.frombuffer(data, "<u2").astype(np.uint32) << 16).view(np.float32)
    else:
        values = np.frombuffer(data, _STORED[tensor.data_type])
    return values.reshape(tuple(tensor.dims))


def constant_tensor(proto: Any, refuse: Refuse) -> Any:
    """The tensor that a Constant node holds in one of five forms."""
    from onnx import numpy_helper

    if len(proto.attribute) != 1 or len(proto.output) != 1:
        refuse("a Constant node does not hold one value")
    (attribute,) = proto.attribute
    if attribute.name == "value":
        return attribute.t
    if attribute.name in ("value_float", "value_floats"):
        values = attribute.f if attribute.name == "value_float" else list(attribute.floats)
        return numpy_helper.from_array(np.asarray(values, np.float32))
    if attribute.name in ("value_int", "value_ints"):
        values = attribute.i if attribute.name == "value_int" else list(attribute.ints)
        return numpy_helper.from_array(np.asarray(values, np.int64))
    refuse(f"a Constant node holds {shown(attribute.name)!r}: only numbers are read")


def structure(data: bytes) -> int:
    """Bytes of a serialised model that are not the numbers of its tensors.

    A parser makes an object of a hundred bytes of every two bytes of structure, so a large file is measured first.
    Field numbers are those of onnx.proto. Raises `ValueError` where the file is cut short, or made of too many fields.
    """
    rest, budget = len(data), iter(range(_FIELDS))
    for model_field, graph in _fields(memoryview(data), budget):
        for graph_field, part in _fields(graph, budget) if model_field == 7 else ():
            if graph_field == 5:  # an initializer
                rest -= _numbers(part, budget)
            if graph_field == 1 and len(part) > _SMALL:  # a node, perhaps a Constant
                for node_field, attribute in _fields(part, budget):
                    for attribute_field, tensor in _fields(attribute, budget) if node_field == 5 else ():
                        rest -= _numbers(tensor, budget) if attribute_field == 5 else 0
    return rest


def _numbers(tensor: memoryview, budget: Iterator[int]) -> int:
    """Bytes of a tensor's float_data and raw_data."""
    return sum(len(numbers) for field, numbers in _fields(tensor, budget) if field in (4, 9))


def _fields(message: memoryview, budget: Iterator[int]) -> Iterator[tuple[int, memoryview]]:
    """The fields of a protobuf message that have a length, by number; each field takes one from the budget."""
    at = 0

    def varint() -> int:
        nonlocal at
        value, shift = 0, 0
        while shift < 70 and at < len(message):
            byte = message[at]
            at, value, shift = at + 1, value | (byte & 127) << shift, shift + 7
            if byte < 128:
                return value
        raise ValueError("cut short")

    while at < len(message):
        number, kind = divmod(varint(), 8)
        size = {0: 0, 1: 8, 5: 4}.get(kind)
        if kind == 0:
            varint()
        elif kind == 2:
            size = varint()
            yield number, message[at : at + size]
        if size is None or at + size > len(message) or next(budget, None) is None:
            raise ValueError("cut short, or made of too many fields")
        at += size
