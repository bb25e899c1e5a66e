"""Text fit to be shown: a stranger's, an error's, a shape's, on one line."""

import hashlib
import re
from typing import Any


def visible(text: str) -> str:
    r"""The text with everything that cannot be seen, or turns the line around, spelt out.

    >>> visible("a\nb\u202ec")
    'a\\nb\\u202ec'
    """
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)


def printable(text: str, mark: str = "?") -> str:
    r"""The text with a mark in the place of every character that could steer a terminal.

    >>> printable("a\x1b[2J")
    'a?[2J'
    """
    return text if text.isprintable() else "".join(c if c.isprintable() else mark for c in text)


NAME = (  # as JSON Schema has it
    r"^[^\u0000-\u001f\u007f-\u009f\u200b-\u200f\u2028-\u202e\u2060-\u206f\ufeff\ufff9-\ufffb]+$"
)
LONGEST_NAME = 200  # characters
OPTIONS = {  # parameters that options of another name set
    "authorities": "--tsa",
    "models": "--model",
    "nonce": "--nonce-from",
    "nulls": "--null",
    "originals": "--original",
    "pickles": "--allow-pickles",
    "since": "--suspect-since",
    "sources": "--source",
    "whole": "--all",
}


def named(name: str) -> str:
    r"""A name as signed statements hold it: short, and nothing in it that cannot be seen.

    >>> named("a run\n"), len(named("x" * 3000))
    ('a run\\n', 200)

    Of a longer one the ends are kept, and a digest: different names stay different.
    """
    seen = visible(name)
    if len(seen) <= LONGEST_NAME:
        return seen or "unnamed"
    digest = hashlib.sha256(seen.encode()).hexdigest()[:16]
    return f"{seen[:88]}...{digest}...{seen[-90:]}"


def is_name(value: Any) -> bool:
    """Whether a stranger's value may stand for a name: text of 1 to 200 characters, none of which steers a terminal."""
    return isinstance(value, str) and len(value) <= LONGEST_NAME and re.fullmatch(NAME.strip("^$"), value) is not None


def quoted(name: str) -> str:
    r"""A stranger's name within a sentence: where it ends is never in doubt.

    >>> quoted('model" is proven. "')
    '"model\' is proven. \'"'
    """
    return '"' + cut(visible(name), LONGEST_NAME).replace('"', "'") + '"'


def cut(text: str, width: int = 80) -> str:
    """The text's two ends where it is longer than a line has room for."""
    return text if len(text) <= width else f"{text[: width // 2 - 2]}...{text[1 - width // 2 :]}"


def first_line(error: BaseException, most: int = 200) -> str:
    """The first line of what an exception says, or the name of its class.

    >>> first_line(ValueError()), first_line(OSError("no such device"))
    ('ValueError', 'no such device')
    """
    return next(iter(str(error).splitlines()), "")[:most] or type(error).__name__


def bare(error: BaseException) -> str:
    """What an error says, on one line and without the backticks of parameters: said of a file, they are not options.

    >>> bare(ValueError("`classes` 1: must be in 2..10"))
    'classes 1: must be in 2..10'
    """
    return visible(" ".join(str(error).split()).replace("`", ""))[:200]


def counted(number: int, word: str) -> str:
    """How many of what.

    >>> counted(1, "key"), counted(2, "key")
    ('1 key', '2 keys')
    """
    return f"{number} {word}{'' if number == 1 else 's'}"


def by(shape: tuple[int, ...]) -> str:
    """A shape in people's form.

    >>> by((32, 32, 3))
    '32x32x3'
    """
    return "x".join(map(str, shape))


def is_sha256(value: Any) -> bool:
    """Whether a value is a SHA-256 digest as this project writes it: 64 lowercase hex digits."""
    return isinstance(value, str) and re.fullmatch("[0-9a-f]{64}", value) is not None
