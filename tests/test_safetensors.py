"""The safetensors format: what is written and read, and files that are damaged or hostile."""

import errno
import os
from pathlib import Path
from typing import Any

import jax
import ml_dtypes
import numpy as np
import pytest
import safetensors.numpy
from hypothesis import given, settings
from hypothesis import strategies as st
from packed import SHAPES, assert_same, models

from wmjax.errors import AccessError, InvalidFile, UsageError
from wmjax.suspects.formats.safetensors import DTYPES, File, read_header
from wmjax.zoo.writer import write_stacked

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


@pytest.mark.parametrize("dtype", [np.float16, ml_dtypes.bfloat16, np.float64, ml_dtypes.float8_e5m2])
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
    known = {code: dtype for code, dtype in DTYPES.items() if not code.startswith("F8")}  # its NumPy side reads none
    shapes = {code: jax.ShapeDtypeStruct((2, 3), dtype) for code, dtype in known.items()}
    weights = {name: (rows.real.astype(np.float32) % 2).astype(rows.dtype) for name, rows in models(5, shapes).items()}
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
