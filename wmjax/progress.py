"""Progress bars on stderr, silent where stderr is no terminal."""

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager


@contextmanager
def progress(title: str, total: int) -> Iterator[Callable[..., None]]:
    """Shows a bar and yields `advance(steps, text="")`, which moves it and replaces the text behind it.

    Args:
      title: words before the bar.
      total: steps in all.
    """
    if not sys.stderr.isatty():
        yield lambda steps, text="": None
        return
    from rich.console import Console
    from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

    columns = (TextColumn("{task.description}"), BarColumn(), TextColumn("{task.percentage:3.0f}%"))
    with Progress(
        *columns, TimeRemainingColumn(), TextColumn("{task.fields[text]}"), console=Console(stderr=True)
    ) as bar:
        task = bar.add_task(title, total=total, text="")

        def advance(steps: int, text: str | None = None) -> None:
            if text is None:
                bar.update(task, advance=steps)
            else:
                bar.update(task, advance=steps, text=text)

        yield advance
