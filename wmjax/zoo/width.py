"""How many models a device runs side by side: measured once a platform and family, then remembered."""

import dataclasses
import json
import os
import time
from pathlib import Path
from typing import Any

import jax
import numpy as np

from wmjax.errors import WmjaxError
from wmjax.files import read_bytes, write_bytes
from wmjax.zoo.score import Scorer

_WIDTHS = (1, 4, 16)
_ENOUGH = 64  # models of a family from which measuring pays: it compiles a program a width
_BETTER = 0.9  # a wider program must save a tenth: it takes more memory, and machines are noisy


def choose_width(scorer: Scorer, weights: dict[str, Any], images: Any, models: int) -> int:
    """The width at which this family scores fastest here.

    Args:
      scorer: of the family; its own width does not matter.
      weights: of the family's first chunk, as from `Scorer.place`.
      images: a block of what it is asked, as from `Scorer.replicate`.
      models: of the family in the zoo.
    """
    size = next(iter(weights.values())).shape[0]
    fitting = [width for width in _WIDTHS if size // scorer.mesh.size % width == 0]
    usual = 1 if jax.default_backend() == "cpu" else fitting[-1]
    if models < _ENOUGH or len(fitting) == 1:
        return usual
    device = jax.local_devices()[0]
    name = f"{device.platform} {device.device_kind} x{scorer.mesh.size} {jax.__version__} {scorer.network.fingerprint}"
    known = _remembered()
    if known.get(name) not in fitting:
        known[name] = _fastest(scorer, weights, images, fitting)
        _remember(known)
    return int(known[name])


def _fastest(scorer: Scorer, weights: dict[str, Any], images: Any, widths: list[int]) -> int:
    size = next(iter(weights.values())).shape[0]
    rows = np.arange(size)
    best, least = widths[0], float("inf")
    for width in widths:
        candidate = dataclasses.replace(scorer, width=width)
        candidate.answers(weights, rows, images)  # compiles
        seconds = []
        for _ in range(3):
            began = time.perf_counter()
            candidate.answers(weights, rows, images)
            seconds.append(time.perf_counter() - began)
        if min(seconds) < _BETTER * least:
            best, least = width, min(seconds)
    return best


def _cache() -> Path:
    home = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    return home / "wmjax" / "widths.json"


def _remembered() -> dict[str, int]:
    """What earlier audits measured; nothing where the file is not there or damaged."""
    try:
        values = json.loads(read_bytes(_cache()))
        return {str(name): width for name, width in values.items() if type(width) is int}
    except (WmjaxError, ValueError, AttributeError, RecursionError):
        return {}


def _remember(known: dict[str, int]) -> None:
    try:
        write_bytes(_cache(), json.dumps(known, indent=1).encode() + b"\n")
    except WmjaxError:  # a read-only home: it is measured again next time
        return
