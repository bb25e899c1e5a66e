"""Writes the reference of the command line from its parser.

Command   python docs/command_line.py
"""

import argparse
from pathlib import Path

from wmjax.cli.examples import EXAMPLES
from wmjax.cli.options import make_parser

PAGE = Path(__file__).parent / "reference" / "command-line.md"
HEAD = """# Command line

This page is generated from the argument parser by `docs/command_line.py`; `wmjax VERB --help` says the same.

Every verb takes `--json`, which prints one document on stdout and nothing else there. Progress and notes go to stderr;
`--quiet` leaves errors and warnings alone there, `--verbose` tells progress more often and where an error comes from.
Colours are for terminals, and not with `NO_COLOR`; [`wmjax completion`](#wmjax-completion) is for bash and zsh.
[Exit codes](exit-codes.md) and [documents](json.md) have pages of their own. Paths may name objects in a
[bucket](../guides/buckets.md).

"""


def page() -> str:
    """The page as the parser has it."""
    (verbs,) = [one for one in make_parser()._actions if isinstance(one, argparse._SubParsersAction)]
    told = {choice.dest: choice.help for choice in verbs._choices_actions}
    contents = [f"| [`wmjax {name}`](#wmjax-{name}) | {told[name]} |" for name in verbs.choices]
    parts = ["\n".join(["| verb | what it does |", "|---|---|", *contents]) + "\n"]
    for name, parser in verbs.choices.items():
        if parser.more:
            parser.more(parser)
        parts.append(f"## wmjax {name}\n\n{_sentence(told[name])}\n\n{_usage(name, parser)}\n\n{_options(parser)}")
        parts.append("Examples:\n\n```sh\n" + "\n".join(line for _, line in EXAMPLES[name]) + "\n```\n")
    return HEAD + "\n".join(parts)


def _sentence(text: str) -> str:
    return f"{text[0].upper()}{text[1:]}."


def _usage(name: str, parser: argparse.ArgumentParser) -> str:
    """The arguments without a name and the options that must be given."""
    needed = [f"{action.option_strings[0]} {_value(action)}" for action in parser._actions if _is_needed(action)]
    places = [_place(action) for action in parser._actions if not action.option_strings]
    words = " ".join([*needed, "[OPTIONS]", *places])
    return f"```text\nwmjax {name} {words}\n```"


def _is_needed(action: argparse.Action) -> bool:
    return bool(action.option_strings) and action.required


def _place(action: argparse.Action) -> str:
    name = "|".join(map(str, action.choices)) if action.choices else str(action.metavar or action.dest)
    return f"[{name}]" if action.nargs == "?" else f"{name}..." if action.nargs == "+" else name


def _value(action: argparse.Action) -> str:
    """What an option takes, in one word; nothing for a flag."""
    if action.nargs == 0:
        return ""
    return "|".join(map(str, action.choices)) if action.choices else str(action.metavar or action.dest.upper())


def _options(parser: argparse.ArgumentParser) -> str:
    rows = ["| argument | meaning |", "|---|---|"]
    for action in parser._actions:
        if action.help == argparse.SUPPRESS or action.dest in ("help", "json", "quiet", "verbose"):
            continue
        name = ", ".join(action.option_strings) or _place(action)
        value = _value(action) if action.option_strings else ""
        told = (parser._get_formatter()._expand_help(action) or "").replace("|", "\\|").replace("*", "\\*")
        cell = f"{name} {value}".strip().replace("|", "\\|")
        rows.append(f"| `{cell}` | {told} |")
    return "\n".join(rows) + "\n"


if __name__ == "__main__":
    PAGE.write_text(page())
