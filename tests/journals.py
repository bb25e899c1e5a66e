"""Journals as somebody else writes them: any lines, chained anew, by what the docstrings say; and as a disk does."""

import hashlib
import hmac
import json
import random
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from wmjax.keys import Key
from wmjax.keys.derive import Stream


def lines_of(raw: bytes) -> list[dict[str, Any]]:
    """What the lines of a journal hold, without what chains them."""
    lines = [json.loads(line) for line in raw.splitlines()]
    return [{name: value for name, value in line.items() if name not in ("mac", "sha256")} for line in lines]


def values_of(path: Path) -> list[dict[str, Any]]:
    """`lines_of` a file."""
    return lines_of(path.read_bytes())


def chained(lines: Sequence[dict[str, Any]], keys: Mapping[str, Key] | None = None) -> bytes:
    """A journal whose chain is whole; with the keys of an audit as who holds them writes it."""
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
    return written.encode()


def write_chained(path: Path, lines: Sequence[dict[str, Any]], keys: Mapping[str, Key] | None = None) -> None:
    """Writes what `chained` gives."""
    path.write_bytes(chained(lines, keys))


def mutated(raw: bytes, rng: random.Random) -> bytes:
    """As a disk damages a file: a bit, bytes lost, put in or exchanged, or a digit somewhere."""
    text, at, n = bytearray(raw), rng.randrange(len(raw)), rng.choice([1, 1, 2, 40])
    kind = rng.randrange(5)
    if kind == 0:
        text[at] ^= 1 << rng.randrange(8)
    elif kind == 1:
        del text[at : at + n]
    elif kind == 2:
        text[at:at] = rng.randbytes(n)
    elif kind == 3:
        text[at : at + n] = rng.randbytes(len(text[at : at + n]))
    else:
        text[at] = rng.choice(b"0123456789")
    return bytes(text)
