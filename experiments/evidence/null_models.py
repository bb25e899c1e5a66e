"""Innocent networks by the hundred, each on its own random half of the data, written as a zoo.

Command   JAX_NUM_CPU_DEVICES=2 python experiments/evidence/null_models.py --out DIR [--data digits]
          [--models 1000] [--small]
          and with TFDS_DATA_DIR=... and --data cifar10 --models 200
Expected  digits over 93 % in the mean of every recipe; CIFAR-10 far above chance, no more: the networks are very small
Time      digits 10 minutes, CIFAR-10 10 minutes on 2 CPU cores

The zoo is one folder a recipe with one checkpoint a network. With JAX_NUM_CPU_DEVICES each core is a device of its
own, which trains its share of the networks. `one_after_another` compares with `fit` in a loop, on one of the devices.
"""

import argparse
import dataclasses
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[2]))  # the checkout

import jax
import numpy as np

from experiments import fragment, record, timing
from experiments.training.digits import spread
from wmjax import checkpoint
from wmjax.data import Dataset, load
from wmjax.models import Config, accuracy, one
from wmjax.train import Recipe, fit, fit_many
from wmjax.train.mapping import over

CNN, VGG = Config("cnn", (8, 8, 1), 10, (8, 16), (32,)), Config("vgg", (8, 8, 1), 10, (8, 16))
COLOUR_CNN, COLOUR_VGG = Config("cnn", (32, 32, 3), 10, (8, 16), (32,)), Config("vgg", (32, 32, 3), 10, (8, 16, 32))


@dataclasses.dataclass(frozen=True)
class Settings:
    """The networks and recipes by name, the images that each network sees, and what is timed.

    Attributes:
      kinds: by the name of their folder.
      seen: training images of each network.
      timed: the kinds compared with training one after another.
      at_once: networks of such a comparison.
      pairs: of timings.
    """

    kinds: dict[str, tuple[Config, Recipe]]
    seen: int
    timed: tuple[str, ...]
    at_once: int = 8
    pairs: int = 3


DIGITS = Settings(
    {
        "cnn": (CNN, Recipe(epochs=18, batch=64, learning_rate=0.05)),
        "cnn-slow": (CNN, Recipe(epochs=22, batch=64, learning_rate=0.03)),
        "cnn-smooth": (CNN, Recipe(epochs=18, batch=64, learning_rate=0.05, label_smoothing=0.1)),
        "vgg": (VGG, Recipe(epochs=12, batch=64)),
        "vgg-slow": (VGG, Recipe(epochs=16, batch=64, learning_rate=0.05)),
        "vgg-smooth": (VGG, Recipe(epochs=12, batch=64, label_smoothing=0.1)),
        "vgg-shifted": (VGG, Recipe(epochs=20, batch=64, crop=1)),
        "vgg-fast": (VGG, Recipe(epochs=10, batch=64, learning_rate=0.2)),
    },
    718,
    ("cnn", "vgg"),
)
CIFAR10 = Settings(
    {
        "vgg": (COLOUR_VGG, Recipe(epochs=2)),
        "vgg-flipped": (COLOUR_VGG, Recipe(epochs=3, learning_rate=0.05, flip=True)),
        "cnn": (COLOUR_CNN, Recipe(epochs=3, learning_rate=0.02)),
    },
    5000,
    ("vgg",),
    4,
    2,
)
SMALL = Settings({"cnn": (Config("cnn", (8, 8, 1), 10, (4,), (8,)), Recipe(epochs=2, batch=32))}, 320, ("cnn",), 2, 1)


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--data", choices=("digits", "cifar10"), default="digits")
    parser.add_argument("--models", type=int, default=1000)
    parser.add_argument("--small", action="store_true")
    options = parser.parse_args(arguments)
    settings = SMALL if options.small else {"digits": DIGITS, "cifar10": CIFAR10}[options.data]
    splits = load(options.data)
    counts = np.bincount(np.arange(options.models) % len(settings.kinds), minlength=len(settings.kinds))
    kinds = {
        name: train_kind(options.out / name, kind, splits.train, splits.test, settings.seen, first, int(count))
        for name, kind, first, count in zip(
            settings.kinds, settings.kinds.values(), np.cumsum(counts) - counts, counts, strict=True
        )
    }
    figures = {
        "data": options.data,
        "models": options.models,
        "images_seen_by_each": settings.seen,
        "kinds": kinds,
        "minutes": {part: round(sum(kind[part] for kind in kinds.values()) / 60, 2) for part in ("train_s", "save_s")},
        "one_after_another": {name: against_a_loop(settings, name, splits.train) for name in settings.timed},
    }
    record.write("null_models" if options.data == "digits" else "null_models_cifar10", figures)


def train_kind(
    folder: Path, kind: tuple[Config, Recipe], train: Dataset, test: Dataset, seen: int, first: int, count: int
) -> dict[str, Any]:
    """Trains the networks with the seeds from `first` on, saves them and says how good they are."""
    config, recipe = kind
    seeds = range(int(first), int(first) + count)
    began = time.perf_counter()
    variables = fit_many(config, recipe, train, seeds, rows=draws(seeds, len(train), seen), title=folder.name)
    trained = time.perf_counter()
    scores = []
    for number, seed in enumerate(seeds):
        own = one(variables, number)
        checkpoint.save(folder / f"{seed:04d}", own._asdict(), checkpoint.Metadata(config))
        scores.append(100 * accuracy(config, own, test.images, test.labels))
    return {
        "model": config.to_json(),
        "recipe": dataclasses.asdict(recipe),
        "accuracy": spread(scores),
        "models_per_minute": round(60 * count / (trained - began), 1),
        "train_s": round(trained - began, 1),
        "save_s": round(time.perf_counter() - trained, 1),
    }


def draws(seeds: Sequence[int], size: int, seen: int) -> np.ndarray:
    """For each seed the rows of a split that its network sees, int32 [seeds, seen]."""
    return np.stack([np.random.default_rng([seed, 0x4A1F]).permutation(size)[:seen] for seed in seeds]).astype(np.int32)


def against_a_loop(settings: Settings, name: str, train: Dataset) -> dict[str, Any]:
    """How many times faster a few networks are trained at once than by `fit` in a loop."""
    config, recipe = settings.kinds[name]
    seeds = range(settings.at_once)
    rows = draws(seeds, len(train), settings.seen)
    device = over(jax.local_devices()[:1])

    def loop() -> Any:
        own = [dataclasses.replace(recipe, seed=seed) for seed in seeds]
        return [fit(config, each, train[part], mapping=device) for each, part in zip(own, rows, strict=True)]

    def at_once() -> Any:
        return fit_many(config, recipe, train, seeds, rows=rows)

    return {"models": settings.at_once, **timing.compare({"fit": loop, "fit_many": at_once}, settings.pairs)}


def rows(figures: dict[str, Any]) -> list[str]:
    means = [kind["accuracy"]["mean"] for kind in figures["kinds"].values()]
    ratios = ", ".join(f"{case['ratio_median']:.2f} ({kind})" for kind, case in figures["one_after_another"].items())
    return [
        fragment.row(
            f"{figures['models']:,} independent digits models trained many at once",
            f"{figures['minutes']['train_s']:.1f} minutes; one after another / at once {ratios}",
            f"mean accuracies of the {len(means)} recipes {min(means):.1f} to {max(means):.1f} %",
            fragment.source(figures, __file__),
        )
    ]


if __name__ == "__main__":
    main()
