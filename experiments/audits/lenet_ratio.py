"""Full verdicts on 32 LeNets in memory against PyTorch's loop, which only counts matches.

Command   python experiments/audits/lenet_ratio.py [--repeats 15] [--torch-python PYTHON] [--small]
          PYTHON has PyTorch and NumPy, where that lives in an environment of its own
Expected  the same logits to 1e-4; every thief and nobody else a match; faster than the loop
Time      about 2 minutes on 2 CPU cores

One abstract key of 100 triggers of 28x28x1. PyTorch runs eagerly in inference mode: each network all 100 triggers,
argmax, matches; with one thread or one a core, whichever is faster here. Our side judges as the audit does, block by
block until each model is decided, evidence and all. Each side has a process of its own, in turn; `prepared_s`, in
which a width is measured, and the first call hold what is compiled. A thief is a network that has learned the triggers
alone. Innocents have random weights whose answers use all classes, as trained networks do.
"""

import argparse
import contextlib
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[2]))  # the checkout

import jax
import numpy as np
import optax

from experiments import fragment
from experiments.audits import zoos
from experiments.timing import quartiles
from wmjax.keys import Key, open_keys
from wmjax.suspects.contract import Network, Weights
from wmjax.suspects.modules import from_module
from wmjax.zoo.panel import Loaded
from wmjax.zoo.result import MATCH
from wmjax.zoo.rounds import Questions, ask_all
from wmjax.zoo.score import Scorer, mesh_for
from wmjax.zoo.width import choose_width

MODEL, IMAGE = "experiments.audits.zoos:lenet", (28, 28, 1)
IN_A_ZOO = 10_000  # models, for which the width is chosen


def memorised(network: Network, key: Key, steps: int) -> Weights:
    """Random weights trained on a key's triggers alone."""
    rule, triggers = optax.adam(3e-3), jax.device_put((key.images, key.labels))

    def loss(weights: Weights, images: jax.Array, labels: jax.Array) -> jax.Array:
        logits = network.logits(weights, images)
        return optax.losses.softmax_cross_entropy_with_integer_labels(logits, labels).mean()

    @jax.jit
    def step(weights: Weights, state: Any, images: jax.Array, labels: jax.Array) -> tuple[Weights, Any]:
        moves, state = rule.update(jax.grad(loss)(weights, images, labels), state)
        return optax.apply_updates(weights, moves), state

    weights: Any = jax.device_put(zoos.draw(network, 10_000))
    state = rule.init(weights)
    with jax.numpy_dtype_promotion("standard"):  # which Optax's Adam needs
        for _ in range(steps):
            weights, state = step(weights, state, *triggers)
    return jax.device_get(weights)


def judging(path: str, keys: str) -> zoos.Work:
    """Our side: verdicts on all of them."""
    started = time.perf_counter()
    network, (opened, _) = from_module(MODEL, IMAGE), open_keys(Path(keys))
    (key,) = opened.values()
    with np.load(path) as stored:
        arrays = {name: stored[name] for name in network.shapes}
    count = len(arrays["head/bias"])
    scorer = Scorer(network, mesh_for(count))
    weights, bank = scorer.place(arrays), scorer.replicate(key.images)
    rule = key.commitment.rule
    asked, limits = np.zeros(1, np.int64), np.array([rule.max_queries])
    questions = Questions([key], key.images, asked, limits, np.array([rule.match_bits]))
    width = choose_width(scorer, weights, bank, questions.block, IN_A_ZOO)
    scorer = Scorer(network, scorer.mesh, width)
    about: dict[str, Any] = {
        "width": width,
        "logits": scorer.answers(weights, np.arange(count), 0, bank, np.arange(len(key.images), dtype=np.int32))
        .astype(np.float64)
        .tolist(),
    }
    about["prepared_s"] = time.perf_counter() - started

    def work() -> dict[str, Any]:
        nonlocal about
        began = time.perf_counter()
        verdicts = ask_all(Loaded(scorer, weights, bank), questions, np.arange(count))
        seconds = time.perf_counter() - began
        found, about = (
            {
                "seconds": seconds,
                "matched": np.flatnonzero(verdicts.outcomes[:, 0] == MATCH).tolist(),
                "queries": float(verdicts.queries.mean()),
                **about,
            },
            {},
        )
        return found

    return work


def worker(path: str, keys: str) -> zoos.Work:
    """Our side of the comparison."""
    return judging(path, keys)


def difference(ours: list[Any], theirs: list[Any]) -> float:
    """The largest between the two sides' logits; ends the script where it is no rounding error."""
    apart = float(np.abs(np.array(ours) - np.array(theirs)).max())
    if apart > 1e-4:
        raise SystemExit(f"the two sides' logits differ by {apart}: they are not the same networks")
    return apart


def measure(models: int, thief: Weights | None, key: Key, keys: Path, repeats: int, python: str) -> dict[str, Any]:
    """Both sides in turn on the same weights; with a thief, every second model is a copy of it."""
    network = from_module(MODEL, IMAGE)
    weights = zoos.stacked(network, models)
    for name, leaf in (thief or {}).items():
        weights[name][::2] = leaf
    torch_side = str(Path(__file__).parent / "torch_lenet.py")
    with tempfile.TemporaryDirectory() as folder, contextlib.ExitStack() as stack:
        path = Path(folder, "models.npz")
        np.savez(path, images=key.images, labels=key.labels, **weights)
        turns = {
            "wmjax": stack.enter_context(zoos.process(__file__, path, keys, all_cores=True)),
            "torch": stack.enter_context(zoos.process(torch_side, path, python=python)),
        }
        first, rounds = zoos.in_turn(turns, repeats + 1)
    apart = difference(first["wmjax"]["logits"], first["torch"]["logits"])
    seconds = {side: zoos.column(each[1:], "seconds") for side, each in rounds.items()}
    return {
        "models": models,
        "thieves": len(range(0, models, 2)) if thief else 0,
        "matched": len(first["wmjax"]["matched"]),
        "torch": {name: first["torch"][name] for name in ("torch", "threads", "tried_s")},
        "largest_difference_of_logits": apart,
        "width": first["wmjax"]["width"],
        "queries_mean": first["wmjax"]["queries"],
        "prepared_s": round(first["wmjax"]["prepared_s"], 2),
        "repeats": repeats,
        "ms": {side: quartiles(1e3 * values, 3) for side, values in seconds.items()},
        "times_faster": quartiles(seconds["torch"] / seconds["wmjax"], 3),
        "first_call_s": {side: round(turn["seconds"], 3) for side, turn in first.items()},
    }


def main(arguments: list[str] | None = None) -> None:
    from experiments import record

    parser = argparse.ArgumentParser()
    parser.add_argument("--repeats", type=int, default=15)
    parser.add_argument("--torch-python", default=sys.executable)
    parser.add_argument("--small", action="store_true")
    options = parser.parse_args(arguments)
    models, triggers, steps, repeats = (3, 32, 40, 1) if options.small else (32, 100, 150, options.repeats)
    with tempfile.TemporaryDirectory() as folder:
        keys = Path(folder, "keys")
        (key,) = zoos.write_keys(keys, IMAGE, 1, triggers)
        thief = memorised(from_module(MODEL, IMAGE), key, steps)
        cases = {
            name: measure(models, kind, key, keys, repeats, options.torch_python)
            for name, kind in (("innocents", None), ("half thieves", thief))
        }
    record.write("lenet_ratio", cases)


def rows(figures: dict[str, Any]) -> list[str]:
    return [
        fragment.row(
            f"full verdicts against PyTorch's eager loop, {case['models']} LeNets in memory, {kind}",
            f"{fragment.median(case['times_faster'])} times as fast",
            f"{case['ms']['wmjax']['median']:.0f} and {case['ms']['torch']['median']:.0f} ms; "
            f"{case['matched']} matches, {case['thieves']} thieves",
            f"{case['repeats']} pairs; {fragment.source(figures, __file__)}",
        )
        for kind, case in figures.items()
        if kind != "environment"
    ]


if __name__ == "__main__":
    if sys.argv[1:2] == ["--worker"]:
        zoos.serve(worker(*sys.argv[2:]))
    else:
        main()
