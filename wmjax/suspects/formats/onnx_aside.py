"""What an ONNX file holds beside the nodes of its graph, and may be another model: a copy beside a decoy. No JAX.

Functions that the file defines, whether they are called or not; branches, of which one may never be taken; what trains
it; what is written into nodes that no output follows from. Nothing of this is in force for certain when its users ask.
"""

from collections.abc import Collection, Iterable, Iterator
from itertools import chain
from typing import Any

from wmjax.orbax import Tensors
from wmjax.suspects.formats.onnx_nodes import attributes_within, initial, tensors_of
from wmjax.suspects.formats.onnx_tensors import DTYPES

_OTHER = "uint8"  # what a type that is not read is taken for


def aside(model: Any) -> Tensors:
    """Shapes and dtypes of an `onnx.ModelProto`'s tensors that are there, under names of their own."""
    inner = [graph for node in model.graph.node for each in node.attribute for graph in (each.g, *each.graphs)]
    trained = [graph for info in model.training_info for graph in (info.initialization, info.algorithm)]
    told = [_told(tensor) for graph in (*inner, *trained) for tensor in initial(graph)]
    within = attributes_within(node for body in (*inner, *trained, *model.functions) for node in body.node)
    written = chain(within, *(each.attribute_proto for each in model.functions), *_of_idle_nodes(model.graph))
    for attribute in written:
        told += _of_attribute(attribute)
    return {f"aside {n}": each for n, each in enumerate(told) if 0 not in each[0]}


def _of_idle_nodes(graph: Any) -> Iterator[Iterable[Any]]:
    """The attributes of nodes that no output follows from; a tree or a linear model has its numbers there."""
    nodes = list(graph.node)
    makers = {value: at for at, node in enumerate(nodes) for value in node.output}
    todo, reached = [value.name for value in graph.output], set[int]()
    while todo:
        at = makers.get(todo.pop())
        if at is not None and at not in reached:
            reached.add(at)
            todo += nodes[at].input
    return (node.attribute for at, node in enumerate(nodes) if at not in reached)


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


def _of_attribute(attribute: Any) -> list[tuple[tuple[int, ...], str]]:
    numbers = len(attribute.floats) + len(attribute.ints)
    text = len(attribute.s) + sum(map(len, attribute.strings))
    return [*map(_told, tensors_of(attribute)), ((numbers,), "float32"), ((text,), _OTHER)]


def _told(tensor: Any) -> tuple[tuple[int, ...], str]:
    """Its shape and dtype; of none no numbers."""
    return (tuple(tensor.dims) if tensor.data_type else (0,)), DTYPES.get(tensor.data_type, _OTHER)
