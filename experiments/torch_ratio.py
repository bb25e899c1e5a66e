"""A training step of wmjax against PyTorch's: same network, batch, optimiser and cores, in turn.

Command   pip install torch && python experiments/torch_ratio.py [--pairs 7]     (torch is needed here only)
Expected  IBM's CNN: at most 1.3 times PyTorch's time (eager, channels last), median of the pairs; compile time apart
Time      about 9 minutes on 2 CPU cores
"""

import argparse
import dataclasses
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Iterator
from itertools import pairwise
from typing import Any

import jax
import numpy as np
import record
import timing
import torch
from torch import nn

from wmjax.models import Config, default_config
from wmjax.train import default_recipe

IMAGE, BATCH, STEPS = (32, 32, 3), 128, 10


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


def torch_step(config: Config) -> timing.Work:
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


def seconds(kind: str, name: str) -> float:
    """Of a step in this process, the median of some after the first."""
    config = default_config(name, IMAGE, 10)
    recipe = dataclasses.replace(default_recipe(config), epochs=1, batch=BATCH)
    work = torch_step(config) if kind == "torch" else timing.training(config, recipe, 1, marked=False)
    taken = []
    for _ in range(STEPS):
        began = time.perf_counter()
        jax.block_until_ready(work())
        taken.append(time.perf_counter() - began)
    return statistics.median(taken[2:])


def measure(name: str, pairs: int) -> dict[str, Any]:
    """The ratios for one network, each from two processes: in one, either's idle threads would hold up the other."""
    taken: dict[str, list[float]] = {"wmjax": [], "torch": []}
    for turn in range(pairs):
        for kind in sorted(taken, reverse=bool(turn % 2)):
            command = [sys.executable, __file__, "--worker", kind, name]
            taken[kind].append(float(subprocess.run(command, stdout=subprocess.PIPE, check=True).stdout))
    ratios = np.array(taken["wmjax"]) / np.array(taken["torch"])
    low, middle, high = np.percentile(ratios, [25, 50, 75])
    return {
        "model": name,
        "image": IMAGE,
        "batch": BATCH,
        "pairs": pairs,
        "ratio_median": round(float(middle), 3),
        "ratio_quartiles": [round(float(low), 3), round(float(high), 3)],
        "step_ms_median": {kind: round(1e3 * statistics.median(values), 1) for kind, values in taken.items()},
    }


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("--pairs", type=int, default=7)
    parser.add_argument("--worker", nargs=2, metavar=("KIND", "MODEL"))
    options = parser.parse_args()
    torch.set_num_threads(os.cpu_count() or 1)
    if options.worker:
        print(seconds(*options.worker))
    else:
        cases = [measure(name, options.pairs) for name in ("cnn", "vgg")]
        record.write(
            "torch_ratio", {"torch": torch.__version__, "torch_threads": torch.get_num_threads(), "cases": cases}
        )
