"""wmjax proves whose a neural network is.

A secret key becomes a trigger set; training mixes it in; later a suspect model is asked about it through its
ordinary prediction interface, and exact evidence says whether it knows the key. JAX is imported only by the names
that need it.
"""

import importlib
from typing import Any

_HOME = {
    "Batch": "wmjax.train",
    "Commitment": "wmjax.keys",
    "Dataset": "wmjax.data",
    "Key": "wmjax.keys",
    "Recipe": "wmjax.train",
    "Suspect": "wmjax.suspects",
    "Unlock": "wmjax.keys",
    "Verdict": "wmjax.verification",
    "WmjaxError": "wmjax.errors",
    "attack": "wmjax.attacks.run",
    "audit": "wmjax.zoo.audit",
    "default_config": "wmjax.models",
    "default_recipe": "wmjax.train",
    "embed": "wmjax.train",
    "fit": "wmjax.train",
    "from_callable": "wmjax.suspects",
    "from_checkpoint": "wmjax.suspects",
    "generate": "wmjax.keys",
    "key_batch": "wmjax.train",
    "load": "wmjax.data",
    "make_spec": "wmjax.keys",
    "mix": "wmjax.train",
    "open_key": "wmjax.keys",
    "open_keys": "wmjax.keys",
    "verify": "wmjax.verification",
    "write_key": "wmjax.keys",
}

__all__ = sorted(_HOME)


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module 'wmjax' has no attribute {name!r}")
    return getattr(importlib.import_module(_HOME[name]), name)
