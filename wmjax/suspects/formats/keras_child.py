"""What answers for a Keras file, in a process of its own: Keras builds its layers and runs them there alone, on JAX.

A `.keras` file is a zip archive of a description, by which layers are built, and of weights. Keras's safe mode builds
its own layers alone, and refuses those that hold code.
"""

import os
import zipfile
from collections.abc import Callable
from typing import Any

import numpy as np

_LARGEST = 1 << 31  # bytes of all that a file holds


def program(path: str) -> Callable[[np.ndarray], np.ndarray]:
    """The function that answers for a file; it takes and gives what `export_child.program`'s does.

    Args:
      path: of the file.

    Raises:
      ValueError: it is no classifier of images of one size, it holds code, or it is too large.
    """
    with zipfile.ZipFile(path) as archive:
        if sum(item.file_size for item in archive.infolist()) > _LARGEST:
            raise ValueError("larger than any that wmjax reads")
    os.environ["KERAS_BACKEND"] = "jax"
    import jax
    import keras

    jax.config.update("jax_numpy_rank_promotion", "allow")  # its layers rest on it, whatever the user has set
    model = keras.saving.load_model(path, compile=False, safe_mode=True)
    told = _described(model)
    places = [place for place, classes in enumerate(told[6:]) if classes]
    state = [[variable.value for variable in of] for of in (model.trainable_variables, model.non_trainable_variables)]
    batch, last = told[1], told[2]

    @jax.jit
    def scores(x: Any) -> list[Any]:
        leaves = jax.tree.leaves(model.stateless_call(*state, x, training=False)[0])
        return [leaves[place].reshape(len(x), -1) for place in places]

    def ask(images: np.ndarray) -> np.ndarray:
        if not images.size:
            return np.array(told, np.int64)
        x = images if last else images.transpose(0, 3, 1, 2)
        size = batch or len(x)
        filled = np.concatenate([x, np.zeros((-len(x) % size, *x.shape[1:]), x.dtype)])
        parts = [np.concatenate(scores(filled[at : at + size]), axis=1) for at in range(0, len(filled), size)]
        return np.concatenate(parts)[: len(x)].astype(np.float32)

    return ask


def _described(model: Any) -> list[int]:
    shapes = [tuple(taken.shape) for taken in model.inputs or ()]
    if len(shapes) != 1 or len(shapes[0]) != 4 or None in shapes[0][1:]:
        raise ValueError("it does not take one batch of images [n, height, width, channels] of a size that is said")
    batch, *sides = shapes[0]
    last = sides[2] in (1, 3)
    height, width, channels = sides if last else (*sides[1:], sides[0])
    if channels not in (1, 3):
        raise ValueError(f"its images {sides} have neither 1 nor 3 channels")
    classes = [_classes(tuple(out.shape)) for out in model.outputs]
    if not any(classes):
        raise ValueError("none of its outputs is [n, classes]")
    return [0, batch or 0, int(last), height, width, channels, *classes]


def _classes(shape: tuple[int | None, ...]) -> int:
    """Scores of an image in an output of this shape."""
    sizes = [n for n in shape[1:] if n != 1]
    return sizes[0] if len(shape) in (2, 4) and len(sizes) == 1 and sizes[0] else 0
