"""Folders of transformers and timm as the Hub has them: config.json, weights in safetensors, how pixels are prepared.

Files are read by wmjax alone, and each library builds and names what it wrote; nothing is downloaded, and no code of a
folder is run. Folders of one architecture share a `Network`, whatever their classes are called.
"""

import dataclasses
import json
import math
from collections.abc import Mapping
from functools import lru_cache
from pathlib import Path
from typing import Any

import jax.numpy as jnp
import numpy as np
from jax import Array

from wmjax.errors import InvalidFile
from wmjax.suspects.contract import Image, Network, Source, Stored, Wanted, Weights
from wmjax.suspects.formats import torch_build as build
from wmjax.suspects.formats.safetensors import File, Header, read_header
from wmjax.suspects.formats.torch_pixels import Prepared, by_processor, by_timm
from wmjax.suspects.grounds import AskedGround
from wmjax.suspects.network import checked
from wmjax.suspects.torch_module import as_function, lock, needs_torch

CONFIG, WEIGHTS, INDEX, PIXELS = "config.json", "model.safetensors", "model.safetensors.index.json", (
    "preprocessor_config.json"
)
_LARGEST_JSON = 8 << 20
_MOST_SHARDS = 1024
_SIDE = 224  # of a network whose files say nothing, where no key says it either


@dataclasses.dataclass(frozen=True)
class Parts:
    """The one model that lies in several files, as a `Source`.

    Attributes:
      files: that hold it, each some of the tensors.
    """

    files: tuple[File, ...]

    def read(self, start: int, stop: int, out: Weights) -> None:
        """Fills `out` as each file does."""
        for file in self.files:
            file.read(start, stop, {name: rows for name, rows in out.items() if name in file.names})


@dataclasses.dataclass(frozen=True)
class Joined:
    """A model whose stored tensors transformers joins or splits, as a `Source`.

    Attributes:
      parts: that hold it, under their stored names.
      family: as of `torch_build.transformers_family`, in JSON.
    """

    parts: Parts
    family: str

    def read(self, start: int, stop: int, out: Weights) -> None:
        """Fills `out[name][0]` with what transformers makes of the files."""
        import torch

        found = {}
        for file in self.parts.files:
            tensors = file.header.tensors
            found |= {name: np.empty((1, *at.shape), _float32(at.dtype)) for name, at in tensors.items()}
        self.parts.read(0, 1, found)
        given = {name: torch.from_numpy(array[0]) for name, array in found.items()}
        with lock:
            module = build.loaded(json.loads(self.family), given, _stored(self.parts.files))
        made = module.state_dict()
        for name, rows in out.items():
            rows[0] = made[name].numpy()


def _float32(dtype: np.dtype[Any]) -> np.dtype[Any]:
    return dtype if np.issubdtype(dtype, np.integer) or dtype == np.bool_ else np.dtype(np.float32)


def is_hub(folder: Path) -> bool:
    """Whether a folder is one that transformers or timm wrote, with weights in safetensors."""
    return any((folder / name).is_file() for name in (WEIGHTS, INDEX)) and _library(_json(folder / CONFIG)) != ""


def _library(values: Any) -> str:
    """Which library wrote a configuration."""
    if isinstance(values, dict) and isinstance(values.get("model_type"), str):
        return "transformers"
    return "timm" if isinstance(values, dict) and isinstance(values.get("architecture"), str) else ""


def files_of(folder: Path) -> set[Path]:
    """What of a folder is its model's: configurations and weights."""
    try:
        weights = _weights(folder)
    except InvalidFile:
        weights = []
    return {folder / name for name in (CONFIG, INDEX, PIXELS)} | set(weights)


def open_folder(folder: Path, wanted: Wanted) -> Stored:
    """The classifier in a folder; the same `Network` for folders that differ in weights and names of classes alone.

    Args:
      folder: for which `is_hub` holds.
      wanted: the keys' images are those that a network takes whose files do not say it.

    Raises:
      UsageError: PyTorch or the library is missing.
      AccessError: a file cannot be read.
      InvalidFile: it is no image classifier, or damaged, or its tensors are not those of its configuration.
    """
    needs_torch("its config.json")
    values, weights = _json(folder / CONFIG), _weights(folder)
    library = _library(values)
    headers = {path: read_header(path) for path in weights}
    files = tuple(File(path, header, {n: n for n in header.tensors}, stacked=False) for path, header in headers.items())
    stored = _stored(files)
    if library == "timm":
        family, processor = build.timm_family(values), None
    else:
        family, processor = build.transformers_family(values), _json(folder / PIXELS)
    recipe = {"library": library, "family": family, "processor": processor, "image": _size(family, wanted)}
    told = json.dumps(recipe, sort_keys=True)
    network, names = _network(told, tuple(sorted(stored.items())))
    held = folder / (WEIGHTS if (folder / WEIGHTS).is_file() else INDEX)
    return Stored(network, _source(files, names, json.dumps(family)), folder, held)


def _size(family: Mapping[str, Any], wanted: Wanted) -> Image:
    """Height, width and channels that a network takes whose files do not say it elsewhere."""
    said, channels = family.get("image_size"), family.get("num_channels", 3)
    if said is not None:
        sides = said if isinstance(said, list) else [said, said]
        return int(sides[0]), int(sides[1]), int(channels)
    height, width = wanted.images[0][:2] if wanted.images else (_SIDE, _SIDE)
    return height, width, int(channels)


@lru_cache(maxsize=256)
def _network(told: str, stored: tuple[tuple[str, Any], ...]) -> tuple[Network, Mapping[str, str] | None]:
    """The network of a recipe, and the stored name of each tensor; None where transformers joins some."""
    recipe, tensors = json.loads(told), dict(stored)
    family = recipe["family"]
    if recipe["library"] == "timm":
        made = build.timm_module(family, len(tensors))
        names: Mapping[str, str] | None = {name: name for name in tensors}
    else:
        made, names = build.transformers_module(family, tensors)
    network = _traced(told, made)
    if names is not None:
        _check_there(network, names, tensors)
    return network, names


_traced_once: dict[str, Network] = {}


def _traced(told: str, module: Any) -> Network:
    """The network of a recipe: one object, whatever names its tensors are stored under."""
    if told not in _traced_once:
        recipe = json.loads(told)
        family = recipe["family"]
        prepared = _prepared(recipe)
        image = prepared.image if prepared else tuple(recipe["image"])
        shapes, answer = as_function(module)

        def logits(weights: Weights, images: Array, reading: Array | int = 0) -> Array:
            return answer(weights, prepared(images) if prepared else images.astype(jnp.float32) / 255.0)

        name = family.get("architecture") or (family.get("architectures") or [family["model_type"]])[0]
        note = AskedGround.PIXELS_STATED if prepared else AskedGround.PIXELS_GUESSED
        _traced_once[told] = checked(str(name), shapes, logits, image, note, {"torch": recipe})
    return _traced_once[told]


def _prepared(recipe: Mapping[str, Any]) -> Prepared | None:
    if recipe["library"] == "timm":
        return by_timm(recipe["family"]["pretrained_cfg"])
    return by_processor(recipe["processor"], recipe["family"]) if isinstance(recipe["processor"], dict) else None


def _check_there(network: Network, names: Mapping[str, str], stored: build.Tensors) -> None:
    for name, leaf in network.shapes.items():
        shape, dtype = stored.get(names.get(name, ""), ((), ""))
        if "float" not in dtype or shape != leaf.shape:
            raise InvalidFile(f"its tensors are not those of its config.json: there is no {name:.100} {list(leaf.shape)}")


def _source(files: tuple[File, ...], names: Mapping[str, str] | None, family: str) -> Source:
    if names is None:
        return Joined(Parts(files), family)
    parts = []
    for file in files:
        own = {name: at for name, at in names.items() if at in file.header.tensors}
        parts.append(dataclasses.replace(file, names=own))
    return parts[0] if len(parts) == 1 else Parts(tuple(parts))


def _stored(files: tuple[File, ...]) -> build.Tensors:
    """Shapes and dtypes by stored name."""
    found: dict[str, tuple[tuple[int, ...], str]] = {}
    for file in files:
        for name, tensor in file.header.tensors.items():
            if name in found:
                raise InvalidFile(f"two of its files hold {name:.100}")
            found[name] = (tensor.shape, str(tensor.dtype))
    return found


def _weights(folder: Path) -> list[Path]:
    """The files that hold the tensors, in order."""
    if (folder / WEIGHTS).is_file():
        return [folder / WEIGHTS]
    index = _json(folder / INDEX)
    placed = index.get("weight_map") if isinstance(index, dict) else None
    if not isinstance(placed, dict) or not placed or not all(isinstance(name, str) for name in placed.values()):
        raise InvalidFile(f"its {INDEX} does not say where tensors are")
    names = sorted(set(placed.values()))
    if len(names) > _MOST_SHARDS or any("/" in name or "\\" in name or not name.endswith(".safetensors") for name in names):
        raise InvalidFile(f"its {INDEX} names files that are no parts of it")
    if missing := [name for name in names if not (folder / name).is_file()]:
        raise InvalidFile(f"its part {missing[0]:.100} is missing")
    return [folder / name for name in names]


def _json(path: Path) -> Any:
    """What a small file holds; None where there is none, or no JSON."""
    try:
        if not path.is_file() or path.stat().st_size > _LARGEST_JSON:
            return None
        return json.loads(path.read_bytes())
    except (OSError, ValueError, RecursionError):
        return None
