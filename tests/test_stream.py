"""Batches read ahead: the same as reading them one by one, from any step, in parts, and through every trouble."""

import contextlib
import itertools
import threading
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from wmjax.data import Dataset, keep, load, open_splits, share_bounds, stream
from wmjax.data.batches import batch_indices
from wmjax.errors import AccessError

BATCH, STEPS = 4, 12


@pytest.fixture
def pictures(tmp_path: Path) -> Path:
    """A folder whose training split has 20 pictures."""
    rng = np.random.default_rng(0)
    for split, size in (("train", 20), ("test", 2)):
        for i in range(size):
            path = tmp_path / "set" / split / "ab"[i % 2] / f"{i:02d}.png"
            path.parent.mkdir(parents=True, exist_ok=True)
            Image.fromarray(rng.integers(0, 256, (6, 5, 3), dtype=np.uint8)).save(path)
    return tmp_path / "set"


def rows_at(step: int) -> np.ndarray:
    return batch_indices(3, step, BATCH, 20)


def readers() -> list[threading.Thread]:
    return [thread for thread in threading.enumerate() if thread.name.startswith("grain")]


def wait_for(condition: Callable[[], bool]) -> None:
    end = time.monotonic() + 10
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.01)


@pytest.mark.parametrize("ahead", [1, 2, 5])
def test_batches_come_in_order(pictures: Path, ahead: int) -> None:
    train = open_splits(str(pictures)).train
    whole = load(str(pictures)).train
    expected = [whole[rows_at(step)].fingerprint() for step in range(STEPS)]
    assert [batch.fingerprint() for batch in stream(train, rows_at, 0, STEPS, ahead=ahead)] == expected
    assert [batch.fingerprint() for batch in stream(whole, rows_at, 0, STEPS, ahead=ahead)] == expected
    assert len(set(expected)) == STEPS
    wait_for(lambda: not readers())


@pytest.mark.parametrize("first", [0, 1, 7, STEPS - 1, STEPS, STEPS + 1])
def test_a_stream_from_a_later_step_is_the_tail(pictures: Path, first: int) -> None:
    train = open_splits(str(pictures)).train
    whole = [batch.fingerprint() for batch in stream(train, rows_at, 0, STEPS)]
    assert [batch.fingerprint() for batch in stream(train, rows_at, first, STEPS)] == whole[first:]


@pytest.mark.parametrize("hosts", [2, 3])
def test_hosts_read_parts_of_the_same_batches(pictures: Path, hosts: int) -> None:
    train = open_splits(str(pictures)).train
    bounds = [slice(*share_bounds(BATCH, (host, hosts))) for host in range(hosts)]
    parts = [stream(train, lambda step, part=part: rows_at(step)[part], 0, STEPS) for part in bounds]
    for shares, batch in zip(zip(*parts, strict=True), stream(train, rows_at, 0, STEPS), strict=True):
        together = Dataset(
            np.concatenate([share.images for share in shares]), np.concatenate([share.labels for share in shares]), 2
        )
        assert together.fingerprint() == batch.fingerprint()


def test_a_corrupt_picture_stops_the_stream_at_its_batch(pictures: Path) -> None:
    bad = pictures / "train" / "b" / "07.png"
    train = open_splits(str(pictures)).train
    bad.write_bytes(bad.read_bytes()[:60])
    (row,) = (i for i in range(20) if str(bad) in train.fetch([i])[0].where)
    position = next(step for step in range(5) if row in rows_at(step))
    batches = stream(train, rows_at, 0, STEPS)
    assert len(list(itertools.islice(batches, position))) == position
    with pytest.raises(AccessError, match=f"cannot read {bad}: .*: replace or remove it") as caught:
        next(batches)
    assert len(str(caught.value).splitlines()) == 1
    wait_for(lambda: not readers())


class Slow:
    """Counts what is read, each batch after a moment."""

    classes, image = 10, (1, 1, 1)

    def __init__(self) -> None:
        self.read: list[int] = []

    def __len__(self) -> int:
        return 1000

    def __getitem__(self, rows: slice | np.ndarray) -> Dataset:
        assert isinstance(rows, np.ndarray)
        self.read.append(int(rows[0]))
        time.sleep(0.01)
        return Dataset(np.zeros((1, 1, 1, 1), np.uint8), rows.astype(np.int32), 10)

    def fingerprint(self) -> str:
        return ""


def test_a_handful_is_read_ahead_and_no_more() -> None:
    source = Slow()
    with contextlib.closing(stream(source, lambda step: np.array([step]), 100, 900, ahead=3)) as batches:
        assert [next(batches).labels.item() for _ in range(5)] == [100, 101, 102, 103, 104]
        wait_for(lambda: len(source.read) == 5 + 3)
        time.sleep(0.1)
        assert sorted(source.read) == list(range(100, 108))
    wait_for(lambda: not readers())
    assert len(source.read) == 8


def test_a_stream_left_early_ends_its_threads() -> None:
    source = Slow()
    for batch in stream(source, lambda step: np.array([step]), 0, 900, ahead=4):
        if batch.labels.item() == 2:
            break
    wait_for(lambda: not readers())
    assert max(source.read) < 10


def test_nothing_is_read_before_the_first_batch_is_asked_for() -> None:
    source = Slow()
    stream(source, lambda step: np.array([step]), 0, 900).close()
    assert not source.read
    assert not readers()


@pytest.mark.cifar10
def test_cifar10_streams_as_it_loads() -> None:
    train = open_splits("cifar10").train
    rows = lambda step: batch_indices(0, step, 128, len(train))  # noqa: E731
    whole = list(stream(train, rows, 385, 394))  # over the end of an epoch
    assert [batch.fingerprint() for batch in whole] == [train[rows(step)].fingerprint() for step in range(385, 394)]
    assert [batch.fingerprint() for batch in stream(train, rows, 390, 394)] == [
        batch.fingerprint() for batch in whole[5:]
    ]


def test_what_was_read_is_kept(pictures: Path) -> None:
    """From the second epoch on no file is opened: they may even be gone."""
    train = keep(open_splits(str(pictures)).train)
    first = [batch.fingerprint() for batch in stream(train, rows_at, 0, 5, ahead=3)]  # an epoch
    assert train.known.all()
    for picture in pictures.glob("train/*/*.png"):
        picture.unlink()
    assert [batch.fingerprint() for batch in stream(train, rows_at, 0, 5, ahead=3)] == first
    assert train[:].fingerprint() == train[np.arange(20)].fingerprint()
    with pytest.raises(AccessError):
        open_splits(str(pictures)).train[:]
