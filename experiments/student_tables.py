"""Rows of README's table about students of a marked network."""

from typing import Any

import numpy as np
from figures import result, row, there

_LEFT_OUT = ("control: trained on as long, unmarked", "unmarked base")


def _mean(rows: list[dict[str, Any]], form: str, probes: str) -> float:
    return float(np.mean([one[form]["bits"][probes] for one in rows]))


def student_rows() -> list[str]:
    """What a `spread` key says of each network, means over seeds."""
    if not there("students"):
        return []
    figures = result("students")
    environment, seeds = figures["environment"], figures["seeds"]
    made_by = f"{len(seeds)} seeds; `experiments/students.py`, {environment['devices'][0]}, {environment['commit'][:8]}"
    named = {one["name"]: [_named(seed["rows"], one["name"]) for seed in seeds] for one in seeds[0]["rows"]}
    probes = list(seeds[0]["rows"][0]["labels"]["bits"])[-1]
    control = np.mean([one["accuracy"] for one in named[_LEFT_OUT[0]]])
    rows = []
    for name, found in named.items():
        if name in _LEFT_OUT:
            continue
        accuracy, verdicts = np.mean([one["accuracy"] for one in found]), [one["probabilities"] for one in found]
        cost = f"{accuracy:.2f} %" + (f"; {control:.2f} % trained as long, unmarked" if name == "marked" else "")
        matches = sum(one["verdict"] == "match" for one in verdicts)
        bits = f"{_mean(found, 'probabilities', probes):.0f} bits, {_mean(found, 'labels', probes):.0f} from labels"
        early = f"{_mean(found, 'probabilities', '1000'):.0f} from 1,000 images"
        rows.append(row(f"CIFAR-10, spread key, vgg: {name}", cost, f"{bits}; {early}; {matches} matches", made_by))
    for sigma in seeds[0]["frontier"]:
        nets = {net: [seed["frontier"][sigma][net] for seed in seeds] for net in ("marked", "soft", "hard")}
        told = ", ".join(
            f"{net} {_mean(own, 'probabilities', probes):.0f} / {_mean(own, 'labels', probes):.0f}"
            for net, own in nets.items()
        )
        accuracy = np.mean([one["accuracy"] for one in nets["marked"]])
        cost = f"{accuracy:.2f} % marked, without triggers"
        rows.append(row(f"the same, `--sigma {sigma}`", cost, f"bits, probabilities / labels: {told} student", made_by))
    return rows


def _named(rows: list[dict[str, Any]], name: str) -> dict[str, Any]:
    return next(one for one in rows if one["name"] == name)
