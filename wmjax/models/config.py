"""What a network is, without its weights."""

import dataclasses
from collections.abc import Mapping
from numbers import Integral
from typing import Any

from wmjax.errors import InvalidFile, UsageError
from wmjax.text import bare

LARGEST = 2**20  # of each size: a stranger's configuration cannot ask for more
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
    if config.name not in limits:
        raise InvalidFile(f"unknown model {config.name!r:.50}; this version has {', '.join(limits)}")
    try:
        check_shape(config, limits)
    except UsageError as error:
        raise InvalidFile(f"not a model configuration, {bare(error)}: {values!r:.200}") from error
    return config


def check_shape(config: Config, limits: Mapping[str, Mapping[str, range]]) -> None:
    """Raises `UsageError` that names what of a configuration is out of bounds; `limits` are as of `from_json`."""
    if config.name not in tuple(limits):
        raise UsageError(f"unknown `model` {config.name!r:.50}: choose one of {', '.join(limits)}")
    if not _is_size(config.classes):
        raise UsageError(f"`classes` {config.classes!r:.50}: must be a whole number in 1..{LARGEST}")
    for name, least, most in (("image", 3, 3), ("widths", 1, 20), ("dense", 0, 20)):
        sizes = getattr(config, name)
        if not (isinstance(sizes, tuple) and least <= len(sizes) <= most and all(map(_is_size, sizes))):
            raise UsageError(f"`{name}` {sizes!r:.100}: must be a tuple of {least}..{most} numbers in 1..{LARGEST}")
    allowed, given = limits[config.name], config.parameters
    named = dict(given) if isinstance(given, tuple) else {}
    if named.keys() != allowed.keys() or not all(n in allowed[name] for name, n in named.items()):
        wanted = ", ".join(f"{name} in {n.start}..{n.stop - 1}" for name, n in allowed.items()) or "none"
        raise UsageError(f"`parameters` {given!r:.100} are not parameters of a {config.name}: {wanted}")


def _is_size(value: Any) -> bool:
    return isinstance(value, Integral) and 1 <= int(value) <= LARGEST
