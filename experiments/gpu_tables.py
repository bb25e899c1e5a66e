"""The rows of what was measured on GPUs by `on_gpu.py`."""

from typing import Any

from figures import result, row, there

RUNS = ("on_gpu", "on_gpu_h200")  # results of one run each, on one card


def gpu_rows() -> list[str]:
    """A row for each figure of each run that has it."""
    makers = {
        "step": step_rows,
        "throughput": throughput_rows,
        "speed": speed_rows,
        "library": library_rows,
        "audit": audit_rows,
        "scoring": scoring_rows,
        "attacks": attack_rows,
        "scan": scan_rows,
    }
    rows = []
    for run in filter(there, RUNS):
        parts = result(run)["parts"]
        for name, rows_of in makers.items():
            if figures := parts.get(name, {}).get("figures"):
                about = parts[name]["about"]
                made_by = f"`experiments/on_gpu.py`, {about['devices'][0]}, {about['commit'][:8]}"
                rows += rows_of(figures, parts["rates"]["figures"], made_by)
    return rows


def spread(figures: dict[str, Any], digits: int = 2) -> str:
    """A median and its quartiles."""
    low, high = figures["quartiles"]
    return f"{figures['median']:,.{digits}f} ({low:,.{digits}f} to {high:,.{digits}f})"


def step_rows(figures: dict[str, Any], rates: dict[str, Any], made_by: str) -> list[str]:
    rows = []
    for name, case in figures.items():
        low, high = case["ratio_quartiles"]
        ratio = f"{case['ratio_median']:.3f} (quartiles {low:.3f} to {high:.3f})"
        step = f"{case['ms_median']['marked'] / case['steps']:.2f} ms a step of {case['batch']}"
        if "tflop_per_s" in case:
            share = case["tflop_per_s"] / rates["matmul_tflop_per_s"]["bfloat16"]
            step += f"; {case['tflop_per_s']:.0f} TFLOP a second, {100 * share:.0f} % of a matrix product's"
        what = f"a step with the key / without, {name}, CIFAR-10's size"
        rows.append(row(what, ratio, step, f"{case['pairs']} pairs; {made_by}"))
    return rows


def throughput_rows(figures: dict[str, Any], rates: dict[str, Any], made_by: str) -> list[str]:
    rate, ratio = figures["images_per_s"], figures["ratio_to_wmjax_unmarked"]
    theirs = f"PyTorch {figures['pytorch']['torch']}"
    return [
        row(
            f"images trained a second, {name.replace('torch', theirs)} / wmjax unmarked, resnet18 bfloat16",
            spread(ratio[name], 3),
            f"{rate[name]['median']:,.0f} and {rate['wmjax unmarked']['median']:,.0f} a second, batch "
            f"{figures['settings']['batch']}",
            f"{figures['repeats']} repeats; {made_by}",
        )
        for name in rate
        if name != "wmjax unmarked"
    ]


def speed_rows(figures: dict[str, Any], rates: dict[str, Any], made_by: str) -> list[str]:
    rows = []
    for epochs, found in figures.items():
        marked, clean = found["summary"]["marked"], found["summary"]["unmarked"]
        accuracy = [f"{kind['accuracy']['mean']:.2f}" for kind in (marked, clean)]
        first = [f"{kind['seconds_to']['78.6']['mean']:.2f}" for kind in (marked, clean)]
        reached = sum(
            kind["seconds_to"]["94.0"]["n"] - kind["seconds_to"]["94.0"]["missing"] for kind in (marked, clean)
        )
        verdicts = marked["one_view"]["verdicts"] + clean["one_view"]["verdicts"]
        rows.append(
            row(
                f"CIFAR-10 in {epochs} of the speed recipe, abstract key of 100",
                f"{accuracy[0]} % marked, {accuracy[1]} % clean; 94 % reached by {reached} of {len(verdicts)}",
                f"{marked['train_s']['mean']:.2f} s of training, {first[0]} and {first[1]} s to 78.6 %; "
                f"{marked['one_view']['learned']['mean']:.0f} learned; {', '.join(verdicts)}",
                f"{marked['accuracy']['n']} seeds; {made_by}",
            )
        )
    return rows


def library_rows(figures: dict[str, Any], rates: dict[str, Any], made_by: str) -> list[str]:
    _, marked, match, clean, cleared = figures["commands"]["commands"]
    return [
        row(
            f"CIFAR-10, the commands as typed, vgg, {marked['steps']:,} steps",
            f"{100 * marked['test_accuracy']:.2f} % marked, {100 * clean['test_accuracy']:.2f} % clean",
            f"{marked['wall_s']:.0f} and {clean['wall_s']:.0f} s; {match['verdict']} after {match['queries']} queries; "
            f"clean model: {cleared['verdict']} after {cleared['queries']}",
            f"1 seed; {made_by}",
        )
    ]


def audit_rows(figures: dict[str, Any], rates: dict[str, Any], made_by: str) -> list[str]:
    rate, zoo = figures["models_per_s"], figures["zoo"]
    return [
        row(
            f"models audited a second / stock loop, packed, {zoo['parameters'] / 1e6:.2f} M weights",
            spread(figures["ratio_to_loop"]),
            f"{rate['packed']['median']:.0f} and {rate['loop']['median']:.0f} a second; "
            f"{figures['found']['packed']} of {zoo['thieves']} thieves found; "
            f"reading alone {rate['reading packed']['median']:,.0f} a second",
            f"{zoo['models']:,} models, {zoo['loose']} of them different, 3 pairs; {made_by}",
        )
    ]


def scoring_rows(figures: dict[str, Any], rates: dict[str, Any], made_by: str) -> list[str]:
    peak, rows = rates["matmul_tflop_per_s"]["bfloat16"], []
    for family, found in figures.items():
        ways = {name: way["tflop_per_s"] for name, way in found.items() if "," in name}
        best = max((name for name in ways if name.startswith("walk") and "float32" in name), key=ways.__getitem__)
        halves = [f"{rate:.0f} ({name})" for name, rate in ways.items() if name.endswith("bfloat16")]
        rows.append(
            row(
                f"scoring, share of a bfloat16 matrix product's rate, {family}, {best}",
                f"{100 * ways[best] / peak:.1f} %",
                f"{ways[best]:.0f} of {peak:.0f} TFLOP a second; in bfloat16 {', '.join(halves)}",
                f"{found['models']} models; {made_by}",
            )
        )
    return rows


def attack_rows(figures: dict[str, Any], rates: dict[str, Any], made_by: str) -> list[str]:
    tried = [part for name, part in figures.items() if name != "victims"]
    return [
        row(
            f"{len(tried)} attacks of the quick suite on {figures['victims']['networks']} digits networks",
            f"{sum(part['seconds'] for part in tried):.0f} s",
            f"{sum(part['tried'] for part in tried):,} judged; {figures['victims']['seconds']:.0f} s for the victims",
            made_by,
        )
    ]


def scan_rows(figures: dict[str, Any], rates: dict[str, Any], made_by: str) -> list[str]:
    rows = []
    for case in figures.values():
        low, high = case["ratio_quartiles"]
        what = f"{case['steps']} steps in one program / in {case['steps']}, {case['model']} "
        what += "x".join(map(str, case["image"]))
        ratio = f"{case['ratio_median']:.3f} (quartiles {low:.3f} to {high:.3f})"
        step = f"{case['ms_median']['scan'] / case['steps']:.2f} ms a step of {case['batch']}"
        rows.append(row(what, ratio, step, f"{case['pairs']} pairs; {made_by}"))
    return rows
