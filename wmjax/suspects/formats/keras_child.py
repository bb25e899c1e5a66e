"""What answers for a Keras file, in a process of its own: Keras builds its layers and runs them there alone, on JAX.

A `.keras` file is a zip archive of a description, by which layers are built, and of weights; an `.h5` file of a whole
model holds the same as HDF5. Keras's safe mode builds its own layers alone, and refuses those that hold code.
"""

import io
import math
import os
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from wmjax.suspects.formats.answering import answering, check_size, described

_WEIGHTS = "model.weights.h5"
_PARTS = {"metadata.json", "config.json", _WEIGHTS}


def program(path: str) -> Callable[[np.ndarray], np.ndarray]:
    """The function that answers for a file, as `answering` makes it.

    Args:
      path: of the file.

    Raises:
      ValueError: it is not a classifier of images of one size, it holds code, or it is too large.
    """
    check_size(_bytes(path))
    os.environ["KERAS_BACKEND"] = "jax"
    import jax
    import keras

    jax.config.update("jax_numpy_rank_promotion", "allow")  # its layers rest on it, whatever the user has set
    model = keras.saving.load_model(path, compile=False, safe_mode=True)
    taken = [value.shape for value in model.inputs or ()]
    left = _numbers(path) > sum(math.prod(weight.shape) for weight in model.weights)
    outs = [out.shape for out in model.outputs or ()]
    whole = ["int" in str(out.dtype) for out in model.outputs or ()]
    told = described(taken[0] if len(taken) == 1 else (), outs, dtype="float32", left=left, whole=whole)
    state = [[variable.value for variable in of] for of in (model.trainable_variables, model.non_trainable_variables)]
    run = jax.jit(lambda x: jax.tree.leaves(model.stateless_call(*state, x, training=False)[0]))
    return answering(told, run, whole)


def _bytes(path: str) -> int:
    """Of all that a file holds."""
    if not zipfile.is_zipfile(path):
        return Path(path).stat().st_size
    with zipfile.ZipFile(path) as archive:
        return sum(item.file_size for item in archive.infolist())


def _numbers(path: str) -> float:
    """How many numbers a file holds beside its optimiser's; infinite for an archive with more than a model's parts."""
    import h5py

    if not zipfile.is_zipfile(path):
        return _stored(h5py.File(path))
    with zipfile.ZipFile(path) as archive:
        if len(archive.namelist()) > len(_PARTS.intersection(archive.namelist())):  # or one of them twice
            return math.inf
        return _stored(h5py.File(io.BytesIO(archive.read(_WEIGHTS))))


def _stored(file: Any) -> int:
    sizes: list[int] = []

    def note(name: str, item: Any) -> None:
        if hasattr(item, "size") and not name.startswith(("optimizer_weights/", "optimizer/")):
            sizes.append(int(item.size or 0))

    with file:
        file.visititems(note)
    return sum(sizes)
