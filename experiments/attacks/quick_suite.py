"""How long the quick suite of attacks takes on a marked network of digits, as typed: nothing kept, and once more.

An `abstract` key of 100 triggers is drawn and embedded (seed 0); its secret is new each time. Then `wmjax attack RUN
--suite quick` runs in a process of its own: with all that XLA can do for a program and nothing kept (`full`), as it is
with nothing kept (`cold`), and with the programs that this left behind (`warm`).

Command   python experiments/attacks/quick_suite.py [--repeats 1]
Expected  `cold` under 150 s
Time      6 minutes on 2 CPU cores
"""

import argparse
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[2]))  # the checkout

import numpy as np

from experiments import fragment, record
from experiments.timing import quartiles

FULL, COLD, WARM = "full", "cold", "warm"
_COMMAND = "import sys; from wmjax.cli import main; sys.exit(main())"
_OPTIMISED = f"from wmjax import devices; devices.brief_options = lambda: None; {_COMMAND}"
_KEY = ("--key", "my.age", "--identity", "my.identity")


def typed(folder: Path, cache: str, *arguments: str, program: str = _COMMAND) -> float:
    """Seconds that a command takes in a process of its own, which keeps its programs in this folder of `folder`."""
    clean = {name: value for name, value in os.environ.items() if not name.startswith(("JAX_", "XLA_"))}
    told = clean | {"PYTHONPATH": str(Path(__file__).parents[2]), "XDG_CACHE_HOME": str(folder / cache)}
    began = time.monotonic()
    done = subprocess.run(
        [sys.executable, "-c", program, *arguments], cwd=folder, env=told, stdout=subprocess.DEVNULL, check=False
    )
    if done.returncode not in (0, 1):
        raise SystemExit(f"wmjax {arguments[0]} ended with {done.returncode}")
    return time.monotonic() - began


def main() -> None:
    """Marks a network, and attacks it in each way."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--repeats", type=int, default=1)
    repeats = parser.parse_args().repeats
    seconds: dict[str, list[float]] = {FULL: [], COLD: [], WARM: []}
    kept = []
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place)
        spec = ("--scheme", "abstract", "--image", "8x8x1", "--classes", "10", "--triggers", "100")
        typed(folder, "first", "keygen", *spec, "--out", "my")
        typed(folder, "first", "embed", "--data", "digits", "--model", "cnn", "--out", "run", *_KEY)
        for turn in range(repeats):
            for way, cache, program in (
                (FULL, f"full-{turn}", _OPTIMISED),
                (COLD, f"own-{turn}", _COMMAND),
                (WARM, f"own-{turn}", _COMMAND),
            ):
                out = f"{way}-{turn}-attack"
                found = typed(folder, cache, "attack", "run", *_KEY, "--suite", "quick", "--out", out, program=program)
                seconds[way].append(found)
                print(way, round(found, 1), file=sys.stderr, flush=True)
            kept.append(sum(path.stat().st_size for path in (folder / f"own-{turn}").rglob("*-cache")))
    record.write(
        "quick_suite",
        {
            "seconds": {way: quartiles(np.array(found), 1) for way, found in seconds.items()},
            "repeats": repeats,
            "kept_mb": round(max(kept) / 1e6, 1),
        },
    )


def rows(figures: dict[str, Any]) -> list[str]:
    """Of the table of what audits and attacks take."""
    seconds = {way: found["median"] for way, found in figures["seconds"].items()}
    return [
        fragment.row(
            "`wmjax attack --suite quick` on digits",
            f"{seconds[COLD]:.0f} s; {seconds[WARM]:.0f} s the next time",
            f"{seconds[FULL]:.0f} s where XLA does all it can; {figures['kept_mb']:.0f} MB of programs are kept",
            fragment.source(figures, __file__),
        )
    ]


if __name__ == "__main__":
    main()
