"""The way to a service: one client with TLS, limits of time and size, retries, and a record of all that was seen.

Nothing is followed anywhere else, or the token would go along. What comes back is read as far as an answer can be long.
A question that a service puts off (429, 503, a lost connection) is sent again when the service says; one that it
answered, however badly, never.
"""

import contextlib
import datetime
import hashlib
import http.client
import json
import logging
import ssl
import threading
import time

from wmjax.errors import AnswerError, GoneError, NoAnswerError, UsageError
from wmjax.suspects.contract import TIMEOUT, Seen
from wmjax.suspects.services.address import Address
from wmjax.suspects.services.contract import Request
from wmjax.suspects.services.lines import Lines, Reply, TooLongError
from wmjax.suspects.services.ratelimits import pace, wait
from wmjax.text import cut, printable

PATIENCE = 300.0  # seconds for which a question may be put off
AT_ONCE = 4  # questions under way
LARGEST = 1 << 24  # bytes of an answer
_TRIES = 3  # where no connection comes about, or one is lost
_FIRST_WAIT, _LONGEST_WAIT = 1.0, 30.0  # seconds, where a service does not say how long
_LEAST_WAIT = 0.1  # seconds, where it says that it may be asked again at once
_PUT_OFF = (429, 502, 503, 504)
_REFUSED = (401, 403)
_CLOSED = {
    404: "there is no such model: check the address and the name in it",
    405: "questions are not asked there: check the address",
    410: "it is not there any more",
}
_KEPT = ("date", "server", "content-type", "retry-after", "ratelimit", "ratelimit-policy", "x-request-id")
_READ = (*_KEPT, "location", "content-encoding")
_LONGEST = 120  # characters of a header, or of a message, that are kept

logging.getLogger("stamina").addHandler(logging.NullHandler())  # else what it notes of retries goes to stderr


class Declined(NoAnswerError):
    """A service answered a question with an error of its own."""


class _PutOffError(Exception):
    """A service wants to be asked later.

    Attributes:
      status: with which it said so.
      seconds: how much later; None where it does not say.
    """

    def __init__(self, status: int, seconds: float | None):
        super().__init__(f"HTTP {status}")
        self.status, self.seconds = status, seconds


class _LostError(Exception):
    """No connection came about, or one was lost.

    Attributes:
      final: trying again mends nothing.
    """

    def __init__(self, reason: str, *, final: bool):
        super().__init__(reason)
        self.final = final


class Wire:
    """A client of one service, for any number of threads; its connections end with the last reference.

    Attributes:
      pace: seconds that a question takes by the service's rate limit, once it told one.
    """

    def __init__(self, address: Address, token: str = "", timeout: float = TIMEOUT, at_once: int = AT_ONCE):
        """Connects to nothing yet.

        Args:
          address: of the service.
          token: a bearer's, sent with each question and written nowhere; empty for none.
          timeout: seconds for an answer.
          at_once: questions under way.

        Raises:
          UsageError: what asks over a network is not installed, or the token is none.
        """
        try:
            import stamina  # noqa: F401
        except ImportError as error:
            why = f"asking a service needs the packages of `pip install 'wmjax[remote]'`: {error.name} is missing"
            raise UsageError(why) from error
        self._name, self._token, self._timeout = str(address), token, timeout
        self._free_at = 0.0  # of the monotonic clock
        self.pace: float | None = None
        self._slots, self._lines = threading.Semaphore(at_once), Lines(address.url)
        self._headers = {"User-Agent": "wmjax"}  # `http.client` adds that answers are not to be packed
        if token:
            if not token.isascii() or not token.isprintable():  # no word of it in a message
                raise UsageError("the token has letters that no token has: give it alone, in one line")
            self._headers["Authorization"] = f"Bearer {token}"

    def send(self, request: Request, seen: list[Seen]) -> bytes:
        """Sends a request until it is answered, and gives the body of the answer.

        Args:
          request: what to send.
          seen: what was seen is added, an item a try.

        Raises:
          Declined: the service answered with an error.
          NoAnswerError: it took too long.
          GoneError: it takes no questions: no connection comes about, it asks for another token, leads elsewhere, or
            puts off questions for too long.
          AnswerError: its answer is too long, or packed.
        """
        began = time.monotonic()
        try:
            return self._once(request, seen)  # what retries takes as long as all the rest of most questions
        except (_PutOffError, _LostError) as error:
            return self._again(request, seen, began, error)

    def _again(self, request: Request, seen: list[Seen], began: float, first: Exception) -> bytes:
        """Sends a request that was put off once more, until it is answered.

        Args:
          request: what to send.
          seen: as of `send`.
          began: when the first try did.
          first: what came of it.
        """
        import stamina

        lost, failed = 0, [first]

        def again(error: Exception) -> bool | float:
            nonlocal lost
            if isinstance(error, _PutOffError):
                left = PATIENCE - (time.monotonic() - began)
                return error.seconds <= left and max(error.seconds, _LEAST_WAIT) if error.seconds is not None else True
            lost += 1
            return isinstance(error, _LostError) and lost < _TRIES and not error.final

        tries = stamina.retry_context(
            again,
            attempts=None,
            timeout=PATIENCE,
            wait_initial=_FIRST_WAIT,
            wait_max=_LONGEST_WAIT,
            wait_jitter=_FIRST_WAIT,
        )
        try:
            for attempt in tries:
                with attempt:
                    if failed:
                        raise failed.pop()
                    return self._once(request, seen)
        except _PutOffError as error:
            later = "" if error.seconds is None else f" and wants {error.seconds:.0f} seconds more"
            raise self._gone(f"answers HTTP {error.status}{later}: ask it again later") from None
        except _LostError as error:
            raise self._gone(f"cannot be reached: {error}: check the address and the network") from None
        raise AssertionError  # there is a first try

    def _once(self, request: Request, seen: list[Seen]) -> bytes:
        """One try."""
        with self._slots:
            if (early := self._free_at - time.monotonic()) > 0:  # to sleep for no time takes a millisecond
                time.sleep(early)
            at = datetime.datetime.now(datetime.UTC)
            detail = {"address": request.url, "request": hashlib.sha256(request.body or b"").hexdigest()}
            try:
                reply = self._exchange(request)
                detail |= self._told(reply)
            except TimeoutError:
                detail["error"] = f"no answer within {self._timeout:g} seconds"
                raise NoAnswerError(f"suspect {self._name} did not answer within {self._timeout:g} seconds") from None
            except TooLongError:
                detail["error"] = f"more than {LARGEST} bytes"
                raise AnswerError(
                    f"suspect {self._name} answers with more than {LARGEST} bytes", "too many bytes"
                ) from None
            except (OSError, http.client.HTTPException, ValueError) as error:
                detail["error"] = self._reason(error)
                raise _LostError(detail["error"], final=isinstance(error, ssl.SSLError)) from None
            finally:
                seen.append(Seen(at.isoformat(timespec="milliseconds"), detail))
        return self._body(reply)

    def _exchange(self, request: Request) -> Reply:
        """A request and all that comes back."""
        headers = dict(self._headers)
        if request.body is not None and request.kind:
            headers["Content-Type"] = request.kind
        method = "GET" if request.body is None else "POST"
        reply = self._lines.exchange(method, request.url, request.body, headers, self._timeout, LARGEST)
        return reply._replace(
            headers={name: self.clean(reply.headers[name]) for name in _READ if name in reply.headers}
        )

    def rest(self) -> None:
        """As of `Service`."""
        self._lines.close()

    def _unsaid(self, body: bytes) -> bytes:
        """What came without the token: what is told of it may be cut in the middle of one, where it is not found."""
        return body.replace(self._token.encode(), b"[token]") if self._token else body

    def _told(self, reply: Reply) -> dict[str, str]:
        """What a record keeps of what came back."""
        found = {"status": str(reply.status), "answer": hashlib.sha256(reply.body).hexdigest()}
        if reply.certificate:
            found["certificate"] = reply.certificate
        return found | {name: cut(reply.headers[name], _LONGEST) for name in _KEPT if name in reply.headers}

    def _body(self, reply: Reply) -> bytes:
        """The body of an answer; raises where it is none."""
        status, seconds = reply.status, wait(reply.headers)
        self.pace = pace(reply.headers) or self.pace
        if seconds is not None:  # questions beside this one wait too
            self._free_at = max(self._free_at, time.monotonic() + min(seconds, PATIENCE))
        if status in _PUT_OFF:
            raise _PutOffError(status, seconds)
        if 300 <= status < 400:
            to = cut(reply.headers.get("location", "elsewhere"), _LONGEST)
            raise self._gone(f"leads elsewhere (HTTP {status}), which is not followed: if it is at {to}, say so")
        if status in _REFUSED:
            why = "the token was refused, or is no longer valid" if self._token else "it wants a token"
            raise self._gone(f"answers HTTP {status}: {why}: put one that holds into SUSPECT_TOKEN or `token`")
        if status in _CLOSED:
            raise self._gone(f"answers HTTP {status}: {_CLOSED[status]}")
        if not 200 <= status < 300:
            raise Declined(f"suspect {self._name} answers HTTP {status}{self._message(self._unsaid(reply.body))}")
        if reply.headers.get("content-encoding", "identity") != "identity":
            raise AnswerError(f"suspect {self._name} packs its answers, though it was asked not to", "a packed answer")
        return self._unsaid(reply.body)

    def clean(self, text: str) -> str:
        """A stranger's text without the token, which it may have sent back, and with nothing that steers a terminal."""
        return printable(text.replace(self._token, "[token]") if self._token else text)

    def _message(self, body: bytes) -> str:
        """What a service says is wrong."""
        with contextlib.suppress(ValueError, RecursionError, AttributeError, StopIteration):
            value = json.loads(body)
            text = next(value[name] for name in ("error", "detail", "message", "title") if name in value)
            text = text if isinstance(text, str) else json.dumps(text)
            return f": {cut(self.clean(text.strip()), _LONGEST)}"
        return ""

    def _reason(self, error: Exception) -> str:
        told = error.strerror if isinstance(error, OSError) and error.strerror else f"{error}"
        return cut(self.clean(told or type(error).__name__), _LONGEST)

    def _gone(self, what: str) -> GoneError:
        return GoneError(f"suspect {self._name} {what}")
