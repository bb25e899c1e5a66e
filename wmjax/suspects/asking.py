"""Asking a suspect that may be slow, silent or hostile: several calls at once, and a time limit for each. No JAX."""

import contextlib
import queue
import sys
import threading
import time
from collections.abc import Mapping, Sequence

import numpy as np

from wmjax.errors import AccessError, InvalidFile
from wmjax.stats import Answers
from wmjax.suspects.contract import Askable, Late, Suspect, answered


def ask_each(askable: Askable, images: Sequence[np.ndarray], classes: int) -> list[Answers | AccessError]:
    """Asks once about each image, in a call of its own; what came back, or why nothing did, in the order of the images.

    A call that hangs ends the asking: no further one is made. A process of its own is killed; a thread of this one
    cannot be ended, and is left to itself.

    Args:
      askable: whom.
      images: uint8 [H, W, C] each, as the suspect takes them.
      classes: that the key is for.

    Raises:
      AccessError: nothing was answered, and a call took longer than the time limit.
      InvalidFile: a later one did.
    """
    calls = _Calls(askable.suspect, images, classes)
    with contextlib.redirect_stdout(sys.stderr):  # for all threads at once: stdout is the verdict's
        for _ in range(min(askable.concurrency, len(images))):
            threading.Thread(target=calls.work, daemon=True).start()  # a daemon: one that hangs keeps no process alive
        return calls.gather(askable.timeout)


class _Calls:
    """The calls about some images: what is to be made, what was begun when, and what came back."""

    def __init__(self, suspect: Suspect, images: Sequence[np.ndarray], classes: int):
        self._suspect, self._images, self._classes = suspect, images, classes
        self._todo: queue.SimpleQueue[int] = queue.SimpleQueue()
        self._back: queue.SimpleQueue[tuple[int, Answers | AccessError]] = queue.SimpleQueue()
        self._begun: dict[int, float] = {}
        self._ended = threading.Event()
        for place in range(len(images)):
            self._todo.put(place)

    def work(self) -> None:
        """Makes one call after another, on a thread of its own."""
        while not self._ended.is_set():
            try:
                place = self._todo.get_nowait()
            except queue.Empty:
                return
            self._begun[place] = time.monotonic()
            try:
                back: Answers | AccessError = answered(self._suspect, self._images[place][None], self._classes)
            except AccessError as error:
                back = error
            self._back.put((place, back))

    def gather(self, timeout: float) -> list[Answers | AccessError]:
        """Waits for all that comes back."""
        found: dict[int, Answers | AccessError] = {}
        try:
            while len(found) < len(self._images):
                oldest = min(list(self._begun.values()), default=time.monotonic())
                try:
                    place, back = self._back.get(timeout=max(0.0, oldest + timeout - time.monotonic()))
                except queue.Empty:
                    if self._begun and not self._late(timeout):
                        continue
                    silent = f"suspect {self._suspect.name} did not answer within {timeout:g} seconds"
                    raise self._silent(silent, found) from None
                del self._begun[place]
                if isinstance(back, Late):
                    raise self._silent(str(back), found)
                found[place] = back
        finally:
            self._ended.set()
        return [found[place] for place in range(len(self._images))]

    @staticmethod
    def _silent(why: str, found: Mapping[int, Answers | AccessError]) -> AccessError | InvalidFile:
        """What a call that takes too long ends the asking with."""
        answered_some = any(isinstance(back, Answers) for back in found.values())
        return (InvalidFile if answered_some else AccessError)(why)

    def _late(self, timeout: float) -> bool:
        return any(time.monotonic() - begun >= timeout for begun in list(self._begun.values()))
