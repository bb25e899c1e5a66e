"""What the verbs share: one line for each error, the JSON document on stdout, everything else on stderr."""

import argparse
import json
import os
import re
import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from wmjax.errors import AccessError, UsageError, WmjaxError
from wmjax.stores import named, place, private
from wmjax.text import printable

if TYPE_CHECKING:
    from wmjax.keys import Key, Spec, Unlock
    from wmjax.suspects import Suspect, Wanted

EXIT_CODES = {"match": 0, "no-match": 1, "inconclusive": 3}


def guarded(work: Callable[[], int], options: argparse.Namespace) -> int:
    """Does a verb's work; what goes wrong becomes one line on stderr and an exit code."""
    try:
        return work()
    except WmjaxError as error:
        return _fail(options, error.code, worded(str(error), options), error.exit_code)
    except KeyboardInterrupt:
        return _fail(options, "interrupted", "interrupted", 130)
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # nobody reads: nothing more to say at exit
        return AccessError.exit_code
    except OSError as error:
        why = f"{error.filename or 'input/output'}: {error.strerror or error}"
        return _fail(options, AccessError.code, why, AccessError.exit_code)
    except MemoryError:
        why = "out of memory: use a smaller --batch or model"
        return _fail(options, AccessError.code, why, AccessError.exit_code)
    except ModuleNotFoundError as error:  # an installation by requirements-judge.txt, asked for more than it can
        needs = "this command needs the full installation: run `pip install .` in the wmjax checkout"
        why = f"the package {error.name} is missing: {needs}"
        return _fail(options, UsageError.code, why, UsageError.exit_code)
    except Exception as error:  # a defect of ours: still one line, and never the exit code of a verdict
        if os.environ.get("WMJAX_TRACEBACK"):
            raise
        what = f"{type(error).__name__}: {error!s:.300}"
        why = f"internal error (WMJAX_TRACEBACK=1 shows more): {what}"
        return _fail(options, "internal", why, AccessError.exit_code)


def placed(options: argparse.Namespace) -> None:
    """Has every path that names an object of a store stand for it on this machine."""
    for name, value in vars(options).items():
        if isinstance(value, Path):
            setattr(options, name, place(value))
        elif isinstance(value, list):
            setattr(options, name, [place(one) if isinstance(one, Path) else one for one in value])


def _fail(options: argparse.Namespace, code: str, message: str, exit_code: int) -> int:
    """Tells what went wrong in one line on stderr, and where a document is asked for, in one."""
    message = named(" ".join(message.split()))
    if options.json:
        print(json.dumps({"version": 1, "error": code, "exit_code": exit_code, "message": printable(message)}))
    note(message)
    return exit_code


def worded(text: str, options: argparse.Namespace) -> str:
    """What the library says, in the running verb's words: its parameters become the options that set them.

    The library names a parameter in backticks. Each option's `dest` is the parameter it sets; a parameter of another
    verb reads as its option would be spelt. Commands in backticks have spaces and stay as they are.

    >>> from wmjax.cli.options import make_parser
    >>> options = make_parser().parse_args(["verify", "--key", "my.age", "run"])
    >>> worded("`whole` asks `suspect` more; `save_every` and `openssl rand -hex 32` do not", options)
    '--all asks SUSPECT more; --save-every and `openssl rand -hex 32` do not'
    """
    spelt = {a.dest: (*a.option_strings, a.metavar or a.dest)[0] for a in options.parser._actions}
    return re.sub("`([a-z][a-z0-9_]*)`", lambda m: spelt.get(m[1], "--" + m[1].replace("_", "-")), text)


def note(message: str) -> None:
    """Tells people something, on stderr."""
    print(printable(f"wmjax: {named(message)}"), file=sys.stderr)


def say(options: argparse.Namespace, document: dict[str, Any], *lines: str) -> None:
    """Prints the JSON document, or the lines for people."""
    text = json.dumps(document) if options.json else "\n".join(printable(worded(line, options)) for line in lines)
    print(named(text))


def passphrase(file: Path | None) -> str | None:
    """From a file (also /dev/fd/N), else from the environment; never from the command line."""
    if file is None:
        return os.environ.get("WMJAX_PASSPHRASE") or None
    from wmjax.files import read_bytes

    try:
        text = read_bytes(private(file)).decode().rstrip("\r\n")
    except UnicodeDecodeError as error:
        raise UsageError(f"{file}: a passphrase is text in UTF-8") from error
    if not text:
        raise UsageError(f"{file} holds no passphrase")
    return text


def token(options: argparse.Namespace) -> str:
    """What a service wants to see: from --token-file, else from the environment; never from the command line."""
    if options.token is None:
        text = os.environ.get("SUSPECT_TOKEN", "")
    else:
        from wmjax.files import read_bytes

        text = read_bytes(private(options.token)).decode(errors="replace").strip()
        if not text:
            raise UsageError(f"{options.token} holds no token")
    if not re.fullmatch("[!-~]*", text):
        raise UsageError("a token is one word of plain letters, as a service gives it out")
    return text


def wanted(options: argparse.Namespace, spec: "Spec") -> "Wanted":
    """What the options say of suspects that a key is asked of; a token is for the service that they name alone."""
    from wmjax.suspects import Wanted
    from wmjax.suspects.services.labels import read_labels

    labels = read_labels(options.labels) if options.labels else ()
    return Wanted.by([spec], options.models, options.pixels, pickles=options.pickles, labels=labels)


def suspect(options: argparse.Namespace, known: "Wanted", questions: int) -> "Suspect":
    """Opens the suspect that the options name; of a service it tells what asking costs, before any trigger is shown.

    Args:
      options: of the verb.
      known: as of `wanted`.
      questions: that may be asked, at most.
    """
    import dataclasses

    from wmjax.suspects import open_suspect

    opened = open_suspect(options.suspect, dataclasses.replace(known, token=token(options)))
    if opened.wire:
        seconds = opened.wire.seconds(questions)
        pace = "" if seconds is None else f", {seconds:.0f} seconds by its rate limit"
        note(worded(f"at most {questions} questions to {opened.name}{pace} (`max_queries` asks fewer)", options))
    return opened


def unlock(options: argparse.Namespace) -> "Unlock":
    """What opens --key."""
    from wmjax.keys import Unlock
    from wmjax.keys.vault import read_identity

    if options.identity:
        return read_identity(options.identity)
    if text := passphrase(options.passphrase):
        return Unlock(passphrase=text)
    raise UsageError(f"{options.key} is sealed: give --identity FILE or --passphrase-file FILE")


def unlocks(options: argparse.Namespace) -> "list[Unlock]":
    """What may open several keys: every --identity, and the passphrase."""
    from wmjax.keys import Unlock
    from wmjax.keys.vault import read_identity

    identities = [read_identity(path) for path in options.identity]
    text = passphrase(options.passphrase)
    return [*identities, Unlock(passphrase=text)] if text else identities


def opened(options: argparse.Namespace) -> "list[Key]":
    """Every --key: opened with what is given, or with NAME.identity beside it where nothing is."""
    from wmjax.keys.vault import beside, open_by

    given = unlocks(options)
    return [open_by(path, given or beside(path)) for path in options.keys]


def use_all_cores() -> None:
    """On a CPU each core is a device of its own: models side by side, since one small network fills no second core."""
    import jax

    if "JAX_NUM_CPU_DEVICES" not in os.environ and "xla_force_host" not in os.environ.get("XLA_FLAGS", ""):
        jax.config.update("jax_num_cpu_devices", len(os.sched_getaffinity(0)))
