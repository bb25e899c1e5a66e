"""What a key costs in a training step: marked against unmarked, same batch size, in turn on the same machine.

Command   python experiments/training/step_ratio.py [--pairs 40]
Expected  with triggers a ratio of at most 1.01 (median of the pairs); with a `spread` key at most 1.4, since each image
          takes a pass forward through the base as well: of a fifth of the epochs, .28 of the base's training; compile
          time is apart
Time      about 8 minutes on 2 CPU cores
"""

import argparse
import sys
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[2]))  # the checkout

from experiments import fragment, record, timing
from wmjax.models import default_config
from wmjax.train import Recipe

CASES = [
    ("cnn", (8, 8, 1), 64, 20, "triggers"),
    ("vgg", (32, 32, 3), 128, 1, "triggers"),
    ("cnn", (32, 32, 3), 128, 1, "triggers"),
    ("vgg", (32, 32, 3), 128, 1, "spread"),
    ("cnn", (32, 32, 3), 128, 1, "spread"),
]


def measure(name: str, image: tuple[int, int, int], batch: int, steps: int, key: str, pairs: int) -> dict[str, object]:
    """The ratio for one network and kind of key, `steps` at a time."""
    config = default_config(name, image, 10)
    recipe = Recipe(epochs=1, batch=batch, flip=True, crop=2, key_per_batch=4)
    works = {
        "marked": timing.training(config, recipe, steps, marked=key == "triggers", shifted=key == "spread"),
        "unmarked": timing.training(config, recipe, steps, marked=False),
    }
    return {"model": name, "image": image, "batch": batch, "steps": steps, "key": key, **timing.compare(works, pairs)}


def rows(figures: dict[str, Any]) -> list[str]:
    """A step with the key against one without, for each network."""
    rows = []
    for case in figures["cases"]:
        keys = {"triggers": "triggers", "spread": "a `spread` key"}
        what = f"a step with {keys[case['key']]}, against one without, {fragment.network(case)}"
        step = f"{case['ms_median']['marked'] / case['steps']:.0f} ms a step of {case['batch']}"
        rows.append(fragment.compared(what, case, step, fragment.source(figures, __file__)))
    return rows


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("--pairs", type=int, default=40)
    options = parser.parse_args()
    record.write("step_ratio", {"cases": [measure(*case, pairs=options.pairs) for case in CASES]})
