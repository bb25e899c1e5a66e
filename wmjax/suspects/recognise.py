"""What lies at one path: which models, of which networks. Descriptions alone (JSON, headers) are read, no weight.

A module that a *file* names is never imported: the user has to name it.
"""

import contextlib
import dataclasses
import json
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import lru_cache, partial
from pathlib import Path
from typing import Any

from wmjax import checkpoint, orbax, stores
from wmjax.errors import AccessError, InvalidFile, UsageError, WmjaxError
from wmjax.models import FAMILIES, Config, read_config
from wmjax.orbax import Tensors
from wmjax.suspects import pixels
from wmjax.suspects.contract import Network, NoWeights, Source, Stored, Wanted
from wmjax.suspects.formats.msgpack import read_msgpack
from wmjax.suspects.formats.npz import Npz, read_npz
from wmjax.suspects.formats.orbax_items import Items
from wmjax.suspects.formats.pack import FORMAT as PACK
from wmjax.suspects.formats.pack import open_pack
from wmjax.suspects.formats.pickles import Pickle, read_pickle
from wmjax.suspects.formats.safetensors import INDEX, File, Tensor, read_header, read_index
from wmjax.suspects.formats.torch_hub import CONFIG, PIXELS, WEIGHTS, of_hub, of_recipe, read_hub
from wmjax.suspects.links import bounds, leads_into
from wmjax.suspects.matching import Match, fitting, matches, matching, sizes
from wmjax.suspects.network import from_config, from_module, is_named, named
from wmjax.suspects.sets import ADAPTERS, Fit, left_over, parts_of
from wmjax.suspects.sniff import WHY, Format, kind_of
from wmjax.suspects.sources import Joined, Partial, one_by_one

CHECKPOINT = "_CHECKPOINT_METADATA"  # describes an Orbax checkpoint, in its folder
_LARGEST_JSON = 16 << 20
_ADAPTER = re.compile(rf"{ADAPTERS}_.*")
_ADAPTED = (
    "an adapter: changes of another model's weights, no model: merge it into that one (peft's merge_and_unload), "
    "and give what is saved then"
)
_NAME_IT = "bare weights do not say of what network they are: name it with `models`"
DOCUMENTS = frozenset(  # of Orbax's, in the folders of checkpoints and their items
    (CHECKPOINT, orbax.ITEM, "orbax.checkpoint", "manifest.ocdbt", "_sharding", "_strings.json", "commit_success.txt")
)
_CONFIGURATIONS = (CONFIG, PIXELS)
_WHOLE = Fit(".", {})  # the one set of weights of a file that is a network
_HALF = "a half-written or damaged checkpoint: it holds no tensors"
_PYTORCH = (
    "its tensors have PyTorch's names: `models` timm:NAME, torchvision:NAME or module:factory say of what network they "
    "are; so does a config.json of transformers or timm beside them"
)
_SourceOf = Callable[[Mapping[str, str]], Source]
_DAMAGE = (ValueError, LookupError, TypeError, AttributeError, ArithmeticError, RuntimeError, MemoryError)


def check(wanted: Wanted) -> None:
    """Raises `UsageError` where one of `models` names no architecture, or a module that takes none of the images."""
    pixels.check(wanted.pixels)
    for model in wanted.models:
        if is_named(model):
            from wmjax.suspects.formats.torch_named import check as check_name

            check_name(model)
        elif model not in FAMILIES:  # wmjax's own are made when a head says how many classes there are
            named(model, wanted.images, wanted.classes, wanted.pixels)


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
    pixels.check(wanted.pixels)
    if not path.exists():
        raise AccessError(f"{path} does not exist: give a checkpoint, a run folder or a model's file")
    weights = next((path / name for name in WEIGHTS if (path / name).exists() and (path / CONFIG).exists()), path)
    found = in_checkpoint(checkpoint.latest(path) or path, wanted) if weights.is_dir() else in_file(weights, wanted)
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
        if not wanted.models:
            raise UsageError(_NAME_IT)
        held = Items(items)
        held.check()
        return _models(path, items[0] / orbax.ITEM, matching(held.tensors, wanted), held.source, held.tensors)


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

    tried, source = open_onnx(path, wanted)
    found = matches([(image, network, [_WHOLE]) for image, network in tried], wanted.images)
    parts = () if source.held == path else (source.held,)
    return _models(path, source.held, list(found), lambda names: source, {}, parts)


def _safetensors(path: Path, wanted: Wanted) -> list[Stored]:
    header = read_header(path)
    if header.metadata.get("format") == PACK:
        return open_pack(path, header, partial(_described, path, wanted))
    try:
        source = partial(File, path, header, stacked=False)
        return _tried(path, _shapes(header.tensors), _config(path, header.metadata), source, wanted)
    except WmjaxError as error:
        if shard := re.fullmatch(r"(.+)-\d{5}-of-\d{5}\.safetensors", path.name):
            raise InvalidFile(f"one of several files of a model: {shard[1]}{INDEX} tells of all") from error
        raise


def _index(path: Path, wanted: Wanted) -> list[Stored]:
    """Models whose tensors lie in several safetensors files."""
    places = read_index(path)
    shards = sorted(set(places.values()))
    for shard in shards:
        if not leads_into(shard, bounds(path.parent.resolve())):
            raise InvalidFile(f"{shard.name} is a link out of the model's folder: put what it points to there")
    headers = {shard: read_header(shard) for shard in shards}
    if missing := next((name for name, shard in places.items() if name not in headers[shard].tensors), None):
        raise InvalidFile(f"its tensor {missing!r:.100} is not in {places[missing].name}")
    for shard in shards:  # another model would hide in what is taken for a part
        if more := next((name for name in headers[shard].tensors if name not in places), None):
            raise InvalidFile(f"it does not name the tensor {more!r:.100} of {shard.name}")

    def source(names: Mapping[str, str]) -> Source:
        parts: dict[Path, dict[str, str]] = {}
        for name, there in names.items():
            parts.setdefault(places[there], {})[name] = there
        return Joined([(File(shard, headers[shard], own, stacked=False), tuple(own)) for shard, own in parts.items()])

    tensors = _shapes({name: headers[shard].tensors[name] for name, shard in places.items()})
    return _tried(path, tensors, _config(path, {}), source, wanted, tuple(shards))


def _msgpack(path: Path, wanted: Wanted) -> list[Stored]:
    header = read_msgpack(path)
    return _tried(path, _shapes(header.tensors), None, partial(File, path, header, stacked=False), wanted)


def _arrays(path: Path, wanted: Wanted) -> list[Stored]:
    tensors, stamp = read_npz(path)
    return _tried(path, tensors, None, partial(Npz, path, stamp), wanted)


def _export(kind: Format, path: Path, wanted: Wanted) -> list[Stored]:
    from wmjax.suspects.formats.export import open_export

    networks, source = open_export(path, wanted, kind), NoWeights()
    several = len(networks) > 1
    return [Stored(one, source, path, path, f"{one.classes}-classes" if several else "") for one in networks]


def _pickle(kind: Format, path: Path, wanted: Wanted) -> list[Stored]:
    if not wanted.pickles:
        raise InvalidFile(WHY[kind])
    header = read_pickle(path)
    return _tried(path, _shapes(header.tensors), None, partial(Pickle, path, header), wanted)


_READERS: Mapping[Format, Callable[[Path, Wanted], list[Stored]]] = {
    Format.SAFETENSORS: _safetensors,
    Format.INDEX: _index,
    Format.ONNX: _onnx,
    Format.MSGPACK: _msgpack,
    Format.ARRAYS: _arrays,
    Format.JAX_EXPORT: partial(_export, Format.JAX_EXPORT),
    Format.KERAS: partial(_export, Format.KERAS),
    Format.HDF5: partial(_export, Format.HDF5),
    Format.TORCH: partial(_pickle, Format.TORCH),
    Format.TORCHSCRIPT: partial(_pickle, Format.TORCHSCRIPT),
    Format.TORCH_EXPORT: partial(_pickle, Format.TORCH_EXPORT),
    Format.PICKLE: partial(_pickle, Format.PICKLE),
}


def _shapes(tensors: Mapping[str, Tensor]) -> Tensors:
    return {name: (tensor.shape, str(tensor.dtype)) for name, tensor in tensors.items()}


def _tried(
    path: Path,
    tensors: Tensors,
    config: Config | None,
    source_of: _SourceOf,
    wanted: Wanted,
    parts: tuple[Path, ...] = (),
) -> list[Stored]:
    """The models of a file's tensors: of the network that it describes, or of those that the user names."""
    described = ""
    try:
        if config:
            return _models(path, path, fitting(from_config(config), tensors), source_of, tensors, parts)
        if found := _of_hub(path, tensors, source_of, wanted, parts):
            return found
    except InvalidFile as error:  # the file may be another than the one that is described beside it
        if not wanted.models:
            raise
        described = f"as it is described {error}"
    if any(_ADAPTER.fullmatch(part) for name in tensors for part in parts_of(name)):
        other = _ADAPTED
    else:
        other = _PYTORCH if any(name.endswith((".weight", ".running_mean")) for name in tensors) else ""
    if not wanted.models:
        raise InvalidFile(other) if other else UsageError(_NAME_IT)
    try:
        return _models(path, path, matching(tensors, wanted), source_of, tensors, parts)
    except InvalidFile as error:
        told = (other,) if other is _ADAPTED else (str(error), described or other)
        raise InvalidFile("; ".join(part for part in told if part)) from error


def _of_hub(
    path: Path, tensors: Tensors, source_of: _SourceOf, wanted: Wanted, parts: tuple[Path, ...]
) -> list[Stored]:
    """The models of a file's tensors by a config.json of transformers or timm beside it; none where there is none."""
    hub = read_hub(_json(path.with_name(CONFIG)), _json(path.with_name(PIXELS)))
    if hub is None:
        return []
    matches, source_of = of_hub(hub, tensors, source_of, wanted)
    found = _models(path, path, matches, source_of, tensors, parts)
    return [dataclasses.replace(stored, class_names=hub.class_names) for stored in found]


def _models(
    path: Path,
    held: Path,
    matches: Sequence[Match],
    source_of: _SourceOf,
    tensors: Tensors,
    parts: tuple[Path, ...] = (),
) -> list[Stored]:
    """What was found at a path: a set of weights that lacks something is there, and cannot be asked."""
    found: list[Stored] = []
    left = left_over([match.fit for match in matches], tensors)
    sources: dict[int, list[tuple[str, Source]]] = {}
    for network, fit, name in matches:
        if id(fit) not in sources:
            source = Partial(fit.lacks) if fit.lacks else source_of(fit.names)
            several = fit.replicas and not fit.lacks
            sources[id(fit)] = one_by_one(source, network.shapes, fit.replicas) if several else [("", source)]
        for replica, source in sources[id(fit)]:
            whole = ":".join(part for part in (name, replica) if part)
            found.append(Stored(network, source, path, held, whole, parts=parts, passed=fit.passed, left=left))
    return found


def _described(path: Path, wanted: Wanted, description: Mapping[str, Any]) -> list[Network]:
    """A pack's networks, one for each size that is meant; a module that the user did not name is not imported.

    How pixels are prepared is believed of it where the user says so, as of any file.
    """
    said = str(description.get("pixels", "")) if wanted.pixels == pixels.STATED else wanted.pixels
    pixels.check(said)
    if "config" in description:
        return [from_config(read_config(description["config"]))]
    if "torch" in description:
        return [of_recipe(description["torch"], wanted.pixels)]
    if "onnx" in description:
        return _packed_onnx(path, dataclasses.replace(wanted, pixels=said or wanted.pixels), description)
    module, image = description.get("module", ""), description.get("image")
    if module not in wanted.models:
        raise UsageError(f"it is of the module {module!s:.80}: allow that with `models`")
    height, width, channels = (int(n) for n in image or ())
    classes = (int(description["classes"]),) if "classes" in description else ()
    if is_named(str(module)):
        network = named(str(module), ((height, width, channels),), classes, said)[0]
    else:
        network = from_module(str(module), (height, width, channels), said, classes)
    return sizes(network, wanted)


def _packed_onnx(path: Path, wanted: Wanted, description: Mapping[str, Any]) -> list[Network]:
    from wmjax.suspects.formats.onnx import open_packed

    tried = open_packed(description, path, wanted)
    found = matches([(image, network, [_WHOLE]) for image, network in tried], wanted.images)
    return [match.network for match in found]


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
    """What a small file holds; None where there is none, no JSON, or a link that leads elsewhere."""
    try:
        if path.is_symlink() and not leads_into(path, bounds(path.parent.resolve())):
            return None
        if not path.is_file() or path.stat().st_size > _LARGEST_JSON:
            return None
        with stores.present(path):
            return json.loads(path.read_bytes())
    except (OSError, ValueError, RecursionError):
        return None
