"""Connections to one service, by Python's own client: kept open, encrypted, and with one limit of time for an answer.

That client's limit holds for each read and write, so an answer that comes byte by byte would never end: here each of
them has what is left of the whole.
"""

import base64
import contextlib
import functools
import hashlib
import http.client
import io
import os
import select
import socket
import ssl
import time
import urllib.parse
import urllib.request
import weakref
from collections.abc import Mapping
from typing import Any, NamedTuple

from wmjax.errors import UsageError


class Reply(NamedTuple):
    """What comes back.

    Attributes:
      status: of HTTP.
      headers: by lower-case names.
      body: its bytes.
      certificate: SHA-256 of the certificate, hex; empty where the connection is not encrypted.
    """

    status: int
    headers: Mapping[str, str]
    body: bytes
    certificate: str


class TooLongError(Exception):
    """An answer has more bytes than it may."""


class Lines:
    """Connections to the host of an address, for any number of threads; they end with the last reference."""

    def __init__(self, url: str):
        """Connects to nothing yet.

        Args:
          url: of the service; where it is encrypted, the environment's proxy is gone through (`https_proxy`,
            `no_proxy`).
        """
        self._idle: list[_Line] = []
        weakref.finalize(self, _end, self._idle)  # a `__del__` may come when the interpreter has cleared this module
        parts = urllib.parse.urlsplit(url)
        self._host, self._port = parts.hostname or "", parts.port
        self._context, self._proxy = None, None
        if parts.scheme == "https":
            self._context = _context(os.environ.get("SSL_CERT_FILE"), os.environ.get("SSL_CERT_DIR"))
            self._proxy = _proxy(parts.netloc)

    def exchange(
        self, method: str, url: str, body: bytes | None, headers: Mapping[str, str], seconds: float, most: int
    ) -> Reply:
        """Sends a request, and gives all that comes back.

        Args:
          method: `GET` or `POST`.
          url: at the same host.
          body: of a POST.
          headers: beside those that say how long the body is, and for what host.
          seconds: until all of the answer has to be there.
          most: bytes of it.

        Raises:
          TooLongError: it has more.
          TimeoutError: it was not there in time.
          OSError, http.client.HTTPException, ValueError: no connection comes about, one is lost, or it is not HTTP.
        """
        parts = urllib.parse.urlsplit(url)
        line = self._line(time.monotonic() + seconds)
        try:
            line.request(method, f"{parts.path or '/'}{parts.query and '?'}{parts.query}", body, headers)
            answer = line.getresponse()
            raw = answer.read(most + 1)
            if len(raw) > most:
                raise TooLongError
            if answer.length:
                raise http.client.IncompleteRead(raw, answer.length)
        except BaseException:
            line.close()
            raise
        found = {name.lower(): value for name, value in answer.getheaders()}
        if line.sock:
            self._idle.append(line)
        return Reply(answer.status, found, raw, line.certificate)

    def _line(self, until: float) -> "_Line":
        """A connection that nobody uses: one that is kept, unless the other end gave it up, or a new one."""
        with contextlib.suppress(IndexError):
            while True:
                line = self._idle.pop()
                line.until = until
                if line.is_idle():
                    return line
                line.close()
        return _Line(self._host, self._port, self._context, self._proxy, until)

    def close(self) -> None:
        """Ends those that nobody uses."""
        _end(self._idle)


def _end(idle: "list[_Line]") -> None:
    """Ends connections that nobody uses; a thread may take some of them meanwhile."""
    with contextlib.suppress(IndexError):
        while True:
            idle.pop().close()


class _Line(http.client.HTTPConnection):
    """A connection.

    Attributes:
      until: when what is under way has to be done, by the monotonic clock.
      certificate: as of `Reply`.
    """

    def __init__(
        self, host: str, port: int | None, context: ssl.SSLContext | None, proxy: "_Proxy | None", until: float
    ):
        self.until, self.certificate = until, ""
        self._context, self._name = context, host
        port = port or (443 if context else 80)
        if proxy:
            super().__init__(proxy.host, proxy.port)
            self.set_tunnel(host, port, proxy.headers)
        else:
            super().__init__(host, port)

    def left(self) -> float:
        """Seconds that are left; raises TimeoutError where none are."""
        seconds = self.until - time.monotonic()
        if seconds <= 0:
            raise TimeoutError
        return seconds

    def connect(self) -> None:
        """Connects; through a proxy, where there is one."""
        self.timeout = self.left()
        super().connect()
        if self._context:
            self.sock.settimeout(self.left())
            self.sock = self._context.wrap_socket(self.sock, server_hostname=self._name)
            self.certificate = hashlib.sha256(self.sock.getpeercert(True) or b"").hexdigest()
        self.sock = _Socket(self.sock, self)

    def is_idle(self) -> bool:
        """Whether it is open, and nothing comes unasked: the end, above all."""
        poll = select.poll()
        poll.register(self.sock.fileno(), select.POLLIN)
        return not poll.poll(0)


class _Socket:
    """A socket as `http.client` needs one; all of it has what is left of its connection's time."""

    def __init__(self, own: socket.socket, line: _Line):
        self._own, self._line = own, line
        self._held = b""

    def sendall(self, data: bytes) -> None:
        """Keeps it until an answer is waited for: head and body of a request go together."""
        self._held += data

    def makefile(self, mode: str) -> io.BufferedReader:
        """What will be read, once all is sent that was kept."""
        held, self._held = self._held, b""
        self._own.settimeout(self._line.left())
        with contextlib.suppress(ConnectionError):  # who does not want to read on may have answered already
            self._own.sendall(held)
        return io.BufferedReader(_Reading(self._own, self._line), 1 << 16)

    def fileno(self) -> int:
        """Of the socket."""
        return self._own.fileno()

    def close(self) -> None:
        """Ends the connection, once what is read from it is closed too."""
        self._own.close()


class _Reading(io.RawIOBase):
    """What is read from a socket."""

    def __init__(self, own: socket.socket, line: _Line):
        self._own, self._line, self._raw = own, line, own.makefile("rb", buffering=0)

    def readable(self) -> bool:
        """It is."""
        return True

    def readinto(self, buffer: Any) -> int | None:
        """What came, for as long as is left."""
        self._own.settimeout(self._line.left())
        return self._raw.readinto(buffer)

    def close(self) -> None:
        """Lets go of the socket."""
        self._raw.close()
        super().close()


class _Proxy(NamedTuple):
    host: str
    port: int
    headers: dict[str, str]


def _proxy(host: str) -> _Proxy | None:
    """The environment's proxy for a host."""
    found = urllib.request.getproxies()
    named = found.get("https") or found.get("all")
    if not named or urllib.request.proxy_bypass(host):
        return None
    parts = urllib.parse.urlsplit(named if "://" in named else f"http://{named}")
    if parts.scheme != "http" or not parts.hostname:
        raise UsageError("the variable https_proxy must name a proxy as http://HOST:PORT, and no_proxy who needs none")
    name, word = (urllib.parse.unquote(each or "") for each in (parts.username, parts.password))
    told = base64.b64encode(f"{name}:{word}".encode()).decode()
    return _Proxy(parts.hostname, parts.port or 80, {"Proxy-Authorization": f"Basic {told}"} if name else {})


@functools.cache
def _context(file: str | None, folder: str | None) -> ssl.SSLContext:
    """Checks certificates by what the system trusts, or by SSL_CERT_FILE and SSL_CERT_DIR; one takes a megabyte."""
    return ssl.create_default_context()
