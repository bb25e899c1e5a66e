"""JSON values of a form that is known beforehand: each function gives back what it checked, or raises ValueError."""

import math
from collections.abc import Callable, Sequence
from typing import Any, TypeVar

import numpy as np

T = TypeVar("T")
MOST = 2**53  # whole numbers up to here are the same in every JSON reader


def fields(value: Any, names: Sequence[str]) -> dict[str, Any]:
    """An object with exactly these names.

    >>> fields({"a": 1}, ["a", "b"])
    Traceback (most recent call last):
    ValueError: an object with a, b was expected
    """
    if not isinstance(value, dict) or value.keys() != set(names):
        raise ValueError(f"an object with {', '.join(names)} was expected")
    return value


def whole(value: Any, low: int = 0, high: int = MOST) -> int:
    """A whole number from `low` to `high`; True is none.

    >>> whole(7, high=6)
    Traceback (most recent call last):
    ValueError: a whole number from 0 to 6 was expected
    """
    if type(value) is not int or not low <= value <= high:
        raise ValueError(f"a whole number from {low} to {high} was expected")
    return value


def number(value: Any, low: float = -math.inf, high: float = math.inf) -> float:
    """A finite number from `low` to `high`."""
    if type(value) not in (int, float) or not math.isfinite(value) or not low <= value <= high:
        raise ValueError(f"a number from {low} to {high} was expected")
    return float(value)


def text(value: Any) -> str:
    """A string."""
    if not isinstance(value, str):
        raise ValueError("text was expected")
    return value


def flag(value: Any) -> bool:
    """True or False."""
    if not isinstance(value, bool):
        raise ValueError("true or false was expected")
    return value


def items(value: Any, read: Callable[[Any], T]) -> tuple[T, ...]:
    """A list, each item of which `read` can read."""
    if not isinstance(value, list):
        raise ValueError("a list was expected")
    return tuple(read(item) for item in value)


def counts(value: Any) -> dict[str, int]:
    """An object of whole numbers by whatever names."""
    if not isinstance(value, dict):
        raise ValueError("an object of counts was expected")
    return {name: whole(count) for name, count in value.items()}


def table(
    value: Any, shape: tuple[int, ...], dtype: type, low: float = -math.inf, high: float = math.inf
) -> np.ndarray:
    """Lists of finite numbers in lists, as an array.

    >>> table([[1, 2]], (1, 2), np.int8, 0, 3)
    array([[1, 2]], dtype=int8)

    Args:
      value: to read.
      shape: that it must have.
      dtype: of the array; where it is one of whole numbers, all must be whole.
      low, high: between which they must lie.
    """
    found = np.array(value)  # lists of unequal lengths: ValueError
    if found.size == 0 and math.prod(shape) == 0 and isinstance(value, list):
        return np.empty(shape, dtype)
    kinds = "i" if np.issubdtype(dtype, np.integer) else "if"
    if (
        found.shape != shape
        or found.dtype.kind not in kinds
        or not (np.isfinite(found) & (found >= low) & (found <= high)).all()
    ):
        raise ValueError(f"numbers of shape {list(shape)} from {low} to {high} were expected")
    return found.astype(dtype)
