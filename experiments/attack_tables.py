"""The rows about attacks; `tables.py` puts them into the documentation."""

from typing import Any

from figures import result, row, source, there

SIZES = ("digits", "cifar10_small", "cifar10")
IBM = ("ibm_small", "ibm", "ibm_mnist")
KINDS = {"clean": "no mark", "content-paper": "content", "unrelated-paper": "unrelated", "noise-paper": "noise"}


def robustness_rows() -> list[str]:
    """For each scheme which attacks removed it, and what innocents reached."""
    rows = []
    for size in SIZES:
        name = f"robustness_{size}"
        if not there(name):
            continue
        figures = result(name)
        script = f"{figures['seeds']} seeds; {source(name, 'robustness')}"
        for kind in dict.fromkeys(cell["scheme"] for cell in figures["worst"]):
            cells = [c for c in figures["worst"] if c["scheme"] == kind and c["attack"] != "none"]
            gone = {c["attack"]: c for c in cells if c.get("removed_by_ours")}
            sok = sum(bool(c.get("removed_by_sok")) for c in cells)
            told = ", ".join(f"{name} ({c['removed_by_ours']} of {c['networks']})" for name, c in gone.items())
            rows.append(
                row(
                    f"{figures['data']}, {kind} key of {figures['triggers'][kind]}, {len(cells)} attacks",
                    f"removed by {len(gone)} at under 5 points (by the rule of Lukas et al.: {sok}): {told}",
                    _least([c for c in cells if "bits" in c and c["attack"] not in gone]),
                    script,
                )
            )
        innocent = figures["innocent"]
        shares = ", ".join(f"alpha {alpha}: {share:.2%}" for alpha, share in innocent["shares"].items())
        rows.append(
            row(
                f"{figures['data']}, the same attacks on clean networks",
                f"{innocent['matches']} matches in {innocent['cases']:,} cases",
                f"most {innocent['most_bits']:.1f} bits; {shares}",
                script,
            )
        )
    return rows


def _least(held: list[dict[str, Any]]) -> str:
    """The attack that came nearest of those that failed."""
    if not held:
        return "all attacks removed it"
    least = min(held, key=lambda cell: cell["bits"]["mean"])
    bits, alone = f"{least['bits']['mean']:.0f} bits", f"{least['label_bits']['mean']:.0f} from labels"
    return f"of the others {least['attack']} leaves fewest: {bits} ({alone})"


def ibm_table() -> str:
    """Tables 1 to 5 of Zhang et al. 2018 beside ours: percent, theirs in brackets; two tables a network."""
    return "\n".join(_ibm_tables(name) for name in IBM if there(name))


def _ibm_tables(name: str) -> str:
    figures = result(name)
    model, recipe = figures["model"], figures["recipe"]
    widths = ", ".join(map(str, [*model["widths"], *model["dense"]]))
    data = "MNIST" if "mnist" in name else "CIFAR-10"
    what = f"{data}, cnn {widths}, {recipe['epochs']} epochs, n = {figures['seeds']}; {source(name, 'ibm_tables')}."
    learned = ["| mark | test | trained triggers | new images |", "|---|---|---|---|"]
    attacked = ["| mark | pruned 70 % | 80 % | 90 % | fine-tuned | bits |", "|---|---|---|---|---|---|"]
    for found in figures["rows"]:
        one, other = _ibm_cells(found)
        learned.append(f"| {' | '.join(one)} |")
        attacked.append(f"| {' | '.join(other)} |")
    told = "Test accuracy and that on the triggers; bits as trained, pruned by 90 %, fine-tuned:"
    return "\n".join([what, "", *learned, "", told, "", *attacked]) + "\n"


def _ibm_cells(found: dict[str, Any]) -> tuple[list[str], list[str]]:
    """A mark's row in each of the two tables."""
    theirs, marked = found["published"] or {}, "trained" in found
    worst = min(found["tuned"].values(), key=lambda r: r["trained"]["mean"]) if marked else None
    kind = KINDS.get(found["kind"], f"{found['kind']}, random labels")
    learned = [
        kind,
        _beside(found["accuracy"], theirs.get("accuracy")),
        _beside(found["trained"], theirs.get("trained")) if marked else "",
        _beside(found["new"], theirs.get("new")) if "new" in found else "",
    ]
    bits = [found["bits"], found["pruned"]["0.9"]["bits"], (worst or found)["bits"]] if "bits" in found else []
    attacked = [
        kind,
        *(_pair(found["pruned"][share], theirs.get("pruned", {}).get(share)) for share in SHARES),
        _pair(worst, theirs.get("tuned")) if worst else "",
        ", ".join(f"{one['mean']:.0f}" for one in bits),
    ]
    return learned, attacked


SHARES = ("0.7", "0.8", "0.9")


def _beside(ours: dict[str, float], theirs: float | None) -> str:
    text = f"{ours['mean']:.1f}"
    if ours["max"] - ours["min"] >= 0.05:
        text += f" ({ours['min']:.1f} to {ours['max']:.1f})"
    return text if theirs is None else f"{text} [{theirs}]"


def _pair(ours: dict[str, Any], theirs: list[float] | None) -> str:
    text = f"{ours['accuracy']['mean']:.1f}"
    if "trained" in ours:
        text += f", {ours['trained']['mean']:.1f}"
    return text if theirs is None else f"{text} [{theirs[0]}, {theirs[1]}]"
