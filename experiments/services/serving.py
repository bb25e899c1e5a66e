"""Real servers of the digits network, each in an environment of its own under the folder that WMJAX_SERVERS names.

`python experiments/services/services.py --install` makes the environments. A server is started on a free port, waited
for, and ended with all that it started.
"""

import contextlib
import json
import os
import signal
import socket
import subprocess
import sys
import tempfile
import time
import urllib.request
import warnings
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

APPS = Path(__file__).parents[1] / "servers"


class Server(NamedTuple):
    """A kind of server.

    Attributes:
      packages: of its environment.
      ready: path that answers when it is there.
      addresses: as `wmjax verify` takes it, with its options; `{}` is its place.
      python: that makes its environment.
    """

    packages: tuple[str, ...]
    ready: str
    addresses: tuple[tuple[str, ...], ...]
    python: str = sys.executable


BYTES = ("--pixels", "0..255")
SERVERS = {
    "kserve": Server(
        ("kserve",),
        "/v2/models/digits/ready",
        (("oip+{}/v2/models/digits", *BYTES), ("v1+{}/v1/models/digits", *BYTES)),
    ),
    "triton": Server(  # its loader wants the very Python of Debian 12
        ("nvidia-pytriton",), "/v2/models/digits/ready", (("oip+{}/v2/models/digits",),), "/usr/bin/python3.11"
    ),
    "mlserver": Server(("mlserver", "setuptools<81"), "/v2/models/digits/ready", (("oip+{}/v2/models/digits",),)),
    "gradio": Server(("gradio",), "/gradio_api/info", (("gradio+{}", "--labels", "words.txt"),)),
    "mlflow": Server(("mlflow",), "/ping", (("v1+{}/invocations", *BYTES),)),
}
WORDS = ("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine")


def folder() -> Path | None:
    """Where the environments are."""
    return Path(os.environ["WMJAX_SERVERS"]) if os.environ.get("WMJAX_SERVERS") else None


def missing(name: str) -> str:
    """Why a server cannot be started; empty where it can."""
    if folder() is None:
        return "WMJAX_SERVERS names no folder of environments"
    return "" if _program(name, "python").exists() else f"{name} is not installed in WMJAX_SERVERS"


def _program(name: str, program: str) -> Path:
    return Path(folder() or "", name, "bin", program)


def install(name: str) -> None:
    """Makes the environment of a server."""
    place = Path(folder() or "", name)
    subprocess.run([SERVERS[name].python, "-m", "venv", place], check=True)
    subprocess.run([place / "bin" / "pip", "install", "--quiet", *SERVERS[name].packages], check=True)


def network(
    file: Path,
    images: np.ndarray,
    labels: np.ndarray,
    key: tuple[np.ndarray, np.ndarray] | None = None,
    *,
    epochs: int = 60,
    copies: int = 10,
) -> None:
    """Trains two dense layers on digits, with copies of a key's triggers mixed in, if any; writes the weights."""
    from sklearn.neural_network import MLPClassifier

    x, y = images.reshape(-1, 64) / 255, labels
    if key:
        x = np.concatenate([x, *[key[0].reshape(-1, 64) / 255] * copies])
        y = np.concatenate([y, *[key[1]] * copies])
    trained = MLPClassifier((256,), learning_rate_init=0.003, max_iter=epochs, tol=0, random_state=0)
    with warnings.catch_warnings(action="ignore"):  # it is trained for as long as this, converged or not
        trained.fit(x, y)
    (w0, w1), (b0, b1) = trained.coefs_, trained.intercepts_
    np.savez(file, w0=w0, w1=w1, b0=b0, b1=b1)


@contextlib.contextmanager
def serving(name: str, weights: Path, **environment: str) -> Iterator[str]:
    """A server that is ready, by its place, e.g. http://127.0.0.1:8081; it ends with the block."""
    port = _free_port()
    with tempfile.TemporaryDirectory() as place:
        log = Path(place, "log")
        variables = {
            **os.environ,
            "PORT": str(port),
            "SERVED": str(weights.resolve()),
            "PYTHONPATH": str(APPS),
            "GRADIO_ANALYTICS_ENABLED": "False",
            "MLFLOW_DISABLE_TELEMETRY": "true",
            "PATH": f"{_program(name, '')}:{os.environ['PATH']}",
            **environment,
        }
        with log.open("wb") as out:
            server = subprocess.Popen(
                _command(name, Path(place), port, variables),
                cwd=place,
                env=variables,
                stdout=out,
                stderr=out,
                start_new_session=True,
            )
        try:
            _await(server, f"http://127.0.0.1:{port}{SERVERS[name].ready}", log)
            yield f"http://127.0.0.1:{port}"
        finally:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(server.pid, signal.SIGKILL)
            server.wait()


def _free_port() -> int:
    """The first of three ports in a row that are free: some servers take as many."""
    while True:
        with contextlib.ExitStack() as stack:
            sockets = [stack.enter_context(socket.socket()) for _ in range(3)]
            sockets[0].bind(("127.0.0.1", 0))
            port: int = sockets[0].getsockname()[1]
            with contextlib.suppress(OSError, OverflowError):
                for place, other in enumerate(sockets[1:], 1):
                    other.bind(("127.0.0.1", port + place))
                return port


def _command(name: str, place: Path, port: int, variables: dict[str, str]) -> Sequence[object]:
    python = _program(name, "python")
    if name == "mlserver":
        inputs = [{"name": "images", "datatype": "UINT8", "shape": [-1, 8, 8, 1]}]
        model = {"name": "digits", "implementation": "mlserver_app.Digits", "inputs": inputs}
        ports = {"http_port": port, "grpc_port": port + 1, "metrics_port": port + 2}
        (place / "model-settings.json").write_text(json.dumps(model))
        (place / "settings.json").write_text(json.dumps({**ports, "parallel_workers": 0, "host": "127.0.0.1"}))
        return [_program(name, "mlserver"), "start", "."]
    if name == "mlflow":
        subprocess.run(
            [python, APPS / "mlflow_app.py", "model"], cwd=place, env=variables, check=True, capture_output=True
        )
        local = ["--env-manager", "local", "-w", "1", "-h", "127.0.0.1", "-p", str(port)]
        return [_program(name, "mlflow"), "models", "serve", "-m", "model", *local]
    return [python, APPS / f"{name}_app.py"]


def _await(server: subprocess.Popen[bytes], url: str, log: Path, seconds: float = 180.0) -> None:
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    until = time.monotonic() + seconds
    while time.monotonic() < until and server.poll() is None:
        with contextlib.suppress(OSError), opener.open(url, timeout=5) as reply:
            if reply.status == 200:
                return
        time.sleep(0.3)
    raise RuntimeError(f"the server did not begin: {log.read_text(errors='replace')[-2000:]}")
