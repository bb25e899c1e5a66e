"""An audit of a zoo in an object store against the same audit of the folder, both on this machine.

Command   python experiments/bucket_audit.py [--models 96] [--repeats 5]
Expected  the same verdicts; at least .7 of the folder's speed where the store answers fast enough
Time      about 5 minutes on 2 CPU cores

The zoo: random networks of 1.1 million weights, once as wmjax's checkpoints (Orbax folders), once as safetensors, once
as a pack; one abstract key of 100 triggers. The stores are moto (S3) and gcp-storage-emulator
(Google), programs in Python that take their share of the same cores and answer over loopback: a bucket elsewhere has
more latency and no such share. Everything runs in one process, in turn, after one audit of each that compiles; the
store is listed and every byte is fetched anew each time. `fetched` is a store's own speed: every object once, whole.
"""

import argparse
import json
import shutil
import sys
import tempfile
import time
from collections import defaultdict
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import numpy as np
import record
import zoos
from safetensors.numpy import save_file
from timing import quartiles

import wmjax
from wmjax import stores
from wmjax.models import Config
from wmjax.suspects.network import from_config
from wmjax.zoo.result import AuditResult

sys.path.insert(0, str(Path(__file__).parent.parent / "tests"))
import buckets

CONFIG = Config("cnn", (32, 32, 3), 10, (32, 64), (256,))


def write_zoos(folder: Path, models: int) -> None:
    """The same networks in three formats."""
    network = from_config(CONFIG)
    zoos.write_loose(folder / "checkpoints", CONFIG, network, models, None)
    (folder / "safetensors").mkdir()
    for row in range(models):
        described = {"config": json.dumps(CONFIG.to_json())}
        save_file(zoos.draw(network, row), folder / "safetensors" / f"{row:05d}.safetensors", described)
    zoos.write_pack(folder / "pack", network, models)


def audited(zoo: str, keys: Any) -> tuple[float, AuditResult]:
    """Seconds of an audit, and what it says."""
    stores.forget()
    began = time.perf_counter()
    result = wmjax.audit(zoo, keys)
    return time.perf_counter() - began, result


def fetched(url: str) -> float:
    """Seconds in which every object of a zoo is fetched once."""
    began = time.perf_counter()
    stores.forget()
    with stores.present(stores.place(url)):
        return time.perf_counter() - began


def main() -> None:
    """Times them in turn and writes the figures."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--models", type=int, default=96)
    parser.add_argument("--repeats", type=int, default=5)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as scratch, ExitStack() as running:
        folder = Path(scratch)
        write_zoos(folder / "zoo", options.models)
        keys = zoos.write_keys(folder / "keys", CONFIG.image, 1, 100)
        places = {"folder": str(folder / "zoo")}
        for scheme in buckets.SCHEMES:
            running.enter_context(buckets.served(scheme))
            places[scheme] = buckets.Bucket(scheme, "zoos").put_folder(folder / "zoo")
        figures: dict[str, Any] = {"models": options.models, "bytes_of_one": from_config(CONFIG).bytes}
        for layout in ("checkpoints", "safetensors", "pack"):
            figures[layout] = _compared(
                {name: f"{place}/{layout}" for name, place in places.items()}, {"key": keys[0]}, options.repeats
            )
        shutil.rmtree(folder / "zoo")
    record.write("bucket_audit", figures)


def _compared(places: dict[str, str], keys: Any, repeats: int) -> dict[str, Any]:
    """Seconds of the audits of one zoo that lies in several places."""
    seconds, told = defaultdict[str, list[float]](list), {}
    for turn in range(repeats + 1):
        for name, place in places.items():
            took, result = audited(place, keys)
            told[name] = {(finding.model, finding.verdict, finding.evidence_bits) for finding in result}
            if turn:
                seconds[name].append(took)
    assert len({frozenset(verdicts) for verdicts in told.values()}) == 1, "the verdicts differ"
    figures: dict[str, Any] = {}
    for name, all_of_it in seconds.items():
        figures[name] = {"seconds": quartiles(np.array(all_of_it), 3)}
        if name != "folder":
            share = np.array(seconds["folder"]) / np.array(all_of_it)
            figures[name] |= {"speed": quartiles(share, 3), "fetched_seconds": round(fetched(places[name]), 3)}
    return figures


if __name__ == "__main__":
    main()
