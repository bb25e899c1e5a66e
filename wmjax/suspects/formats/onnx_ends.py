"""An ONNX graph from end to end: in which order its nodes are computed, and what its outputs follow from."""

import heapq
from collections.abc import Collection, Iterable, Mapping
from typing import TYPE_CHECKING, Any

from wmjax.orbax import Tensors
from wmjax.suspects.left_over import left_over
from wmjax.suspects.sets import Fit

if TYPE_CHECKING:
    from wmjax.suspects.formats.onnx_graph import Graph, Node

_SHAPING = ("Cast", "Identity", "Squeeze", "Unsqueeze", "Reshape", "Flatten", "Transpose")  # of scores
_RISING = ("Softmax", "LogSoftmax", "Sigmoid", "Log", "Exp", "Tanh")  # the largest stays so


def sorted_nodes(nodes: Iterable[Any], known: set[str]) -> list[Any]:
    """Nodes in an order in which they can be computed: their own, as far as it is one, as ONNX Runtime does it."""
    protos = list(nodes)
    makers = {output: at for at, proto in enumerate(protos) for output in proto.output if output}
    takers: dict[int, list[int]] = {}
    waits = []
    for at, proto in enumerate(protos):
        needs = {makers[name] for name in proto.input if name in makers and name not in known}
        waits.append(len(needs))
        for maker in needs:
            takers.setdefault(maker, []).append(at)
    ready = [at for at, count in enumerate(waits) if not count]  # sorted, so a heap
    found = []
    while ready:
        at = heapq.heappop(ready)
        found.append(at)
        for taker in takers.get(at, ()):
            waits[taker] -= 1
            if not waits[taker]:
                heapq.heappush(ready, taker)
    return [protos[at] for at in found] + [proto for at, proto in enumerate(protos) if waits[at]]


def behind(output: str, nodes: list["Node"]) -> tuple[str, bool]:
    """Of an output that has classes or the best k alone, or no array: the scores that these were chosen by.

    And whether the lowest may be the best: where they were chosen so, or may be turned round at the very end.
    """
    makers = {value: node for node in nodes for value in node.outputs}
    at = output
    while (node := makers.get(at)) and node.op in _SHAPING:
        at = node.inputs[0]
    if node and node.op == "ai.onnx.ml.ZipMap":  # scores under the names of classes
        return node.inputs[0], False
    if node and node.op in ("ArgMax", "ArgMin", "TopK"):
        lowest = node.op == "ArgMin" or not node.attributes.get("largest", 1)
        return node.inputs[0], lowest
    return output, _turned(output, makers)


def _turned(value: str, makers: Mapping[str, "Node"]) -> bool:
    """Whether scores are negated, taken from a constant, or multiplied by one, whose sign a file may choose."""
    while (node := makers.get(value)) and node.op in (*_SHAPING, *_RISING):
        value = node.inputs[0]
    if node is None or node.op == "Neg":
        return node is not None
    given = [name for name in node.inputs if name in makers or name == "image"]
    if len(given) != 1 or len(node.inputs) != 2:
        return False
    return node.op == "Mul" or (node.op == "Sub" and node.inputs[1] == given[0]) or node.op == "Div"


def idle(graph: "Graph", unused: Tensors, classes: Collection[int]) -> bool:
    """Whether what no output of a graph follows from may be another model: a copy beside a decoy.

    Args:
      graph: whose nodes may compute more than its outputs need.
      unused: shapes and dtypes of the file's tensors that none of its nodes takes.
      classes: that its outputs tell apart.
    """
    needed = set(graph.outputs)
    for node in reversed(graph.nodes):
        if not needed.isdisjoint(node.outputs):
            needed.update(node.inputs)
    tensors = {f"initializer {n}": told for n, told in enumerate(unused.values())} | dict(graph.weights)
    used = {name: name for name in graph.weights if name in needed}
    return left_over([Fit(".", used)], tensors, classes) != ""
