"""Asking a suspect that may be slow, silent or hostile: several calls at once, and a time limit for each. No JAX."""

import contextlib
import queue
import sys
import threading
import time
from collections.abc import Callable, Mapping, Sequence

import numpy as np

from wmjax.errors import AccessError, GoneError
from wmjax.stats import NAMES, Answers
from wmjax.suspects.contract import Askable
from wmjax.suspects.query import answered

Back = Answers | AccessError


def ask_each(
    askable: Askable,
    images: Sequence[np.ndarray],
    classes: int,
    names: dict[str, int] | None = None,
    *,
    before: Callable[[Sequence[int]], None] = lambda places: None,
    told: Callable[[Mapping[int, Back]], None] = lambda backs: None,
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
      told: told what came back since it was told last, by place, before other calls are made in place of those; what it
        raises ends the asking.

    Raises:
      GoneError: the suspect is not there any more; calls that were under way were told as failed.
    """
    calls = _Calls(askable, images, classes, names)
    with contextlib.redirect_stdout(sys.stderr):  # for all threads at once: stdout is the verdict's
        try:
            return calls.make(before, told)
        finally:
            calls.end()


class _Calls:
    """Calls about some images. This thread says which are made, and hears what comes back; others make them."""

    def __init__(self, askable: Askable, images: Sequence[np.ndarray], classes: int, names: dict[str, int] | None):
        self._askable, self._images, self._classes, self._names = askable, images, classes, names
        self._todo: queue.SimpleQueue[int | None] = queue.SimpleQueue()
        self._done: queue.SimpleQueue[tuple[int, Answers | BaseException, str | None]] = queue.SimpleQueue()
        self._begun: dict[int, float] = {}  # the oldest first
        self._threads = min(askable.concurrency, len(images))
        for _ in range(self._threads):  # daemons: one that hangs keeps no process alive
            threading.Thread(target=self._work, daemon=True).start()

    def _work(self) -> None:
        """Makes calls, on a thread of its own."""
        while (place := self._todo.get()) is not None:
            own: dict[str, int] | None = None if self._names is None else {}
            try:
                back: Answers | BaseException
                back = answered(self._askable.suspect, self._images[place][None], self._classes, own)
            except BaseException as error:  # told to who waits, or it would wait for ever
                back = error
            self._done.put((place, back, next(iter(own or ()), None)))

    def end(self) -> None:
        """No more calls."""
        for _ in range(self._threads):
            self._todo.put(None)

    def make(self, before: Callable[[Sequence[int]], None], told: Callable[[Mapping[int, Back]], None]) -> list[Back]:
        """Makes as many calls at once as may be, until all came back or the suspect is gone."""
        n, most, gone = len(self._images), self._askable.concurrency, None
        found: dict[int, Back] = {}
        place = 0
        while len(found) < n and not (gone and not self._begun):
            while not gone and place < n and len(self._begun) < most:
                if place % most == 0:  # to remember each alone takes a disk longer than calls take
                    before(range(place, min(place + most, n)))
                self._begun[place] = time.monotonic()
                self._todo.put(place)
                place += 1
            backs = self._wait(gone)
            told(backs)
            found |= backs
            gone = gone or next((back for back in backs.values() if isinstance(back, GoneError)), None)
        if gone:
            raise gone
        return [found[place] for place in range(n)]

    def _wait(self, gone: GoneError | None) -> dict[int, Back]:
        """Waits until something comes back, and gives all that did; calls that take too long are given up."""
        timeout, oldest = self._askable.timeout, next(iter(self._begun.values()))
        backs: dict[int, Back] = {}
        try:
            came = self._done.get(timeout=max(0.0, oldest + timeout - time.monotonic()))
            while True:
                self._take(backs, *came)
                came = self._done.get_nowait()
        except queue.Empty:
            if backs:
                return backs
        why = gone or GoneError(f"suspect {self._askable.suspect.name} did not answer within {timeout:g} seconds")
        late = [place for place, begun in self._begun.items() if time.monotonic() - begun >= timeout]
        for place in late:
            del self._begun[place]
        return dict.fromkeys(late, why)

    def _take(self, backs: dict[int, Back], place: int, back: Answers | BaseException, word: str | None) -> None:
        """Adds what came of a call, unless that was given up before."""
        if self._begun.pop(place, None) is None:
            return
        if not isinstance(back, Answers | AccessError):
            raise back
        if word is not None and self._names is not None:
            number = self._names.setdefault(word, NAMES + len(self._names))
            back = Answers(np.array([number]), None, self._classes)
        backs[place] = back
