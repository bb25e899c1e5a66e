"""Every way to damage a file of evidence, and how a disk, a hasty hand or a stranger damages a model's files."""

import base64
import copy
import os
import random
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from wmjax.canonical import read_canonical, write_canonical
from wmjax.errors import InvalidFile

JUNK = (None, 0, 1, -1, 1.5, True, "", "0", "x" * 5000, [], {}, [[]], {"": None}, 2**53 - 1, "é\n\x00\u202e")


def refused(read: Callable[[], Any]) -> str:
    """The one line of the refusal; fails where there is none."""
    with pytest.raises(InvalidFile) as caught:
        read()
    line = str(caught.value)
    assert line
    assert "\n" not in line
    assert len(line) < 1000
    return line


def flips(raw: bytes, step: int = 1) -> Iterator[bytes]:
    """One bit at every position, or every `step`th, and another byte there."""
    rng = random.Random(1)
    for place in range(0, len(raw), step):
        yield raw[:place] + bytes([raw[place] ^ 1 << rng.randrange(8)]) + raw[place + 1 :]


def cuts(raw: bytes, step: int) -> Iterator[bytes]:
    """Truncated, and with bytes doubled or lost inside."""
    for place in range(0, len(raw), step):
        yield raw[:place]
        yield raw[:place] + raw[place + 1 :]
        yield raw[:place] + raw[place : place + 1] + raw[place:]


def places(value: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """The path of every field and element, at every depth."""
    inside = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for name, one in inside:
        yield (*path, name)
        yield from places(one, (*path, name))


def altered(value: Any) -> Iterator[Any]:
    """Every field dropped, doubled, renamed, exchanged for junk, and swapped with each sibling of its type."""
    for *way, last in places(value):

        def change(edit: Callable[[Any, Any], None], way: list[Any] = way, last: Any = last) -> Any:
            changed = copy.deepcopy(value)
            parent = changed
            for name in way:
                parent = parent[name]
            edit(parent, last)
            return changed

        yield change(lambda parent, name: parent.pop(name))
        yield change(double)
        holder = value
        for name in way:
            holder = holder[name]
        siblings = holder if isinstance(holder, dict) else range(len(holder))
        for junk in JUNK:
            if not same(holder[last], junk):
                yield change(lambda parent, name, junk=junk: parent.__setitem__(name, junk))
        for other in siblings:
            if str(other) > str(last) and type(holder[other]) is type(holder[last]) and holder[other] != holder[last]:
                yield change(lambda parent, name, other=other: swap(parent, name, other))


def same(one: Any, other: Any) -> bool:
    return type(one) is type(other) and bool(one == other)


def double(parent: Any, name: Any) -> None:
    """The element twice, or the field under a second name."""
    if isinstance(parent, list):
        parent.insert(name, parent[name])
    else:
        parent[f"{name}2"] = parent[name]


def swap(parent: Any, name: Any, other: Any) -> None:
    parent[name], parent[other] = parent[other], parent[name]


def inner(raw: bytes) -> tuple[dict[str, Any], dict[str, Any]]:
    """An envelope and its statement."""
    envelope = read_canonical(raw, "it")
    return envelope, read_canonical(base64.b64decode(envelope["payload"]), "it")


def unsigned(raw: bytes, part: str | None) -> Iterator[bytes]:
    """Alterations inside of a statement, under the signature of the statement as it was."""
    whole = read_canonical(raw, "it")
    envelope, statement = inner(write_canonical(whole[part]) if part else raw)
    for changed in altered(statement):
        payload = base64.b64encode(write_canonical(changed)).decode()
        altered_envelope = {**envelope, "payload": payload}
        yield write_canonical({**whole, part: altered_envelope} if part else altered_envelope)


def written(values: Iterator[Any]) -> Iterator[bytes]:
    for value in values:
        yield write_canonical(value)


# A model's files


def files_of(path: Path) -> list[Path]:
    """The files of a model that lies in a folder or a file, the largest first; the order of the rest is its names'."""
    found = sorted(file for file in path.rglob("*") if file.is_file()) if path.is_dir() else [path]
    return sorted(found, key=lambda file: -file.stat().st_size)


def _rewritten(change: Callable[[bytes, random.Random], bytes]) -> Callable[[Path, random.Random], None]:
    def damage(path: Path, rng: random.Random) -> None:
        path.write_bytes(change(path.read_bytes(), rng))

    return damage


def _replaced(make: Callable[[Path], object]) -> Callable[[Path, random.Random], None]:
    def damage(path: Path, rng: random.Random) -> None:
        path.unlink()
        make(path)

    return damage


def _flipped(raw: bytes, rng: random.Random) -> bytes:
    """Eight bytes changed, half of them at the beginning, where a format says what it is."""
    changed = bytearray(raw)
    for place in range(8 if raw else 0):
        changed[rng.randrange(min(len(raw), 400) if place % 2 else len(raw))] ^= rng.randrange(1, 256)
    return bytes(changed)


def _swapped(path: Path, rng: random.Random) -> None:
    """It has changed places with another in its folder, as Orbax names its data; where there is none, its halves."""
    others = [file for file in path.parent.iterdir() if file.is_file() and file.suffix == path.suffix == ""]
    raw, other = path.read_bytes(), rng.choice(sorted(others or [path]))
    if other != path:
        path.write_bytes(other.read_bytes())
        other.write_bytes(raw)
    else:
        path.write_bytes(raw[len(raw) // 2 :] + raw[: len(raw) // 2])


def _renumbered(raw: bytes, rng: random.Random) -> bytes:
    """Numbers of a description exchanged for absurd ones; other bytes where it has none."""
    digits = [place for place, byte in enumerate(raw[:4000]) if 48 <= byte <= 57]
    if not digits:
        return _flipped(raw, rng)
    place = rng.choice(digits)
    return raw[:place] + rng.choice([b"-1", b"1e999", b"99999999999", b"9" * 5000, b"0.5", b"null"]) + raw[place + 1 :]


# What happens to one file of a model. Those in `FATAL`, to its largest one, leave nothing to load.
WAYS: dict[str, Callable[[Path, random.Random], None]] = {
    "cut": _rewritten(lambda raw, rng: raw[: rng.randrange(len(raw) or 1)]),
    "emptied": _rewritten(lambda raw, rng: b""),
    "flipped": _rewritten(_flipped),
    "grown": _rewritten(lambda raw, rng: raw + rng.randbytes(50)),
    "zeroed": _rewritten(lambda raw, rng: bytes(len(raw))),
    "renumbered": _rewritten(_renumbered),
    "nested": _rewritten(lambda raw, rng: b"[" * 100_000),
    "swapped": _swapped,
    "removed": lambda path, rng: path.unlink(),
    "a folder": _replaced(Path.mkdir),
    "a pipe": _replaced(os.mkfifo),
    "a device": _replaced(lambda path: path.symlink_to("/dev/zero")),
    "a link to nothing": _replaced(lambda path: path.symlink_to("nothing")),
}
FATAL = set(WAYS) - {"flipped", "grown", "renumbered", "swapped"}
