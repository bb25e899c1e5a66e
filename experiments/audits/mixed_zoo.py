"""An audit of a zoo in which each model is a family of its own: by the routes that it chooses, and with all compiled.

FOLDER has ONNX files of torchvision, as `suspects/torch_exports.py` writes them (random weights, seed 0); those
of `NAMES` are taken, 13 networks in the older exporter's files. The key is `abstract`, 100 triggers of 64x64x3 in 10
classes, of the secret that is 32 zeros. Each audit has a process of its own and keeps no compiled program.

Command   python experiments/audits/mixed_zoo.py FOLDER [--repeats 3]
Expected  the same verdicts after as many questions by both routes; under 20 s by those that are chosen
          (met: the verdicts; missed: 36 s. Three transformers and convnets take most of them: 16 to 33 ms an image on
          one core, read in 14 ways, 40 to 57 images, fewer in ways that were cleared before. Three small networks of
          random weights give one answer to everything, so nothing clears them, and they are asked about all 100)
Time      4 minutes on 2 CPU cores
"""

import argparse
import json
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np

sys.path.insert(0, str(Path(__file__).parents[2]))  # the checkout

from experiments import fragment, record
from experiments.audits import zoos
from experiments.timing import quartiles

NAMES = (
    "resnet18", "mobilenet_v3_small", "mobilenet_v2", "efficientnet_b0", "densenet121", "squeezenet1_1",
    "regnet_y_400mf", "mnasnet0_5", "shufflenet_v2_x0_5", "convnext_tiny", "swin_t", "swin_v2_t", "googlenet",
)  # fmt: skip
CHOSEN, COMPILED = "chosen", "compiled"


def audited(zoo: Path, way: str) -> dict[str, Any]:
    """One audit, in this process."""
    import jax

    import wmjax
    from wmjax.keys import derive_key, make_spec
    from wmjax.keys.specify import default_rule
    from wmjax.zoo import route
    from wmjax.zoo.grounds import AuditGround

    if way == COMPILED:
        route._COMPILING = 0.0  # nobody pays for a runtime then
    spec = make_spec("abstract", image=(64, 64, 3), classes=10, triggers=100)
    key = derive_key(bytes(32), spec, default_rule(spec))
    jax.devices()
    began = time.monotonic()
    result = wmjax.audit(zoo, {"key": key})
    seconds = time.monotonic() - began
    run = {family for family, said in result.remarks.items() if any(g.code == AuditGround.RUNTIME for _, g in said)}
    return {
        "seconds": round(seconds, 2),
        "by_runtime": sum(family in run for family in result.families),
        "found": {one.model: [one.verdict, one.queries, one.matches] for one in result},
        "bits": {one.model: one.evidence_bits for one in result},
    }


def in_a_process(zoo: Path, way: str) -> dict[str, Any]:
    """The same in one of its own, without a cache of compiled programs."""
    with tempfile.TemporaryDirectory() as cache:
        told = zoos.environment(Path(cache), all_cores=True)
        command = [sys.executable, __file__, str(zoo), "--way", way]
        done = subprocess.run(command, env=told, stdout=subprocess.PIPE, check=True)
    found: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return found


def main() -> None:
    """Audits by both ways in turn."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--way", choices=(CHOSEN, COMPILED), help="one audit of a zoo, told and not recorded")
    options = parser.parse_args()
    if options.way:
        print(json.dumps(audited(options.folder, options.way)))
        return
    told: dict[str, list[dict[str, Any]]] = {CHOSEN: [], COMPILED: []}
    with tempfile.TemporaryDirectory() as zoo:
        for name in NAMES:
            shutil.copy(options.folder / f"torchvision-{name}.script.onnx", Path(zoo, f"{name}.onnx"))
        for _ in range(options.repeats):
            for way, found in told.items():
                found.append(in_a_process(Path(zoo), way))
                print(way, found[-1]["seconds"], file=sys.stderr, flush=True)
    every = [one for found in told.values() for one in found]
    record.write("mixed_zoo", figures(told, every))


def figures(told: dict[str, list[dict[str, Any]]], every: list[dict[str, Any]]) -> dict[str, Any]:
    """What the audits took, and whether they said the same."""
    first = every[0]
    return {
        "models": len(first["found"]),
        "by_runtime": told[CHOSEN][0]["by_runtime"],
        "seconds": {way: quartiles(np.array([one["seconds"] for one in found]), 1) for way, found in told.items()},
        "same_verdicts": all(one["found"] == first["found"] for one in every),
        "largest_difference_bits": max(
            abs(one["bits"][model] - bits) for one in every for model, bits in first["bits"].items()
        ),
        "found": first["found"],
    }


def rows(figures: dict[str, Any]) -> list[str]:
    """Of the table of audits."""
    seconds = figures["seconds"]
    same = "the same verdicts after as many questions" if figures["same_verdicts"] else "other verdicts"
    return [
        fragment.row(
            f"audit of {figures['models']} ONNX models of torchvision, each a family of its own",
            f"{fragment.median(seconds[CHOSEN], 1)} s",
            f"{figures['by_runtime']} of them run by ONNX Runtime; {fragment.median(seconds[COMPILED], 1)} s with all "
            f"compiled, {same}",
            fragment.source(figures, __file__),
        )
    ]


if __name__ == "__main__":
    main()
