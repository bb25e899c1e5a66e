"""Every figure that is still wanted on a GPU, by one command and in minutes, the most wanted first.

Command   python experiments/gpu/on_gpu.py [--minutes 8] [--only PART ...] [--data FOLDER] [--wheels FOLDER]
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

sys.path.insert(0, str(Path(__file__).parents[2]))  # the checkout

from experiments import fragment, record

RESULTS = record.RESULTS
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
    paths = [str(record.HERE.parent)]
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
    from experiments.gpu import gpu_parts

    about = {name: record.environment()[name] for name in ("commit", "date", "devices")}
    told: dict[str, Any] = {"environment": record.environment(), "about": about, "figures": {}}

    def keep(name: str, figures: Any) -> None:
        told["figures"][name] = figures
        half = options.keep.with_suffix(".half")
        half.write_text(json.dumps(told))
        half.replace(options.keep)

    gpu_parts.PARTS[options.worker](gpu_parts.Options(options.small, options.torch_python), keep)


def all_parts(options: argparse.Namespace) -> None:
    """Every part that is asked for, while there is time; the results are written whenever there are more."""
    deadline, out = time.monotonic() + 60 * options.minutes, RESULTS / "on_gpu.json"
    RESULTS.mkdir(parents=True, exist_ok=True)
    results = _found(out) if options.only else {}
    results = {"environment": results.get("environment", {}), "parts": results.get("parts", {})}
    with tempfile.TemporaryDirectory() as place:
        given = environment(options, Path(place))
        for part in [name for name in LIMITS if name in (options.only or LIMITS)]:

            def told(found: dict[str, Any], part: str = part) -> None:
                results["environment"] = found.pop("environment", results["environment"])
                results["environment"]["command"] = " ".join(["python", "experiments/gpu/on_gpu.py", *sys.argv[1:]])
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


def rows(figures: dict[str, Any]) -> list[str]:
    """A row for each figure that this run has."""
    makers = {
        "step": step_rows,
        "throughput": throughput_rows,
        "speed": speed_rows,
        "library": library_rows,
        "audit": audit_rows,
        "scoring": scoring_rows,
        "attacks": attack_rows,
        "scan": scan_rows,
    }
    parts = figures["parts"]
    rows = []
    for name, rows_of in makers.items():
        if found := parts.get(name, {}).get("figures"):
            made_by = fragment.on_device(parts[name]["about"], __file__)
            rows += rows_of(found, parts["rates"]["figures"], made_by)
    return rows


def step_rows(figures: dict[str, Any], rates: dict[str, Any], made_by: str) -> list[str]:
    rows = []
    for name, case in figures.items():
        low, high = case["ratio_quartiles"]
        ratio = f"{case['ratio_median']:.3f} (quartiles {low:.3f} to {high:.3f})"
        step = f"{case['ms_median']['marked'] / case['steps']:.2f} ms a step of {case['batch']}"
        if "tflop_per_s" in case:
            share = case["tflop_per_s"] / rates["matmul_tflop_per_s"]["bfloat16"]
            step += f"; {case['tflop_per_s']:.0f} TFLOP a second, {100 * share:.0f} % of a matrix product's"
        what = f"a step with the key / without, {name}, CIFAR-10's size"
        rows.append(fragment.row(what, ratio, step, f"{case['pairs']} pairs; {made_by}"))
    return rows


def throughput_rows(figures: dict[str, Any], rates: dict[str, Any], made_by: str) -> list[str]:
    rate, ratio = figures["images_per_s"], figures["ratio_to_wmjax_unmarked"]
    theirs = f"PyTorch {figures['pytorch']['torch']}"
    return [
        fragment.row(
            f"images trained a second, {name.replace('torch', theirs)} / wmjax unmarked, resnet18 bfloat16",
            fragment.median(ratio[name], 3),
            f"{rate[name]['median']:,.0f} and {rate['wmjax unmarked']['median']:,.0f} a second, batch "
            f"{figures['settings']['batch']}",
            f"{figures['repeats']} repeats; {made_by}",
        )
        for name in rate
        if name != "wmjax unmarked"
    ]


def speed_rows(figures: dict[str, Any], rates: dict[str, Any], made_by: str) -> list[str]:
    rows = []
    for epochs, found in figures.items():
        marked, clean = found["summary"]["marked"], found["summary"]["unmarked"]
        accuracy = [f"{kind['accuracy']['mean']:.2f}" for kind in (marked, clean)]
        first = [f"{kind['seconds_to']['78.6']['mean']:.2f}" for kind in (marked, clean)]
        reached = sum(
            kind["seconds_to"]["94.0"]["n"] - kind["seconds_to"]["94.0"]["missing"] for kind in (marked, clean)
        )
        verdicts = marked["one_view"]["verdicts"] + clean["one_view"]["verdicts"]
        rows.append(
            fragment.row(
                f"CIFAR-10 in {epochs} of the speed recipe, abstract key of 100",
                f"{accuracy[0]} % marked, {accuracy[1]} % clean; 94 % reached by {reached} of {len(verdicts)}",
                f"{marked['train_s']['mean']:.2f} s of training, {first[0]} and {first[1]} s to 78.6 %; "
                f"{marked['one_view']['learned']['mean']:.0f} learned; {', '.join(verdicts)}",
                f"{marked['accuracy']['n']} seeds; {made_by}",
            )
        )
    return rows


def library_rows(figures: dict[str, Any], rates: dict[str, Any], made_by: str) -> list[str]:
    _, marked, match, clean, cleared = figures["commands"]["commands"]
    return [
        fragment.row(
            f"CIFAR-10, the commands as typed, vgg, {marked['steps']:,} steps",
            f"{100 * marked['test_accuracy']:.2f} % marked, {100 * clean['test_accuracy']:.2f} % clean",
            f"{marked['wall_s']:.0f} and {clean['wall_s']:.0f} s; {match['verdict']} after {match['queries']} queries; "
            f"clean model: {cleared['verdict']} after {cleared['queries']}",
            f"1 seed; {made_by}",
        )
    ]


def audit_rows(figures: dict[str, Any], rates: dict[str, Any], made_by: str) -> list[str]:
    rate, zoo = figures["models_per_s"], figures["zoo"]
    return [
        fragment.row(
            f"models audited a second / stock loop, packed, {zoo['parameters'] / 1e6:.2f} M weights",
            fragment.median(figures["ratio_to_loop"]),
            f"{rate['packed']['median']:.0f} and {rate['loop']['median']:.0f} a second; "
            f"{figures['found']['packed']} of {zoo['thieves']} thieves found; "
            f"reading alone {rate['reading packed']['median']:,.0f} a second",
            f"{zoo['models']:,} models, {zoo['loose']} of them different, 3 pairs; {made_by}",
        )
    ]


def scoring_rows(figures: dict[str, Any], rates: dict[str, Any], made_by: str) -> list[str]:
    peak, rows = rates["matmul_tflop_per_s"]["bfloat16"], []
    for family, found in figures.items():
        ways = {name: way["tflop_per_s"] for name, way in found.items() if "," in name}
        best = max((name for name in ways if name.startswith("walk") and "float32" in name), key=ways.__getitem__)
        halves = [f"{rate:.0f} ({name})" for name, rate in ways.items() if name.endswith("bfloat16")]
        rows.append(
            fragment.row(
                f"scoring, share of a bfloat16 matrix product's rate, {family}, {best}",
                f"{100 * ways[best] / peak:.1f} %",
                f"{ways[best]:.0f} of {peak:.0f} TFLOP a second; in bfloat16 {', '.join(halves)}",
                f"{found['models']} models; {made_by}",
            )
        )
    return rows


def attack_rows(figures: dict[str, Any], rates: dict[str, Any], made_by: str) -> list[str]:
    tried = [part for name, part in figures.items() if name != "victims"]
    return [
        fragment.row(
            f"{len(tried)} attacks of the quick suite on {figures['victims']['networks']} digits networks",
            f"{sum(part['seconds'] for part in tried):.0f} s",
            f"{sum(part['tried'] for part in tried):,} judged; {figures['victims']['seconds']:.0f} s for the victims",
            made_by,
        )
    ]


def scan_rows(figures: dict[str, Any], rates: dict[str, Any], made_by: str) -> list[str]:
    rows = []
    for case in figures.values():
        low, high = case["ratio_quartiles"]
        what = f"{case['steps']} steps in one program / in {case['steps']}, {case['model']} "
        what += "x".join(map(str, case["image"]))
        ratio = f"{case['ratio_median']:.3f} (quartiles {low:.3f} to {high:.3f})"
        step = f"{case['ms_median']['scan'] / case['steps']:.2f} ms a step of {case['batch']}"
        rows.append(fragment.row(what, ratio, step, f"{case['pairs']} pairs; {made_by}"))
    return rows


if __name__ == "__main__":
    main()
