"""Puts the measured figures into the project's README, between its result markers.

Command   python experiments/tables.py
"""

import json
import re
from pathlib import Path
from typing import Any

HERE = Path(__file__).parent
README = HERE.parent / "README.md"
MARKERS = re.compile(r"(<!-- results -->\n).*?(<!-- /results -->)", re.DOTALL)


def result(name: str) -> dict[str, Any]:
    values: dict[str, Any] = json.loads((HERE / "results" / f"{name}.json").read_text())
    return values


def source(name: str) -> str:
    """Script, commit and machine behind a row."""
    environment = result(name)["environment"]
    return f"`experiments/{name}.py`, {environment['cores']} cores, {environment['commit'][:8]}"


def row(what: str, cost: str, strength: str, made_by: str) -> str:
    return f"| {what} | {cost} | {strength} | {made_by} |"


def digits_rows() -> list[str]:
    figures = result("digits")
    clean = figures["clean_accuracy"]
    rows = []
    for scheme in ("abstract", "blend"):
        own = figures[scheme]
        accuracy, learned, bits = own["accuracy"], own["learned_of_100"], own["evidence_bits_whole_key"]
        rows.append(
            row(
                f"digits, {scheme} key of 100, cnn",
                f"{accuracy['mean']:.2f} ± {accuracy['sd']:.2f} % marked, "
                f"{clean['mean']:.2f} ± {clean['sd']:.2f} % clean",
                f"{learned['mean']:.1f} learned, {bits['mean']:.0f} bits; match after "
                f"{own['queries_to_match']['median']:.0f} queries; clean models: "
                f"{own['verdicts_clean'].count('match')} matches",
                f"{clean['n']} seeds; {source('digits')}",
            )
        )
    return rows


def cifar10_rows() -> list[str]:
    _, marked, match, clean, cleared = result("cifar10")["commands"]
    return [
        row(
            "CIFAR-10, abstract key of 100, vgg, 7 epochs",
            f"{100 * marked['test_accuracy']:.2f} % marked, {100 * clean['test_accuracy']:.2f} % clean",
            f"{marked['learned']} learned, {marked['evidence_bits']:.0f} bits; {match['verdict']} after "
            f"{match['queries']} queries; clean model: {cleared['verdict']} after {cleared['queries']}",
            f"1 seed; {marked['wall_s'] / 60:.1f} and {clean['wall_s'] / 60:.1f} minutes; {source('cifar10')}",
        )
    ]


def step_rows() -> list[str]:
    rows = []
    for case in result("step_ratio")["cases"]:
        low, high = case["ratio_quartiles"]
        rows.append(
            row(
                f"a step with the key / without, {case['model']} {'x'.join(map(str, case['image']))}",
                f"{case['ratio_median']:.3f} (quartiles {low:.3f} to {high:.3f})",
                f"{case['step_ms_median']['marked']:.0f} ms a step of {case['batch']}",
                f"{case['pairs']} pairs; {source('step_ratio')}",
            )
        )
    return rows


def table() -> str:
    """The whole table, as Markdown."""
    head = ["| what | cost | strength | n, script, machine, commit |", "|---|---|---|---|"]
    return "\n".join([*head, *digits_rows(), *cifar10_rows(), *step_rows()]) + "\n"


if __name__ == "__main__":
    README.write_text(MARKERS.sub(lambda match: match[1] + table() + match[2], README.read_text()))
