"""What the processes of files that other runtimes run say of them, and how they answer. No JAX."""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

_LARGEST = 1 << 31  # bytes of a file, or of all that an archive holds


def check_size(size: int) -> None:
    """Raises `ValueError` where a file, or all that an archive holds, has more bytes than any that is read."""
    if size > _LARGEST:
        raise ValueError("larger than any that wmjax reads")


def answering(
    told: list[int], run: Callable[[np.ndarray], Sequence[Any]], whole: Sequence[bool] = ()
) -> Callable[[np.ndarray], np.ndarray]:
    """The function that answers for a file, with the scores of all outputs one after another, float32 [n, scores].

    Asked about nothing, it says what it takes and gives, as `described` tells it.

    Args:
      told: what it takes and gives.
      run: gives all outputs of as many images as are taken at once.
      whole: as `described` was told.
    """
    batch, last = told[1], told[2]
    picked = _picked(told[6:], whole)

    def ask(images: np.ndarray) -> np.ndarray:
        if not images.size:
            return np.array(told, np.int64)
        x = images if last else images.transpose(0, 3, 1, 2)
        if last == 2 or not told[3]:
            x = x.reshape(len(x), *(n for n in told[3:5] if n))
        size = batch or 1  # where any number is taken each goes alone: its answer may follow from those beside it
        filled = np.concatenate([x, np.zeros((-len(x) % size, *x.shape[1:]), x.dtype)])
        parts = []
        for at in range(0, len(filled), size):
            leaves = [np.asarray(leaf) for leaf in run(filled[at : at + size])]
            parts.append(np.concatenate([leaves[i].reshape(size, -1)[:, :columns] for i, columns in picked], axis=1))
        return np.concatenate(parts)[: len(x)].astype(np.float32)

    return ask


def described(
    taken: Sequence[object],
    given: Sequence[Sequence[object]],
    *,
    dtype: str,
    left: bool = False,
    whole: Sequence[bool] = (),
) -> list[int]:
    """What a program takes and gives, in whole numbers.

    These are: 0 where it takes floating-point numbers, 1 uint8, 2 other whole ones; images at once (0: any number);
    whether channels come last, or 2 where they have no axis; height, width, channels, or 0, the numbers in a row, 0;
    each output's classes, 1 of one that may tell the class itself, 0 where it has no scores.

    Args:
      taken: shape of its images, of grey ones [n, H, W] too, or of rows of their numbers; a side that is not a whole
        number is open.
      given: shapes of its outputs.
      dtype: of what it takes.
      whole: whether each output has whole numbers that have no other worth: they may be the best classes, the best
        first, so that the first is told as an output of its own, behind them.
      left: whether the file has more than the program uses: told as an output that cannot be asked.

    Raises:
      ValueError: it is not a classifier of images of one size.
    """
    sides = [n for n in taken[1:] if isinstance(n, int)]
    if len(taken) not in (2, 3, 4) or len(sides) != len(taken) - 1:
        raise ValueError("it does not take one batch of images [n, height, width, channels] of a size that is said")
    batch = taken[0] if isinstance(taken[0], int) else 0
    last, (height, width, channels) = _laid(sides)
    counts = [scores_of(shape, taken[0]) for shape in given]
    ranked = [count > 1 and is_whole for count, is_whole in zip(counts, whole or [False] * len(counts), strict=True)]
    classes = [n for count, first in zip(counts, ranked, strict=True) for n in ([count, 1] if first else [count])]
    if max(classes, default=0) < 2:
        raise ValueError("none of its outputs is [n, classes]")
    whole_numbers = 0 if "float" in dtype else 1 if dtype == "uint8" else 2
    return [whole_numbers, batch, last, height, width, channels, *classes, *([0] if left else [])]


def _laid(sides: list[int]) -> tuple[int, tuple[int, int, int]]:
    """Whether channels come last, and height, width and channels, as `described` tells them."""
    if len(sides) == 1:
        return 1, (0, sides[0], 0)
    if len(sides) == 2:
        return 2, (sides[0], sides[1], 1)
    first, second, third = sides
    if third in (1, 3):
        return 1, (first, second, third)
    if first in (1, 3):
        return 0, (second, third, first)
    raise ValueError(f"its images {sides} have neither 1 nor 3 channels")


def as_taken(images: np.ndarray, dtype: Any) -> np.ndarray:
    """Images as a program takes them; where it takes bytes that have a sign, 128 is taken from each.

    >>> as_taken(np.array([0, 255], np.uint8), "int8").tolist(), as_taken(np.array([7], np.uint8), "int64").dtype
    ([-128, 127], dtype('int64'))
    """
    if np.dtype(dtype) == np.int8:
        images = images.astype(np.int16) - 128
    return images.astype(dtype)


def _picked(counts: Sequence[int], whole: Sequence[bool]) -> list[tuple[int, int | None]]:
    """Which output gives each of the told ones, and how many of its columns: all, or the first.

    >>> _picked([10, 5, 1, 0], [False, True])
    [(0, None), (1, None), (1, 1)]
    """
    picked: list[tuple[int, int | None]] = []
    told = iter(counts)
    for output, count in enumerate(told):
        picked += [(output, None)] if count else []
        if count > 1 and output < len(whole) and whole[output]:
            picked.append((output, next(told)))
    return picked


def much(left: int, used: int) -> bool:
    """Whether so many bytes that a program does not use may be another model's, beside those that it does.

    >>> much(100, 4000), much(4000, 4000)
    (False, True)
    """
    return 2 * left > used


def scores_of(shape: Sequence[object], batch: object) -> int:
    """Scores of an image in an output of this shape, 0 where it holds none; for one image it may have no axis of these.

    >>> scores_of((4, 10), 4), scores_of((4, 10, 1, 1), 4), scores_of((4, 10, 3), 4), scores_of((10,), 1)
    (10, 10, 0, 10)
    """
    sizes = [n for n in (shape if batch == 1 else shape[1:]) if n != 1] or [1]
    if (batch != 1 and list(shape[:1]) != [batch]) or len(sizes) != 1:
        return 0
    return sizes[0] if isinstance(sizes[0], int) else 0
