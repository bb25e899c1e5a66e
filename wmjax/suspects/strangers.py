"""The user's own code, imported in one place: `module:name`, as they typed it, never as a file says it."""

import contextlib
import importlib
import os
import re
import sys
from collections.abc import Iterator
from typing import Any

from wmjax.errors import UsageError
from wmjax.text import first_line

NAME = re.compile(r"[A-Za-z_][\w.]*:[A-Za-z_]\w*")


def imported(name: str) -> Any:
    """What `module:name` names; modules are looked for in the working folder first, as `python -m` does."""
    module_name, attribute = name.split(":")
    if (folder := os.getcwd()) not in sys.path:
        sys.path.insert(0, folder)
    return getattr(importlib.import_module(module_name), attribute)


@contextlib.contextmanager
def strangers_code(what: str) -> Iterator[None]:
    """What the user's code prints is no part of an answer, and whatever it raises is one line that begins with `what`.

    Raises:
      UsageError: the code raised something.
    """
    try:
        with contextlib.redirect_stdout(sys.stderr):  # stdout is the verdict's
            yield
    except (Exception, SystemExit) as error:  # it may raise anything
        raise UsageError(f"{what}: {type(error).__name__} {first_line(error)}") from error
