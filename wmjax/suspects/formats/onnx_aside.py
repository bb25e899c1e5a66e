"""What an ONNX file holds beside the nodes of its graph, and may be another model: a copy beside a decoy. No JAX.

Functions that the file defines, whether they are called or not; branches, of which one may never be taken; what trains
it. Nothing of this is in force for certain when its users ask it.
"""

from collections.abc import Collection, Iterable, Iterator
from itertools import chain
from typing import Any

from wmjax.orbax import Tensors
from wmjax.suspects.formats.onnx_tensors import DTYPES

_OTHER = "uint8"  # what a type that is not read is taken for


def aside(model: Any) -> Tensors:
    """Shapes and dtypes of an `onnx.ModelProto`'s tensors that are there, under names of their own."""
    trainings = [graph for info in model.training_info for graph in (info.initialization, info.algorithm)]
    held = [_of_nodes(model.graph.node, inner=True), *map(_of_body, [*trainings, *model.functions])]
    found = (told for told in chain.from_iterable(held) if 0 not in told[0])
    return {f"aside {n}": told for n, told in enumerate(found)}


def handed_on(model: Any) -> set[str]:
    """The values that are handed to functions of the file, where one of these may leave some of them out."""
    functions = {(each.domain, each.name) for each in model.functions}
    bodies: list[tuple[Any, Any, Any]] = [(model.graph.node, [value.name for value in model.graph.output], [])]
    bodies += [(each.node, each.output, [*each.input, *_made(each.node)]) for each in model.functions]
    if all(_uses_all(*body, functions) for body in bodies):
        return set()
    return {value for node in model.graph.node if (node.domain, node.op_type) in functions for value in node.input}


def _uses_all(nodes: Iterable[Any], outputs: Iterable[str], made: Iterable[str], functions: Collection[Any]) -> bool:
    """Whether everything that is made in a body is used there, and all that the functions give which it calls."""
    used = {*outputs, *(value for node in nodes for value in node.input)}
    given = _made(node for node in nodes if (node.domain, node.op_type) in functions)
    return used.issuperset(chain(made, given))


def _made(nodes: Iterable[Any]) -> Iterator[str]:
    return (value for node in nodes for value in node.output if value)


def _of_body(body: Any) -> Iterator[tuple[tuple[int, ...], str]]:
    """Of a graph or a function."""
    for attribute in getattr(body, "attribute_proto", ()):
        yield from _of_attribute(attribute)
    for tensor in getattr(body, "initializer", ()):
        yield _told(tensor)
    for sparse in getattr(body, "sparse_initializer", ()):
        yield _told(sparse.values)
    yield from _of_nodes(body.node)


def _of_nodes(nodes: Iterable[Any], *, inner: bool = False) -> Iterator[tuple[tuple[int, ...], str]]:
    """Of all that nodes hold; `inner`: of graphs within them alone."""
    for attribute in (attribute for node in nodes for attribute in node.attribute):
        if not inner:
            yield from _of_attribute(attribute)
        for graph in (attribute.g, *attribute.graphs):
            yield from _of_body(graph)


def _of_attribute(attribute: Any) -> Iterator[tuple[tuple[int, ...], str]]:
    """Of an attribute by itself."""
    yield from map(_told, (attribute.t, *attribute.tensors, attribute.sparse_tensor.values))
    yield (len(attribute.floats) + len(attribute.ints),), "float32"
    yield (len(attribute.s) + sum(map(len, attribute.strings)),), _OTHER


def _told(tensor: Any) -> tuple[tuple[int, ...], str]:
    return (tuple(tensor.dims) if tensor.data_type else (0,)), DTYPES.get(tensor.data_type, _OTHER)
