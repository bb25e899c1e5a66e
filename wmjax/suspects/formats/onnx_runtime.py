"""ONNX files that are not read here, run by ONNX Runtime in a process of its own (`onnx_child`).

Such a model has no weights to be stacked: it is asked, image by image, in each way in which it may be meant to be.
ONNX Runtime is never loaded into this process, which holds secrets.
"""

import contextlib
import hashlib
import importlib.util
import json
import os
from collections.abc import Callable, Mapping, Sequence
from functools import lru_cache, partial
from pathlib import Path
from typing import Any, NamedTuple

import jax.numpy as jnp
import numpy as np

from wmjax import stores
from wmjax.devices import host_bytes
from wmjax.digest import digest, files_digest
from wmjax.errors import AccessError, InvalidFile, UsageError
from wmjax.keys import Model
from wmjax.suspects import outputs, pixels, process
from wmjax.suspects.contract import TIMEOUT, Askable, Network, Suspect, no_logits
from wmjax.suspects.formats import alone_child
from wmjax.suspects.formats.onnx_ends import idle
from wmjax.suspects.formats.onnx_graph import Graph
from wmjax.suspects.formats.onnx_read import Read
from wmjax.suspects.formats.onnx_tensors import array, files_of
from wmjax.suspects.formats.safetensors import stamp
from wmjax.suspects.grounds import AskedGround
from wmjax.suspects.outputs import Output
from wmjax.suspects.ways import readings as names_of

Stamps = tuple[tuple[int, int, int], ...]  # size, time and number of each file

_PROCESSES = 4  # that are kept for further questions
_MEMORY = 4 << 30  # bytes that a process may take, beside four times its file's
_AT_ONCE = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1  # a thread a call
_CHANCE = ("Bernoulli", "Multinomial", "RandomNormal", "RandomNormalLike", "RandomUniform", "RandomUniformLike")
_LARGEST_BATCH = 64  # images that a file may insist on taking at once


def installed() -> bool:
    """Whether ONNX Runtime is there; it is not imported."""
    return importlib.util.find_spec("onnxruntime") is not None


def asked_by_runtime(
    read: Read, path: Path, wanted: Sequence[int], ways: tuple[str, ...], before: Stamps | None = None
) -> list[Network]:
    """A network, to be asked only, for each number of classes that outputs have: of the wanted ones if any has.

    Args:
      read: what the file holds, its graph bound to the images' shape.
      path: of the file.
      wanted: numbers of classes.
      ways: in which pixels may be meant to be prepared.
      before: `stamps` of its files when they were read; now by default.

    Raises:
      InvalidFile: ONNX Runtime does not run it either, or it has no scores.
    """
    graph = read.graph
    if graph.batch > _LARGEST_BATCH:
        raise InvalidFile(f"{path} takes {graph.batch} images at once: export it with a free batch axis")
    program = _Program(str(path.resolve()), max(1, graph.batch), tuple(dict.fromkeys(name for name, _ in read.outputs)))
    parts = tuple(sorted(files_of(read.weights.values(), path)))
    ask = partial(_answer, program, parts, _stamps(parts) if before is None else before)
    try:
        counts = [int(n) for n in ask(_taken(graph, np.zeros((0, *graph.image), np.uint8), ""))]
    except (AccessError, UsageError) as error:
        raise InvalidFile(f"{path}: ONNX Runtime does not run it: {error}") from error
    ends = [
        _End(sum(counts[: (at := program.outputs.index(name))]), counts[at], turned) for name, turned in read.outputs
    ]
    found = outputs.numbered({place: end.scores for place, end in enumerate(ends) if end.scores}, wanted)
    if not found:
        raise InvalidFile(f"{path}: none of its outputs is [images, classes]")
    describe = partial(_described, path, read.weights)
    by_chance = any(node.op in _CHANCE for node in graph.nodes)  # drawn from a seed of the file's, run after run
    networks = []
    for classes, group in outputs.by_classes(found, wanted).items():
        in_part = by_chance or outputs.leaves_out(found, len(ends), classes, wanted)
        note = note_of(graph, in_part=in_part or idle(graph, read.unused, [classes]))
        networks.append(_network(graph, program, ask, describe, ends, group, ways, note))
    return networks


def note_of(graph: Graph, *, in_part: bool) -> str:
    """What must be said of how a graph is asked; `in_part`: not all of it.

    Nor, for certain, as it is meant: an image goes through it beside others of a batch, or as numbers that need be
    none of a picture, or as whole numbers other than bytes, and nobody says what those stand for.

    A side that is open says nothing of the size that is meant, whatever else the file or those beside it say: that is
    not in force when it is used.
    """
    if in_part or graph.batch > 1 or graph.axes or graph.whole not in ("", "uint8"):
        return AskedGround.IN_PART
    return AskedGround.OPEN_SIZE if 0 in graph.declared else ""


class _Program(NamedTuple):
    """What a process runs.

    Attributes:
      path: of the file.
      batch: images that it takes at once.
      outputs: names of the values that it gives, of the file's own outputs or others.
    """

    path: str
    batch: int
    outputs: tuple[str, ...]


class _End(NamedTuple):
    """Where an output's scores are among those that a process answers, how many, and whether they are turned round.

    A single one tells the class itself.
    """

    place: int
    scores: int
    turned: bool


def stamps(read: Read, path: Path) -> Stamps:
    """By which a change of the files of a model is noticed."""
    return _stamps(sorted(files_of(read.weights.values(), path)))


def _stamps(parts: Sequence[Path]) -> Stamps:
    return tuple(stamp(part.stat()) for part in parts)


def _answer(program: _Program, parts: Sequence[Path], before: Stamps, images: np.ndarray) -> Any:
    """What the process answers, which reads these files when it starts."""
    if before != _stamps(parts):
        raise AccessError(f"{program.path} was changed while it was used: start again")
    with contextlib.ExitStack() as here:
        for part in parts:
            here.enter_context(stores.present(part))
        return _process(program, before)(images)


@lru_cache(maxsize=_PROCESSES)
def _process(program: _Program, before: Stamps) -> Callable[[np.ndarray], Any]:
    memory = min(_MEMORY + 4 * Path(program.path).stat().st_size, host_bytes() // 2)
    told, runs = json.dumps(program._asdict()), Path(alone_child.__file__)
    return process.start(
        "onnx", program.path, first=TIMEOUT, at_once=_AT_ONCE, memory=memory, argument=told, program=runs
    )


def _described(path: Path, tensors: Mapping[str, Any]) -> Model:
    weights = {name: array(tensor, path) for name, tensor in tensors.items()}
    return Model(path.resolve().name, files_digest(path), digest(weights))


def _taken(graph: Graph, images: np.ndarray, way: str) -> np.ndarray:
    """Images as the graph takes them."""
    whole = bool(graph.whole)
    given = images if whole else np.zeros(images.shape, np.float32)
    if len(images):
        given = np.asarray(pixels.taken(jnp.asarray(images), (way,), uint8=whole))
    if graph.axes:
        return given.reshape(len(given), *graph.axes)
    return np.ascontiguousarray(given if graph.channels_last else given.transpose(0, 3, 1, 2))


def _network(
    graph: Graph,
    program: _Program,
    answer: Callable[[np.ndarray], Any],
    describe: Callable[[], Model],
    ends: Sequence[_End],
    group: Sequence[Output],
    ways: tuple[str, ...],
    note: str,
) -> Network:
    height, width, channels = graph.image
    classes = group[0].classes
    readings = names_of(ways, [out.name for out in group])

    def ask(way: str, end: _End, images: np.ndarray) -> np.ndarray:
        answers = np.asarray(answer(_taken(graph, images, way)))
        scores: np.ndarray = answers[:, end.place : end.place + end.scores]
        if end.scores == 1:
            return outputs.told(scores, classes)
        return -scores if end.turned else scores

    pairs = [(way, ends[out.place]) for way in ways for out in group]
    suspect = Suspect.of(
        [
            Suspect(
                program.path,
                partial(ask, way, end),
                graph.image,
                classes,
                describe,
                note,
                remembers=False,
                reading=reading,
            )
            for (way, end), reading in zip(pairs, readings, strict=True)
        ]
    )
    told = hashlib.sha256(
        f"{stores.unmirrored(program.path)} {graph.fingerprint()} {classes} {' '.join(ways)}".encode()
    ).hexdigest()
    return Network(
        name=f"onnx {height}x{width}x{channels}, run by ONNX Runtime",
        fingerprint=told,
        shapes={},
        logits=no_logits,
        image=graph.image,
        classes=classes,
        readings=readings,
        note=note,
        askable=Askable(suspect, concurrency=_AT_ONCE),
    )
