"""Marked and innocent digits networks behind real servers: the README's commands, queries, and what asking costs.

Command   WMJAX_SERVERS=FOLDER python experiments/services/services.py [--install] [--only kserve,triton]
Expected  each marked network a match in at most 10 questions, each innocent one cleared, each claim judged a match;
          asking costs less than 1.2 times what a bare client needs, for 1 picture and for 16, each in a request of its
          own (.1 to .2 ms a question, beside networks that answer in one); no token in any file
Time      2 minutes on 2 CPU cores, beside `--install` (1.5 GB of packages)
"""

import argparse
import http.client
import importlib
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
import urllib.parse
import urllib.request
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[2]))  # the checkout

import numpy as np

from experiments import fragment, record
from experiments.services import serving
from wmjax.data import load
from wmjax.keys import Key, derive_key, make_spec, write_key
from wmjax.keys.memory import remember
from wmjax.keys.specify import default_rule
from wmjax.suspects import Wanted, open_suspect
from wmjax.suspects.services.address import read_address
from wmjax.suspects.services.contract import Declared, document
from wmjax.suspects.services.providers import PROVIDERS
from wmjax.suspects.services.service import Service
from wmjax.verification import verify

TOKEN, NONCE, REPEATS = "hidden-token-of-the-experiment", "ab" * 16, 400
UNLOCK = ["--key", "my.age", "--identity", "my.identity"]


def command(place: Path, *arguments: str) -> tuple[int, dict[str, Any], float]:
    """A command of wmjax as typed: exit code, document and seconds; what it says is kept in `place/said`."""
    env = {**os.environ, "SUSPECT_TOKEN": TOKEN, "JAX_PLATFORMS": "cpu"}
    began = time.perf_counter()
    done = subprocess.run(
        [sys.executable, "-m", "wmjax", *arguments, "--json"], cwd=place, env=env, capture_output=True, text=True
    )
    with (place / "said").open("a") as said:
        said.write(done.stdout + done.stderr)
    return done.returncode, json.loads(done.stdout or "{}"), time.perf_counter() - began


def asked(place: Path, suspect: str, options: list[str], *, marked: bool) -> dict[str, Any]:
    """What `verify` says; of a marked network also what a claim and its judge say."""
    for file in place.glob("my.asked.jsonl"):
        file.unlink()  # each server is another suspect, at the same few ports
    code, verdict, seconds = command(place, "verify", *UNLOCK, suspect, *options)
    found = {
        "exit_code": code,
        **{name: verdict.get(name) for name in ("verdict", "queries", "evidence_bits", "message")},
        "seconds": round(seconds, 2),
    }
    if not marked:
        return found
    out = f"{len(list(place.glob('*.claim.json')))}.claim.json"
    (place / "my.age").write_bytes((place / "fresh.age").read_bytes())
    claim = ["claim", *UNLOCK, suspect, *options, "--nonce-from", NONCE, "--reveal", "--out", out]
    code, stated, _ = command(place, *claim)
    found["claim"] = {"exit_code": code, "matches": stated.get("matches"), "queries": stated.get("queries")}
    code, document, _ = command(place, "judge", out, "--nonce-from", NONCE, "--suspect", suspect, *options)
    judged = document["judgements"][0] if "judgements" in document else document
    found["judge"] = {"exit_code": code, "verdict": judged.get("verdict"), "bits": judged.get("evidence_bits")}
    return found


def overhead(suspect: str, options: list[str]) -> dict[str, Any]:
    """Seconds of a question by wmjax over those of a bare client that sends ready bytes over a kept connection."""
    pixels = options[1] if options[:1] == ["--pixels"] else ""
    service = Service(suspect, Wanted(images=((8, 8, 1),), classes=(10,), pixels=pixels))
    service.meet((8, 8, 1))
    found = {}
    for n in (1, 16):
        images = np.random.default_rng(0).integers(0, 256, (n, 8, 8, 1), np.uint8)
        provider, url = PROVIDERS[suspect.partition("+")[0]], read_address(suspect).url
        about = None
        if request := provider.about(url):
            about = document(urllib.request.urlopen(request.url).read())
        form = provider.forms(url, about, Declared((8, 8, 1), 10, pixels))[0]
        steps = [form.step(image[None]) for image in images]
        parts = urllib.parse.urlsplit(steps[0][0].url)
        line = http.client.HTTPConnection(parts.hostname or "", parts.port)
        ours, bare = [], []
        for _ in range(REPEATS // n):
            began = time.perf_counter()
            for request, parse in steps:
                line.request("POST", parts.path, request.body, {"Content-Type": request.kind})
                parse(line.getresponse().read())
            bare.append(time.perf_counter() - began)
            began = time.perf_counter()
            service.ask(images)
            ours.append(time.perf_counter() - began)
        ratios = statistics.quantiles([a / b for a, b in zip(ours, bare, strict=True)], n=4)
        found[str(n)] = {
            "ratio": round(ratios[1], 3),
            "undisturbed": round(float(np.quantile(ours, 0.1) / np.quantile(bare, 0.1)), 3),  # others use the cores too
            "quartiles": [round(ratios[0], 3), round(ratios[2], 3)],
            "milliseconds": round(1000 * statistics.median(ours), 2),
            "bare_milliseconds": round(1000 * statistics.median(bare), 2),
        }
    return found


def remembering(place: Path) -> float:
    """Milliseconds in which a question is written down beside the key, on this disk."""
    times = []
    for trigger in range(REPEATS):
        began = time.perf_counter()
        remember(place / "my.age", "a service", [trigger % 100])
        times.append(time.perf_counter() - began)
    return round(1000 * statistics.median(times), 2)


def losses(weights: Path, key: Key) -> dict[str, Any]:
    """Queries and bits of a network behind a service that says less, played by the tests' recorder."""
    os.environ["SERVED"] = str(weights)
    sys.path[:0] = [str(serving.APPS), str(record.HERE.parent / "tests")]
    import digits
    from recorder import WORDS, Recorder

    importlib.reload(digits)  # it reads its weights once
    poor: dict[str, dict[str, Any]] = {
        "all scores": {},
        "JPEG alone": {"jpeg": True},
        "the best five": {"top": 5, "words": WORDS},
        "the best two": {"top": 2, "words": WORDS},
        "names of the best five": {"top": 5, "words": WORDS, "scoreless": True},
        "four decimals": {"decimals": 4},
        "two decimals": {"decimals": 2},
        "words, and no --labels": {"words": WORDS},
        "429 at every other question": {"script": [(429, {"Retry-After": "0"}, b""), None] * 99},
    }
    some = ("JPEG alone", "the best five", "four decimals", "429 at every other question")
    poor["JPEG, five words, four decimals and 429 together"] = {k: v for name in some for k, v in poor[name].items()}
    poor["the same, and no --labels"] = dict(poor["JPEG, five words, four decimals and 429 together"])
    found: dict[str, Any] = {}
    for provider in ("v1", "oip"):
        for loss, changes in poor.items():
            service = Recorder(lambda image: digits.probabilities(image[None])[0])
            for name, value in changes.items():
                if provider != "oip" or name != "jpeg":  # it takes numbers
                    setattr(service, name, list(value) if name == "script" else value)
            labels = tuple(WORDS) if "words" in changes and "no --labels" not in loss else ()
            known = Wanted(images=((8, 8, 1),), classes=(10,), labels=labels)
            stopped = verify(open_suspect(service.address(provider), known), key, nonce=b"the same order")
            whole = verify(open_suspect(service.address(provider), known), key, whole=True)
            if provider != "oip" or changes != {"jpeg": True}:
                found[f"{provider}: {loss}"] = {
                    "verdict": stopped.verdict,
                    "queries": stopped.queries,
                    "matches_of_100": whole.matches,
                    "bits_of_100_triggers": whole.evidence_bits,
                }
            service.shutdown()
            service.server_close()
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--install", action="store_true", help="make the environments first")
    parser.add_argument("--only", default=",".join(serving.SERVERS), help="servers (default %(default)s)")
    options = parser.parse_args()
    found: dict[str, Any] = {}
    with tempfile.TemporaryDirectory() as folder:
        place = Path(folder)
        data = load("digits").train
        spec = make_spec("abstract", image=(8, 8, 1), classes=10, triggers=100)
        key = derive_key(bytes(range(32)), spec, default_rule(spec), created="2026-01-01T00:00:00+00:00")
        write_key(key, place / "my", recipients=[], passphrase=None)
        (place / "fresh.age").write_bytes((place / "my.age").read_bytes())
        (place / "words.txt").write_text("\n".join(serving.WORDS) + "\n")
        serving.network(place / "marked.npz", data.images, data.labels, (key.images, key.labels))
        serving.network(place / "innocent.npz", data.images, data.labels)
        # One that hardly learned the key shows what each loss costs: the other is so sure that none costs anything.
        serving.network(place / "unsure.npz", data.images, data.labels, (key.images, key.labels), epochs=15, copies=3)
        for name in options.only.split(","):
            if options.install:
                serving.install(name)
            if why := serving.missing(name):
                found[name] = why
                continue
            for kind in ("marked", "innocent"):
                with serving.serving(name, place / f"{kind}.npz") as where:
                    for pattern, *more in serving.SERVERS[name].addresses:
                        suspect = pattern.format(where)
                        scheme = suspect.partition("+")[0]
                        entry = found.setdefault(f"{name} {scheme}", {"command": f"wmjax verify ... {pattern} {more}"})
                        entry[kind] = asked(place, suspect, more, marked=kind == "marked")
                        if kind == "marked" and scheme in ("oip", "v1"):
                            entry["overhead"] = overhead(suspect, more)
                        print(name, scheme, kind, json.dumps(entry[kind]), file=sys.stderr)
        secret = [path.name for path in place.iterdir() if TOKEN.encode() in path.read_bytes()]
        told = {name: losses(place / f"{name}.npz", key) for name in ("marked", "unsure")}
        found = {
            "servers": found,
            "losses": told,
            "remember_milliseconds": remembering(place),
            "files_with_the_token": secret,
        }
    record.write("services", found)


_LOSSES = {
    "all scores": "all scores",
    "JPEG alone": "JPEG",
    "the best five": "the best five",
    "the best two": "the best two",
    "names of the best five": "names alone",
    "four decimals": "four decimals",
    "two decimals": "two decimals",
    "JPEG, five words, four decimals and 429 together": "JPEG, the best five, four decimals and HTTP 429 at once",
    "the same, and no --labels": "the same with unknown words",
}


def rows(figures: dict[str, Any]) -> list[str]:
    servers = figures["servers"].values()
    found = sum(server["marked"]["judge"]["verdict"] == "match" for server in servers)
    cleared = sum(server["innocent"]["verdict"] == "no-match" for server in servers)
    most = max(server["marked"]["queries"] for server in servers)
    times = [way["ratio"] for server in servers for way in server.get("overhead", {}).values()]
    fastest = [way["undisturbed"] for server in servers for way in server.get("overhead", {}).values()]
    told = {name: figures["losses"]["unsure"][f"v1: {name}"] for name in _LOSSES}
    bits = ", ".join(f"{_LOSSES[name]} {told[name]['bits_of_100_triggers']:.0f}" for name in _LOSSES)
    last = told["the same, and no --labels"]
    return [
        fragment.row(
            "a marked network behind KServe (two protocols), Triton, MLServer, MLflow and Gradio",
            f"{found} of {len(servers)} are matches in at most {most} queries, and for the judge",
            f"{cleared} innocents cleared; asking takes {min(times):.2f} to {max(times):.2f} times as long as a bare "
            f"client by the median, {min(fastest):.2f} to {max(fastest):.2f} times in the fastest tenth",
            fragment.source(figures, __file__),
        ),
        fragment.row(
            f"bits of a network that learned {told['all scores']['matches_of_100']} of 100 labels, behind a service "
            "that tells less",
            bits,
            f"{told['all scores']['verdict']} after {told['all scores']['queries']} queries, at the last "
            f"{last['verdict']} after {last['queries']}",
            fragment.source(figures, __file__),
        ),
    ]


if __name__ == "__main__":
    main()
