"""All families by name, and their configurations."""

import dataclasses
from collections.abc import Mapping
from typing import Any

from wmjax.errors import UsageError
from wmjax.models import cnn, resnet, vgg, vit
from wmjax.models.config import Config, Image, from_json
from wmjax.models.contract import Family

FAMILIES: dict[str, Family] = {family.name: family for family in (cnn.FAMILY, vgg.FAMILY, resnet.FAMILY, vit.FAMILY)}


def default_config(name: str, image: Image, classes: int) -> Config:
    """A family's network at its usual size, which is smaller for images of up to 16 pixels.

    >>> default_config("cnn", (8, 8, 1), 10).widths
    (32, 64)

    Args:
      name: of the family, a key of `FAMILIES`.
      image: height, width and channels.
      classes: number of outputs.

    Raises:
      UsageError: there is no such family, or its usual network takes no images so small.
    """
    if name not in FAMILIES:
        raise UsageError(f"unknown `model` {name!r:.50}: choose one of {', '.join(FAMILIES)}")
    return FAMILIES[name].usual(image, classes)


def as_usual(config: Config) -> Config:
    """A configuration with the usual values of what no tensor of its network shows; most have nothing such.

    >>> as_usual(Config("vit", (8, 8, 1), 10, (64,), (128,), parameters=(("heads", 2), ("patch", 2)))).parameters
    (('heads', 4), ('patch', 2))
    """
    family = FAMILIES[config.name]
    if not family.unseen:
        return config
    usual = dict(family.usual(config.image, config.classes).parameters)
    return dataclasses.replace(
        config,
        parameters=tuple((name, usual[name] if name in family.unseen else n) for name, n in config.parameters),
    )


def read_config(values: Mapping[str, Any]) -> Config:
    """Reads `Config.to_json` back; raises `InvalidFile` on anything else."""
    return from_json(values, {family.name: family.parameters for family in FAMILIES.values()})
