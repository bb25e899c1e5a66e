"""What a network is, without its weights."""

import dataclasses
from collections.abc import Mapping
from typing import Any

from wmjax.errors import InvalidFile, UsageError

NAMES = ("cnn", "vgg", "resnet18")


@dataclasses.dataclass(frozen=True)
class Config:
    """A network's shape; hashable, so that it can be a static argument of `jax.jit`.

    Attributes:
      name: `cnn`, `vgg` or `resnet18`.
      image: height, width and channels of its input.
      classes: number of outputs.
      widths: convolution channels of each stage, from full resolution down.
      dense: units of each hidden dense layer.
      dropout: share of units dropped after each stage and dense layer while training.
    """

    name: str
    image: tuple[int, int, int]
    classes: int
    widths: tuple[int, ...]
    dense: tuple[int, ...] = ()
    dropout: float = 0.0

    def to_json(self) -> dict[str, Any]:
        """The configuration as JSON values."""
        return {k: list(v) if isinstance(v, tuple) else v for k, v in dataclasses.asdict(self).items()}

    @classmethod
    def from_json(cls, values: Mapping[str, Any]) -> "Config":
        """Reads `to_json` back; raises `InvalidFile` on anything else."""
        try:
            height, width, channels = (int(n) for n in values["image"])
            config = cls(
                name=str(values["name"]),
                image=(height, width, channels),
                classes=int(values["classes"]),
                widths=tuple(int(n) for n in values["widths"]),
                dense=tuple(int(n) for n in values["dense"]),
                dropout=float(values["dropout"]),
            )
        except (KeyError, TypeError, ValueError, OverflowError) as error:
            raise InvalidFile(f"not a model configuration: {values!r:.200}") from error
        sizes = (*config.image, config.classes, *config.widths, *config.dense)
        if not all(1 <= n <= 2**20 for n in sizes) or not 1 <= len(config.widths) <= 20 or len(sizes) > 40:
            raise InvalidFile(f"not a model configuration: {values!r:.200}")
        if config.name not in NAMES:
            raise InvalidFile(f"unknown model {config.name!r}; this version has {', '.join(NAMES)}")
        return config


def default_config(name: str, image: tuple[int, int, int], classes: int) -> Config:
    """The network called `name` at its usual size, smaller for images of up to 16 pixels.

    `cnn` is the CIFAR-10 network of Zhang et al. 2018 (App. A): conv 64,64, pool, 128,128, pool, dense 256,256,
    dropout 0.5. `vgg` has batch norm and few channels at full resolution. `resnet18` is the CIFAR form of
    He et al. 2016.

    >>> default_config("cnn", (8, 8, 1), 10).widths
    (32, 64)
    """
    small = max(image[:2]) <= 16
    if name == "cnn":
        if small:
            return Config("cnn", image, classes, (32, 64), (128,), 0.1)
        return Config("cnn", image, classes, (64, 128), (256, 256), 0.5)
    if name == "vgg":
        return Config("vgg", image, classes, (16, 32) if small else (16, 48, 96, 192))
    if name == "resnet18":
        return Config("resnet18", image, classes, (16, 32, 64, 64) if small else (64, 128, 256, 512))
    raise UsageError(f"unknown model {name!r}: choose one of {', '.join(NAMES)}")
