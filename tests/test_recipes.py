"""The services of `examples/services.py`, against a server that takes and answers what the providers' documents say."""

import base64
import http.server
import importlib.util
import io
import json
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from marked import make_key
from PIL import Image
from recorder import WORDS, knows, serving

from wmjax.keys import Key, write_key

EXAMPLES = Path(__file__).parent.parent / "examples"
TOKEN = "hidden-token-0123456789"


class Provider(http.server.ThreadingHTTPServer):
    """All of them, each at its path; `asked` holds paths."""

    def __init__(self, scores: Callable[[np.ndarray], np.ndarray]):
        super().__init__(("127.0.0.1", 0), _Handler)
        self.daemon_threads, self.scores, self.asked = True, scores, list[str]()
        threading.Thread(target=self.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True).start()


class _Handler(http.server.BaseHTTPRequestHandler):
    server: Provider

    def log_message(self, format: str, *arguments: Any) -> None:
        """Says nothing."""

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        self.server.asked.append(self.path)
        if self.path == "/moved":
            self.send_response(302)
            self.send_header("Location", PATHS["azure"])
            self.end_headers()
            return
        answer = json.dumps(ANSWERS[self.path](self.headers, body, self.server.scores)).encode()
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(answer)))
        self.end_headers()
        self.wfile.write(answer)


def pixels(raw: bytes) -> np.ndarray:
    picture = Image.open(io.BytesIO(raw))
    assert picture.format == "PNG"
    return np.asarray(picture)[..., None]


def linked(url: str) -> np.ndarray:
    head, _, text = url.partition(",")
    assert head == "data:image/png;base64"
    return pixels(base64.b64decode(text, validate=True))


def sagemaker(headers: Any, body: bytes, scores: Any) -> Any:
    assert headers["Content-Type"] == "image/png"
    assert headers["Authorization"].startswith("AWS4-HMAC-SHA256 Credential=me/")
    return scores(pixels(body)).tolist()


def vertex(headers: Any, body: bytes, scores: Any) -> Any:
    said = json.loads(body)
    assert said["parameters"] == {"confidenceThreshold": 0.0, "maxPredictions": 10}
    found = scores(pixels(base64.b64decode(said["instances"][0]["content"], validate=True)))
    order = np.argsort(-found)[:7]  # in any order, and not all
    told = {"displayNames": [WORDS[i] for i in order], "confidences": found[order].tolist()}
    return {"predictions": [{"ids": [str(i) for i in order], **told}], "deployedModelId": "1"}


def azure(headers: Any, body: bytes, scores: Any) -> Any:
    return scores(pixels(base64.b64decode(json.loads(body)["image"], validate=True))).tolist()


def roboflow(headers: Any, body: bytes, scores: Any) -> Any:
    assert headers["Content-Type"] == "application/x-www-form-urlencoded"
    found = scores(pixels(base64.b64decode(body, validate=True)))
    told = [{"class": word, "confidence": score} for word, score in zip(WORDS, found.tolist(), strict=True)]
    return {"time": 0.1, "predictions": told, "top": WORDS[found.argmax()], "confidence": found.max()}


def replicate(headers: Any, body: bytes, scores: Any) -> Any:
    assert headers["Prefer"] == "wait"
    found = scores(linked(json.loads(body)["input"]["image"])).tolist()
    return {"status": "succeeded", "output": dict(zip(WORDS, found, strict=True)), "metrics": {"predict_time": 0.1}}


def chat(headers: Any, body: bytes, scores: Any) -> Any:
    said = json.loads(body)
    held = said["response_format"]["json_schema"]
    assert (said["model"], held["strict"], held["schema"]["properties"]["label"]["enum"]) == ("m", True, WORDS)
    _, picture = said["messages"][0]["content"]
    label = WORDS[scores(linked(picture["image_url"]["url"])).argmax()]
    message = {"role": "assistant", "content": json.dumps({"label": label})}
    return {"object": "chat.completion", "choices": [{"index": 0, "message": message, "finish_reason": "stop"}]}


PATHS = {
    "sagemaker": "/endpoints/theirs/invocations",
    "vertex": "/v1/projects/p/locations/l/endpoints/1:predict",
    "azure": "/score",
    "roboflow": "/theirs/3",
    "replicate": "/v1/deployments/a/b/predictions",
    "chat": "/v1/chat/completions",
}
ANSWERS: dict[str, Callable[..., Any]] = {path: globals()[name] for name, path in PATHS.items()}


@pytest.fixture(scope="module")
def key() -> Key:
    return make_key()


@pytest.fixture
def provider(key: Key) -> Iterator[Provider]:
    with serving(Provider(knows(key))) as server:
        yield server


@pytest.mark.parametrize("name", PATHS)
def test_each_recipe_finds_a_copy(name, provider, key, run, tmp_path, monkeypatch):
    if name == "sagemaker":
        pytest.importorskip("botocore", reason="Amazon's client is not installed")
    write_key(key, tmp_path / "my", recipients=[], passphrase=None)
    (tmp_path / "services.py").write_text((EXAMPLES / "services.py").read_text())
    root = f"http://127.0.0.1:{provider.server_port}"
    said = {"URL": root + ("" if name == "sagemaker" else PATHS[name]), "TOKEN": TOKEN, "CLASSES": ",".join(WORDS)}
    said |= {"MODEL": "m", "ENDPOINT": "theirs", "REGION": "us-east-1"}
    said |= {"AWS_ACCESS_KEY_ID": "me", "AWS_SECRET_ACCESS_KEY": "hidden"}
    for variable, value in said.items():
        monkeypatch.setenv(f"SUSPECT_{variable}", value)
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    code, out, err = run("verify", "--key", "my.age", "--identity", "my.identity", f"services:{name}", "--json")
    verdict = json.loads(out)
    assert (code, verdict.get("verdict"), verdict.get("queries", 99) <= 10) == (0, "match", True), err
    assert provider.asked == [PATHS[name]] * verdict["queries"]
    told = [ground["code"] for ground in verdict["grounds"]]
    assert ("labels-only" in told) == (name == "chat")


def test_a_redirect_is_not_followed(provider, key, monkeypatch):
    monkeypatch.setenv("SUSPECT_URL", f"http://127.0.0.1:{provider.server_port}/moved")
    monkeypatch.setenv("SUSPECT_TOKEN", TOKEN)
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    spec = importlib.util.spec_from_file_location("recipes", EXAMPLES / "services.py")
    services = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(services)
    with pytest.raises(OSError, match="302"):
        services.azure(key.images[:1])
    assert provider.asked == ["/moved"]
