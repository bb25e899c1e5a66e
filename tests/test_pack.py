"""Packs: families of models in one file, written and read."""

import dataclasses
import json
import sys
from pathlib import Path
from typing import Any

import jax
import numpy as np
import pytest
import safetensors.numpy
from packed import SHAPES, Memory, assert_same, entries_of, model, models, network

from wmjax.digest import digest
from wmjax.errors import AccessError, InvalidFile, UsageError
from wmjax.suspects.contract import Network, Stored
from wmjax.suspects.formats import pack
from wmjax.suspects.formats.pack import open_pack
from wmjax.suspects.formats.safetensors import read_header
from wmjax.zoo import load
from wmjax.zoo.load import cut_chunks, read_ahead
from wmjax.zoo.pack import write_packs
from wmjax.zoo.records import Entry, Unreadable, Zoo

# Packs ----------------------------------------------------------------------------------------------------------------

DESCRIPTION = {"config": {"name": "tiny"}}


def entry_of(stored: Stored) -> Entry:
    return Entry(stored.name, stored.network, stored.source, stored.row, stored.digest)


def pack_zoo(tmp_path: Path, count: int = 7, bad: dict[int, Exception] | None = None) -> tuple[Path, Memory, Network]:
    source, family = Memory(models(count), bad or {}), network(description=DESCRIPTION)
    report = write_packs(Zoo(entries_of(source, count, family), []), tmp_path)
    (path,) = report.files
    return path, source, family


@pytest.fixture(scope="module")
def three(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Network]:
    """A pack of three models."""
    path, _, family = pack_zoo(tmp_path_factory.mktemp("three"), 3)
    return path, family


def test_packs_round_trip(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(load, "CHUNK_BYTES", 3 * network().bytes)  # the pack is larger than the buffers
    path, source, family = pack_zoo(tmp_path / "a", 20)
    assert path.name == f"tiny-8x8x1-{family.fingerprint[:8]}.safetensors"
    assert_same(safetensors.numpy.load_file(path), source.weights)
    asked = []
    rows = open_pack(path, read_header(path), lambda description: asked.append(description) or [family])
    assert asked == [DESCRIPTION]
    assert [row.name for row in rows] == [f"m{row}" for row in range(20)]
    entries = [entry_of(row) for row in rows]
    assert [entry.digest for entry in entries] == [digest(model(source.weights, row)) for row in range(20)]
    for chunk in read_ahead(cut_chunks(entries)):
        for row, entry in enumerate(chunk.entries):
            assert_same(model(chunk.weights, row), model(source.weights, entry.row))

    again = write_packs(Zoo(entries, [Unreadable("x.pt", "a pickle")]), tmp_path / "b")  # a pack is a zoo
    assert (again.models, again.skipped) == (20, [Unreadable("x.pt", "a pickle")])
    assert_same(safetensors.numpy.load_file(again.files[0]), source.weights)


def test_bad_models_are_skipped(tmp_path: Path) -> None:
    source = Memory(models(6), {1: AccessError("m1: gone"), 4: OSError("io")})
    family, none_good = network(description=DESCRIPTION), network("none good", description=DESCRIPTION)
    entries = entries_of(source, 6, family)
    entries[2] = dataclasses.replace(entries[2], digest="0" * 64)
    entries[3] = dataclasses.replace(entries[3], name="bell\a")
    entries += [Entry("lost", none_good, Memory(models(1), {0: ValueError("all")}))]
    entries += [Entry("suspect.onnx", network("onnx 8x8x1"), source)]
    odd = network("odd", DESCRIPTION, **{"wave": jax.ShapeDtypeStruct((1,), np.complex128)})
    report = write_packs(Zoo([*entries, Entry("wave", odd, source)], []), tmp_path)
    assert {item.path: item.why[:20] for item in report.skipped} == {
        "m1": "m1: gone",
        "m2": "its weights are not ",
        "bell\a": "its name has charact",
        "m4": "cannot be read: OSEr",
        "lost": "cannot be read: Valu",
        "suspect.onnx": "onnx 8x8x1: these ne",
        "wave": "odd: these networks ",
    }
    assert (len(report.files), report.models) == (1, 2)
    assert sorted(tmp_path.iterdir()) == report.files
    found = open_pack(report.files[0], read_header(report.files[0]), lambda description: [family])
    assert [(stored.row, stored.name) for stored in found] == [(0, "m0"), (5, "m5")]
    assert {stored.left for stored in found} == {"4 of its 6 rows are said to hold no model"}
    out = {name: np.empty((1, *leaf.shape), leaf.dtype) for name, leaf in SHAPES.items()}
    found[1].source.read(found[1].row, found[1].row + 1, out)
    assert digest(model(out, 0)) == found[1].digest == digest(model(source.weights, 5))


def test_nothing_is_overwritten(tmp_path: Path) -> None:
    path, source, family = pack_zoo(tmp_path)
    before = path.read_bytes()
    with pytest.raises(UsageError, match="already exists"):
        write_packs(Zoo(entries_of(source, 2, family), []), tmp_path)
    assert path.read_bytes() == before
    twins = [Entry("a", network(description=DESCRIPTION), source), Entry("b", network(description=DESCRIPTION), source)]
    with pytest.raises(UsageError, match="already exists"):
        write_packs(Zoo(twins, []), tmp_path / "new")
    hostile = dataclasses.replace(family, name="../../.x\n;rm")
    report = write_packs(Zoo(entries_of(source, 1, hostile), []), tmp_path / "named")
    assert [file.name for file in report.files] == [f"x-rm-{family.fingerprint[:8]}.safetensors"]


@pytest.mark.parametrize(
    "change",
    [
        {"format": "wmjax-pack/2"},
        {"network": "[1]"},
        {"network": "{"},
        {"network": "[" * 100_000},
        {"models": '["a","b"]'},
        {"models": '["a","b","b"]'},
        {"models": '["a","b",""]'},
        {"models": '["a","b","\\u0000"]'},
        {"models": '["a","b","\\ud800"]'},
        {"models": '["a","b",null]'},
        {"models": '["a","b",3]'},
        {"models": '{"a":1}'},
        {"models": '["a","b","c","d"]', "sha256": json.dumps(["0" * 64] * 4)},
        {"sha256": json.dumps(["0" * 64] * 2 + ["0" * 64 + "\n"])},
        {"sha256": json.dumps(["0" * 64] * 2 + ["X" * 64])},
        {"sha256": "7"},
    ],
)
def test_damaged_packs(three: tuple[Path, Network], change: dict[str, str]) -> None:
    path, family = three
    header = read_header(path)
    with pytest.raises(InvalidFile, match=r"safetensors: format|is a damaged pack"):
        open_pack(path, header._replace(metadata=header.metadata | change), lambda description: [family])
    for name in header.metadata:
        rest = {key: value for key, value in header.metadata.items() if key != name}
        with pytest.raises(InvalidFile):
            open_pack(path, header._replace(metadata=rest), lambda description: [family])


def test_tensors_must_be_those_of_the_network(three: tuple[Path, Network], monkeypatch: pytest.MonkeyPatch) -> None:
    path, family = three
    less = {name: SHAPES[name] for name in ("params/bias", "params/kernel")}
    wide = {"params/bias": jax.ShapeDtypeStruct((5,), np.float32)}
    half = {"params/bias": jax.ShapeDtypeStruct((4,), np.float16)}
    for shapes in (less, SHAPES | wide, SHAPES | half, SHAPES | {"more": SHAPES["params/bias"]}):
        with pytest.raises(InvalidFile, match="tensors are not 3 models of"):
            open_pack(path, read_header(path), lambda _, shapes=shapes: [dataclasses.replace(family, shapes=shapes)])
    monkeypatch.setattr(pack, "LARGEST_MODEL", family.bytes - 1)
    with pytest.raises(InvalidFile, match="larger than any"):
        open_pack(path, read_header(path), lambda _: [family])


def test_a_module_is_never_imported_by_its_file(tmp_path: Path) -> None:
    source, family = Memory(models(1)), network(description={"module": "antigravity:fly"})
    (path,) = write_packs(Zoo(entries_of(source, 1, family), []), tmp_path).files

    def refuse(description: dict[str, Any]) -> Network:
        raise UsageError(f"{description['module']} was not named")

    with pytest.raises(UsageError, match="antigravity:fly was not named"):
        open_pack(path, read_header(path), refuse)
    assert "antigravity" not in sys.modules
