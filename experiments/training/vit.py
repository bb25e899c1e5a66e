"""CIFAR-10 with a small vision transformer, `vit` at its usual size: clean and marked, a few epochs of each.

Command   TFDS_DATA_DIR=... python experiments/training/vit.py [--epochs 3] [--seed 0]
Expected  at least 50 % test accuracy (so few epochs make a modest transformer), marked within 2 points of clean;
          at least 90 of 100 triggers and a match; the clean one no match
          (all met but the triggers: 83, which is a match all the same)
Time      about 10 minutes a training on 2 CPU cores that others use too
"""

import argparse
import dataclasses
import sys
import time
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[2]))  # the checkout

import jax

from experiments import fragment, record
from wmjax.data import open_splits, read
from wmjax.keys import Key, generate, make_spec
from wmjax.models import accuracy, default_config, predict, shapes
from wmjax.suspects import Suspect
from wmjax.train import default_recipe, fit
from wmjax.verification import verify


def main(epochs: int, seed: int) -> None:
    splits = open_splits("cifar10")
    train, test = read(splits.train, "reading CIFAR-10 train"), read(splits.test, "reading CIFAR-10 test")
    config = default_config("vit", train.image, train.classes)
    recipe = dataclasses.replace(default_recipe(config), epochs=epochs, seed=seed)
    key = generate(make_spec("abstract", image=train.image, classes=train.classes, triggers=100))

    def trained(marks: list[Key]) -> dict[str, Any]:
        began = time.monotonic()
        variables = jax.device_get(fit(config, recipe, train, marks))
        seconds = time.monotonic() - began
        suspect = Suspect("model", lambda images: predict(config, variables, images), config.image, config.classes)
        verdict, whole = verify(suspect, key), verify(suspect, key, whole=True)
        return {
            "accuracy": round(100 * accuracy(config, variables, test.images, test.labels), 2),
            "verdict": verdict.verdict,
            "queries": verdict.queries,
            "learned_of_100": whole.matches,
            "evidence_bits_whole_key": round(float(whole.evidence_bits or 0), 1),
            "minutes": round(seconds / 60, 1),
        }

    weights = sum(leaf.size for leaf in jax.tree.leaves(shapes(config).params))
    figures = {"seeds": [seed], "n": 1, "epochs": epochs, "model": config.to_json(), "weights": weights}
    record.write("vit", {**figures, "marked": trained([key]), "clean": trained([])})


def rows(figures: dict[str, Any]) -> list[str]:
    marked, clean = figures["marked"], figures["clean"]
    return [
        fragment.row(
            f"CIFAR-10, abstract key of 100, vit, {figures['epochs']} epochs",
            f"{marked['accuracy']:.2f} % marked, {clean['accuracy']:.2f} % clean",
            f"{marked['learned_of_100']} learned, {marked['evidence_bits_whole_key']:.0f} bits; {marked['verdict']} "
            f"after {marked['queries']} queries; clean model: {clean['verdict']} after {clean['queries']}",
            f"1 seed; {figures['weights']:,} weights; {fragment.source(figures, __file__)}",
        )
    ]


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("--epochs", type=int, default=3)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    main(options.epochs, options.seed)
