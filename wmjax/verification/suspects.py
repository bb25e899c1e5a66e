"""Suspects: anything that maps uint8 images to answers."""

import contextlib
import dataclasses
import importlib
import os
import re
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from wmjax.errors import AccessError, InvalidFile, UsageError
from wmjax.keys import Model, Spec
from wmjax.stats import Answers, read_answers


@dataclasses.dataclass(frozen=True)
class Suspect:
    """A model behind its ordinary prediction interface.

    Attributes:
      name: as shown in verdicts.
      ask: maps uint8 images [n, H, W, C] to class labels, int [n], or to scores, float [n, classes] (a service that
        names its k best classes: through `stats.spread_top_k`).
      image: height, width and channels it takes, where known.
      classes: that it tells apart, where known.
      describe: its name and digests, where it is a checkpoint at hand.
    """

    name: str
    ask: Callable[[np.ndarray], Any]
    image: tuple[int, int, int] | None = None
    classes: int | None = None
    describe: Callable[[], Model] | None = None


def check_fits(suspect: Suspect, spec: Spec) -> None:
    """Raises `UsageError` where a suspect takes other images or classes than a key has."""
    for what, theirs, ours in (
        ("images", suspect.image, spec.image),
        ("classes", suspect.classes, spec.classes),
    ):
        if theirs is not None and theirs != ours:
            raise UsageError(f"suspect {suspect.name} has {what} {theirs}, the key {ours}: it cannot carry this key")


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
    if Path(name).exists() or not re.fullmatch(r"[A-Za-z_][\w.]*:[A-Za-z_]\w*", name):
        return from_checkpoint(name)
    module_name, function_name = name.split(":")
    sys.path.insert(0, os.getcwd())  # as `python -m` does
    try:
        with contextlib.redirect_stdout(sys.stderr):
            function = getattr(importlib.import_module(module_name), function_name)
    except (Exception, SystemExit) as error:  # a stranger's module may raise anything
        raise UsageError(f"suspect {name}: {type(error).__name__} {error}") from error
    return from_callable(function, name)


def query(suspect: Suspect, images: np.ndarray, classes: int) -> Answers:
    """Asks once about each image and reads what came back.

    Args:
      suspect: whom.
      images: uint8 [n, H, W, C].
      classes: that the key is for.

    Raises:
      AccessError: the suspect failed to answer.
      InvalidFile: its answer has not the form of labels or scores for these classes.
    """
    try:
        with contextlib.redirect_stdout(sys.stderr):  # stdout is the verdict's
            raw = suspect.ask(images)
    except (Exception, SystemExit) as error:  # a stranger's code: whatever it raises is its failure to answer
        reason = next(iter(str(error).splitlines()), "")
        raise AccessError(f"suspect {suspect.name} failed to answer: {type(error).__name__} {reason:.200}") from error
    try:
        array = np.asarray(raw)
    except Exception as error:  # ragged lists, tensors that will not leave their device, ...
        raise InvalidFile(f"suspect {suspect.name} answered with no array of numbers") from error
    return read_answers(array, len(images), classes, suspect.name)
