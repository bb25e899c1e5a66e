"""The verb that prints a shell's completion of all others."""

import argparse
from pathlib import Path
from typing import Any

from wmjax.cli.terminal import say

SHELLS = ("bash", "zsh")


def completion(options: argparse.Namespace) -> int:
    """Prints a script that completes verbs, options and files."""
    import shtab

    from wmjax.cli.options import make_parser
    from wmjax.keys.schemes import SCHEMES

    parser, names = make_parser(), {"scheme": list(SCHEMES), "data": ["cifar10", "digits"]}
    for verb in verbs(parser).values():
        if verb.more:
            verb.more(verb)
        for action in verb._actions:
            if action.dest in names:
                action.choices = names[action.dest]
            elif takes_path(action):
                action.complete = shtab.FILE
    script = shtab.complete(parser, options.shell)
    if options.json:
        say(options, {"version": 1, "shell": options.shell, "script": script})
    else:
        print(script)
    return 0


def verbs(parser: argparse.ArgumentParser) -> dict[str, Any]:
    """The parser of each verb."""
    (found,) = [one for one in parser._actions if isinstance(one, argparse._SubParsersAction)]
    return dict(found.choices)


def takes_path(action: argparse.Action) -> bool:
    """Whether an argument may be a file or a folder: one that is not a number, a choice or a flag."""
    return action.nargs != 0 and action.type in (None, Path) and not action.choices
