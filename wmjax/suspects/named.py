"""Networks by the names that users give: of wmjax's families, of libraries, and of their own modules."""

import re
from collections.abc import Sequence

from wmjax.errors import UsageError
from wmjax.models import FAMILIES, default_config
from wmjax.suspects.contract import Image, Network
from wmjax.suspects.modules import module_networks
from wmjax.suspects.network import from_config
from wmjax.suspects.strangers import NAME


def is_named(name: str) -> bool:
    """Whether a name is meant for timm or torchvision.

    >>> is_named("timm:resnet18"), is_named("their_timm:resnet18")
    (True, False)
    """
    return re.fullmatch(r"(timm|torchvision):[A-Za-z_][\w.]*", name) is not None


def _of_library(name: str, image: Image, classes: int, said: str) -> Network:
    from wmjax.suspects.formats.torch_named import from_name

    return from_name(name, image, classes, said)


def networks_named(name: str, images: Sequence[Image], classes: Sequence[int], said: str = "") -> list[Network]:
    """The networks that a name may mean: wmjax's families at their usual size, those of libraries, `module:factory`.

    Args:
      name: as the user typed it.
      images: height, width and channels of the keys' images; networks for each that it can take.
      classes: of wmjax's own networks and of libraries', each; of a module's outputs those that are meant, where it has
        several.
      said: as of `module_networks`.

    Raises:
      UsageError: the name is none of these, or its network takes none of the images.
    """
    if name not in FAMILIES and not is_named(name) and not NAME.fullmatch(name):
        raise UsageError(f"`models` {name}: give {', '.join(FAMILIES)}, timm:NAME, torchvision:NAME or module:factory")
    networks: list[Network] = []
    failure = None
    for image in images:
        try:
            if name in FAMILIES:
                networks += [from_config(default_config(name, image, count)) for count in classes]
            elif is_named(name):
                networks += [_of_library(name, image, count, said) for count in classes]
            else:
                networks += module_networks(name, image, said, tuple(classes))
        except UsageError as error:
            failure = error
    if failure and not networks:
        raise failure
    return networks
