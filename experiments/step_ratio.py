"""What the key costs in a training step: marked against unmarked, same batch size, in turn on the same machine.

Command   python experiments/step_ratio.py [--pairs 40]
Expected  a ratio of at most 1.01 (median of the pairs); compile time is apart
Time      about 2 minutes on 2 CPU cores
"""

import argparse
import time

import jax
import jax.numpy as jnp
import numpy as np
import record

from wmjax.models import default_config
from wmjax.train import Batch, Recipe, make_program
from wmjax.train.loop import first_state

CASES = [("cnn", (8, 8, 1), 64), ("vgg", (32, 32, 3), 128), ("cnn", (32, 32, 3), 128)]


def measure(name: str, image: tuple[int, int, int], batch: int, pairs: int) -> dict[str, object]:
    """Seconds of each step, marked and unmarked in turn, and the ratios pair by pair."""
    config = default_config(name, image, 10)
    recipe = Recipe(epochs=1, batch=batch, flip=True, crop=2, key_per_batch=4)
    rng = np.random.default_rng(0)
    draw = lambda n: Batch(  # noqa: E731
        jnp.asarray(rng.integers(0, 256, (n, *image), dtype=np.uint8)), jnp.asarray(rng.integers(0, 10, n), jnp.int32)
    )
    data, triggers = draw(2048), draw(100)
    rows = rng.permutation(2048)[:batch].astype(np.int32)
    step = make_program(config, recipe, 1000)
    states = {"marked": first_state(config, recipe, 2048), "unmarked": first_state(config, recipe, 2048)}
    keys = {"marked": triggers, "unmarked": None}
    seconds: dict[str, list[float]] = {"marked": [], "unmarked": []}
    compile_s = {}
    for turn in range(pairs + 1):
        for kind in sorted(states, reverse=bool(turn % 2)):  # who goes first changes too
            began = time.perf_counter()
            states[kind], metrics = step(states[kind], 0, data, rows, keys[kind], None)
            jax.block_until_ready((states[kind], metrics))
            if turn:
                seconds[kind].append(time.perf_counter() - began)
            else:
                compile_s[kind] = round(time.perf_counter() - began, 2)
    ratios = np.array(seconds["marked"]) / np.array(seconds["unmarked"])
    low, middle, high = np.percentile(ratios, [25, 50, 75])
    return {
        "model": name,
        "image": image,
        "batch": batch,
        "pairs": pairs,
        "ratio_median": round(float(middle), 4),
        "ratio_quartiles": [round(float(low), 4), round(float(high), 4)],
        "ratio_of_medians": round(float(np.median(seconds["marked"]) / np.median(seconds["unmarked"])), 4),
        "step_ms_median": {kind: round(1e3 * float(np.median(s)), 2) for kind, s in seconds.items()},
        "first_call_s": compile_s,
    }


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("--pairs", type=int, default=40)
    options = parser.parse_args()
    record.write("step_ratio", {"cases": [measure(*case, pairs=options.pairs) for case in CASES]})
