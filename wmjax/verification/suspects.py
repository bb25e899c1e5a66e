"""Suspects: anything that maps uint8 images to answers."""

import dataclasses
import importlib
import os
import re
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from scipy import special

from wmjax.errors import AccessError, InvalidFile, UsageError
from wmjax.stats import Answers


@dataclasses.dataclass(frozen=True)
class Suspect:
    """A model behind its ordinary prediction interface.

    Attributes:
      name: as shown in verdicts.
      ask: maps uint8 images [n, H, W, C] to class labels, int [n], to scores, float [n, classes], or to
        `stats.Answers` (a top-k service: `stats.from_top_k`).
      image: height, width and channels it takes, where known.
      classes: that it tells apart, where known.
    """

    name: str
    ask: Callable[[np.ndarray], Any]
    image: tuple[int, int, int] | None = None
    classes: int | None = None


def from_callable(ask: Callable[[np.ndarray], Any], name: str = "callable") -> Suspect:
    """A suspect from any Python function of uint8 images [n, H, W, C]."""
    return Suspect(name, ask)


def from_checkpoint(path: str | os.PathLike[str]) -> Suspect:
    """A suspect from a wmjax checkpoint, exported model or run folder (its newest checkpoint)."""
    from wmjax import checkpoint
    from wmjax.models import predict

    config, variables = checkpoint.load_variables(checkpoint.find(Path(path)))
    return Suspect(str(path), lambda images: predict(config, variables, images), config.image, config.classes)


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
        function = getattr(importlib.import_module(module_name), function_name)
    except (ImportError, AttributeError) as error:
        raise UsageError(f"suspect {name}: {error}") from error
    finally:
        sys.path.pop(0)
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
        raw = suspect.ask(images)
    except Exception as error:  # a stranger's code: whatever it raises is its failure to answer
        reason = next(iter(str(error).splitlines()), "")
        raise AccessError(f"suspect {suspect.name} failed to answer: {type(error).__name__} {reason:.200}") from error
    if isinstance(raw, Answers):
        if (len(raw), raw.classes) != (len(images), classes):
            raise InvalidFile(f"suspect {suspect.name} gave {len(raw)} answers for {raw.classes} classes")
        return raw
    try:
        array = np.asarray(raw)
    except (ValueError, TypeError) as error:
        raise InvalidFile(f"suspect {suspect.name} answered with no array of numbers") from error
    return read_answers(array, len(images), classes, suspect.name)


def read_answers(raw: np.ndarray, n: int, classes: int, name: str) -> Answers:
    """Labels from integers [n], probabilities from floats [n, classes] (logits go through softmax).

    A label outside the classes, or a row with a NaN, is a refusal: label -1.
    """
    if np.issubdtype(raw.dtype, np.integer) and raw.shape == (n,):
        labels = np.where((raw >= 0) & (raw < classes), raw, -1).astype(np.int64)
        return Answers(labels, None, classes)
    if not np.issubdtype(raw.dtype, np.floating) or raw.shape != (n, classes):
        expected = f"integers [{n}] or floats [{n}, {classes}]"
        raise InvalidFile(f"suspect {name} answered {raw.dtype} {list(raw.shape)}, not {expected}")
    scores = raw.astype(np.float64)
    usable = ~np.isnan(scores).any(axis=1) & (scores.max(axis=1) < np.inf)
    scores = np.where(usable[:, None], scores, 0.0)
    sums = scores.sum(axis=1, keepdims=True)
    is_distribution = (scores >= 0).all(axis=1, keepdims=True) & (np.abs(sums - 1.0) < 1e-2)
    with np.errstate(invalid="ignore", divide="ignore"):  # where it is no distribution the quotient is not taken
        probabilities = np.where(is_distribution, scores / sums, special.softmax(scores, axis=1))
    return Answers(np.where(usable, probabilities.argmax(axis=1), -1), probabilities, classes)
