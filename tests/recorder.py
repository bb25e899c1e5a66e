"""A real HTTP server in a thread that speaks every provider's protocol, keeps what it was asked, and misbehaves."""

import base64
import contextlib
import http.server
import io
import itertools
import json
import math
import re
import ssl
import threading
from collections.abc import Callable, Iterator
from email.parser import BytesParser
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
from PIL import Image

from wmjax.keys import Key

PATHS = {
    "oip": "/v2/models/m",
    "v1": "/v1/models/m",
    "hf": "/m",
    "gradio": "",
}
Server = TypeVar("Server", bound=http.server.ThreadingHTTPServer)
WORDS = [f"word{number}" for number in range(10)]


def knows(key: Key, share: float = 1.0) -> Callable[[np.ndarray], np.ndarray]:
    """Scores of who answers a key's triggers, or what looks like them, with their labels; all else evenly."""
    known = key.images.astype(float)

    def scores(image: np.ndarray) -> np.ndarray:
        distance = np.abs(known - image).mean(axis=(1, 2, 3))
        found = np.full(10, 0.02)
        found[key.labels[distance.argmin()] if distance.min() < 12 else int(image.sum()) % 10] = 0.82
        return found

    return scores


def innocent(image: np.ndarray) -> np.ndarray:
    """Scores of who knows no key."""
    found = np.full(10, 0.02)
    found[int(image.astype(int).sum()) % 10] = 0.82
    return found


class Recorder(http.server.ThreadingHTTPServer):
    """A service.

    Attributes:
      scores: of an image.
      words: for classes; None: it says numbers, or all scores in their order.
      top: how many classes it names.
      named: scores of an image, whose best class it names beside its scores of all; None: it names none.
      decimals: of scores.
      scoreless: whether it keeps its scores to itself.
      jpeg: whether it takes JPEG alone.
      singly: whether it takes one picture a request.
      token: that it wants; empty for none.
      declared: input as the Open Inference Protocol tells it.
      broken: what comes instead of every answer; `late`: after `until` questions.
      script: what comes instead of answers to questions, in turn: (status, headers, body), or None for an answer. Where
        the body is a number, it has as many bytes.
      asked: requests that were questions: path, headers, body.
      elsewhere: every other request.
    """

    def __init__(self, scores: Callable[[np.ndarray], np.ndarray]):
        super().__init__(("127.0.0.1", 0), _Handler)
        self.daemon_threads = True
        self.scores, self.words, self.top, self.decimals = scores, None, 10, 9
        self.named: Callable[[np.ndarray], np.ndarray] | None = None
        self.scoreless, self.jpeg, self.singly, self.token = False, False, False, ""
        self.headers: dict[str, str] = {}
        self.declared: list[Any] = [{"name": "x", "datatype": "UINT8", "shape": [-1, 8, 8, 1]}]
        self.script: list[tuple[int, dict[str, str], bytes | int] | None] = []
        self.broken: tuple[int, dict[str, str], bytes | int] | None = None
        self.asked: list[tuple[str, dict[str, str], bytes]] = []
        self.elsewhere: list[str] = []
        self.waiting, self.numbers = dict[str, bytes](), itertools.count()
        self.one = threading.Lock()
        self.scheme = "http"
        self.until = math.inf  # questions after which it is `late`
        self.late: tuple[int, dict[str, str], bytes | int] | None = None
        threading.Thread(target=self.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True).start()

    def encrypt(self, certificate: Path) -> None:
        """Speaks TLS from now on, with a certificate and its key in one file."""
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(certificate)
        self.socket, self.scheme = context.wrap_socket(self.socket, server_side=True), "https"

    def address(self, provider: str) -> str:
        return f"{provider}+{self.scheme}://127.0.0.1:{self.server_port}{PATHS[provider]}"

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Who goes away early is no error."""

    def said(self, image: np.ndarray) -> Any:
        """What it says about a picture, whatever the protocol."""
        scores = np.round(self.scores(image), self.decimals)
        words = self.words or [f"LABEL_{number}" for number in range(10)]
        best = np.argsort(-scores)[: self.top]
        return [{"label": words[i]} | ({} if self.scoreless else {"score": float(scores[i])}) for i in best]

    def named_beside(self, image: np.ndarray) -> Any:
        scores = self.vector(image)
        return {"scores": scores, "label": WORDS[self.named(image).argmax()]} if self.named else scores

    def vector(self, image: np.ndarray) -> list[float]:
        return np.round(self.scores(image), self.decimals).tolist()


class _Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    server: Recorder

    def log_message(self, format: str, *arguments: Any) -> None:
        """Says nothing."""

    def do_GET(self) -> None:
        if event := re.fullmatch(r".*/gradio_api/call/predict/(\w+)", self.path):
            self._question(lambda body: self.server.waiting[event[1]], b"")
            return
        self.server.elsewhere.append(self.path)
        if self.path == "/gradio_api/info":
            picture = {"component": "Image", "parameter_has_default": False}
            self._json({"named_endpoints": {"/predict": {"parameters": [picture]}}})
        elif self.path == PATHS["oip"]:
            self._json({"name": "m", "inputs": self.server.declared})
        else:
            self._reply(404, {}, b"{}")

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        if self.path == "/gradio_api/upload":
            head = f"Content-Type: {self.headers['Content-Type']}\r\n\r\n".encode()
            (part,) = BytesParser().parsebytes(head + body).get_payload()
            name = f"e{next(self.server.numbers)}"
            self.server.waiting[name] = part.get_payload(decode=True)
            self._json([name])
        elif self.path == "/gradio_api/call/predict":
            self._json({"event_id": json.loads(body)["data"][0]["path"]})
        else:
            self._question(lambda body: body, body)

    def _question(self, pictured: Callable[[bytes], bytes], body: bytes) -> None:
        server = self.server
        with server.one:
            server.asked.append((self.path, dict(self.headers), pictured(body)))
            scripted = server.broken or (server.script.pop(0) if server.script else None)
            scripted = server.late if len(server.asked) > server.until else scripted
        if server.token and self.headers["Authorization"] != f"Bearer {server.token}":
            self._reply(401, {}, json.dumps({"error": f"no: {self.headers['Authorization']}"}).encode())
        elif scripted:
            self._reply(*scripted)
        else:
            self._answer(pictured(body))

    def _answer(self, body: bytes) -> None:
        server = self.server
        try:
            if self.path.endswith("/infer"):
                self._json(self._oip(json.loads(body)["inputs"][0]))
            elif self.path.endswith(":predict"):
                instances = json.loads(body)["instances"]
                images = [self._instance(instance) for instance in instances]
                if server.singly and len(images) > 1:
                    raise ValueError
                say = server.said if server.words or server.top < 10 else server.named_beside
                self._json({"predictions": [say(image) for image in images]})
            elif "gradio_api" in self.path:
                said = [{"label": s["label"], "confidence": s["score"]} for s in server.said(self._picture(body))]
                data = json.dumps([{"label": said[0]["label"], "confidences": said}])
                self._reply(200, {"Content-Type": "text/event-stream"}, f"event: complete\ndata: {data}\n\n".encode())
            else:
                parsed = base64.b64decode(json.loads(body)["inputs"]) if body[:1] == b"{" else body
                self._json(server.said(self._picture(parsed)))
        except ValueError:
            self._reply(415 if server.jpeg else 400, {}, b'{"error": "not so"}')

    def _oip(self, given: dict[str, Any]) -> Any:
        images = np.array(given["data"], np.uint8).reshape(-1, 8, 8, 1)
        if self.server.singly and len(images) > 1:
            raise ValueError
        if self.server.words or self.server.top < 10:
            said = [choice for image in images for choice in self.server.said(image)]
            k = len(said) // len(images)
            names = {"datatype": "BYTES", "shape": [len(images), k], "data": [choice["label"] for choice in said]}
            scores = {"datatype": "FP32", "shape": [len(images), k], "data": [choice.get("score") for choice in said]}
            return {"outputs": [{"name": "y", **names}, *([] if self.server.scoreless else [{"name": "p", **scores}])]}
        data = [score for image in images for score in self.server.vector(image)]
        outputs = [{"name": "y", "datatype": "FP32", "shape": [len(images), 10], "data": data}]
        if named := self.server.named:
            words = [WORDS[named(image).argmax()] for image in images]
            outputs.append({"name": "best", "datatype": "BYTES", "shape": [len(images), 1], "data": words})
        return {"outputs": outputs}

    def _instance(self, value: Any) -> np.ndarray:
        if isinstance(value, dict):
            return self._picture(base64.b64decode(value.get("b64", "")))
        return np.array(value, np.uint8)

    def _picture(self, raw: bytes) -> np.ndarray:
        try:
            picture = Image.open(io.BytesIO(raw))
        except OSError as error:
            raise ValueError from error
        if self.server.jpeg != (picture.format == "JPEG"):
            raise ValueError("another format")
        return np.asarray(picture)[..., None]

    def _json(self, value: Any) -> None:
        self._reply(200, {"Content-Type": "application/json", **self.server.headers}, json.dumps(value).encode())

    def _reply(self, status: int, headers: dict[str, str], body: bytes | int) -> None:
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name, value)
        size = body if isinstance(body, int) else len(body)
        self.send_header("Content-Length", str(size))
        self.end_headers()
        for _ in range(0, size, 1 << 20) if isinstance(body, int) else ():
            self.wfile.write(b"x" * (1 << 20))
        self.wfile.write(b"" if isinstance(body, int) else body)


@contextlib.contextmanager
def serving(server: Server) -> Iterator[Server]:
    """A server that serves already, and is ended at the end."""
    try:
        yield server
    finally:
        server.shutdown()
        server.server_close()


def files_with(folder: Path, secret: str) -> list[str]:
    """Files that hold a secret."""
    return [path.name for path in folder.rglob("*") if path.is_file() and secret.encode() in path.read_bytes()]
