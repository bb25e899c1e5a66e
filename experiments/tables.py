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


def network(case: dict[str, Any]) -> str:
    return f"{case['model']} {'x'.join(map(str, case['image']))}"


def ratio_row(what: str, case: dict[str, Any], speed: str, script: str) -> str:
    low, high = case["ratio_quartiles"]
    cost = f"{case['ratio_median']:.3f} (quartiles {low:.3f} to {high:.3f})"
    return row(what, cost, speed, f"{case['pairs']} pairs; {source(script)}")


def speed_rows() -> list[str]:
    rows = []
    for case in result("step_ratio")["cases"]:
        step = case["ms_median"]["marked"] / case["steps"]
        rows.append(
            ratio_row(
                f"a step with the key / without, {network(case)}",
                case,
                f"{step:.0f} ms a step of {case['batch']}",
                "step_ratio",
            )
        )
    for case in result("scan_ratio")["cases"]:
        what = f"{case['steps']} steps in one program / in {case['steps']}, {network(case)}"
        step = case["ms_median"]["scan"] / case["steps"]
        rows.append(ratio_row(what, case, f"{step:.1f} ms a step of {case['batch']}", "scan_ratio"))
    for case in result("torch_ratio")["cases"]:
        ours, theirs = case["step_ms_median"]["wmjax"], case["step_ms_median"]["torch"]
        speed = f"{ours:.0f} and {theirs:.0f} ms a step of {case['batch']}"
        rows.append(ratio_row(f"a step / PyTorch's, channels last, {network(case)}", case, speed, "torch_ratio"))
    return rows


def device_rows() -> list[str]:
    streamed, spread = result("stream_ratio"), result("mapping_overhead")
    rows, rates = [], streamed["images_per_second"]
    for kind, words in (("kept", "streamed, kept by the host"), ("decoded", "streamed, decoded each time")):
        low, high = streamed[kind]["ratio_range"]
        rows.append(
            row(
                f"images per second, {words} / resident, vgg 32x32x3",
                f"{streamed[kind]['ratio_median']:.3f} ({low:.3f} to {high:.3f})",
                f"{rates[kind]:.0f} and {rates['resident']:.0f} a second",
                f"{streamed['pairs']} pairs; {source('stream_ratio')}",
            )
        )
    for way, ratio in spread["ratio_median"].items():
        if way != "1 device":
            low, high = spread["ratio_range"][way]
            rows.append(
                row(
                    f"a step on {way} / 1 device, the same cores, vgg 32x32x3",
                    f"{ratio:.2f} ({low:.2f} to {high:.2f})",
                    f"{spread['ms_median'][way]:.0f} ms a step of {spread['batch']}",
                    f"{spread['repeats']} repeats; {source('mapping_overhead')}",
                )
            )
    return rows


def table() -> str:
    """The whole table, as Markdown."""
    head = ["| what | cost | strength | n, script, machine, commit |", "|---|---|---|---|"]
    return "\n".join([*head, *digits_rows(), *cifar10_rows(), *speed_rows(), *device_rows()]) + "\n"


if __name__ == "__main__":
    README.write_text(MARKERS.sub(lambda match: match[1] + table() + match[2], README.read_text()))
