"""Every way to damage a file of evidence."""

import base64
import copy
import random
from collections.abc import Callable, Iterator
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
