"""How many claims a key is good for, one after another, on intact copies of its model.

Command   python experiments/claims/claims_a_key.py
Expected  100 triggers: one claim without a date, two with one. What earlier claims spent counts as wrong in later ones
Time      20 seconds on 2 CPU cores

The copies know every label and tell labels alone. Each claim has a nonce of its own, asks in the order that it gives,
and ends as soon as a judge would be convinced. The figures are the fewest of ten keys.
"""

import argparse
import sys
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[2]))  # the checkout

import numpy as np

from experiments import fragment, record
from wmjax import stats
from wmjax.evidence.claim import picks
from wmjax.evidence.facts import Court
from wmjax.evidence.lacks import demanded_bits, margin
from wmjax.keys import Key, derive_key, make_spec
from wmjax.keys.specify import default_rule

SIZES, KEYS, CLASSES = (50, 100, 200, 500), 10, 10
DATES = {"undated": (False, False), "dated": (True, False), "pledged": (True, True)}


def main() -> None:
    argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter).parse_args()
    record.write("claims_a_key", {"keys": KEYS, "claims": {str(size): counted(size) for size in SIZES}})


def counted(size: int) -> dict[str, int]:
    """The fewest claims that a key of so many triggers was good for, by what dates it."""
    spec = make_spec("abstract", image=(8, 8, 1), classes=CLASSES, triggers=size)
    keys = [derive_key(bytes([number]) * 32, spec, default_rule(spec)) for number in range(KEYS)]
    bars = {
        name: demanded_bits(default_rule(spec), Court().alpha, margin(dated=dated, pledged=pledged))
        for name, (dated, pledged) in DATES.items()
    }
    return {name: min(claims(key, bar) for key in keys) for name, bar in bars.items()}


def claims(key: Key, bar: float) -> int:
    """How many claims reach so many bits before too much of the key is spent."""
    rng, spent, made = np.random.default_rng(0), np.zeros(0, int), 0
    while True:
        order = np.array(picks(key.commitment, rng.bytes(32), key.spec.triggers))
        truth = key.truth(order)
        labels = np.where(np.isin(order, spent), -1, truth)
        path = stats.play(key.commitment.rule, stats.Answers(labels, None, CLASSES), truth)
        enough = np.flatnonzero(path.evidence >= bar)
        if not len(enough):
            return made
        spent, made = np.union1d(spent, order[: enough[0] + 1]), made + 1


def text(figures: dict[str, Any]) -> str:
    """The table of the guide."""
    head = "| triggers | claims without a date | with a date before the suspect | with a pledge |\n|---|---|---|---|\n"
    rows = [
        f"| {size} | {' | '.join(str(found[name]) for name in DATES)} |\n" for size, found in figures["claims"].items()
    ]
    told = f"{figures['keys']} keys of {CLASSES} classes, the fewest; {fragment.source(figures, __file__)}."
    return f"{head}{''.join(rows)}\n{told}\n"


if __name__ == "__main__":
    main()
