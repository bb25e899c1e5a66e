"""The models in a file, whatever its ending: for each kind how they are found. Headers alone are read, no weight."""

import dataclasses
import re
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import Any

from wmjax.errors import InvalidFile, UsageError, WmjaxError
from wmjax.models import read_config
from wmjax.orbax import Tensors
from wmjax.suspects import pixels
from wmjax.suspects.contract import Network, NoWeights, Source, Stored, Wanted
from wmjax.suspects.described import by_description, in_part, noted, read_configurations, rows_as_named, stored_models
from wmjax.suspects.formats.msgpack import read_msgpack
from wmjax.suspects.formats.npz import Npz, read_npz
from wmjax.suspects.formats.pack import FORMAT as PACK
from wmjax.suspects.formats.pack import open_pack
from wmjax.suspects.formats.pickles import Pickle, read_pickle
from wmjax.suspects.formats.safetensors import INDEX, File, Tensor, read_header, read_index
from wmjax.suspects.formats.torch_hub import of_recipe
from wmjax.suspects.grounds import AskedGround
from wmjax.suspects.guarded import one_line
from wmjax.suspects.kinds import WHY, Format, parts
from wmjax.suspects.links import bounds, leads_into
from wmjax.suspects.matching import matches, sizes
from wmjax.suspects.meant import as_described
from wmjax.suspects.modules import from_module
from wmjax.suspects.named import is_named, networks_named
from wmjax.suspects.sets import Fit
from wmjax.suspects.sniff import kind_of
from wmjax.suspects.sources import Joined
from wmjax.suspects.unfinished import unfinished

_WHOLE = Fit(".", {})  # the one set of weights of a file that is a network


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
    return stored_models(path, source.held, list(found), lambda names: source, {}, source.parts)


def _safetensors(path: Path, wanted: Wanted) -> list[Stored]:
    header = read_header(path)
    if header.metadata.get("format") == PACK:
        rows = in_part(open_pack(path, header, partial(_described, path, wanted)), unfinished(path))
        one = {name: (shape[1:], dtype) for name, (shape, dtype) in _shapes(header.tensors).items()}
        return rows_as_named(rows, one, partial(File, path, header, stacked=True), wanted) if rows else []
    try:
        source = partial(File, path, header, stacked=False)
        return by_description(path, _shapes(header.tensors), read_configurations(path, header.metadata), source, wanted)
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
        if more := next((name for name in headers[shard].tensors if places.get(name) != shard), None):
            raise InvalidFile(f"it does not name the tensor {more!r:.100} of {shard.name}")

    def source(names: Mapping[str, str]) -> Source:
        parts: dict[Path, dict[str, str]] = {}
        for name, there in names.items():
            parts.setdefault(places[there], {})[name] = there
        return Joined([(File(shard, headers[shard], own, stacked=False), tuple(own)) for shard, own in parts.items()])

    tensors = _shapes({name: headers[shard].tensors[name] for name, shard in places.items()})
    return by_description(path, tensors, read_configurations(path, {}), source, wanted, tuple(shards))


def _msgpack(path: Path, wanted: Wanted) -> list[Stored]:
    header = read_msgpack(path)
    return by_description(path, _shapes(header.tensors), (), partial(File, path, header, stacked=False), wanted)


def _arrays(path: Path, wanted: Wanted) -> list[Stored]:
    tensors, stamp = read_npz(path)
    return by_description(path, tensors, (), partial(Npz, path, stamp), wanted)


def _foreign(kind: Format, path: Path, wanted: Wanted) -> list[Stored]:
    from wmjax.suspects.formats.foreign import open_foreign

    beside = parts(path, kind)
    if outside := next((part for part in beside if not leads_into(part, bounds(path.parent.resolve()))), None):
        raise InvalidFile(f"{outside.name} is a link out of the model's folder: put what it points to there")
    left = unfinished(path, *beside)
    tried, source = open_foreign(path, wanted, kind, in_part=bool(left)), NoWeights()
    found = matches([(image, network, [_WHOLE]) for image, network in tried], wanted.images)
    return [Stored(match.network, source, path, path, match.name, parts=beside, left=left) for match in found]


def _pickle(kind: Format, path: Path, wanted: Wanted) -> list[Stored]:
    if not wanted.pickles:
        raise InvalidFile(WHY[kind])
    header = read_pickle(path)
    found = by_description(path, _shapes(header.tensors), (), partial(Pickle, path, header), wanted)
    if kind in (Format.TORCHSCRIPT, Format.TORCH_EXPORT):
        without = AskedGround.WEIGHTS_ALONE  # the program
        return [dataclasses.replace(stored, network=noted(stored.network, without)) for stored in found]
    return found


_READERS: Mapping[Format, Callable[[Path, Wanted], list[Stored]]] = {
    Format.SAFETENSORS: _safetensors,
    Format.INDEX: _index,
    Format.ONNX: _onnx,
    Format.MSGPACK: _msgpack,
    Format.ARRAYS: _arrays,
    Format.JAX_EXPORT: partial(_foreign, Format.JAX_EXPORT),
    Format.KERAS: partial(_foreign, Format.KERAS),
    Format.HDF5: partial(_foreign, Format.HDF5),
    Format.TFLITE: partial(_foreign, Format.TFLITE),
    Format.ORT: partial(_foreign, Format.ORT),
    Format.OPENVINO: partial(_foreign, Format.OPENVINO),
    Format.SAVED_MODEL: partial(_foreign, Format.SAVED_MODEL),
    Format.FROZEN_GRAPH: partial(_foreign, Format.FROZEN_GRAPH),
    Format.TORCH: partial(_pickle, Format.TORCH),
    Format.TORCHSCRIPT: partial(_pickle, Format.TORCHSCRIPT),
    Format.TORCH_EXPORT: partial(_pickle, Format.TORCH_EXPORT),
    Format.PICKLE: partial(_pickle, Format.PICKLE),
}


def _shapes(tensors: Mapping[str, Tensor]) -> Tensors:
    return {name: (tensor.shape, str(tensor.dtype)) for name, tensor in tensors.items()}


def _described(path: Path, wanted: Wanted, description: Mapping[str, Any]) -> list[Network]:
    """A pack's networks, one for each size that is meant; a module that the user did not name is not imported.

    How pixels are prepared is believed of it where the user says so, as of any file.
    """
    said = str(description.get("pixels", "")) if wanted.pixels == pixels.STATED else wanted.pixels
    pixels.check(said)
    if "config" in description:
        return [as_described((read_config(description["config"]),))]
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
        network = networks_named(str(module), ((height, width, channels),), classes, said)[0]
    else:
        network = from_module(str(module), (height, width, channels), said, classes)
    return sizes(network, wanted)


def _packed_onnx(path: Path, wanted: Wanted, description: Mapping[str, Any]) -> list[Network]:
    from wmjax.suspects.formats.onnx import open_packed

    tried = open_packed(description, path, wanted)
    found = matches([(image, network, [_WHOLE]) for image, network in tried], wanted.images)
    return [match.network for match in found]
