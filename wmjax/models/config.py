"""What a network is, without its weights."""

import dataclasses
from collections.abc import Mapping
from typing import Any

from wmjax.errors import InvalidFile, UsageError

Image = tuple[int, int, int]  # height, width and channels


@dataclasses.dataclass(frozen=True)
class Config:
    """A network's shape; hashable, so that it can be a static argument of `jax.jit`.

    Attributes:
      name: its family's, a key of `wmjax.models.FAMILIES`.
      image: height, width and channels of its input.
      classes: number of outputs.
      widths: channels of each stage, from full resolution down; one for a family without stages.
      dense: units of each hidden dense layer.
      dropout: share of units dropped after each stage and dense layer while training.
      parameters: what else the family needs, sorted by name; the family says which, and their limits.
    """

    name: str
    image: Image
    classes: int
    widths: tuple[int, ...]
    dense: tuple[int, ...] = ()
    dropout: float = 0.0
    parameters: tuple[tuple[str, int], ...] = ()

    def parameter(self, name: str) -> int:
        """The family's parameter `name`; raises `UsageError` where it is not given."""
        for own, value in self.parameters:
            if own == name:
                return value
        raise UsageError(f"`parameters`: a {self.name} needs {name!r}")

    def to_json(self) -> dict[str, Any]:
        """The configuration as JSON values."""
        values = {k: list(v) if isinstance(v, tuple) else v for k, v in dataclasses.asdict(self).items()}
        return {**values, "parameters": dict(self.parameters)}


def from_json(values: Mapping[str, Any], limits: Mapping[str, Mapping[str, range]]) -> Config:
    """Reads `Config.to_json` back; a stranger's configuration cannot ask for more than the limits.

    Args:
      values: JSON values.
      limits: for each family its parameters, and for each parameter the values that it may have.

    Raises:
      InvalidFile: they are anything else.
    """
    try:
        height, width, channels = (int(n) for n in values["image"])
        config = Config(
            name=str(values["name"]),
            image=(height, width, channels),
            classes=int(values["classes"]),
            widths=tuple(int(n) for n in values["widths"]),
            dense=tuple(int(n) for n in values["dense"]),
            dropout=float(values["dropout"]),
            parameters=tuple(sorted((str(name), int(n)) for name, n in values["parameters"].items())),
        )
    except (KeyError, TypeError, ValueError, OverflowError, AttributeError) as error:
        raise InvalidFile(f"not a model configuration: {values!r:.200}") from error
    sizes = (*config.image, config.classes, *config.widths, *config.dense)
    if not all(1 <= n <= 2**20 for n in sizes) or not 1 <= len(config.widths) <= 20 or len(sizes) > 40:
        raise InvalidFile(f"not a model configuration: {values!r:.200}")
    if config.name not in limits:
        raise InvalidFile(f"unknown model {config.name!r:.50}; this version has {', '.join(limits)}")
    allowed, given = limits[config.name], dict(config.parameters)
    if given.keys() != allowed.keys() or not all(n in allowed[name] for name, n in given.items()):
        raise InvalidFile(f"not parameters of a {config.name}: {given!r:.200}")
    return config
