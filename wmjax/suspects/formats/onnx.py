"""Suspects in ONNX files: each graph becomes a pure JAX function of its initializers.

Files of one architecture give one `Network`, so that thousands of them are stacked and asked in one program. Nothing in
a file is executed: it is parsed by the `onnx` package, read as a graph (`onnx_graph`), and computed by the
operators of `onnx_ops` alone.
"""

import dataclasses
import hashlib
import threading
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array

from wmjax.errors import InvalidFile, UsageError
from wmjax.files import read_bytes
from wmjax.suspects import pixels
from wmjax.suspects.contract import Network, Source, Weights
from wmjax.suspects.formats.onnx_graph import Graph, array, read_graph, shown
from wmjax.suspects.formats.onnx_ops import OPERATORS
from wmjax.suspects.formats.onnx_windows import products
from wmjax.suspects.grounds import AskedGround
from wmjax.text import first_line

_LARGEST = 1 << 24  # numbers in one intermediate value, of one image: five times those of a VGG at 224 pixels
_WORK = 1 << 36  # products for one image: four times those of a VGG at 224 pixels
_BATCH = 64  # images that a file may insist on taking at once
_STRUCTURE = 1 << 22  # bytes of a file that are not weights
_FIELDS = 1 << 16  # parts of a file that are looked at one by one before it is parsed
_networks: dict[str, Network] = {}  # by graph and readings
_lock = threading.Lock()


def open_onnx(path: Path, said: str = "") -> tuple[Network, Source]:
    """An image classifier in an ONNX file; the same `Network` for files that differ in their weights alone.

    Args:
      path: a self-contained file with one image input, [n, C, H, W] or [n, H, W, C] of 1 or 3 channels; scores are its
        first output of shape [n, classes].
      said: how its pixels are prepared, where it does not do that itself; empty: in any usual way.

    Raises:
      UsageError: the `onnx` package is missing.
      AccessError: the file cannot be read.
      InvalidFile: it is damaged, or no such classifier, or has operators that are not read.
    """
    graph, fingerprint, _ = _read(path)
    ways = ("",) if graph.uint8 else pixels.ways(said)
    told = hashlib.sha256(f"{fingerprint} {' '.join(ways)}".encode()).hexdigest()
    with _lock:
        if told not in _networks:
            _networks[told] = _network(graph, told, path, ways)
        return _networks[told], OnnxFile(path, fingerprint)


@dataclasses.dataclass(frozen=True)
class OnnxFile:
    """The one model in a file.

    Attributes:
      path: of the file.
      fingerprint: of its graph when it was opened.
    """

    path: Path
    fingerprint: str

    def read(self, start: int, stop: int, out: Weights) -> None:
        """Fills `out[name][0]` with the file's initializers as float32."""
        _, fingerprint, weights = _read(self.path)
        if fingerprint != self.fingerprint:
            raise InvalidFile(f"{self.path} was changed while it was being read: run the audit again")
        for name, tensor in weights.items():
            out[name][0] = array(tensor)


def _read(path: Path) -> tuple[Graph, str, dict[str, Any]]:
    """A file's graph, its fingerprint, and the tensors of its weights."""
    model = _parse(path)
    try:
        graph, weights = read_graph(model, path)
        return graph, graph.fingerprint(), weights
    except (TypeError, AttributeError, ValueError) as error:  # the parser gives bytes for text that is no UTF-8
        raise InvalidFile(f"{path} is damaged: a name or number in it has no valid form") from error


def _parse(path: Path) -> Any:
    try:
        import onnx
        from google.protobuf.message import DecodeError
    except ImportError as error:
        raise UsageError(f"{path} needs the onnx package: pip install 'wmjax[onnx]'") from error
    data = read_bytes(path)
    try:
        if len(data) > _STRUCTURE and _structure(data) > _STRUCTURE:
            raise InvalidFile(f"{path}: more of it is structure than any image classifier has")
        return onnx.ModelProto.FromString(data)
    except (DecodeError, ValueError, MemoryError) as error:
        raise InvalidFile(f"{path} is damaged, or no ONNX file of a classifier: it cannot be parsed") from error


def _structure(data: bytes) -> int:
    """Bytes of a serialised model that are not the numbers of its initializers.

    A parser makes an object of a hundred bytes of every two bytes of structure, so a large file is measured first.
    Field numbers are those of onnx.proto. Raises `ValueError` where the file is cut short, or made of too many fields.
    """
    rest, budget = len(data), iter(range(_FIELDS))
    for model_field, graph in _fields(memoryview(data), budget):
        for graph_field, tensor in _fields(graph, budget) if model_field == 7 else ():
            for tensor_field, numbers in _fields(tensor, budget) if graph_field == 5 else ():
                if tensor_field in (4, 9):  # float_data and raw_data
                    rest -= len(numbers)
    return rest


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


def _network(graph: Graph, fingerprint: str, path: Path, ways: tuple[str, ...]) -> Network:
    """Checks a graph by tracing it, without computing or allocating anything."""
    batch, output, classes = _plan(graph, path)
    height, width, channels = graph.image

    def logits(weights: Weights, images: Array, reading: Array | int = 0) -> Array:
        prepared = images if graph.uint8 else pixels.prepare(images, ways, reading)
        if batch == 0:
            return _run(graph, weights, prepared)[output]
        filled = jnp.pad(prepared, ((0, -len(images) % batch), (0, 0), (0, 0), (0, 0)))
        groups = filled.reshape(-1, batch, *graph.image)
        scores = jax.vmap(lambda group: _run(graph, weights, group)[output])(groups)
        return scores.reshape(-1, classes)[: len(images)]

    return Network(
        name=f"onnx {height}x{width}x{channels}, {len(graph.nodes)} nodes",
        fingerprint=fingerprint,
        shapes={name: jax.ShapeDtypeStruct(graph.weights[name], jnp.float32) for name in sorted(graph.weights)},
        logits=logits,
        image=graph.image,
        classes=classes,
        readings=ways,
        note=AskedGround.PIXELS_OWN if graph.uint8 else "",
    )


def _plan(graph: Graph, path: Path) -> tuple[int, int, int]:
    """Images that go through the graph at once (0: any number), which output has the scores, and of how many classes.

    A graph with an open batch, or one for a single image, mostly computes any number; where a Reshape has the number
    in it, images go through in groups of that many.
    """
    declared = max(graph.batch, 1)
    shapes = _trace(graph, declared, path)
    found = [i for i, shape in enumerate(shapes) if len(shape) == 2 and shape[0] == declared and shape[1] > 1]
    if not found:
        raise InvalidFile(f"{path}: its outputs have shapes {shapes[:4]}, none of them [images, classes]")
    output, classes = found[0], shapes[found[0]][1]
    try:
        if all(_trace(graph, n, path)[output] == (n, classes) for n in (2, 3)):
            return 0, output, classes
    except InvalidFile:
        pass  # it takes the declared number alone
    if declared > _BATCH:
        raise InvalidFile(f"{path} takes {declared} images at once: export it with a free batch axis")
    return declared, output, classes


def _trace(graph: Graph, n: int, path: Path) -> list[tuple[int, ...]]:
    """Shapes of the outputs for n images, found without computing or allocating anything."""
    weights = {name: jax.ShapeDtypeStruct(shape, jnp.float32) for name, shape in graph.weights.items()}
    images = jax.ShapeDtypeStruct((n, *graph.image), jnp.uint8 if graph.uint8 else jnp.float32)
    try:
        outputs = jax.eval_shape(lambda weights, images: _run(graph, weights, images), weights, images)
    except ValueError as error:
        raise InvalidFile(f"{path}: {error}") from error
    return [output.shape for output in outputs]


def _run(graph: Graph, weights: Mapping[str, Any], images: Array) -> list[Array]:
    """The graph's outputs; raises `ValueError` in one line that names the node where it cannot be computed."""
    taken = images if graph.channels_last else jnp.transpose(images, (0, 3, 1, 2))
    values: dict[str, Any] = {**graph.constants, **weights, "image": taken, "": None}
    work = 0
    for number, node in enumerate(graph.nodes):
        what = f"node {number} ({shown(node.op)})"
        if node.op not in OPERATORS:
            raise ValueError(f"{what}: this operator is not read")
        if not all(name in values for name in node.inputs):
            raise ValueError(f"{what} uses a second output of another node: only first ones are computed")
        inputs = [values[name] for name in node.inputs]
        try:
            out = OPERATORS[node.op](node, *inputs)
            work += products(node, inputs, out)
        except Exception as error:  # a stranger's graph: whatever JAX or NumPy refuses is wrong with it
            reason = first_line(error)
            raise ValueError(f"{what}: {shown(reason)}") from error
        if out.size > _LARGEST * len(images) or work > _WORK * len(images):
            raise ValueError(f"{what} computes more numbers than an image classifier does")
        values[node.outputs[0]] = np.asarray(out) if isinstance(out, np.generic) else out
    if not all(name in values for name in graph.outputs):
        raise ValueError("an output of the graph is the second one of a node: only first ones are computed")
    return [jnp.asarray(values[name]).astype(jnp.float32) for name in graph.outputs]
