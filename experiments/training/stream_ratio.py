"""CIFAR-10 read from disk as it is needed against CIFAR-10 on the device: images per second of the same training.

Command   wmjax prepare cifar10 && python experiments/training/stream_ratio.py [--pairs 5]
Expected  at least 0.95 of resident for `kept`, as `wmjax embed --stream` runs where decoded pictures fit in the
          host's memory (from the second epoch on nothing is decoded); `decoded` each time takes from the same cores
          what decoding takes
Time      about 8 minutes on 2 CPU cores
"""

import argparse
import dataclasses
import sys
import time
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[2]))  # the checkout

import numpy as np

from experiments import fragment, record
from wmjax.data import Examples, keep, open_splits, read
from wmjax.models import default_config
from wmjax.train import Recipe, fit

STEPS, BATCH = 60, 128


def images_per_second(train: Examples, epochs: int) -> float:
    """Of whole epochs, the second onwards: the first one compiles."""
    config = default_config("vgg", (32, 32, 3), 10)
    ends: list[float] = []
    fit(config, Recipe(epochs=epochs, batch=BATCH), train, save=lambda state, step: ends.append(time.perf_counter()))
    return len(train) * (epochs - 1) / (ends[-1] - ends[0])


def main(pairs: int) -> dict[str, Any]:
    """Rates of both ways, in turn, and their ratio."""
    whole_split: Any = open_splits("cifar10").train
    part = dataclasses.replace(whole_split, size=STEPS * BATCH)  # its first images, read as all are
    whole = read(part, "reading")
    rates: dict[str, list[float]] = {"resident": [], "kept": [], "decoded": []}
    for turn in range(pairs):
        kinds: dict[str, Examples] = {"resident": whole, "kept": keep(part), "decoded": part}
        for kind in sorted(kinds, reverse=bool(turn % 2)):
            rates[kind].append(images_per_second(kinds[kind], epochs=3))
    figures: dict[str, Any] = {"model": "vgg", "batch": BATCH, "pairs": pairs}
    for kind in ("kept", "decoded"):
        ratios = np.array(rates[kind]) / np.array(rates["resident"])
        figures[kind] = {
            "ratio_median": round(float(np.median(ratios)), 4),
            "ratio_range": [round(float(ratios.min()), 4), round(float(ratios.max()), 4)],
        }
    figures["images_per_second"] = {kind: round(float(np.median(values)), 1) for kind, values in rates.items()}
    return figures


def rows(figures: dict[str, Any]) -> list[str]:
    """Streamed images against resident ones."""
    rows, rates = [], figures["images_per_second"]
    for kind, words in (("kept", "streamed, kept by the host"), ("decoded", "streamed, decoded each time")):
        low, high = figures[kind]["ratio_range"]
        rows.append(
            fragment.row(
                f"training on images {words}, against resident ones, vgg 32x32x3",
                f"{figures[kind]['ratio_median']:.3f} ({low:.3f} to {high:.3f}) times as fast",
                f"{rates[kind]:.0f} and {rates['resident']:.0f} images a second",
                f"{figures['pairs']} pairs; {fragment.source(figures, __file__)}",
            )
        )
    return rows


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("--pairs", type=int, default=5)
    record.write("stream_ratio", main(parser.parse_args().pairs))
