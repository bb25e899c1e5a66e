"""Training throughput of ResNet-18 (CIFAR form): wmjax marked and unmarked against PyTorch, in turn on one card.

Command   XLA_PYTHON_CLIENT_MEM_FRACTION=.5 python experiments/gpu/gpu_throughput.py
          [--batch 512] [--repeats 7] [--torch-python PYTHON] [--small]
          the variable leaves PyTorch its half of the card; PYTHON has PyTorch where that lives in its own environment
Expected  marked within 1 % of unmarked; PyTorch unknown: that is what is measured
Time      about 3 minutes on an A100 or H100, mostly compiling; `--small` one minute on 2 CPU cores

All train on resident uint8 images with the same augmentation, optimiser and network, float32 weights and bfloat16
arithmetic; PyTorch by autocast, channels-last, eagerly and under `torch.compile`.
A repeat is a chunk of steps: for ours one program, as `wmjax embed` runs it. First chunks, which compile, are apart.
"""

import argparse
import contextlib
import dataclasses
import json
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[2]))  # the checkout

import jax
import numpy as np

from experiments import record, timing
from experiments.timing import quartiles
from wmjax.models import Config
from wmjax.train import Recipe


@dataclasses.dataclass(frozen=True)
class Settings:
    """What is timed: batch, steps of a chunk, resident images, the network's widths, PyTorch's modes."""

    batch: int = 512
    steps: int = 50
    images: int = 50_000
    widths: tuple[int, ...] = (64, 128, 256, 512)
    modes: tuple[str, ...] = ("eager", "compile")


SMALL = Settings(batch=32, steps=4, images=256, widths=(8, 16, 32, 64), modes=("eager",))


def training(settings: Settings, marked: bool) -> timing.Work:
    """A chunk of steps of ours; data and weights stay on the device."""
    config = Config("resnet18", (32, 32, 3), 10, settings.widths)
    recipe = Recipe(
        epochs=1, batch=settings.batch, learning_rate=0.01, flip=True, crop=2, key_per_batch=2, precision="bfloat16"
    )
    return timing.training(config, recipe, settings.steps, marked=marked, images=settings.images)


def ours(settings: Settings, marked: bool) -> Callable[[], float]:
    """A function that trains for a chunk of steps and gives its seconds."""
    work = training(settings, marked)

    def chunk() -> float:
        began = time.perf_counter()
        jax.block_until_ready(work())
        return time.perf_counter() - began

    return chunk


@contextlib.contextmanager
def pytorch(settings: Settings, python: str) -> Iterator[tuple[dict[str, Any], Callable[[str], float]]]:
    """PyTorch in a process of its own: what it says of itself, and a function that times a chunk in a mode."""
    arguments = json.dumps(dataclasses.asdict(settings))
    command = [python, str(Path(__file__).parent / "torch_resnet.py"), arguments]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        answers, questions = process.stdout, process.stdin
        assert answers is not None

        def chunk(mode: str) -> float:
            print(mode, file=questions, flush=True)
            return float(json.loads(answers.readline()))

        yield json.loads(answers.readline()), chunk  # the process ends when its stdin is closed


def measure(settings: Settings, repeats: int, python: str) -> dict[str, Any]:
    """Seconds of every chunk, each contender once in a repeat, and what follows from them."""
    with pytorch(settings, python) as (about, torch_chunk):
        contenders = {"wmjax unmarked": ours(settings, False), "wmjax marked": ours(settings, True)}
        first = {name: round(chunk(), 2) for name, chunk in contenders.items()}
        contenders |= {f"torch {mode}": partial(torch_chunk, mode) for mode in settings.modes}
        for chunk in contenders.values():
            chunk()  # once more, warm
        seconds: dict[str, list[float]] = {name: [] for name in contenders}
        for repeat in range(repeats):
            turn = repeat % len(contenders)
            for name in [*contenders][turn:] + [*contenders][:turn]:  # who goes first changes too
                seconds[name].append(contenders[name]())
    rate = {name: settings.batch * settings.steps / np.array(times) for name, times in seconds.items()}
    return {
        "settings": dataclasses.asdict(settings),
        "repeats": repeats,
        "pytorch": about,
        "first_chunk_s": first,
        "images_per_s": {name: quartiles(values, 1) for name, values in rate.items()},
        "ratio_to_wmjax_unmarked": {
            name: quartiles(values / rate["wmjax unmarked"], 4) for name, values in rate.items()
        },
        "chunk_s": {name: [round(value, 4) for value in values] for name, values in seconds.items()},
    }


def main(arguments: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--batch", type=int)
    parser.add_argument("--repeats", type=int, default=7)
    parser.add_argument("--torch-python", default=sys.executable)
    parser.add_argument("--small", action="store_true")
    options = parser.parse_args(arguments)
    settings = SMALL if options.small else Settings()
    if options.batch:
        settings = dataclasses.replace(settings, batch=options.batch)
    record.write("gpu_throughput", measure(settings, options.repeats, options.torch_python))


if __name__ == "__main__":
    main()
