"""How an audit's cost grows with models and keys, and what memory it takes.

Command   python experiments/audits/audit_growth.py [--models 64 256 1024 4096] [--keys 1 4 16 64] [--large 256 4096]
          [--folder DIR] [--small]
Expected  seconds grow no faster than models, and than pairs; the same memory for 256 and for 4,096 models of 1.1
          million parameters under `--memory 4GB`
Time      about 15 minutes on 2 CPU cores; 24 GB of disk, removed afterwards

Packs of random networks, abstract keys of 64 triggers; small networks for the grid, so that asking is cheap and the
host's work shows. Each cell is a process of its own, whose first audit, which compiles, is apart; files lie in the page
cache. Memory is the process's largest resident set. `results/audit_growth.svg` draws the grid.
"""

import argparse
import resource
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[2]))  # the checkout

import numpy as np

from experiments import fragment, record
from experiments.audits import zoos
from experiments.timing import quartiles
from wmjax.keys import open_keys
from wmjax.models import Config
from wmjax.suspects.network import from_config
from wmjax.zoo.audit import audit

SMALL_NETWORK = Config("cnn", (8, 8, 1), 10, (8, 16), (32,))
LARGE_NETWORK = Config("resnet18", (8, 8, 1), 10, (16, 32, 64, 176))
TRIGGERS, MEMORY, REPEATS = 64, 4_000_000_000, 2
WIDTH, HEIGHT, LEFT, RIGHT, TOP, BOTTOM = 720, 400, 64, 110, 16, 44  # of the drawing, in pixels


def worker(pack: str, keys: str, count: str, memory: str) -> zoos.Work:
    """An audit of a pack with some of the keys."""
    opened, _ = open_keys(Path(keys))
    chosen = dict(list(opened.items())[: int(count)])

    def work() -> dict[str, Any]:
        began = time.perf_counter()
        result = audit(pack, chosen, memory=int(memory))
        seconds = time.perf_counter() - began
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
        return {
            "seconds": seconds,
            "models": len(result.models),
            "queries": int(result.queries.sum()),
            "peak_mib": peak,
        }

    return work


def measure(pack: Path, keys: Path, count: int) -> dict[str, Any]:
    """One cell: a first audit and a few more."""
    with zoos.process(__file__, pack, keys, count, MEMORY, all_cores=True) as turn:
        first, rounds = turn(), [turn() for _ in range(REPEATS)]
    seconds = zoos.column(rounds, "seconds")
    return {
        "models": first["models"],
        "keys": count,
        "first_s": round(first["seconds"], 2),
        "seconds": quartiles(seconds, 4),
        "models_per_s": quartiles(first["models"] / seconds, 1),
        "pairs_per_s": quartiles(first["models"] * count / seconds, 1),
        "queries": first["queries"],
        "peak_mib": round(rounds[-1]["peak_mib"]),
    }


def grid(folder: Path, config: Config, sizes: list[int], counts: list[int]) -> list[dict[str, Any]]:
    """Small networks: every number of models with every number of keys."""
    network, keys, cells = from_config(config), folder / "keys", []
    zoos.write_keys(keys, config.image, max(counts), TRIGGERS)
    for models in sizes:
        pack = zoos.write_pack(folder / str(models), network, models)
        cells += [measure(pack, keys, count) for count in counts]
    return cells


def memory(folder: Path, config: Config, sizes: list[int]) -> list[dict[str, Any]]:
    """Large networks: one key, packs that are removed one by one."""
    network, keys, cells = from_config(config), folder / "keys", []
    for models in sizes:
        pack = zoos.write_pack(folder / f"large-{models}", network, models)
        cells.append({"bytes": pack.stat().st_size, **measure(pack, keys, 1)})
        pack.unlink()
    return cells


def plot(cells: list[dict[str, Any]]) -> str:
    """Seconds by models, a line a number of keys, both axes logarithmic; dashed: growth in proportion."""
    x_of = {cell["models"]: np.log2(cell["models"]) for cell in cells}
    seconds = [cell["seconds"]["median"] for cell in cells]
    low, high = np.floor(np.log10(min(seconds))), np.ceil(np.log10(max(seconds)))
    left, span = min(x_of.values()), max(1.0, max(x_of.values()) - min(x_of.values()))

    def at(models: float, value: float) -> str:
        x = LEFT + (np.log2(models) - left) / span * (WIDTH - LEFT - RIGHT)
        y = TOP + (high - np.log10(value)) / max(1.0, high - low) * (HEIGHT - TOP - BOTTOM)
        return f"{x:.1f},{y:.1f}"

    def text(place: str, words: str, more: str = "") -> str:
        x, y = place.split(",")
        return f'<text x="{x}" y="{y}" {more}>{words}</text>'

    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}" font-family="sans" font-size="12">',
        f'<rect width="{WIDTH}" height="{HEIGHT}" fill="white"/>',
    ]
    first, last = min(x_of), max(x_of)
    for power in range(int(low), int(high) + 1):
        parts.append(f'<polyline points="{at(first, 10.0**power)} {at(last, 10.0**power)}" stroke="#ddd"/>')
        parts.append(text(at(first, 10.0**power), f"{10.0**power:g} s", 'dx="-8" dy="4" text-anchor="end"'))
    for models in x_of:
        parts.append(text(at(models, 10.0**low), f"{models:,}", 'dy="18" text-anchor="middle"'))
    parts.append(f'<text x="{(LEFT + WIDTH - RIGHT) / 2}" y="{HEIGHT - 6}" text-anchor="middle">models</text>')
    for number, count in enumerate(dict.fromkeys(cell["keys"] for cell in cells)):
        line = [(cell["models"], cell["seconds"]["median"]) for cell in cells if cell["keys"] == count]
        colour = ("#1b6ca8", "#2a9d58", "#c77d0a", "#b0303a")[number % 4]
        ends = f"{at(*line[0])} {at(line[-1][0], line[0][1] * line[-1][0] / line[0][0])}"
        points = " ".join(at(*point) for point in line)
        parts.append(f'<polyline points="{ends}" stroke="{colour}" stroke-dasharray="4 4" opacity="0.5"/>')
        parts.append(f'<polyline points="{points}" fill="none" stroke="{colour}" stroke-width="2"/>')
        parts.append(text(at(*line[-1]), f"{count} keys" if count > 1 else "1 key", f'dx="6" dy="4" fill="{colour}"'))
    return "\n".join([*parts, "</svg>"]) + "\n"


def main(arguments: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--models", type=int, nargs="+", default=[64, 256, 1024, 4096])
    parser.add_argument("--keys", type=int, nargs="+", default=[1, 4, 16, 64])
    parser.add_argument("--large", type=int, nargs="*", default=[256, 4096])
    parser.add_argument("--folder", type=Path, help="where the packs are written; removed afterwards")
    parser.add_argument("--small", action="store_true")
    options = parser.parse_args(arguments)
    sizes, counts, large = (
        ([3, 4], [1], [4]) if options.small else (sorted(options.models), sorted(options.keys), options.large)
    )
    with tempfile.TemporaryDirectory(dir=options.folder) as folder:
        cells = grid(Path(folder), zoos.TINY if options.small else SMALL_NETWORK, sizes, counts)
        big = memory(Path(folder), zoos.TINY if options.small else LARGE_NETWORK, large)
    figures = {"triggers": TRIGGERS, "repeats": REPEATS, "grid": cells, "memory_bytes": MEMORY, "large": big}
    record.write("audit_growth", figures)
    (record.RESULTS / "audit_growth.svg").write_text(plot(cells))


def rows(figures: dict[str, Any]) -> list[str]:
    cells = {(cell["models"], cell["keys"]): cell for cell in figures["grid"]}
    (few, one), (many, _) = min(cells), max(cells)
    largest = max(cells, key=lambda cell: cell[0] * cell[1])
    rows = [
        fragment.row(
            f"audit of {models:,} models by {keys} {'key' if keys == 1 else 'keys'}",
            f"{cells[models, keys]['seconds']['median']:.2f} s",
            f"{cells[models, keys]['models_per_s']['median']:,.0f} models and "
            f"{cells[models, keys]['pairs_per_s']['median']:,.0f} pairs a second",
            f"{figures['repeats']} repeats; {fragment.source(figures, __file__)}",
        )
        for models, keys in ((few, one), (many, one), largest)
    ]
    for cell in figures["large"]:
        rows.append(
            fragment.row(
                f"memory, auditing {cell['models']:,} models, {cell['bytes'] / 1e9:.1f} GB packed, `--memory 4GB`",
                f"{cell['peak_mib'] / 1024:.2f} GiB at most",
                f"{cell['models_per_s']['median']:.0f} models a second",
                f"{figures['repeats']} repeats; {fragment.source(figures, __file__)}",
            )
        )
    return rows


if __name__ == "__main__":
    if sys.argv[1:2] == ["--worker"]:
        zoos.serve(worker(*sys.argv[2:]))
    else:
        main()
