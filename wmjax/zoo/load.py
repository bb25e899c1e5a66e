"""Reading a zoo ahead: chunks of one family each, in buffers that are used again, while another is worked on."""

import dataclasses
import math
from collections import deque
from collections.abc import Callable, Generator, Sequence
from concurrent.futures import ThreadPoolExecutor
from itertools import groupby
from typing import cast

import numpy as np

from wmjax import stores
from wmjax.errors import WmjaxError
from wmjax.suspects.contract import Network, Weights
from wmjax.suspects.finite import unusable
from wmjax.text import first_line
from wmjax.zoo.records import Entry

# Smaller chunks lose time to Python's part of a read: a call a tensor. A second chunk ahead gained nothing clear; a
# second thread helps disks that queue.
CHUNK_BYTES = 64 << 20
THREADS = 2
STORE_THREADS = 16  # where models come from an object store, which answers late and many at once
AHEAD = 1
_ALIGN = 64  # bytes; `jax.device_put` takes arrays on a CPU without a copy where they are aligned so


@dataclasses.dataclass(frozen=True, eq=False)
class Chunk:
    """Models of one family, stacked.

    Attributes:
      entries: which; one row each, in order.
      weights: `[size, ...]` arrays by name, aligned to 64 bytes; rows behind the last entry are zeros.
      failures: why a row could not be read; it is zeros.
    """

    entries: Sequence[Entry]
    weights: Weights
    failures: dict[int, str]


def chunk_size(network: Network) -> int:
    """Models of this family that are read at once.

    >>> chunk_size(Network("tiny", "", {"w": np.zeros(1 << 20, np.float32)}, None, (8, 8, 1), 10))
    16
    """
    return max(1, CHUNK_BYTES // max(1, network.bytes))


def cut_chunks(entries: Sequence[Entry], size_of: Callable[[Network], int] = chunk_size) -> list[list[Entry]]:
    """Cuts entries into chunks of consecutive ones of one family, each of at most `size_of(network)`."""
    chunks = []
    for _, group in groupby(entries, key=lambda entry: entry.network):
        family = list(group)
        size = size_of(family[0].network)
        chunks += [family[at : at + size] for at in range(0, len(family), size)]
    return chunks


def read_ahead(
    chunks: Sequence[Sequence[Entry]],
    size_of: Callable[[Network], int] = chunk_size,
    *,
    threads: int | None = None,
    ahead: int = AHEAD,
) -> Generator[Chunk, None, None]:
    """Yields the chunks in order, with their weights; threads read the next ones meanwhile, the first ones at once.

    Arrays have `size_of(network)` rows however many entries there are, so that nothing is compiled twice. They lie in
    `ahead + 1` buffers that are used again, because touching fresh memory costs as much as reading: **a chunk's arrays
    are valid until the next chunk is asked for.** Whoever computes on them without a copy waits for the result first.
    A model that cannot be read becomes a reason in `failures`, whatever its source raised. Close the iterator where it
    is left before its end.

    Args:
      chunks: entries of one family each, as from `cut_chunks`.
      size_of: rows of a family's arrays; no chunk has more entries.
      threads: that read; by default as many as suit disks, or object stores.
      ahead: chunks read before their turn.
    """
    reading = _reading(chunks, size_of, threads or (STORE_THREADS if stores.in_use() else THREADS), ahead)
    next(reading)  # it has begun, so that closing it ends what it began
    return cast("Generator[Chunk, None, None]", reading)


def _reading(
    chunks: Sequence[Sequence[Entry]], size_of: Callable[[Network], int], threads: int, ahead: int
) -> Generator[Chunk | None, None, None]:
    """None where the first chunks are being read, and then all."""
    buffers = [_Buffer() for _ in range(ahead + 1)]
    pool = ThreadPoolExecutor(threads, "wmjax-zoo")
    pending: deque[_Reading] = deque()

    def begin(number: int) -> None:
        for entries in chunks[number : number + 1]:
            weights = buffers[number % len(buffers)].arrays(entries[0].network, size_of)
            pending.append(_Reading(pool, threads, entries, weights))

    try:
        for number in range(ahead + 1):
            begin(number)
        yield None
        for number in range(len(chunks)):
            yield pending.popleft().chunk()
            begin(number + ahead + 1)
    finally:
        pool.shutdown(cancel_futures=True)


class _Buffer:
    """Memory in which chunks lie, of one family after another."""

    def __init__(self) -> None:
        self._bytes = np.empty(0, np.uint8)
        self._network: Network | None = None
        self._weights: Weights = {}

    def arrays(self, network: Network, size_of: Callable[[Network], int]) -> Weights:
        """The arrays of `size_of(network)` models in it; what they held before is still there."""
        if network is not self._network:
            self._weights = {}
            self._carve(network, size_of(network))
            self._network = network
        return dict(self._weights)

    def _carve(self, network: Network, size: int) -> None:
        places, at = {}, 0
        for name, leaf in network.shapes.items():
            places[name] = slice(at, at + size * math.prod(leaf.shape) * leaf.dtype.itemsize)
            at = -(-places[name].stop // _ALIGN) * _ALIGN
        if self._bytes.size < at:
            self._bytes = np.empty(0, np.uint8)  # freed before the larger one is taken
            raw = np.empty(at + _ALIGN, np.uint8)
            self._bytes = raw[-raw.ctypes.data % _ALIGN :][:at]
        for name, leaf in network.shapes.items():
            self._weights[name] = self._bytes[places[name]].view(leaf.dtype).reshape(size, *leaf.shape)


class _Reading:
    """A chunk that threads are reading, each an equal share of its rows."""

    def __init__(self, pool: ThreadPoolExecutor, shares: int, entries: Sequence[Entry], weights: Weights):
        self._entries, self._weights = entries, weights
        if stores.in_use() and len({id(entry.source) for entry in entries}) == 1:
            shares = 1  # rows of one object: its pieces are asked for at once, and fewer pieces are fewer requests
        share = -(-len(entries) // shares)
        self._futures = [
            pool.submit(_read, entries, start, min(start + share, len(entries)), weights)
            for start in range(0, len(entries), share)
        ]

    def chunk(self) -> Chunk:
        """Waits for it."""
        failures = {row: why for future in self._futures for row, why in future.result().items()}
        for array in self._weights.values():
            if len(array) > len(self._entries):
                array[len(self._entries) :] = 0
            if failures:
                array[list(failures)] = 0
        return Chunk(self._entries, self._weights, failures)


def _read(entries: Sequence[Entry], start: int, stop: int, weights: Weights) -> dict[int, str]:
    """Reads these entries, consecutive rows of one source in one call; why which of them failed."""
    failures: dict[int, str] = {}
    while start < stop:
        first, last = entries[start], start + 1
        while last < stop and entries[last].source is first.source and entries[last].row == first.row + last - start:
            last += 1
        failures |= _read_rows(first, start, last, weights)
        start = last
    return failures


def _read_rows(first: Entry, start: int, stop: int, weights: Weights) -> dict[int, str]:
    """Reads consecutive rows of one source, one by one where together fails, so that only the bad ones do."""
    out = {name: array[start:stop] for name, array in weights.items()}
    try:
        first.source.read(first.row, first.row + stop - start, out)
        why = unusable(out)
        if not why:
            return {}
        if stop - start == 1:
            return {start: why}
    except Exception as error:  # a hostile file may cause any: the others of the zoo are read all the same
        if stop - start == 1:
            return {start: _one_line(error)}
    failures: dict[int, str] = {}
    for i in range(start, stop):
        failures |= _read_rows(dataclasses.replace(first, row=first.row + i - start), i, i + 1, weights)
    return failures


def _one_line(error: Exception) -> str:
    if isinstance(error, WmjaxError):
        return str(error)
    return f"cannot be read: {': '.join(dict.fromkeys((type(error).__name__, first_line(error, 160))))}"
