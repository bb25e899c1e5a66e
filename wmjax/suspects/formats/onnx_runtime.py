"""ONNX files that are not read here, run by ONNX Runtime in a process of its own (`onnx_child`).

Such a model has no weights to be stacked: it is asked, image by image, in each way in which it may be meant to be.
ONNX Runtime is never loaded into this process, which holds secrets.
"""

import contextlib
import hashlib
import importlib.util
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import lru_cache, partial
from pathlib import Path
from typing import Any

import jax.numpy as jnp
import numpy as np

from wmjax import stores
from wmjax.devices import host_bytes
from wmjax.digest import digest, files_digest
from wmjax.errors import AccessError, InvalidFile, UsageError
from wmjax.keys import Model
from wmjax.suspects import outputs, pixels, process
from wmjax.suspects.contract import TIMEOUT, Askable, Network, Suspect, no_logits
from wmjax.suspects.formats import onnx_child
from wmjax.suspects.formats.onnx_graph import Graph
from wmjax.suspects.formats.onnx_tensors import array, files_of
from wmjax.suspects.grounds import AskedGround
from wmjax.suspects.outputs import Output

_PROCESSES = 4  # that are kept for further questions
_MEMORY = 4 << 30  # bytes that a process may take, beside four times its file's
_LARGEST_BATCH = 64  # images that a file may insist on taking at once


def installed() -> bool:
    """Whether ONNX Runtime is there; it is not imported."""
    return importlib.util.find_spec("onnxruntime") is not None


def asked_by_runtime(
    graph: Graph, tensors: Mapping[str, Any], path: Path, wanted: Sequence[int], ways: tuple[str, ...]
) -> list[Network]:
    """A network, to be asked only, for each number of classes that outputs have: of the wanted ones if any has.

    Args:
      graph: bound to the images' shape.
      tensors: the `onnx.TensorProto` of each of its weights.
      path: of the file.
      wanted: numbers of classes.
      ways: in which pixels may be meant to be prepared.

    Raises:
      InvalidFile: ONNX Runtime does not run it either, or it has no scores.
    """
    if graph.batch > _LARGEST_BATCH:
        raise InvalidFile(f"{path} takes {graph.batch} images at once: export it with a free batch axis")
    name = f"{max(1, graph.batch)}:{path.resolve()}"
    parts = files_of(tensors.values(), path)
    try:
        counts = [int(n) for n in _answer(name, parts, _taken(graph, np.zeros((0, *graph.image), np.uint8), ""))]
    except (AccessError, UsageError) as error:
        raise InvalidFile(f"{path}: ONNX Runtime does not run it: {error}") from error
    found = outputs.numbered({i: count for i, count in enumerate(counts) if count})
    if not found:
        raise InvalidFile(f"{path}: none of its outputs is [images, classes]")
    describe, groups = partial(_described, path, tensors), outputs.by_classes(found, wanted)
    ask = partial(_answer, name, parts)
    return [_network(graph, name, ask, describe, counts, group, ways) for group in groups.values()]


def _answer(name: str, parts: Iterable[Path], images: np.ndarray) -> Any:
    """What the process of `BATCH:PATH` answers, which reads these files when it starts."""
    with contextlib.ExitStack() as here:
        for part in parts:
            here.enter_context(stores.present(part))
        return _process(name)(images)


@lru_cache(maxsize=_PROCESSES)
def _process(name: str) -> Callable[[np.ndarray], Any]:
    title = name.partition(":")[2]
    memory = min(_MEMORY + 4 * Path(title).stat().st_size, host_bytes() // 2)
    return process.start("onnx", title, first=TIMEOUT, memory=memory, argument=name, program=Path(onnx_child.__file__))


def _described(path: Path, tensors: Mapping[str, Any]) -> Model:
    weights = {name: array(tensor, path) for name, tensor in tensors.items()}
    return Model(path.resolve().name, files_digest(path), digest(weights))


def _taken(graph: Graph, images: np.ndarray, way: str) -> np.ndarray:
    """Images as the graph takes them."""
    given = images if graph.uint8 else np.zeros(images.shape, np.float32)
    if len(images) and not graph.uint8:
        given = np.asarray(pixels.prepare(jnp.asarray(images), (way,)))
    return np.ascontiguousarray(given if graph.channels_last else given.transpose(0, 3, 1, 2))


def _network(
    graph: Graph,
    name: str,
    answer: Callable[[np.ndarray], Any],
    describe: Callable[[], Model],
    counts: list[int],
    group: Sequence[Output],
    ways: tuple[str, ...],
) -> Network:
    height, width, channels = graph.image
    classes, note = group[0].classes, AskedGround.PIXELS_OWN if graph.uint8 else ""
    readings = outputs.readings(ways, group)

    def ask(way: str, output: int, images: np.ndarray) -> np.ndarray:
        start = sum(counts[:output])
        scores: np.ndarray = np.asarray(answer(_taken(graph, images, way)))[:, start : start + classes]
        return scores

    title, pairs = name.partition(":")[2], [(way, out.place) for way in ways for out in group]
    suspect = Suspect.of(
        [
            Suspect(
                title,
                partial(ask, way, place),
                graph.image,
                classes,
                describe,
                note,
                remembers=False,
                reading=reading,
            )
            for (way, place), reading in zip(pairs, readings, strict=True)
        ]
    )
    told = hashlib.sha256(f"{stores.named(name)} {graph.fingerprint()} {classes} {' '.join(ways)}".encode()).hexdigest()
    return Network(
        name=f"onnx {height}x{width}x{channels}, run by ONNX Runtime",
        fingerprint=told,
        shapes={},
        logits=no_logits,
        image=graph.image,
        classes=classes,
        readings=readings,
        note=note,
        askable=Askable(suspect),
    )
