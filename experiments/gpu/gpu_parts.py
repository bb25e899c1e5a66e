"""The parts of `on_gpu.py`: each measures something and keeps its figures as soon as it has them."""

import dataclasses
import json
import shutil
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax.profiler import ProfileData

import wmjax
from experiments import timing
from experiments.attacks import robustness
from experiments.audits import audit_speed, batched_scoring, lenet_ratio, zoos
from experiments.evidence import null_models
from experiments.gpu import gpu_scoring, gpu_throughput, speed_recipe
from experiments.training import cifar10, scan_ratio
from wmjax.attacks.grid import try_suite
from wmjax.attacks.suite import make_suite
from wmjax.data.dataset import Dataset, Splits
from wmjax.models import Config, default_config
from wmjax.suspects.contract import Weights
from wmjax.suspects.network import from_config
from wmjax.train import Recipe
from wmjax.zoo.pack import write_packs
from wmjax.zoo.records import Entry, Zoo

Keep = Callable[[str, Any], None]  # figures under a name


class Options(NamedTuple):
    """What all parts are told: whether to be quick about it, and which Python has PyTorch."""

    small: bool
    torch_python: str = sys.executable


def rates(options: Options, keep: Keep) -> None:
    """What the card can do: products of two square matrices, and reading and writing an array once."""
    if shutil.which("nvidia-smi"):
        asked = ["nvidia-smi", "--query-gpu=name,driver_version,memory.total,power.limit", "--format=csv,noheader"]
        keep("card", subprocess.run(asked, capture_output=True, text=True, check=False).stdout.strip())
    side, numbers = (64, 1 << 10) if options.small else (8192, 1 << 28)
    found: dict[str, float] = {}
    for name, dtype, precision in (
        ("bfloat16", "bfloat16", None),
        ("float32, default precision", "float32", None),
        ("float32, highest precision", "float32", "highest"),
    ):
        a = jax.random.normal(jax.random.key(0), (side, side), jnp.float32).astype(dtype)
        product = jax.jit(partial(jnp.matmul, precision=precision))
        found[name] = round(2e-12 * side**3 / timing.per_call(partial(product, a, a), 20), 1)
        keep("matmul_tflop_per_s", {"side": side, **found})
    x = jax.random.normal(jax.random.key(1), (numbers,), jnp.float32)
    taken = timing.per_call(partial(jax.jit(lambda x: x + 1), x), 5)
    keep("read_and_write_gb_per_s", round(2e-9 * x.nbytes / taken, 1))


def step(options: Options, keep: Keep) -> None:
    """A step with the key against one without."""
    settings = gpu_throughput.SMALL if options.small else gpu_throughput.Settings()
    works = {kind: gpu_throughput.training(settings, kind == "marked") for kind in ("marked", "unmarked")}
    cost = batched_scoring.flops(from_config(Config("resnet18", (32, 32, 3), 10, settings.widths)))
    found = timing.compare(works, 1 if options.small else 10)
    seconds = found["ms_median"]["unmarked"] / 1000
    training = 3e-12 * cost * settings.batch * settings.steps / max(seconds, 1e-9)  # backward is twice forward
    about = {"batch": settings.batch, "steps": settings.steps, "tflop_per_s": round(training, 2)}
    keep("resnet18 bfloat16", {**about, **found})
    config = Config("vgg", (8, 8, 1), 10, (4,)) if options.small else default_config("vgg", (32, 32, 3), 10)
    steps = 2 if options.small else 50
    for batch, precision in ((128, "bfloat16"), (128, "float32")):
        recipe = Recipe(1, batch=batch, flip=True, crop=2, key_per_batch=4, precision=precision)  # type: ignore[arg-type]
        works = {kind: timing.training(config, recipe, steps, marked=kind == "marked") for kind in works}
        found = timing.compare(works, 1 if options.small else 20)
        keep(f"vgg {precision}", {"batch": batch, "steps": steps, **found})


def throughput(options: Options, keep: Keep) -> None:
    """ResNet-18 against PyTorch."""
    settings = gpu_throughput.SMALL if options.small else gpu_throughput.Settings()
    repeats = 1 if options.small else 7
    try:
        found = gpu_throughput.measure(settings, repeats, options.torch_python)
    except json.JSONDecodeError:  # PyTorch ended: it said why
        keep("failed", settings.modes)
        found = gpu_throughput.measure(dataclasses.replace(settings, modes=("eager",)), repeats, options.torch_python)
    for name, value in found.items():
        keep(name, value)


def speed(options: Options, keep: Keep) -> None:
    """CIFAR-10 to 78.6 and 94 %, marked and clean, with a short and a longer schedule."""
    settings = speed_recipe.SMALL if options.small else speed_recipe.FULL
    splits = _noise() if options.small else wmjax.load("cifar10")
    for epochs, runs in ((1, 1),) if options.small else ((10, 3), (16, 3)):
        given = dataclasses.replace(settings, recipe=dataclasses.replace(settings.recipe, epochs=epochs))
        speed_recipe.experiment(given, splits, runs, ["marked", "unmarked"], partial(keep, f"{epochs} epochs"))


def wide(options: Options, keep: Keep) -> None:
    """How far a wider network gets on these pictures in a longer schedule."""
    settings = speed_recipe.SMALL if options.small else speed_recipe.FULL
    recipe = settings.recipe if options.small else dataclasses.replace(settings.recipe, widths=(128, 512, 512))
    given = dataclasses.replace(settings, recipe=dataclasses.replace(recipe, epochs=1 if options.small else 32))
    splits = _noise() if options.small else wmjax.load("cifar10")
    speed_recipe.experiment(given, splits, 1, ["marked", "unmarked"], partial(keep, "wide"))


def _noise() -> Splits:
    """Pictures of nothing, for trials."""
    rng = np.random.default_rng(0)
    images, labels = rng.integers(0, 256, (320, 32, 32, 3), np.uint8), rng.integers(0, 10, 320).astype(np.int32)
    split = Dataset(images, labels, 10)
    return Splits("noise", split, split[:16])


@dataclasses.dataclass(frozen=True)
class Kept:
    """A `Source` of networks in memory, row after row: drawing a thousand would take longer than auditing them."""

    models: list[Weights]

    def read(self, start: int, stop: int, out: Weights) -> None:
        """As a zoo's other sources."""
        for row in range(start, stop):
            for name, leaf in self.models[row % len(self.models)].items():
                out[name][row - start] = leaf


def write_zoos(config: Config, models: int, loose: int, folder: Path) -> dict[str, Any]:
    """Packs so many networks, some of which lie loose too; every 16th is a thief that knows the key by heart."""
    network = from_config(config)
    (key,) = zoos.write_keys(folder / "keys", config.image, 1, 100)
    thief = lenet_ratio.memorised(network, key, 60)
    drawn = zoos.Drawn(network, thief)
    source = Kept([drawn.model(row) for row in range(loose)])
    began = time.perf_counter()
    write_packs(Zoo([Entry(f"{row:05d}", network, source, row) for row in range(models)], []), folder / "packed")
    packed = time.perf_counter()
    zoos.write_loose(folder / "loose", config, network, loose, thief)
    return {
        "models": models,
        "loose": loose,  # and different
        "thieves": sum(row % loose % 16 == 0 for row in range(models)),
        "parameters": network.bytes // 4,
        "pack_s": round(packed - began, 2),
        "write_loose_s": round(time.perf_counter() - packed, 2),
    }


def scoring(options: Options, keep: Keep) -> None:
    """What the walk reaches at every width."""
    cases = {"ibm": (audit_speed.FAMILIES["ibm"], 64), "resnet18": (default_config("resnet18", (32, 32, 3), 10), 16)}
    for name, (config, models) in ({"tiny": (zoos.TINY, 4)} if options.small else cases).items():
        gpu_scoring.measure(config, models, partial(keep, name))


def audit(options: Options, keep: Keep) -> None:
    """The audit of a pack of 1,000 networks of IBM's size, in this process, against the loop over 64 loose ones."""
    config, models, loose = (zoos.TINY, 16, 4) if options.small else (audit_speed.FAMILIES["ibm"], 1000, 64)
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place)
        keep("zoo", write_zoos(config, models, loose, folder))
        packed, keys = str(folder / "packed"), str(folder / "keys")
        works = {
            "packed": audit_speed.auditing(packed, keys),
            "reading packed": audit_speed.reading(packed, keys),
            "loop": audit_speed.looping(str(folder / "loose"), keys, str(loose)),
        }
        first, rounds = zoos.in_turn(works, 1 if options.small else 3)
    asked = {"packed": models, "reading packed": models, "loop": loose}
    rate = {name: asked[name] / zoos.column(rounds[name], "seconds") for name in works}
    keep("found", {name: first[name]["found"] for name in ("packed", "loop")})
    keep("first_call_s", {name: round(turn["seconds"], 2) for name, turn in first.items()})
    keep("models_per_s", {name: timing.quartiles(values, 1) for name, values in rate.items()})
    keep("ratio_to_loop", timing.quartiles(rate["packed"] / rate["loop"], 2))
    keep("loop", {name: first["loop"][name] for name in ("arrays", "tried_s_a_model", "first_four_models_s")})
    keep("stages_s", [turn["stages"] for turn in rounds["packed"]])


def kernels(options: Options, keep: Keep) -> None:
    """Where the time of a ResNet-18 step goes: the device's longest kernels, and its idle share."""
    settings = gpu_throughput.SMALL if options.small else gpu_throughput.Settings()
    work = gpu_throughput.training(settings, False)
    jax.block_until_ready(work())
    with tempfile.TemporaryDirectory() as folder:
        began = time.perf_counter()
        with jax.profiler.trace(folder):
            jax.block_until_ready(work())
        seconds = time.perf_counter() - began
        (path,) = Path(folder).glob("**/*.xplane.pb")
        spent, counts = Counter[str](), Counter[str]()
        for plane in ProfileData.from_file(str(path)).planes:
            for line in plane.lines if plane.name.startswith("/device:GPU") else ():
                for event in line.events if line.name.startswith("Stream") else ():
                    spent[event.name] += event.duration_ns / 1e6
                    counts[event.name] += 1
    convolutions = sum(ms for name, ms in spent.items() if "xmma" in name or "cudnn" in name or "conv" in name)
    keep("convolutions_ms", round(convolutions, 2))
    keep("steps", settings.steps)
    keep("traced_ms", round(1e3 * seconds, 1))
    keep("busy_ms", round(sum(spent.values()), 2))
    keep("longest", [[name[:120], round(ms, 2), counts[name]] for name, ms in spent.most_common(25)])
    keep("launches", sum(counts.values()))


def library(options: Options, keep: Keep) -> None:
    """The documentation's commands as a user types them."""
    given = ("1", "0", "digits", "8x8x1") if options.small else ("10", "0")
    with tempfile.TemporaryDirectory() as folder:
        keep("commands", {"seeds": [0], "n": 1, "commands": cifar10.pair(Path(folder), *given)})


def attacks(options: Options, keep: Keep) -> None:
    """The grid on digits, attack by attack; two CPU cores took 4239 s for the quick suite."""
    suite = make_suite("prune" if options.small else "quick")
    with tempfile.TemporaryDirectory() as folder:
        began = time.perf_counter()
        given = robustness.case("tiny" if options.small else "digits", Path(folder))
        keep("victims", {"networks": len(given.victims), "seconds": round(time.perf_counter() - began, 1)})
        for attack in suite.attacks:
            began = time.perf_counter()
            result = try_suite(suite._replace(attacks=(attack,), inversion=False), given)
            tried = {"tried": len(result.points), "seconds": round(time.perf_counter() - began, 1)}
            keep(attack[0].name, tried | {"skipped": result.skipped} if result.skipped else tried)


def scan(options: Options, keep: Keep) -> None:
    """Fifty steps in one program against fifty programs."""
    cases = [("vgg", (8, 8, 1), 8)] if options.small else scan_ratio.CASES
    for name, image, batch in cases:
        keep(f"{name} {image[0]}", scan_ratio.measure(name, image, batch, 1 if options.small else 7))


def many(options: Options, keep: Keep) -> None:
    """Eight networks trained at once against one after another."""
    settings = null_models.SMALL if options.small else dataclasses.replace(null_models.DIGITS, pairs=1)
    for name in settings.timed:
        keep(name, null_models.against_a_loop(settings, name, wmjax.load("digits").train))


PARTS = {
    part.__name__: part
    for part in (rates, step, throughput, speed, audit, scoring, kernels, library, wide, attacks, scan, many)
}
