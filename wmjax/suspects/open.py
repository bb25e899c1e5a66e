"""Opening a suspect from what a user types: a path, a pack's member, `module:function`, a service. No JAX at top."""

import os
from collections.abc import Callable
from typing import Any

import numpy as np

from wmjax.devices import load_jax
from wmjax.errors import AccessError
from wmjax.stores import place
from wmjax.suspects.contract import NOTHING, Suspect, Wanted
from wmjax.suspects.services.address import is_service
from wmjax.suspects.strangers import NAME


def from_callable(ask: Callable[[np.ndarray], Any], name: str = "callable") -> Suspect:
    """A suspect from any Python function.

    >>> from_callable(lambda images: np.zeros(len(images), int), "constant").name
    'constant'

    Args:
      ask: maps uint8 images [n, H, W, C] to class labels, int [n], to names of classes, text [n], or to scores, float
        [n, classes], probabilities or logits. Its classes need not be the key's. It is asked once about each image;
        what it raises counts as a refusal.
      name: as verdicts show it.
    """
    return Suspect(name, ask)


def from_checkpoint(path: str | os.PathLike[str], wanted: Wanted = NOTHING) -> Suspect:
    """A suspect from a model that lies in files, of every format that an audit reads.

    Example:

        suspect = wmjax.from_checkpoint("model.onnx", wmjax.Wanted.by([key.spec]))
        print(wmjax.verify(suspect, key).verdict)

    Args:
      path: a checkpoint, an exported model, a run folder (its newest checkpoint), in which nothing else could be a
        model; or a file of weights or ONNX; or `PATH:NAME` for one of several models there, e.g. of a pack, or of a
        checkpoint's sets of weights.
      wanted: what the file may not say of itself.

    Raises:
      UsageError: bare weights, and `wanted` has no models or images; or several models lie there.
      AccessError: there is no such path.
      InvalidFile: no model lies there, or a damaged one.
    """
    load_jax()
    from wmjax.suspects.stored import find, suspect_of

    path = os.fspath(path)
    return suspect_of(find(path, wanted), path)


def open_suspect(name: str | os.PathLike[str], wanted: Wanted = NOTHING) -> Suspect:
    """A suspect from what a user types: what `from_checkpoint` takes, `module:function`, or a service's address.

    Example:

        suspect = wmjax.open_suspect("shop:predict")  # the function `predict` of shop.py

    Args:
      name: a path, as `from_checkpoint` takes it; or `module:function` for a function that `from_callable` takes. It
        is imported in a process of its own, which holds no secret, from the working folder first
        (`wmjax.suspects.process`); the process ends with the last reference to the suspect. Or `SCHEME+https://HOST/...`
        for a service (`wmjax.suspects.services.providers`), which is asked about a plain picture first.
      wanted: as of `from_checkpoint`; of a service also its labels and token.

    Raises:
      UsageError: there is no such module or function, or importing it fails; also as `from_checkpoint`.
      AccessError, InvalidFile: as `from_checkpoint`.
    """
    name = os.fspath(name)
    if is_service(name):
        from wmjax.suspects.services.service import open_service

        return open_service(name, wanted)
    if ":" not in name and not place(name).exists():  # before JAX, which a judge may lack, is missed
        raise AccessError(f"{name} does not exist: give a checkpoint, a run folder or a model's file")
    if place(name).exists() or not NAME.fullmatch(name) or _is_member(name):
        return from_checkpoint(name, wanted)
    from wmjax.suspects.process import start

    return from_callable(start(name), name)


def _is_member(name: str) -> bool:
    """Whether it names one of several models of a path; where a pack is not there, no module of its name is asked."""
    before = [name[:at] for at, character in enumerate(name) if character == ":"]
    if any(part.endswith(".safetensors") for part in before):
        return True
    if not any(place(part).exists() for part in before):
        return False
    from wmjax.suspects.recognise import located  # with JAX, which a function's asking does without

    return located(name)[1] != ""
