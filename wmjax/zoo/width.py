"""How many models a device runs side by side: measured once a platform and family, then remembered."""

import dataclasses
import json
import time
from pathlib import Path
from typing import Any

import jax
import numpy as np

from wmjax.devices import on_cpu
from wmjax.errors import WmjaxError
from wmjax.files import own_folder, read_bytes, write_bytes
from wmjax.zoo.score import Scorer

_CPU_WIDTHS, _ACCELERATOR_WIDTHS = (1, 4), (1, 4, 16)  # wide groups are seldom full, and cost as if they were
_WORTH = 20.0  # seconds that a family must take before other widths are tried: each compiles a program
_LONG_ENOUGH = 0.2  # seconds of timing: what takes milliseconds is told apart by its best of many
_BLOCKS = 3  # that an innocent model is asked on average
_BETTER = 0.9  # a wider program must save a tenth: it takes more memory, and machines are noisy


def choose_width(scorer: Scorer, weights: dict[str, Any], bank: Any, block: int, models: int) -> int:
    """The width at which this family scores fastest here.

    Args:
      scorer: of the family; its own width does not matter.
      weights: of the family's first chunk, as from `Scorer.place`.
      bank: the images that it is asked about, as from `Scorer.replicate`.
      block: images in a call.
      models: of the family in the zoo.
    """
    size = next(iter(weights.values())).shape[0]
    widths = _CPU_WIDTHS if on_cpu() else _ACCELERATOR_WIDTHS
    fitting = [width for width in widths if size // scorer.mesh.size % width == 0]
    usual = 1 if on_cpu() else fitting[-1]
    if len(fitting) == 1:
        return usual
    device = jax.local_devices()[0]
    name = f"{device.platform} {device.device_kind} x{scorer.mesh.size} {jax.__version__} {scorer.network.fingerprint}"
    known = _remembered()
    if known.get(name) in fitting:
        return known[name]
    rows = _few(scorer.mesh.size, size // scorer.mesh.size, 2 * max(widths))
    plain = dataclasses.replace(scorer, width=usual)
    _call(plain, weights, bank, block, rows[:1])  # compiles
    readings = models * len(scorer.network.readings)
    if _call(plain, weights, bank, block, rows) * _BLOCKS * readings / len(rows) < _WORTH:
        return usual
    seconds = {
        width: _seconds(dataclasses.replace(scorer, width=width), weights, bank, block, rows) for width in fitting
    }
    best = min(seconds, key=seconds.__getitem__)
    known[name] = best if seconds[best] < _BETTER * seconds[usual] else usual
    _remember(known)
    return known[name]


def _few(devices: int, share: int, each: int) -> np.ndarray:
    """The first models of each device's share of a chunk: timing all of them would take longer than it saves."""
    return np.add.outer(np.arange(devices) * share, np.arange(min(share, each))).ravel()


def _seconds(scorer: Scorer, weights: dict[str, Any], bank: Any, block: int, rows: np.ndarray) -> float:
    """What a block of images takes these models, compilation apart."""
    _call(scorer, weights, bank, block, rows[:1])
    seconds: list[float] = []
    while len(seconds) < 3 or sum(seconds) < _LONG_ENOUGH:
        seconds.append(_call(scorer, weights, bank, block, rows))
    return min(seconds)


def _call(scorer: Scorer, weights: dict[str, Any], bank: Any, block: int, rows: np.ndarray) -> float:
    """Seconds of one call."""
    picks = np.arange(block, dtype=np.int32) % len(bank)
    began = time.perf_counter()
    scorer.answers(weights, rows, 0, bank, picks)
    return time.perf_counter() - began


def _cache() -> Path:
    return own_folder("XDG_CACHE_HOME", "~/.cache") / "widths.json"


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
    except WmjaxError:  # a read-only home, or none: it is measured again next time
        return
