"""What is wanted on a GPU, tried on a CPU: every part at tiny size, and the command that runs them in their limits."""

import json
import sys
from typing import Any

import jax
import numpy as np
import pytest

from experiments import timing
from experiments.gpu import gpu_parts, gpu_throughput, on_gpu, speed_recipe
from experiments.training import cifar10, scan_ratio
from wmjax.models import Config
from wmjax.train import Recipe

STAND_IN = """
import json, sys, time
part, path = sys.argv[1:]
found = {"environment": {"commit": "c"}, "about": {}, "figures": {"of": part}}
if part != "step":
    open(path, "w").write(json.dumps(found))
if part == "rates":
    sys.exit("no memory")
if part == "throughput":
    time.sleep(60)
"""


def test_every_part_has_a_limit():
    assert list(on_gpu.LIMITS) == list(gpu_parts.PARTS)


def test_a_part_that_fails_or_overruns_harms_no_other(tmp_path, monkeypatch):
    monkeypatch.setattr(on_gpu, "RESULTS", tmp_path)
    monkeypatch.setattr(on_gpu, "LIMITS", {**on_gpu.LIMITS, "throughput": 2})
    monkeypatch.setattr(on_gpu, "command", lambda part, path, _: [sys.executable, "-c", STAND_IN, part, str(path)])
    on_gpu.main(["--only", "rates", "step", "throughput", "audit"])
    found = json.loads((tmp_path / "on_gpu.json").read_text())
    assert {name: part["state"] for name, part in found["parts"].items()} == {
        "rates": "failed",
        "step": "done",
        "throughput": "overran",
        "audit": "done",
    }
    assert "no memory" in found["parts"]["rates"]["why"]
    assert found["parts"]["throughput"]["figures"] == {"of": "throughput"}
    assert found["environment"]["commit"] == "c"
    on_gpu.main(["--only", "audit", "--minutes", "0"])
    again = json.loads((tmp_path / "on_gpu.json").read_text())
    assert again["parts"]["audit"] == {"state": "no time left"}
    assert again["parts"]["rates"] == found["parts"]["rates"]


@pytest.fixture
def kept(tmp_path, monkeypatch):
    """Runs a part at its small size, what others test or what compiles for long left out, and gives its figures."""

    def training(settings: Any, marked: bool) -> Any:
        return timing.training(Config("vgg", (8, 8, 1), 10, (2,)), Recipe(1, batch=8), 2, marked=marked, images=16)

    def experiment(settings: Any, splits: Any, runs: int, kinds: Any, keep: Any) -> None:
        keep({"epochs": settings.recipe.epochs, "images": len(splits.train), "kinds": kinds})

    monkeypatch.setattr(gpu_throughput, "training", training)
    monkeypatch.setattr(gpu_throughput, "measure", lambda settings, repeats, python: {"repeats": repeats})
    monkeypatch.setattr(scan_ratio, "STEPS", 2)
    monkeypatch.setattr(speed_recipe, "experiment", experiment)
    monkeypatch.setattr(cifar10, "wmjax", lambda *arguments, cwd: {"command": arguments})
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))

    def run(part: str) -> dict[str, Any]:
        figures: dict[str, Any] = {}
        with jax.numpy_dtype_promotion("standard"):  # Flax's batch norm asks for it in bfloat16
            gpu_parts.PARTS[part](gpu_parts.Options(small=True), figures.__setitem__)
        return json.loads(json.dumps(figures))

    return run


@pytest.mark.parametrize("part", sorted(set(on_gpu.LIMITS) - {"audit", "scoring"}))
def test_parts_at_tiny_size(kept, part):
    assert kept(part)


def test_every_thief_is_found(kept):
    found = kept("audit")
    assert found["found"] == {"packed": 4, "loop": 1}
    assert found["zoo"]["thieves"] == 4
    assert found["ratio_to_loop"]["median"] > 0


def test_the_walk_is_timed_at_every_width(kept):
    found = kept("scoring")["tiny"]
    assert found["walk, 16 images, width 4, float32"]["images_per_s"] > 0
    assert found["single call, 1000 images, bfloat16"]["images_per_s"] > 0
    assert found["against_full_float32"]["float32 by default"]["largest_difference"] < 1e-3
    assert np.isfinite(found["against_full_float32"]["bfloat16 by default"]["largest_difference"])
