"""Connections to services: kept while they serve, made anew where they do not, never waited for longer than said."""

import contextlib
import http.client
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import trustme_here
from recorder import Recorder, innocent, serving

from wmjax.errors import UsageError
from wmjax.suspects.services import lines
from wmjax.suspects.services.lines import Lines, Reply, TooLongError

ANSWER = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nX-A: b\r\n\r\nhi"


@contextlib.contextmanager
def host(serve: Callable[[socket.socket], Any]) -> Iterator[tuple[str, list[socket.socket]]]:
    """The address of who serves each connection so, and the connections that came."""
    came: list[socket.socket] = []
    listening = socket.create_server(("127.0.0.1", 0))

    def work() -> None:
        with contextlib.suppress(OSError):
            while True:
                came.append(listening.accept()[0])
                threading.Thread(target=serve, args=(came[-1],), daemon=True).start()

    threading.Thread(target=work, daemon=True).start()
    yield f"http://127.0.0.1:{listening.getsockname()[1]}/m", came
    listening.shutdown(socket.SHUT_RDWR)
    for each in (listening, *came):
        each.close()


def answers(own: socket.socket, *raw: bytes) -> None:
    """Answers each request in turn, then hangs up."""
    with contextlib.suppress(OSError):
        for each in raw:
            if not own.recv(1 << 16):
                break
            own.sendall(each)
        own.close()


def asked(line: Lines, url: str, seconds: float = 10.0, most: int = 100) -> Reply:
    return line.exchange("POST", url, b"a question", {"Accept": "*/*"}, seconds, most)


def test_a_connection_is_kept_and_one_that_the_other_end_gave_up_is_not_used():
    with host(lambda own: answers(own, ANSWER, ANSWER)) as (url, came):
        line = Lines(url)
        told = [asked(line, url) for _ in range(2)]
        assert (len(came), {each.body for each in told}, told[0].headers["x-a"]) == (1, {b"hi"}, "b")
        time.sleep(0.05)
        assert asked(line, url).status == 200
        assert len(came) == 2
        line.close()
        assert asked(line, url).status == 200
        assert len(came) == 3


def drip(own: socket.socket) -> None:
    with contextlib.suppress(OSError):
        for byte in b"HTTP/1.1 200 OK\r\nX: " + b"x" * 20 + b"\r\nContent-Length: 0\r\n\r\n":
            own.sendall(bytes([byte]))
            time.sleep(0.02)


def test_an_answer_that_comes_byte_by_byte_takes_no_longer_than_it_may(monkeypatch):
    with host(drip) as (url, _):
        began = time.monotonic()
        with pytest.raises(TimeoutError):
            asked(Lines(url), url, seconds=0.3)
        monkeypatch.setattr(lines._Line, "left", lambda self: 0.3)  # as Python's client has it: for each byte
        assert asked(Lines(url), url, seconds=0.3).status == 200
        assert time.monotonic() - began > 1


@pytest.mark.parametrize(
    ("raw", "error"),
    [
        (b"", http.client.RemoteDisconnected),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nhi", http.client.IncompleteRead),
        (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhi", http.client.IncompleteRead),
        (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nz\r\nhi", http.client.IncompleteRead),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 101\r\n\r\n" + b"x" * 101, TooLongError),
        (b"HTTP/1.1 200 OK\r\n\r\n" + b"x" * 101, TooLongError),
        (b"HTTP/1.1 200 OK\r\n" + b"X: y\r\n" * 200 + b"\r\n", http.client.HTTPException),
        (b"SSH-2.0-OpenSSH_9.2\r\n", http.client.BadStatusLine),
    ],
)
def test_what_is_no_whole_answer_is_none(raw, error):
    with host(lambda own: answers(own, raw)) as (url, _), pytest.raises(error):
        asked(Lines(url), url)


def test_an_encrypted_service_is_reached_through_the_environments_proxy(tmp_path: Path, monkeypatch):
    heads = []

    def forward(own: socket.socket) -> None:
        heads.append(own.recv(1 << 16))
        other = socket.create_connection(("127.0.0.1", service.server_port))
        own.sendall(b"HTTP/1.1 200 Connection established\r\n\r\n")
        threading.Thread(target=copy, args=(other, own), daemon=True).start()
        copy(own, other)

    def copy(one: socket.socket, other: socket.socket) -> None:
        with contextlib.suppress(OSError):
            while got := one.recv(1 << 16):
                other.sendall(got)

    certificate = trustme_here.certificate(tmp_path)
    monkeypatch.setenv("SSL_CERT_FILE", str(certificate))
    monkeypatch.delenv("no_proxy", raising=False)
    with serving(Recorder(innocent)) as service, host(forward) as (proxy, _):
        service.encrypt(certificate)
        monkeypatch.setenv("https_proxy", proxy.replace("http://", "http://me:word%21@").removesuffix("/m"))
        url = service.address("v1").removeprefix("v1+")
        body = b'{"instances": [[[[0]]]]}'
        reply = Lines(url).exchange("POST", f"{url}:predict", body, {}, 10.0, 1000)
        assert (reply.status, len(reply.certificate)) == (200, 64)
        assert f"CONNECT 127.0.0.1:{service.server_port} ".encode() in heads[0]
        assert b"Proxy-Authorization: Basic bWU6d29yZCE=" in heads[0]
        monkeypatch.setenv("https_proxy", "socks5://127.0.0.1:1")
        with pytest.raises(UsageError, match="must name a proxy as http://"):
            Lines(url)


KEPT_TO_THE_END = """
import codecs, json, sys
from wmjax.suspects.services import lines
json.kept = lines.Lines("http://host/")  # a module that is cleared after `lines`
if sys.argv[1:]:
    lines.Lines.__del__ = lines.Lines.close
codecs.register(lambda name, kept=(json, lines): None)  # keeps both until Python clears them by force
"""


def test_connections_that_are_kept_to_the_end_are_no_traceback() -> None:
    """A `__del__` is called when what it needs is gone."""
    command = [sys.executable, "-c", KEPT_TO_THE_END]
    assert subprocess.run(command, capture_output=True, text=True, check=True).stderr == ""
    as_it_was = subprocess.run([*command, "del"], capture_output=True, text=True, check=True)
    assert "NoneType" in as_it_was.stderr
