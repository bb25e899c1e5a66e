"""What answers for a Keras file, in a process of its own: Keras builds its layers and runs them there alone, on JAX.

A `.keras` file is a zip archive of a description, by which layers are built, and of weights; an `.h5` file of a whole
model holds the same as HDF5. Keras's safe mode builds its own layers alone, and refuses those that hold code.
"""

import os
import zipfile
from collections.abc import Callable
from pathlib import Path

import numpy as np

from wmjax.suspects.formats.answering import answering, check_size, described


def program(path: str) -> Callable[[np.ndarray], np.ndarray]:
    """The function that answers for a file, as `answering` makes it.

    Args:
      path: of the file.

    Raises:
      ValueError: it is no classifier of images of one size, it holds code, or it is too large.
    """
    check_size(_bytes(path))
    os.environ["KERAS_BACKEND"] = "jax"
    import jax
    import keras

    jax.config.update("jax_numpy_rank_promotion", "allow")  # its layers rest on it, whatever the user has set
    model = keras.saving.load_model(path, compile=False, safe_mode=True)
    taken = [value.shape for value in model.inputs or ()]
    told = described(taken[0] if len(taken) == 1 else (), [out.shape for out in model.outputs or ()], uint8=False)
    state = [[variable.value for variable in of] for of in (model.trainable_variables, model.non_trainable_variables)]
    run = jax.jit(lambda x: jax.tree.leaves(model.stateless_call(*state, x, training=False)[0]))
    return answering(told, run)


def _bytes(path: str) -> int:
    """Of all that a file holds."""
    if not zipfile.is_zipfile(path):
        return Path(path).stat().st_size
    with zipfile.ZipFile(path) as archive:
        return sum(item.file_size for item in archive.infolist())
