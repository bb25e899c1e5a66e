"""Weights beside a config.json of transformers or timm, as the Hub has them: what network they are of.

The library that wrote a configuration builds the network and says what its tensors are called; nothing is downloaded,
and no code of a folder is run. Models of one architecture share a `Network`, whatever their classes are called.
"""

import dataclasses
import json
from collections.abc import Callable, Mapping
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
from jax import Array

from wmjax.errors import InvalidFile
from wmjax.orbax import FLOATS, Tensors
from wmjax.suspects import pixels
from wmjax.suspects.contract import Image, Network, Source, Wanted, Weights
from wmjax.suspects.formats import torch_build as build
from wmjax.suspects.formats.torch_pixels import Prepared, by_processor, by_timm
from wmjax.suspects.grounds import AskedGround
from wmjax.suspects.network import checked
from wmjax.suspects.torch_module import as_function, lock
from wmjax.text import first_line

CONFIG, PIXELS = "config.json", "preprocessor_config.json"
WEIGHTS = ("model.safetensors", "model.safetensors.index.json")
_LARGEST_JSON = 8 << 20
_SIDE = 224  # of a network whose files say nothing, where no key says it either


@dataclasses.dataclass(frozen=True)
class Hub:
    """What the files beside a model's weights say.

    Attributes:
      library: which wrote them: `transformers` or `timm`.
      family: of their configuration all but the names of classes.
      processor: how transformers prepares pixels; None where it is not said.
      labels: names of the classes; empty where they have none.
    """

    library: str
    family: build.Values
    processor: build.Values | None
    labels: tuple[str, ...]


def read_hub(folder: Path) -> Hub | None:
    """What a folder's config.json says; None where it is of neither library.

    Raises:
      InvalidFile: it is of one of them, and needs more than weights.
    """
    values = _json(folder / CONFIG)
    if not isinstance(values, dict):
        return None
    if isinstance(values.get("model_type"), str):
        processor = _json(folder / PIXELS)
        said = processor if isinstance(processor, dict) else None
        return Hub("transformers", build.transformers_family(values), said, _labels(values.get("id2label")))
    if isinstance(values.get("architecture"), str):
        return Hub("timm", build.timm_family(values), None, _labels(values.get("label_names")))
    return None


def _labels(said: Any) -> tuple[str, ...]:
    """Names of classes in their order; those that say no more than numbers are none."""
    values = [said[key] for key in sorted(said, key=lambda key: int(key))] if isinstance(said, dict) else said
    if not isinstance(values, list) or not all(isinstance(name, str) for name in values):
        return ()
    return () if all(name == f"LABEL_{number}" for number, name in enumerate(values)) else tuple(values)


def open_hub(
    hub: Hub, stored: Tensors, source_of: Callable[[Mapping[str, str]], Source], wanted: Wanted
) -> tuple[Network, Source]:
    """The classifier of a configuration, and the way to its weights.

    Args:
      hub: as `read_hub` gave it.
      stored: shapes and dtypes of the tensors that are there, by name.
      source_of: the source of tensors, given the stored name of each.
      wanted: the keys' images are those that a network takes whose files do not say it.

    Raises:
      UsageError: PyTorch or the library is missing.
      InvalidFile: it is no image classifier, or its tensors are not those of its configuration.
    """
    recipe = {
        "library": hub.library,
        "family": hub.family,
        "processor": hub.processor,
        "image": _size(hub.family, wanted),
        "pixels": wanted.pixels,
    }
    network, names = _network(json.dumps(recipe, sort_keys=True), tuple(sorted(stored.items())))
    if names is None:
        return network, Joined(source_of({name: name for name in stored}), json.dumps(hub.family), stored)
    return network, source_of(names)


def _size(family: build.Values, wanted: Wanted) -> Image:
    """Height, width and channels that a network takes whose processor does not say it."""
    said, channels = family.get("image_size"), int(family.get("num_channels", 3))
    if isinstance(said, int):
        return said, said, channels
    if isinstance(said, list) and len(said) == 2:
        return int(said[0]), int(said[1]), channels
    height, width = wanted.images[0][:2] if wanted.images else (_SIDE, _SIDE)
    return height, width, channels


@lru_cache(maxsize=256)  # thousands of models have the same tensors
def _network(told: str, stored: tuple[tuple[str, Any], ...]) -> tuple[Network, Mapping[str, str] | None]:
    """The network of a recipe, and the stored name of each of its tensors; None where transformers joins some."""
    recipe, tensors = json.loads(told), dict(stored)
    family = recipe["family"]
    if recipe["library"] == "timm":
        names: Mapping[str, str] | None = {name: name for name in tensors}
        network = _traced(told) or _trace(told, build.timm_module(family, len(tensors)))
    else:
        module, names = build.transformers_module(family, tensors)
        network = _traced(told) or _trace(told, module)
    if names is not None:
        _check_there(network, names, tensors)
        names = {name: names[name] for name in network.shapes}
    return network, names


_networks: dict[str, Network] = {}
_traced = _networks.get


def _trace(told: str, module: Any) -> Network:
    """The network of a recipe: one object, under whatever names its tensors are stored."""
    recipe = json.loads(told)
    family, prepared = recipe["family"], _prepared(recipe)
    image = prepared.image if prepared else tuple(recipe["image"])
    name = family.get("architecture") or (family.get("architectures") or [family["model_type"]])[0]
    ways = ("",) if prepared else pixels.ways(recipe["pixels"])
    try:
        shapes, answer = as_function(module)

        def logits(weights: Weights, images: Array, reading: Array | int = 0) -> Array:
            return answer(weights, prepared(images) if prepared else pixels.prepare(images, ways, reading))

        note = AskedGround.PIXELS_OWN if prepared else ""
        _networks[told] = checked(str(name), shapes, logits, image, note, {"torch": recipe}, ways)
    except Exception as error:  # a network of any kind: what JAX lacks for it, or it does not answer as a classifier
        raise InvalidFile(f"{name!s:.80} cannot be run here: {type(error).__name__} {first_line(error)}") from error
    return _networks[told]


def _prepared(recipe: Mapping[str, Any]) -> Prepared | None:
    if recipe["library"] == "timm":
        return by_timm(recipe["family"]["pretrained_cfg"])
    return by_processor(recipe["processor"], recipe["family"]) if recipe["processor"] else None


def _check_there(network: Network, names: Mapping[str, str], stored: Tensors) -> None:
    for name, leaf in network.shapes.items():
        shape, dtype = stored.get(names.get(name, ""), ((), ""))
        if dtype not in FLOATS or shape != leaf.shape:
            what = f"{name:.100} with shape {list(leaf.shape)}"
            raise InvalidFile(f"its tensors are not those of its config.json: {what} is not there")


@dataclasses.dataclass(frozen=True, eq=False)
class Joined:
    """A model whose stored tensors transformers joins or splits, as a `Source`.

    Attributes:
      source: of the tensors under their stored names.
      family: of its configuration, in JSON.
      stored: shapes and dtypes of all that is stored.
    """

    source: Source
    family: str
    stored: Tensors

    def read(self, start: int, stop: int, out: Weights) -> None:
        """Fills `out[name][0]` with what transformers makes of the tensors."""
        import torch

        dtypes = {name: np.dtype(np.float32 if dtype in FLOATS else dtype) for name, (_, dtype) in self.stored.items()}
        found = {name: np.empty((1, *shape), dtypes[name]) for name, (shape, _) in self.stored.items()}
        self.source.read(0, 1, found)
        given = {name: torch.from_numpy(array[0]) for name, array in found.items()}
        with lock:
            made = build.loaded(json.loads(self.family), given, self.stored).state_dict()
        for name, rows in out.items():
            rows[0] = made[name].numpy()


def _json(path: Path) -> Any:
    """What a small file holds; None where there is none, or no JSON."""
    try:
        if not path.is_file() or path.stat().st_size > _LARGEST_JSON:
            return None
        return json.loads(path.read_bytes())
    except (OSError, ValueError, RecursionError):
        return None
