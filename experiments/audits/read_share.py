"""How near a packed audit comes to the raw speed of reading where scoring costs almost nothing.

Command   python experiments/audits/read_share.py [--models 512] [--repeats 7] [--folder DIR] [--small]
Expected  over half of the raw speed from the page cache, nearly all of it from the disk
Time      about 3 minutes on 2 CPU cores; 2.3 GB of disk

The family is `zoos.thin`: 1.1 million weights, a few additions an image. Raw reading is `preadv` in blocks of 16 MiB
into buffers that are used again, by as many threads as the audit reads with. The audit's time includes everything: the
header of all models, the questions, the statistics. Cold: the kernel has been told to drop the file's pages before; a
machine whose disk is another's memory may read them from there.
"""

import argparse
import contextlib
import os
import sys
import tempfile
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[2]))  # the checkout

from experiments import fragment
from experiments.audits import zoos
from experiments.timing import quartiles
from wmjax.keys import open_keys
from wmjax.suspects.contract import Wanted
from wmjax.suspects.modules import from_module
from wmjax.zoo.audit import audit
from wmjax.zoo.discover import discover
from wmjax.zoo.load import THREADS, read_ahead

MODEL, IMAGE = "experiments.audits.zoos:thin", (8, 8, 1)
BLOCK = 16 << 20


def auditing(pack: str, keys: str) -> zoos.Work:
    """The whole audit."""
    opened, _ = open_keys(Path(keys))

    def work() -> dict[str, Any]:
        began = time.perf_counter()
        result = audit(pack, opened, models=[MODEL])
        return {"seconds": time.perf_counter() - began, "models": len(result.models)}

    return work


def chunks(pack: str, keys: str) -> zoos.Work:
    """What the audit reads, in its chunks and threads, thrown away."""
    entries = discover(Path(pack), Wanted((MODEL,), (IMAGE,))).entries
    rows = 16  # as the audit has them of 4.5 MB each

    def work() -> dict[str, Any]:
        began, parts = time.perf_counter(), [entries[at : at + rows] for at in range(0, len(entries), rows)]
        failures = [chunk.failures for chunk in read_ahead(parts, lambda network: rows)]
        return {"seconds": time.perf_counter() - began, "models": len(entries) - sum(map(len, failures))}

    return work


def raw(pack: str, keys: str) -> zoos.Work:
    """The file's bytes by plain system calls: each thread reads its share."""
    size, buffers = Path(pack).stat().st_size, [bytearray(BLOCK) for _ in range(THREADS)]
    share = -(-size // THREADS)

    def work() -> dict[str, Any]:
        descriptor = os.open(pack, os.O_RDONLY)
        try:
            began = time.perf_counter()
            with ThreadPoolExecutor(THREADS) as pool:
                read = list(pool.map(partial(_share, descriptor, share), range(THREADS), buffers))
            seconds = time.perf_counter() - began
        finally:
            os.close(descriptor)
        assert sum(read) == size
        return {"seconds": seconds}

    return work


def _share(descriptor: int, share: int, number: int, buffer: bytearray) -> int:
    at, end = number * share, (number + 1) * share
    while at < end and (count := os.preadv(descriptor, [memoryview(buffer)[: end - at]], at)):
        at += count
    return at - number * share


def worker(kind: str, *arguments: str) -> zoos.Work:
    """One of the ways, by name."""
    return {"audit": auditing, "chunks": chunks, "raw": raw}[kind](*arguments)


def measure(pack: Path, keys: Path, repeats: int) -> dict[str, Any]:
    """Every way in turn, first from the page cache, then each from the disk."""
    size = pack.stat().st_size

    def cold(turn: Callable[[], Any]) -> Callable[[], Any]:
        def call() -> Any:
            with open(pack, "rb") as file:
                os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)
            return turn()

        return call

    with contextlib.ExitStack() as stack:
        turns = {
            kind: stack.enter_context(zoos.process(__file__, kind, pack, keys, all_cores=True))
            for kind in ("audit", "chunks", "raw")
        }
        first, warm = zoos.in_turn(turns, repeats)
        _, cooled = zoos.in_turn({kind: cold(turn) for kind, turn in turns.items()}, repeats)
    figures: dict[str, Any] = {
        "bytes": size,
        "models": first["audit"]["models"],
        "threads": THREADS,
        "repeats": repeats,
        "first_audit_s": round(first["audit"]["seconds"], 2),
    }
    for name, rounds in (("warm", warm), ("cold", cooled)):
        rate = {kind: size / zoos.column(rounds[kind], "seconds") / 1e9 for kind in turns}
        figures[name] = {
            "gb_per_s": {kind: quartiles(values, 3) for kind, values in rate.items()},
            "share_of_raw": {kind: quartiles(rate[kind] / rate["raw"], 3) for kind in ("audit", "chunks")},
        }
    return figures


def main(arguments: list[str] | None = None) -> None:
    from experiments import record

    parser = argparse.ArgumentParser()
    parser.add_argument("--models", type=int, default=512)
    parser.add_argument("--repeats", type=int, default=7)
    parser.add_argument("--folder", type=Path, help="where the pack is written; removed afterwards")
    parser.add_argument("--small", action="store_true")
    options = parser.parse_args(arguments)
    models, repeats = (3, 2) if options.small else (options.models, options.repeats)
    with tempfile.TemporaryDirectory(dir=options.folder) as folder:
        keys = Path(folder, "keys")
        zoos.write_keys(keys, IMAGE, 1, 100)
        pack = zoos.write_pack(Path(folder, "packed"), from_module(MODEL, IMAGE), models)
        record.write("read_share", measure(pack, keys, repeats))


def rows(figures: dict[str, Any]) -> list[str]:
    return [
        fragment.row(
            f"packed audit against raw reading, from {words}, almost no arithmetic",
            f"{fragment.median(figures[state]['share_of_raw']['audit'])} times as fast",
            f"{figures[state]['gb_per_s']['audit']['median']:.2f} and "
            f"{figures[state]['gb_per_s']['raw']['median']:.2f} GB a second",
            f"{figures['models']} models, {figures['repeats']} pairs; {fragment.source(figures, __file__)}",
        )
        for state, words in (("warm", "the page cache"), ("cold", "the disk"))
    ]


if __name__ == "__main__":
    if sys.argv[1:2] == ["--worker"]:
        zoos.serve(worker(*sys.argv[2:]))
    else:
        main()
