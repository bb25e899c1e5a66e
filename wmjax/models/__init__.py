"""Classifiers in Flax NNX, used as pure functions over plain dictionaries.

A `Config` says everything about a network but its weights and is stored in every checkpoint. Each family of networks
is one `Family` record in a module of its own; `families.py` collects them. Weights live in
`Variables`, two plain nested dictionaries, so `jax.jit/vmap/grad` work on them directly; the NNX module exists
only inside `apply`.
"""

from wmjax.models.config import Config
from wmjax.models.contract import Family
from wmjax.models.families import FAMILIES, as_usual, default_config, read_config
from wmjax.models.functional import Variables, apply, build, check_config, init, one, shapes, stack
from wmjax.models.predict import accuracy, predict

__all__ = [
    "FAMILIES",
    "Config",
    "Family",
    "Variables",
    "accuracy",
    "apply",
    "as_usual",
    "build",
    "check_config",
    "default_config",
    "init",
    "one",
    "predict",
    "read_config",
    "shapes",
    "stack",
]
