"""Connections to one service, by `httpcore2`: kept open, encrypted, and with one limit of time for all of an answer.

A client's own limits hold for each read and write, so an answer that comes byte by byte would never end: here each of
them has what is left of the whole.
"""

import contextlib
import threading
import time
import urllib.parse
import urllib.request
from collections.abc import Iterable
from typing import Any

import httpcore2


class Late:
    """Until when each thread's answer has to be there."""

    def __init__(self) -> None:
        self._own = threading.local()

    def start(self, seconds: float) -> None:
        """This thread's answer has this long from now."""
        self._own.end = time.monotonic() + seconds

    def left(self) -> float:
        """Seconds that are left; raises `httpcore2.ReadTimeout` where none are."""
        seconds: float = self._own.end - time.monotonic()
        if seconds <= 0:
            raise httpcore2.ReadTimeout
        return seconds


def pool(url: str, most: int, late: Late) -> httpcore2.ConnectionPool:
    """Connections to a service, which are made as they are needed, and kept.

    Args:
      url: of the service; where it is encrypted, the environment's proxy is gone through (`https_proxy`, `no_proxy`).
      most: connections at once.
      late: limits all that is read and written.
    """
    proxy = _proxy(urllib.parse.urlsplit(url).netloc) if url.startswith("https:") else None
    context = httpcore2.default_ssl_context()  # certificates are checked; SSL_CERT_FILE and SSL_CERT_DIR hold
    return httpcore2.ConnectionPool(context, proxy, most, network_backend=_Backend(late))


def _proxy(host: str) -> httpcore2.Proxy | None:
    found = urllib.request.getproxies()
    named = found.get("https") or found.get("all")
    if not named or urllib.request.proxy_bypass(host):
        return None
    parts = urllib.parse.urlsplit(named if "://" in named else f"http://{named}")
    name, word = (urllib.parse.unquote(each or "") for each in (parts.username, parts.password))
    auth = (name, word) if name else None
    return httpcore2.Proxy(f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}", auth)


class _Backend(httpcore2.SyncBackend):
    """Opens connections that are limited."""

    def __init__(self, late: Late):
        self._late = late

    def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,
        local_address: str | None = None,
        socket_options: Iterable[Any] | None = None,
    ) -> httpcore2.NetworkStream:
        """A connection, for as long as is left."""
        stream = super().connect_tcp(host, port, self._late.left(), local_address, socket_options)
        return _Stream(stream, self._late)


class _Stream(httpcore2.NetworkStream):
    """A connection that is read and written for as long as is left."""

    def __init__(self, stream: httpcore2.NetworkStream, late: Late):
        self._stream, self._late = stream, late
        self._held = b""

    def read(self, max_bytes: int, timeout: float | None = None) -> bytes:
        """What came, at most so many bytes, once all that was written is sent: head and body of a request in one go."""
        if self._held:
            held, self._held = self._held, b""
            with contextlib.suppress(httpcore2.WriteError):  # who does not want to read on may have answered already
                self._stream.write(held, self._late.left())
        return self._stream.read(max_bytes, self._late.left())

    def write(self, buffer: bytes, timeout: float | None = None) -> None:
        """Keeps it until an answer is waited for."""
        self._held += buffer

    def close(self) -> None:
        """Ends the connection."""
        self._stream.close()

    def start_tls(
        self, ssl_context: Any, server_hostname: str | None = None, timeout: float | None = None
    ) -> "_Stream":
        """The same connection, encrypted."""
        return _Stream(self._stream.start_tls(ssl_context, server_hostname, self._late.left()), self._late)

    def get_extra_info(self, info: str) -> Any:
        """What is known of the connection."""
        return self._stream.get_extra_info(info)
