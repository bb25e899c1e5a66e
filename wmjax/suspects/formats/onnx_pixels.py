"""What range of pixels an ONNX graph wants, where its first operators say so."""

import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from wmjax.suspects.formats.onnx_graph import BYTES, UNIT, Graph, Node
from wmjax.suspects.formats.onnx_tensors import array

_MOST = 1 << 21  # numbers in a mean picture
_MOVING = {"Cast", "Identity", "Transpose", "Resize", "Upsample", "Pad", "Squeeze", "Unsqueeze", "Slice", "Gather"}


def pixels_said(graph: Graph, weights: Mapping[str, Any], path: Path) -> str:
    """`0..255` or `0..1` where the graph's first arithmetic shows that its input is of this range; else empty.

    Pixels are of 0..255 where they are bytes, are divided by a number near 255, or a mean above 2 is taken from them;
    of 0..1 where a mean below 1 is taken from them, as of ImageNet, or they are divided by a spread below 1.

    Args:
      graph: as it was read.
      weights: the `onnx.TensorProto` of each of its weights.
      path: of the file.
    """
    if graph.whole:
        return BYTES
    at = "image"
    while len(takers := [node for node in graph.nodes if at in node.inputs]) == 1:
        node = takers[0]
        if node.op in _MOVING and node.inputs[0] == at:
            at = node.outputs[0]
            continue
        numbers = [_numbers(graph, weights, name, path) for name in node.inputs if name != at]
        return "" if any(value is None for value in numbers) else _range(node, at, numbers)
    return ""


def _numbers(graph: Graph, weights: Mapping[str, Any], name: str, path: Path) -> np.ndarray | None:
    """A tensor of the file as float32; None where it is computed, or too large."""
    if name in graph.constants:
        return graph.constants[name].astype(np.float32)
    if name in weights and math.prod(weights[name].dims) <= _MOST:
        return array(weights[name], path).astype(np.float32)
    return None


def _range(node: Node, at: str, numbers: list[Any]) -> str:
    """What the first arithmetic on pixels says, with these numbers beside them."""
    if node.op == "BatchNormalization" and len(numbers) == 4:
        mean, variance = numbers[2], numbers[3]
        return _of_mean(mean) or (BYTES if variance.min() > 100 else "")
    if len(numbers) != 1 or not numbers[0].size or not np.isfinite(numbers[0]).all():
        return ""
    (value,) = numbers
    if node.op == "Sub" and node.inputs[0] == at:
        return _of_mean(value)
    if node.op == "Add":
        return _of_mean(-value)
    if node.op == "Div" and node.inputs[0] == at:
        return _of_spread(value)
    if node.op == "Mul" and (value > 0).all():
        return _of_spread(1 / value)
    return ""


def _of_mean(mean: np.ndarray) -> str:
    if mean.max() > 2:
        return BYTES
    return UNIT if mean.min() > 0.05 and mean.max() < 1 else ""


def _of_spread(spread: np.ndarray) -> str:
    if spread.min() > 30:
        return BYTES
    return UNIT if spread.min() > 0.05 and spread.max() < 0.9 else ""
