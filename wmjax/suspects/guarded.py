"""Strangers' files: whatever goes wrong in reading one is a line that names it, and what is only said is bounded."""

import contextlib
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from wmjax import stores
from wmjax.errors import AccessError, InvalidFile, WmjaxError
from wmjax.suspects.links import bounds, leads_into

_LARGEST_JSON = 16 << 20
_DAMAGE = (ValueError, LookupError, TypeError, AttributeError, ArithmeticError, RuntimeError, MemoryError)


@contextlib.contextmanager
def one_line(path: Path) -> Iterator[None]:
    """Whatever a hostile file makes its reader raise is one line that begins with its path."""
    try:
        yield
    except WmjaxError as error:
        if str(error).startswith(str(path)):
            raise
        raise error.saying(f"{path}: {error}") from error
    except OSError as error:
        raise AccessError(f"{path}: cannot be read: {error.strerror or type(error).__name__}") from error
    except _DAMAGE as error:
        raise InvalidFile(f"{path}: cannot be read: {type(error).__name__}") from error


def small_json(path: Path) -> Any:
    """What a small file holds; None where there is none, no JSON, or a link that leads elsewhere."""
    try:
        if path.is_symlink() and not leads_into(path, bounds(path.parent.resolve())):
            return None
        if not path.is_file() or path.stat().st_size > _LARGEST_JSON:
            return None
        with stores.present(path):
            return json.loads(path.read_bytes())
    except (OSError, ValueError, RecursionError):
        return None
