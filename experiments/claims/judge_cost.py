"""Seconds and memory of judging a claim of 100 openings, the whole command from start to exit.

Command   python experiments/claims/judge_cost.py [--repeats 15] [--small]
Expected  under 2 s and 200 MB each, on a machine with nothing else to do
Time      about 3 minutes on 2 CPU cores

Four claims on a copy, each of a whole abstract key: images of 8x8x1 and 32x32x3, answers as labels and as
probabilities. `wmjax judge` gets nonce and suspect, makes the key again from the revealed secret and writes its page;
each time in a process of its own, the four in turn. No time stamp is among it: checking one takes milliseconds.

Beside them the files of `hostile_claims.py`, each below a mebibyte, once before a suspect that answers with scores:
under 3 s of the process's time and 300 MB.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[2]))  # the checkout

import numpy as np

from experiments import fragment
from experiments.claims import hostile_claims
from wmjax.evidence import claimant
from wmjax.evidence.claim import Attached
from wmjax.evidence.claim_file import read_claim
from wmjax.keys import Key, generate, make_spec, new_signer, sign_commitment
from wmjax.keys.statement import parse_commitment
from wmjax.suspects import from_callable

CASES = [(image, answers) for image in ((8, 8, 1), (32, 32, 3)) for answers in ("labels", "probabilities")]
NONCE, SINCE = bytes(32), "2026-01-01"


def answers(folder: Path, kind: str) -> Any:
    """A copy of the marked model, as `--suspect`: it looks its answers up."""
    with np.load(folder / "copy.npz") as stored:
        known = {image.tobytes(): int(label) for image, label in zip(stored["images"], stored["labels"], strict=True)}
    table = np.eye(10) * 0.91 + 0.009 if kind == "probabilities" else np.arange(10)
    return lambda images: table[[known[image.tobytes()] for image in images]]


def scores(images: np.ndarray) -> np.ndarray:
    """As `--suspect judge_cost:scores`: the same of all classes, for the key of the folder's claim."""
    return np.full((len(images), int(Path("classes").read_text())), 0.5, np.float32)


def ask(images: np.ndarray) -> np.ndarray:
    """As `--suspect judge_cost:ask`, in a case's folder."""
    return np.asarray(answers(Path.cwd(), Path.cwd().name.split()[-1])(images))


def write_case(folder: Path, key: Key, kind: str) -> None:
    """A claim on a copy, with all openings and the secret."""
    folder.mkdir()
    np.savez(folder / "copy.npz", images=key.images, labels=key.labels)
    signer = new_signer()
    public = parse_commitment(sign_commitment(key.commitment, signer), "the commitment")
    suspect = from_callable(answers(folder, kind))
    (folder / "claim.json").write_bytes(
        claimant.claim(suspect, key, signer, [Attached(public, ())], NONCE, lambda asked: None, whole=True, reveal=True)
    )


def write_hostile(folder: Path, raw: bytes) -> None:
    """A hostile claim in a folder of its own."""
    folder.mkdir()
    (folder / "claim.json").write_bytes(raw)
    (folder / "classes").write_text(str(read_claim(raw).commitment.spec.classes))


def judged(folder: Path, suspect: str = "judge_cost:ask", *more: str) -> dict[str, Any]:
    """One run of the command: its seconds, its peak memory, what it said; `more` are further arguments."""
    for old in folder.glob("verdict.*"):
        old.unlink()
    began = time.perf_counter()
    ended = subprocess.run(
        [sys.executable, __file__, "--worker", suspect, *more],
        cwd=folder,
        env={**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])},
        capture_output=True,
        text=True,
        check=True,
    )
    seconds = time.perf_counter() - began
    *said, cost = map(json.loads, ended.stdout.splitlines())
    if "error" in said[0] and not any(words in ended.stderr for words in hostile_claims.REFUSED.values()):
        raise SystemExit(f"{folder.name}: {ended.stderr}")
    verdict = said[0]["error"] if "error" in said[0] else said[0]["judgements"][0]["verdict"]
    return {"seconds": seconds, "verdict": verdict, **cost}


def worker(suspect: str, *more: str) -> None:
    """The command, and after it the most memory that this process had (not what forked it: `ru_maxrss` may be that)."""
    from wmjax.cli import main as command

    asked = ["--nonce-from", NONCE.hex(), "--suspect", suspect, "--suspect-since", SINCE]
    command(["judge", "claim.json", *asked, *more, "--out", "verdict", "--json"])
    status = dict(line.split(":", 1) for line in Path("/proc/self/status").read_text().splitlines())
    peak = int(status["VmHWM"].split()[0]) * 1024 / 1e6
    print(json.dumps({"cpu_seconds": time.process_time(), "peak_mb": peak, "jax": "jax" in sys.modules}))


def main(arguments: list[str] | None = None) -> None:
    from experiments import record
    from experiments.timing import quartiles

    parser = argparse.ArgumentParser()
    parser.add_argument("--repeats", type=int, default=15)
    parser.add_argument("--small", action="store_true")
    options = parser.parse_args(arguments)
    openings, repeats, cases = (60, 1, CASES[:1]) if options.small else (100, options.repeats, CASES)
    rounds: dict[str, list[dict[str, Any]]] = {}
    with tempfile.TemporaryDirectory() as work:
        for image, kind in cases:
            name = f"{'x'.join(map(str, image))} {kind}"
            write_case(
                Path(work, name), generate(make_spec("abstract", image=image, classes=10, triggers=openings)), kind
            )
            rounds[name] = []
        sizes = {name: Path(work, name, "claim.json").stat().st_size for name in rounds}
        for _ in range(repeats):
            for name, each in rounds.items():
                each.append(judged(Path(work, name)))
    figures = {}
    for name, each in rounds.items():
        figures[name] = {
            "claim_bytes": sizes[name],
            "verdicts": sorted({one["verdict"] for one in each}),
            "jax_imported": any(one["jax"] for one in each),
        }
        for what, digits in (("seconds", 3), ("cpu_seconds", 3), ("peak_mb", 1)):
            values = np.array([one[what] for one in each])
            figures[name][what] = {**quartiles(values, digits), "most": round(float(values.max()), digits)}
    hostile = {name: hostile_cost(name) for name in list(hostile_claims.CLAIMS)[: 1 if options.small else None]}
    record.write("judge_cost", {"openings": openings, "repeats": repeats, "cases": figures, "hostile": hostile})


def hostile_cost(name: str) -> dict[str, Any]:
    """What a hostile claim costs its judge."""
    raw = hostile_claims.CLAIMS[name]()
    with tempfile.TemporaryDirectory() as work:
        write_hostile(Path(work, "hostile"), raw)
        told = judged(Path(work, "hostile"), "judge_cost:scores")
    rounded = {what: round(told[what], 2) for what in ("seconds", "cpu_seconds", "peak_mb")}
    return {"claim_bytes": len(raw), "verdict": told["verdict"], **rounded}


def rows(figures: dict[str, Any]) -> list[str]:
    hostile = figures["hostile"].values()
    worst = fragment.row(
        f"`wmjax judge`, {len(hostile)} hostile files below a mebibyte",
        f"at most {max(case['cpu_seconds'] for case in hostile):.1f} s of all cores together",
        f"at most {max(case['peak_mb'] for case in hostile):.0f} MB; no match among them",
        f"1 run each; {fragment.source(figures, __file__)}",
    )
    honest = [
        fragment.row(
            f"`wmjax judge`, a claim of {figures['openings']} openings, {name}",
            f"{fragment.median(case['seconds'])} s; {fragment.median(case['cpu_seconds'])} s of all cores together",
            f"{fragment.median(case['peak_mb'], 0)} MB; {', '.join(case['verdicts'])}; JAX was "
            f"{'imported' if case['jax_imported'] else 'never imported'}",
            f"{figures['repeats']} repeats; {fragment.source(figures, __file__)}",
        )
        for name, case in figures["cases"].items()
    ]
    return [*honest, worst]


if __name__ == "__main__":
    if sys.argv[1:2] == ["--worker"]:
        worker(*sys.argv[2:])
    else:
        main()
