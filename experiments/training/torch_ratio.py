"""A training step of wmjax against PyTorch's: same network, batch, optimiser and cores, in turn.

Command   pip install torch && python experiments/training/torch_ratio.py [--pairs 7]     (torch is needed here only)
Expected  IBM's CNN: at most 1.3 times PyTorch's time (eager, channels last), median of the pairs; compile time apart.
          Ours are ten steps of one program, as trainings run them
Time      about 9 minutes on 2 CPU cores
"""

import argparse
import dataclasses
import os
import statistics
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[2]))  # the checkout

import jax
import numpy as np

from experiments import fragment, record, timing
from wmjax.models import default_config
from wmjax.train import default_recipe

IMAGE, BATCH = (32, 32, 3), 128
CHUNK, TIMES = 10, 6  # steps in one program of ours, as a training has them; how often those are timed


def seconds(kind: str, name: str) -> float:
    """Of a step in this process, the median of some chunks after the first two."""
    config = default_config(name, IMAGE, 10)
    recipe = dataclasses.replace(default_recipe(config), epochs=1, batch=BATCH)
    if kind == "torch":
        from experiments.training.torch_step import torch_step

        step = torch_step(config, BATCH)

        def work() -> Any:
            return [step() for _ in range(CHUNK)][-1]

    else:
        work = timing.training(config, recipe, CHUNK, marked=False)
    taken = []
    for _ in range(TIMES):
        began = time.perf_counter()
        jax.block_until_ready(work())
        taken.append(time.perf_counter() - began)
    return statistics.median(taken[2:]) / CHUNK


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


def rows(figures: dict[str, Any]) -> list[str]:
    """A step against PyTorch's, for each network."""
    rows = []
    for case in figures["cases"]:
        ours, theirs = case["step_ms_median"]["wmjax"], case["step_ms_median"]["torch"]
        what = f"a step, against PyTorch's (channels last), {fragment.network(case)}"
        speed = f"{ours:.0f} and {theirs:.0f} ms a step of {case['batch']}"
        rows.append(fragment.compared(what, case, speed, fragment.source(figures, __file__)))
    return rows


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("--pairs", type=int, default=7)
    parser.add_argument("--worker", nargs=2, metavar=("KIND", "MODEL"))
    options = parser.parse_args()
    import torch

    torch.set_num_threads(os.cpu_count() or 1)
    if options.worker:
        print(seconds(*options.worker))
    else:
        cases = [measure(name, options.pairs) for name in ("cnn", "vgg")]
        record.write(
            "torch_ratio", {"torch": torch.__version__, "torch_threads": torch.get_num_threads(), "cases": cases}
        )
