"""How fast an accelerator scores models that lie on it: the walk at several widths, in float32 and bfloat16."""

import dataclasses
from collections.abc import Callable
from functools import partial
from typing import Any

import jax
import numpy as np
from jax.sharding import SingleDeviceSharding

from experiments.audits import batched_scoring, zoos
from experiments.timing import per_call
from wmjax.models import Config, apply
from wmjax.suspects.contract import Network, Weights
from wmjax.suspects.network import from_config
from wmjax.zoo.score import Scorer, mesh_for

WALKS = [  # images in a call, models side by side, arithmetic
    (16, 16, "float32"),
    (16, 1, "float32"),
    (64, 16, "float32"),
    (64, 16, "bfloat16"),
    (16, 16, "bfloat16"),
    (64, 1, "float32"),
    (16, 4, "float32"),
]
SINGLE = [(100, "float32"), (1000, "float32"), (1000, "bfloat16")]


def measure(config: Config, models: int, keep: Callable[[Any], None]) -> None:
    """The walk over models of one family, single calls, and how far answers lie from those in full float32."""
    network = from_config(config)
    ways = {"float32": network, "bfloat16": dataclasses.replace(network, logits=partial(_half, config))}
    cost, weights = batched_scoring.flops(network), zoos.stacked(network, models)
    found: dict[str, Any] = {"models": models, "mflop_an_image": round(cost / 1e6, 2)}
    found["placing_gb_per_s"] = _placing(weights)
    keep(found)
    for images, width, kind in WALKS:
        if models % width == 0:
            seconds = _walk(ways[kind], weights, images, width)
            found[f"walk, {images} images, width {width}, {kind}"] = _speed(models * images, seconds, cost)
            keep(found)
    alone = {name: leaf[0] for name, leaf in weights.items()}
    for images, kind in SINGLE:
        seconds = _single(ways[kind], alone, images)
        found[f"single call, {images} images, {kind}"] = _speed(images, seconds, cost)
        keep(found)
    keep({**found, "against_full_float32": _differences(ways, weights)})


def _placing(weights: Weights) -> dict[str, float]:
    """Gigabytes of weights a second from the host's memory to the device: as the audit moves them, and by way of memory
    that the device can read itself."""
    gigabytes = sum(leaf.nbytes for leaf in weights.values()) / 1e9
    device = SingleDeviceSharding(jax.local_devices()[0])
    host = device.with_memory_kind("pinned_host")
    pinned = jax.block_until_ready(jax.device_put(weights, host))
    ways = {"as it is": (weights, device), "to pinned memory": (weights, host), "from there": (pinned, device)}
    return {name: round(gigabytes / per_call(partial(jax.device_put, *way), 1, 3), 2) for name, way in ways.items()}


def _half(config: Config, weights: Weights, images: jax.Array) -> jax.Array:
    return apply(config, zoos.unflatten(config, weights), images, precision="bfloat16")[0]


def _speed(images: int, seconds: float, cost: float) -> dict[str, float]:
    return {"images_per_s": round(images / seconds), "tflop_per_s": round(1e-12 * images * cost / seconds, 3)}


def _walk(network: Network, weights: Weights, images: int, width: int) -> float:
    """Seconds of one walk over all models; they lie on the device, the answers come back to the host."""
    models = len(next(iter(weights.values())))
    scorer = Scorer(network, mesh_for(models), width)
    placed, bank = scorer.place(weights), scorer.replicate(batched_scoring.pictures(network, images))
    rows, picks = np.arange(models), np.arange(images, dtype=np.int32)
    return per_call(lambda: scorer.answers(placed, rows, 0, bank, picks), 1)


def _single(network: Network, weights: Weights, images: int) -> float:
    """Seconds of one call of one model, many set going together."""
    placed = jax.device_put((weights, batched_scoring.pictures(network, images)))
    return per_call(partial(jax.jit(network.logits), *placed), 20)


def _differences(ways: dict[str, Network], weights: Weights) -> dict[str, Any]:
    """Of random networks' answers: share of other labels, and the largest difference of logits beside their spread."""
    images = batched_scoring.pictures(ways["float32"], 100)
    own = [
        {name: leaf[row] for name, leaf in weights.items()} for row in range(min(8, len(weights["params/head/bias"])))
    ]
    with jax.default_matmul_precision("highest"):
        full = jax.jit(lambda *given: ways["float32"].logits(*given))
        exact = np.stack([np.asarray(full(each, images)) for each in own])
    told: dict[str, Any] = {"logits_deviate": round(float(exact.std()), 4)}
    for kind, network in ways.items():
        answer = jax.jit(network.logits)
        logits = np.stack([np.asarray(answer(each, images)) for each in own])
        told[f"{kind} by default"] = {
            "other_labels": float(np.mean(logits.argmax(-1) != exact.argmax(-1))),
            "largest_difference": float(np.abs(logits - exact).max()),
        }
    return told
