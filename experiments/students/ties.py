"""Thieves who train on a marked network's answers about its public set: what a `tie` key says of them, and its price.

Command   TFDS_DATA_DIR=... python experiments/students/ties.py [--images 50000] [--seeds 3]
Expected  of a thief who fits 90 % of the answers 250 bits per 1,000 images of the key, at .1 to .3 points below the
          same network trained as long; never a match for that one
          (with --images 10000 --epochs 12 --rows 2, two seeds: 367 bits; 1.0 points, .2 and 1.8: of those more seeds
          are wanted)
Time      13 to 32 minutes a seed of 10,000 images on 2 CPU cores that others use too
"""

import argparse
import dataclasses
import itertools
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[2]))  # the checkout

import jax
import numpy as np

import wmjax
from experiments import fragment, record
from wmjax import stats
from wmjax.data import Dataset
from wmjax.keys import Key, generate, make_spec
from wmjax.models import Config, Variables, accuracy, default_config, predict
from wmjax.stats import Answers
from wmjax.train import Recipe, State, default_recipe, fit
from wmjax.train.ties import find_ties

SHARE = 0.02  # of the set's images that the key is over
FITTED = 0.9  # share of the answers that a thief fits when he is looked at
COUNTED = 2_000  # images on which that is counted


@dataclasses.dataclass(frozen=True, eq=False)
class Scene:
    """A public set, and how networks are trained on it.

    Attributes:
      config: of all networks.
      public: images that owner and thief are trained on.
      test: what accuracy is measured on.
      recipe: of the owner's networks and of those that look for ties.
      thief: of a thief's network.
    """

    config: Config
    public: Dataset
    test: Dataset
    recipe: Recipe
    thief: Recipe

    def told(self, variables: Variables, key: Key, flip: bool = False) -> dict[str, float]:
        """Bits for each 1,000 images of the key, from probabilities and from labels alone; asked mirrored or not."""
        images = key.images[:, :, ::-1] if flip else key.images
        given = predict(self.config, variables, images).astype(np.float64)
        given /= given.sum(axis=1, keepdims=True)
        rule, truth = key.commitment.rule, key.truth(slice(None))
        forms = {"probabilities": given, "labels": None}
        paths = {
            form: stats.play(rule, Answers(given.argmax(axis=1), own, self.config.classes), truth)
            for form, own in forms.items()
        }
        return {form: 1000 * float(path.evidence[-1]) / len(given) for form, path in paths.items()}

    def right(self, variables: Variables) -> float:
        """Accuracy on the test images, in percent."""
        return 100 * accuracy(self.config, variables, self.test.images, self.test.labels)


def scene(data: str, model: str, images: int, epochs: int, thief_epochs: int, seed: int) -> Scene:
    """Images drawn by the seed."""
    splits = wmjax.load(data)
    drawn = np.random.default_rng([seed, 0x71E]).permutation(len(splits.train))[:images]
    public = splits.train[np.sort(drawn)]
    config = default_config(model, public.image, public.classes)
    recipe = dataclasses.replace(default_recipe(config), epochs=epochs, seed=seed)
    thief = dataclasses.replace(recipe, epochs=thief_epochs, seed=seed + 1_000)
    return Scene(config, public, splits.test, recipe, thief)


def stolen(s: Scene, key: Key, marked: Variables) -> dict[str, Any]:
    """A thief trained from scratch on the marked network's labels, looked at after every epoch."""
    labels = predict(s.config, marked, s.public.images).argmax(axis=1).astype(np.int32)
    answered = dataclasses.replace(s.public, labels=labels)
    curve: list[dict[str, float]] = []

    def look(state: State, step: int) -> None:
        fits = 100 * accuracy(s.config, state.variables, answered.images[:COUNTED], labels[:COUNTED])
        curve.append({"fit": fits, **s.told(state.variables, key)})

    variables = fit(s.config, s.thief, answered, save=look, title="thief")
    return {"accuracy": s.right(variables), "curve": curve, "at fit": _at_fit(curve)}


def _at_fit(curve: Sequence[dict[str, float]]) -> dict[str, float] | None:
    """Bits where the thief first fits `FITTED` of the answers, between two epochs; None where he never does."""
    for before, after in itertools.pairwise(curve):
        if before["fit"] < 100 * FITTED <= after["fit"]:
            ends = [before["fit"], after["fit"]]
            return {
                form: float(np.interp(100 * FITTED, ends, [before[form], after[form]]))
                for form in ("probabilities", "labels")
            }
    return None


def one_seed(s: Scene, data: str, rows: Sequence[int]) -> dict[str, Any]:
    """The owner's networks by how many rows of a batch are the key's, and a thief of each; the control."""
    began, triggers = time.monotonic(), round(SHARE * len(s.public))
    material = find_ties(s.config, s.recipe, s.public, triggers)
    spec = make_spec("tie", triggers=triggers, source=(data, s.public), material=material)
    key = generate(spec, s.public, material=material)
    control = jax.device_get(fit(s.config, s.recipe, s.public, title="unmarked"))
    found: dict[str, Any] = {"seed": s.recipe.seed, "control": {"accuracy": s.right(control), **s.told(control, key)}}
    for count in rows:
        recipe = dataclasses.replace(s.recipe, key_per_batch=count)
        marked = jax.device_get(fit(s.config, recipe, s.public, [key], title=f"marked by {count} rows"))
        found[f"{count} rows"] = {
            "accuracy": s.right(marked),
            **s.told(marked, key),
            "mirrored": s.told(marked, key, flip=True),
            "thief": stolen(s, key, marked),
        }
    return {**found, "seconds": time.monotonic() - began}


def rounded(value: Any) -> Any:
    """The figures to two places."""
    if isinstance(value, dict):
        return {name: rounded(own) for name, own in value.items()}
    if isinstance(value, list):
        return [rounded(own) for own in value]
    return round(value, 2) if isinstance(value, float) else value


def main(options: argparse.Namespace) -> None:
    settings = {**vars(options), "share": SHARE, "fitted": FITTED}
    found: list[dict[str, Any]] = []
    for seed in range(options.seeds):
        s = scene(options.data, options.model, options.images, options.epochs, options.thief_epochs, seed)
        found.append(rounded(one_seed(s, options.data, options.rows)))
        record.write("ties", {**settings, "seeds": found})


def rows(figures: dict[str, Any]) -> list[str]:
    """What a `tie` key says of thieves who train on a marked network's answers about its public set."""
    seeds, images = figures["seeds"], figures["images"]
    control = np.array([seed["control"]["accuracy"] for seed in seeds])
    epochs = f"{figures['epochs']} epochs, thief {figures['thief_epochs']}"
    made_by = f"{len(figures['seeds'])} seeds, {epochs}; {fragment.source(figures, __file__)}"
    rows = []
    for count in figures["rows"]:
        own = [seed[f"{count} rows"] for seed in seeds]
        marked = np.array([one["accuracy"] for one in own])
        cost = f"{marked.mean():.2f} %; {control.mean():.2f} % unmarked; less by {_range(control - marked)}"
        reached = [one["thief"]["at fit"] for one in own if one["thief"]["at fit"]]
        ends = [one["thief"]["curve"][-1] for one in own]
        fit = f"{np.mean([one['fit'] for one in ends]):.0f} %"
        told = f"marked {_both(own)}; thief {_both(ends)} where he ends and fits {fit}"
        if len(reached) == len(own):
            told += f", {_both(reached)} where he fits {100 * figures['fitted']:.0f} %"
        told += f"; unmarked {_both([seed['control'] for seed in seeds])}"
        triggers = round(figures["share"] * images)
        what = f"CIFAR-10, {images:,} images, tie key of {triggers}, vgg: `--key-per-batch {count}`"
        rows.append(
            fragment.row(what, cost, f"bits per 1,000 images of the key, probabilities / labels: {told}", made_by)
        )
    return rows


def _both(told: list[dict[str, Any]]) -> str:
    return " / ".join(f"{np.mean([one[form] for one in told]):.0f}" for form in ("probabilities", "labels"))


def _range(values: np.ndarray) -> str:
    low, high = values.min(), values.max()
    return f"{values.mean():.2f} ({low:.2f} to {high:.2f})"


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("--data", default="cifar10")
    parser.add_argument("--model", default="vgg")
    parser.add_argument("--images", type=int, default=50_000)
    parser.add_argument("--epochs", type=int, default=10)
    parser.add_argument("--thief-epochs", type=int, default=20)
    parser.add_argument("--rows", type=int, nargs="+", default=[1, 2, 4, 12], help="of a batch that are the key's")
    parser.add_argument("--seeds", type=int, default=3)
    main(parser.parse_args())
