"""What answers for a file of `jax.export`, in a process of its own: its program is compiled and run there alone.

A program of StableHLO computes, and can do nothing else unless it calls out of itself: by custom calls, or to and from
its host. One that does is refused before it is compiled.
"""

import re
from collections.abc import Callable
from pathlib import Path

import jax
import numpy as np
from jax import export

_LARGEST = 1 << 31  # bytes of a file
_OUT = re.compile(r"\b(custom_call(?! @(?:Sharding|shape_assertion)\()|send|recv|infeed|outfeed)\b")


def program(path: str) -> Callable[[np.ndarray], np.ndarray]:
    """The function that answers for a file, with the scores of all outputs one after another, float32 [n, scores].

    Asked about nothing, it says what it takes and gives, in whole numbers: whether it takes uint8; images at once (0:
    any number); whether channels come last; height, width, channels; each output's classes, 0 where it has no scores.

    Args:
      path: of the file.

    Raises:
      ValueError: it is no program of one batch of images, or calls out of itself.
    """
    if Path(path).stat().st_size > _LARGEST:
        raise ValueError("larger than any that wmjax reads")
    exported = export.deserialize(bytearray(Path(path).read_bytes()))
    if found := _OUT.search(exported.mlir_module()):
        raise ValueError(f"it calls out of its program, by {found[1]}")
    told = _described(exported)
    batch, last = told[1], told[2]
    places = [place for place, classes in enumerate(told[6:]) if classes]

    def ask(images: np.ndarray) -> np.ndarray:
        if not images.size:
            return np.array(told, np.int64)
        x = images if last else images.transpose(0, 3, 1, 2)
        size = batch or len(x)
        filled = np.concatenate([x, np.zeros((-len(x) % size, *x.shape[1:]), x.dtype)])
        parts = []
        for at in range(0, len(filled), size):
            leaves = jax.tree.leaves(exported.call(filled[at : at + size]))
            parts.append(np.concatenate([np.asarray(leaves[place]).reshape(size, -1) for place in places], axis=1))
        return np.concatenate(parts)[: len(x)].astype(np.float32)

    return ask


def _described(exported: export.Exported) -> list[int]:
    (taken,) = exported.in_avals if len(exported.in_avals) == 1 else (None,)
    if taken is None or len(taken.shape) != 4 or not all(isinstance(n, int) for n in taken.shape[1:]):
        raise ValueError("it does not take one batch of images [n, height, width, channels] of a size that is said")
    if str(taken.dtype) not in ("uint8", "float32"):
        raise ValueError(f"it takes images of {taken.dtype}, not uint8 or float32")
    batch = taken.shape[0] if isinstance(taken.shape[0], int) else 0
    last = taken.shape[3] in (1, 3)
    height, width, channels = taken.shape[1:] if last else (*taken.shape[2:], taken.shape[1])
    if channels not in (1, 3):
        raise ValueError(f"its images {list(taken.shape[1:])} have neither 1 nor 3 channels")
    classes = [_classes(out.shape, taken.shape[0]) for out in exported.out_avals]
    if len(set(classes) - {0}) == 0:
        raise ValueError("none of its outputs is [n, classes]")
    return [int(taken.dtype == np.uint8), batch, int(last), height, width, channels, *classes]


def _classes(shape: tuple[object, ...], batch: object) -> int:
    """Scores of an image in an output of this shape."""
    sizes = [n for n in shape[1:] if n != 1]
    if len(shape) not in (2, 4) or shape[0] != batch or len(sizes) != 1:
        return 0
    return sizes[0] if isinstance(sizes[0], int) else 0
