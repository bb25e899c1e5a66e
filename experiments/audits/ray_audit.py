"""Seconds of an audit by a Ray cluster of two workers on one machine, against one process, and with a worker killed.

Command   python experiments/audits/ray_audit.py [--models 1536] [--repeats 1]
Expected  the same verdicts each time; at most .6 of the time of one process with one core, as each worker has, where
          scoring dominates; not of one with both, since an audit already uses all cores of a machine, and Ray's
          start comes on top: Ray is for more machines
Time      about 5 minutes on 2 CPU cores; needs Ray

The zoo: random networks, `resnet18` of small width for 32x32 pictures in colour; one abstract key of 100 triggers.
`one_core_s` is the whole command on one core (`taskset`), `all_cores_s` with both; `ray_s` is `--ray` at a cluster that
is up, as on a real one; its workers, of one thread each, are new in each call. `start_s` is `--ray` for 16 of the
models, mostly start: Ray, imports, compilation. `killed_s`: as `ray_s` while the first worker that is busy is killed
once, after `kill_after_s`.
"""

import argparse
import contextlib
import json
import os
import shutil
import signal
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[2]))  # the checkout

import numpy as np
from safetensors.numpy import save_file

import wmjax
from experiments import fragment, record
from experiments.audits import zoos
from wmjax.keys import derive_key, make_spec, write_key
from wmjax.keys.specify import default_rule
from wmjax.models import Config
from wmjax.suspects.network import from_config

CONFIG = Config("resnet18", (32, 32, 3), 10, (16, 32, 64, 96))
AUDIT = [sys.executable, "-m", "wmjax", "audit", "--keys", "keys", "--json"]
FEW = 16


def make(folder: Path, models: int) -> None:
    """A zoo of random networks, and a key."""
    (folder / "zoo").mkdir()
    network = from_config(CONFIG)
    for number in range(models):
        weights = zoos.draw(network, number)
        save_file(
            {name: np.asarray(value) for name, value in weights.items()},
            folder / "zoo" / f"{number:04}.safetensors",
            {"config": json.dumps(CONFIG.to_json())},
        )
    (folder / "few").mkdir()
    for path in sorted((folder / "zoo").iterdir())[:FEW]:
        shutil.copy(path, folder / "few")
    (folder / "keys").mkdir()
    spec = make_spec("abstract", image=CONFIG.image, classes=10, triggers=100)
    key = derive_key(bytes(32), spec, default_rule(spec), created="2026-01-01T00:00:00+00:00")
    write_key(key, folder / "keys" / "key", recipients=[], passphrase=None)


def audit(folder: Path, memory: str, *more: str, zoo: str = "zoo", before: Sequence[str] = ()) -> tuple[float, Any]:
    """The whole command; its seconds, and what it found."""
    shutil.rmtree(folder / "out", ignore_errors=True)
    command = [*before, *AUDIT, zoo, "--out", "out", "--memory", memory, *more]
    began = time.perf_counter()
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)
    seconds = time.perf_counter() - began
    if done.returncode not in (0, 1, 3):
        raise SystemExit(done.stderr)
    result = wmjax.merge(folder / "out", folder / "keys")
    return seconds, (result.models, result.outcomes.tolist(), result.bits.tolist())


@contextlib.contextmanager
def cluster() -> Iterator[str]:
    """A Ray node on this machine, with two workers; gives its address."""
    from ray.cluster_utils import Cluster

    os.environ["RAY_AUTH_MODE"] = "disabled"
    os.environ["XLA_FLAGS"] = "--xla_cpu_multi_thread_eigen=false"  # a worker has one core: no threads for another one
    node = Cluster(initialize_head=True, head_node_args={"num_cpus": 2, "include_dashboard": False})
    del os.environ["XLA_FLAGS"]
    try:
        yield node.address
    finally:
        node.shutdown()


def kill_one(after: float) -> None:
    """Kills a worker of Ray that has a task, `after` seconds from now."""
    time.sleep(after)
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        with contextlib.suppress(OSError):
            if path.read_bytes().startswith(b"ray::work"):
                os.kill(int(path.parent.name), signal.SIGKILL)
                return


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--models", type=int, default=1536)
    parser.add_argument("--repeats", type=int, default=1)
    parser.add_argument("--parts", type=int, default=8)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as name, cluster() as address:
        folder = Path(name)
        make(folder, options.models)
        size = (folder / "zoo" / "0000.safetensors").stat().st_size
        memory = f"{8 * 16 * size // 1000}KB"
        on_ray = ("--ray", address, "--parts", str(options.parts))
        seconds: dict[str, list[float]] = {"one_core_s": [], "all_cores_s": [], "ray_s": []}
        found = []
        for _ in range(options.repeats):
            for way, more, before in (
                ("one_core_s", (), ("taskset", "-c", "0")),
                ("all_cores_s", (), ()),
                ("ray_s", on_ray, ()),
            ):
                took, told = audit(folder, memory, *more, before=before)
                seconds[way].append(round(took, 2))
                found.append(told)
        start, _ = audit(folder, memory, *on_ray[:2], "--parts", "2", zoo="few")
        middle = {way: statistics.median(took) for way, took in seconds.items()}
        after = middle["ray_s"] / 2
        killer = threading.Thread(target=kill_one, args=(after,))
        killer.start()
        killed, told = audit(folder, memory, *on_ray)
        killer.join()
        found.append(told)
    record.write(
        "ray_audit",
        {
            "models": options.models,
            "parts": options.parts,
            **middle,
            "start_s": round(start, 2),
            "killed_s": round(killed, 2),
            "kill_after_s": round(after, 2),
            "ratio_to_one_core": round(middle["ray_s"] / middle["one_core_s"], 3),
            "ratio_to_all_cores": round(middle["ray_s"] / middle["all_cores_s"], 3),
            "same_result": all(told == found[0] for told in found),
            "all_s": seconds,
        },
    )


def rows(figures: dict[str, Any]) -> list[str]:
    ray, alone, both = (figures[name] for name in ("ray_s", "one_core_s", "all_cores_s"))
    return [
        fragment.row(
            f"audit of {figures['models']:,} models by two workers of Ray / by one process on one core, seconds",
            f"{figures['ratio_to_one_core']:.2f} ({ray:.0f} / {alone:.0f})",
            f"one process with both cores {both:.0f}; start alone {figures['start_s']:.0f}; a worker killed "
            f"{figures['killed_s']:.0f}, {'the same verdicts' if figures['same_result'] else 'OTHER VERDICTS'}",
            fragment.source(figures, __file__),
        )
    ]


if __name__ == "__main__":
    main()
