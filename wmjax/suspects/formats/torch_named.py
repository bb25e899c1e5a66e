"""Networks of timm and torchvision by the name that a user gives: `timm:resnet18`, `torchvision:resnet18`."""

import re
from collections.abc import Mapping
from functools import lru_cache
from typing import Any

from wmjax.errors import UsageError
from wmjax.suspects.contract import Image
from wmjax.suspects.formats.torch_build import building

_NAME = re.compile(r"(timm|torchvision):([A-Za-z_][\w.]*)")


def is_named(name: str) -> bool:
    """Whether a name is meant for one of the two libraries.

    >>> is_named("timm:resnet18"), is_named("their_timm:resnet18")
    (True, False)
    """
    return _NAME.fullmatch(name) is not None


def check(name: str) -> None:
    """Raises `UsageError` where the library is missing, or has no such network."""
    library, network = name.split(":")
    with building(f"`models` {name}"):
        if library == "timm":
            import timm

            known = timm.is_model(network)
        else:
            from torchvision import models

            known = network in models.list_models(module=models)
    if not known:
        raise UsageError(f"`models` {name}: {library} has no such network")


@lru_cache(maxsize=256)
def module(name: str, image: Image, classes: int) -> tuple[Any, Image]:
    """A network that a name means, its weights at random, and the image that it takes: the given one, if it can."""
    library, network = name.split(":")
    with building(f"`models` {name}"):
        made = _made(library, network, image, classes)
    fixed = (getattr(made, "pretrained_cfg", None) or {}) if library == "timm" else {}
    if fixed.get("fixed_input_size"):
        height, width = fixed["input_size"][1:]
        return made, (height, width, image[2])
    return made, image


def _made(library: str, network: str, image: Image, classes: int) -> Any:
    if library == "timm":
        import timm

        return timm.create_model(network, pretrained=False, num_classes=classes, in_chans=image[2])
    from torchvision import models

    return models.get_model(network, weights=None, num_classes=classes)


@lru_cache(maxsize=256)
def _ends(name: str) -> tuple[tuple[str, int], ...]:
    """The tensors whose shapes follow from the number of classes, and along which axis."""
    import torch

    library, network = name.split(":")
    with building(f"`models` {name}"), torch.device("meta"):
        two, three = (_made(library, network, (224, 224, 3), classes).state_dict() for classes in (2, 3))
    ends = []
    for key, tensor in two.items():
        axes = [axis for axis, n in enumerate(tensor.shape) if n != three[key].shape[axis]]
        ends += [(key, axes[0])] if axes else []
    return tuple(ends)


def classes_of(name: str, stored: Mapping[str, tuple[tuple[int, ...], str]]) -> list[int]:
    """How many classes networks of this name have whose tensors these may be: what the tensors of their heads say.

    Args:
      name: for which `check` was made.
      stored: shapes and dtypes by name; frameworks may have put something before the names.
    """
    found: dict[int, None] = {}
    for end, axis in _ends(name):
        for key, (shape, _) in stored.items():
            if (key == end or key.endswith((f".{end}", f"/{end}"))) and len(shape) > axis and shape[axis] > 1:
                found[shape[axis]] = None
    return list(found)
