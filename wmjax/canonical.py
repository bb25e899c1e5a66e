"""Canonical JSON (RFC 8785): one form of each document, so that no byte of a file can change unnoticed."""

import json
from typing import Any, NoReturn

import rfc8785

from wmjax.errors import InvalidFile

LARGEST = 1 << 26  # bytes; a claim of a hundred large pictures has a third of it


def write_canonical(value: Any) -> bytes:
    """A document in its one form: RFC 8785 and a newline."""
    return rfc8785.dumps(value) + b"\n"


def read_canonical(raw: bytes, what: str) -> dict[str, Any]:
    """Reads `write_canonical` back; anything that it would not have written is refused.

    So a field given twice, other white space, a number in another form, NaN and a nesting without end are all refused.

    >>> read_canonical(b'{"a":1}' + bytes([10]), "it")
    {'a': 1}

    Args:
      raw: a file's bytes.
      what: its name, for messages.

    Raises:
      InvalidFile: `raw` is anything else than one JSON object in its canonical form.
    """
    if len(raw) > LARGEST:
        raise InvalidFile(f"{what} has {len(raw)} bytes: more than the {LARGEST} that this program reads")
    try:
        value = json.loads(raw, object_pairs_hook=_unique, parse_constant=_refuse)
        if not isinstance(value, dict):
            raise InvalidFile(f"{what} is not a JSON object")
        if write_canonical(value) != raw:
            raise InvalidFile(f"{what} is not in the one canonical form of its contents (RFC 8785 and a newline)")
    except RecursionError as error:
        raise InvalidFile(f"{what} is nested too deeply") from error
    except (ValueError, rfc8785.CanonicalizationError) as error:
        raise InvalidFile(
            f"{what} is not JSON that this program reads: {' '.join(str(error).split())[:120]}"
        ) from error
    return value


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    value = dict(pairs)
    if len(value) != len(pairs):
        raise ValueError("a field is given twice")
    return value


def _refuse(constant: str) -> NoReturn:
    raise ValueError(f"{constant} is not a number")
