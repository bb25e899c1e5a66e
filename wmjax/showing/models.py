"""Files of models, by their headers: no weight is read, no network is built, and no program in them runs."""

import importlib.util
import json
import math
import os
from collections.abc import Callable, Mapping
from functools import partial
from itertools import islice
from typing import Any

from wmjax.errors import AccessError
from wmjax.files import read_bytes
from wmjax.showing.contract import Facts, Glimpse, Kind, parsed, said
from wmjax.suspects.formats.msgpack import read_msgpack
from wmjax.suspects.formats.npz import read_npz
from wmjax.suspects.formats.onnx_read import parse
from wmjax.suspects.formats.safetensors import Header, read_header, read_index
from wmjax.suspects.kinds import WHY, Format
from wmjax.suspects.tensor_names import is_adapter

_ADAPTER = "none: an adapter, which changes another model's weights"
_SHOWN = 3  # names of tensors or models
_MOST = 10_000  # entries of a folder that are counted
_RANK = 8  # dimensions of a shape that are told
_CONFIG = 1 << 20  # bytes of a configuration beside weights
_NAME_IT = "not said: whoever asks it names it (`--model`)"


def _weights(tensors: Mapping[str, tuple[tuple[int, ...], str]]) -> Facts:
    return {
        "tensors": len(tensors),
        "weights": sum(math.prod(shape) for shape, _ in tensors.values()),
        "precision": sorted({dtype for _, dtype in tensors.values()}),
        "first_tensors": [said(name) for name in islice(tensors, _SHOWN)],
    }


def _of(header: Header) -> Facts:
    return _weights({name: (tensor.shape, str(tensor.dtype)) for name, tensor in header.tensors.items()})


def _safetensors(seen: Glimpse) -> Facts:
    header = read_header(seen.path)
    config = parsed(header.metadata.get("config", "").encode()) or _beside(seen)
    named = _ADAPTER if is_adapter(header.tensors) else _network(config) or _NAME_IT
    return {**_of(header), "network": named}


def _beside(seen: Glimpse) -> dict[str, Any]:
    """The configuration of weights in a file of their own."""
    for path in (seen.path.with_suffix(".json"), seen.path.with_name("config.json")):
        try:
            if path.is_file() and path.stat().st_size <= _CONFIG and (values := parsed(read_bytes(path))):
                return values
        except (OSError, AccessError):
            continue
    return {}


def _network(config: Mapping[str, Any]) -> str:
    """What a configuration of wmjax, transformers or timm names; empty where it names nothing."""
    names = (config.get(name) for name in ("name", "architecture", "model_type"))
    return next((str(said(name)) for name in names if isinstance(name, str)), "")


def _pack(seen: Glimpse) -> Facts:
    header = read_header(seen.path)
    network, names = (json.loads(header.metadata[name]) for name in ("network", "models"))
    models = [name for name in names if name is not None]
    config = network.get("config", network)
    told = _network(config) or said(network.get("module")) or said(network.get("torch")) or "an ONNX graph"
    return {"models": len(models), "first_models": [said(name) for name in models[:_SHOWN]], "network": told}


def _is_pack(seen: Glimpse) -> bool:
    return b'"wmjax-pack/' in seen.head and _is(Format.SAFETENSORS, seen)


def _index(seen: Glimpse) -> Facts:
    places = read_index(seen.path)
    return {"files": len(set(places.values())), "tensors": len(places), "network": _network(_beside(seen)) or _NAME_IT}


def _msgpack(seen: Glimpse) -> Facts:
    return {**_of(read_msgpack(seen.path)), "network": _NAME_IT}


def _arrays(seen: Glimpse) -> Facts:
    return {**_weights(read_npz(seen.path)[0]), "network": _NAME_IT}


def _onnx(seen: Glimpse) -> Facts:
    """What goes in and comes out of a graph, as it says itself; bounded as where it is asked."""
    if importlib.util.find_spec("onnx") is None:
        return {"size": seen.size, "read": "when the package onnx is installed: pip install 'wmjax[onnx]'"}
    model = parse(seen.path)
    graph, weights = model.graph, {tensor.name for tensor in model.graph.initializer}
    return {
        "inputs": [_end(one) for one in graph.input if one.name not in weights][:_SHOWN],
        "outputs": [_end(one) for one in graph.output][:_SHOWN],
        "operators": len(graph.node),
        "tensors": len(weights),
        "weights": sum(math.prod(tensor.dims) for tensor in graph.initializer),
        "made_by": said(str(model.producer_name)) or None,
    }


def _end(value: Any) -> str:
    """An input's or output's name and shape; what is left open has a name or none."""
    sizes = [str(size.dim_value or said(size.dim_param) or "?") for size in value.type.tensor_type.shape.dim]
    return f"{said(value.name)} [{', '.join(sizes[:_RANK])}]"


def _program(seen: Glimpse) -> Facts:
    """What is only read where it is asked, in a process of its own."""
    return {"size": seen.size, "read": "when it is asked, e.g. by `wmjax verify`"}


def _refused(kind: Format, seen: Glimpse) -> Facts:
    return {"format": kind.value, "size": seen.size, "why": WHY[kind]}


def _folder(seen: Glimpse) -> Facts:
    """Counts what is in it; which of it are models an audit finds out."""
    with os.scandir(seen.path) as entries:
        kinds = [entry.is_dir() for entry in islice(entries, _MOST)]
    more = " or more" if len(kinds) == _MOST else ""
    config = _network(_beside_in(seen))
    return {
        "files": f"{kinds.count(False)}{more}",
        "folders": f"{kinds.count(True)}{more}",
        **({"network": config} if config else {}),
        "models": "if it holds any, `wmjax audit FOLDER` finds and asks all of them",
    }


def _beside_in(seen: Glimpse) -> dict[str, Any]:
    return _beside(Glimpse(seen.path / "model", False, 0, b""))


def _is(kind: Format, seen: Glimpse) -> bool:
    return seen.format is kind


def _kind(kind: Format, words: str, facts: Callable[[Glimpse], Facts]) -> Kind:
    return Kind(kind.value, words, partial(_is, kind), facts)


KINDS = (
    Kind("pack", "a pack: many models of one family", _is_pack, _pack),
    _kind(Format.SAFETENSORS, "weights in safetensors", _safetensors),
    _kind(Format.INDEX, "a model in several safetensors files", _index),
    _kind(Format.MSGPACK, "weights in msgpack, as Flax writes them", _msgpack),
    _kind(Format.ARRAYS, "weights in an archive of NumPy's", _arrays),
    _kind(Format.ONNX, "an ONNX model", _onnx),
    _kind(Format.JAX_EXPORT, "a program of jax.export", _program),
    _kind(Format.KERAS, "a Keras model", _program),
    _kind(Format.HDF5, "an HDF5 file, as Keras writes them", _program),
    _kind(Format.TFLITE, "a TensorFlow Lite model", _program),
    _kind(Format.ORT, "a model in ONNX Runtime's own format", _program),
    _kind(Format.OPENVINO, "a graph of OpenVINO", _program),
    _kind(Format.SAVED_MODEL, "a SavedModel of TensorFlow", _program),
    _kind(Format.FROZEN_GRAPH, "a frozen graph of TensorFlow", _program),
    *(_kind(kind, "a file that is not read as a model", partial(_refused, kind)) for kind in WHY),
    Kind("folder", "a folder", lambda seen: seen.folder, _folder),
    Kind("other", "neither a file of wmjax nor a model", lambda seen: True, lambda seen: {"size": seen.size}),
)
