"""The user's own architectures, imported in one place: `module:factory`, as they typed it, never as a file says it.

A Flax module becomes part of this process's programs, so its code runs in here, beside whatever secret is open: name
none that you would not run yourself. A suspect's function runs elsewhere (`process`). The working folder is looked in
last and only meanwhile, so that no file in it passes for an installed package.
"""

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
    """What `module:name` names."""
    module_name, attribute = name.split(":")
    return getattr(importlib.import_module(module_name), attribute)


@contextlib.contextmanager
def strangers_code(what: str) -> Iterator[None]:
    """Finds modules in the working folder too; prints are not part of an answer; an error is a line that begins so.

    Args:
      what: how the line begins.

    Raises:
      UsageError: the code raised something.
    """
    folder = os.getcwd()
    sys.path.append(folder)
    try:
        with contextlib.redirect_stdout(sys.stderr):  # stdout is the verdict's
            yield
    except (Exception, SystemExit) as error:  # it may raise anything
        told = UsageError(f"{what}: {type(error).__name__} {first_line(error)}")
        if isinstance(error, ModuleNotFoundError):
            told.hint = "modules are looked for in the folder in which the command runs, and among what is installed"
        raise told from error
    finally:
        with contextlib.suppress(ValueError):  # the code may have changed the path itself
            del sys.path[len(sys.path) - 1 - sys.path[::-1].index(folder)]
