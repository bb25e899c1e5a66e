"""A family's program, compiled beside all else: XLA cannot be interrupted, but nobody has to wait for it.

One is compiled at a time. So while one takes too long, families that a runtime can answer for are answered for by it.
"""

import time
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor, wait

_beside = ThreadPoolExecutor(1, "wmjax-compile")
_begun = list[Future[object]]()


class Compiling:
    """A program that is compiled once somebody wants it.

    >>> Compiling(lambda: None).within(10.0)
    True
    """

    def __init__(self, compile: Callable[[], object]):
        """Nothing is done yet.

        Args:
          compile: does it; what it raises, whoever runs the program will see again.
        """
        self._compile = compile
        self._began: float | None = None
        self._done: Future[object] | None = None

    def within(self, seconds: float) -> bool:
        """Whether it is there after so many seconds; these count from the first call."""
        self._began = time.monotonic() if self._began is None else self._began
        if self._done is None:
            self._done = _beside.submit(self._compile)
            _begun.append(self._done)
        wait([self._done], max(0.0, self._began + seconds - time.monotonic()))
        there = self._done.done()
        if self._done.cancel():  # it waited for another one, as `finish` would until that is done
            self._done = None
        return there

    def finish(self) -> None:
        """Waits for it if it was begun: whoever runs it now would compile it a second time beside that."""
        wait([self._done] if self._done else [])


def left() -> bool:
    """Whether a program is still being compiled: an end of the process would wait for it."""
    return not all(one.done() for one in _begun)
