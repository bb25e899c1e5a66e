"""The verb that says what a file is."""

import argparse
from typing import Any

from wmjax.cli.terminal import say


def show(options: argparse.Namespace) -> int:
    """Says what a file or folder is, without a secret."""
    from wmjax.showing import show as look

    shown = look(options.path)
    width = max(map(len, shown.facts), default=0)
    lines = [f"  {name.replace('_', ' '):<{width}}  {line}" for name, line in _lines(shown.facts)]
    say(options, {"version": 1, **shown.to_json()}, f"{shown.path}: {shown.words}", *lines)
    return 0


def _lines(facts: Any) -> list[tuple[str, str]]:
    """Each fact, lists item by item."""
    found = []
    for name, value in facts.items():
        items = [] if value is None else value if isinstance(value, list) else [value]
        found += [(name if place == 0 else "", _told(item)) for place, item in enumerate(items)]
    return found


def _told(value: Any) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    return f"{value:,}" if isinstance(value, int) else str(value)
