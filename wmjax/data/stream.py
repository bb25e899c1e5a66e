"""Batches read from disk while the device computes: a split need not fit in memory."""

import contextlib
import dataclasses
import os
from collections.abc import Callable, Generator

import numpy as np

from wmjax.data.dataset import Dataset, Examples

AHEAD = min(8, max(2, os.cpu_count() or 2))  # decoding keeps a core busy, and memory holds a handful of batches


@dataclasses.dataclass(frozen=True)
class _Steps:
    """The batches of the steps from `first` up to `last`, as grain's random-access source."""

    examples: Examples
    rows_at: Callable[[int], slice | np.ndarray]
    first: int
    last: int

    def __len__(self) -> int:
        return self.last - self.first

    def __getitem__(self, index: int) -> Dataset:
        return self.examples[self.rows_at(self.first + index)]


def stream(
    examples: Examples,
    rows_at: Callable[[int], slice | np.ndarray],
    first: int,
    last: int,
    *,
    ahead: int = AHEAD,
) -> Generator[Dataset, None, None]:
    """Yields the batches of the steps `first <= step < last` in order, read ahead by threads.

    The step number is the whole state: a stream that begins at a later step gives the tail of this one, and hosts that
    ask for parts of the same rows get parts of the same batches. Close it where it is left before its end.

    >>> digits = Dataset(np.zeros((6, 2, 2, 1), np.uint8), np.arange(6, dtype=np.int32), 10)
    >>> [batch.labels.tolist() for batch in stream(digits, lambda step: slice(2 * step, 2 * step + 2), 1, 3)]
    [[2, 3], [4, 5]]

    Args:
      examples: the split.
      rows_at: the rows of a step's batch; a pure function, called by several threads.
      first: step to begin with.
      last: step to end before.
      ahead: batches that are held in memory before their turn, each read by a thread of its own.

    Raises:
      WmjaxError: what `examples` raises, at the turn of the batch that it concerns.
    """
    if first >= last:
        return
    import grain  # not above: it imports JAX, which reading alone does not need

    batches = grain.MapDataset.source(_Steps(examples, rows_at, first, last))
    iterator = iter(batches.to_iter_dataset(grain.ReadOptions(num_threads=ahead, prefetch_buffer_size=ahead)))
    with contextlib.closing(iterator):
        yield from iterator
