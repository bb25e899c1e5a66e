"""Fifty training steps in one program against fifty programs of one step, in turn on the same machine.

Command   python experiments/training/scan_ratio.py [--pairs 7]
Expected  a ratio of at most 1.0: nothing is lost inside the loop, and the host's part is saved
Time      about 5 minutes on 2 CPU cores
"""

import argparse
import sys
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[2]))  # the checkout

from experiments import fragment, record, timing
from wmjax.models import default_config
from wmjax.train import Recipe

STEPS = 50
CASES = [("cnn", (8, 8, 1), 64), ("vgg", (8, 8, 1), 64), ("vgg", (32, 32, 3), 64)]


def measure(name: str, image: tuple[int, int, int], batch: int, pairs: int) -> dict[str, object]:
    """The ratio for one network."""
    config, recipe = default_config(name, image, 10), Recipe(epochs=1, batch=batch, flip=True, crop=1)
    works = {
        kind: timing.training(config, recipe, STEPS, dispatched=kind == "dispatched") for kind in ("scan", "dispatched")
    }
    return {"model": name, "image": image, "batch": batch, "steps": STEPS, **timing.compare(works, pairs)}


def rows(figures: dict[str, Any]) -> list[str]:
    """Many steps in one program against one step in each."""
    rows = []
    for case in figures["cases"]:
        what = f"{case['steps']} steps in one program, against {case['steps']} programs, {fragment.network(case)}"
        step = f"{case['ms_median']['scan'] / case['steps']:.1f} ms a step of {case['batch']}"
        rows.append(fragment.compared(what, case, step, fragment.source(figures, __file__)))
    return rows


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("--pairs", type=int, default=7)
    options = parser.parse_args()
    record.write("scan_ratio", {"cases": [measure(*case, pairs=options.pairs) for case in CASES]})
