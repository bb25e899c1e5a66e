"""Journals as somebody else writes them: any lines, chained anew, by what the docstrings say."""

import hashlib
import hmac
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from wmjax.keys import Key
from wmjax.keys.derive import Stream


def values_of(path: Path) -> list[dict[str, Any]]:
    """What the lines of a journal hold."""
    lines = [json.loads(line) for line in path.read_bytes().splitlines()]
    return [{name: value for name, value in line.items() if name not in ("mac", "sha256")} for line in lines]


def write_chained(path: Path, lines: Sequence[dict[str, Any]], keys: Mapping[str, Key] | None = None) -> None:
    """Writes a journal whose chain is whole; with the keys of an audit as who holds them writes it."""
    link, written = "", ""
    for values in lines:
        content = json.dumps(values, separators=(",", ":"))[:-1]
        if keys is not None:
            parts = [Stream(key.secret, "journal", 0).octets(32).tobytes() for key in keys.values()]
            secret = hashlib.sha256(b"".join(parts)).digest()
            digest = hashlib.sha256((link + content).encode()).hexdigest()
            content += f',"mac":"{hmac.new(secret, digest.encode(), "sha256").hexdigest()}"'
        link = hashlib.sha256((link + content).encode()).hexdigest()
        written += f'{content},"sha256":"{link}"}}\n'
    path.write_text(written)
