"""What every experiment writes beside its figures: the command, the machine, the versions, the commit."""

import datetime
import importlib.metadata
import json
import os
import platform
import subprocess
import sys
from functools import cache, partial
from pathlib import Path
from typing import Any

HERE = Path(__file__).resolve().parent
RESULTS = HERE / "results" / ("small" if "--small" in sys.argv else "")  # a trial measures nothing


@cache
def environment() -> dict[str, Any]:
    """Hardware and versions of this run; command, time and commit as they were when it began."""
    import jax

    return {
        **_BEGAN,
        "processor": _processor(),
        "cores": os.cpu_count(),
        "devices": [device.device_kind for device in jax.devices()],
        "versions": {name: importlib.metadata.version(name) for name in ("jax", "jaxlib", "flax", "numpy")},
        "python": platform.python_version(),
    }


def _begun() -> dict[str, str]:
    script = Path(sys.argv[0]).resolve()
    name = script.relative_to(HERE.parent) if script.is_relative_to(HERE) else script.name
    return {
        "command": " ".join(["python", str(name), *map(_public, sys.argv[1:])]),
        "date": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
        "commit": _commit(),
    }


def _public(argument: str) -> str:
    """An argument without what it tells of this machine's folders."""
    return Path(argument).name if Path(argument).is_absolute() else argument


def _commit() -> str:
    """Of the checkout; of a copy without its history, what COMMIT says."""
    if not (HERE.parent / ".git").exists():
        return os.environ.get("COMMIT", "")
    git = partial(subprocess.run, cwd=HERE, capture_output=True, text=True, check=False)
    commit = git(["git", "rev-parse", "HEAD"]).stdout.strip()
    dirty = git(["git", "status", "--porcelain", "-uno", "--", ":!results"]).stdout.strip()
    return commit + ("+changes" if dirty else "")


def _processor() -> str:
    for line in Path("/proc/cpuinfo").read_text().splitlines() if Path("/proc/cpuinfo").exists() else []:
        if line.startswith("model name"):
            return line.split(":")[1].strip()
    return platform.processor()


_BEGAN = _begun()


def write(name: str, figures: dict[str, Any]) -> None:
    """Writes results/NAME.json and prints the figures."""
    RESULTS.mkdir(parents=True, exist_ok=True)
    (RESULTS / f"{name}.json").write_text(json.dumps({"environment": environment(), **figures}, indent=1) + "\n")
    print(json.dumps(figures, indent=1))


def read(name: str) -> dict[str, Any]:
    """The figures of results/NAME.json, with the environment in which they were measured."""
    figures: dict[str, Any] = json.loads((RESULTS / f"{name}.json").read_text())
    return figures


def there(name: str) -> bool:
    """Whether an experiment has been run: some need other machines."""
    return (RESULTS / f"{name}.json").exists()
