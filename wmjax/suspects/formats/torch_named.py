"""Networks of timm and torchvision by the name that a user gives: `timm:resnet18`, `torchvision:resnet18`."""

from functools import lru_cache
from typing import Any

from jax import Array

from wmjax.errors import InvalidFile, UsageError
from wmjax.orbax import Tensors
from wmjax.suspects import pixels
from wmjax.suspects.contract import Image, Network, Weights
from wmjax.suspects.formats.torch_build import building
from wmjax.suspects.network import checked
from wmjax.suspects.torch_module import as_function, scores
from wmjax.text import first_line

_SIDE = 224  # the usual one, of networks that say none
_FEW = (2, 3)  # numbers of classes, to see what follows from them


def check(name: str) -> None:
    """Raises `UsageError` where the library is missing, or has no such network."""
    library, network = name.split(":")
    with building(f"`models` {name}", f"`models` {name}"):
        if library == "timm":
            import timm

            known = timm.is_model(network)
        else:
            from torchvision import models

            known = network in models.list_models(module=models)
    if not known:
        raise UsageError(f"`models` {name}: {library} has no such network")


def from_name(name: str, image: Image, classes: int, said: str = "") -> Network:
    """The network that a name means; one that cannot take the keys' images takes those of its usual size.

    Args:
      name: for which `check` was made.
      image: height, width and channels of the keys' images.
      classes: outputs.
      said: how pixels are prepared, as of `modules.module_networks`.

    Raises:
      UsageError: it takes neither, or the library cannot make it so.
    """
    try:
        return _network(name, image, classes, said)
    except InvalidFile:
        side = _usual(name)
        try:
            return _network(name, (*side, image[2]), classes, said)
        except InvalidFile as error:
            raise UsageError(f"`models` {name}: {error}") from error


def _usual(name: str) -> tuple[int, int]:
    library, network = name.split(":")
    if library == "timm":
        import timm

        if found := timm.get_pretrained_cfg(network):
            return found.input_size[1], found.input_size[2]
    return _SIDE, _SIDE


@lru_cache(maxsize=256)
def _network(name: str, image: Image, classes: int, said: str) -> Network:
    with building(f"`models` {name}", f"`models` {name}"):
        shapes, answer = as_function(_module(name, classes, image[2]))
    ways = pixels.ways(said, channels=image[2])

    def logits(weights: Weights, images: Array, reading: Array | int = 0) -> Array:
        return scores(answer(weights, pixels.prepare(images, ways, reading)))

    described = {"module": name, "image": list(image), "classes": classes, **({"pixels": said} if said else {})}
    try:
        return checked(name, shapes, logits, image, "", described, ways)
    except Exception as error:  # of a library's own network: it takes no such image, or JAX lacks something for it
        raise InvalidFile(f"it takes no such images: {type(error).__name__} {first_line(error)}") from error


def _module(name: str, classes: int, channels: int) -> Any:
    library, network = name.split(":")
    if library == "timm":
        import timm

        return timm.create_model(network, pretrained=False, num_classes=classes, in_chans=channels)
    if channels != 3:
        raise InvalidFile("its networks take colour pictures")
    from torchvision import models

    return models.get_model(network, weights=None, num_classes=classes)


@lru_cache(maxsize=256)
def _ends(name: str) -> tuple[tuple[str, int], ...]:
    """The tensors whose shapes follow from the number of classes, and along which axis."""
    check(name)
    with building(f"`models` {name}", f"`models` {name}"):
        import torch

        with torch.device("meta"):
            few, more = (_module(name, classes, 3).state_dict() for classes in _FEW)
    ends = []
    for key, tensor in few.items():
        axes = [axis for axis, n in enumerate(tensor.shape) if n != more[key].shape[axis]]
        ends += [(key, axes[0])] if axes else []
    return tuple(ends)


def classes_of(name: str, stored: Tensors) -> list[int]:
    """How many classes networks of this name have whose tensors these may be: what the tensors of their heads say.

    Args:
      name: as the user gave it.
      stored: shapes and dtypes by name; frameworks may have put something before the names.

    Raises:
      UsageError: as `check`.
    """
    found: dict[int, None] = {}
    for end, axis in _ends(name):
        for key, (shape, _) in stored.items():
            if f".{key.replace('/', '.')}".endswith(f".{end}") and len(shape) > axis and shape[axis] > 1:
                found[shape[axis]] = None
    return list(found)
