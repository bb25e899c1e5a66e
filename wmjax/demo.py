"""The whole story on scikit-learn's digits: an owner, thieves, innocents, and what verification says of each."""

import dataclasses
import os
import time
from functools import partial
from pathlib import Path
from typing import Any

import jax
import numpy as np

from wmjax import journal
from wmjax.attacks.families.prune import prune
from wmjax.data import Dataset, Splits, load
from wmjax.files import check_room
from wmjax.keys import Key, generate, make_spec
from wmjax.models import Config, Variables, accuracy, default_config, predict
from wmjax.report.demo import Finding, demo_plot, write_demo_report
from wmjax.report.picture import write_picture
from wmjax.suspects import Suspect
from wmjax.train import Recipe, Teacher, default_recipe, fit, shift_of
from wmjax.train.check import check_seed
from wmjax.train.mapping import over
from wmjax.train.spread import spread_key_for
from wmjax.train.step import first_state
from wmjax.verification import combine, verify

SMOOTHING = 0.2  # of labels: a network that is sure of everything has no room for a shift
SIGMA, BAND = 1.5, 0.5  # of the shift: digits are so easy that hardly an answer changes


@dataclasses.dataclass(frozen=True)
class Exhibit:
    """One suspect of the demo.

    Attributes:
      truth: `stolen` or `independent`.
      suspect: to be asked.
      accuracy: on the test split.
    """

    truth: str
    suspect: Suspect
    accuracy: float


def run_demo(out: str | os.PathLike[str], seed: int = 0, png: str | os.PathLike[str] | None = None) -> dict[str, Any]:
    """Trains, steals, verifies and writes `report.html`; gives the versioned JSON document.

    Args:
      out: folder of the report.
      seed: of all trainings; the key's secret is fresh each time.
      png: file of a picture of the evidence; none by default.

    Raises:
      UsageError: no training has such a seed, or the folder has a journal, beside the report of what it is of.
      AccessError: it cannot be written.
    """
    began, out = time.monotonic(), Path(out)
    check_seed(seed)  # now, not after a minute of training
    journal.check_out(out, None)
    check_room(out, 1 << 20)
    digits = load("digits")
    owned, stolen = _halves(digits.train)
    triggers = generate(
        make_spec("blend", image=owned.image, classes=10, triggers=200, source=("digits", digits.train)), digits.train
    )
    spread, exhibits = _exhibits(triggers, owned, stolen, digits, seed)
    keys = (triggers, spread)
    findings = []
    for exhibit in exhibits:
        verdicts = [verify(exhibit.suspect, key, whole=True) for key in keys]
        findings.append(Finding(exhibit.suspect.name, exhibit.truth, exhibit.accuracy, combine(keys, verdicts)))
    report = write_demo_report(out, keys, findings)
    if png:
        write_picture(Path(png), [demo_plot(findings)])
    by_name = {finding.name: finding.accuracy for finding in findings}
    return {
        "version": 1,
        "accuracy": {"clean": by_name["clean"], "marked": by_name["marked"]},
        "suspects": [_row(finding) for finding in findings],
        "report": str(report),
        "seconds": round(time.monotonic() - began, 1),
    }


def table(result: dict[str, Any]) -> list[str]:
    """The demo's result as lines for people."""
    lines = [f"{'suspect':24} {'truth':12} {'verdict':13} {'bits':>7} {'triggers':>9} {'spread':>7} {'queries':>8}"]
    for row in result["suspects"]:
        lines.append(
            f"{row['name']:24} {row['truth']:12} {row['verdict']:13} {row['evidence_bits']:7.1f} "
            f"{row['triggers_bits']:9.1f} {row['spread_bits']:7.1f} {row['queries']:8d}"
        )
    scores = result["accuracy"]
    lines.append(f"test accuracy: {scores['marked']:.2%} marked, {scores['clean']:.2%} clean")
    lines.append(f"{result['report']} in {result['seconds']:.0f} s")
    return lines


def _row(finding: Finding) -> dict[str, Any]:
    triggers, spread = finding.combined.verdicts
    return {
        "name": finding.name,
        "truth": finding.truth,
        "verdict": finding.combined.verdict,
        "evidence_bits": finding.combined.evidence_bits,
        "triggers_bits": triggers.evidence_bits,
        "spread_bits": spread.evidence_bits,
        "queries": finding.queries,
    }


def _halves(train: Dataset) -> tuple[Dataset, Dataset]:
    """The owner's images, and other images that a thief has."""
    mine = np.arange(len(train)) % 5 < 3
    return train[mine], train[~mine]


def _exhibits(
    triggers: Key, owned: Dataset, stolen: Dataset, digits: Splits[Dataset], seed: int
) -> tuple[Key, list[Exhibit]]:
    """A `spread` key; the model marked with it and with triggers, thefts of it, and models that never saw a key."""
    config = default_config("cnn", owned.image, owned.classes)
    train = partial(fit, mapping=over(jax.local_devices()[:1]))  # too little work for more than one device
    other = default_config("vgg", owned.image, owned.classes)
    recipe = dataclasses.replace(
        default_recipe(config), seed=seed, epochs=45, key_per_batch=6, label_smoothing=SMOOTHING
    )
    clean = train(config, recipe, owned, title="clean model")
    spread = spread_key_for(config, clean, recipe, Splits("digits", owned, digits.train), rehearsals=2)
    marking = dataclasses.replace(recipe, learning_rate=0.02)
    marked = train(
        config,
        marking,
        owned,
        [triggers, spread],
        state=first_state(clean),
        shift=shift_of([spread], jax.device_get(clean), SIGMA, BAND),
        title="marked model",
    )
    fresh = [dataclasses.replace(recipe, seed=(seed + i) % 2**31) for i in (1, 2, 3)]
    tuning = dataclasses.replace(fresh[0], epochs=10, learning_rate=0.01)
    tuned = train(config, tuning, stolen, state=first_state(marked), title="thief: fine-tuning")
    copying = dataclasses.replace(fresh[1], temperature=1.0)
    distilled = train(config, copying, stolen, teacher=Teacher(config, marked), title="thief: distilling")
    innocent = {
        "clean": (config, clean),
        "other data": (config, train(config, fresh[2], stolen, title="innocent: other data")),
        "other architecture": (other, train(other, _vgg_recipe(other, seed), owned, title="innocent: other network")),
    }
    thefts = {
        "marked": marked,
        "stolen, fine-tuned": tuned,
        "stolen, 50 % pruned": prune(marked, 0.5),
        "stolen, distilled": distilled,
    }
    exhibits = [_exhibit(name, "stolen", config, variables, digits.test) for name, variables in thefts.items()]
    exhibits += [
        _exhibit(name, "independent", net, variables, digits.test) for name, (net, variables) in innocent.items()
    ]
    return spread, exhibits


def _vgg_recipe(config: Config, seed: int) -> Recipe:
    """Smoothed, too: who is sure of everything gives too few different answers to be cleared by a `spread` key."""
    return dataclasses.replace(default_recipe(config), seed=seed, epochs=15, label_smoothing=SMOOTHING)


def _exhibit(name: str, truth: str, config: Config, variables: Variables, test: Dataset) -> Exhibit:
    suspect = Suspect(
        name, lambda images: predict(config, variables, images), config.image, config.classes, remembers=False
    )
    return Exhibit(truth, suspect, accuracy(config, variables, test.images, test.labels))
