"""An audit of a zoo in an object store against the same audit of the folder, both on this machine.

Command   python experiments/audits/bucket_audit.py [--models 96] [--repeats 5] [--work DIR]
Expected  the same verdicts; at least .7 of the folder's speed where the store answers fast enough
Time      about 8 minutes on 2 CPU cores

The zoo: random networks of 1.1 million weights as wmjax's checkpoints (Orbax folders), as safetensors, a quarter of
them as ONNX files, and as a pack; and a quarter as many checkpoints of four times the weights; one abstract key of 100
triggers. The stores are programs that take their share of the same cores and answer over loopback: `s3` is moto and
`gs` gcp-storage-emulator, as in the tests; `s3_hadro` is hadro (pip install hadro, found by PATH, else left out), which
reads ranges where moto copies the whole object for each, and `s3_far` is hadro with 30 ms before each answer and
600 Mbit/s a connection, as far as a bucket of the same region may be. All runs in one process, in turn, after one audit
of each that compiles; the store is listed and all is fetched anew each time.

Beside the speed stands what the store allows on these cores: `at_most` is the speed of the folder's audit while 16
threads ask the store for the same pieces, in the same order, and throw them away. So an audit that fetched as much and
waited for none of it would be as fast. `store_cpu_seconds` is the store's share of the cores.
"""

import argparse
import json
import os
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from collections import defaultdict
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any, NamedTuple

sys.path.insert(0, str(Path(__file__).parents[2]))  # the checkout

import numpy as np
import onnx
from safetensors.numpy import save_file

import wmjax
from experiments import fragment, record
from experiments.audits import zoos
from experiments.timing import quartiles
from wmjax import stores
from wmjax.models import Config
from wmjax.stores.contract import CONNECTIONS, Object
from wmjax.suspects.network import from_config
from wmjax.zoo.result import AuditResult

sys.path.insert(0, str(Path(__file__).parents[2] / "tests"))
import buckets
import marked

CONFIG = Config("cnn", (32, 32, 3), 10, (32, 64), (256,))
LARGE = Config("cnn", (32, 32, 3), 10, (64, 128), (512,))
LAYOUTS = {"checkpoints": {}, "large": {}, "safetensors": {}, "pack": {}, "onnx": {"pixels": "stated"}}
FAR = ("--latency-ms", "30", "--bandwidth-mbps", "600")


class Place(NamedTuple):
    """Where a zoo lies, and the environment in which that is found."""

    url: str
    settings: dict[str, str]


def write_zoos(folder: Path, models: int) -> None:
    """The same networks in four formats, and larger ones."""
    network = from_config(CONFIG)
    zoos.write_loose(folder / "checkpoints", CONFIG, network, models, None)
    zoos.write_loose(folder / "large", LARGE, from_config(LARGE), models // 4, None)
    for layout in ("safetensors", "onnx"):
        (folder / layout).mkdir()
    for row in range(models):
        described, weights = {"config": json.dumps(CONFIG.to_json())}, zoos.draw(network, row)
        save_file(weights, folder / "safetensors" / f"{row:05d}.safetensors", described)
        if row >= models // 4:
            continue
        file = marked.FORMATS["ONNX"][0](folder / "onnx" / f"{row:05d}", zoos.unflatten(CONFIG, weights))
        graph = onnx.load(file)
        height, width, channels = CONFIG.image
        for size, dim in zip(
            (channels, height, width), graph.graph.input[0].type.tensor_type.shape.dim[1:], strict=True
        ):
            dim.dim_value = size
        onnx.save(graph, file)
    zoos.write_pack(folder / "pack", network, models)


@contextmanager
def hadro(folder: Path, *options: str) -> Iterator[Place]:
    """An S3 server whose bucket `zoo` is a folder."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = str(free.getsockname()[1])
    command = ["hadro", "--port", port, "--log-level", "error", *options, str(folder.parent)]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL)
    try:
        buckets._wait(int(port), process)
        yield Place(f"s3://{folder.name}", buckets.settings("s3", f"http://127.0.0.1:{port}"))
    finally:
        process.kill()
        process.wait()


def cpu_seconds() -> float:
    """Of the processes that this one started."""
    ticks = 0
    for pid in Path(f"/proc/self/task/{os.getpid()}/children").read_text().split():
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
        ticks += int(fields[11]) + int(fields[12])
    return ticks / os.sysconf("SC_CLK_TCK")


class Audited(NamedTuple):
    """An audit: seconds, those of the cores here and in the stores, what was found, what was asked of the store."""

    seconds: float
    own: float
    theirs: float
    result: AuditResult
    asked: list[tuple[Object, int, int]]


def audited(place: Place, layout: str, keys: Any) -> Audited:
    """One audit of a zoo, of which this process remembers nothing."""
    os.environ.update(place.settings)
    stores.forget()
    asked: list[tuple[Object, int, int]] = []
    plain = stores.contents.Contents._asked

    def noted(self: Any, file: Any, begin: int, end: int) -> bytes:
        asked.append((file.object, begin, end))
        return plain(self, file, begin, end)

    stores.contents.Contents._asked = noted  # type: ignore[method-assign]
    began, own, theirs = time.perf_counter(), time.process_time(), cpu_seconds()
    result = wmjax.audit(f"{place.url}/{layout}", keys, **LAYOUTS[layout])
    took = time.perf_counter() - began
    stores.contents.Contents._asked = plain  # type: ignore[method-assign]
    return Audited(took, time.process_time() - own, cpu_seconds() - theirs, result, asked)


def beside(asked: list[tuple[Object, int, int]], folder: Place, layout: str, keys: Any) -> float:
    """Seconds of the folder's audit while the bucket that was just audited is asked for the same pieces as then."""
    (store,) = stores._process.buckets.values()
    began = time.perf_counter()
    with ThreadPoolExecutor(CONNECTIONS) as pool:
        pieces = [pool.submit(store.read, *piece) for piece in asked]
        audited(folder, layout, keys)
        for piece in pieces:
            piece.result()
    return time.perf_counter() - began


def compared(places: dict[str, Place], layout: str, keys: Any, repeats: int) -> dict[str, Any]:
    """The audits of one zoo that lies in several places."""
    seconds, most = defaultdict[str, list[float]](list), defaultdict[str, list[float]](list)
    last, told = dict[str, Audited](), {}
    for turn in range(repeats + 1):
        for name, place in places.items():
            made = audited(place, layout, keys)
            told[name] = frozenset((finding.model, finding.verdict, finding.evidence_bits) for finding in made.result)
            last[name] = made
            if turn:
                seconds[name].append(made.seconds)
            if turn and made.asked:
                most[name].append(seconds["folder"][-1] / beside(made.asked, places["folder"], layout, keys))
    assert len(set(told.values())) == 1, "the verdicts differ"
    figures: dict[str, Any] = {}
    for name, all_of_it in seconds.items():
        figures[name] = {"seconds": quartiles(np.array(all_of_it), 3), "cpu_seconds": round(last[name].own, 2)}
        if name != "folder":
            figures[name] |= {
                "speed": quartiles(np.array(seconds["folder"]) / np.array(all_of_it), 3),
                "at_most": quartiles(np.array(most[name]), 3),
                "requests_of_a_model": round(len(last[name].asked) / len({model for model, *_ in told[name]}), 2),
                "store_cpu_seconds": round(last[name].theirs, 2),
            }
    return figures


def main() -> None:
    """Times them in turn and writes the figures."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--models", type=int, default=96)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--work", help="folder of zoo and mirrors, e.g. in memory, so that no disk is measured")
    options = parser.parse_args()
    tempfile.tempdir = options.work or tempfile.gettempdir()
    with tempfile.TemporaryDirectory() as scratch, ExitStack() as running:
        folder = Path(scratch, "zoo")
        write_zoos(folder, options.models)
        keys = {"key": zoos.write_keys(Path(scratch) / "keys", CONFIG.image, 1, 100)[0]}
        places = {"folder": Place(str(folder), {})}
        for scheme in buckets.SCHEMES:
            running.enter_context(buckets.served(scheme))
            url = buckets.Bucket(scheme, "zoos").put_folder(folder)
            names = buckets.settings(scheme, "")
            places[scheme] = Place(url, {name: os.environ[name] for name in names})
        for name, more in (("s3_hadro", ()), ("s3_far", FAR)) if shutil.which("hadro") else ():
            places[name] = running.enter_context(hadro(folder, *more))
        figures: dict[str, Any] = {"models": options.models, "bytes_of_one": from_config(CONFIG).bytes}
        figures["bytes_of_a_large_one"] = from_config(LARGE).bytes
        for layout in LAYOUTS:
            print(f"{layout} ...", file=sys.stderr)
            figures[layout] = compared(places, layout, keys, options.repeats)
    record.write("bucket_audit", figures)


def rows(figures: dict[str, Any]) -> list[str]:
    stores = {"s3": "moto", "gs": "gcp-storage-emulator", "s3_hadro": "hadro"}
    told = []
    where = ", zoo and mirrors in memory" if "--work" in figures["environment"]["command"] else ""
    large = f"checkpoints of {figures['bytes_of_a_large_one'] / 1e6:.1f} MB"
    for layout in ("safetensors", "onnx", "pack", "checkpoints", "large"):
        found = figures[layout]
        shares = (
            f"{found[store]['speed']['median']:.2f} of {found[store]['at_most']['median']:.2f} ({name})"
            for store, name in stores.items()
            if store in found
        )
        told.append(f"{large if layout == 'large' else layout} {', '.join(shares)}")
    return [
        fragment.row(
            f"audit of {figures['models']} models in a bucket / in a folder, speed, of what stores allow here",
            "; ".join(told),
            f"{figures['bytes_of_one'] / 1e6:.1f} MB a model{where}",
            fragment.source(figures, __file__),
        )
    ]


if __name__ == "__main__":
    main()
