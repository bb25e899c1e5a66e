"""Small families of models, for tests of files that hold many."""

import dataclasses
from typing import Any

import jax
import numpy as np

from wmjax.suspects.contract import Network, Weights
from wmjax.zoo.records import Entry

SHAPES = {
    "params/bias": jax.ShapeDtypeStruct((4,), np.float32),
    "params/kernel": jax.ShapeDtypeStruct((6, 4), np.float32),
    "stats/count": jax.ShapeDtypeStruct((), np.int32),
}


def network(name: str = "tiny 8x8x1", description: dict[str, Any] | None = None, **more: Any) -> Network:
    logits = lambda weights, images, reading=0: weights["params/bias"]  # noqa: E731
    return Network(name, name.encode().hex() * 4, SHAPES | more, logits, (8, 8, 1), 4, description=description)


def models(count: int, shapes: dict[str, Any] = SHAPES, seed: int = 0) -> Weights:
    rng = np.random.default_rng(seed)
    return {name: rng.integers(1, 99, (count, *leaf.shape)).astype(leaf.dtype) for name, leaf in shapes.items()}


def model(weights: Weights, row: int) -> Weights:
    return {name: rows[row] for name, rows in weights.items()}


@dataclasses.dataclass(eq=False)
class Memory:
    """A source whose rows lie in memory; some of them raise."""

    weights: Weights
    bad: dict[int, Exception] = dataclasses.field(default_factory=dict)
    reads: list[tuple[int, int]] = dataclasses.field(default_factory=list)

    def read(self, start: int, stop: int, out: Weights) -> None:
        self.reads.append((start, stop))
        for name, rows in out.items():
            rows[: stop - start] = self.weights[name][start:stop]
        for row in range(start, stop):
            if row in self.bad:
                raise self.bad[row]


def entries_of(source: Any, count: int, family: Network, prefix: str = "m") -> list[Entry]:
    return [Entry(f"{prefix}{row}", family, source, row) for row in range(count)]


def assert_same(weights: Weights, expected: Weights) -> None:
    assert weights.keys() == expected.keys()
    for name in expected:
        np.testing.assert_array_equal(weights[name], expected[name], err_msg=name)
