"""A graph's values, node by node: in NumPy what follows from the graph alone, else by JAX, within limits.

Whatever a stranger's graph computes is bounded before it is allocated: numbers in a value, products, and what is known
while tracing.
"""

from collections.abc import Callable, Mapping
from functools import partial
from types import MappingProxyType
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array

from wmjax.suspects.formats.onnx_graph import DOUBLES, SIZES, Graph, Node
from wmjax.suspects.formats.onnx_layout import TooManyNumbers
from wmjax.suspects.formats.onnx_ops import OPERATORS
from wmjax.suspects.formats.onnx_shapes import FOLDED
from wmjax.suspects.formats.onnx_tensors import shown
from wmjax.suspects.formats.onnx_windows import conv, products
from wmjax.text import first_line

_LARGEST = 1 << 24  # numbers in one intermediate value, of one image: five times those of a VGG at 224 pixels
_WORK = 1 << 36  # products for one image: four times those of a VGG at 224 pixels
_KNOWN = 1 << 24  # numbers in all values that are known while tracing
_INT32 = np.iinfo(np.int32)
_PICKING = ("ArgMax", "ArgMin", "TopK", "NonZero")  # what they pick are whole numbers of 64 bits
_COUNTING = frozenset((  # operators whose whole numbers may need more than 32 bits
    "Abs", "Add", "BitShift", "CumSum", "Div", "Einsum", "Gemm", "MatMul", "Mod", "Mul", "Neg", "Pow", "ReduceL1",
    "ReduceProd", "ReduceSum", "ReduceSumSquare", "Sub", "Sum",
))  # fmt: skip


_BY_SHAPE = {"Conv": partial(conv, plain=True)}  # most of the time to trace a graph is its fast convolutions


class Unread(ValueError):
    """The graph has what is not computed here; another program may."""


Operators = Mapping[str, Callable[..., Any]]


def run(
    graph: Graph, weights: Mapping[str, Any], pixels: Array, others: Operators = MappingProxyType({})
) -> list[Array]:
    """The graph's outputs, float32.

    Args:
      graph: bound to the images' shape.
      weights: by the graph's names.
      pixels: [n, H, W, C], of the range and type that the graph takes.
      others: operators in the place of those of the same name.

    Raises:
      ValueError: in one line that names the node which cannot be computed; `Unread` where another program may.
    """
    if graph.whole not in ("", "uint8"):
        raise Unread(f"its input of {graph.whole} is not read")
    operators = {**OPERATORS, **others}
    values: dict[str, Any] = {**graph.constants, **weights, "": None}
    values["image"] = pixels if graph.channels_last else jnp.transpose(pixels, (0, 3, 1, 2))
    if graph.axes:
        values["image"] = pixels.reshape(len(pixels), *graph.axes)
    seen = {"image"}  # what depends on pixels
    wide = {name for name, (_, dtype) in graph.weights.items() if dtype == "int32"}  # of 64 bits in the file, perhaps
    known = work = 0
    for number, node in enumerate(graph.nodes):
        what = f"node {number} ({shown(node.op)})"
        if node.op not in operators and node.op not in FOLDED:
            raise Unread(f"{what}: this operator is not read")
        if node.unread == DOUBLES or (node.op in _COUNTING and not wide.isdisjoint(node.inputs)):
            raise Unread(f"{what}: numbers of 64 bits that follow from pixels or weights are not read")
        if node.unread:
            raise Unread(f"{what}: its attribute {shown(node.unread)!r}, a graph or the like, is not read")
        if not all(name in values for name in node.inputs):
            raise Unread(f"{what} uses a further output of another node, which is not computed")
        inputs = [values[name] for name in node.inputs]
        try:
            _check_training(node, seen)
            outs = _outputs(node, inputs, operators)
            work += sum(products(node, inputs, out) for out in outs if out is not None)
        except Exception as error:  # a stranger's graph: whatever JAX or NumPy refuses is wrong with it
            kind = Unread if isinstance(error, NotImplementedError) else ValueError
            raise kind(f"{what}: {shown(first_line(error))}") from error
        known += sum(out.size for out in outs if isinstance(out, np.ndarray))
        most = max((out.size for out in outs if out is not None), default=0)
        if most > _LARGEST * len(pixels) or work > _WORK * len(pixels) or known > _KNOWN:
            raise ValueError(f"{what} computes more numbers than an image classifier does")
        values.update((name, out) for name, out in zip(node.outputs, outs, strict=False) if out is not None)
        if _are_wide(node, inputs, outs, wide):
            wide.update(node.outputs)
        if node.op not in ("Shape", "Size") and not seen.isdisjoint(node.inputs):
            seen.update(node.outputs)
    if not all(name in values for name in graph.outputs):
        raise ValueError("an output of the graph is a further one of a node, which is not computed")
    return [jnp.asarray(values[name]).astype(jnp.float32) for name in graph.outputs]


def shapes(graph: Graph, n: int) -> list[tuple[int, ...]]:
    """Shapes of the outputs for n images, found without computing or allocating anything; raises as `run` does."""
    weights = {name: jax.ShapeDtypeStruct(shape, dtype) for name, (shape, dtype) in graph.weights.items()}
    pixels = jax.ShapeDtypeStruct((n, *graph.image), jnp.uint8 if graph.whole else jnp.float32)
    outputs = jax.eval_shape(lambda weights, pixels: run(graph, weights, pixels, _BY_SHAPE), weights, pixels)
    return [output.shape for output in outputs]


def _outputs(node: Node, inputs: list[Any], operators: Operators = OPERATORS) -> tuple[Any, ...]:
    """What a node computes: NumPy arrays where all it takes are, and they are few numbers, else JAX's."""
    sizes = SIZES.get(node.op, ())
    if all(value is None or isinstance(value, np.ndarray) for value in inputs) and node.op in FOLDED:
        try:
            with np.errstate(all="ignore"):
                return _tuple(FOLDED[node.op](node, *inputs))
        except TooManyNumbers:
            if node.op not in operators:
                raise
            inputs = [value if i in sizes or value is None else _traced(value) for i, value in enumerate(inputs)]
    if node.op not in operators:
        raise NotImplementedError("its values follow from pixels or weights")
    for i, value in enumerate(inputs):
        if i in sizes and value is not None and not isinstance(value, np.ndarray):
            raise NotImplementedError("a size or an axis follows from pixels, weights or too many numbers")
    if _any_double(inputs):
        raise NotImplementedError("numbers of 64 bits beside pixels or weights")
    given = [value if i in sizes else _narrow(value) for i, value in enumerate(inputs)]
    return _tuple(operators[node.op](node, *given))


def _any_double(inputs: list[Any]) -> bool:
    return any(isinstance(value, np.ndarray) and value.dtype == np.float64 for value in inputs)


def _are_wide(node: Node, inputs: list[Any], outs: tuple[Any, ...], wide: set[str]) -> bool:
    """Whether whole numbers that a node gives have 64 bits in the file, where JAX has 32."""
    if not any(isinstance(out, jax.Array) and out.dtype == np.int32 for out in outs):
        return False
    if node.op == "Cast":
        return bool(node.attributes.get("to") == 7)
    known = any(isinstance(value, np.ndarray) and value.dtype == np.int64 for value in inputs)
    return known or node.op in _PICKING or not wide.isdisjoint(node.inputs)


def _tuple(out: Any) -> tuple[Any, ...]:
    outs = out if isinstance(out, tuple) else (out,)
    return tuple(np.asarray(value) if isinstance(value, np.generic) else value for value in outs)


def _traced(value: np.ndarray) -> Array:
    return jnp.asarray(_narrow(value))


def _narrow(value: Any) -> Any:
    """A known value as JAX computes with it: with whole numbers of 32 bits."""
    if not isinstance(value, np.ndarray) or value.dtype not in (np.int64, np.uint64):
        return value
    if value.size and not (_INT32.min <= value.min() and value.max() <= _INT32.max):
        raise ValueError("a whole number of more than 32 bits")
    return value.astype(np.int32)


def _check_training(node: Node, seen: set[str]) -> None:
    if node.op == "BatchNormalization" and node.attributes.get("training_mode", 0) and node.inputs[0] in seen:
        raise ValueError("batch norm in training mode: export the model for inference")
