"""Weights beside a config.json of transformers or timm, as the Hub has them: what network they are of.

The library that wrote a configuration builds the network and says what its tensors are called; nothing is downloaded,
and no code of a folder is run. Models of one architecture share a `Network`, whatever their classes are called.
"""

import contextlib
import dataclasses
import json
from collections.abc import Callable, Mapping
from functools import lru_cache, partial
from typing import Any

import jax.numpy as jnp
import numpy as np
from jax import Array

from wmjax.errors import InvalidFile
from wmjax.orbax import Tensors
from wmjax.suspects import pixels
from wmjax.suspects.contract import Image, Network, Source, Wanted, Weights
from wmjax.suspects.formats import torch_build as build
from wmjax.suspects.formats.torch_pixels import Prepared, by_processor, by_timm
from wmjax.suspects.matching import Match, fitting, matches
from wmjax.suspects.network import checked
from wmjax.suspects.sets import Fit, sets_of
from wmjax.suspects.torch_module import as_function, needs_torch, scores
from wmjax.zarr import FLOATS

CONFIG, PIXELS = "config.json", "preprocessor_config.json"
WEIGHTS = ("model.safetensors", "model.safetensors.index.json", "pytorch_model.bin")  # the first that is there
_SIDE = 224  # of a network whose files say nothing, where no key says it either
_SourceOf = Callable[[Mapping[str, str]], Source]


@dataclasses.dataclass(frozen=True)
class Hub:
    """What the files beside a model's weights say.

    Attributes:
      library: which wrote them: `transformers` or `timm`.
      family: of their configuration all but the names of classes.
      processor: how transformers prepares pixels; None where it is not said.
      class_names: in the order of scores; empty where they have none.
    """

    library: str
    family: build.Values
    processor: build.Values | None = None
    class_names: tuple[str, ...] = ()


def read_hub(values: Any, processor: Any = None) -> Hub | None:
    """What a config.json says; None where it is of neither library.

    >>> read_hub({"architecture": "resnet18", "num_classes": 7}).family["pretrained_cfg"]
    {'num_classes': 7}

    Args:
      values: its JSON.
      processor: that of preprocessor_config.json; None where there is none.

    Raises:
      InvalidFile: it needs more than weights.
    """
    if not isinstance(values, dict):
        return None
    if isinstance(values.get("model_type"), str):
        said = processor if isinstance(processor, dict) else None
        return Hub("transformers", build.transformers_family(values), said, _class_names(values.get("id2label")))
    if isinstance(values.get("architecture"), str):
        return Hub("timm", build.timm_family(values), None, _class_names(values.get("label_names")))
    return None


def _class_names(said: Any) -> tuple[str, ...]:
    """Names of classes in their order; those that say no more than numbers are none."""
    values = [said[key] for key in sorted(said, key=int)] if isinstance(said, dict) else said
    if not isinstance(values, list) or not all(isinstance(name, str) for name in values):
        return ()
    return () if all(name == f"LABEL_{number}" for number, name in enumerate(values)) else tuple(values)


def of_hub(hub: Hub, stored: Tensors, source_of: _SourceOf, wanted: Wanted) -> tuple[list[Match], _SourceOf]:
    """The classifiers of a configuration, and the source of their tensors.

    Args:
      hub: as `read_hub` gave it.
      stored: shapes and dtypes of the tensors that are there, by name.
      source_of: the source of stored tensors.
      wanted: the keys' images are those that a network takes whose files do not say it.

    Raises:
      UsageError: PyTorch or the library is missing.
      InvalidFile: it is not an image classifier, or its tensors are not those of its configuration.
    """
    needs_torch("its config.json")
    tensors = tuple(sorted(stored.items()))
    images = wanted.images or ((_SIDE, _SIDE, 3),)
    found = [(image, *_network(_recipe(hub, image, wanted.pixels), tensors)) for image in images]
    _, network, names, unused = found[0]
    if hub.library == "timm":
        fits = [match.fit for match in fitting(network, stored)]
    elif names is not None:
        fits = _with_others(names, network, stored)
    else:  # transformers joins or splits some
        taken = {name: name for name in stored if name not in unused}
        fits, whole = [Fit(".", taken)], source_of({name: name for name in stored})
        source_of = partial(_converted, Converted(whole, json.dumps(hub.family), stored))
    return list(matches([(image, network, fits) for image, network, *_ in found], images)), source_of


def _with_others(names: Mapping[str, str], network: Network, stored: Tensors) -> list[Fit]:
    """The set that transformers itself takes, and those beside it that are called as its tensors are stored."""
    called = {name: there.replace(".", "/") for name, there in names.items()}
    found = sets_of({called[name]: leaf for name, leaf in network.shapes.items()}, stored)
    used = set(names.values())
    others = [fit for fit in found if used.isdisjoint(fit.names.values()) and fit.place != "."]
    back = [{name: fit.names[at] for name, at in called.items() if at in fit.names} for fit in others]
    own = Fit(".", names, passed=max((fit.passed for fit in found), default=0))
    return [own, *(fit._replace(names=theirs) for fit, theirs in zip(others, back, strict=True))]


def _converted(source: Source, names: Mapping[str, str]) -> Source:
    return source


def of_recipe(recipe: Any, said: str = "") -> Network:
    """The network that a pack describes, checked as a config.json is; raises as `of_hub`.

    Args:
      recipe: as the pack has it.
      said: how pixels are prepared, as the user says it.
    """
    hub = read_hub(recipe["family"], recipe["processor"])
    if hub is None:
        raise InvalidFile("its network is described as none of transformers or timm")
    height, width, channels = (int(n) for n in recipe["image"])
    pixels.check(said)
    told = _recipe(hub, (height, width, channels), said)
    return _network(told, None if hub.library == "timm" else tuple(sorted(build.own_tensors(hub.family).items())))[0]


def _recipe(hub: Hub, image: Image, said: str) -> str:
    """What makes a network, in JSON: the same for all models of a family, and for all keys if its files say a size."""
    recipe = {"family": hub.family, "processor": hub.processor, "image": _size(hub.family, image), "pixels": said}
    prepared = _prepared(recipe)
    return json.dumps(recipe | ({"image": prepared.image} if prepared else {}), sort_keys=True)


def _size(family: build.Values, image: Image) -> Image:
    """Height, width and channels that a network takes whose processor does not say it: its own, or the keys'."""
    said, channels = family.get("image_size"), int(family.get("num_channels", 3))
    match said if isinstance(said, list) else [said, said]:
        case [int(height), int(width)]:
            return height, width, channels
    return image[0], image[1], channels


@lru_cache(maxsize=256)  # thousands of models have the same tensors
def _network(
    told: str, stored: tuple[tuple[str, Any], ...] | None
) -> tuple[Network, Mapping[str, str] | None, frozenset[str]]:
    """The network of a recipe, the stored name of each of its tensors, and the names of those that it does not take.

    Where transformers joins some the second is None; of timm's both are left open.
    """
    family, tensors = json.loads(told)["family"], dict(stored or ())
    if "architecture" in family:
        return (
            _traced(told) or _trace(told, build.timm_module(family, None if stored is None else tensors)),
            None,
            frozenset(),
        )
    module, names, unused = build.transformers_module(family, tensors)
    network = _traced(told) or _trace(told, module)
    slashed = {name.replace(".", "/"): there for name, there in (names or {}).items()}
    return network, {name: slashed[name] for name in network.shapes} if names is not None else None, unused


_networks: dict[str, Network] = {}
_traced = _networks.get


def _trace(told: str, module: Any) -> Network:
    """The network of a recipe: one object, under whatever names its tensors are stored."""
    recipe = json.loads(told)
    family, prepared = recipe["family"], _prepared(recipe)
    image = prepared.image if prepared else tuple(recipe["image"])
    ways = pixels.ways(recipe["pixels"], pixels.STATED if prepared else "", image[2])
    name = family.get("architecture") or (family.get("architectures") or [family["model_type"]])[0]
    with build.building("its config.json", f"{name!s:.80} cannot be run here"):
        shapes, answer = as_function(module)

        def logits(weights: Weights, images: Array, reading: Array | int = 0) -> Array:
            return scores(answer(weights, _taken(images, prepared, ways, reading)))

        _networks[told] = checked(str(name), shapes, logits, image, "", {"torch": recipe}, ways)
    return _networks[told]


def _taken(images: Array, prepared: Prepared | None, ways: tuple[str, ...], reading: Array | int) -> Array:
    """Images as the network takes them by one of the ways, of which what its files state is the first."""
    if prepared is None:
        return pixels.prepare(images, ways, reading)
    stated, usual = prepared(images), ways[1:]
    others = pixels.prepare(images, usual, jnp.maximum(reading - 1, 0)) if usual else stated
    return jnp.where(reading == 0, stated, others)


def _prepared(recipe: Mapping[str, Any]) -> Prepared | None:
    """How pixels are prepared; None where the files do not say it, or nothing that can be understood."""
    if "architecture" in recipe["family"]:
        return by_timm(recipe["family"]["pretrained_cfg"])
    with contextlib.suppress(InvalidFile):
        return by_processor(recipe["processor"], recipe["family"]) if recipe["processor"] else None
    return None


@dataclasses.dataclass(frozen=True, eq=False)
class Converted:
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
        made = build.loaded(json.loads(self.family), given, self.stored)[0].state_dict()
        for name, rows in out.items():
            rows[0] = made[name.replace("/", ".")].numpy()
