"""What options give: passphrases, tokens, keys and suspects that they open. No secret is a word of the command line."""

import argparse
import os
import re
from pathlib import Path
from typing import TYPE_CHECKING

from wmjax.cli.terminal import note, worded
from wmjax.errors import UsageError
from wmjax.programs import keep, load_jax

if TYPE_CHECKING:
    from wmjax.keys import Key, Spec, Unlock
    from wmjax.suspects import Suspect, Wanted


def passphrase(file: Path | None) -> str | None:
    """From a file (also /dev/fd/N), else from the environment; never from the command line."""
    if file is None:
        return os.environ.get("WMJAX_PASSPHRASE") or None
    from wmjax.files import read_private

    try:
        text = read_private(file).decode().rstrip("\r\n")
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
        from wmjax.files import read_private

        text = read_private(options.token).decode(errors="replace").strip()
        if not text:
            raise UsageError(f"{options.token} holds no token")
    if not re.fullmatch("[!-~]*", text):
        raise UsageError("a token is one word of plain letters, as a service gives it out")
    return text


def wanted(options: argparse.Namespace, *specs: "Spec") -> "Wanted":
    """What the options say of suspects that keys are asked of; a token is for the service that they name alone."""
    from wmjax.suspects import Wanted
    from wmjax.suspects.services.labels import read_labels

    labels = read_labels(options.labels) if options.labels else ()
    return Wanted.by(specs, options.models, options.pixels, pickles=options.pickles, labels=labels)


def suspect(options: argparse.Namespace, known: "Wanted", questions: int) -> "Suspect":
    """Opens the suspect that the options name; of a service it tells what asking costs, before any trigger is shown.

    Args:
      options: of the verb.
      known: as of `wanted`.
      questions: that may be asked, at most.
    """
    import dataclasses

    from wmjax.suspects import open_suspect

    keep()
    opened = open_suspect(options.suspect, dataclasses.replace(known, token=token(options)))
    if opened.wire:
        seconds = opened.wire.seconds(questions)
        pace = "" if seconds is None else f", {seconds:.0f} seconds by its rate limit"
        note(worded(f"at most {questions} questions to {opened.name}{pace} (`max_queries` asks fewer)", options))
    return opened


def unlock(options: argparse.Namespace) -> "Unlock":
    """What opens --key: what is given, or NAME.identity beside it."""
    from wmjax.keys import Unlock
    from wmjax.keys.files import beside, check_sealed, read_identity

    check_sealed(options.key)
    if options.identity:
        return read_identity(options.identity)
    if text := passphrase(options.passphrase):
        return Unlock(passphrase=text)
    if found := beside(options.key):
        return found[0]
    raise UsageError(f"{options.key} is sealed: give --identity FILE or --passphrase-file FILE")


def unlocks(options: argparse.Namespace) -> "list[Unlock]":
    """What may open several keys: every --identity, and the passphrase."""
    from wmjax.keys import Unlock
    from wmjax.keys.files import read_identity

    identities = [read_identity(path) for path in options.identity]
    text = passphrase(options.passphrase)
    return [*identities, Unlock(passphrase=text)] if text else identities


def opened(options: argparse.Namespace) -> "list[Key]":
    """Every --key: opened with what is given, or with NAME.identity beside it where nothing is."""
    from wmjax.keys.files import beside, open_by

    given = unlocks(options)
    return [open_by(path, given or beside(path)) for path in options.keys]


def use_all_cores() -> None:
    """On a CPU each core is a device of its own: models side by side, since one small network fills no second core."""
    load_jax()
    import jax

    if "JAX_NUM_CPU_DEVICES" not in os.environ and "xla_force_host" not in os.environ.get("XLA_FLAGS", ""):
        jax.config.update("jax_num_cpu_devices", len(os.sched_getaffinity(0)))
