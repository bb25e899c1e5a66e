"""Images and labels: what a split is, whether it is in memory or read when asked for."""

import dataclasses
import hashlib
import math
from functools import cached_property
from typing import Generic, Protocol, TypeVar

import numpy as np

from wmjax.devices import host_bytes
from wmjax.errors import UsageError
from wmjax.progress import progress
from wmjax.text import by

_BLOCK = 500  # pictures read at once: enough to make up for the cost of a call, few enough to hold twice


class Examples(Protocol):
    """One split, of which any rows can be read at any time and from any thread.

    Attributes:
      classes: number of classes.
      image: height, width and channels of one image.
    """

    @property
    def classes(self) -> int: ...

    @property
    def image(self) -> tuple[int, int, int]: ...

    def __len__(self) -> int: ...

    def __getitem__(self, rows: slice | np.ndarray) -> "Dataset":
        """The rows that NumPy would give, decoded."""
        ...

    def fingerprint(self) -> str:
        """SHA-256 (hex) that changes with the split: of its pixels in memory, of its files' names and sizes else."""
        ...


@dataclasses.dataclass(frozen=True, eq=False)
class Dataset:
    """One split, whole in memory.

    Attributes:
      images: uint8 [N, H, W, C].
      labels: int32 [N], each in [0, classes).
      classes: number of classes.
    """

    images: np.ndarray
    labels: np.ndarray
    classes: int

    def __len__(self) -> int:
        return len(self.labels)

    def __getitem__(self, rows: slice | np.ndarray) -> "Dataset":
        return Dataset(self.images[rows], self.labels[rows], self.classes)

    @property
    def image(self) -> tuple[int, int, int]:
        """Height, width and channels of one image."""
        height, width, channels = self.images.shape[1:]
        return height, width, channels

    def fingerprint(self) -> str:
        """SHA-256 (hex) of shape, images and labels, whatever file format they came from; counted once."""
        return self._digest

    @cached_property
    def _digest(self) -> str:
        sha = hashlib.sha256(f"wmjax-images/1 {self.images.shape} {self.classes}\n".encode())
        sha.update(np.ascontiguousarray(self.images).data)
        sha.update(self.labels.astype("<i4").tobytes())
        return sha.hexdigest()


E = TypeVar("E", bound=Examples, covariant=True)


@dataclasses.dataclass(frozen=True)
class Splits(Generic[E]):
    """A named data set: its training and its test split.

    Attributes:
      name: as it was opened by.
      train: examples to learn from.
      test: examples held out.
    """

    name: str
    train: E
    test: E


@dataclasses.dataclass(frozen=True, eq=False)
class Over:
    """What a split is that stands before another one; how rows are read is its own.

    Attributes:
      examples: the split behind it.
    """

    examples: Examples

    @property
    def classes(self) -> int:
        """Number of classes."""
        return self.examples.classes

    @property
    def image(self) -> tuple[int, int, int]:
        """Height, width and channels of one image."""
        return self.examples.image

    def __len__(self) -> int:
        return len(self.examples)

    def fingerprint(self) -> str:
        """That of the split behind it."""
        return self.examples.fingerprint()


@dataclasses.dataclass(frozen=True, eq=False)
class Kept(Over):
    """A split that is read when asked for, and then kept in memory: the second epoch decodes nothing.

    Attributes:
      examples: the split on disk.
      images: uint8 [N, H, W, C], those that were read; memory is taken as it is filled.
      labels: int32 [N].
      known: bool [N], which those are.
    """

    images: np.ndarray
    labels: np.ndarray
    known: np.ndarray

    def __getitem__(self, rows: slice | np.ndarray) -> Dataset:
        chosen = np.arange(len(self))[rows]
        missing = chosen[~self.known[chosen]]
        if len(missing):
            block = self.examples[missing]
            self.images[missing], self.labels[missing] = block.images, block.labels
            self.known[missing] = True  # last: other threads look here first
        return Dataset(self.images[chosen], self.labels[chosen], self.classes)


def keep(examples: Examples) -> Kept:
    """A split that remembers what was read of it.

    >>> kept = keep(Dataset(np.zeros((3, 2, 2, 1), np.uint8), np.arange(3, dtype=np.int32), 10))
    >>> kept[1:].labels.tolist(), kept.known.tolist()
    ([1, 2], [False, True, True])
    """
    size = len(examples)
    images = np.empty((size, *examples.image), np.uint8)
    return Kept(examples, images, np.empty(size, np.int32), np.zeros(size, bool))


def share_bounds(size: int, share: tuple[int, int]) -> tuple[int, int]:
    """Where part i of n begins and ends: `size * i // n` and `size * (i + 1) // n`.

    >>> [share_bounds(10, (i, 3)) for i in range(3)]
    [(0, 3), (3, 6), (6, 10)]

    Args:
      size: rows in all.
      share: i and n, with 0 <= i < n.
    """
    part, parts = share
    return size * part // parts, size * (part + 1) // parts


def read(examples: Examples, title: str, share: tuple[int, int] = (0, 1)) -> Dataset:
    """Reads a split into memory, or one host's part of it.

    Args:
      examples: the split.
      title: of the progress bar.
      share: i and n; only the i-th of n contiguous parts, see `share_bounds`.

    Raises:
      UsageError: it does not fit in memory, or its images differ in size.
      AccessError: it cannot be read.
    """
    first, last = share_bounds(len(examples), share)
    if isinstance(examples, Dataset):
        return examples[first:last]
    shape = (last - first, *examples.image)
    if math.prod(shape) > host_bytes():  # said now: a process that fills the memory is killed without a word
        size = f"{math.prod(shape) / 2**30:,.0f} GiB"
        raise UsageError(f"{title}: images of {by(examples.image)} take {size} and do not fit in this machine's memory")
    images, labels = np.empty(shape, np.uint8), np.empty(last - first, np.int32)
    with progress(title, last - first) as advance:
        for start in range(first, last, _BLOCK):
            block = examples[start : min(start + _BLOCK, last)]
            rows = slice(start - first, start - first + len(block))
            images[rows], labels[rows] = block.images, block.labels
            advance(len(block))
    return Dataset(images, labels, examples.classes)
