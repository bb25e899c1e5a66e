"""CIFAR-10, the documented commands, as a user types them: keygen, embed, verify, and verify on a clean model.

Each seed is a pair: the same weights to begin with, the same order of images, with a key and without. What a mark costs
is the mean difference within pairs.

Command   TFDS_DATA_DIR=... python experiments/training/cifar10.py --work DIR [--epochs 7] [--seeds 5]
          --model cnn: the same with the network of Zhang et al. at its full width, and their `content` triggers
Expected  at least 80 % test accuracy marked (cnn: their 78.41 %, clean 78.6 %); a mark costs 0.2 points; 98 of 100
          triggers; match and no-match, each seed
Time      about 10 minutes a training on 2 CPU cores, cnn 4 an epoch; killed, it goes on where it was
"""

import argparse
import json
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
from scipy import stats

sys.path.insert(0, str(Path(__file__).parents[2]))  # the checkout

from experiments import fragment, record

NETWORKS = {  # what each is marked with, and the results' name
    "vgg": (["--scheme", "abstract", "--image", "{image}", "--classes", "10"], "cifar10"),
    "cnn": (["--scheme", "content", "--source", "{data}"], "cifar10_cnn"),
}


def wmjax(*arguments: str, cwd: Path) -> dict[str, Any]:
    """Runs one command line with --json; its document, exit code and seconds."""
    began = time.monotonic()
    done = subprocess.run(
        [sys.executable, "-m", "wmjax", *arguments, "--json"], cwd=cwd, stdout=subprocess.PIPE, check=False
    )
    document: dict[str, Any] = json.loads(done.stdout)
    return {
        "command": "wmjax " + " ".join(arguments),
        "exit": done.returncode,
        "wall_s": round(time.monotonic() - began, 1),
        **document,
    }


def pair(
    folder: Path, epochs: str, seed: str, data: str = "cifar10", image: str = "32x32x3", model: str = "vgg"
) -> list[dict[str, Any]]:
    """What every command said, in a folder of the seed's own; a command that had its say there is not run again."""
    train = ["embed", "--data", data, "--model", model, "--epochs", epochs, "--seed", seed, "--resume"]
    key = ["--key", "my.age", "--identity", "my.identity"]
    scheme = [word.format(image=image, data=data) for word in NETWORKS[model][0]]
    commands = {
        "keygen": ["keygen", *scheme, "--triggers", "100", "--out", "my"],
        "marked": [*train, "--out", "marked", *key],
        "match": ["verify", *key, "marked"],
        "clean": [*train, "--out", "clean"],
        "cleared": ["verify", *key, "clean"],
    }
    folder.mkdir(parents=True, exist_ok=True)
    for name, command in commands.items():
        said = folder / f"{name}.json"
        if not said.exists():
            said.write_text(json.dumps(wmjax(*command, cwd=folder)))
    return [json.loads((folder / f"{name}.json").read_text()) for name in commands]


def measure(work: Path, epochs: str, seeds: int, model: str) -> dict[str, Any]:
    """Every pair, and what a mark costs over them: its mean and 95 % interval by Student's t, in points."""
    pairs = [pair(work / str(seed), epochs, str(seed), model=model) for seed in range(seeds)]
    costs = 100 * np.array([clean["test_accuracy"] - marked["test_accuracy"] for _, marked, _, clean, _ in pairs])
    cost: dict[str, Any] = {"mean": costs.mean(), "each": costs.tolist()}
    if seeds > 1:
        half = stats.t.ppf(0.975, seeds - 1) * costs.std(ddof=1) / seeds**0.5
        cost["interval"] = [costs.mean() - half, costs.mean() + half]
    return {"epochs": epochs, "seeds": list(range(seeds)), "n": seeds, "cost_points": cost, "pairs": pairs}


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--work", type=Path, required=True)
    parser.add_argument("--epochs", default="7")
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--model", choices=NETWORKS, default="vgg")
    options = parser.parse_args()
    figures = measure(options.work, options.epochs, options.seeds, options.model)
    record.write(NETWORKS[options.model][1], figures)


def rows(figures: dict[str, Any], what: str) -> list[str]:
    """One row of a network and key: both accuracies and the cost, then what the verifier said of all seeds."""
    marked, match, clean, cleared = ([pair[place] for pair in figures["pairs"]] for place in range(1, 5))
    cost = figures["cost_points"]
    interval = " (95 % interval {:.2f} to {:.2f})".format(*cost["interval"]) if "interval" in cost else ""
    marks = [run["marks"][0] for run in marked]
    accuracies = (100 * np.mean([run["test_accuracy"] for run in runs]) for runs in (marked, clean))
    return [
        fragment.row(
            f"CIFAR-10, {what}, {figures['epochs']} epochs",
            "{:.2f} % marked, {:.2f} % clean; ".format(*accuracies)
            + f"a mark costs {cost['mean']:.2f} points{interval}",
            f"{_span(marks, 'learned')} learned, {_span(marks, 'evidence_bits')} bits; {_verdicts(match)}; "
            f"clean models: {_verdicts(cleared)}",
            f"{figures['n']} seed{'s' if figures['n'] > 1 else ''}; {fragment.source(figures, __file__)}",
        )
    ]


def _span(runs: list[dict[str, Any]], what: str) -> str:
    low, high = (f"{bound(run[what] for run in runs):.0f}" for bound in (min, max))
    return low if low == high else f"{low} to {high}"


def _verdicts(runs: list[dict[str, Any]]) -> str:
    """How many had each verdict, and after how many questions."""
    verdicts = sorted({run["verdict"] for run in runs})
    told = " and ".join(f"{sum(run['verdict'] == verdict for run in runs)} {verdict}" for verdict in verdicts)
    return f"{told} after {_span(runs, 'queries')}"


if __name__ == "__main__":
    main()
