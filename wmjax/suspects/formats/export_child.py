"""What answers for a file of `jax.export`, in a process of its own: its program is compiled and run there alone.

One that calls out of itself is refused before it is compiled (`stablehlo`).
"""

from collections.abc import Callable
from pathlib import Path

import jax
import numpy as np
from jax import export

from wmjax.suspects.formats.answering import answering, as_taken, check_size, described
from wmjax.suspects.formats.stablehlo import check_within

_TAKEN = ("float32", "uint8", "int8", "int16", "int32")


def program(path: str) -> Callable[[np.ndarray], np.ndarray]:
    """The function that answers for a file, as `answering` makes it.

    Args:
      path: of the file.

    Raises:
      ValueError: it is not a program of one batch of images, or calls out of itself.
    """
    check_size(Path(path).stat().st_size)
    exported = export.deserialize(bytearray(Path(path).read_bytes()))
    check_within(exported.mlir_module_serialized)
    (taken,) = exported.in_avals if len(exported.in_avals) == 1 else (jax.ShapeDtypeStruct((), np.float32),)
    if str(taken.dtype) not in _TAKEN:
        raise ValueError(f"it takes images of {taken.dtype}, not of {' or '.join(_TAKEN)}")
    whole = [out.dtype.kind in "iu" for out in exported.out_avals]
    shapes = [out.shape for out in exported.out_avals]
    told = described(taken.shape, shapes, dtype=str(taken.dtype), whole=whole)
    return answering(told, lambda images: jax.tree.leaves(exported.call(as_taken(images, taken.dtype))), whole)
