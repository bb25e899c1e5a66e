"""CIFAR-10, the documented commands, as a user types them: keygen, embed, verify, and verify on a clean model.

Command   TFDS_DATA_DIR=... python experiments/training/cifar10.py [--epochs 7] [--seed 0]
Expected  at least 80 % test accuracy marked, within 1 point of clean, 98 of 100 triggers, match / no-match
Time      about 10 minutes a training on 2 CPU cores
"""

import argparse
import json
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[2]))  # the checkout

from experiments import fragment, record


def wmjax(*arguments: str, cwd: str) -> dict[str, Any]:
    """Runs one command line with --json; its document, exit code and seconds."""
    began = time.monotonic()
    done = subprocess.run(
        [sys.executable, "-m", "wmjax.cli", *arguments, "--json"], cwd=cwd, stdout=subprocess.PIPE, check=False
    )
    document: dict[str, Any] = json.loads(done.stdout)
    return {
        "command": "wmjax " + " ".join(arguments),
        "exit": done.returncode,
        "wall_s": round(time.monotonic() - began, 1),
        **document,
    }


def measure(epochs: str, seed: str, data: str = "cifar10", image: str = "32x32x3") -> dict[str, Any]:
    """What every command said, in a folder of its own."""
    train = ["embed", "--data", data, "--model", "vgg", "--epochs", epochs, "--seed", seed]
    key = ["--key", "my.age", "--identity", "my.identity"]
    with tempfile.TemporaryDirectory() as folder:
        commands = [
            [
                "keygen",
                "--scheme",
                "abstract",
                "--image",
                image,
                "--classes",
                "10",
                "--triggers",
                "100",
                "--out",
                "my",
            ],
            [*train, "--out", "marked", *key],
            ["verify", *key, "marked"],
            [*train, "--out", "clean"],
            ["verify", *key, "clean"],
        ]
        done = [wmjax(*command, cwd=folder) for command in commands]
    return {"seeds": [int(seed)], "n": 1, "commands": done}


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--epochs", default="7")
    parser.add_argument("--seed", default="0")
    options = parser.parse_args()
    record.write("cifar10", measure(options.epochs, options.seed))


def rows(figures: dict[str, Any]) -> list[str]:
    _, marked, match, clean, cleared = figures["commands"]
    return [
        fragment.row(
            "CIFAR-10, abstract key of 100, vgg, 7 epochs",
            f"{100 * marked['test_accuracy']:.2f} % marked, {100 * clean['test_accuracy']:.2f} % clean",
            f"{marked['learned']} learned, {marked['evidence_bits']:.0f} bits; {match['verdict']} after "
            f"{match['queries']} queries; clean model: {cleared['verdict']} after {cleared['queries']}",
            f"1 seed; {marked['wall_s'] / 60:.1f} and {clean['wall_s'] / 60:.1f} minutes; "
            f"{fragment.source(figures, __file__)}",
        )
    ]


if __name__ == "__main__":
    main()
