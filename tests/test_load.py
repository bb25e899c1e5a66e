"""Digests of models, and reading ahead of those who score them."""

import contextlib
import subprocess
import sys
import threading
import time
from collections.abc import Callable

import jax
import ml_dtypes
import numpy as np
import pytest
from packed import Memory, assert_same, entries_of, model, models, network

from wmjax.digest import digest
from wmjax.errors import InvalidFile
from wmjax.zoo.load import cut_chunks, read_ahead
from wmjax.zoo.records import Entry

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
