"""ONNX files as plain graphs: what is computed apart from the weights that it is computed with.

Everything in a file is a stranger's claim: names, shapes and sizes are checked here, before anything is allocated.
Names are numbered anew in the order of their use, so that files of one architecture give equal graphs.
"""

import dataclasses
import hashlib
import json
import math
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, NoReturn

import numpy as np

from wmjax.errors import InvalidFile
from wmjax.text import printable

OPSETS = (7, 28)  # broadcasting is NumPy's from 7 on; the operators read here are unchanged up to 28
_NODES = 20_000
_SIDE = 4096  # pixels
_CONSTANT = 1 << 16  # numbers in a tensor that belongs to the graph
_FLOATS = {1: "float_data", 10: "int32_data", 11: "double_data", 16: "int32_data"}  # TensorProto.DataType: storage
_INTEGERS = {2: "int32_data", 3: "int32_data", 6: "int32_data", 7: "int64_data", 9: "int32_data"}
_BYTES = {1: 4, 2: 1, 3: 1, 6: 4, 7: 8, 9: 1, 10: 2, 11: 8, 16: 2}
_ATTRIBUTES = {1: "f", 2: "i", 3: "s", 6: "floats", 7: "ints"}  # AttributeProto.AttributeType: field


@dataclasses.dataclass(frozen=True)
class Node:
    """One operation.

    Attributes:
      op: ONNX operator, of the default domain.
      opset: version of the operators that the file follows.
      inputs, outputs: names of values; empty where an optional one is left out.
      attributes: numbers, strings, and tuples of numbers.
    """

    op: str
    opset: int
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    attributes: Mapping[str, Any]


@dataclasses.dataclass(frozen=True, eq=False)
class Graph:
    """What the files of an architecture share.

    Attributes:
      nodes: in an order in which they can be computed.
      constants: tensors that shapes and axes are made of, by name; they belong to the graph.
      weights: shapes of the floating-point tensors, `initializers/0`, `initializers/1`, ... in order of first use.
      outputs: names of the graph's outputs.
      batch: images that the file takes at once; 0 where it leaves that open.
      image: height, width and channels.
      channels_last: whether the input is [n, H, W, C], not [n, C, H, W].
      uint8: whether the input is uint8, not floating-point.
    """

    nodes: tuple[Node, ...]
    constants: Mapping[str, np.ndarray]
    weights: Mapping[str, tuple[int, ...]]
    outputs: tuple[str, ...]
    batch: int
    image: tuple[int, int, int]
    channels_last: bool
    uint8: bool

    def fingerprint(self) -> str:
        """Hex digest of all of it."""
        constants = {k: (str(v.dtype), v.shape, v.tobytes().hex()) for k, v in self.constants.items()}
        content = {**vars(self), "nodes": [vars(node) for node in self.nodes], "constants": constants}
        return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()


def shown(text: str) -> str:
    """A stranger's words, fit for a line of text."""
    return printable(text[:120])


def _refuser(path: Path) -> Callable[[str], NoReturn]:
    def refuse(why: str) -> NoReturn:
        raise InvalidFile(f"{path}: {why}")

    return refuse


def read_graph(model: Any, path: Path) -> tuple[Graph, dict[str, Any]]:
    """Reads an `onnx.ModelProto`.

    Args:
      model: the parsed file.
      path: named in errors.

    Returns:
      the graph, and the `onnx.TensorProto` of each of its weights by the graph's name.

    Raises:
      InvalidFile: it is no plain graph of one image input, or contradicts itself.
    """
    refuse = _refuser(path)
    opset = _opset(model, refuse)
    tensors = {tensor.name: tensor for tensor in model.graph.initializer}
    if len(model.graph.node) > _NODES or model.graph.sparse_initializer:
        refuse("more nodes than any image classifier has, or sparse weights: neither is read")
    name, image = _image_input(model.graph, tensors, refuse)
    known: dict[str, str] = {"": "", name: "image"}
    scalars: set[str] = set()  # single numbers written into the graph by its author's code
    nodes: list[Node] = []
    constants: dict[str, np.ndarray] = {}
    weights: dict[str, Any] = {}

    def use(value: str) -> str:
        if value not in known:
            if value not in tensors:
                refuse(f"value {shown(value)!r} is used before anything computes it")
            tensor = tensors[value]
            _check_tensor(tensor, refuse)
            if tensor.data_type in _FLOATS and value not in scalars:
                known[value] = f"initializers/{len(weights)}"
                weights[known[value]] = tensor
            else:
                known[value] = f"constants/{len(constants)}"
                constants[known[value]] = _constant(tensor, refuse)
        return known[value]

    for proto in model.graph.node:
        if proto.domain not in ("", "ai.onnx"):
            refuse(f"operator {shown(proto.op_type)!r} of domain {shown(proto.domain)!r}: only ONNX's own are read")
        if any(output and (output in known or output in tensors) for output in proto.output):
            refuse(f"value {shown(proto.output[0])!r} is computed twice")
        if proto.op_type == "Constant":
            tensor = _constant_tensor(proto, refuse)
            tensors[proto.output[0]] = tensor
            if math.prod(tensor.dims) == 1:
                scalars.add(proto.output[0])
            continue
        inputs = tuple(use(value) for value in proto.input)
        for output in proto.output:
            known.setdefault(output, f"values/{len(known)}")
        outputs = tuple(known[output] for output in proto.output)
        if not any(outputs):
            refuse(f"operator {shown(proto.op_type)!r} computes nothing")
        nodes.append(Node(proto.op_type, opset, inputs, outputs, _attributes(proto, refuse)))
    outputs = tuple(use(value.name) for value in model.graph.output)
    shapes = {weight: tuple(tensor.dims) for weight, tensor in weights.items()}
    return Graph(tuple(nodes), constants, shapes, outputs, **image), weights


def _opset(model: Any, refuse: Callable[[str], NoReturn]) -> int:
    if model.functions:
        refuse("it defines functions of its own: export it without them")
    versions = [entry.version for entry in model.opset_import if entry.domain in ("", "ai.onnx")]
    if len(versions) != 1 or not OPSETS[0] <= versions[0] <= OPSETS[1]:
        found = ", ".join(map(str, versions)) or "missing"
        refuse(f"operator set {found}: those from {OPSETS[0]} to {OPSETS[1]} are read")
    return int(versions[0])


def _image_input(
    graph: Any, tensors: Mapping[str, Any], refuse: Callable[[str], NoReturn]
) -> tuple[str, dict[str, Any]]:
    """The name of the one input that is no weight, and the fields of `Graph` that describe it."""
    inputs = [value for value in graph.input if value.name not in tensors]
    if len(inputs) != 1 or not inputs[0].name:
        refuse(f"{len(inputs)} inputs: one that takes images is needed")
    tensor = inputs[0].type.tensor_type
    if tensor.elem_type not in (*_FLOATS, 2):
        refuse("its input is neither floating-point nor uint8")
    sizes = [int(dim.dim_value) for dim in tensor.shape.dim]
    if len(sizes) != 4 or not all(1 <= size <= _SIDE for size in sizes[1:]) or not 0 <= sizes[0] <= _SIDE:
        refuse(f"its input has shape {sizes[:8]}: images of a fixed size are needed, [n, C, H, W] or [n, H, W, C]")
    batch, *image = sizes
    if image[0] in (1, 3):
        height, width, channels, channels_last = image[1], image[2], image[0], False
    elif image[2] in (1, 3):
        height, width, channels, channels_last = image[0], image[1], image[2], True
    else:
        refuse(f"its input has shape {sizes}: images of 1 or 3 channels are needed")
    size = (height, width, channels)
    return inputs[0].name, {
        "batch": batch,
        "image": size,
        "channels_last": channels_last,
        "uint8": tensor.elem_type == 2,
    }


def _check_tensor(tensor: Any, refuse: Callable[[str], NoReturn]) -> None:
    """A tensor's numbers lie in this file, and are as many as its shape says."""
    name, code = shown(tensor.name), tensor.data_type
    if tensor.data_location or tensor.external_data:
        refuse(f"tensor {name!r} lies in another file: export it as one file (PyTorch: external_data=False)")
    if code not in _BYTES or tensor.HasField("segment"):
        refuse(f"tensor {name!r} is of a type that is not read: {code}")
    if tensor.raw_data:
        count, rest = divmod(len(tensor.raw_data), _BYTES[code])
    else:
        count, rest = len(getattr(tensor, (_FLOATS | _INTEGERS)[code])), 0
    if rest or min(tensor.dims, default=1) < 0 or len(tensor.dims) > 8 or math.prod(tensor.dims) != count:
        refuse(f"tensor {name!r} holds {count} numbers, not what its shape {list(tensor.dims)[:8]} says")


def array(tensor: Any) -> np.ndarray:
    """The numbers of a tensor that was checked; floating-point ones as float32."""
    from onnx import numpy_helper

    values = numpy_helper.to_array(tensor)
    return values.astype(np.float32) if tensor.data_type in _FLOATS else values


def _constant(tensor: Any, refuse: Callable[[str], NoReturn]) -> np.ndarray:
    if math.prod(tensor.dims) > _CONSTANT:
        refuse(f"tensor {shown(tensor.name)!r}: {math.prod(tensor.dims)} integers are more than shapes need")
    return array(tensor)


def _constant_tensor(proto: Any, refuse: Callable[[str], NoReturn]) -> Any:
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


def _attributes(proto: Any, refuse: Callable[[str], NoReturn]) -> dict[str, Any]:
    attributes: dict[str, Any] = {}
    for attribute in proto.attribute:
        field = _ATTRIBUTES.get(attribute.type)
        if attribute.type == 4 and math.prod(attribute.t.dims) == 1:  # what ConstantOfShape fills with
            _check_tensor(attribute.t, refuse)
            attributes[attribute.name] = array(attribute.t).item()
            continue
        if field is None or attribute.ref_attr_name:
            refuse(
                f"operator {shown(proto.op_type)!r} has attribute {shown(attribute.name)!r}, a graph or the like: "
                "only numbers and strings are read"
            )
        value = getattr(attribute, field)
        if field == "s":
            value = value.decode("ascii", "replace")
        attributes[attribute.name] = tuple(value) if field in ("floats", "ints") else value
    return attributes
