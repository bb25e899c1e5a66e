"""Suspects in ONNX files: each graph becomes a pure JAX function of its weights.

Files of one architecture give one `Network`, so that thousands of them are stacked and asked in one program. Nothing in
a file is executed: it is parsed by the `onnx` package, read as a graph (`onnx_graph`), and computed by the operators
of `onnx_ops` alone (`onnx_run`).
"""

import dataclasses
import hashlib
import threading
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array

from wmjax.errors import InvalidFile, UsageError
from wmjax.orbax import Tensors
from wmjax.suspects import outputs, pixels
from wmjax.suspects.contract import Askable, Image, Network, Wanted, Weights
from wmjax.suspects.formats.onnx_ends import idle
from wmjax.suspects.formats.onnx_graph import Graph, from_json
from wmjax.suspects.formats.onnx_pixels import pixels_said
from wmjax.suspects.formats.onnx_read import Read, parse, read_graph
from wmjax.suspects.formats.onnx_run import Unread
from wmjax.suspects.formats.onnx_runtime import Stamps, asked_by_runtime, installed, note_of, stamps
from wmjax.suspects.formats.onnx_scores import plan, scores
from wmjax.suspects.formats.onnx_tensors import array, data_file, files_of
from wmjax.suspects.outputs import Output
from wmjax.suspects.ways import readings as names_of

_SCALES = (1, 2, 4, 8)  # of images for a graph that takes any size, but none as small as a key's
_PRODUCTS = ("Attention", "Conv", "Einsum", "Gemm", "MatMul")  # in the names of operators that are slow to compile
_networks: dict[str, Network] = {}
_lock = threading.Lock()


@dataclasses.dataclass(frozen=True)
class OnnxFile:
    """The one model in a file.

    Attributes:
      path: of the file.
      fingerprint: of its graph when it was opened.
      held: the file that has its weights: its own, or the first one beside it.
      parts: files beside it that have some.
      wanted: how it is asked.
      before: the stamps of its files then.
    """

    path: Path
    fingerprint: str
    held: Path
    parts: tuple[Path, ...]
    wanted: Wanted
    before: Stamps

    def read(self, start: int, stop: int, out: Weights) -> None:
        """Fills `out[name][0]` with the file's weights: floating-point ones as float32, others as they are.

        Of a model that can only be asked none is wanted.
        """
        read = self._again()
        for name, stacked in out.items():
            values = array(read.weights[name], self.path)
            stacked[0] = values
            if values.dtype == np.int64 and (stacked[0] != values).any():
                raise InvalidFile(f"{self.path}: one of its weights is a whole number of more than 32 bits")

    def askable(self, network: Network) -> Askable:
        """It, run by ONNX Runtime, by the readings of a network of it; see `wmjax.suspects.contract.Runs`.

        The file is the one that was opened, to the byte and the second, so that answers and digest are of the same one.
        """
        if not installed():
            raise UsageError("ONNX Runtime is not installed")
        read = self._again()
        graph = read.graph.bound(network.image)
        ways = _ways(graph, self.wanted)
        for other in asked_by_runtime(read._replace(graph=graph), self.path, self.wanted.classes, ways, self.before):
            if other.askable and _asked_alike(other, network):
                return other.askable
        raise InvalidFile(f"{self.path}: ONNX Runtime gives other outputs")

    def _again(self) -> Read:
        read, fingerprint = _read(self.path)
        if fingerprint != self.fingerprint:
            raise InvalidFile(f"{self.path} was changed while it was being read: run the audit again")
        return read


def _asked_alike(one: Network, other: Network) -> bool:
    same = ("image", "classes", "readings", "note")
    return all(getattr(one, name) == getattr(other, name) for name in same)


def open_onnx(path: Path, wanted: Wanted) -> tuple[list[tuple[Image, Network]], OnnxFile]:
    """An image classifier in an ONNX file; the same `Network`s for files that differ in their weights alone.

    There is one for each number of classes that its outputs have, and, where it takes images of any size, for each
    size that is wanted, made larger where its windows do not fit into that.

    Args:
      path: a file with one image input, [n, C, H, W] or [n, H, W, C] of 1 or 3 channels, or [n, H, W], or rows
        [n, H * W * C]; its weights may lie in a file beside it. Scores are outputs [n, classes], or [n, classes, 1, 1].
      wanted: the sizes of images; how pixels are prepared, which the graph may state; and numbers of classes:
        outputs of these, where there are any, are the only ones.

    Returns:
      the networks, each with the wanted image that it is for, or its own; and where their weights are.

    Raises:
      UsageError: the `onnx` package is missing; or it takes images of any size, and none is wanted.
      AccessError: the file cannot be read.
      InvalidFile: it is damaged, or no such classifier, or has operators that are not read.
    """
    read, fingerprint = _read(path)
    before = stamps(read, path)
    found = _at_sizes(read.graph, path, wanted, partial(_read_or_run, read, path, wanted))
    held = data_file(list(read.weights.values()), path)
    parts = tuple(sorted(files_of(read.weights.values(), path) - {path}))
    return found, OnnxFile(path, fingerprint, held, parts, wanted, before)


def open_packed(description: Mapping[str, Any], path: Path, wanted: Wanted) -> list[tuple[Image, Network]]:
    """The networks of a pack of ONNX models, as of `open_onnx`, from what `Network.description` said of them.

    All of its outputs are looked at, as a file's are: a pack is a stranger's, too.

    Raises:
      UsageError: as of `open_onnx`.
      InvalidFile: it is not a description of an image classifier.
    """
    try:
        return _at_sizes(from_json(description["onnx"]), path, wanted, partial(_asked, path, wanted, unused={}))
    except Unread as error:
        raise InvalidFile(f"its graph cannot be read: {error}") from error


def _at_sizes(
    graph: Graph, path: Path, wanted: Wanted, networks_of: Callable[[Graph], list[Network]]
) -> list[tuple[Image, Network]]:
    """A graph's networks at each size of image that is wanted, with that image, or with its own where none is."""
    if 0 in graph.declared and not wanted.images:
        raise UsageError(f"{path} takes images of any size: say which with `image`")
    asked: dict[Image, list[Network]] = {}
    found = []
    for image in dict.fromkeys(wanted.images or (graph.image,)):
        size = graph.bound(image).image
        if size not in asked:
            asked[size] = _at_a_size(graph, image, networks_of)
        found += [(image, network) for network in asked[size]]
    return found


def _at_a_size(graph: Graph, image: Image, networks_of: Callable[[Graph], list[Network]]) -> list[Network]:
    """A graph's networks for images of this size, or, where they are too small for it, the next that is enough."""
    height, width, channels = image
    refused: list[InvalidFile] = []
    for scale in _SCALES if 0 in graph.declared else _SCALES[:1]:
        try:
            return networks_of(graph.bound((height * scale, width * scale, channels)))
        except InvalidFile as error:
            refused.append(error)
    raise refused[0]


def _read_or_run(read: Read, path: Path, wanted: Wanted, graph: Graph) -> list[Network]:
    """A graph's networks; of one that is not read here, if ONNX Runtime is there, those that it runs."""
    try:
        return _asked(path, wanted, graph, read.unused)
    except Unread as error:
        if not installed():
            raise InvalidFile(f"{path}: {error} (pip install onnxruntime to have it run)") from error
        try:
            return asked_by_runtime(read._replace(graph=graph), path, wanted.classes, _ways(graph, wanted))
        except InvalidFile as other:
            raise InvalidFile(f"{path}: {error}; {str(other).removeprefix(f'{path}: ')}") from other


def _ways(graph: Graph, wanted: Wanted) -> tuple[str, ...]:
    channels = graph.image[2]
    if graph.whole:
        found = pixels.of_bytes(wanted.pixels, channels)
    else:
        found = pixels.ways(wanted.pixels, graph.pixels, channels)
    return pixels.of_rows(found, channels) if graph.axes else found


def _read(path: Path) -> tuple[Read, str]:
    """What a file holds, and its graph's fingerprint."""
    model = parse(path)
    try:
        read = read_graph(model, path)
        said = pixels_said(read.graph, read.weights, path)
        read = read._replace(graph=dataclasses.replace(read.graph, pixels=said))
        return read, read.graph.fingerprint()
    except (TypeError, AttributeError, ValueError) as error:  # the parser gives bytes for text that is not UTF-8
        raise InvalidFile(f"{path} is damaged: a name or number in it has no valid form") from error


def _asked(path: Path, wanted: Wanted, graph: Graph, unused: Tensors) -> list[Network]:
    """A network for each number of classes that outputs have: of the wanted ones where any has, else of all."""
    batch, found = plan(graph, path)
    scored = outputs.numbered(found, wanted.classes)
    networks = []
    for classes, group in outputs.by_classes(scored, wanted.classes).items():
        in_part = outputs.leaves_out(scored, len(graph.outputs), classes, wanted.classes)
        left = idle(graph, unused, [classes])
        note = note_of(graph, in_part=in_part or left)
        networks.append(_network(graph, batch, group, classes, wanted, note, packed=not (left and unused)))
    return networks


def _network(
    graph: Graph, batch: int, group: Sequence[Output], classes: int, wanted: Wanted, note: str, *, packed: bool
) -> Network:
    """The network of the outputs that have so many classes; its readings are each way with each of them.

    It is not packed where that would leave something of its file out.
    """
    height, width, channels = graph.image
    ways = _ways(graph, wanted)
    told = hashlib.sha256(f"{graph.fingerprint()} {classes} {' '.join(ways)} {note} {packed}".encode()).hexdigest()
    ask = scores(graph, batch, [out.place for out in group], classes)

    def logits(weights: Weights, images: Array, reading: Array | int = 0) -> Array:
        way, output = jnp.divmod(jnp.asarray(reading), len(group))
        return ask(weights, pixels.taken(images, ways, way, uint8=bool(graph.whole)))[output]

    with _lock:
        if told not in _networks:
            _networks[told] = Network(
                name=f"onnx {height}x{width}x{channels}, {len(graph.nodes)} nodes",
                fingerprint=told,
                shapes={name: jax.ShapeDtypeStruct(*graph.weights[name]) for name in sorted(graph.weights)},
                logits=logits,
                image=graph.image,
                classes=classes,
                readings=names_of(ways, [out.name for out in group]),
                note=note,
                operations=sum(any(part in node.op for part in _PRODUCTS) for node in graph.nodes),
                description={"onnx": graph.unbound().to_json(), "pixels": wanted.pixels} if packed else None,
            )
        return _networks[told]
