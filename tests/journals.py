"""Journals as an adversary writes them: any lines, chained anew, by what the docstring of `wmjax.journal` says."""

import hashlib
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any


def values_of(path: Path) -> list[dict[str, Any]]:
    """What the lines of a journal hold."""
    lines = [json.loads(line) for line in path.read_bytes().splitlines()]
    return [{name: value for name, value in line.items() if name != "sha256"} for line in lines]


def write_chained(path: Path, lines: Sequence[dict[str, Any]]) -> None:
    """Writes a journal whose chain is whole."""
    link, written = "", ""
    for values in lines:
        content = json.dumps(values, separators=(",", ":"))[:-1]
        link = hashlib.sha256((link + content).encode()).hexdigest()
        written += f'{content},"sha256":"{link}"}}\n'
    path.write_text(written)
