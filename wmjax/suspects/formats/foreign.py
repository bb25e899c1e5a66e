"""Suspects in files that another runtime runs: they can be asked, image by image, and not stacked.

Nothing of a file is read here: a process of its own describes it, builds it and answers for it (`export_child`,
`keras_child`, `tflite_child`, `ort_child`, `openvino_child`, `tensorflow_child`).
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
from wmjax.suspects import outputs, pixels, rows
from wmjax.suspects.contract import Askable, Image, Network, Suspect, Wanted, no_logits
from wmjax.suspects.formats import alone_child
from wmjax.suspects.formats.safetensors import stamp
from wmjax.suspects.grounds import AskedGround
from wmjax.suspects.kinds import Format, parts
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
_TENSORFLOW = _Runtime("tensorflow", "tensorflow", "tensorflow", True)
_RUNTIMES = {
    Format.JAX_EXPORT: _Runtime("export", "jax", "jax", False),
    Format.KERAS: _KERAS,
    Format.HDF5: _KERAS,
    Format.TFLITE: _Runtime("tflite", "ai_edge_litert", "tflite", True),
    Format.ORT: _Runtime("ort", "onnxruntime", "onnx", True),
    Format.OPENVINO: _Runtime("openvino", "openvino", "openvino", True),
    Format.SAVED_MODEL: _TENSORFLOW,
    Format.FROZEN_GRAPH: _TENSORFLOW,
}
_MEMORY = 4 << 30  # bytes that a process alone may take, beside four times its file's
_Stamps = tuple[tuple[int, int, int], ...]


class _File(NamedTuple):
    """What a process runs.

    Attributes:
      kind: of the file.
      parts: the file, and those beside it.
      before: the stamps of these when it was opened.
      in_part: whether it may be half a file.
    """

    kind: Format
    parts: tuple[Path, ...]
    before: _Stamps
    in_part: bool


class _Told(NamedTuple):
    """What a process says of its file.

    Attributes:
      whole: 0 where it takes floating-point numbers, 1 bytes, 2 other whole numbers.
      batch: images that it takes at once; 0 for any number.
      image: height, width and channels of these.
      ends: scores an image of each output; 0 where it has none.
      row: how many numbers an image has, where it takes rows of them; 0 elsewhere.
      bare: whether its images have no axis of channels.
    """

    whole: int
    batch: int
    image: Image
    ends: tuple[int, ...]
    row: int
    bare: bool

    @property
    def in_doubt(self) -> bool:
        """Whether a copy may be meant to be asked otherwise: beside other images, or by numbers of no picture."""
        return self.batch > 1 or self.row > 0 or self.bare or self.whole > 1


def open_foreign(path: Path, wanted: Wanted, kind: Format, *, in_part: bool = False) -> list[tuple[Image, Network]]:
    """The networks of a file, each to be asked by its readings: one for each number of classes that its outputs have.

    Args:
      path: of the file.
      wanted: how pixels are prepared, where the program takes float32, and the classes of the outputs that are meant.
      kind: of the file.
      in_part: whether it may be half a file.

    Returns:
      the networks, each with the wanted image that it is for, or its own where none is.

    Raises:
      InvalidFile: it is no such file, or no classifier of images, or its program does more than compute.
      UsageError: its runtime is not there; or it takes rows of numbers, and no image is wanted.
      AccessError: it cannot be read, or its process was ended.
    """
    runtime = _RUNTIMES[kind]
    if importlib.util.find_spec(runtime.package) is None:
        raise UsageError(f"{path.name} needs {runtime.package}: pip install 'wmjax[{runtime.extra}]'")
    files = (path, *parts(path, kind))
    file = _File(kind, files, tuple(stamp(part.stat()) for part in files), in_part)
    told = _told(file)
    shapes = _pictures(path, told, wanted)
    networks = {shape: _networks(file, told._replace(image=shape), wanted) for shape in set(shapes.values())}
    return [(asked, network) for asked, shape in shapes.items() for network in networks[shape]]


def _told(file: _File) -> _Told:
    """What the process of a file says of it."""
    told = [int(n) for n in np.asarray(_answer(file, np.empty(0, np.uint8))).ravel()]
    if len(told) < 7 or not all(0 <= n < 1 << 24 for n in told):
        raise InvalidFile(f"{file.parts[0]}: its process does not say what it takes")
    whole, batch, last, height, width, channels, *ends = told
    row = 0 if channels else width
    return _Told(whole, batch, (height, width, channels), tuple(ends), row, bare=last == 2)


def _pictures(path: Path, told: _Told, wanted: Wanted) -> dict[Image, Image]:
    """The images that it takes, by the wanted ones that they are for; by its own where none is wanted."""
    if not told.row:
        return dict.fromkeys(wanted.images or (told.image,), told.image)
    if not wanted.images:
        raise UsageError(f"{path} takes rows of numbers: say with `image` what picture they are")
    found = {asked: shape for asked in wanted.images if (shape := rows.picture(told.row, asked))}
    if not found:
        raise InvalidFile(f"{path}: its rows of {told.row} numbers make no picture of 1 or 3 channels")
    return found


def _networks(file: _File, told: _Told, wanted: Wanted) -> list[Network]:
    """A file's networks, where it takes such images: one for each number of classes that its outputs have."""
    channels, path = told.image[2], file.parts[0]
    name = path.parent.name if file.kind is Format.SAVED_MODEL else path.name
    ways = (pixels.of_bytes if told.whole else pixels.ways)(wanted.pixels, channels=channels)
    ways = pixels.of_rows(ways, channels) if told.row else ways
    scored = [classes for classes in told.ends if classes]
    found = outputs.numbered(dict(enumerate(scored)), wanted.classes)

    def suspect(way: int, out: Output, reading: str, note: AskedGround) -> Suspect:
        def ask(images: np.ndarray) -> Any:
            prepared = np.asarray(pixels.taken(jnp.asarray(images), ways, way, uint8=told.whole > 0))
            at = sum(scored[: out.place])
            answers = np.asarray(_answer(file, prepared))[:, at : at + scored[out.place]]
            return outputs.told(answers, out.classes) if scored[out.place] == 1 else answers

        return Suspect(name, ask, told.image, out.classes, None, note, remembers=False, reading=reading)

    networks = []
    for classes, group in outputs.by_classes(found, wanted.classes).items():
        left = outputs.leaves_out(found, len(told.ends), classes, wanted.classes)
        note = AskedGround.RUN_IN_PART if left or file.in_part or told.in_doubt else AskedGround.RUN
        readings = names_of(ways, [out.name for out in group])
        pairs = [(way, out) for way in range(len(ways)) for out in group]
        asked = Suspect.of([suspect(way, out, one, note) for (way, out), one in zip(pairs, readings, strict=True)])
        sha256 = hashlib.sha256(f"{files_digest(*file.parts)} {classes} {readings} {note}".encode()).hexdigest()
        networks.append(
            Network(
                f"{_RUNTIMES[file.kind].child} {by(told.image)}", sha256, {}, no_logits, told.image, classes,
                readings=readings, note=note, askable=Askable(asked),
            )
        )  # fmt: skip
    return networks


def _answer(file: _File, images: np.ndarray) -> Any:
    """What the process of a file answers; it is started where it does not run."""
    if file.before != tuple(stamp(part.stat()) for part in file.parts):
        raise AccessError(f"{file.parts[0]} was changed while it was used: start again")
    with ExitStack() as used:
        for part in file.parts:
            used.enter_context(stores.present(part))
        return _running(file.kind, file.parts[0], file.before)(images)


@lru_cache(maxsize=2)  # processes that live at once: some have JAX in their memory
def _running(kind: Format, path: Path, before: _Stamps) -> Any:
    runtime, file = _RUNTIMES[kind], str(path.absolute())
    try:
        if not runtime.alone:
            return start(f"wmjax.suspects.formats.{runtime.child}_child:program", path.name, argument=file)
        memory = min(_MEMORY + 4 * sum(size for size, *_ in before), host_bytes() // 2)
        return start(runtime.child, path.name, memory=memory, argument=file, program=Path(alone_child.__file__))
    except WmjaxError as error:
        raise InvalidFile(str(error).removeprefix(f"suspect {path.name}: ")) from error
