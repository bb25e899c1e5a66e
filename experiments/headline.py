"""The five figures of the README, and the arithmetic about a million checkpoints; `tables.py` uses both."""

import math
from typing import Any

from experiments import fragment, record
from wmjax.attacks.families import extract

MILLION, HOSTS, FDR = 1_000_000, 64, 0.01
_WORDS = {  # of attacks that the README names
    "ftal": "fine-tuning all layers at a high rate",
    "wrk-all": "moved class boundaries under a new last layer (WRK)",
}


def five() -> str:
    """Five figures that matter, each with what made it."""
    rows = [_cost(), _questions(), _alarms(), _speed(), _limits()]
    lines = [
        f"| {what} | {figure} | {', '.join(f'`experiments/{script}.py`' for script in made)} |"
        for what, figure, made in rows
    ]
    return "\n".join(["| question | measured | by |", "|---|---|---|", *lines]) + "\n"


Row = tuple[str, str, tuple[str, ...]]


def _cost() -> Row:
    figures = record.read("digits")
    marked, clean = figures["abstract"]["accuracy"], figures["clean_accuracy"]
    pairs = record.read("cifar10")
    low, high = pairs["cost_points"]["interval"]
    steps = {(case["model"], case["key"]): case["ratio_median"] for case in record.read("step_ratio")["cases"]}
    told = (
        f"{marked['mean']:.2f} ± {marked['sd']:.2f} % test accuracy marked, {clean['mean']:.2f} ± {clean['sd']:.2f} % "
        f"clean (digits, {clean['n']} seeds); {low:.2f} to {high:.2f} points (CIFAR-10, {pairs['n']} pairs, 95 % "
        f"interval); a training step takes {steps['vgg', 'triggers']:.2f} times as long"
    )
    return "What does a mark cost?", told, ("training/digits", "training/cifar10", "training/step_ratio")


def _questions() -> Row:
    match = record.read("digits")["abstract"]["queries_to_match"]["median"]
    innocent = record.read("acquittals")["innocent"]
    told = (
        f"{match:.0f} to convict an intact copy, {innocent['median_queries']:.0f} to clear an innocent model (medians, "
        f"ten classes); {innocent.get('match', 0)} of {innocent['verifications']:,} innocents a match"
    )
    return "How many questions does it take?", told, ("training/digits", "evidence/acquittals")


def _alarms() -> Row:
    digits, made_up = record.read("false_alarms")["digits"]["abstract"], record.read("null_pairs")
    found, pairs = digits["alarms"]["0.001"], digits["pairs"]
    above = len(made_up["alphas"]["0.001"]["designs_above"])
    told = (
        f"at a bound of 1 in 1,000, {found['false_alarms']} of {pairs:,} pairs of keys and innocent models (at most "
        f"{0.001 * pairs:.0f} expected; the usual bound is 1 in a million); of {made_up['designs']} kinds of suspects "
        f"made up to fool the test, {above} exceed the bound"
    )
    return "Are innocents accused?", told, ("evidence/false_alarms", "evidence/null_pairs")


def _speed() -> Row:
    own = record.read("audit_speed")["families"]["resnet18"]
    card = record.read("on_gpu")["parts"]["audit"]["figures"]
    rate, on_card = own["models_per_s"]["packed"]["median"], card["models_per_s"]["packed"]["median"]
    told = (
        f"{rate:.0f} models a second on two CPU cores, {own['ratio_to_loop']['packed']['median']:.0f} times a loop "
        f"that loads and asks one model after another ({own['parameters'] / 1e6:.1f} M weights, stacked in one file); "
        f"{on_card:.0f} a second on one H100, {card['ratio_to_loop']['median']:.0f} times "
        f"({card['zoo']['parameters'] / 1e6:.1f} M weights)"
    )
    return "How fast is an audit?", told, ("audits/audit_speed", "gpu/on_gpu")


def _limits() -> Row:
    worst = record.read("robustness_digits")["worst"]
    cells = [cell for cell in worst if cell["scheme"] == "abstract" and cell["attack"] != "none"]
    gone = [cell["attack"] for cell in cells if cell.get("removed_by_ours")]
    seeds = record.read("students")["seeds"]
    soft, hard = (_student(seeds, name) for name in ("student, soft", "student, hard labels"))
    copied = {attack.name for attack in extract.ATTACKS} & {*gone}
    told = (
        f"{len(gone)} of the {len(cells)} [attacks](docs/guides/attack.md#the-attacks) of the quick suite "
        "on an `abstract` key (digits): "
        f"{', '.join(_WORDS.get(name, name) for name in gone if name not in copied)}, and {len(copied)} that train a "
        "new network (a *student*) on its answers. A `spread` key leaves "
        f"{soft:.0f} bits in a student of probabilities and {hard:.0f} in one of labels alone, "
        f"where a match takes 20 (CIFAR-10, {fragment.seeds(len(seeds))})"
    )
    return "What removes a mark?", told, ("attacks/robustness", "students/students")


def _student(seeds: list[dict[str, Any]], name: str) -> float:
    """Mean bits of a kind of student, from all images."""
    found = [row["probabilities"]["bits"] for seed in seeds for row in seed["rows"] if row["name"] == name]
    return sum(list(bits.values())[-1] for bits in found) / len(found)


def million() -> str:
    """What an audit of a million checkpoints by one key would take, from the rates measured."""
    rows = [
        f"| models, form, machine | a second | one machine | {HOSTS} machines | each of them reads | read in all |",
        "|---|---|---|---|---|---|",
        *[_million_row(*one) for one in _rates()],
    ]
    walk = max(_walk(case) for case in record.read("audit_speed")["families"].values())
    bits = math.log2(MILLION / FDR)
    notes = [
        "",
        f"* Walking the zoo takes {1000 * walk:.1f} ms for each loose checkpoint: {walk * MILLION / 60:.0f} minutes, "
        "and every shard walks all of it.",
        f"* A single thief among a million innocents needs {bits:.0f} bits instead of 20 (e-BH at {FDR:g}): two or "
        "three answers more.",
        "",
        f"{_source('audits/audit_speed')}; {_source('gpu/on_gpu')}.",
    ]
    return "\n".join([*rows, *notes]) + "\n"


def _rates() -> list[tuple[str, float, int]]:
    """What was audited where, models a second, and bytes of a model."""
    rates = []
    for name, case in record.read("audit_speed")["families"].items():
        size = "x".join(map(str, case["config"]["image"]))
        for way in ("loose", "packed"):
            words = f"{name}, {case['parameters'] / 1e6:.1f} M weights, {size}, {way}; 2 cores"
            rates.append((words, case["models_per_s"][way]["median"], 4 * case["parameters"]))
    card = record.read("on_gpu")["parts"]["audit"]["figures"]
    weights = card["zoo"]["parameters"]
    words = f"cnn, {weights / 1e6:.1f} M weights, packed; one H100"
    return [*rates, (words, card["models_per_s"]["packed"]["median"], 4 * weights)]


def _million_row(words: str, rate: float, size: int) -> str:
    alone, many = MILLION / rate / 3600, MILLION / rate / 60 / HOSTS
    return (
        f"| {words} | {rate:.0f} | {alone:.1f} hours | {many:.1f} minutes | {rate * size / 1e6:.0f} MB/s | "
        f"{MILLION * size / 1e12:.1f} TB |"
    )


def _walk(case: dict[str, Any]) -> float:
    """Seconds to find one loose checkpoint."""
    return float(case["stages_s"]["loose"]["discover"]["median"] / case["models"])


def _source(script: str) -> str:
    path = record.HERE / f"{script}.py"
    return fragment.source(record.read(path.stem), str(path))
