"""Suspects in files of `jax.export` and of Keras: programs with their weights, which can be asked and not stacked.

Nothing of a file is read here: a process of its own describes it, builds it and answers for it (`export_child`,
`keras_child`).
"""

import hashlib
import importlib.util
from functools import lru_cache
from pathlib import Path
from typing import Any

import jax.numpy as jnp
import numpy as np

from wmjax import stores
from wmjax.digest import files_digest
from wmjax.errors import AccessError, InvalidFile, UsageError, WmjaxError
from wmjax.suspects import outputs, pixels
from wmjax.suspects.contract import Askable, Network, Suspect, Wanted, no_logits
from wmjax.suspects.formats.safetensors import stamp
from wmjax.suspects.grounds import AskedGround
from wmjax.suspects.outputs import Output
from wmjax.suspects.process import start
from wmjax.suspects.sniff import Format
from wmjax.suspects.ways import readings as names_of
from wmjax.text import by

_CHILDREN = {
    Format.JAX_EXPORT: "export",
    Format.KERAS: "keras",
    Format.HDF5: "keras",
}  # who answers for a file, with their `program`
_Stamp = tuple[int, int, int]


def open_export(path: Path, wanted: Wanted, kind: Format) -> list[Network]:
    """The networks of a file, each to be asked by its readings: one for each number of classes that its outputs have.

    Args:
      path: of the file.
      wanted: how pixels are prepared, where the program takes float32, and the classes of the outputs that are meant.
      kind: of the file.

    Raises:
      InvalidFile: it is no such file, or no classifier of images, or its program does more than compute.
      UsageError: Keras is not there.
      AccessError: it cannot be read, or its process was ended.
    """
    if _CHILDREN[kind] == "keras" and importlib.util.find_spec("keras") is None:
        raise UsageError("a Keras file needs Keras: pip install 'wmjax[keras]'")
    before = stamp(path.stat())
    told = [int(n) for n in np.asarray(_answer(kind, path, before, np.empty(0, np.uint8))).ravel()]
    if len(told) < 7 or not all(0 <= n < 1 << 24 for n in told):
        raise InvalidFile(f"{path}: its process does not say what it takes")
    uint8, image = bool(told[0]), (told[3], told[4], told[5])
    ways = ("",) if uint8 else pixels.ways(wanted.pixels)
    scored = [classes for classes in told[6:] if classes]
    found = outputs.numbered(dict(enumerate(scored)), wanted.classes)

    def suspect(way: int, out: Output, reading: str, note: AskedGround) -> Suspect:
        def ask(images: np.ndarray) -> Any:
            prepared = images if uint8 else np.asarray(pixels.prepare(jnp.asarray(images), ways, way))
            at = sum(scored[: out.place])
            answers = np.asarray(_answer(kind, path, before, prepared))[:, at : at + scored[out.place]]
            return outputs.told(answers, out.classes) if scored[out.place] == 1 else answers

        return Suspect(path.name, ask, image, out.classes, None, note, remembers=False, reading=reading)

    networks = []
    for classes, group in outputs.by_classes(found, wanted.classes).items():
        in_part = outputs.leaves_out(found, len(told[6:]), classes, wanted.classes)
        note = AskedGround.RUN_IN_PART if in_part else AskedGround.RUN
        readings = names_of(ways, [out.name for out in group])
        pairs = [(way, out) for way in range(len(ways)) for out in group]
        asked = Suspect.of([suspect(way, out, name, note) for (way, out), name in zip(pairs, readings, strict=True)])
        sha256 = hashlib.sha256(f"{files_digest(path)} {classes} {readings} {note}".encode()).hexdigest()
        networks.append(
            Network(
                f"{_CHILDREN[kind]} {by(image)}", sha256, {}, no_logits, image, classes, readings=readings,
                note=note, askable=Askable(asked),
            )
        )  # fmt: skip
    return networks


def _answer(kind: Format, path: Path, before: _Stamp, images: np.ndarray) -> Any:
    """What the file's process answers; it is started where it does not run."""
    if before != stamp(path.stat()):
        raise AccessError(f"{path} was changed while it was used: start again")
    with stores.present(path):
        return _running(kind, path, before)(images)


@lru_cache(maxsize=2)  # processes that live at once: each has JAX in its memory
def _running(kind: Format, path: Path, before: _Stamp) -> Any:
    try:
        program = f"wmjax.suspects.formats.{_CHILDREN[kind]}_child:program"
        return start(program, path.name, argument=str(path.absolute()))
    except WmjaxError as error:
        raise InvalidFile(str(error).removeprefix(f"suspect {path.name}: ")) from error
