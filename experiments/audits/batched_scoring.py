"""The audit's walk over many models against the best that single-model calls do, and against a naive `vmap`.

Command   python experiments/audits/batched_scoring.py [--case cnn resnet18 vgg lenet] [--repeats 7] [--small]
          on a GPU: XLA_PYTHON_CLIENT_PREALLOCATE=false python experiments/audits/batched_scoring.py --models 64
Expected  the walk at least as fast as single calls; a naive `vmap` several times slower on CPUs
Time      about 8 minutes on 2 CPU cores

All weights lie on the devices. The walk is `Scorer.answers` at the width that the audit would choose, for blocks of 16
images (one key) and 64 (four keys or more). A single call is the jitted network on one model after another, at the
best of several batch sizes; one device has all the cores then. The naive way is `vmap` of the same network with XLA's
own convolution, all models in one call. FLOPs are those of the plain network, by XLA's count. `matmul` is the rate of
one large matrix product here.
"""

import argparse
import contextlib
import os
import sys
import time
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any
from unittest import mock

sys.path.insert(0, str(Path(__file__).parents[2]))  # the checkout

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array, lax

from experiments import fragment
from experiments.audits import zoos
from experiments.timing import quartiles
from wmjax.models import Config, default_config
from wmjax.suspects.contract import Network
from wmjax.suspects.modules import from_module
from wmjax.suspects.network import from_config
from wmjax.zoo.score import Scorer, mesh_for
from wmjax.zoo.width import choose_width

CASES = ("cnn", "resnet18", "vgg", "lenet")
BLOCKS, BATCHES = (16, 64), (16, 32, 64, 128)
IN_A_ZOO = 10_000  # models, for which the width is chosen


def network_of(case: str) -> Network:
    """The network of a case; `tiny` is for a trial."""
    configs = {
        "cnn": Config("cnn", (32, 32, 3), 10, (32, 64), (256,)),
        "ibm": default_config("cnn", (32, 32, 3), 10),
        "resnet18": Config("resnet18", (8, 8, 1), 10, (16, 32, 64, 176)),
        "vgg": default_config("vgg", (32, 32, 3), 10),
        "tiny": zoos.TINY,
    }
    return from_module("experiments.audits.zoos:lenet", (28, 28, 1)) if case == "lenet" else from_config(configs[case])


def pictures(network: Network, count: int) -> np.ndarray:
    """Random images that it takes."""
    return np.random.default_rng(0).integers(0, 256, (count, *network.image), dtype=np.uint8)


def timed(images: int, call: Callable[[], Any], **more: Any) -> dict[str, Any]:
    """Runs a call to its end and says how many images it answered."""
    began = time.perf_counter()
    jax.block_until_ready(call())
    return {"images": images, "seconds": time.perf_counter() - began, **more}


def walk(case: str, models: str, block: str) -> zoos.Work:
    """The audit's way."""
    network, count, asked = network_of(case), int(models), int(block)
    scorer = Scorer(network, mesh_for(count))
    weights, images = scorer.place(zoos.stacked(network, count)), scorer.replicate(pictures(network, asked))
    width = choose_width(scorer, weights, images, asked, IN_A_ZOO)
    scorer = Scorer(network, scorer.mesh, width)
    rows, picks = np.arange(count), np.arange(asked, dtype=np.int32)
    return partial(
        timed,
        count * asked,
        lambda: scorer.answers(weights, rows, 0, images, picks),
        width=width,
        devices=scorer.mesh.size,
    )


def single(case: str, models: str, batch: str) -> zoos.Work:
    """The network jitted, one model after another."""
    network, count, asked = network_of(case), int(models), int(batch)
    own = [jax.device_put(zoos.draw(network, row)) for row in range(count)]
    images, answer = jax.device_put(pictures(network, asked)), jax.jit(network.logits)
    return partial(timed, count * asked, lambda: [answer(weights, images) for weights in own])


def naive(case: str, models: str, block: str) -> zoos.Work:
    """The network under `vmap`, its convolutions plain ones: XLA makes grouped convolutions of them."""
    network, count, asked = network_of(case), int(models), int(block)
    weights, images = jax.device_put((zoos.stacked(network, count), pictures(network, asked)))
    with plain_convolutions():
        answer = jax.jit(jax.vmap(network.logits, (0, None))).lower(weights, images).compile()
    return partial(timed, count * asked, lambda: answer(weights, images))


@contextlib.contextmanager
def plain_convolutions() -> Any:
    """Networks traced meanwhile convolve as JAX does without wmjax's rules."""

    def plain(strides: tuple[int, int], padding: Any) -> Callable[[Array, Array], Array]:
        return lambda x, kernel: lax.conv_general_dilated(
            x, kernel, strides, padding, dimension_numbers=("NHWC", "HWIO", "NHWC")
        )

    with mock.patch("wmjax.kernels.conv._many", plain):
        yield


def matmul(dtype: str, side: str) -> zoos.Work:
    """One large matrix product; its FLOPs in the place of images."""
    n = int(side)
    a = jax.random.normal(jax.random.key(0), (n, n), jnp.float32).astype(dtype)
    product = jax.jit(lambda a: a @ a)
    return partial(timed, 2 * n**3, lambda: product(a))


def flops(network: Network) -> float:
    """Of one image, as XLA counts the plain network's; on the host, since not every device's compiler counts."""
    with plain_convolutions(), jax.default_device(jax.local_devices(backend="cpu")[0]):
        lowered = jax.jit(lambda weights, images: network.logits(weights, images)).lower(
            network.shapes, jax.ShapeDtypeStruct((16, *network.image), jnp.uint8)
        )
    analysis: Any = lowered.cost_analysis()
    return float(analysis["flops"]) / 16


def worker(kind: str, *arguments: str) -> zoos.Work:
    """One of the ways, by name."""
    ways: dict[str, Callable[..., zoos.Work]] = {"walk": walk, "single": single, "naive": naive, "matmul": matmul}
    return ways[kind](*arguments)


def measure(case: str, models: int, repeats: int, blocks: Sequence[int], batches: Sequence[int]) -> dict[str, Any]:
    """Every way in turn, each in a process of its own."""
    with contextlib.ExitStack() as stack:

        def start(kind: str, images: int) -> Callable[[], Any]:
            way = zoos.process(__file__, kind, case, models, images, all_cores=kind == "walk")
            return stack.enter_context(way)

        turns = {f"walk {block}": start("walk", block) for block in blocks}
        turns |= {f"single {batch}": start("single", batch) for batch in batches}
        turns["naive 16"] = start("naive", 16)
        first, rounds = zoos.in_turn(turns, repeats)
    rate = {name: zoos.column(each, "images") / zoos.column(each, "seconds") for name, each in rounds.items()}
    best = max((name for name in rate if name.startswith("single")), key=lambda name: float(np.median(rate[name])))
    cost = flops(network_of(case))
    return {
        "image": network_of(case).image,
        "models": models,
        "repeats": repeats,
        "mflop_an_image": round(cost / 1e6, 3),
        "width": {name: first[name]["width"] for name in turns if name.startswith("walk")},
        "devices": first[f"walk {blocks[0]}"]["devices"],
        "images_per_s": {name: quartiles(values, 0) for name, values in rate.items()},
        "gflop_per_s": {name: round(cost * float(np.median(values)) / 1e9, 2) for name, values in rate.items()},
        "best_single": best,
        "ratio_to_best_single": {
            name: quartiles(rate[name] / rate[best], 3) for name in turns if not name.startswith("single")
        },
        "first_call_s": {name: round(turn["seconds"], 2) for name, turn in first.items()},
    }


def matmul_rates(side: int, repeats: int) -> dict[str, Any]:
    """GFLOP a second of a product of two square matrices."""
    rates = {}
    for dtype in ("float32", "bfloat16"):
        with zoos.process(__file__, "matmul", dtype, side) as turn:
            turn()
            rounds = [turn() for _ in range(repeats)]
        rates[dtype] = quartiles(zoos.column(rounds, "images") / zoos.column(rounds, "seconds") / 1e9, 1)
    return {"side": side, "gflop_per_s": rates}


def main(arguments: list[str] | None = None) -> None:
    from experiments import record

    parser = argparse.ArgumentParser()
    parser.add_argument("--case", nargs="+", choices=(*CASES, "ibm"), default=CASES)
    parser.add_argument("--models", type=int, default=16)
    parser.add_argument("--repeats", type=int, default=7)
    parser.add_argument("--small", action="store_true")
    options = parser.parse_args(arguments)
    repeats, models = (1, 3) if options.small else (options.repeats, options.models)
    side = 64 if options.small else 1024 if jax.default_backend() == "cpu" else 8192
    product = matmul_rates(side, repeats)
    if options.small:
        cases = {"tiny": measure("tiny", models, repeats, BLOCKS[:1], BATCHES[:2])}
    else:
        cases = {case: measure(case, models, repeats, BLOCKS, BATCHES) for case in options.case}
    peak = product["gflop_per_s"]["bfloat16"]["median"]
    for case in cases.values():
        case["share_of_bfloat16_matmul"] = {name: round(rate / peak, 4) for name, rate in case["gflop_per_s"].items()}
    record.write("batched_scoring", {"cores": os.cpu_count(), "matmul": product, "cases": cases})


def rows(figures: dict[str, Any]) -> list[str]:
    rows = []
    for name, case in figures["cases"].items():
        ratio = case["ratio_to_best_single"]
        size = "x".join(map(str, case["image"]))
        rows.append(
            fragment.row(
                f"scoring by the walk against the best single calls, {name} {size}",
                "times as fast: "
                + ", ".join(f"{fragment.median(ratio[way])} in blocks of {way.split()[1]}" for way in case["width"]),
                f"{case['gflop_per_s']['walk 16']:.0f} GFLOP a second; best single calls "
                f"{case['gflop_per_s'][case['best_single']]:.0f}; naive `vmap` {case['gflop_per_s']['naive 16']:.0f}",
                f"{case['models']} models, {case['repeats']} pairs; {fragment.source(figures, __file__)}",
            )
        )
    return rows


if __name__ == "__main__":
    if sys.argv[1:2] == ["--worker"]:
        zoos.serve(worker(*sys.argv[2:]))
    else:
        main()
