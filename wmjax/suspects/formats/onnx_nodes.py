"""An ONNX file's nodes, as they are read: attributes, constants, and what their use says of the tensors."""

import math
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from wmjax.suspects.formats.onnx_graph import (
    MICROSOFT,
    SIZES,
)
from wmjax.suspects.formats.onnx_tensors import (
    DOUBLE,
    Refuse,
    array,
    check_tensor,
    constant_tensor,
    shown,
)

_ATTRIBUTES = {1: "f", 2: "i", 3: "s", 6: "floats", 7: "ints"}  # AttributeProto.AttributeType: field
SMALL = (2, 3, 4, 5)  # TensorProto.DataType of whole numbers that nothing but quantisation uses
_QUANTISED = {"DequantizeLinear": 0, "QLinearConv": 8, f"{MICROSOFT}.QGemm": 6}  # the input that may be int32 weights


def without_constants(
    nodes: Iterable[Any], known: set[str], tensors: dict[str, Any], refuse: Refuse
) -> tuple[list[Any], set[str]]:
    """The nodes that compute; the tensors of the others, Constants, are added to the rest.

    Also returns the names of single numbers among those, which the author's code wrote into the graph.
    """
    protos, scalars = [], set[str]()
    computed = set(known)
    for proto in nodes:
        if any(output and (output in computed or output in tensors) for output in proto.output):
            refuse(f"value {shown(proto.output[0])!r} is computed twice")
        if proto.op_type == "Constant" and proto.domain in ("", "ai.onnx"):
            tensors[proto.output[0]] = tensor = constant_tensor(proto, refuse)
            if math.prod(tensor.dims) == 1 and tensor.data_type not in SMALL:
                scalars.add(proto.output[0])
        else:
            computed.update(proto.output)
            protos.append(proto)
    return protos, scalars


def shaping(protos: list[Any]) -> set[str]:
    """Names of the values that the sizes of others follow from."""
    found: set[str] = set()
    for proto in reversed(protos):
        found.update(proto.input[i] for i in SIZES.get(proto.op_type, ()) if i < len(proto.input))
        if proto.op_type not in ("Shape", "Size") and any(output in found for output in proto.output):
            found.update(proto.input)
    return found - {""}


def quantised(protos: list[Any]) -> set[str]:
    """Names of the values that, where they are int32 tensors, are quantised weights."""
    places = [(proto, _QUANTISED.get(domain(proto) + proto.op_type, len(proto.input))) for proto in protos]
    return {proto.input[place] for proto, place in places if place < len(proto.input)}


def branches_outside(nodes: Iterable[Any]) -> bool:
    """Whether graphs within nodes have tensors in other files: no digest would tell that these were changed."""
    return any(tensor.data_location for each in attributes_within(nodes) for tensor in tensors_of(each))


def attributes_within(nodes: Iterable[Any]) -> Iterator[Any]:
    """Attributes of nodes, and of those of graphs within them."""
    for attribute in (attribute for node in nodes for attribute in node.attribute):
        yield attribute
        for graph in (attribute.g, *attribute.graphs):
            yield from attributes_within(graph.node)


def tensors_of(attribute: Any) -> list[Any]:
    """The `onnx.TensorProto`s of an attribute, and those that its graphs begin with."""
    inner = [tensor for graph in (attribute.g, *attribute.graphs) for tensor in initial(graph)]
    return [attribute.t, *attribute.tensors, attribute.sparse_tensor.values, *inner]


def initial(graph: Any) -> list[Any]:
    """The tensors that a graph begins with; of sparse ones their values."""
    return [*graph.initializer, *(sparse.values for sparse in graph.sparse_initializer)]


def domain(proto: Any) -> str:
    """What stands before an operator's name; nothing for ONNX's own."""
    return "" if proto.domain in ("", "ai.onnx") else f"{proto.domain}."


def attributes_of(proto: Any, path: Path) -> tuple[dict[str, Any], str]:
    """A node's attributes by name, and the name of one that is not read."""
    attributes: dict[str, Any] = {}
    unread = ""
    for attribute in proto.attribute:
        if not isinstance(attribute.name, str):
            raise TypeError("no text")
        field = _ATTRIBUTES.get(attribute.type)
        if attribute.type == 4 and math.prod(attribute.t.dims) == 1:  # what ConstantOfShape fills with
            check_tensor(attribute.t, path)
            value = array(attribute.t, path).item()
            attributes[attribute.name] = value
            unread = attribute.name if attribute.t.data_type == DOUBLE else unread
            continue
        if field is None or attribute.ref_attr_name:
            unread = attribute.name
            continue
        value = getattr(attribute, field)
        if field == "s":
            value = value.decode("ascii", "replace")
        attributes[attribute.name] = tuple(value) if field in ("floats", "ints") else value
    return attributes, unread
