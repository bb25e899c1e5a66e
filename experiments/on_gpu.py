"""Every figure that is still wanted on a GPU, by one command and in minutes, the most wanted first.

Command   python experiments/on_gpu.py [--minutes 8] [--only PART ...] [--data FOLDER] [--wheels FOLDER]
          [--torch-python PYTHON] [--small]
          FOLDER has CIFAR-10 and MNIST in TFDS form, wheels what this Python lacks, PYTHON PyTorch; nothing is fetched
Expected  said before the first run, for an H100: matrix products 700 TFLOP/s in bfloat16, 350 in float32 as JAX takes
          it by default, 45 in full float32; 2.8 TB/s read and written; a marked step at most 1.01 of an unmarked one;
          torch.compile 1.2 times our images a second and eager PyTorch 0.9; on the JPEG copy 93 % after 10 epochs in
          5 s and no 94 % within 16; 1,000 networks audited at 8 times the loop's rate; the walk under 10 % of the
          bfloat16 rate; attacks on digits ten times two cores' speed, nearly all of it compiling
Time      8 minutes on an H100, `--small` 2 minutes on 2 CPU cores

Each part runs in a process of its own within its limit: one that overruns, crashes or fills the memory is recorded as
such with what it had found, and the next goes on. `results/on_gpu.json` holds every figure as soon as it is there; with
--only, the other parts of an earlier run stay (`environment` is the last run's, `about` each part's own). Parts share a
cache of compiled programs: a first call that says few seconds found its program there. What a part's figures are says
its function in `gpu_parts.py`.
"""

import argparse
import contextlib
import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

HERE = Path(__file__).parent
RESULTS = HERE / "results"
LIMITS = {  # seconds, in the order of wanting
    "rates": 60,
    "step": 120,
    "throughput": 180,
    "speed": 180,
    "audit": 150,
    "scoring": 180,
    "kernels": 60,
    "library": 120,
    "wide": 90,
    "attacks": 150,
    "scan": 90,
    "many": 90,
}


def environment(options: argparse.Namespace, folder: Path) -> dict[str, str]:
    """For the parts: our code and the wheels on the path, one cache of programs, no memory taken in advance."""
    paths = [str(HERE.parent)]
    if options.wheels:
        wheels = sorted(map(str, options.wheels.glob("*.whl")))
        install = [sys.executable, "-m", "pip", "install", "--quiet", "--no-index", "--no-deps", "--no-compile"]
        subprocess.run([*install, "--target", str(folder / "site"), *wheels], check=True)
        paths.append(str(folder / "site"))
    found = {**os.environ, "PYTHONPATH": os.pathsep.join([*paths, os.environ.get("PYTHONPATH", "")])}
    found |= {
        "XLA_PYTHON_CLIENT_PREALLOCATE": "false",
    }
    found.setdefault("JAX_COMPILATION_CACHE_DIR", str(folder / "programs"))
    return found | ({"TFDS_DATA_DIR": str(options.data.absolute())} if options.data else {})


def command(part: str, path: Path, options: argparse.Namespace) -> list[str]:
    """What runs a part, which keeps its figures in a file."""
    line = [sys.executable, str(Path(__file__).absolute()), "--worker", part, "--keep", str(path)]
    return [*line, "--torch-python", options.torch_python, *(["--small"] if options.small else [])]


def run(
    line: list[str], path: Path, limit: float, given: dict[str, str], told: Callable[[dict[str, Any]], None]
) -> None:
    """Runs a part to its end or its limit, and tells what it has found so far, again and again."""
    began = time.monotonic()
    errors = path.with_suffix(".errors")
    with (
        errors.open("w") as stream,
        subprocess.Popen(line, env=given, stderr=stream, start_new_session=True) as process,
    ):
        while process.poll() is None and time.monotonic() - began < limit:
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(timeout=1)
            told({"state": "running", **_found(path)})
        ended = process.poll()
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)  # and what it started
    state = {None: "overran", 0: "done"}.get(ended, "failed")
    said = errors.read_text()
    words = {"why": next(iter(said.strip().splitlines()[::-1]), "")} if state == "failed" else {}
    sys.stderr.write(said[-3000:])
    told({"state": state, "seconds": round(time.monotonic() - began, 1), **words, **_found(path)})


def _found(path: Path) -> dict[str, Any]:
    return json.loads(path.read_text()) if path.exists() else {}


def work(options: argparse.Namespace) -> None:
    """The other side: one part, here."""
    import gpu_parts
    import record

    about = {name: record.ENVIRONMENT[name] for name in ("commit", "date", "devices")}
    told: dict[str, Any] = {"environment": record.ENVIRONMENT, "about": about, "figures": {}}

    def keep(name: str, figures: Any) -> None:
        told["figures"][name] = figures
        half = options.keep.with_suffix(".half")
        half.write_text(json.dumps(told))
        half.replace(options.keep)

    gpu_parts.PARTS[options.worker](gpu_parts.Options(options.small, options.torch_python), keep)


def all_parts(options: argparse.Namespace) -> None:
    """Every part that is asked for, while there is time; the results are written whenever there are more."""
    deadline, out = time.monotonic() + 60 * options.minutes, RESULTS / "on_gpu.json"
    RESULTS.mkdir(exist_ok=True)
    results = _found(out) if options.only else {}
    results = {"environment": results.get("environment", {}), "parts": results.get("parts", {})}
    with tempfile.TemporaryDirectory() as place:
        given = environment(options, Path(place))
        for part in [name for name in LIMITS if name in (options.only or LIMITS)]:

            def told(found: dict[str, Any], part: str = part) -> None:
                results["environment"] = found.pop("environment", results["environment"])
                results["environment"]["command"] = " ".join(["python", "experiments/on_gpu.py", *sys.argv[1:]])
                results["parts"][part] = found
                out.write_text(json.dumps(results, indent=1) + "\n")

            limit = min(LIMITS[part], deadline - time.monotonic())
            if limit < LIMITS[part] / 3:  # it would hardly compile
                told({"state": "no time left"})
                continue
            path = Path(place) / f"{part}.json"
            run(command(part, path, options), path, limit, given, told)
            found = results["parts"][part]
            print(part, found["state"], found["seconds"], json.dumps(found.get("figures", {}))[:1500], flush=True)


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--minutes", type=float, default=8)
    parser.add_argument("--only", nargs="+", choices=LIMITS)
    parser.add_argument("--data", type=Path)
    parser.add_argument("--wheels", type=Path)
    parser.add_argument("--torch-python", default=sys.executable)
    parser.add_argument("--small", action="store_true")
    parser.add_argument("--worker", choices=LIMITS, help=argparse.SUPPRESS)
    parser.add_argument("--keep", type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args(arguments)
    work(options) if options.worker else all_parts(options)


if __name__ == "__main__":
    main()
