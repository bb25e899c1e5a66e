"""What lies at one path: which models, of which networks. Descriptions alone (JSON, headers) are read, no weight.

A module that a *file* names is never imported: the user has to name it.
"""

import contextlib
import json
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any

from wmjax import checkpoint, orbax
from wmjax.errors import AccessError, InvalidFile, UsageError, WmjaxError
from wmjax.models import FAMILIES, Config, read_config
from wmjax.orbax import Tensors
from wmjax.suspects import pixels
from wmjax.suspects.contract import Network, Stored, Wanted
from wmjax.suspects.formats.pack import FORMAT as PACK
from wmjax.suspects.formats.pack import open_pack
from wmjax.suspects.formats.safetensors import File, Header, read_header
from wmjax.suspects.network import fitting, from_config, from_module, matching, named
from wmjax.suspects.sniff import WHY, Format, kind_of

CHECKPOINT = "_CHECKPOINT_METADATA"  # describes an Orbax checkpoint, in its folder
_LARGEST_JSON = 16 << 20
_NAME_IT = "bare weights do not say of what network they are: name it with `models`"
DOCUMENTS = frozenset(  # of Orbax's, in the folders of checkpoints and their items
    (CHECKPOINT, orbax.ITEM, "orbax.checkpoint", "manifest.ocdbt", "_sharding", "_strings.json", "commit_success.txt")
)
_CONFIGURATIONS = ("config.json", "preprocessor_config.json")
_HALF = "a half-written or damaged checkpoint: it holds no tensors"
_DAMAGE = (ValueError, LookupError, TypeError, AttributeError, ArithmeticError, RuntimeError, MemoryError)


def check(wanted: Wanted) -> None:
    """Raises `UsageError` where one of `models` names no architecture, or a module that takes none of the images."""
    pixels.check(wanted.pixels)
    for model in wanted.models:
        if model not in FAMILIES:  # wmjax's own are made when a head says how many classes there are
            named(model, wanted.images, 0, wanted.pixels)


def located(name: str) -> tuple[Path, str]:
    """The path that a user names, and which model of the pack there; the latter empty where none is named.

    >>> located("packs/vgg.safetensors:team/a")  # a file that is not there
    (PosixPath('packs/vgg.safetensors:team/a'), '')
    """
    path = Path(name)
    if not path.exists():
        for end in re.finditer(r"\.safetensors(?=:)", name):
            if (pack := Path(name[: end.end()])).is_file():
                return pack, name[end.end() + 1 :]
    return path, ""


def recognise(path: Path, wanted: Wanted) -> list[Stored]:
    """The models at a path: several in a pack, else one.

    wmjax's checkpoints, run folders (their newest checkpoint), exported models, packs and ONNX files say what they are.
    Other Orbax checkpoints and safetensors files are tried as the architectures that the user names.

    Args:
      path: a file or a folder.
      wanted: what files do not say of themselves.

    Raises:
      AccessError: the path is not there, or cannot be read.
      UsageError: bare weights, and `models` does not name their architecture.
      InvalidFile: there is no model, or a damaged one.
    """
    if not path.exists():
        raise AccessError(f"{path} does not exist: give a checkpoint, a run folder or a model's file")
    found = in_checkpoint(checkpoint.latest(path) or path, wanted) if path.is_dir() else in_file(path, wanted)
    if not found:
        raise InvalidFile(f"{path} holds no model: give a checkpoint, a run folder, a safetensors or an ONNX file")
    return found


def in_checkpoint(path: Path, wanted: Wanted) -> list[Stored]:
    """The models of an Orbax checkpoint's folder; raises as `recognise` does."""
    with one_line(path):
        if any("\udc80" <= c <= "\udcff" for c in str(path)):  # which TensorStore does not take
            raise InvalidFile("its path is not UTF-8: rename it")
        if is_wmjax(path):
            network, item = from_config(checkpoint.read_metadata(path).model), path / checkpoint.STATE
            if not (item / orbax.ITEM).is_file():
                raise InvalidFile(_HALF)
            return [Stored(network, orbax.Folder(item, _stored_names(network)), path, item / orbax.ITEM)]
        if (path / CHECKPOINT).exists() and _json(path / CHECKPOINT) is None:
            raise InvalidFile(f"a half-written or damaged checkpoint: its {CHECKPOINT} is no JSON")
        items = orbax.items(path)
        if not items:
            raise InvalidFile(_HALF if (path / CHECKPOINT).exists() else "no checkpoint: it holds no tensors")
        why: WmjaxError = UsageError(_NAME_IT)
        for item in items if wanted.models else []:
            try:
                network, names = matching(orbax.tensors(item), wanted)
            except WmjaxError as error:
                why = error
                continue
            return [Stored(network, orbax.Folder(item, names), path, item / orbax.ITEM)]
        raise why


def in_file(path: Path, wanted: Wanted) -> list[Stored]:
    """The models of a file, whatever its ending; none where it is plainly something else; raises as `recognise`."""
    with one_line(path):
        kind = kind_of(path)
        if kind is Format.OTHER:
            return []
        if kind not in _READERS:
            raise InvalidFile(WHY[kind])
        return _READERS[kind](path, wanted)


def _onnx(path: Path, wanted: Wanted) -> list[Stored]:
    from wmjax.suspects.formats.onnx import open_onnx

    network, source = open_onnx(path, wanted)[0]
    parts = () if source.held == path else (source.held,)
    return [Stored(network, source, path, source.held, parts=parts)]


def _safetensors(path: Path, wanted: Wanted) -> list[Stored]:
    header = read_header(path)
    if header.metadata.get("format") == PACK:
        return open_pack(path, header, lambda description: _described(description, wanted.models))
    network, names = _fitted(path, header, wanted)
    return [Stored(network, File(path, header, names, stacked=False), path, path)]


_READERS: Mapping[Format, Callable[[Path, Wanted], list[Stored]]] = {
    Format.SAFETENSORS: _safetensors,
    Format.ONNX: _onnx,
}


def _fitted(path: Path, header: Header, wanted: Wanted) -> tuple[Network, dict[str, str]]:
    """The network of a safetensors file with one model, and the stored name of each of its tensors."""
    stored: Tensors = {name: (tensor.shape, str(tensor.dtype)) for name, tensor in header.tensors.items()}
    if config := _config(path, header.metadata):
        network = from_config(config)
        return network, fitting(network, stored)
    if not wanted.models:
        raise UsageError(_NAME_IT)
    return matching(stored, wanted)


def _described(description: Mapping[str, Any], models: Sequence[str]) -> Network:
    """A pack's network; a module that the user did not name is not imported."""
    if "config" in description:
        return from_config(read_config(description["config"]))
    module, image = description.get("module"), description.get("image")
    if module not in models:
        raise UsageError(f"it is of the module {module!s:.80}: allow that with `models`")
    height, width, channels = (int(n) for n in image or ())
    return from_module(module, (height, width, channels), description.get("pixels", ""))


@contextlib.contextmanager
def one_line(path: Path) -> Iterator[None]:
    """Whatever a hostile file makes its reader raise is one line that begins with its path."""
    try:
        yield
    except WmjaxError as error:
        if str(error).startswith(str(path)):
            raise
        raise type(error)(f"{path}: {error}") from error
    except OSError as error:
        raise AccessError(f"{path}: cannot be read: {error.strerror or type(error).__name__}") from error
    except _DAMAGE as error:
        raise InvalidFile(f"{path}: cannot be read: {type(error).__name__}") from error


def configurations(path: Path) -> tuple[Path, ...]:
    """Where what says more of a model in a file would lie, beside it."""
    return path.with_suffix(".json"), *(path.with_name(name) for name in _CONFIGURATIONS)


def is_step(path: Path) -> bool:
    """Whether a folder is a complete checkpoint of a wmjax run, by its name."""
    return bool(re.fullmatch(r"step-\d+", path.name)) and (path / CHECKPOINT).is_file()


def is_wmjax(path: Path) -> bool:
    """Whether wmjax wrote a checkpoint."""
    values = _json(path / CHECKPOINT)
    custom = values.get("custom_metadata") if isinstance(values, dict) else None
    return isinstance(custom, dict) and str(custom.get("format")).startswith(checkpoint.FORMAT.partition("/")[0])


@lru_cache(maxsize=1024)
def _stored_names(network: Network) -> dict[str, str]:
    return {name: name.replace("/", ".") for name in network.shapes}


def _config(path: Path, metadata: Mapping[str, str]) -> Config | None:
    """A safetensors file's configuration: within it, beside it, or its folder's; None where wmjax has none."""
    for values in _configs(path, metadata):
        try:
            return read_config(values)
        except (InvalidFile, AttributeError):
            continue
    return None


def _configs(path: Path, metadata: Mapping[str, str]) -> Iterator[Any]:
    try:
        yield json.loads(metadata.get("config", "null"))
    except (ValueError, RecursionError):
        yield None
    yield _json(path.with_suffix(".json"))
    yield _json(path.with_name("config.json"))


def _json(path: Path) -> Any:
    """What a small plain file holds; None where there is none, or no JSON."""
    try:
        if path.is_symlink() or not path.is_file() or path.stat().st_size > _LARGEST_JSON:
            return None
        return json.loads(path.read_bytes())
    except (OSError, ValueError, RecursionError):
        return None
