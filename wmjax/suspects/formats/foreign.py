"""Suspects in files that another runtime runs: they can be asked, image by image, and not stacked.

Nothing of a file is read here: a process of its own describes it, builds it and answers for it (`export_child`,
`keras_child`, `tflite_child`, `ort_child`,
`openvino_child`).
"""

import hashlib
import importlib.util
from contextlib import ExitStack
from functools import lru_cache
from pathlib import Path
from typing import Any, NamedTuple

import jax.numpy as jnp
import numpy as np

from wmjax import stores
from wmjax.devices import host_bytes
from wmjax.digest import files_digest
from wmjax.errors import AccessError, InvalidFile, UsageError, WmjaxError
from wmjax.suspects import outputs, pixels
from wmjax.suspects.contract import Askable, Network, Suspect, Wanted, no_logits
from wmjax.suspects.formats import alone_child
from wmjax.suspects.formats.safetensors import stamp
from wmjax.suspects.grounds import AskedGround
from wmjax.suspects.kinds import Format
from wmjax.suspects.outputs import Output
from wmjax.suspects.process import start
from wmjax.suspects.ways import readings as names_of
from wmjax.text import by


class _Runtime(NamedTuple):
    """What runs files of a format.

    Attributes:
      child: NAME of the module NAME_child, whose `program` answers for a file.
      package: what it needs.
      extra: which brings that.
      alone: whether its process gives up the network, and files once it has its own.
    """

    child: str
    package: str
    extra: str
    alone: bool


_KERAS = _Runtime("keras", "keras", "keras", False)
_RUNTIMES = {
    Format.JAX_EXPORT: _Runtime("export", "jax", "jax", False),
    Format.KERAS: _KERAS,
    Format.HDF5: _KERAS,
    Format.TFLITE: _Runtime("tflite", "ai_edge_litert", "tflite", True),
    Format.ORT: _Runtime("ort", "onnxruntime", "onnx", True),
    Format.OPENVINO: _Runtime("openvino", "openvino", "openvino", True),
}
_MEMORY = 4 << 30  # bytes that a process alone may take, beside four times its file's
_Stamps = tuple[tuple[int, int, int], ...]


def open_foreign(path: Path, wanted: Wanted, kind: Format, *, in_part: bool = False) -> list[Network]:
    """The networks of a file, each to be asked by its readings: one for each number of classes that its outputs have.

    Args:
      path: of the file.
      wanted: how pixels are prepared, where the program takes float32, and the classes of the outputs that are meant.
      kind: of the file.
      in_part: whether it may be half a file.

    Raises:
      InvalidFile: it is no such file, or no classifier of images, or its program does more than compute.
      UsageError: its runtime is not there.
      AccessError: it cannot be read, or its process was ended.
    """
    runtime = _RUNTIMES[kind]
    if importlib.util.find_spec(runtime.package) is None:
        raise UsageError(f"{path.name} needs {runtime.package}: pip install 'wmjax[{runtime.extra}]'")
    files = (path, *parts(path, kind))
    before = tuple(stamp(file.stat()) for file in files)
    told = [int(n) for n in np.asarray(_answer(kind, files, before, np.empty(0, np.uint8))).ravel()]
    if len(told) < 7 or not all(0 <= n < 1 << 24 for n in told):
        raise InvalidFile(f"{path}: its process does not say what it takes")
    uint8, image = bool(told[0]), (told[3], told[4], told[5])
    ways = (pixels.of_bytes if uint8 else pixels.ways)(wanted.pixels, channels=image[2])
    scored = [classes for classes in told[6:] if classes]
    found = outputs.numbered(dict(enumerate(scored)), wanted.classes)

    def suspect(way: int, out: Output, reading: str, note: AskedGround) -> Suspect:
        def ask(images: np.ndarray) -> Any:
            prepared = np.asarray(pixels.taken(jnp.asarray(images), ways, way, uint8=uint8))
            at = sum(scored[: out.place])
            answers = np.asarray(_answer(kind, files, before, prepared))[:, at : at + scored[out.place]]
            return outputs.told(answers, out.classes) if scored[out.place] == 1 else answers

        return Suspect(path.name, ask, image, out.classes, None, note, remembers=False, reading=reading)

    networks = []
    for classes, group in outputs.by_classes(found, wanted.classes).items():
        alone = told[1] <= 1 and not outputs.leaves_out(found, len(told[6:]), classes, wanted.classes)
        note = AskedGround.RUN if alone and not in_part else AskedGround.RUN_IN_PART
        readings = names_of(ways, [out.name for out in group])
        pairs = [(way, out) for way in range(len(ways)) for out in group]
        asked = Suspect.of([suspect(way, out, name, note) for (way, out), name in zip(pairs, readings, strict=True)])
        sha256 = hashlib.sha256(f"{files_digest(*files)} {classes} {readings} {note}".encode()).hexdigest()
        networks.append(
            Network(
                f"{runtime.child} {by(image)}", sha256, {}, no_logits, image, classes, readings=readings,
                note=note, askable=Askable(asked),
            )
        )  # fmt: skip
    return networks


def parts(path: Path, kind: Format) -> tuple[Path, ...]:
    """Files beside one that belong to it."""
    weights = path.with_suffix(".bin")
    return (weights,) if kind is Format.OPENVINO and weights.exists() else ()


def _answer(kind: Format, files: tuple[Path, ...], before: _Stamps, images: np.ndarray) -> Any:
    """What the process of some files answers; it is started where it does not run."""
    if before != tuple(stamp(file.stat()) for file in files):
        raise AccessError(f"{files[0]} was changed while it was used: start again")
    with ExitStack() as used:
        for file in files:
            used.enter_context(stores.present(file))
        return _running(kind, files[0], before)(images)


@lru_cache(maxsize=2)  # processes that live at once: some have JAX in their memory
def _running(kind: Format, path: Path, before: _Stamps) -> Any:
    runtime, file = _RUNTIMES[kind], str(path.absolute())
    try:
        if not runtime.alone:
            return start(f"wmjax.suspects.formats.{runtime.child}_child:program", path.name, argument=file)
        memory = min(_MEMORY + 4 * path.stat().st_size, host_bytes() // 2)
        return start(runtime.child, path.name, memory=memory, argument=file, program=Path(alone_child.__file__))
    except WmjaxError as error:
        raise InvalidFile(str(error).removeprefix(f"suspect {path.name}: ")) from error
