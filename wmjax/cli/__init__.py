"""The command line: verbs over the Python API, no logic of its own."""

import sys
from typing import NoReturn

from wmjax.cli.options import make_parser
from wmjax.cli.terminal import guarded, placed


def main(arguments: list[str] | None = None) -> int:
    """Runs one verb; gives the exit code. What was expected to go wrong ends in one line on stderr."""
    options = make_parser().parse_args(arguments)

    def work() -> int:
        placed(options)
        return int(options.verb(options))

    return guarded(work, options)


def console() -> NoReturn:
    """Entry point of the `wmjax` command."""
    sys.exit(main())
