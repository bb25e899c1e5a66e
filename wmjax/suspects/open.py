"""Opening a suspect from what a user types: a path, or `module:function`. No JAX at the top."""

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from wmjax.suspects.contract import Suspect
from wmjax.suspects.strangers import NAME, imported, strangers_code


def from_callable(ask: Callable[[np.ndarray], Any], name: str = "callable") -> Suspect:
    """A suspect from any Python function of uint8 images [n, H, W, C]."""
    return Suspect(name, ask)


def from_checkpoint(path: str | os.PathLike[str]) -> Suspect:
    """A suspect from a wmjax checkpoint, exported model or run folder (its newest checkpoint)."""
    from wmjax import checkpoint
    from wmjax.models import predict

    found = checkpoint.find(Path(path))
    config, variables = checkpoint.load_variables(found)
    return Suspect(
        str(path),
        lambda images: predict(config, variables, images),
        config.image,
        config.classes,
        lambda: checkpoint.describe(found),
    )


def open_suspect(name: str) -> Suspect:
    """A suspect from what a user types: a path, or `module:function`.

    Raises:
      UsageError: there is no such module or function.
      AccessError: there is no such path.
      InvalidFile: the path is no checkpoint.
    """
    if Path(name).exists() or not NAME.fullmatch(name):
        return from_checkpoint(name)
    with strangers_code(f"suspect {name}"):
        return from_callable(imported(name), name)
