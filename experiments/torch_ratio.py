"""A training step of wmjax against PyTorch's: same network, batch, optimiser and cores, in turn in one process.

Command   pip install torch && python experiments/torch_ratio.py [--pairs 7]     (torch is needed here only)
Expected  IBM's CNN: at most 1.3 times PyTorch's time (eager, channels last), median of the pairs; compile time apart
Time      about 2 minutes on 2 CPU cores
"""

import argparse
import dataclasses
import os
import time
from collections.abc import Callable, Iterator
from itertools import pairwise
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import record
import torch
from torch import nn

from wmjax.models import Config, default_config
from wmjax.train import Batch, default_recipe, make_step
from wmjax.train.loop import first_state

BATCH, IMAGES, WARM_UP = 128, 2048, 2
Step = Callable[[], None]


def wmjax_step(config: Config) -> Step:
    """One step of ours each call, its result awaited."""
    recipe = dataclasses.replace(default_recipe(config), epochs=1, batch=BATCH)
    rng = np.random.default_rng(0)
    images = rng.integers(0, 256, (IMAGES, *config.image), dtype=np.uint8)
    data = Batch(jnp.asarray(images), jnp.asarray(rng.integers(0, config.classes, IMAGES), jnp.int32))
    rows = jnp.asarray(rng.permutation(IMAGES)[:BATCH], jnp.int32)
    step, state = make_step(config, recipe, 1000), first_state(config, recipe, IMAGES)

    def run() -> None:
        nonlocal state
        state, metrics = step(state, 0, data, rows, None, None)
        jax.block_until_ready((state, metrics))

    return run


class MeanPlusMax(nn.Module):
    """The head of our vgg: mean over the pixels plus maximum."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """From [N, C, H, W] to [N, C]."""
        return x.mean((2, 3)) + x.amax((2, 3))


def cnn_layers(config: Config) -> Iterator[nn.Module]:
    """`wmjax.models.cnn.CNN`."""
    side, _, channels = config.image
    for features in config.widths:
        for inputs in (channels, features):
            yield from (nn.Conv2d(inputs, features, 3, padding=1), nn.ReLU())
        yield from (nn.MaxPool2d(2), nn.Dropout(config.dropout))
        channels, side = features, side // 2
    yield nn.Flatten()
    units = [side * side * channels, *config.dense]
    for inputs, outputs in pairwise(units):
        yield from (nn.Linear(inputs, outputs), nn.ReLU(), nn.Dropout(config.dropout))
    yield nn.Linear(units[-1], config.classes)


def vgg_layers(config: Config) -> Iterator[nn.Module]:
    """`wmjax.models.vgg.VGG`."""
    channels = config.image[2]
    for stage, features in enumerate(config.widths):
        for pooled in (True,) if stage == 0 else (True, False):
            yield nn.Conv2d(channels, features, 3, padding=1, bias=False)
            if pooled:
                yield nn.MaxPool2d(2)
            yield from (nn.BatchNorm2d(features), nn.ReLU())
            channels = features
    yield from (MeanPlusMax(), nn.Linear(channels, config.classes))


def torch_step(config: Config) -> Step:
    """One step of PyTorch each call, written as its users write it."""
    layers = {"cnn": cnn_layers, "vgg": vgg_layers}[config.name](config)
    model: Any = nn.Sequential(*layers)
    model = model.to(memory_format=torch.channels_last)
    sgd = torch.optim.SGD(
        model.parameters(), default_recipe(config).learning_rate / 10, momentum=0.9, nesterov=True, weight_decay=5e-4
    )
    height, width, channels = config.image
    images = torch.randn(BATCH, channels, height, width).to(memory_format=torch.channels_last)
    labels = torch.randint(0, config.classes, (BATCH,))

    def run() -> None:
        sgd.zero_grad()
        nn.functional.cross_entropy(model(images), labels).backward()
        sgd.step()

    return run


def measure(name: str, pairs: int) -> dict[str, Any]:
    """Seconds of each step in turn, and the ratios pair by pair."""
    config = default_config(name, (32, 32, 3), 10)
    steps = {"wmjax": wmjax_step(config), "torch": torch_step(config)}
    seconds: dict[str, list[float]] = {kind: [] for kind in steps}
    for turn in range(WARM_UP + pairs):
        for kind in sorted(steps, reverse=bool(turn % 2)):  # who goes first changes too
            began = time.perf_counter()
            steps[kind]()
            seconds[kind].append(time.perf_counter() - began)
    timed = {kind: np.array(values[WARM_UP:]) for kind, values in seconds.items()}
    low, middle, high = np.percentile(timed["wmjax"] / timed["torch"], [25, 50, 75])
    return {
        "model": name,
        "batch": BATCH,
        "pairs": pairs,
        "ratio_median": round(float(middle), 3),
        "ratio_quartiles": [round(float(low), 3), round(float(high), 3)],
        "step_ms_median": {kind: round(1e3 * float(np.median(values)), 1) for kind, values in timed.items()},
        "first_call_s": {kind: round(values[0], 2) for kind, values in seconds.items()},
    }


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("--pairs", type=int, default=7)
    options = parser.parse_args()
    torch.manual_seed(0)
    torch.set_num_threads(os.cpu_count() or 1)
    cases = [measure(name, options.pairs) for name in ("cnn", "vgg")]
    record.write("torch_ratio", {"torch": torch.__version__, "torch_threads": torch.get_num_threads(), "cases": cases})
