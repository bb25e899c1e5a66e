"""Progress on stderr: a bar on a terminal; elsewhere a line now and then, for logs of long runs."""

import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from wmjax.text import printable


@contextmanager
def progress(title: str, total: int, shown: bool = True) -> Iterator[Callable[..., None]]:
    """Shows a bar and yields `advance(steps, text="")`, which moves it and replaces the text behind it.

    Args:
      title: words before the bar.
      total: steps in all.
      shown: else nothing is written; of many hosts one is enough.
    """
    if not shown:
        yield lambda steps, text="": None
        return
    if not sys.stderr.isatty():
        yield _lines(title, total)
        return
    from rich.console import Console
    from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

    title = printable(title)
    columns = (TextColumn("{task.description}", markup=False), BarColumn(), TextColumn("{task.percentage:3.0f}%"))
    with Progress(
        *columns, TimeRemainingColumn(), TextColumn("{task.fields[text]}", markup=False), console=Console(stderr=True)
    ) as bar:
        task = bar.add_task(title, total=total, text="")

        def advance(steps: int, text: str = "") -> None:
            bar.update(task, advance=steps)
            if text:
                bar.update(task, text=text)

        yield advance


def _lines(title: str, total: int) -> Callable[..., None]:
    """A stand-in for the bar: a line every half minute, none for what is done sooner."""
    done, last, latest = 0, time.monotonic(), ""

    def advance(steps: int, text: str = "") -> None:
        nonlocal done, last, latest
        done, latest = done + steps, text or latest
        if time.monotonic() - last > 30:
            last = time.monotonic()
            print(f"{title}: {done / max(1, total):.0%}  {latest}", file=sys.stderr, flush=True)

    return advance
