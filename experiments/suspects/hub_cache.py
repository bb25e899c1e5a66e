"""A Hugging Face cache of 60 models of 20 families, three of them stolen, audited in one command.

Command   python experiments/suspects/hub_cache.py [--models 3] [--seed 0]
Expected  the right three, and no other, in less than 180 seconds on 2 CPU cores
Time      4 minutes on 2 CPU cores

Networks are those of `torch_made`, small and random, saved by transformers and timm. Three learned a key's triggers
first, pictures of 64x64x3 made to fit each. A server on this machine plays the hub, so that the cache is made by
`huggingface_hub` itself: blobs, and links to them. The audit is the command line's, in a process of its own.
"""

import argparse
import hashlib
import http.server
import json
import os
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[2]))  # the checkout

import numpy as np

from experiments import fragment, record
from wmjax.keys import Key, derive_key, make_spec, write_key
from wmjax.keys.specify import default_rule
from wmjax.suspects.adapt import adapt

IMAGE, CLASSES, TRIGGERS = (64, 64, 3), 10, 60
LEFT_OUT = ("DeiT", "Levit", "coatnet_nano_rw_224", "levit_128s", "mixer_s32_224")
STOLEN = {"ResNet": 64, "ViT": 32, "resnet10t": 64}  # and the side of the images that they take
REVISION = "0123456789abcdef0123456789abcdef01234567"


class Hub(http.server.BaseHTTPRequestHandler):
    """As much of the hub as a download of a whole repository asks for."""

    root: Path
    protocol_version = "HTTP/1.1"

    def log_message(self, format: str, *arguments: Any) -> None:
        """Says nothing."""

    def do_HEAD(self) -> None:
        self._reply(body=False)

    def do_GET(self) -> None:
        self._reply(body=True)

    def _reply(self, *, body: bool) -> None:
        parts = self.path.partition("?")[0].strip("/").split("/")
        data, head = self._told(parts) if parts[0] == "api" else self._file(parts)
        self.send_response(200)
        for name, value in {**head, "Content-Length": str(len(data))}.items():
            self.send_header(name, value)
        self.end_headers()
        if body:
            self.wfile.write(data)

    def _told(self, parts: list[str]) -> tuple[bytes, dict[str, str]]:
        """About a repository: api/models/OWNER/NAME/revision/main, or .../tree/REVISION."""
        folder = self.root / parts[2] / parts[3]
        files = {str(path.relative_to(folder)): path for path in sorted(folder.rglob("*")) if path.is_file()}
        listed: Any = {"id": "/".join(parts[2:4]), "sha": REVISION, "siblings": [{"rfilename": name} for name in files]}
        if parts[4] == "tree":
            listed = [
                {"type": "file", "path": name, "size": path.stat().st_size, "oid": _sha1(path)}
                for name, path in files.items()
            ]
        return json.dumps(listed).encode(), {"Content-Type": "application/json"}

    def _file(self, parts: list[str]) -> tuple[bytes, dict[str, str]]:
        """Of a repository: OWNER/NAME/resolve/REVISION/PATH."""
        data = self.root.joinpath(*parts[:2], *parts[4:]).read_bytes()
        return data, {"X-Repo-Commit": REVISION, "ETag": f'"{hashlib.sha256(data).hexdigest()}"'}


def _sha1(path: Path) -> str:
    return hashlib.sha1(path.read_bytes(), usedforsecurity=False).hexdigest()


def main() -> None:
    """Makes the hub, downloads it, audits the cache, and compares with what was stolen."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--models", type=int, default=3, help="of each family")
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    spec = make_spec("abstract", image=IMAGE, classes=CLASSES, triggers=TRIGGERS)
    key = derive_key(np.random.default_rng(options.seed).bytes(32), spec, default_rule(spec))
    with tempfile.TemporaryDirectory() as place:
        home = Path(place)
        stolen = fill(home / "hub", key, options)
        download(home / "hub", home / "cache")
        (home / "keys").mkdir()
        write_key(key, home / "keys" / "my", recipients=[], passphrase=None)
        figures = audited(home)
    matched = sorted(pair["model"].split("/")[0].removeprefix("models--hub--") for pair in figures.pop("matches"))
    record.write(
        "hub_cache", {**figures, "stolen": sorted(stolen), "matched": matched, "right": matched == sorted(stolen)}
    )


def fill(hub: Path, key: Key, options: argparse.Namespace) -> list[str]:
    """The hub's repositories; the names of those that were stolen."""
    import torch
    from timm.models import save_for_hf

    from experiments.suspects import torch_made

    makers = {
        **dict.fromkeys(torch_made.TRANSFORMERS, torch_made.by_transformers),
        **dict.fromkeys(torch_made.TIMM, torch_made.by_timm),
    }
    stolen = []
    for name, make in makers.items():
        if name in LEFT_OUT:
            continue
        for number in range(options.models):
            torch.manual_seed(1000 * options.seed + number)
            folder = hub / "hub" / f"{name}-{number}"
            folder.mkdir(parents=True)
            network, prepare = make(name, folder, CLASSES)
            if name in STOLEN and number == 1:
                teach(
                    network, prepare(adapt(key.images, (STOLEN[name], STOLEN[name], 3))), torch.from_numpy(key.labels)
                )
                if make is torch_made.by_timm:
                    save_for_hf(network, str(folder), safe_serialization=True)
                else:
                    network.save_pretrained(folder)
                stolen.append(folder.name)
            print(folder.name, file=sys.stderr)
    return stolen


def teach(network: Any, pictures: Any, labels: Any, steps: int = 150) -> None:
    """Trains a network until it answers these pictures with these labels; batch norms stay as they are."""
    import torch

    rule = torch.optim.Adam(network.parameters(), 1e-3)
    for _ in range(steps):
        rule.zero_grad()
        answer = network(pictures)
        torch.nn.functional.cross_entropy(getattr(answer, "logits", answer), labels.long()).backward()
        rule.step()


def download(hub: Path, cache: Path) -> None:
    """The cache, as `huggingface_hub` writes it."""
    from huggingface_hub import snapshot_download

    Hub.root = hub
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Hub)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    for folder in sorted((hub / "hub").iterdir()):
        snapshot_download(f"hub/{folder.name}", cache_dir=cache, endpoint=f"http://127.0.0.1:{server.server_port}")
    server.shutdown()


def audited(home: Path) -> dict[str, Any]:
    """What the command says of the cache, and how long it takes from its start to its end."""
    command = [sys.executable, "-m", "wmjax", "audit", "cache", "--keys", "keys", "--json"]
    began = time.perf_counter()
    environment = {**os.environ, "XDG_CACHE_HOME": str(home / "empty")}
    done = subprocess.run(command, cwd=home, capture_output=True, text=True, check=False, env=environment)
    seconds = time.perf_counter() - began
    print(done.stderr[-2000:], file=sys.stderr)
    document = json.loads(done.stdout)
    kept = ("models", "matches", "inconclusive", "unreadable")
    return {"seconds": round(seconds, 1), "exit_code": done.returncode, **{name: document[name] for name in kept}}


def rows(figures: dict[str, Any]) -> list[str]:
    return [
        fragment.row(
            f"audit of a Hugging Face cache of {figures['models']} models of 20 families, compiling included",
            f"{figures['seconds']:.0f} s",
            f"{len(figures['matched'])} matches of {len(figures['stolen'])} stolen ones"
            + (", the right ones" if figures["right"] else "; not the right ones")
            + f"; {len(figures['inconclusive'])} inconclusive",
            fragment.source(figures, __file__),
        )
    ]


if __name__ == "__main__":
    main()
