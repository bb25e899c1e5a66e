"""Models audited a second, from loose checkpoints and from a pack, against the loop that a user would write.

Command   python experiments/audits/audit_speed.py [--family resnet18 cnn] [--models 512] [--repeats 5] [--folder DIR]
          [--small]
          on a GPU: XLA_PYTHON_CLIENT_PREALLOCATE=false before it, and --family ibm --models 1000
Expected  every planted thief found and nobody else; packed, far faster than the loop where scoring is cheap
Time      about 12 minutes on 2 CPU cores, of which writing the checkpoints takes 2; 6 GB of disk

The zoo: random networks, and on digits one marked copy in sixteen; one abstract key of 100 triggers. The loop reads
each checkpoint with stock `ocp.load`, as NumPy or JAX arrays, whichever is faster here, and asks the whole key in one
jitted call. Each way runs in a process of its own, in turn; what it compiles is in its first call, given apart. Files
lie in the page cache. `command_s` is the whole command `wmjax audit`, which compiles, and first measures a width.
"""

import argparse
import contextlib
import subprocess
import sys
import tempfile
import time
from collections import defaultdict
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any
from unittest import mock

sys.path.insert(0, str(Path(__file__).parents[2]))  # the checkout

import jax
import numpy as np

from experiments import fragment
from experiments.audits import zoos
from experiments.timing import quartiles
from wmjax import checkpoint, stats
from wmjax.data import load
from wmjax.devices import host_bytes
from wmjax.keys import open_keys
from wmjax.models import Config, apply, default_config, shapes
from wmjax.suspects.contract import Wanted
from wmjax.suspects.network import from_config
from wmjax.train import Recipe, fit
from wmjax.zoo import audit as room
from wmjax.zoo import prepared
from wmjax.zoo.discover import discover
from wmjax.zoo.load import read_ahead
from wmjax.zoo.pack import write_packs
from wmjax.zoo.plan import make_plan
from wmjax.zoo.result import MATCH
from wmjax.zoo.scope import Level
from wmjax.zoo.score import Scorer

FAMILIES = {
    "resnet18": Config("resnet18", (8, 8, 1), 10, (16, 32, 64, 176)),
    "cnn": Config("cnn", (32, 32, 3), 10, (32, 64), (256,)),
    "ibm": default_config("cnn", (32, 32, 3), 10),
}
MARKING = Recipe(epochs=20, batch=64, learning_rate=0.05, key_per_batch=8)


def auditing(zoo: str, keys: str) -> zoos.Work:
    """The audit, with the seconds of its stages; reading goes on beside them."""
    opened, _ = open_keys(Path(keys))

    def work() -> dict[str, Any]:
        spent: dict[str, float] = defaultdict(float)
        with watched(spent):
            began = time.perf_counter()
            result = room.audit(zoo, opened)
            seconds = time.perf_counter() - began
        score = spent["answers"]
        parts = {
            "discover": spent["discover"],
            "width": spent["choose_width"],
            "score": score,
            "statistics": spent["ask_all"] - score + spent["conclude_audit"],
        }
        stages = {name: round(value, 4) for name, value in parts.items()}
        stages["waiting_for_weights_and_rest"] = round(seconds - sum(parts.values()), 4)
        return {"seconds": seconds, "found": int((result.outcomes == MATCH).sum()), "stages": stages}

    return work


@contextlib.contextmanager
def watched(spent: dict[str, float]) -> Iterator[None]:
    """Adds up the seconds that the audit spends in its rooms; what measures a width is not counted as scoring."""

    def timed(name: str, function: Callable[..., Any]) -> Callable[..., Any]:
        def call(*arguments: Any, **options: Any) -> Any:
            before, began = spent["answers"], time.perf_counter()
            found = function(*arguments, **options)
            spent[name] += time.perf_counter() - began
            if name == "choose_width":
                spent["answers"] = before
            return found

        return call

    with contextlib.ExitStack() as stack:
        for home, name in [
            (room, "discover"),
            (prepared, "choose_width"),
            (prepared, "ask_all"),
            (room, "conclude_audit"),
            (Scorer, "answers"),
        ]:
            stack.enter_context(mock.patch.object(home, name, timed(name, getattr(home, name))))
        yield


def reading(zoo: str, keys: str) -> zoos.Work:
    """Reading alone: the audit's chunks in its order, thrown away."""
    opened, _ = open_keys(Path(keys))
    found = discover(Path(zoo), Wanted(images=tuple(key.spec.image for key in opened.values())))
    plan = make_plan(found, opened, Level("fdr", 0.01), host_bytes() // 4)

    def work() -> dict[str, Any]:
        began = time.perf_counter()
        for chunk in read_ahead(plan.chunks(), plan.rows):
            assert not chunk.failures
        return {"seconds": time.perf_counter() - began}

    return work


def looping(zoo: str, keys: str, sample: str) -> zoos.Work:
    """The loop over some of the checkpoints."""
    from orbax.checkpoint import v1 as ocp

    opened, _ = open_keys(Path(keys))
    (key,) = opened.values()
    paths = sorted(Path(zoo).iterdir())[: int(sample)]
    config = checkpoint.read_metadata(paths[0]).model
    like = jax.tree.map(lambda leaf: np.empty(leaf.shape, leaf.dtype), shapes(config))
    answer = jax.jit(lambda tree, images: apply(config, like._replace(**tree), images)[0].argmax(axis=-1))
    readers: dict[str, Callable[[Path], Any]] = {"numpy": partial(ocp.load, abstract_state=like._asdict())}
    readers["jax"] = ocp.load

    def run(reader: str, some: list[Path]) -> tuple[float, int]:
        began, found = time.perf_counter(), 0
        for path in some:
            same = int((np.asarray(answer(readers[reader](path.absolute()), key.images)) == key.labels).sum())
            found += stats.binomial_p(same, len(key.labels), key.spec.classes) < 1e-6
        return time.perf_counter() - began, found

    began = time.perf_counter()
    for name in readers:
        run(name, paths[:2])
    first = time.perf_counter() - began
    tried = {name: run(name, paths[:8])[0] / len(paths[:8]) for name in readers}
    best = min(tried, key=lambda name: tried[name])

    def work() -> dict[str, Any]:
        seconds, found = run(best, paths)
        return {
            "seconds": seconds,
            "found": found,
            "arrays": best,
            "tried_s_a_model": tried,
            "first_four_models_s": first,
        }

    return work


def worker(kind: str, *arguments: str) -> zoos.Work:
    """One of the ways, by name."""
    ways: dict[str, Callable[..., zoos.Work]] = {"audit": auditing, "read": reading, "loop": looping}
    return ways[kind](*arguments)


def command_seconds(zoo: Path, keys: Path, folder: Path) -> list[float]:
    """Wall time of the whole command, twice: the second time the width is known."""
    taken = []
    for number in range(2):
        command = [sys.executable, "-m", "wmjax", "audit", str(zoo), "--keys", str(keys)]
        command += ["--out", str(folder / f"report-{zoo.name}-{number}"), "--json"]
        began = time.perf_counter()
        cores = zoos.environment(folder / f"cache-{zoo.name}", all_cores=True)
        done = subprocess.run(command, env=cores, stdout=subprocess.DEVNULL, check=False)
        assert done.returncode in (0, 1, 3), done.returncode
        taken.append(round(time.perf_counter() - began, 2))
    return taken


def measure(config: Config, models: int, repeats: int, folder: Path) -> dict[str, Any]:
    """One family: writes its zoo and times every way."""
    network, keys, loose, packed = from_config(config), folder / "keys", folder / "loose", folder / "packed"
    (key,) = zoos.write_keys(keys, config.image, 1, 100)
    digits = load("digits").train
    marked = config.image == digits.image
    thief = zoos.flatten(fit(config, MARKING, digits, [key], title="thief")) if marked else None
    zoos.write_loose(loose, config, network, models, thief)
    began = time.perf_counter()
    write_packs(discover(loose, Wanted()), packed)
    pack_s = time.perf_counter() - began
    sample = min(64, models)
    with contextlib.ExitStack() as stack:
        start = lambda *way, **cores: stack.enter_context(zoos.process(__file__, *way, **cores))  # noqa: E731
        turns = {
            "packed": start("audit", packed, keys, all_cores=True),
            "loose": start("audit", loose, keys, all_cores=True),
            "loop": start("loop", loose, keys, sample),
            "reading packed": start("read", packed, keys, all_cores=True),
            "reading loose": start("read", loose, keys, all_cores=True),
        }
        first, rounds = zoos.in_turn(turns, repeats)
    asked = {name: sample if name == "loop" else models for name in turns}
    rate = {name: asked[name] / zoos.column(rounds[name], "seconds") for name in turns}
    return {
        "config": config.to_json(),
        "parameters": network.bytes // 4,
        "tensors": len(network.shapes),
        "models": models,
        "thieves": -(-models // 16) if marked else 0,
        "found": {name: first[name]["found"] for name in ("packed", "loose", "loop")},
        "loop_sample": sample,
        "loop": {name: first["loop"][name] for name in ("arrays", "tried_s_a_model", "first_four_models_s")},
        "repeats": repeats,
        "pack_s": round(pack_s, 2),
        "models_per_s": {name: quartiles(values, 1) for name, values in rate.items()},
        "ratio_to_loop": {name: quartiles(rate[name] / rate["loop"], 2) for name in ("packed", "loose")},
        "first_call_s": {name: round(first[name]["seconds"], 2) for name in ("packed", "loose")},
        "command_s": {path.name: command_seconds(path, keys, folder) for path in (packed, loose)},
        "stages_s": {
            way: {
                stage: quartiles(zoos.column([turn["stages"] for turn in rounds[way]], stage), 3)
                for stage in first[way]["stages"]
            }
            for way in ("packed", "loose")
        },
    }


def main(arguments: list[str] | None = None) -> None:
    from experiments import record

    parser = argparse.ArgumentParser()
    parser.add_argument("--family", nargs="+", choices=FAMILIES, default=["resnet18", "cnn"])
    parser.add_argument("--models", type=int, default=512)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--folder", type=Path, help="where the zoos are written; removed afterwards")
    parser.add_argument("--small", action="store_true")
    options = parser.parse_args(arguments)
    families = {"small": zoos.TINY} if options.small else {name: FAMILIES[name] for name in options.family}
    models, repeats = (4, 1) if options.small else (options.models, options.repeats)
    cases = {}
    for name, config in families.items():
        with tempfile.TemporaryDirectory(dir=options.folder) as folder:
            cases[name] = measure(config, models, repeats, Path(folder))
    record.write("audit_speed" if "ibm" not in cases else "audit_speed_ibm", {"families": cases})


def rows(figures: dict[str, Any]) -> list[str]:
    rows = []
    for family, case in figures["families"].items():
        rate, size = case["models_per_s"], f"{case['parameters'] / 1e6:.2f} M weights"
        for way, words in (("packed", "a packed zoo"), ("loose", "loose checkpoints")):
            rows.append(
                fragment.row(
                    f"audit of {words} against a stock loop, {family}, {size}",
                    f"{fragment.median(case['ratio_to_loop'][way])} times as fast",
                    f"{rate[way]['median']:.0f} and {rate['loop']['median']:.0f} models a second; "
                    f"{case['found'][way]} of {case['thieves']} thieves found; first call "
                    f"{case['first_call_s'][way]:.0f} s, whole command {case['command_s'][way][0]:.0f} s",
                    f"{case['models']} models, {case['repeats']} pairs; {fragment.source(figures, __file__)}",
                )
            )
    return rows


if __name__ == "__main__":
    if sys.argv[1:2] == ["--worker"]:
        zoos.serve(worker(*sys.argv[2:]))
    else:
        main()
