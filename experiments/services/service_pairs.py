"""An audit of services that allow 100 requests at once, killed in its middle and resumed: is anything lost or doubled?

Command   python experiments/services/service_pairs.py [--services 100] [--keys 100] [--concurrency 100] [--takes 200]
          [--real kserve]
Expected  each service a match with the one key that it knows and with no other; each question answered once, and none
          sent twice but what was under way at the kill; 10,000 pairs take at most 40 MB more than 1,000; 90 requests
          and more are under way at once
Time      5 minutes on 2 CPU cores (88,000 questions, each on the disk before and after it is sent)

The services are one recorder in a process of its own, at a path each, which counts what it is asked and takes 200 ms
for an answer: one that takes much less gets questions as fast as this machine sends them, and so never a hundred at
once. With `--real` the same keys are asked of a real server too (`WMJAX_SERVERS`).
"""

import argparse
import collections
import hashlib
import http.server
import json
import os
import signal
import subprocess
import sys
import tempfile
import threading
import time
import urllib.request
from collections.abc import Mapping
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[2]))  # the checkout

from experiments import fragment, record
from experiments.services import serving
from wmjax.data import load
from wmjax.keys import Key, derive_key, make_spec, write_key
from wmjax.keys.specify import default_rule

TRIGGERS = 8  # of each key: enough for a match among 10,000 pairs


def keys_of(count: int) -> list[Key]:
    """Keys of 8x8 pictures and ten classes."""
    spec = make_spec("abstract", image=(8, 8, 1), classes=10, triggers=TRIGGERS)
    secrets = [hashlib.sha256(b"%d" % number).digest() for number in range(count)]
    return [derive_key(secret, spec, default_rule(spec), created="2026-01-01T00:00:00+00:00") for secret in secrets]


def counts_of(keys: list[Key], asked: Mapping[str, int]) -> list[int]:
    """How often each of some keys' pictures was asked; a service is shown another one first."""
    pictures = {hashlib.sha256(image.tobytes()).hexdigest() for key in keys for image in key.images}
    return [count for picture, count in asked.items() if picture in pictures]


# The recorder ---------------------------------------------------------------------------------------------------------


class _Services(http.server.ThreadingHTTPServer):
    """Service s knows key s, and answers all else by the picture's sum; `asked` counts pictures by service."""

    daemon_threads, request_queue_size = True, 256

    def __init__(self, keys: int, services: int, takes: float = 0.005):
        super().__init__(("127.0.0.1", 0), _Handler)
        known = keys_of(keys)
        self.known = [
            {image.tobytes(): int(label) for image, label in zip(key.images, key.labels, strict=True)}
            for key in (known[service % keys] for service in range(services))
        ]
        self.asked: list[collections.Counter[str]] = [collections.Counter() for _ in range(services)]
        self.takes, self.now, self.most, self.one = takes, 0, 0, threading.Lock()
        self.busy, self.since = collections.Counter[int](), time.monotonic()  # seconds with so many under way

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Who is killed reads no answer."""

    def under_way(self, more: int) -> None:
        """A request came, or is answered."""
        with self.one:
            now = time.monotonic()
            self.busy[self.now] += now - self.since
            self.now, self.since = self.now + more, now
            self.most = max(self.most, self.now)

    def usually(self) -> int:
        """How many were under way for half of the time in which any were."""
        busy = sorted((now, seconds) for now, seconds in self.busy.items() if now)
        half = sum(seconds for _, seconds in busy) / 2
        return next((now for at, (now, _) in enumerate(busy) if sum(s for _, s in busy[: at + 1]) >= half), 0)


class _Handler(http.server.BaseHTTPRequestHandler):
    protocol_version, disable_nagle_algorithm = "HTTP/1.1", True
    server: _Services

    def log_message(self, *_: Any) -> None:
        """Says nothing."""

    def do_GET(self) -> None:
        """What was asked, or what a model takes."""
        if self.path == "/asked":
            usually, most = self.server.usually(), self.server.most
            self._reply({"asked": self.server.asked, "most": most, "usually": usually})
        else:
            self._reply({"inputs": [{"name": "x", "datatype": "UINT8", "shape": [-1, 8, 8, 1]}]})

    def do_POST(self) -> None:
        """Answers about one picture."""
        server = self.server
        server.under_way(1)
        time.sleep(server.takes)
        raw = bytes(json.loads(self.rfile.read(int(self.headers["Content-Length"])))["inputs"][0]["data"])
        service = int(self.path.split("/")[3].removeprefix("m"))
        scores = [0.01] * 10
        scores[server.known[service].get(raw, sum(raw) % 10)] = 0.91
        with server.one:
            server.asked[service][hashlib.sha256(raw).hexdigest()] += 1
        server.under_way(-1)
        self._reply({"outputs": [{"name": "y", "datatype": "FP32", "shape": [1, 10], "data": scores}]})

    def _reply(self, value: Any) -> None:
        body = json.dumps(value).encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)


def serve(keys: int, services: int, takes: float) -> None:
    """Runs the recorder; its port is its first line."""
    server = _Services(keys, services, takes)
    print(server.server_port, flush=True)
    server.serve_forever()


# The audit ------------------------------------------------------------------------------------------------------------


def audit(place: Path, out: str, *more: str, kill_at: int = 0) -> dict[str, Any]:
    """One run of the command line; killed once its journal has so many lines, if any."""
    command = [sys.executable, "-m", "wmjax", "audit", "zoo", "--keys", "keys", "--suspects", "list.toml"]
    began = time.monotonic()
    with (place / "said").open("ab") as said:
        env = {**os.environ, "JAX_PLATFORMS": "cpu"}
        ran = subprocess.Popen([*command, "--out", out, *more], cwd=place, env=env, stdout=said, stderr=said)
        peak = 0
        while ran.poll() is None:
            peak = max(peak, _peak(ran.pid))
            if kill_at and _answers(place / out) >= kill_at:
                ran.send_signal(signal.SIGKILL)
                ran.wait()
            time.sleep(0.2)
    found = {"exit_code": ran.returncode, "seconds": round(time.monotonic() - began, 1)}
    return {**found, "peak_mb": peak >> 10, "answers": len(lines(place / out))}


def _peak(process: int) -> int:
    """The most memory that a process has had, in KiB."""
    try:
        status = Path(f"/proc/{process}/status").read_text()
    except OSError:  # it has just ended
        return 0
    return next((int(line.split()[1]) for line in status.splitlines() if line.startswith("VmHWM")), 0)


def _answers(out: Path) -> int:
    """How many lines of a journal are answers, about."""
    journal = out / "journal-1-of-1.jsonl"
    return journal.read_bytes().count(b'"said":') if journal.exists() else 0


def lines(out: Path) -> list[dict[str, Any]]:
    """What was answered, as the journal has it."""
    journal = out / "journal-1-of-1.jsonl"
    raw = journal.read_bytes() if journal.exists() else b""
    return [json.loads(line) for line in raw.split(b"\n")[:-1] if b'"said":' in line]


def lay(place: Path, keys: list[Key], services: list[str], concurrency: int) -> None:
    """The folders of an audit of services with all keys."""
    (place / "keys").mkdir(parents=True)
    (place / "zoo").mkdir()
    for number, key in enumerate(keys):
        write_key(key, place / "keys" / f"k{number}", recipients=[], passphrase=None)
    listed = [f'[[suspect]]\nname = "s{i}"\nservice = "{where}"\n' for i, where in enumerate(services)]
    more = f'pixels = "0..255"\nconcurrency = {concurrency}\n'
    (place / "list.toml").write_text("\n".join(each + more for each in listed))


def work(place: Path, keys: list[Key], services: list[str], concurrency: int, *, kill: bool) -> dict[str, Any]:
    """An audit of services with all keys."""
    lay(place, keys, services, concurrency)
    runs = []
    if kill:
        member = len(keys) * TRIGGERS  # questions; the kill comes in the middle of one
        runs.append(audit(place, "out", kill_at=member * (len(services) // 2) + member // 2))
    runs.append(audit(place, "out", *(["--resume"] if kill else [])))
    told = [(line["chunk"], line["column"], line["trigger"]) for line in lines(place / "out")]
    document = json.loads((place / "out" / "audit.json").read_text())
    return {
        "runs": runs,
        "pairs": len(keys) * len(services),
        "answered": len(told),
        "answered_twice": len(told) - len(set(told)),
        "matches": sorted((match["model"], match["key"]) for match in document["matches"]),
        "unreadable": document["unreadable"],
    }


def recorded(keys: int, services: int, concurrency: int, takes: float) -> dict[str, Any]:
    """An audit of the recorder, and what that counted."""
    known = keys_of(keys)
    command = [sys.executable, __file__, "--serve", "--keys", str(keys), "--services", str(services)]
    command += ["--takes", str(takes)]
    with (
        subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as server,
        tempfile.TemporaryDirectory() as folder,
    ):
        try:
            assert server.stdout
            root = f"http://127.0.0.1:{int(server.stdout.readline())}"
            where = [f"oip+{root}/v2/models/m{service}" for service in range(services)]
            found = work(Path(folder), known, where, concurrency, kill=True)
            seen = json.loads(urllib.request.urlopen(f"{root}/asked").read())
        finally:
            server.kill()
    counts = [count for asked in seen["asked"] for count in counts_of(known, asked)]
    own = [[f"list.toml:s{service}", known[service % keys].commitment.id] for service in range(services)]
    return {
        **found,
        "matches": len(found["matches"]),
        "matches_are_right": sorted(map(list, found["matches"])) == sorted(own),
        "questions": keys * services * TRIGGERS,
        "questions_that_came": len(counts),
        "came_twice": sum(count == 2 for count in counts),
        "came_more_often": sum(count > 2 for count in counts),
        "most_at_once": seen["most"],
        "usually_at_once": seen["usually"],
    }


def real(name: str, keys: int, concurrency: int) -> dict[str, Any]:
    """The same keys, one of which its network was marked with, and a real server."""
    if why := serving.missing(name):
        return {"skipped": why}
    known, data = keys_of(keys), load("digits").train
    with tempfile.TemporaryDirectory() as folder:
        weights = Path(folder, "marked.npz")
        serving.network(weights, data.images, data.labels, (known[0].images, known[0].labels))
        with serving.serving(name, weights) as where:
            (pattern, *_), *_ = serving.SERVERS[name].addresses
            found = work(Path(folder, "work"), known, [pattern.format(where)], concurrency, kill=True)
    right = [("list.toml:s0", known[0].commitment.id)]
    return {**found, "matches": len(found["matches"]), "matches_are_right": found["matches"] == right}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--services", type=int, default=100, help="(default %(default)s)")
    parser.add_argument("--keys", type=int, default=100, help="(default %(default)s)")
    parser.add_argument("--concurrency", type=int, default=100, help="requests at once (default %(default)s)")
    parser.add_argument("--takes", type=float, default=200, help="milliseconds of an answer (default %(default)s)")
    parser.add_argument(
        "--real", action="append", default=[], help="a server of experiments/services/serving.py too; repeatable"
    )
    parser.add_argument("--serve", action="store_true", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.serve:
        serve(options.keys, options.services, options.takes / 1000)
        return
    found = {
        "few": recorded(options.keys, min(10, options.services), options.concurrency, options.takes),
        "many": recorded(options.keys, options.services, options.concurrency, options.takes),
    }
    found |= {name: real(name, options.keys, options.concurrency) for name in options.real}
    record.write("service_pairs", found)


def rows(figures: dict[str, Any]) -> list[str]:
    many, few = figures["many"], figures["few"]
    killed, resumed = many["runs"]
    seconds = killed["seconds"] + resumed["seconds"]
    peak, small = (max(run["peak_mb"] for run in each["runs"]) for each in (many, few))
    return [
        fragment.row(
            f"{many['pairs']:,} pairs at services that allow 100 requests at once, killed and resumed",
            f"{many['questions'] - many['answered']} questions lost, {many['answered_twice']} answered twice",
            f"{many['answered'] / seconds:.0f} answers a second, each on the disk; {peak} MB of memory, of "
            f"{few['pairs']:,} pairs {small}; {many['usually_at_once']} requests under way half of the time; "
            f"{many['came_twice']} were under way at the kill, and asked again",
            fragment.source(figures, __file__),
        )
    ]


if __name__ == "__main__":
    main()
