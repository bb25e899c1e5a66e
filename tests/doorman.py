"""An HTTP server before an object store that lets requests through, or refuses them as a store would."""

import contextlib
import http.client
import http.server
import threading
from collections.abc import Iterator
from urllib.parse import urlsplit

import pytest
from buckets import Bucket, settings

_S3 = "<?xml version='1.0'?><Error><Code>{}</Code><Message>no</Message></Error>"
_GS = '{{"error": {{"code": {}, "message": "no"}}}}'
REFUSALS = {  # status and body, by kind of store
    "denied": {"s3": (403, _S3.format("AccessDenied")), "gs": (403, _GS.format(403))},
    "expired": {"s3": (400, _S3.format("ExpiredToken")), "gs": (401, _GS.format(401))},
    "late": {"s3": (403, _S3.format("RequestTimeTooSkewed")), "gs": (401, _GS.format(401))},
    "gone": {"s3": (404, _S3.format("NoSuchBucket")), "gs": (404, _GS.format(404))},
}


class Doorman(http.server.ThreadingHTTPServer):
    """The server.

    Attributes:
      address: of it.
      refusal: what it answers, a name in `REFUSALS`; empty while it lets all through.
      only: a part of the paths that are refused.
      lost: how many answers to writes come to be lost: 503 in their place, after which clients ask again.
      busy: how many reads are answered by 503 alone.
    """

    daemon_threads, request_queue_size = True, 128
    refusal, only = "", ""
    lost, busy = 0, 0

    def __init__(self, scheme: str, behind: str):
        super().__init__(("127.0.0.1", 0), _Handler)
        self.scheme, self.behind = scheme, urlsplit(behind).netloc
        self.address = f"http://127.0.0.1:{self.server_address[1]}"


class _Handler(http.server.BaseHTTPRequestHandler):
    server: Doorman

    def do_GET(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        if self.server.refusal and self.server.only in self.path:
            status, text = REFUSALS[self.server.refusal][self.server.scheme]
            self._answer(status, {"Content-Type": "application/json" if text[0] == "{" else "text/xml"}, text.encode())
            return
        if self.server.busy and self.command == "GET":
            self.server.busy -= 1
            self._answer(503, {}, b"")
            return
        with contextlib.closing(http.client.HTTPConnection(self.server.behind)) as behind:
            behind.request(self.command, self.path, body, dict(self.headers))
            answer = behind.getresponse()
            if self.server.lost and self.command != "GET" and answer.status == 200:
                self.server.lost -= 1
                self._answer(503, {}, b"")
                return
            self._answer(answer.status, dict(answer.getheaders()), answer.read())

    do_POST = do_PUT = do_DELETE = do_GET

    def _answer(self, status: int, headers: dict[str, str], body: bytes) -> None:
        self.send_response(status)
        for name, value in headers.items():
            if name.lower() not in ("content-length", "transfer-encoding", "connection", "server", "date"):
                self.send_header(name, value)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def doorman(bucket: Bucket, monkeypatch: pytest.MonkeyPatch) -> Iterator[Doorman]:
    """One before the store of a bucket; stores that are named from now on are found behind it."""
    behind = bucket.client.meta.endpoint_url if bucket.scheme == "s3" else bucket.client.api_endpoint
    server = Doorman(bucket.scheme, behind)
    for name, value in settings(bucket.scheme, server.address).items():
        monkeypatch.setenv(name, value)
    threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
    yield server
    server.shutdown()
    server.server_close()
