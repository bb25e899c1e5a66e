"""Which families of PyTorch's image classifiers wmjax reads from files of their own libraries, and how exactly.

Command   python experiments/suspects/torch_families.py [--only NAME ...]
Expected  at least 28 of 31 families read, their scores as near to PyTorch's as float32 allows
Time      about 15 minutes on 2 CPU cores

Networks are small and random; batch norms have seen a few batches of noise, so that nothing dies on the way. Each is
saved by its own library: transformers' with the image processor of its family, timm's by `save_for_hf`, torchvision's
state dict by safetensors. wmjax is given the folder alone (torchvision's: its name too). The same uint8 pictures go
through the library's own processor and network, and through wmjax's function; `error` is the largest difference of
scores by the largest score, `own_error` the same of PyTorch's float32 against its float64: a family is read if the
error is below 1e-5 or three times that. `vmap`: two models side by side answer as alone.
"""

import argparse
import importlib.metadata
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[2]))  # the checkout

import jax
import numpy as np

from experiments import fragment, record
from wmjax.suspects.contract import Wanted
from wmjax.suspects.recognise import recognise
from wmjax.suspects.stored import read_weights

PICTURES, EXACT = 3, 1e-5


def measure(name: str, make: Callable[[str, Path], tuple[Any, Any]], models: tuple[str, ...] = ()) -> dict[str, Any]:
    """One family: saved, read and compared."""
    import torch

    torch.manual_seed(0)
    with tempfile.TemporaryDirectory() as place:
        network, prepare = make(name, Path(place))
        path = Path(place) / "model.safetensors"
        began = time.perf_counter()
        (stored,) = recognise(path, Wanted(models, ((64, 64, 3),), pixels="0..1"))
        weights, read = read_weights(stored), time.perf_counter()
        ours = stored.network
        pictures = np.random.default_rng(0).integers(0, 256, (PICTURES, *ours.image), np.uint8)
        with torch.no_grad():
            answer = network(prepare(pictures))
            exact = network.double()(prepare(pictures).double())
        wanted, exact = (getattr(scores, "logits", scores).numpy() for scores in (answer, exact))
        scores = np.asarray(jax.jit(ours.logits)(weights, pictures))
        compiled = time.perf_counter()
        two = {name: np.stack([array, 0.9 * array]) for name, array in weights.items()}
        found = {
            "error": float(np.abs(scores - wanted).max() / np.abs(wanted).max()),
            "own_error": float(np.abs(exact - wanted).max() / np.abs(wanted).max()),
            "same_answers": bool((scores.argmax(1) == wanted.argmax(1)).all()),
            "image": list(ours.image),
            "tensors": len(weights),
            "seconds_to_read": round(read - began, 2),
            "seconds_to_compile_and_ask": round(compiled - read, 2),
            "spread": float(wanted.std() / np.abs(wanted).max()),
        }
        try:
            side_by_side = np.asarray(jax.jit(jax.vmap(ours.logits, (0, None)))(two, pictures))
            found["vmap_error"] = float(np.abs(side_by_side[0] - wanted).max() / np.abs(wanted).max())
        except Exception as error:
            found["vmap_fails"] = f"{type(error).__name__} {str(error).splitlines()[0]:.200}"
        return found


def _agrees(found: dict[str, Any], what: str) -> bool:
    return what in found and found[what] < max(EXACT, 3 * found["own_error"])


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--only", nargs="*", default=[])
    options = parser.parse_args()
    from experiments.suspects import torch_made

    families: dict[str, dict[str, Any]] = {}
    for library, names, make in (
        ("transformers", torch_made.TRANSFORMERS, torch_made.by_transformers),
        ("timm", torch_made.TIMM, torch_made.by_timm),
        ("torchvision", torch_made.TORCHVISION, torch_made.by_torchvision),
    ):
        for name in names:
            if options.only and name not in options.only:
                continue
            models = (f"torchvision:{name}",) if library == "torchvision" else ()
            try:
                found = measure(name, make, models)
            except Exception as error:
                found = {"fails": f"{type(error).__name__} {str(error).splitlines()[0]:.200}"}
            families[f"{library} {name}"] = found
            print(library, name, found, file=sys.stderr, flush=True)
    read = [found for found in families.values() if _agrees(found, "error")]
    packages = ("torch", "torchax", "torchvision", "transformers", "timm")
    figures = {
        "families": families,
        "read": len(read),
        "of": len(families),
        "largest_error": max(found["error"] for found in read),
        "side_by_side": sum(_agrees(found, "vmap_error") for found in families.values()),
        "packages": {name: importlib.metadata.version(name) for name in packages},
    }
    if not options.only:
        record.write("torch_families", figures)


def rows(figures: dict[str, Any]) -> list[str]:
    worst = max(figures["families"].values(), key=lambda found: found["error"])
    return [
        fragment.row(
            "families of transformers, timm and torchvision read from the files of their own libraries",
            f"{figures['read']} of {figures['of']}; {figures['side_by_side']} of them side by side in one program",
            f"largest error {worst['error']:.1g} of the largest score, where PyTorch's own in float32 is "
            f"{worst['own_error']:.1g}",
            fragment.source(figures, __file__),
        )
    ]


if __name__ == "__main__":
    main()
