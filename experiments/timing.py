"""Two works timed in turn on the same machine, and training steps to time."""

import dataclasses
import time
from collections.abc import Callable
from typing import Any

import jax
import numpy as np

from wmjax.models import Config, Variables, init
from wmjax.train import Batch, DeviceMapping, Inputs, Recipe, all_devices, make_program, plan_of, schedule_of
from wmjax.train.shift import Shift, fit_directions
from wmjax.train.spread import BAND, FEATURES
from wmjax.train.step import first_state

Work = Callable[[], Any]


def compare(works: dict[str, Work], pairs: int, warm_up: int = 1) -> dict[str, Any]:
    """The ratio of the first work's time to the second's, pair by pair; the first calls, which compile, are apart.

    Args:
      works: two, by name; each returns what has to be awaited, or None.
      pairs: counted.
      warm_up: pairs before them.
    """
    seconds: dict[str, list[float]] = {name: [] for name in works}
    for turn in range(warm_up + pairs):
        for name in list(works)[:: -1 if turn % 2 else 1]:  # who goes first changes
            began = time.perf_counter()
            jax.block_until_ready(works[name]())
            seconds[name].append(time.perf_counter() - began)
    above, below = (np.array(values[warm_up:]) for values in seconds.values())
    low, middle, high = np.percentile(above / below, [25, 50, 75])
    return {
        "pairs": pairs,
        "ratio_median": round(float(middle), 4),
        "ratio_quartiles": [round(float(low), 4), round(float(high), 4)],
        "ratio_of_medians": round(float(np.median(above) / np.median(below)), 4),
        "ms_median": {name: round(1e3 * float(np.median(values[warm_up:])), 2) for name, values in seconds.items()},
        "first_call_s": {name: round(values[0], 2) for name, values in seconds.items()},
    }


def per_call(call: Callable[[], Any], calls: int, repeats: int = 7) -> float:
    """Median seconds of a call among many that are set going together: the host's part is hidden."""
    jax.block_until_ready(call())
    seconds = []
    for _ in range(repeats):
        began = time.perf_counter()
        jax.block_until_ready([call() for _ in range(calls)][-1])
        seconds.append((time.perf_counter() - began) / calls)
    return float(np.median(seconds))


def quartiles(values: np.ndarray, digits: int) -> dict[str, Any]:
    """Median and quartiles, rounded to so many decimals."""
    low, middle, high = np.percentile(values, [25, 50, 75])
    return {
        "median": round(float(middle), digits),
        "quartiles": [round(float(low), digits), round(float(high), digits)],
    }


def training(
    config: Config,
    recipe: Recipe,
    steps: int,
    *,
    marked: bool = True,
    shifted: bool = False,
    dispatched: bool = False,
    mapping: DeviceMapping | None = None,
    images: int = 2048,
) -> Work:
    """A work of `steps` training steps on random images that are on the devices.

    Args:
      config: the network.
      recipe: how to train.
      steps: each time; in one program, or with `dispatched` in one program each.
      marked: with a key of 100 triggers.
      shifted: with a key of 288 coins, which moves the network's own answers to ordinary images.
      dispatched: see `steps`.
      mapping: the devices; all by default.
      images: on the devices.
    """
    mapping = mapping or all_devices()
    rng = np.random.default_rng(0)
    pixels = rng.integers(0, 256, (images, *config.image), dtype=np.uint8)
    labels = rng.integers(0, config.classes, images).astype(np.int32)
    data = Batch(*mapping.replicate((pixels, labels)))
    triggers = Batch(*mapping.replicate((pixels[:100], labels[:100]))) if marked else None
    rows = rng.integers(0, images, (steps, recipe.batch)).astype(np.int32)[:, mapping.share(recipe.batch)]
    picks = [mapping.divide(part) for part in (np.split(rows, steps) if dispatched else [rows])]
    program = make_program(plan_of(config, recipe, mapping))
    variables = init(config, recipe.seed)
    begin, shift = first_state(variables), mapping.replicate(_shift(config, variables, pixels)) if shifted else None
    slow = dataclasses.replace(recipe, epochs=10_000)  # so long a run learns next to nothing in its first steps
    state, seed, schedule = mapping.replicate((begin, np.int32(0), schedule_of(slow, recipe.batch)))

    def work() -> Any:
        nonlocal state
        for pick in picks:
            state, metrics = program(state, Inputs(seed, schedule, data, pick, triggers, shift=shift))
        return state, metrics

    return work


def _shift(config: Config, base: Variables, images: np.ndarray) -> Shift:
    """What a key with as many coins as usual would have the network learn; which coins makes no difference."""
    rng = np.random.default_rng(1)
    directions = fit_directions(config, base, images, rng, FEATURES)
    features = len(directions.bias)
    return Shift(
        base, directions, rng.normal(size=(features, config.classes)).astype(np.float32), np.array(BAND, np.float32)
    )
