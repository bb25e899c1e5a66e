"""Rows of the table about students of a marked network, and other thieves who learn from its answers."""

from typing import Any

import numpy as np
from figures import result, row, source, there

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


def digits_student_rows() -> list[str]:
    """What the documented commands say of a soft student on digits, means over seeds; the former default beside."""
    if not there("digits_students"):
        return []
    seeds = result("digits_students")["seeds"]
    rows = []
    for base, words in (("smoothed", "base trained with `--label-smoothing 0.2`"), ("sure", "base trained without")):
        own = {name: [seed[base][name] for seed in seeds] for name in seeds[0][base]}
        accuracy = {name: f"{np.mean([one['accuracy'] for one in found]):.2f} %" for name, found in own.items()}
        told = {}
        for name in ("marked", "former"):
            bits = [one["bits"] for one in own[f"student of {name}"]]
            matches = sum(one["match"] for one in own[f"student of {name}"])
            told[name] = f"{np.mean(bits):.0f} bits ({min(bits):.0f} to {max(bits):.0f}), {matches} matches"
        cost = f"{accuracy['marked']} marked; {accuracy['control']} trained as long, unmarked; {accuracy['base']} base"
        former = f"`--sigma 1 --epochs 12`: {told['former']}, {accuracy['former']} marked"
        made_by = f"{len(seeds)} seeds; {source('digits_students')}"
        rows.append(
            row(f"digits, spread key, cnn: student, soft; {words}", cost, f"{told['marked']}; {former}", made_by)
        )
    return rows


def tie_rows() -> list[str]:
    """What a `tie` key says of thieves who train on a marked network's answers about its public set."""
    if not there("ties"):
        return []
    figures = result("ties")
    seeds, images = figures["seeds"], figures["images"]
    control = np.array([seed["control"]["accuracy"] for seed in seeds])
    rows = []
    for count in figures["rows"]:
        own = [seed[f"{count} rows"] for seed in seeds]
        marked = np.array([one["accuracy"] for one in own])
        cost = f"{marked.mean():.2f} %; {control.mean():.2f} % unmarked; less by {_spread(control - marked)}"
        reached = [one["thief"]["at fit"] for one in own if one["thief"]["at fit"]]
        ends = [one["thief"]["curve"][-1] for one in own]
        fit = f"{np.mean([one['fit'] for one in ends]):.0f} %"
        told = f"marked {_both(own)}; thief {_both(ends)} where he ends and fits {fit}"
        if len(reached) == len(own):
            told += f", {_both(reached)} where he fits {100 * figures['fitted']:.0f} %"
        told += f"; unmarked {_both([seed['control'] for seed in seeds])}"
        triggers = round(figures["share"] * images)
        what = f"CIFAR-10, {images:,} images, tie key of {triggers}, vgg: `--key-per-batch {count}`"
        rows.append(
            row(what, cost, f"bits per 1,000 images of the key, probabilities / labels: {told}", _made(figures))
        )
    return rows


def _both(told: list[dict[str, Any]]) -> str:
    return " / ".join(f"{np.mean([one[form] for one in told]):.0f}" for form in ("probabilities", "labels"))


def _spread(values: np.ndarray) -> str:
    low, high = values.min(), values.max()
    return f"{values.mean():.2f} ({low:.2f} to {high:.2f})"


def _made(figures: dict[str, Any]) -> str:
    epochs = f"{figures['epochs']} epochs, thief {figures['thief_epochs']}"
    return f"{len(figures['seeds'])} seeds, {epochs}; {source('ties')}"


def null_coin_rows() -> list[str]:
    """False alarms of `spread` keys."""
    if not there("null_coins"):
        return []
    figures = result("null_coins")
    everything = figures["pairs"]["all"]
    told = ", ".join(
        f"alpha {alpha}: {reached / everything['pairs']:.1e}" for alpha, reached in everything["reached"].items()
    )
    what = (
        f"spread key, {figures['coins']} coins, {figures['probes']} images: {everything['pairs']:,} pairs of the null"
    )
    return [row(what, told, f"most {everything['most_bits']} bits", source("null_coins"))]


def _named(rows: list[dict[str, Any]], name: str) -> dict[str, Any]:
    return next(one for one in rows if one["name"] == name)
