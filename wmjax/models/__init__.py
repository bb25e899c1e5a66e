"""Classifiers in Flax NNX, used as pure functions over plain dictionaries.

A `Config` says everything about a network but its weights and is stored in every checkpoint. Weights live in
`Variables`, two plain nested dictionaries, so `jax.jit/vmap/grad` work on them directly; the NNX module exists
only inside `apply`.
"""

from wmjax.models.config import Config, default_config
from wmjax.models.functional import Variables, apply, build, init, one, shapes, stack
from wmjax.models.predict import accuracy, predict

__all__ = [
    "Config",
    "Variables",
    "accuracy",
    "apply",
    "build",
    "default_config",
    "init",
    "one",
    "predict",
    "shapes",
    "stack",
]
