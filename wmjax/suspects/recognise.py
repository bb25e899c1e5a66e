"""What lies at one path: which models, of which networks. Descriptions alone (JSON, headers) are read, no weight.

A module that a *file* names is never imported: the user has to name it.
"""

import re
from collections.abc import Sequence
from functools import lru_cache, partial
from itertools import islice
from pathlib import Path

from wmjax import checkpoint, orbax, stores
from wmjax.errors import AccessError, InvalidFile, UsageError
from wmjax.models import FAMILIES
from wmjax.orbax import CHECKPOINT
from wmjax.suspects import pixels
from wmjax.suspects.contract import Network, Stored, Wanted
from wmjax.suspects.described import NAME_IT, beside_named, in_part, stored_models
from wmjax.suspects.files import in_file
from wmjax.suspects.formats.orbax_items import AGGREGATE, Items
from wmjax.suspects.formats.torch_hub import CONFIG, WEIGHTS
from wmjax.suspects.guarded import one_line, small_json
from wmjax.suspects.matching import fitting, matching
from wmjax.suspects.meant import as_described
from wmjax.suspects.named import is_named, networks_named
from wmjax.suspects.sniff import SAVED_MODEL
from wmjax.suspects.within import beside

_AUDIT = "`wmjax audit FOLDER`"
_NO_MODEL = f"no model lies directly in it: name one, or ask every model of a folder by {_AUDIT}"
TEMPORARY, INTERRUPTED = ".orbax-checkpoint-tmp", "a half-written checkpoint: its writer was interrupted"
"""What is in the name of a checkpoint's folder while Orbax writes it, and what is said of one that is left so."""

_HALF = "a half-written or damaged checkpoint: it holds no tensors"


def check(wanted: Wanted) -> None:
    """Raises `UsageError` where one of `models` names no architecture, or a module that takes none of the images."""
    pixels.check(wanted.pixels)
    for model in wanted.models:
        if is_named(model):
            from wmjax.suspects.formats.torch_named import check as check_name

            check_name(model)
        elif model not in FAMILIES:  # wmjax's own are made when a head says how many classes there are
            networks_named(model, wanted.images, wanted.classes, wanted.pixels)


def located(name: str) -> tuple[Path, str]:
    """The path that a user names, and which of the models there; the latter empty where none is named.

    >>> located("packs/vgg.safetensors:team/a")  # a file that is not there
    (PosixPath('packs/vgg.safetensors:team/a'), '')
    """
    path = stores.place(name)
    if not path.exists():
        for end in re.finditer(":", name):
            if (holder := stores.place(name[: end.start()])).is_file() or _is_checkpoint(holder):
                return holder, name[end.end() :]
    return path, ""


def _is_checkpoint(path: Path) -> bool:
    """Whether a folder is a checkpoint or a run, by what lies in it."""
    return path.is_dir() and (checkpoint.latest(path) is not None or bool(orbax.items(path)))


def recognise(path: Path, wanted: Wanted) -> list[Stored]:
    """The models at a path: several in a pack or a set of weights, else one; of a folder what its name stands for.

    wmjax's checkpoints, run folders (their newest checkpoint), exported models, packs and ONNX files say what they are.
    Other Orbax checkpoints and safetensors files are tried as the architectures that the user names.

    Args:
      path: a file or a folder.
      wanted: what files do not say of themselves.

    Raises:
      AccessError: the path is not there, or cannot be read.
      UsageError: bare weights, and `models` does not name their architecture; or a folder that holds other models, too.
      InvalidFile: there is no model, or a damaged one.
    """
    pixels.check(wanted.pixels)
    if not path.exists():
        raise AccessError(f"{path} does not exist: give a checkpoint, a run folder or a model's file")
    found = _in_folder(path, wanted) if path.is_dir() else in_file(path, wanted)
    if not found:
        raise InvalidFile(f"{path} holds no model: give a checkpoint, a run folder, a safetensors or an ONNX file")
    return found


def _in_folder(folder: Path, wanted: Wanted) -> list[Stored]:
    """What a folder's name stands for: a checkpoint, the newest of a run, the Hub's file of weights, or a SavedModel.

    Whatever else lies there may be another model. A checkpoint is asked alone, or by its own name. The Hub's folders
    often have a model in several formats: the first is asked, as their library does, and it clears nobody.
    """
    own = [folder] if (folder / CHECKPOINT).exists() else checkpoint.steps(folder)
    own = own or ([folder] if orbax.items(folder) else [])
    if own:
        if own != [folder] and not checkpoint.is_run(folder):
            raise _several(folder, own)
        found = in_checkpoint(own[-1], wanted)  # that it is damaged is said before what else there is
        if others := list(islice(beside(folder, own), 3)):
            raise _several(folder, [own[-1], *others])
        return found
    weights = [folder / name for name in WEIGHTS if (folder / name).exists() and (folder / CONFIG).exists()]
    weights += [folder / SAVED_MODEL] if (folder / SAVED_MODEL).exists() else []
    if not weights:
        return in_checkpoint(folder, wanted)  # which says why it is none
    found = in_file(weights[0], wanted)
    parts = {weights[0], *(part for stored in found for part in stored.parts)}
    if other := next((path for path in beside(folder, []) if path not in parts), None):
        left = f"{other.relative_to(folder)} is beside it and may be another model: name {weights[0].name} itself"
        return in_part(found, left)
    return found


def _several(folder: Path, models: Sequence[Path]) -> UsageError:
    """What to name instead of a folder that holds several models, or may."""
    what = "what may be other models beside its checkpoint" if folder in models else "several models"
    some = ", ".join(f"{folder.name}/{path.relative_to(folder)}" for path in models[:3] if path != folder)
    return UsageError(f"{folder} holds {what}: name one, as {some}, or ask every model of a folder by {_AUDIT}")


def in_checkpoint(path: Path, wanted: Wanted) -> list[Stored]:
    """The models of an Orbax checkpoint's folder; raises as `recognise` does."""
    with one_line(path):
        if TEMPORARY in path.name:
            raise InvalidFile(INTERRUPTED)
        if any("\udc80" <= c <= "\udcff" for c in str(path)):  # which TensorStore does not take
            raise InvalidFile("its path is not UTF-8: rename it")
        if is_wmjax(path):
            return _ours(path, wanted)
        if (path / CHECKPOINT).exists() and small_json(path / CHECKPOINT) is None:
            raise InvalidFile(f"a half-written or damaged checkpoint: its {CHECKPOINT} is not JSON")
        items = orbax.items(path)
        if not items:
            raise InvalidFile(_HALF if (path / CHECKPOINT).exists() else _NO_MODEL)
        if not wanted.models:
            raise UsageError(NAME_IT)
        held = Items(items)
        held.check()
        found = matching(held.tensors, wanted)
        return stored_models(path, held.folder(path), found, held.source, held.tensors, holed=held.holed)


def _ours(path: Path, wanted: Wanted) -> list[Stored]:
    """The models of a checkpoint of wmjax's: one, unless somebody else put more there, or the user means another."""
    network, item = as_described((checkpoint.read_metadata(path).model,)), path / checkpoint.STATE
    if not (item / orbax.ITEM).is_file():
        raise InvalidFile(_HALF)
    if orbax.items(path) != [item] or (item / AGGREGATE).exists() or wanted.kept:
        held = Items(orbax.items(path))
        held.check()
        fits = fitting(network, held.tensors, kept=wanted.kept)
        return stored_models(path, held.folder(path), fits, held.source, held.tensors, holed=held.holed)
    seen = orbax.stamp(item)
    source_of, names = partial(orbax.Folder, item, beside=checkpoint.BESIDE, seen=seen), _stored_names(network)
    found = [Stored(network, source_of(names), path, item)]
    if not wanted.models:
        return found
    tensors = {names[name]: (tuple(leaf.shape), str(leaf.dtype)) for name, leaf in network.shapes.items()}
    return beside_named(found, tensors, source_of, wanted)


def is_step(path: Path) -> bool:
    """Whether a folder is a complete checkpoint of a wmjax run, by its name."""
    return bool(re.fullmatch(r"step-\d+", path.name)) and (path / CHECKPOINT).is_file()


def is_wmjax(path: Path) -> bool:
    """Whether wmjax wrote a checkpoint."""
    values = small_json(path / CHECKPOINT)
    custom = values.get("custom_metadata") if isinstance(values, dict) else None
    return isinstance(custom, dict) and str(custom.get("format")).startswith(checkpoint.FORMAT.partition("/")[0])


@lru_cache(maxsize=1024)
def _stored_names(network: Network) -> dict[str, str]:
    return {name: name.replace("/", ".") for name in network.shapes}
