"""The grid of attacks under the names and counts of MPAI-NNW's robustness evaluation: `robustness.py`'s, counted anew.

The standard (Neural Network Traceability V1.0, Robustness Evaluation) modifies M unmarked networks and M x D marked
ones, and counts what its detector misses, what it finds in vain, and the share of a payload's symbols that are lost:
here triggers' labels, so `spread` keys, which have none, are left out. Strengths are our own.
"""

from typing import Any

import numpy as np

from experiments import fragment
from experiments.attacks import robustness

MODIFICATIONS = {
    "Gaussian noise addition": ("weight-noise", "{:g} standard deviations"),
    "L1 pruning": ("prune", "{:.0%} of the weights"),
    "Quantising": ("quantise", "{:g} bits"),
    "Fine tuning": ("ftal", "learning rate {:g}"),
    "Transfer learning": ("transfer-fewer", "{:.0%} of the classes"),
    "Knowledge distillation": ("distil", "temperature {:g}"),
    "Watermark overwriting": ("overwrite", "learning rate {:g}"),
}


def rows(figures: dict[str, Any]) -> list[str]:
    """A row for each modification and strength, and one for the unmarked networks."""
    made_by = fragment.source(figures, robustness.__file__)
    marked = f"{figures['seeds']} x {len({*figures['triggers']} - {'spread'})} marked networks a line; {made_by}"
    innocent = figures["innocent"]
    found = f"{innocent['matches']} found in vain of {innocent['cases']:,}"
    return [
        *(told for modification in MODIFICATIONS for told in _modified(figures, modification, marked)),
        fragment.row(f"{figures['data']}, unmarked networks, all of the grid", found, "", made_by),
    ]


def _modified(figures: dict[str, Any], modification: str, made_by: str) -> list[str]:
    attack, strength = MODIFICATIONS[modification]
    cells = [cell for cell in figures["rows"] if cell["attack"] == attack and cell["scheme"] != "spread"]
    rows = []
    for at in sorted({cell["strength"] for cell in cells}):
        same = [cell for cell in cells if cell["strength"] == at]
        networks, matches = (sum(cell[name] for cell in same) for name in ("networks", "matches"))
        lost, errors = np.mean([[cell["lost"]["mean"], 1 - cell["repeated"]["mean"]] for cell in same], axis=0)
        missed = f"{networks - matches} missed of {networks}; symbol error rate {errors:.1%}"
        label = f"{figures['data']}, {modification}, {strength.format(at)}"
        rows.append(fragment.row(label, missed, f"{lost:.1f} points of accuracy lost", made_by))
    return rows
