"""`hf://`: a repository of the Hugging Face Hub, played by a server of 40 lines; the client is the Hub's own."""

import hashlib
import json
import os
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

import pytest
from buckets import forgotten
from refusals import assert_one_line

from wmjax import stores
from wmjax.errors import AccessError, UsageError
from wmjax.files import read_bytes, write_bytes
from wmjax.stores.contract import Unreachable

pytest.importorskip("huggingface_hub", reason="the Hub's client is missing: pip install '.[test]'")

REVISION = "1" * 40
FILES = {"config.json": b"{}", "onnx/model.onnx": os.urandom(90_000)}


class Hub(BaseHTTPRequestHandler):
    """The three questions that are asked of it."""

    ranges: list[str] = []  # noqa: RUF012 - of all requests
    status = 200

    def do_GET(self) -> None:
        path = unquote(urlsplit(self.path).path)
        if self.status != 200:
            self._say(self.status, b"")
        elif path.startswith("/api/models/team/net/tree/" + REVISION):
            self._tree(path.removeprefix("/api/models/team/net/tree/" + REVISION).strip("/"))
        elif path.startswith("/api/models/team/net"):
            self._say(200, json.dumps({"id": "team/net", "sha": REVISION}).encode())
        elif path.startswith(f"/team/net/resolve/{REVISION}/"):
            begin, end = self.headers["Range"].removeprefix("bytes=").split("-")
            self.ranges.append(self.headers["Range"])
            self._say(206, FILES[path.split(REVISION + "/")[1]][int(begin) : int(end) + 1])
        else:
            self._say(404, b"", {"X-Error-Code": "RepoNotFound"})

    def _tree(self, folder: str) -> None:
        below = {name for name in FILES if name.startswith(folder)}
        if not below or folder in FILES:
            self._say(404, b"", {"X-Error-Code": "EntryNotFound"})
            return
        deep = "recursive=true" in self.path.lower()
        listed: list[dict[str, Any]] = []
        for name in sorted(below):
            if deep or "/" not in name.removeprefix(folder).strip("/"):
                oid = hashlib.sha1(FILES[name]).hexdigest()
                listed.append({"type": "file", "path": name, "size": len(FILES[name]), "oid": oid})
        self._say(200, json.dumps(listed).encode())

    def _say(self, status: int, body: bytes, headers: dict[str, str] | None = None) -> None:
        self.send_response(status)
        for name, value in {"Content-Length": str(len(body)), **(headers or {})}.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        """Says nothing."""


@pytest.fixture
def hub(monkeypatch: pytest.MonkeyPatch) -> Iterator[type[Hub]]:
    with ThreadingHTTPServer(("127.0.0.1", 0), Hub) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        monkeypatch.setenv("HF_ENDPOINT", f"http://127.0.0.1:{server.server_port}")
        monkeypatch.setattr(Hub, "ranges", [])
        with forgotten():
            yield Hub
        server.shutdown()


def test_a_repository_is_a_folder(hub: type[Hub]) -> None:
    folder = stores.place("hf://team/net")
    assert {str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file()} == set(FILES)
    assert hub.ranges == []
    assert read_bytes(folder / "onnx" / "model.onnx") == FILES["onnx/model.onnx"]
    assert stores.unmirrored(f"{folder}/x") == "hf://team/net/x"
    model = stores.place("hf://team/net@main/onnx/model.onnx")
    assert model.stat().st_size == 90_000
    descriptor = os.open(model, os.O_RDONLY)
    assert stores.read(model, descriptor, 10, 80_000) == FILES["onnx/model.onnx"][80_000:80_010]
    os.close(descriptor)
    assert hub.ranges[-1] == "bytes=80000-80009"


def test_it_is_not_written(hub: type[Hub]) -> None:
    with pytest.raises(UsageError, match="hf:// is only read"):
        write_bytes(stores.place("hf://team/net/new.json"), b"{}")


@pytest.mark.parametrize(
    ("name", "kind", "why"),
    [("hf://team/other/x", AccessError, "no such repository"), ("hf://team/..net/x", UsageError, "epo id")],
)
def test_what_is_wrong_is_one_line(hub: type[Hub], name: str, kind: type[Exception], why: str) -> None:
    with pytest.raises(kind, match=why) as caught:
        stores.place(name)
    assert_one_line(caught.value)  # type: ignore[arg-type]


def test_a_hub_that_fails(hub: type[Hub], monkeypatch: pytest.MonkeyPatch) -> None:
    folder = stores.place("hf://team/net")
    monkeypatch.setattr("wmjax.stores.contract.ATTEMPTS", 1)
    monkeypatch.setattr(Hub, "status", 503)
    with pytest.raises(Unreachable, match="the Hub answers 503"):
        read_bytes(folder / "config.json")
    with pytest.raises(AccessError, match="a store cannot be reached"):
        stores.check()
    assert Path(folder / "config.json").stat().st_size == 2
