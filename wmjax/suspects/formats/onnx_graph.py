"""ONNX graphs: what files of one architecture share, apart from the weights that it is computed with."""

import base64
import dataclasses
import hashlib
import json
import math
from collections.abc import Mapping
from typing import Any

import numpy as np

from wmjax.errors import InvalidFile
from wmjax.suspects.formats.onnx_tensors import DTYPES
from wmjax.suspects.rows import picture

MICROSOFT = "com.microsoft"  # ONNX Runtime's own operators, which its optimiser and its quantisation write
MOST_NODES = 20_000
MOST_WEIGHTS = 1 << 34  # bytes of all weights
LARGEST_CONSTANT = 1 << 16  # numbers in a tensor that belongs to the graph
LARGEST_SIDE = 4096  # pixels
LARGEST_ROW = 1 << 22  # numbers of an image that is a row
DOUBLES = "float64"  # numbers of 64 bits that follow from pixels or weights: JAX computes with 32
UNIT, BYTES = "0..1", "0..255"  # ranges of pixels that a graph may say it takes
WHOLE = {2: "uint8", 3: "int8", 5: "int16", 6: "int32", 7: "int64"}  # of pixels
_CONSTANTS = frozenset(("float32", "float64", "uint8", "int8", "uint16", "int16", "int32", "int64", "bool"))
# Inputs that must follow from the graph alone, by operator: sizes, axes, and what else shapes depend on.
SIZES: Mapping[str, tuple[int, ...]] = {
    **dict.fromkeys(("ConstantOfShape",), (0,)),
    **dict.fromkeys(("Range",), (0, 1, 2)),
    **dict.fromkeys(("Reshape", "Expand", "Tile", "Squeeze", "Unsqueeze", "Split", "TopK", "OneHot", "Trilu"), (1,)),
    **dict.fromkeys(("ReduceMean", "ReduceSum", "ReduceMax", "ReduceMin", "ReduceProd", "ReduceL1"), (1,)),
    **dict.fromkeys(("ReduceL2", "ReduceSumSquare", "ReduceLogSum", "ReduceLogSumExp", "CumSum", "Upsample"), (1,)),
    **dict.fromkeys(("Slice",), (1, 2, 3, 4)),
    **dict.fromkeys(("Resize",), (1, 2, 3)),
    **dict.fromkeys(("Pad",), (1, 3)),
    **dict.fromkeys(("Dropout",), (2,)),
}


@dataclasses.dataclass(frozen=True)
class Node:
    """One operation.

    Attributes:
      op: ONNX operator; of another domain than ONNX's own, `com.microsoft.QGemm`.
      opset: version of the operators that the file follows.
      inputs, outputs: names of values; empty where an optional one is left out.
      attributes: numbers, strings, and tuples of numbers.
      unread: the name of one that is a graph or the like, or `DOUBLES` where it takes such; empty where there is none.
    """

    op: str
    opset: int
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    attributes: Mapping[str, Any]
    unread: str = ""


@dataclasses.dataclass(frozen=True, eq=False)
class Graph:
    """What the files of an architecture share.

    Attributes:
      nodes: in an order in which they can be computed.
      constants: tensors that belong to the graph, by name.
      weights: shape and dtype of each of the others, `initializers/0`, `initializers/1`, ... in order of first use.
      outputs: names of the graph's outputs; for classes or the best k alone, of the scores that they follow from.
      batch: images that the file takes at once; 0 where it leaves that open.
      declared: height, width and channels as the file has them; 0 where it leaves one open.
      image: those with which it is asked, once they are known.
      channels_last: whether the input is [n, H, W, C], not [n, C, H, W].
      axes: of an image where the input need be no picture: (H * W * C,) of rows, of which `declared` says nothing, and
        (H, W); empty elsewhere.
      whole: type of whole numbers that the input has; empty where it is floating-point.
      pixels: range of pixels that the graph says it takes, `0..1` or `0..255`; empty where it does not.
    """

    nodes: tuple[Node, ...]
    constants: Mapping[str, np.ndarray]
    weights: Mapping[str, tuple[tuple[int, ...], str]]
    outputs: tuple[str, ...]
    batch: int
    declared: tuple[int, int, int]
    image: tuple[int, int, int]
    channels_last: bool
    axes: tuple[int, ...]
    whole: str
    pixels: str = ""

    def fingerprint(self) -> str:
        """Hex digest of all of it."""
        return hashlib.sha256(json.dumps(self.to_json(), sort_keys=True).encode()).hexdigest()

    def unbound(self) -> "Graph":
        """The graph as its file has it."""
        return dataclasses.replace(self, image=self.declared)

    def to_json(self) -> dict[str, Any]:
        """All of it as JSON, for `from_json`."""
        constants = {
            name: [str(value.dtype), value.shape, base64.b64encode(value.tobytes()).decode()]
            for name, value in self.constants.items()
        }
        return {**vars(self), "nodes": [vars(node) for node in self.nodes], "constants": constants}

    def bound(self, image: tuple[int, int, int]) -> "Graph":
        """The graph for images of this shape, as far as it takes them: what it leaves open is set.

        Raises:
          InvalidFile: it takes rows of numbers that are none of such a picture, nor of another usual one.
        """
        if len(self.axes) == 1:
            (row,) = self.axes
            found = picture(row, image)
            if found is None:
                raise InvalidFile(f"its input has rows of {row} numbers: no picture of 1 or 3 channels has so many")
            return dataclasses.replace(self, image=found)
        height, width, channels = (own or asked for own, asked in zip(self.declared, image, strict=True))
        return dataclasses.replace(self, image=(height, width, channels))


def from_json(values: Any) -> Graph:
    """The graph that `to_json` gave; as of a stranger, so that all of it is checked.

    Raises:
      InvalidFile: it is none.
    """
    try:
        content = {**values, "nodes": tuple(map(_node, values["nodes"])), "outputs": _names(values["outputs"])}
        content["constants"] = {_text(name): _constant(*told) for name, told in values["constants"].items()}
        content["weights"] = {_text(name): _weight(*told) for name, told in values["weights"].items()}
        content |= {name: tuple(values[name]) for name in ("declared", "image", "axes")}
        graph = Graph(**content)
    except (KeyError, TypeError, ValueError, AttributeError, OverflowError) as error:
        raise InvalidFile("its graph cannot be read") from error
    sides = (graph.batch, *graph.declared, *graph.image)
    size = sum(math.prod(shape) * np.dtype(dtype).itemsize for shape, dtype in graph.weights.values())
    if (
        not all(type(side) is int and 0 <= side <= LARGEST_SIDE for side in sides)
        or not all(type(side) is int and 0 < side <= LARGEST_ROW for side in graph.axes)
        or (graph.axes and graph.declared != ((*graph.axes, 1) if len(graph.axes) == 2 else (0, 0, 0)))
        or not len(graph.declared) == len(graph.image) == 3
        or type(graph.channels_last) is not bool
        or graph.whole not in ("", *WHOLE.values())
        or graph.pixels not in ("", UNIT, BYTES)
        or len(graph.nodes) > MOST_NODES
        or size > MOST_WEIGHTS
    ):
        raise InvalidFile("its graph is none of an image classifier")
    return graph


def _node(values: Any) -> Node:
    attributes = {_text(name): _attribute(value) for name, value in values["attributes"].items()}
    if type(values["opset"]) is not int:
        raise ValueError("no version")
    whole = {**values, "inputs": _names(values["inputs"]), "outputs": _names(values["outputs"])}
    _names([values["op"], values["unread"]])
    return Node(**{**whole, "attributes": attributes})


def _attribute(value: Any) -> Any:
    if isinstance(value, list) and all(type(number) in (int, float) for number in value):
        return tuple(value)
    if type(value) not in (int, float, str, bool):
        raise ValueError("no attribute")
    return value


def _names(values: Any) -> tuple[str, ...]:
    return tuple(_text(value) for value in list(values))


def _text(value: Any) -> str:
    if not isinstance(value, str):
        raise TypeError("no text")
    return value


def _constant(dtype: str, shape: list[int], data: str) -> np.ndarray:
    if dtype not in _CONSTANTS or math.prod(_shape(shape)) > LARGEST_CONSTANT:
        raise ValueError("no constant")
    return np.frombuffer(base64.b64decode(data, validate=True), dtype).reshape(shape)


def _weight(shape: list[int], dtype: str) -> tuple[tuple[int, ...], str]:
    if dtype not in DTYPES.values():
        raise ValueError("no weight")
    return _shape(shape), dtype


def _shape(sizes: list[int]) -> tuple[int, ...]:
    if len(sizes) > 8 or not all(type(size) is int and size >= 0 for size in sizes):
        raise ValueError("no shape")
    return tuple(sizes)
