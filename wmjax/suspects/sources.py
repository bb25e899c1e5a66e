"""Sources made of others: tensors of several files as one model, one of several replicas, and what is not whole."""

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from wmjax.errors import InvalidFile
from wmjax.suspects.contract import Source, Weights

_LARGEST = 1 << 34  # bytes of all replicas


@dataclasses.dataclass(frozen=True, eq=False)
class Joined:
    """One model whose tensors lie in several sources.

    Attributes:
      parts: each source with the names of what it holds.
    """

    parts: Sequence[tuple[Source, tuple[str, ...]]]

    def read(self, start: int, stop: int, out: Weights) -> None:
        """Fills `out` from all of them; raises as they do."""
        for source, names in self.parts:
            if own := {name: out[name] for name in names if name in out}:
                source.read(start, stop, own)


@dataclasses.dataclass(frozen=True, eq=False)
class Replica:
    """One of the models that lie along a leading axis of all tensors.

    Attributes:
      source: of the stacked tensors, [replicas, ...].
      number: which of them.
      replicas: how many there are.
    """

    source: Source
    number: int
    replicas: int

    def read(self, start: int, stop: int, out: Weights) -> None:
        """Fills `out[name][0]` with the replica's tensors; raises as the source does."""
        stacked = {name: np.empty((1, self.replicas, *rows.shape[1:]), rows.dtype) for name, rows in out.items()}
        self.source.read(0, 1, stacked)
        for name, rows in stacked.items():
            out[name][0] = rows[0, self.number]


@dataclasses.dataclass(frozen=True, eq=False)
class Partial:
    """What begins like a set of weights, and is none.

    Attributes:
      why: it cannot be asked.
    """

    why: str

    def read(self, start: int, stop: int, out: Weights) -> None:
        """Raises `InvalidFile`: a part is not a model, and its missing tensors are nobody else's."""
        raise InvalidFile(self.why)


def one_by_one(source: Source, shapes: Mapping[str, Any], replicas: int) -> list[tuple[str, Source]]:
    """The models along a leading axis, with their names: a single one, without a name, where all are the same.

    Args:
      source: of the stacked tensors.
      shapes: of one model's tensors.
      replicas: how many there are.

    Raises:
      AccessError, InvalidFile: they cannot be read, or would fill the memory.
    """
    if sum(leaf.dtype.itemsize * int(np.prod(leaf.shape)) for leaf in shapes.values()) * replicas > _LARGEST:
        raise InvalidFile(f"{replicas} replicas of it are larger than any that wmjax reads")
    for name, leaf in shapes.items():
        stacked = np.empty((1, replicas, *leaf.shape), leaf.dtype)
        source.read(0, 1, {name: stacked})
        first = stacked[0, 0].tobytes()
        if any(one.tobytes() != first for one in stacked[0, 1:]):
            return [(f"replica-{number}", Replica(source, number, replicas)) for number in range(replicas)]
    return [("", Replica(source, 0, replicas))]
