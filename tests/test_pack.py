"""Packs: files that agree with the safetensors library, hostile headers, and reading ahead through every trouble."""

import contextlib
import dataclasses
import errno
import json
import os
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jax
import ml_dtypes
import numpy as np
import pytest
import safetensors.numpy
from hypothesis import given, settings
from hypothesis import strategies as st

from wmjax.digest import digest
from wmjax.errors import AccessError, InvalidFile, UsageError
from wmjax.suspects.contract import Network, Stored, Weights
from wmjax.suspects.formats import pack
from wmjax.suspects.formats.pack import open_pack
from wmjax.suspects.formats.safetensors import DTYPES, File, read_header
from wmjax.zoo import load
from wmjax.zoo.load import cut_chunks, read_ahead
from wmjax.zoo.pack import write_packs
from wmjax.zoo.records import Entry, Unreadable, Zoo
from wmjax.zoo.writer import write_stacked

SHAPES = {
    "params/bias": jax.ShapeDtypeStruct((4,), np.float32),
    "params/kernel": jax.ShapeDtypeStruct((6, 4), np.float32),
    "stats/count": jax.ShapeDtypeStruct((), np.int32),
}


def network(name: str = "tiny 8x8x1", description: dict[str, Any] | None = None, **more: Any) -> Network:
    logits = lambda weights, images: weights["params/bias"]  # noqa: E731
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


# The file format ------------------------------------------------------------------------------------------------------


def test_reads_what_the_library_writes(tmp_path: Path) -> None:
    path, rng = tmp_path / "all.safetensors", np.random.default_rng(1)
    stored = {code.lower(): rng.integers(0, 2, (3, 2, 5)).astype(dtype) for code, dtype in DTYPES.items()}
    stored |= {"scalar": np.arange(3, dtype=np.float32), "empty": np.zeros((3, 0, 2), np.float32)}
    safetensors.numpy.save_file(stored, path, {"who": "me"})
    header = read_header(path)
    assert header.metadata == {"who": "me"}
    assert {n: (t.shape, t.dtype) for n, t in header.tensors.items()} == {
        n: (a.shape, a.dtype) for n, a in stored.items()
    }
    names = {f"net/{name}": name for name in stored}
    whole = {f"net/{name}": np.full((1, *array.shape), 7, array.dtype) for name, array in stored.items()}
    File(path, header, names, stacked=False).read(0, 1, whole)
    rows = {f"net/{name}": np.full((4, *array.shape[1:]), 7, array.dtype) for name, array in stored.items()}
    File(path, header, names, stacked=True).read(1, 3, rows)
    for name, array in stored.items():
        np.testing.assert_array_equal(whole[f"net/{name}"][0], array)
        np.testing.assert_array_equal(rows[f"net/{name}"][:2], array[1:])
        np.testing.assert_array_equal(rows[f"net/{name}"][2:], np.full_like(rows[f"net/{name}"][2:], 7))


@pytest.mark.parametrize("dtype", [np.float16, ml_dtypes.bfloat16, np.float64])
def test_other_floats_are_converted(tmp_path: Path, dtype: Any) -> None:
    path = tmp_path / "a.safetensors"
    stored = {"a": np.array([[1.5, -2], [np.inf, 3]], dtype), "b": np.array([[0.25], [1e300]]).astype(np.float64)}
    safetensors.numpy.save_file(stored, path)
    out = {name: np.zeros(array.shape, np.float32) for name, array in stored.items()}
    File(path, read_header(path), {"a": "a", "b": "b"}, stacked=True).read(0, 2, out)
    np.testing.assert_array_equal(out["a"], stored["a"].astype(np.float32))
    np.testing.assert_array_equal(out["b"], np.array([[0.25], [np.inf]], np.float32))


def test_the_library_reads_what_is_written(tmp_path: Path) -> None:
    path = tmp_path / "new" / "pack.safetensors"
    shapes = {code: jax.ShapeDtypeStruct((2, 3), dtype) for code, dtype in DTYPES.items()}
    weights = {name: (rows % 2).astype(rows.dtype) for name, rows in models(5, shapes).items()}
    with write_stacked(path, shapes, 5, 60) as writer:
        writer.write(3, {name: rows[3:] for name, rows in weights.items()})
        writer.write(0, {name: rows[:2] for name, rows in weights.items()})
        writer.finish({"note": 'an "é" in it'})
    found = safetensors.numpy.load_file(path)
    for name, rows in weights.items():
        assert found[name].dtype == rows.dtype
        np.testing.assert_array_equal(
            found[name], np.where(np.arange(5)[:, None, None] == 2, np.zeros_like(rows), rows)
        )
    assert read_header(path).metadata == {"note": 'an "é" in it'}
    assert all(tensor.begin % tensor.dtype.itemsize == 0 for tensor in read_header(path).tensors.values())


def test_a_failed_write_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "pack.safetensors"
    with pytest.raises(ZeroDivisionError), write_stacked(path, SHAPES, 2, 9):
        raise ZeroDivisionError
    with write_stacked(path, SHAPES, 2, 9):
        pass  # never finished
    with pytest.raises(AccessError, match="no space in"), write_stacked(path, SHAPES, 1 << 50, 9):
        pass
    with pytest.raises(UsageError, match="pack fewer"), write_stacked(path, SHAPES, 2, 9) as writer:
        writer.finish({"long": "x" * 200})

    def full(*arguments: Any) -> int:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "pwrite", full)
    with pytest.raises(AccessError, match=r"pack\.safetensors: No space left"), write_stacked(path, SHAPES, 2, 9) as w:
        w.write(0, models(2))
    assert list(tmp_path.iterdir()) == []


def small_file(path: Path) -> bytes:
    stored = {"a": np.arange(6, dtype=np.float32).reshape(2, 3), "b": np.arange(4, dtype=np.int16)}
    safetensors.numpy.save_file(stored, path, {"format": "x"})
    return path.read_bytes()


def check_damaged(path: Path, shapes: list[tuple[int, ...]]) -> None:
    """Reads the same shapes or refuses in one line; and believes nothing that the library does not."""
    error, found = "", {}
    try:
        found = {name: tensor.shape for name, tensor in read_header(path).tensors.items()}
    except InvalidFile as caught:
        error = str(caught)
    if error:
        assert error.startswith(str(path))
        assert len(error.splitlines()) == 1
    else:
        assert list(found.values()) == shapes
        assert found == {name: array.shape for name, array in safetensors.numpy.load(path.read_bytes()).items()}


def test_every_flipped_bit_of_a_header(tmp_path: Path) -> None:
    path = tmp_path / "a.safetensors"
    raw = small_file(path)
    header = read_header(path)
    shapes = [tensor.shape for tensor in header.tensors.values()]
    with open(path, "r+b", buffering=0) as file:
        for at in range(header.data_start):
            for bit in range(8):
                os.pwrite(file.fileno(), bytes([raw[at] ^ 1 << bit]), at)
                check_damaged(path, shapes)
            os.pwrite(file.fileno(), raw[at : at + 1], at)
    for length in range(len(raw)):
        path.write_bytes(raw[:length])
        with pytest.raises(InvalidFile, match="cut short"):
            read_header(path)


@settings(max_examples=60)
@given(st.data())
def test_exchanged_bytes_of_a_header(tmp_path_factory: pytest.TempPathFactory, data: st.DataObject) -> None:
    path = tmp_path_factory.getbasetemp() / "exchanged.safetensors"
    raw = small_file(path)
    shapes = [tensor.shape for tensor in read_header(path).tensors.values()]
    at, new = data.draw(st.integers(0, len(raw) - 1)), data.draw(st.sampled_from(b'0123456789[]{}",:-.eFI \\\0'))
    path.write_bytes(raw[:at] + bytes([new]) + raw[at + 1 :])
    check_damaged(path, shapes)


def tensor_json(shape: str = "[2]", offsets: str = "[0,8]", dtype: str = '"F32"') -> str:
    return f'{{"dtype":{dtype},"shape":{shape},"data_offsets":{offsets}}}'


@pytest.mark.parametrize(
    ("header", "why"),
    [
        ("[]", "not an object"),
        ("{" * 100_000, "not JSON"),
        ('{"a":' * 100_000, "not JSON"),
        ("\ufeff{}", "not JSON"),
        (f'{{"a":{tensor_json()},"a":{tensor_json()}}}', "a name twice"),
        (f'{{"a":{tensor_json()[:-1]},"shape":[2]}}}}', "a name twice"),
        (f'{{"__metadata__":{{"n":1}},"a":{tensor_json()}}}', "metadata are not strings"),
        (f'{{"__metadata__":[],"a":{tensor_json()}}}', "metadata are not strings"),
        ('{"a":1}', "not described"),
        (f'{{"a\\u0007":{tensor_json()}}}', "not described"),
        (f'{{"\\ud800":{tensor_json()}}}', "not described"),
        (f'{{"a":{tensor_json()[:-1]},"code":"x"}}}}', "not described"),
        (f'{{"a":{tensor_json(dtype="[]")}}}', "is of type"),
        (f'{{"a":{tensor_json(dtype=chr(34) + "O" + chr(34))}}}', "is of type 'O'"),
        (f'{{"a":{tensor_json(shape="[-2]")}}}', "no proper shape"),
        (f'{{"a":{tensor_json(shape="[2.0]")}}}', "no proper shape"),
        (f'{{"a":{tensor_json(shape="[true,2]")}}}', "no proper shape"),
        (f'{{"a":{tensor_json(shape=str([1] * 40 + [2]))}}}', "no proper shape"),
        (f'{{"a":{tensor_json(offsets="[0,8,8]")}}}', "no proper shape"),
        (f'{{"a":{tensor_json(offsets="[-8,0]")}}}', "no proper shape"),
        (f'{{"a":{tensor_json(offsets="[0,4]")}}}', "another size"),
        (f'{{"a":{tensor_json(shape="[9" + "9" * 5000 + "]")}}}', "digits"),
        (f'{{"a":{tensor_json(shape="[0,99999999999999999999]", offsets="[0,0]")}}}', "larger than any"),
        (f'{{"a":{tensor_json()},"b":{tensor_json()}}}', "does not begin where"),
        (f'{{"a":{tensor_json("[1]", "[4,8]")}}}', "does not begin where"),
        (f'{{"a":{tensor_json("[3]", "[0,12]")}}}', "cut short"),
        (f'{{"a":{tensor_json("[1]", "[0,4]")}}}', "4 bytes behind"),
    ],
)
def test_contradictory_headers(tmp_path: Path, header: str, why: str) -> None:
    path = tmp_path / "a.safetensors"
    path.write_bytes(len(header.encode()).to_bytes(8, "little") + header.encode() + bytes(8))
    with pytest.raises(InvalidFile, match=why) as caught:
        read_header(path)
    assert len(str(caught.value).splitlines()) == 1
    assert len(str(caught.value)) < len(str(path)) + 300


def test_what_is_no_file_at_all(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "loop").symlink_to("loop")
    for path in (tmp_path, tmp_path / "pipe", Path("/dev/zero")):
        with pytest.raises(InvalidFile, match="not a regular file"):
            read_header(path)
    for path in (tmp_path / "loop", tmp_path / "none"):
        with pytest.raises(AccessError, match="cannot read"):
            read_header(path)
    sparse = tmp_path / "sparse"
    sparse.write_bytes((1 << 30).to_bytes(8, "little"))
    os.truncate(sparse, 1 << 31)
    with pytest.raises(InvalidFile, match="larger than any"):
        read_header(sparse)


def test_a_file_that_changes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "a.safetensors"
    raw = small_file(path)
    file = File(path, read_header(path), {"a": "a"}, stacked=False)
    out = {"a": np.zeros((1, 2, 3), np.float32)}
    monkeypatch.setattr(os, "preadv", lambda *arguments: 0)
    with pytest.raises(InvalidFile, match="cut short while"):
        file.read(0, 1, out)
    monkeypatch.undo()
    path.write_bytes(raw[:-1])
    with pytest.raises(InvalidFile, match="was changed"):
        file.read(0, 1, out)
    path.unlink()
    with pytest.raises(AccessError, match="cannot read"):
        file.read(0, 1, out)


def test_short_reads_are_continued(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "a.safetensors"
    stored = {f"{i:04d}": np.full((2, i % 3), i, np.int32) for i in range(2500)}  # more than one call takes
    safetensors.numpy.save_file(stored, path)
    read = os.preadv
    monkeypatch.setattr(os, "preadv", lambda fd, views, at: read(fd, [views[0][:5]] if at % 3 else views[:3], at))
    out = {name: np.zeros((1, *array.shape), np.int32) for name, array in stored.items()}
    File(path, read_header(path), {name: name for name in stored}, stacked=False).read(0, 1, out)
    assert_same({name: rows[0] for name, rows in out.items()}, stored)


# Digests --------------------------------------------------------------------------------------------------------------


def test_digest_is_frozen() -> None:
    weights = {
        "b": np.arange(3, dtype=np.int64),
        "a/é": np.arange(6, dtype=np.float32).reshape(2, 3).T,
        "s": np.array(1.5, np.float32),
        "z": np.ones(2, ml_dtypes.bfloat16),
    }
    frozen = "c0d6f91ef37c4f807e6abf712eae142af77e3858f2a9aa10280c38c722bcfe6e"
    assert digest(weights) == frozen
    assert digest(dict(reversed(weights.items()))) == frozen
    assert digest(weights | {"b": weights["b"].astype(">i8")}) == frozen
    for other in ({"b": np.arange(3, dtype=np.uint64)}, {"s": np.array([1.5], np.float32)}, {"t": weights["s"]}):
        assert digest(weights | other) != frozen


def test_digest_needs_no_jax() -> None:
    code = "import sys, wmjax.digest; assert 'jax' not in sys.modules"
    subprocess.run([sys.executable, "-c", code], check=True)


# Reading ahead --------------------------------------------------------------------------------------------------------


def test_tails_are_zeros_and_arrays_aligned() -> None:
    one, other = network("one"), network("other", **{"stats/more": jax.ShapeDtypeStruct((3,), np.float16)})
    sources = [Memory(models(11)), Memory(models(5, other.shapes))]
    entries = entries_of(sources[0], 11, one) + entries_of(sources[1], 5, other, "o")
    chunks = cut_chunks(entries, lambda family: 4)
    assert [len(chunk) for chunk in chunks] == [4, 4, 3, 4, 1]
    seen = 0
    for chunk in read_ahead(chunks, lambda family: 4, ahead=1):  # the third lies where the first lay
        source = sources[chunk.entries[0].network is other]
        start, count = chunk.entries[0].row, len(chunk.entries)
        assert chunk.failures == {}
        assert all(rows.ctypes.data % 64 == 0 and len(rows) == 4 for rows in chunk.weights.values())
        assert_same(
            chunk.weights,
            {
                name: np.concatenate([rows[start : start + count], np.zeros((4 - count, *rows.shape[1:]), rows.dtype)])
                for name, rows in source.weights.items()
            },
        )
        seen += count
    assert seen == 16


@pytest.mark.parametrize("threads", [1, 2, 5])
def test_only_bad_models_fail(threads: int) -> None:
    bad = {
        2: InvalidFile("m2: not one"),
        3: ValueError("two\nlines"),
        9: MemoryError(),
        10: RecursionError("x" * 999),
    }
    source, family = Memory(models(12), bad), network()
    reasons = {}
    for chunk in read_ahead(
        cut_chunks(entries_of(source, 12, family), lambda family: 6), lambda family: 6, threads=threads
    ):
        for row, entry in enumerate(chunk.entries):
            expected = model(source.weights, entry.row)
            if why := chunk.failures.get(row):
                reasons[entry.row] = why
                expected = {name: np.zeros_like(array) for name, array in expected.items()}
            assert_same(model(chunk.weights, row), expected)
    assert reasons[2] == "m2: not one"
    assert reasons[3] == "cannot be read: ValueError: two"
    assert reasons[9] == "cannot be read: MemoryError"
    assert reasons.keys() == bad.keys()
    assert max(map(len, reasons.values())) < 200


def test_consecutive_rows_are_read_at_once() -> None:
    source, other, family = Memory(models(9)), Memory(models(1)), network()
    rows = entries_of(source, 9, family)
    entries = [*rows[:3], *rows[5:7], Entry("loose", family, other), rows[8]]
    (chunk,) = read_ahead([entries], lambda family: 8, threads=1)
    assert source.reads == [(0, 3), (5, 7), (8, 9)]
    assert_same(
        {name: array[:7] for name, array in chunk.weights.items()},
        {n: np.concatenate([a[[0, 1, 2, 5, 6]], other.weights[n], a[[8]]]) for n, a in source.weights.items()},
    )


def zoo_threads() -> list[threading.Thread]:
    return [thread for thread in threading.enumerate() if thread.name.startswith("wmjax-zoo")]


def wait_for(condition: Callable[[], bool]) -> None:
    end = time.monotonic() + 10
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.001)


@pytest.mark.parametrize("ahead", [0, 1, 3])
def test_reads_so_far_ahead_and_no_further(ahead: int) -> None:
    source, family = Memory(models(20)), network()
    chunks = cut_chunks(entries_of(source, 20, family), lambda family: 2)
    places: set[int] = set()
    with contextlib.closing(read_ahead(chunks, lambda family: 2, threads=1, ahead=ahead)) as reading:
        for number in range(5):
            chunk = next(reading)
            wait_for(lambda: len(source.reads) >= number + 1 + ahead)  # noqa: B023 (it is called at once)
            time.sleep(0.002)  # one that was read too far would show itself
            assert len(source.reads) == number + 1 + ahead
            expected = {name: rows[2 * number : 2 * number + 2] for name, rows in source.weights.items()}
            assert_same(chunk.weights, expected)  # nothing was read over it
            places.add(chunk.weights["params/kernel"].ctypes.data)
        assert zoo_threads()
    assert len(places) == ahead + 1
    assert not zoo_threads()


def test_an_abandoned_reader_leaves_no_thread() -> None:
    family = network()
    chunks = cut_chunks(entries_of(Memory(models(50)), 50, family), lambda family: 2)

    def stop_early() -> None:
        for _ in read_ahead(chunks, lambda family: 2):
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        stop_early()
    wait_for(lambda: not zoo_threads())
    assert list(read_ahead([], lambda family: 2)) == []
    assert not zoo_threads()


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
    rows = open_pack(path, read_header(path), lambda description: asked.append(description) or family)
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
    odd = network("odd", DESCRIPTION, **{"wave": jax.ShapeDtypeStruct((1,), np.complex64)})
    report = write_packs(Zoo([*entries, Entry("wave", odd, source)], []), tmp_path)
    assert {item.path: item.why[:20] for item in report.skipped} == {
        "m1": "m1: gone",
        "m2": "its weights are not ",
        "bell\a": "its name has charact",
        "m4": "cannot be read: OSEr",
        "lost": "cannot be read: Valu",
        "suspect.onnx": "onnx 8x8x1 networks ",
        "wave": "odd networks cannot ",
    }
    assert (len(report.files), report.models) == (1, 2)
    assert sorted(tmp_path.iterdir()) == report.files
    found = open_pack(report.files[0], read_header(report.files[0]), lambda description: family)
    assert [(stored.row, stored.name) for stored in found] == [(0, "m0"), (5, "m5")]
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
        open_pack(path, header._replace(metadata=header.metadata | change), lambda description: family)
    for name in header.metadata:
        rest = {key: value for key, value in header.metadata.items() if key != name}
        with pytest.raises(InvalidFile):
            open_pack(path, header._replace(metadata=rest), lambda description: family)


def test_tensors_must_be_those_of_the_network(three: tuple[Path, Network], monkeypatch: pytest.MonkeyPatch) -> None:
    path, family = three
    less = {name: SHAPES[name] for name in ("params/bias", "params/kernel")}
    wide = {"params/bias": jax.ShapeDtypeStruct((5,), np.float32)}
    half = {"params/bias": jax.ShapeDtypeStruct((4,), np.float16)}
    for shapes in (less, SHAPES | wide, SHAPES | half, SHAPES | {"more": SHAPES["params/bias"]}):
        with pytest.raises(InvalidFile, match="tensors are not 3 models of"):
            open_pack(path, read_header(path), lambda _, shapes=shapes: dataclasses.replace(family, shapes=shapes))
    monkeypatch.setattr(pack, "LARGEST_MODEL", family.bytes - 1)
    with pytest.raises(InvalidFile, match="larger than any"):
        open_pack(path, read_header(path), lambda _: family)


def test_a_module_is_never_imported_by_its_file(tmp_path: Path) -> None:
    source, family = Memory(models(1)), network(description={"module": "antigravity:fly"})
    (path,) = write_packs(Zoo(entries_of(source, 1, family), []), tmp_path).files

    def refuse(description: dict[str, Any]) -> Network:
        raise UsageError(f"{description['module']} was not named")

    with pytest.raises(UsageError, match="antigravity:fly was not named"):
        open_pack(path, read_header(path), refuse)
    assert "antigravity" not in sys.modules
