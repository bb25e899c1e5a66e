"""The verb that says what is installed, and what this machine has; nothing that is missing makes it fail."""

import argparse
import importlib.metadata
import json
import os
import platform
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import wmjax
from wmjax import programs
from wmjax.cli.hints import installing
from wmjax.cli.terminal import say
from wmjax.errors import UsageError

_DEVELOPERS = ("test", "docs")  # extras that nobody lacks who only uses wmjax
TOOLS = ("age", "openssl")  # with which others open and check our files
_DEVICES = (  # in a process of its own: a driver that hangs, or ends its process, takes nothing along
    "import json, jax; print(json.dumps({'platform': jax.default_backend(), 'devices': "
    "[d.device_kind for d in jax.local_devices()]}))"
)
_NAMED = 4  # missing packages of an extra
_PATIENCE = 90  # seconds; the first look at a TPU takes half a minute


def doctor(options: argparse.Namespace) -> int:
    """Says what is installed, and what this machine has."""
    found = {
        "wmjax": _version("wmjax") or "not installed: run from its folder",
        "python": f"{platform.python_version()}, {sys.executable}",
        "machine": f"{platform.system()} {platform.machine()}, {os.cpu_count()} cores",
        "jax": _jax(),
        "extras": _extras(),
        "tools": {name: shutil.which(name) or "missing" for name in TOOLS},
        "data": _data(options.data_dir),
        "disk": {str(place): _room(place) for place in (Path.cwd(), Path(os.environ.get("TMPDIR", "/tmp")))},
    }
    say(options, {"version": 1, **found}, *_lines(found))
    return 0


def _version(package: str) -> str | None:
    try:
        return wmjax.__version__ if package == "wmjax" else importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return None


def _jax() -> dict[str, Any]:
    """JAX's version, devices and folder of compiled programs."""
    version = _version("jax")
    if version is None:
        return {"version": f"missing: {installing('jax')}"}
    program = [sys.executable, "-P", "-c", _DEVICES]
    try:
        done = subprocess.run(program, capture_output=True, text=True, check=True, timeout=_PATIENCE)
        seen = json.loads(done.stdout.splitlines()[-1])
    except subprocess.TimeoutExpired:
        return {"version": version, "devices": f"none answered within {_PATIENCE} seconds"}
    except (subprocess.CalledProcessError, OSError, ValueError, IndexError) as error:
        told = (getattr(error, "stderr", None) or str(error)).strip().splitlines()
        return {"version": version, "devices": f"none: {told[-1] if told else error}"}
    kinds = sorted({kind: seen["devices"].count(kind) for kind in seen["devices"]}.items())
    devices = ", ".join(f"{count} x {kind}" for kind, count in kinds)
    return {"version": version, "devices": f"{devices} ({seen['platform']})", "compiled programs": _programs()}


def _programs() -> str:
    """Where compiled programs are kept, and how much of them there is; or why they are not."""
    if programs.turned_off():
        return f"not kept: {programs.OFF} is off"
    named = os.environ.get(programs.VARIABLE)
    if named and "://" in named:
        return named
    try:
        place = Path(named) if named else programs.folder()
    except UsageError as error:
        return f"not kept: {error}"
    if why := programs.doubt(place):
        return f"not kept: {why}"
    return f"{place}, {programs.size(place) / 1e6:.0f} MB"


def _extras() -> dict[str, str]:
    """Whether all packages of an extra are there, and the line that installs those that are not."""
    try:
        wanted = importlib.metadata.requires("wmjax") or []
    except importlib.metadata.PackageNotFoundError:
        return {}
    packages: dict[str, list[str]] = {}
    for line in wanted:
        if found := re.fullmatch(r"([\w.-]+).*;.*extra\s*==\s*['\"](\w+)['\"].*", line):
            packages.setdefault(found[2], []).append(found[1])
    missing = {extra: [n for n in names if n != "wmjax" and not _version(n)] for extra, names in packages.items()}
    common = set(missing.get("jax", ()))  # which others need too: told once
    return {
        extra: _state(extra, [name for name in names if extra == "jax" or name not in common])
        for extra, names in sorted(missing.items())
        if extra not in _DEVELOPERS
    }


def _state(extra: str, missing: list[str]) -> str:
    """Whether an extra is there, and the line that installs it."""
    if not missing:
        return "installed"
    more = f" and {len(missing) - _NAMED} more" if len(missing) > _NAMED else ""
    return f"without {', '.join(missing[:_NAMED])}{more}: pip install 'wmjax[{extra}]'"


def _data(named: Path | None) -> dict[str, str]:
    """The folder of data sets, and which are there."""
    from wmjax.data.source import data_folder

    try:
        folder = data_folder(named)
        sets = sorted(one.name for one in folder.iterdir() if one.is_dir())
    except UsageError as error:
        return {"nowhere": str(error)}
    except OSError:
        return {str(folder): "not there: `wmjax prepare cifar10` makes it"}
    return {str(folder): ", ".join(sets[:10]) or "empty"}


def _room(place: Path) -> str:
    try:
        return f"{shutil.disk_usage(place).free / 1e9:,.1f} GB free"
    except OSError as error:
        return f"cannot be seen: {error.strerror}"


def _lines(found: dict[str, Any]) -> list[str]:
    rows = []
    for name, value in found.items():
        if not isinstance(value, dict):
            rows.append((name, str(value)))
            continue
        rows += [
            (name if place == 0 else "", f"{what}: {told}") for place, (what, told) in enumerate(value.items())
        ] or [(name, "not known")]
    return [f"{name:<8} {told}" for name, told in rows]
