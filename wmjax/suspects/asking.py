"""Asking a suspect that may be slow, silent or hostile: several calls at once, and a time limit for each. No JAX."""

import contextlib
import queue
import sys
import threading
import time
from collections.abc import Callable, Sequence

import numpy as np

from wmjax.errors import AccessError, GoneError
from wmjax.stats import NAMES, Answers
from wmjax.suspects.contract import Askable, answered

Back = Answers | AccessError


def ask_each(
    askable: Askable,
    images: Sequence[np.ndarray],
    classes: int,
    names: dict[str, int] | None = None,
    *,
    before: Callable[[Sequence[int]], None] = lambda places: None,
    told: Callable[[int, Back], None] = lambda place, back: None,
) -> list[Back]:
    """Asks once about each image, in a call of its own; what came back, or why nothing did, in the order of the images.

    A suspect that is gone, or a call that hangs, ends the asking: no further one is made. A process of its own is
    killed; a thread of this one cannot be ended, and is left to itself.

    Args:
      askable: whom.
      images: uint8 [H, W, C] each, as the suspect takes them.
      classes: that the key is for.
      names: as of `stats.read_answers`.
      before: told the places of images before their calls are made, of as many as are made at once; what it raises
        ends the asking.
      told: told what came back from each, before the thread that made that call makes another; neither is called twice
        at once.

    Raises:
      GoneError: the suspect is not there any more; calls that were under way were told as failed.
    """
    calls = _Calls(askable, images, classes, names, before, told)
    with contextlib.redirect_stdout(sys.stderr):  # for all threads at once: stdout is the verdict's
        for _ in range(min(askable.concurrency, len(images))):
            threading.Thread(target=calls.work, daemon=True).start()  # a daemon: one that hangs keeps no process alive
        return calls.gather()


class _Calls:
    """The calls about some images: what is to be made, what was begun when, and what came back."""

    def __init__(
        self,
        askable: Askable,
        images: Sequence[np.ndarray],
        classes: int,
        names: dict[str, int] | None,
        before: Callable[[Sequence[int]], None],
        told: Callable[[int, Back], None],
    ):
        self._askable, self._images, self._classes, self._names = askable, images, classes, names
        self._before, self._told = before, told
        self._todo = list(reversed(range(len(images))))
        self._back: queue.SimpleQueue[BaseException | None] = queue.SimpleQueue()  # an error that ends the asking
        self._begun: dict[int, float] = {}
        self._found: dict[int, Back] = {}
        self._gone: GoneError | None = None
        self._ended = threading.Event()
        self._one = threading.Lock()  # begins a call, or tells what came of one

    def work(self) -> None:
        """Makes one call after another, on a thread of its own."""
        try:
            while (place := self._begin()) is not None:
                try:
                    given = self._answer(place)
                except AccessError as error:
                    self._end(place, error)
                else:
                    self._end(place, *given)
        except BaseException as error:  # told to who gathers, or it would wait for ever
            self._ended.set()
            self._back.put(error)

    def _begin(self) -> int | None:
        """The next image's place; None where there is none, or asking has ended."""
        with self._one:
            if self._ended.is_set() or not self._todo:
                return None
            place = self._todo.pop()
            if place % self._askable.concurrency == 0:  # to remember each alone takes a disk longer than calls take
                self._before(range(place, min(place + self._askable.concurrency, len(self._images))))
            self._begun[place] = time.monotonic()
            return place

    def _answer(self, place: int) -> tuple[Answers, str | None]:
        """What came back, and the name in it."""
        own: dict[str, int] | None = None if self._names is None else {}
        given = answered(self._askable.suspect, self._images[place][None], self._classes, own)
        return given, next(iter(own or ()), None)

    def _end(self, place: int, back: Back, word: str | None = None) -> None:
        """Tells what came of a call, unless it was given up before."""
        with self._one:
            if self._begun.pop(place, None) is None:
                return
            if word is not None and self._names is not None:
                number = self._names.setdefault(word, NAMES + len(self._names))
                back = Answers(np.array([number]), None, self._classes)
            if isinstance(back, GoneError):
                self._gone = self._gone or back
                self._ended.set()
            self._told(place, back)
            self._found[place] = back
        self._back.put(None)

    def gather(self) -> list[Back]:
        """Waits for all that comes back."""
        try:
            while len(self._found) < len(self._images) and (self._gone is None or self._begun):
                if error := self._wait():
                    raise error
        finally:
            self._ended.set()
        if self._gone:
            raise self._gone
        return [self._found[place] for place in range(len(self._images))]

    def _wait(self) -> BaseException | None:
        """Waits until something comes back; calls that take too long are given up."""
        timeout = self._askable.timeout
        oldest = min(list(self._begun.values()), default=time.monotonic())
        try:
            return self._back.get(timeout=max(0.0, oldest + timeout - time.monotonic()))
        except queue.Empty:
            late = [place for place, begun in list(self._begun.items()) if time.monotonic() - begun >= timeout]
        why = f"suspect {self._askable.suspect.name} did not answer within {timeout:g} seconds"
        for place in late:
            self._end(place, self._gone or GoneError(why))
        return None
