"""What the verbs share: one line for each error and perhaps a hint, the document on stdout, all else on stderr."""

import argparse
import json
import os
import re
import sys
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Any, TextIO

from wmjax import progress
from wmjax.cli.hints import hint
from wmjax.errors import AccessError, UsageError, WmjaxError
from wmjax.stores import place, unmirrored
from wmjax.text import OPTIONS, printable

EXIT_CODES = {"match": 0, "no-match": 1, "inconclusive": 3}
_COLOURS = {"match": 31, "no-match": 34, "inconclusive": 33, "wmjax": 1, "hint": 36}  # as the pages have them


def guarded(work: Callable[[], int], options: argparse.Namespace) -> int:
    """Does a verb's work; what goes wrong becomes one line on stderr, perhaps with a hint, and an exit code."""
    try:
        return work()
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # nobody reads: nothing more to say at exit
        return AccessError.exit_code
    except (Exception, KeyboardInterrupt) as error:  # also a defect of ours: one line, never the exit code of a verdict
        if options.verbose:
            traceback.print_exc()
        return _fail(options, error, *_told(error))


def _told(error: BaseException) -> tuple[str, int, str]:
    """An error's code, exit code and line."""
    if isinstance(error, WmjaxError):
        return error.code, error.exit_code, str(error)
    if isinstance(error, KeyboardInterrupt):
        return "interrupted", 130, "interrupted"
    if isinstance(error, OSError):
        why = f"{error.filename or 'input/output'}: {error.strerror or error}"
        return AccessError.code, AccessError.exit_code, why
    if isinstance(error, MemoryError):
        return AccessError.code, AccessError.exit_code, "out of memory: use a smaller `batch` or model"
    if isinstance(error, ModuleNotFoundError):
        return UsageError.code, UsageError.exit_code, f"the package {error.name} is missing"
    return "internal", AccessError.exit_code, f"internal error: {type(error).__name__}: {error!s:.300}"


def _fail(options: argparse.Namespace, error: BaseException, code: str, exit_code: int, why: str) -> int:
    """Tells what went wrong in one line on stderr, with a hint where the next step is known; and in a document."""
    message = unmirrored(" ".join(worded(why, options).split()))
    next_step = unmirrored(worded(hint(error, message, options), options))
    if options.json:
        print_error(code, exit_code, message, next_step)
    warn(message)
    if next_step:
        print(f"{_painted('hint:', 'hint', sys.stderr)} {printable(next_step)}", file=sys.stderr)
    return exit_code


def print_error(code: str, exit_code: int, message: str, next_step: str) -> None:
    """Prints the document of an error."""
    document = {"version": 1, "error": code, "exit_code": exit_code, "message": printable(message)}
    print(json.dumps({**document, "hint": printable(next_step) or None}))


def placed(options: argparse.Namespace) -> None:
    """Has every path that names an object of a store stand for it on this machine."""
    for name, value in vars(options).items():
        if isinstance(value, Path):
            setattr(options, name, place(value))
        elif isinstance(value, list):
            setattr(options, name, [place(one) if isinstance(one, Path) else one for one in value])


def worded(text: str, options: argparse.Namespace) -> str:
    """What the library says, in the running verb's words: its parameters become the options that set them.

    The library names a parameter in backticks. Each option's `dest` is the parameter it sets; a parameter of another
    verb reads as its option would be spelt. Commands in backticks have spaces and stay as they are.

    >>> from wmjax.cli.options import make_parser
    >>> options = make_parser().parse_args(["verify", "--key", "my.age", "run"])
    >>> worded("`whole` asks `suspect` more; `save_every` and `openssl rand -hex 32` do not", options)
    '--all asks SUSPECT more; --save-every and `openssl rand -hex 32` do not'
    """
    own = {a.dest: (*a.option_strings, a.metavar or a.dest)[0] for a in options.parser._actions}
    spelt = {**OPTIONS, **own}  # a verb speaks of what others do
    return re.sub("`([a-z][a-z0-9_]*)`", lambda m: spelt.get(m[1], "--" + m[1].replace("_", "-")), text)


def note(message: str) -> None:
    """Tells people something in passing, on stderr; not with `--quiet`."""
    if progress.loudness() is not progress.Loudness.QUIET:
        warn(message)


def warn(message: str) -> None:
    """Tells people what they must not miss, on stderr."""
    print(f"{_painted('wmjax:', 'wmjax', sys.stderr)} {printable(unmirrored(message))}", file=sys.stderr)


def say(options: argparse.Namespace, document: dict[str, Any], *lines: str) -> None:
    """Prints the JSON document, or the lines for people: on a terminal each verdict at a line's head has its colour."""
    if options.json:
        print(unmirrored(json.dumps(document)))
        return
    for line in lines:  # a name with a new line in it must not write one of its own
        shown = printable(unmirrored(worded(line, options)))
        head, colon, rest = shown.partition(":")
        print(f"{_painted(head, head, sys.stdout)}{colon}{rest}")


def _painted(text: str, name: str, stream: TextIO) -> str:
    """Text in the colour of that name where a terminal shows it and nobody has asked for none (no-color.org)."""
    plain = os.environ.get("NO_COLOR") or os.environ.get("TERM") == "dumb" or not stream.isatty()
    return text if plain or name not in _COLOURS else f"\x1b[{_COLOURS[name]}m{text}\x1b[0m"
