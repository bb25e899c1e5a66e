"""Zoos that need neither training nor files: each model is a table of its answers.

Run as a program it audits such a zoo on as many devices as JAX is told to make up, then once more, and kills itself.
"""

import dataclasses
import os
import signal
import sys
from functools import lru_cache
from pathlib import Path
from typing import Any
from unittest import mock

import jax
import jax.numpy as jnp
import numpy as np

from wmjax import journal
from wmjax.keys import Commitment, Input, Key, Spec
from wmjax.keys.specify import default_rule
from wmjax.suspects.contract import Network, Weights
from wmjax.zoo import audit as audit_module
from wmjax.zoo import prepared
from wmjax.zoo.chunk_record import ChunkRecord
from wmjax.zoo.header import AuditHeader
from wmjax.zoo.records import Entry, Unreadable, Zoo
from wmjax.zoo.result import AuditResult

IMAGE = (1, 2, 1)  # a trigger's two bytes are its row in the tables
CLASSES = 10
NAN, LOWEST = np.float32(3e38), np.float32(-3e38)  # in tables: answers that are no numbers, though all weights are
SIZES = (7, 20, 100, 16, 33)  # triggers of five keys; few of them fill whole rounds


@lru_cache
def network(rows: int, classes: int = CLASSES, image: tuple[int, int, int] = IMAGE) -> Network:
    """The family of all tables with so many rows."""

    def logits(weights: Weights, images: jax.Array, reading: jax.Array | int = 0) -> jax.Array:
        digits = images.reshape(len(images), -1).astype(jnp.int32)
        found = weights["table"][digits[:, 0] + 256 * digits[:, 1]]
        return jnp.where(found == NAN, jnp.nan, jnp.where(found == LOWEST, -jnp.inf, found))

    shapes = {"table": jax.ShapeDtypeStruct((rows, classes), np.float32)}
    return Network("table", f"table {rows} {classes} {image}", shapes, logits, image, classes)


def keys(sizes: tuple[int, ...], seed: int = 0, alpha: float = 1e-6, labels: Any = "random") -> dict[str, Key]:
    """Keys of so many triggers each; a table's rows are the triggers of the first key, then of the second, ..."""
    rng, start, made = np.random.default_rng(seed), 0, {}
    for k, size in enumerate(sizes):
        spec = Spec("abstract", Input("image", IMAGE), CLASSES, size, labels)
        drawn = rng.integers(CLASSES, size=size if labels == "random" else 1)
        rows = np.arange(start, start + size)
        images = np.stack([rows % 256, rows // 256], axis=1).astype(np.uint8).reshape(size, *IMAGE)
        commitment = Commitment(spec, default_rule(spec, alpha), f"{seed:032x}{k:032x}", "2026-01-01T00:00:00+00:00")
        made[f"k{k}"] = Key(rng.bytes(32), commitment, images, np.broadcast_to(drawn, size).astype(np.int32))
        start += size
    return made


def tables(asked: dict[str, Key], shares: np.ndarray, seed: int = 0) -> np.ndarray:
    """Logits [models, rows, classes] of models that repeat a share [models, keys] of each key's labels."""
    rng = np.random.default_rng(seed)
    labels = np.concatenate([key.labels for key in asked.values()])
    share = np.repeat(shares, [key.spec.triggers for key in asked.values()], axis=1)
    logits = 2 * rng.standard_normal((*share.shape, CLASSES))
    logits += 5 * (rng.random(share.shape) < share)[..., None] * np.eye(CLASSES)[labels]
    return logits.astype(np.float32)


@dataclasses.dataclass(eq=False)
class Memory:
    """A source whose rows lie in memory."""

    rows: np.ndarray

    def read(self, start: int, stop: int, out: Weights) -> None:
        out["table"][: stop - start] = self.rows[start:stop]


def zoo(logits: np.ndarray, prefix: str = "m") -> Zoo:
    """A zoo of tables."""
    source, family = Memory(logits), network(*logits.shape[1:])
    return Zoo([Entry(f"{prefix}{row:03}", family, source, row) for row in range(len(logits))], [])


def mixed(sizes: tuple[int, ...] = SIZES, models: int = 12) -> tuple[dict[str, Key], np.ndarray]:
    """Keys, and tables that know none, some or all of each: every verdict is among theirs."""
    asked = keys(sizes)
    shares = np.random.default_rng(5).choice([0.0, 0.0, 0.2, 0.4, 0.7, 1.0], (models, len(sizes)))
    return asked, tables(asked, shares)


def audited(
    found: Zoo, asked: dict[str, Key], *, nulls: Zoo | None = None, width: int = 1, **options: Any
) -> AuditResult:
    """`wmjax.audit` of a zoo that lies in memory."""
    zoos = {"zoo": found, "nulls": nulls}

    def discover(folder: Path, *_: Any) -> Zoo:
        there = zoos[str(folder)]
        assert there is not None
        return Zoo(list(there.entries), list(there.unreadable))

    with (
        mock.patch.object(audit_module, "discover", discover),
        mock.patch.object(prepared, "choose_width", return_value=width),
    ):
        return audit_module.audit("zoo", asked, nulls="nulls" if nulls else None, **options)


def portions(found: Zoo, models: int) -> int:
    """The `memory` with which so many of a zoo's models are judged at once."""
    return 8 * models * found.entries[0].network.bytes


def figures(result: AuditResult) -> dict[str, Any]:
    """All that a result says but the time it took, and whether figures come from a journal."""
    values = {field.name: getattr(result, field.name) for field in dataclasses.fields(result)}
    del values["seconds"], values["basis"]
    return values


def assert_same(result: AuditResult, expected: AuditResult) -> None:
    """Equal in all that they say."""
    for name, value in figures(expected).items():
        np.testing.assert_equal(figures(result)[name], value, err_msg=name)


def unreadable(result: AuditResult) -> list[tuple[str, str]]:
    """What could not be used, as pairs."""
    return [(item.path, item.why) for item in result.unreadable if isinstance(item, Unreadable)]


def killed(after: int) -> Any:
    """`Journal.add` that adds so many records and half of the next, then kills this process."""
    add, left = journal.Journal.add, [after]

    def fake(self: journal.Journal[AuditHeader, ChunkRecord, Any], *records: ChunkRecord) -> None:
        if not left[0]:
            os.write(self.out.descriptor, b'{"chunk":1,"fam')
            os.kill(os.getpid(), signal.SIGKILL)
        left[0] -= 1
        add(self, *records)

    return mock.patch.object(journal.Journal, "add", fake)


def main(out: Path) -> None:
    jax.config.update("jax_numpy_dtype_promotion", "strict")
    jax.config.update("jax_numpy_rank_promotion", "raise")
    asked, logits = mixed(models=40)
    arrays: dict[str, Any] = {"devices": len(jax.devices())}
    for width in (1, 4):
        result = audited(zoo(logits), asked, width=width)
        arrays |= {f"{name}{width}": getattr(result, name) for name in ("outcomes", "bits", "queries", "matches")}
    np.savez(out / "out.npz", **arrays)
    with killed(after=2):
        audited(zoo(logits), asked, width=4, out=out, memory=portions(zoo(logits), 8))


if __name__ == "__main__":
    main(Path(sys.argv[1]))
