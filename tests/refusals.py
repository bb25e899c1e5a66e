"""What every refusal looks like: one line that says what is wrong, and nothing else."""

from collections.abc import Callable
from typing import Any

import pytest

from wmjax.errors import InvalidFile, WmjaxError


def one_line(stderr: str) -> str:
    """What a command wrote to stderr, which must be one line, perhaps with a hint below it, and no traceback."""
    first, *more = stderr.splitlines(keepends=True)
    assert all(line.startswith("hint: ") and line.endswith("\n") for line in more), stderr
    assert len(more) <= 1, stderr
    assert first.startswith("wmjax")
    assert first.endswith("\n")
    assert "Traceback" not in stderr
    assert "internal error" not in stderr
    return stderr


def messages(stderr: str) -> int:
    """How many lines it has, hints apart."""
    return sum(not line.startswith("hint: ") for line in stderr.splitlines())


def assert_one_line(error: WmjaxError) -> None:
    """The error's text is one short line that steers no terminal."""
    assert str(error)
    assert len(str(error)) < 600
    assert str(error).isprintable()


def assert_refused(call: Callable[[], Any], match: str = ".", kind: type[WmjaxError] = InvalidFile) -> None:
    """The call raises exactly this kind of error, with this in its one line."""
    with pytest.raises(kind, match=match) as caught:
        call()
    assert caught.type is kind
    assert_one_line(caught.value)


def changed(raw: bytes, at: int, flip: int) -> bytes:
    """The bytes with some bits of one of them turned over."""
    return raw[:at] + bytes([raw[at] ^ flip]) + raw[at + 1 :]
