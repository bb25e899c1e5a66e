"""Digits: what a mark costs and what it proves, clean against marked, over seeds.

Command   python experiments/training/digits.py [--seeds 5]
Expected  marked within 0.5 points of clean; at least 98 of 100 learned; over 300 bits; match in at most 9 queries;
          no clean or independent model ever a match
Time      about 8 minutes on 2 CPU cores
"""

import argparse
import dataclasses
import sys
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[2]))  # the checkout

import numpy as np

from experiments import fragment, record
from wmjax.data import load
from wmjax.keys import Key, generate, make_spec
from wmjax.models import Variables, accuracy, default_config, predict
from wmjax.suspects import Suspect
from wmjax.train import default_recipe, fit
from wmjax.verification import verify

SCHEMES = ("abstract", "blend")


def main(seeds: int) -> None:
    digits = load("digits")
    config = default_config("cnn", (8, 8, 1), 10)
    keys = {}
    for scheme in SCHEMES:
        source = ("digits", digits.train) if scheme == "blend" else None
        keys[scheme] = generate(
            make_spec(scheme, image=(8, 8, 1), classes=10, triggers=100, source=source),
            digits.train if source else None,
        )

    def suspect(variables: Variables) -> Suspect:
        return Suspect("model", lambda images: predict(config, variables, images), config.image, config.classes)

    def train(seed: int, keys: list[Key]) -> tuple[float, Suspect]:
        recipe = dataclasses.replace(default_recipe(config), seed=seed)
        variables = fit(config, recipe, digits.train, keys)
        return 100 * accuracy(config, variables, digits.test.images, digits.test.labels), suspect(variables)

    clean = [train(seed, []) for seed in range(seeds)]
    figures: dict[str, Any] = {"seeds": list(range(seeds)), "clean_accuracy": spread([score for score, _ in clean])}
    for scheme, key in keys.items():
        marked = [train(seed, [key]) for seed in range(seeds)]
        whole = [verify(model, key, whole=True) for _, model in marked]
        innocent = [verify(model, key) for _, model in clean]
        figures[scheme] = {
            "accuracy": spread([score for score, _ in marked]),
            "accuracy_cost_points": round(
                figures["clean_accuracy"]["mean"] - float(np.mean([s for s, _ in marked])), 3
            ),
            "learned_of_100": spread([verdict.matches for verdict in whole]),
            "evidence_bits_whole_key": spread([float(verdict.evidence_bits or 0) for verdict in whole]),
            "queries_to_match": spread([verify(model, key).queries for _, model in marked]),
            "verdicts_marked": [verify(model, key).verdict for _, model in marked],
            "verdicts_clean": [verdict.verdict for verdict in innocent],
            "queries_to_clear_clean": spread([verdict.queries for verdict in innocent]),
        }
    record.write("digits", figures)


def spread(values: list[float] | list[int]) -> dict[str, float]:
    """Mean, median, sample standard deviation, minimum and maximum."""
    array = np.array(values, float)
    numbers = {
        "mean": array.mean(),
        "median": np.median(array),
        "sd": array.std(ddof=1),
        "min": array.min(),
        "max": array.max(),
    }
    return {"n": len(array), **{name: round(float(value), 3) for name, value in numbers.items()}}


def rows(figures: dict[str, Any]) -> list[str]:
    clean = figures["clean_accuracy"]
    rows = []
    for scheme in ("abstract", "blend"):
        own = figures[scheme]
        accuracy, learned, bits = own["accuracy"], own["learned_of_100"], own["evidence_bits_whole_key"]
        rows.append(
            fragment.row(
                f"digits, {scheme} key of 100, cnn",
                f"{accuracy['mean']:.2f} ± {accuracy['sd']:.2f} % marked, "
                f"{clean['mean']:.2f} ± {clean['sd']:.2f} % clean",
                f"{learned['mean']:.1f} learned, {bits['mean']:.0f} bits; match after "
                f"{own['queries_to_match']['median']:.0f} queries; clean models: "
                f"{own['verdicts_clean'].count('match')} matches",
                f"{clean['n']} seeds; {fragment.source(figures, __file__)}",
            )
        )
    return rows


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("--seeds", type=int, default=5)
    main(parser.parse_args().seeds)
