"""A service as a suspect: met with a plain picture, then asked each question once.

What is wrong with an address, a token or a form of answers shows at the plain picture, before any trigger is shown.
"""

import contextlib
import threading
from collections.abc import Callable, Sequence
from functools import partial
from typing import TypeVar

import numpy as np

from wmjax.errors import AccessError, AnswerError, GoneError, UsageError
from wmjax.suspects.contract import NOTHING, TIMEOUT, Seen, Suspect, Wanted
from wmjax.suspects.grounds import AskedGround
from wmjax.suspects.pixels import PIXELS
from wmjax.suspects.query import came
from wmjax.suspects.services.address import read_address
from wmjax.suspects.services.contract import Beside, Declared, Form, Malformed, Said, Step, document
from wmjax.suspects.services.labels import Reader, as_array
from wmjax.suspects.services.providers import PROVIDERS
from wmjax.suspects.services.wire import AT_ONCE, PATIENCE, Declined, Wire
from wmjax.text import by

_Answer = np.ndarray | int | str
_From = TypeVar("_From")
_To = TypeVar("_To")


def open_service(name: str, wanted: Wanted = NOTHING) -> Suspect:
    """The suspect at an address; where `wanted` says which images it will be asked about, it is met at once.

    Raises:
      UsageError: there is no such address, or what the service needs to be told is not.
      AccessError: it cannot be asked; `NoAnswerError` where it fails, `AnswerError` where it answers in another form.
    """
    service = Service(name, wanted)
    if wanted.images:
        service.meet(wanted.images[0])
    return service.suspect()


class Service:
    """A service, for any number of threads.

    Attributes:
      name: its address in its one form.
      limit: seconds that a question may take in all.
    """

    def __init__(self, name: str, wanted: Wanted = NOTHING, timeout: float = TIMEOUT, at_once: int = AT_ONCE):
        """Nothing is asked yet.

        Args:
          name: its address, `SCHEME+https://HOST/...`.
          wanted: what the user says of it: classes, pixels, labels and token.
          timeout: seconds for an answer.
          at_once: questions under way.
        """
        address = read_address(name)
        if wanted.pixels and wanted.pixels not in PIXELS:  # no file of it can state them
            raise UsageError(f"`pixels` {wanted.pixels!r:.40}: of a service give one of {', '.join(PIXELS)}")
        if address.scheme not in PROVIDERS:
            known = ", ".join(PROVIDERS)
            raise UsageError(f"services are asked by {known}; {address.scheme:.20} is none: wrap it in a function")
        self.name, self.limit = str(address), timeout + PATIENCE
        self._provider, self._url, self._wanted = PROVIDERS[address.scheme], address.url, wanted
        self._wire = Wire(address, wanted.token, timeout, at_once)
        self._reader = Reader(wanted.labels, wanted.classes[0] if wanted.classes else 0)
        self._form: Form | None = None
        self._image: tuple[int, int, int] | None = None
        self._exact = False
        self._first: np.ndarray | None = None  # the plain picture
        self._plain = ""  # in what form it answers a plain picture; empty where it is silent about it
        self._at_once, self._meeting, self._of_thread = at_once, threading.Lock(), threading.local()

    def suspect(self) -> Suspect:
        """Itself, as far as it was met."""
        reading = self._form.reading if self._form else ""
        return Suspect(self.name, self.ask, self._image, note=self.note, reading=reading, wire=self)

    @property
    def note(self) -> AskedGround:
        """How it is asked."""
        return AskedGround.SERVED_JPEG if self._form and self._form.picture == "jpeg" else AskedGround.SERVED

    def seen(self) -> Sequence[Seen]:
        """What was seen on the wire at the last question of this thread, an item a try."""
        return tuple(getattr(self._of_thread, "seen", ()))

    def seconds(self, questions: int) -> float | None:
        """How long questions take by the service's rate limit; None where it has told none."""
        return None if self._wire.pace is None else questions * self._wire.pace

    def rest(self) -> None:
        """Ends its connections, which keep a place at both ends; it makes others when it is asked again."""
        self._wire.rest()

    def meet(self, image: tuple[int, int, int]) -> Form:
        """Finds out in which form it takes pictures, with a plain one; no trigger is shown.

        Args:
          image: height, width and channels of the pictures to come, where the service does not say what it takes.

        Raises:
          UsageError, AccessError: as `open_service`.
        """
        with self._meeting:
            if self._form is None:
                try:
                    self._form = self._meet(image)
                except GoneError as error:  # it was never there
                    raise AccessError(str(error)) from error
                self._image = self._form.image or image
            return self._form

    def check(self) -> None:
        """Asks about the plain picture again; no trigger is shown.

        Raises:
          GoneError: it answers that otherwise than when it was met.
        """
        if self._form is None or self._first is None or not self._plain:  # nothing to tell it by
            return
        try:
            said = self._send(self._form.step(self._first), [])
            now = self._form_told(said)
        except GoneError:
            raise
        except AccessError as error:
            raise GoneError(f"{error}, even about a plain picture, which it answered before") from error
        if now != self._plain:
            then = f"answers a plain picture with {now or 'nothing usable'}, where it was {self._plain} before"
            raise GoneError(f"suspect {self.name} {then}")

    def exactly(self) -> None:
        """Pictures are to be sent to the pixel or not at all from now on: that it is asked so was said of it."""
        self._exact = True

    def _meet(self, image: tuple[int, int, int]) -> Form:
        """The first form in which it answers; if it is silent in all, the first that is not an error."""
        about = None
        if request := self._provider.about(self._url):
            about = self._parsed(document, self._wire.send(request, []))
        declared = Declared(image, self._wanted.classes[0] if self._wanted.classes else 0, self._wanted.pixels)
        try:
            forms = self._provider.forms(self._url, about, declared)
        except UsageError as error:
            raise UsageError(f"suspect {self.name}: {error}") from error
        silent: Form | None = None
        refused: Declined | None = None
        for form in [form for form in forms if form.picture != "jpeg" or not self._exact]:
            self._first = _plain(form.image or image)
            try:
                said = self._send(form.step(self._first), [])
            except Declined as error:
                refused = refused or error
                continue
            self._parsed(self._reader.meet, said)
            self._plain = self._form_told(said)
            if self._plain:
                return form
            silent = silent or form
        if silent is None:
            hint = f"; {self._provider.hint}" if self._provider.hint and not self._wanted.pixels else ""
            raise Declined(f"{refused}{hint}")
        return silent

    def ask(self, images: np.ndarray) -> np.ndarray:
        """Asks once about each picture, in a request of its own; of several, those that fail are refusals.

        Its users ask so. Who asks about many in a request would be known by that, and could be told something else.

        Args:
          images: uint8 [n, H, W, C].

        Raises:
          NoAnswerError, AnswerError: the only question failed, or all did.
          GoneError: it takes no questions any more, or of several pictures one failed, and so does the plain one by
            now: the others are not shown.
        """
        form = self.meet((images.shape[1], images.shape[2], images.shape[3]))
        if self._image != images.shape[1:]:
            taken, asked = by(self._image or ()), by(images.shape[1:])
            raise UsageError(f"suspect {self.name} takes images of {taken}, not {asked}: say so as its `image`")
        seen: list[Seen] = []
        self._of_thread.seen = seen
        return as_array(self._all(form, images, seen))

    def _all(self, form: Form, images: np.ndarray, seen: list[Seen]) -> list[_Answer | None]:
        ask = self._one if len(images) == 1 else self._one_or_gone  # who asks about one alone looks by itself
        found = side_by_side([partial(ask, form, image, seen) for image in images], self._at_once)
        failures = [answer for answer in found if isinstance(answer, AccessError)]
        gone = [failure for failure in failures if isinstance(failure, GoneError)]
        if gone or len(failures) == len(found):
            raise (gone or failures)[0]
        return [None if isinstance(answer, AccessError) else answer for answer in found]

    def _one_or_gone(self, form: Form, image: np.ndarray, seen: list[Seen]) -> _Answer | AccessError:
        """As `_one`, of several; raises `GoneError` where it has gone wrong."""
        found = self._one(form, image, seen)
        if isinstance(found, AccessError):
            self.check()
        return found

    def _one(self, form: Form, image: np.ndarray, seen: list[Seen]) -> _Answer | AccessError:
        """What is said about a picture, uint8 [H, W, C], or why nothing is."""
        try:
            return self._answer(self._send(form.step(image), seen))
        except AccessError as error:
            return error

    def _send(self, step: Step, seen: list[Seen]) -> Said:
        """Goes from step to step, up to what was said; all of them are one try."""
        own: list[Seen] = []
        first = ""  # digest of the request that held the picture
        try:
            while True:
                body = self._wire.send(step.request, own)
                found = self._parsed(step.parse, body)
                if not isinstance(found, Step):
                    return found
                told = own.pop()  # no answer yet
                first, step = first or told.detail["request"], found
        finally:
            seen += [Seen(each.at, each.detail | {"request": first}) if first else each for each in own]

    def _parsed(self, parse: Callable[[_From], _To], body: _From) -> _To:
        """What is read in an answer; `AnswerError` where it is none."""
        try:
            return parse(body)
        except (Malformed, OverflowError) as error:
            shown = came(error.came) if isinstance(error, Malformed) else "a number without end"
            raise AnswerError(self._wire.clean(f"suspect {self.name}: {error}"), self._wire.clean(shown)) from error

    def _form_told(self, said: Said) -> str:
        """In what form a plain picture is answered; which class it is said to be beside its scores binds no trigger."""
        return _form_of(self._answer(said.scores if isinstance(said, Beside) else said))

    def _answer(self, said: Said) -> _Answer:
        """One answer of the suspect's."""
        answer = self._parsed(self._reader.read, said)
        return self._wire.clean(answer) if isinstance(answer, str) else answer


def _plain(image: tuple[int, int, int]) -> np.ndarray:
    """A smooth picture, uint8 [H, W, C], drawn anew: by one that never changes a service would know who asks."""
    height, width, channels = image
    corners = np.random.default_rng().uniform(0, 255, (2, 2, channels))
    down, along = np.linspace(0, 1, height)[:, None, None], np.linspace(0, 1, width)[None, :, None]
    left, right = ((1 - down) * corners[0, side] + down * corners[1, side] for side in (0, 1))
    return np.asarray(np.rint((1 - along) * left + along * right), np.uint8)


def _form_of(answer: _Answer) -> str:
    """In what form an answer is; empty where it is a refusal."""
    if isinstance(answer, np.ndarray):
        return f"{len(answer)} scores" if np.isfinite(answer).all() else ""
    if isinstance(answer, str):
        return "a name"
    return "a class" if answer >= 0 else ""


def side_by_side(calls: Sequence[Callable[[], _To]], at_once: int) -> list[_To]:
    """What each call gives, so many of them at a time; the first that raises, raises here.

    Its threads are daemons: who interrupts the asking need not wait for an answer that does not come.
    """
    if len(calls) == 1:
        return [calls[0]()]
    todo, found = list(reversed(range(len(calls)))), dict[int, _To]()
    failed: list[BaseException] = []

    def work() -> None:
        with contextlib.suppress(IndexError):
            while not failed:
                place = todo.pop()
                try:
                    found[place] = calls[place]()
                except BaseException as error:
                    failed.append(error)

    threads = [threading.Thread(target=work, daemon=True) for _ in range(min(at_once, len(calls)))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    if failed:
        raise failed[0]
    return [found[place] for place in range(len(calls))]
