"""What the rooms of the zoo hand to each other."""

import dataclasses
from collections.abc import Callable
from functools import cached_property
from typing import Any, Protocol

import numpy as np
from jax import Array

Weights = dict[str, Any]  # a model's tensors by name, "params/convs/0/kernel"; of n models stacked, [n, ...] each


@dataclasses.dataclass(frozen=True, eq=False)
class Network:
    """What the models of a family share: a pure function, and the shapes of its weights.

    Attributes:
      name: as tables show it, `cnn 32x32x3`.
      fingerprint: hex digest of architecture and shapes; models with the same one are of one family.
      shapes: of its tensors by name, `jax.ShapeDtypeStruct`s, in sorted order.
      logits: (weights, uint8 images [n, H, W, C]) to float32 [n, classes]; pure, for `jit` and `vmap`.
      image: height, width and channels that it takes.
      classes: outputs.
      largest: bytes of the largest value on the way from one image to its answer.
      note: what a verdict must say of how it is asked; empty for wmjax's own.
      description: what `pack` stores so that the network can be made again: `{"config": ...}`, or
        `{"module": "m:f", "image": [h, w, c]}`; None where it cannot.
    """

    name: str
    fingerprint: str
    shapes: dict[str, Any]
    logits: Callable[[Weights, Array], Array]
    image: tuple[int, int, int]
    classes: int
    largest: int = 0
    note: str = ""
    description: dict[str, Any] | None = None

    @cached_property
    def bytes(self) -> int:
        """Of one model's weights."""
        return sum(int(np.prod(leaf.shape)) * leaf.dtype.itemsize for leaf in self.shapes.values())


class Source(Protocol):
    """A file or folder that holds one model, or the rows of a packed family."""

    def read(self, start: int, stop: int, out: Weights) -> None:
        """Fills `out[name][: stop - start]` with the models of rows `start` to `stop`.

        Called from several threads at once. Raises `AccessError` or `InvalidFile` in one line.
        """


@dataclasses.dataclass(frozen=True, eq=False)
class Entry:
    """One model of a zoo.

    Attributes:
      name: its path within the zoo; of a packed one, `PACK.safetensors:NAME`.
      network: the same object for all models of a family.
      source: where its tensors lie.
      row: in the source; 0 for a model of its own.
      digest: of its weights as `pack` recorded it; empty where none was.
      stamp: size and time of change of what holds them.
    """

    name: str
    network: Network
    source: Source
    row: int = 0
    digest: str = ""
    stamp: str = ""


@dataclasses.dataclass(frozen=True)
class Unreadable:
    """Something in the zoo that looks like a model or key and cannot be used; `why` is one line."""

    path: str
    why: str


@dataclasses.dataclass(frozen=True)
class Zoo:
    """What a walk found: models in the order of family and name, and what could not be read."""

    entries: list[Entry]
    unreadable: list[Unreadable]
