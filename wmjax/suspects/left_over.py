"""What is beside a file's models, in none of their sets of weights, and may be another one or change them. No JAX."""

import math
from collections.abc import Collection, Iterable, Iterator, Sequence

import numpy as np

from wmjax.orbax import Tensors
from wmjax.suspects.sets import Fit
from wmjax.suspects.tensor_names import Place, cores_of, is_adapter, is_optimiser, parts_of
from wmjax.zarr import FLOATS


def left_over(fits: Iterable[Fit], stored: Tensors, classes: Collection[int] = ()) -> str:
    """What is beside a file's models and may be another one, or change them, in words; empty where nothing does.

    Little says nothing, unless it is an adapter's, lies in one of a model's own layers, is called as a tensor of its,
    has the sides of one, or may be another head; nor does an optimiser's.

    >>> weights = {"w": ((3, 2), "float32"), "ema.0": ((3, 2), "float32")}
    >>> left_over([Fit(".", {"w": "w"})], weights)
    '1 tensor beside its models is of none of them: first ema.0'

    Args:
      fits: its models.
      stored: shapes and dtypes by name.
      classes: that its models tell apart.
    """
    fits = list(fits)
    numbers = {name: math.prod(shape) for name, (shape, _) in stored.items()}
    used = [[numbers.get(name, 0) for name in fit.names.values()] for fit in fits]
    taken = {name for fit in fits for name in fit.names.values()}
    left = [name for name in numbers if name not in taken and not is_optimiser(parts_of(name))]
    if not left:
        return ""
    changing = [name for name in left if is_adapter([name])] or list(_changing(left, fits, stored, classes))
    if not changing and 2 * sum(_held(*stored[name]) for name in left) < max(map(sum, used), default=0):
        return ""
    first = min(changing or left, key=lambda name: (-numbers[name], name))
    many = f"{len(left)} tensors beside its models are" if len(left) > 1 else "1 tensor beside its models is"
    return f"{many} of none of them: first {first:.100}"


def _held(shape: tuple[int, ...], dtype: str) -> int:
    """How many weights a tensor may hold: one of complex or whole numbers of 64 bits may be another one's bytes.

    >>> _held((3, 2), "float32"), _held((3, 2), "complex128"), _held((3, 2), "an unknown type")
    (6, 24, 6)
    """
    try:
        wide = np.dtype(dtype).itemsize // 4
    except TypeError:  # e.g. of four bits
        wide = 1
    return math.prod(shape) * max(1, wide)


def _changing(left: Sequence[str], fits: Sequence[Fit], stored: Tensors, classes: Collection[int]) -> Iterator[str]:
    """Of what is left the tensors that may change one of the models, or take a place in it."""
    layers = {parts_of(there)[:-1] for fit in fits for there in fit.names.values()} - {()}
    cores: dict[Place, set[tuple[int, ...]]] = {}
    for fit in fits:
        for core, name in cores_of(fit.names).items():
            cores.setdefault(core, set()).add(stored.get(fit.names[name], ((), ""))[0])
    lengths = {len(core) for core in cores}
    sizes = {_sides(stored[there][0]) for fit in fits for there in fit.names.values() if there in stored} - {()}
    for name in left:
        parts, (shape, dtype) = parts_of(name), stored[name]
        sides = _sides(shape)
        called = any(shape in cores.get(parts[-length:], ()) for length in lengths)
        head = len(sides) == 2 and not set(classes).isdisjoint(sides)
        alike = sides in sizes  # a bias by another name, too
        if dtype in FLOATS and (parts[:-1] in layers or called or head or alike):
            yield name


def _sides(shape: tuple[int, ...]) -> tuple[int, ...]:
    """Lengths of a tensor's sides, whichever way it is turned."""
    return tuple(sorted(side for side in shape if side != 1))
