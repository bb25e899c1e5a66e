"""What spreading a training over devices costs on the same cores: 8 fake devices, pmap, 2 processes, against 1 device.

Command   python experiments/training/mapping_overhead.py [--repeats 5]
Expected  no target: cores that are shared cannot win, the figure is the price of the collectives and of smaller parts
Time      about 6 minutes on 2 CPU cores
"""

import argparse
import json
import os
import socket
import statistics
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[2]))  # the checkout

from experiments import fragment

STEPS, BATCH = 20, 128
# name: mapping, processes, devices in each
WAYS = {
    "1 device": ("jit", 1, 1),
    "8 devices": ("jit", 1, 8),
    "8 devices, pmap": ("pmap", 1, 8),
    "2 processes x 1": ("jit", 2, 1),
    "2 processes x 4": ("jit", 2, 4),
}


def worker(kind: str, coordinator: str, processes: int, process: int) -> None:
    """Prints the seconds of a step, of the second call."""
    import jax

    from experiments import timing
    from wmjax.models import default_config
    from wmjax.train import Recipe, all_devices

    if processes > 1:
        jax.distributed.initialize(coordinator, processes, process)
    work = timing.training(
        default_config("vgg", (32, 32, 3), 10),
        Recipe(epochs=1, batch=BATCH, flip=True, crop=2),
        STEPS,
        mapping=all_devices(kind),  # type: ignore[arg-type]
    )
    jax.block_until_ready(work())
    began = time.perf_counter()
    jax.block_until_ready(work())
    print(json.dumps((time.perf_counter() - began) / STEPS))


def seconds(kind: str, processes: int, devices: int) -> float:
    """Of a step, as process 0 sees it."""
    with socket.socket() as server:
        server.bind(("127.0.0.1", 0))
        address = f"127.0.0.1:{server.getsockname()[1]}"
    command = [sys.executable, __file__, "--worker", kind, address, str(processes)]
    environment = {**os.environ, "JAX_NUM_CPU_DEVICES": str(devices), "JAX_PLATFORMS": "cpu"}
    workers = [
        subprocess.Popen([*command, str(i)], env=environment, stdout=subprocess.PIPE, text=True)
        for i in range(processes)
    ]
    said = [worker.communicate()[0] for worker in workers]
    return float(json.loads(said[0].splitlines()[-1]))


def main(repeats: int) -> dict[str, Any]:
    """Milliseconds of a step each way, in turn, and the ratios to one device."""
    taken: dict[str, list[float]] = {name: [] for name in WAYS}
    for _ in range(repeats):
        for name, way in WAYS.items():
            taken[name].append(seconds(*way))
    ratios = {name: [a / b for a, b in zip(values, taken["1 device"], strict=True)] for name, values in taken.items()}
    return {
        "model": "vgg",
        "batch": BATCH,
        "repeats": repeats,
        "ms_median": {name: round(1e3 * statistics.median(values), 1) for name, values in taken.items()},
        "ratio_median": {name: round(statistics.median(values), 3) for name, values in ratios.items()},
        "ratio_range": {name: [round(min(v), 3), round(max(v), 3)] for name, v in ratios.items()},
    }


def rows(figures: dict[str, Any]) -> list[str]:
    """Each way to spread a step over devices against one device."""
    rows = []
    for way, ratio in figures["ratio_median"].items():
        if way != "1 device":
            low, high = figures["ratio_range"][way]
            rows.append(
                fragment.row(
                    f"a step on {way}, against 1 device on the same cores, vgg 32x32x3",
                    f"{ratio:.2f} ({low:.2f} to {high:.2f}) times as long",
                    f"{figures['ms_median'][way]:.0f} ms a step of {figures['batch']}",
                    f"{figures['repeats']} repeats; {fragment.source(figures, __file__)}",
                )
            )
    return rows


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--worker", nargs=4, metavar=("KIND", "ADDRESS", "PROCESSES", "PROCESS"))
    options = parser.parse_args()
    if options.worker:
        worker(options.worker[0], options.worker[1], *map(int, options.worker[2:]))
    else:
        from experiments import record

        record.write("mapping_overhead", main(options.repeats))
