"""Reading ONNX files as plain graphs.

Everything in a file is a stranger's claim: names, shapes and sizes are checked here, before anything is allocated.
Names are numbered anew in the order of their use, so that files of one architecture give equal graphs.

Which tensors are weights, to be stacked, and which belong to the graph follows from their use: whatever the sizes of
other values follow from is the graph's; so are other whole numbers of 32 or 64 bits, unless they are quantised or many.
"""

import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from wmjax.errors import InvalidFile, UsageError
from wmjax.files import read_bytes
from wmjax.orbax import Tensors
from wmjax.suspects.formats.onnx_aside import aside, handed_on
from wmjax.suspects.formats.onnx_ends import behind, sorted_nodes
from wmjax.suspects.formats.onnx_graph import (
    DOUBLES,
    LARGEST_CONSTANT,
    LARGEST_ROW,
    LARGEST_SIDE,
    MOST_NODES,
    MOST_WEIGHTS,
    WHOLE,
    Graph,
    Node,
)
from wmjax.suspects.formats.onnx_nodes import (
    SMALL,
    attributes_of,
    branches_outside,
    domain,
    quantised,
    shaping,
    without_constants,
)
from wmjax.suspects.formats.onnx_tensors import (
    DOUBLE,
    DTYPES,
    FLOATS,
    Refuse,
    array,
    check_tensor,
    refuser,
    shown,
    structure,
)

_LARGEST = 1 << 31  # bytes of a file: protobuf parses no more
_STRUCTURE = 1 << 22  # bytes of a file that are not weights
OPSETS = (7, 28)  # broadcasting is NumPy's from 7 on; the operators read here are unchanged up to 28
_MOST_CONSTANTS = 1 << 28  # bytes of all tensors that belong to the graph
_INT32, _INT64, _BOOL = 6, 7, 9


def parse(path: Path) -> Any:
    """A file's `onnx.ModelProto`; nothing in it is believed yet.

    Raises:
      UsageError: the `onnx` package is missing.
      AccessError: the file cannot be read.
      InvalidFile: it is damaged, or most of it is not weights.
    """
    try:
        import onnx
        from google.protobuf.message import DecodeError
    except ImportError as error:
        raise UsageError(f"{path} needs the onnx package: pip install 'wmjax[onnx]'") from error
    data = read_bytes(path, _LARGEST)
    try:
        if len(data) > _STRUCTURE and structure(data) > _STRUCTURE:
            raise InvalidFile(f"{path}: more of it is structure than any image classifier has")
        return onnx.ModelProto.FromString(data)
    except (DecodeError, ValueError, MemoryError) as error:
        raise InvalidFile(f"{path} is damaged, or no ONNX file of a classifier: it cannot be parsed") from error


class Read(NamedTuple):
    """What a file holds.

    Attributes:
      graph: what the files of its architecture share.
      weights: the `onnx.TensorProto` of each of its weights, by the graph's name.
      outputs: of each of the graph's outputs what the file calls it, and whether it is to be turned round.
      unused: shapes and dtypes of tensors that no node takes for certain.
    """

    graph: Graph
    weights: dict[str, Any]
    outputs: tuple[tuple[str, bool], ...]
    unused: Tensors


def read_graph(model: Any, path: Path) -> Read:
    """Reads an `onnx.ModelProto`.

    Args:
      model: the parsed file.
      path: where it lies; named in errors.

    Raises:
      InvalidFile: it is not a plain graph of one image input, or contradicts itself.
    """
    refuse = refuser(path)
    opset = _opset(model, refuse)
    tensors = {tensor.name: tensor for tensor in model.graph.initializer}
    if len(tensors) < len(model.graph.initializer):
        refuse("two of its tensors have one name: runtimes take the one or the other")
    if len(model.graph.node) > MOST_NODES or model.graph.sparse_initializer:
        refuse("more nodes than any image classifier has, or sparse weights: neither is read")
    if branches_outside([*model.graph.node, *(node for function in model.functions for node in function.node)]):
        refuse("a branch of it has weights in another file: save them in the model's own file")
    name, image = _image_input(model.graph, tensors, refuse)
    protos, scalars = without_constants(sorted_nodes(model.graph.node, {name, *tensors}), {name}, tensors, refuse)
    names = _Names(tensors, scalars, shaping(protos), quantised(protos), path)
    names.known[name] = "image"
    nodes: list[Node] = []
    doubles = {value.name for value in model.graph.input if value.type.tensor_type.elem_type == DOUBLE} - tensors.keys()
    for proto in protos:
        inputs = tuple(names.used(value) for value in proto.input)
        attributes, unread = attributes_of(proto, path)
        if any(names.is_double(value) or (value in doubles and proto.op_type != "Cast") for value in proto.input):
            unread = DOUBLES
        for output in proto.output:
            names.known.setdefault(output, f"values/{len(names.known)}")
        outputs = tuple(names.known[output] for output in proto.output)
        if not any(outputs):
            refuse(f"operator {shown(proto.op_type)!r} computes nothing")
        nodes.append(Node(domain(proto) + str(proto.op_type), opset, inputs, outputs, attributes, unread))
    found = [behind(names.used(value.name), nodes) for value in model.graph.output]
    called = {known: value for value, known in names.known.items()}
    told = {value: (called[value], False) for value, _ in found}
    for value in dict.fromkeys(value for value, turned in found if turned):
        told[f"turned/{value}"] = called[value], True
        nodes.append(Node("Neg", opset, (value,), (f"turned/{value}",), {}, ""))
    weights = {name: (tuple(tensor.dims), DTYPES[tensor.data_type]) for name, tensor in names.weights.items()}
    if sum(math.prod(shape) * np.dtype(dtype).itemsize for shape, dtype in weights.values()) > MOST_WEIGHTS:
        refuse("its weights take more memory than any image classifier's")
    graph = Graph(tuple(nodes), names.constants, weights, tuple(told), **image)
    taken = ({value for proto in protos for value in proto.input} | names.known.keys()) - handed_on(model)
    unused = aside(model) | {
        name: (tuple(tensor.dims), DTYPES[tensor.data_type])
        for name, tensor in tensors.items()
        if name not in taken and tensor.data_type in DTYPES
    }
    return Read(graph, names.weights, tuple(told.values()), unused)


class _Names:
    """The graph's names of a file's values, given in the order in which these are first used."""

    def __init__(self, tensors: Mapping[str, Any], scalars: set[str], shaping: set[str], quantised: set[str], at: Path):
        self.known: dict[str, str] = {"": ""}
        self.constants: dict[str, np.ndarray] = {}
        self.weights: dict[str, Any] = {}
        self._left = _MOST_CONSTANTS
        self._tensors, self._scalars, self._shaping, self._quantised, self._path = (
            tensors, scalars, shaping, quantised, at
        )  # fmt: skip

    def used(self, value: str) -> str:
        """The name of a value that a node takes."""
        if value not in self.known:
            if value not in self._tensors:
                refuser(self._path)(f"value {shown(value)!r} is used before anything computes it")
            tensor = self._tensors[value]
            check_tensor(tensor, self._path)
            if self._is_weight(value, tensor):
                self.known[value] = f"initializers/{len(self.weights)}"
                self.weights[self.known[value]] = tensor
            else:
                self.known[value] = f"constants/{len(self.constants)}"
                self.constants[self.known[value]] = array(tensor, self._path, double=True)
                self._left -= self.constants[self.known[value]].nbytes
                if self._left < 0:  # many may lie at one place of a small file
                    refuser(self._path)("numbers that belong to its graph take more memory than any image classifier's")
        return self.known[value]

    def is_double(self, value: str) -> bool:
        """Whether it is a weight of 64 bits."""
        return self.known[value] in self.weights and self._tensors[value].data_type == DOUBLE

    def _is_weight(self, value: str, tensor: Any) -> bool:
        if math.prod(tensor.dims) > LARGEST_CONSTANT:
            return True
        if value in self._shaping or value in self._scalars:
            return False
        whole = tensor.data_type in SMALL or (tensor.data_type == _INT32 and value in self._quantised)
        return whole or tensor.data_type in FLOATS


def _opset(model: Any, refuse: Refuse) -> int:
    versions = {entry.version for entry in model.opset_import if entry.domain in ("", "ai.onnx")}
    if len(versions) != 1 or not OPSETS[0] <= min(versions) <= OPSETS[1]:
        found = ", ".join(map(str, sorted(versions))) or "missing"
        refuse(f"operator set {found}: those from {OPSETS[0]} to {OPSETS[1]} are read")
    return int(min(versions))


def _image_input(graph: Any, tensors: Mapping[str, Any], refuse: Refuse) -> tuple[str, dict[str, Any]]:
    """The name of the one input that is not a weight, and the fields of `Graph` that describe it."""
    inputs = [value for value in graph.input if value.name not in tensors]
    if len(inputs) != 1 or not inputs[0].name:
        refuse(f"{len(inputs)} inputs: one that takes images is needed")
    tensor = inputs[0].type.tensor_type
    if tensor.elem_type not in (*FLOATS, *WHOLE):
        refuse("its input has neither floating-point nor whole numbers")
    sizes = [max(0, int(dim.dim_value)) for dim in tensor.shape.dim]
    said = ", ".join(shown(dim.dim_param) or str(dim.dim_value or "?") for dim in tensor.shape.dim[:8])
    common = {"batch": sizes[0] if sizes else 0, "whole": WHOLE.get(tensor.elem_type, "")}
    axes = tuple(sizes[1:])
    if len(axes) in (1, 2) and min(axes) > 0 and max(axes) <= (LARGEST_ROW if len(axes) == 1 else LARGEST_SIDE):
        shape = (0, 0, 0) if len(axes) == 1 else (*axes, 1)
        return inputs[0].name, common | {"axes": axes, "declared": shape, "image": shape, "channels_last": True}
    if len(sizes) != 4 or max(sizes) > LARGEST_SIDE:
        needed = "[n, C, H, W], [n, H, W, C], [n, H, W] or [n, H * W * C]"
        refuse(f"its input has shape [{said}]: images are needed, {needed}")
    image = sizes[1:]
    last = image[2] in (1, 3) or "channel" in tensor.shape.dim[3].dim_param.lower()
    if image[0] in (1, 3) or (image[0] == 0 and not last):
        height, width, channels, channels_last = image[1], image[2], image[0], False
    elif last or image[2] == 0:
        height, width, channels, channels_last = image[0], image[1], image[2], True
    else:
        refuse(f"its input has shape [{said}]: images of 1 or 3 channels are needed")
    shape = (height, width, channels)
    return inputs[0].name, common | {"axes": (), "declared": shape, "image": shape, "channels_last": channels_last}
