"""Progress on stderr: a bar on a terminal or in a notebook; elsewhere a line now and then, for logs of long runs."""

import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from enum import Enum

from wmjax.text import printable

Advance = Callable[..., None]


class Loudness(Enum):
    """How much is told on stderr beside errors and warnings; the value: seconds between the lines of a log."""

    QUIET = None  # nothing
    USUAL = 30.0
    VERBOSE = 2.0


_SHORT = 2.0  # seconds; nothing is left on the terminal of what took less
_screen = threading.Lock()
_loudness = ContextVar("loudness", default=Loudness.USUAL)


def loudness() -> Loudness:
    """How much is told here and now."""
    return _loudness.get()


@contextmanager
def telling(how: Loudness) -> Iterator[None]:
    """Tells so much within the block.

    >>> with telling(Loudness.QUIET):
    ...     print(loudness().name)
    QUIET
    """
    before = _loudness.set(how)
    try:
        yield
    finally:
        _loudness.reset(before)


@contextmanager
def progress(title: str, total: int, shown: bool = True) -> Iterator[Advance]:
    """Shows a bar and yields `advance(steps, text="")`, which moves it and replaces the text behind it.

    Args:
      title: words before the bar.
      total: steps in all.
      shown: else nothing is written; of many hosts one is enough.
    """
    pause = loudness().value
    if not shown or pause is None:
        yield lambda steps, text="": None
    elif sys.stderr.isatty():
        if not _screen.acquire(blocking=False):  # one bar at a time: of what is within another, that one tells
            yield lambda steps, text="": None
            return
        try:
            with _bar(title, total) as advance:
                yield advance
        finally:
            _screen.release()
    elif _in_notebook():
        yield _lines(title, total, 0.5, over=True)
        print(file=sys.stderr)
    else:
        yield _lines(title, total, pause)


def _in_notebook() -> bool:
    """Whether a notebook shows what is written: one that was not imported by it runs nowhere else."""
    shell = sys.modules["IPython"].get_ipython() if "IPython" in sys.modules else None
    return type(shell).__name__ == "ZMQInteractiveShell"


@contextmanager
def _bar(title: str, total: int) -> Iterator[Advance]:
    from rich.console import Console
    from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

    title, began = printable(title), time.monotonic()
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
        bar.live.transient = time.monotonic() - began < _SHORT


def _lines(title: str, total: int, pause: float, over: bool = False) -> Advance:
    """A stand-in for the bar: a line every so many seconds, none for what is done sooner; or one line, written over."""
    done, latest = 0, ""
    began = last = time.monotonic()

    def advance(steps: int, text: str = "") -> None:
        nonlocal done, last, latest
        done, latest = done + steps, text or latest
        now = time.monotonic()
        if now - last > pause or (over and done >= total):
            last = now
            line = printable(f"{title}: {done / max(1, total):.0%}{left(done, total, now - began)}  {latest}")
            print(f"\r{line:<100}" if over else line, end="" if over else "\n", file=sys.stderr, flush=True)

    return advance


def left(done: int, total: int, seconds: float) -> str:
    """How long the rest will take at the pace so far; nothing at the end, or before anything is done.

    >>> left(30, 120, 25.0)
    ', 1:15 left'
    """
    if not 0 < done < total:
        return ""
    minutes, rest = divmod(round(seconds / done * (total - done)), 60)
    hours, minutes = divmod(minutes, 60)
    return f", {hours}:{minutes:02}:{rest:02} left" if hours else f", {minutes}:{rest:02} left"
