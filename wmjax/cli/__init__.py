"""The command line: verbs over the Python API, no logic of its own."""

import argparse
import atexit
import os
import sys
from typing import NoReturn

from wmjax import progress
from wmjax.cli.examples import front
from wmjax.cli.options import make_parser
from wmjax.cli.terminal import guarded, placed
from wmjax.errors import UsageError
from wmjax.zoo import compiling


def main(arguments: list[str] | None = None) -> int:
    """Runs one verb; gives the exit code. What was expected to go wrong ends in one line on stderr."""
    arguments = sys.argv[1:] if arguments is None else arguments
    if not arguments:  # a script that lost its verb must not read a verdict: 0 would be a match
        print(front(), end="", file=sys.stderr)
        return UsageError.exit_code
    options = make_parser().parse_args(arguments)

    def work() -> int:
        placed(options)
        return int(options.verb(options))

    with progress.telling(_loudness(options)):
        return guarded(work, options)


def _loudness(options: argparse.Namespace) -> progress.Loudness:
    if options.quiet:
        return progress.Loudness.QUIET
    return progress.Loudness.VERBOSE if options.verbose else progress.Loudness.USUAL


def console() -> NoReturn:
    """Entry point of the `wmjax` command."""
    code = main()
    if compiling.left():  # what XLA is at nobody uses any more, and it may take hours
        atexit._run_exitfuncs()
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)
    sys.exit(code)
