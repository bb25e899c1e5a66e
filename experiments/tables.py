"""Puts the measured figures into the README and the documentation, between their result markers.

Command   python experiments/tables.py
"""

import re
from functools import partial
from typing import Any

from attack_tables import ibm_table, robustness_rows
from figures import HERE, result, row, rows_of, source, there
from gpu_tables import gpu_rows
from headline_tables import headline_table, million_table
from standard_tables import standard_rows
from student_tables import digits_student_rows, null_coin_rows, student_rows, tie_rows
from suspect_tables import suspect_rows

PAGES = [
    HERE.parent / "README.md",
    *(HERE.parent / "docs" / f"{name}.md" for name in ("results", "survival", "dispute", "million")),
]
MARKERS = re.compile(r"(<!-- ([a-z]+) -->\n).*?(<!-- /\2 -->)", re.DOTALL)


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


def vit_rows() -> list[str]:
    figures = result("vit")
    marked, clean = figures["marked"], figures["clean"]
    return [
        row(
            f"CIFAR-10, abstract key of 100, vit, {figures['epochs']} epochs",
            f"{marked['accuracy']:.2f} % marked, {clean['accuracy']:.2f} % clean",
            f"{marked['learned_of_100']} learned, {marked['evidence_bits_whole_key']:.0f} bits; {marked['verdict']} "
            f"after {marked['queries']} queries; clean model: {clean['verdict']} after {clean['queries']}",
            f"1 seed; {figures['weights']:,} weights; {source('vit')}",
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
                f"a step with the key, against one without, {network(case)}",
                case,
                f"{step:.0f} ms a step of {case['batch']}",
                "step_ratio",
            )
        )
    for case in result("scan_ratio")["cases"]:
        what = f"{case['steps']} steps in one program, against {case['steps']} programs, {network(case)}"
        step = case["ms_median"]["scan"] / case["steps"]
        rows.append(ratio_row(what, case, f"{step:.1f} ms a step of {case['batch']}", "scan_ratio"))
    for case in result("torch_ratio")["cases"]:
        ours, theirs = case["step_ms_median"]["wmjax"], case["step_ms_median"]["torch"]
        speed = f"{ours:.0f} and {theirs:.0f} ms a step of {case['batch']}"
        rows.append(
            ratio_row(f"a step, against PyTorch's (channels last), {network(case)}", case, speed, "torch_ratio")
        )
    return rows


def device_rows() -> list[str]:
    streamed, spread = result("stream_ratio"), result("mapping_overhead")
    rows, rates = [], streamed["images_per_second"]
    for kind, words in (("kept", "streamed, kept by the host"), ("decoded", "streamed, decoded each time")):
        low, high = streamed[kind]["ratio_range"]
        rows.append(
            row(
                f"training on images {words}, against resident ones, vgg 32x32x3",
                f"{streamed[kind]['ratio_median']:.3f} ({low:.3f} to {high:.3f}) times as fast",
                f"{rates[kind]:.0f} and {rates['resident']:.0f} images a second",
                f"{streamed['pairs']} pairs; {source('stream_ratio')}",
            )
        )
    for way, ratio in spread["ratio_median"].items():
        if way != "1 device":
            low, high = spread["ratio_range"][way]
            rows.append(
                row(
                    f"a step on {way}, against 1 device on the same cores, vgg 32x32x3",
                    f"{ratio:.2f} ({low:.2f} to {high:.2f}) times as long",
                    f"{spread['ms_median'][way]:.0f} ms a step of {spread['batch']}",
                    f"{spread['repeats']} repeats; {source('mapping_overhead')}",
                )
            )
    return rows


def spread(figures: dict[str, Any], digits: int = 2) -> str:
    """A median and its quartiles."""
    low, high = figures["quartiles"]
    return f"{figures['median']:,.{digits}f} ({low:,.{digits}f} to {high:,.{digits}f})"


def audit_speed_rows() -> list[str]:
    rows = []
    for family, case in result("audit_speed")["families"].items():
        rate, size = case["models_per_s"], f"{case['parameters'] / 1e6:.2f} M weights"
        for way, words in (("packed", "a packed zoo"), ("loose", "loose checkpoints")):
            rows.append(
                row(
                    f"audit of {words} against a stock loop, {family}, {size}",
                    f"{spread(case['ratio_to_loop'][way])} times as fast",
                    f"{rate[way]['median']:.0f} and {rate['loop']['median']:.0f} models a second; "
                    f"{case['found'][way]} of {case['thieves']} thieves found; first call "
                    f"{case['first_call_s'][way]:.0f} s, whole command {case['command_s'][way][0]:.0f} s",
                    f"{case['models']} models, {case['repeats']} pairs; {source('audit_speed')}",
                )
            )
    return rows


def read_share_rows() -> list[str]:
    figures = result("read_share")
    return [
        row(
            f"packed audit against raw reading, from {words}, almost no arithmetic",
            f"{spread(figures[state]['share_of_raw']['audit'])} times as fast",
            f"{figures[state]['gb_per_s']['audit']['median']:.2f} and "
            f"{figures[state]['gb_per_s']['raw']['median']:.2f} GB a second",
            f"{figures['models']} models, {figures['repeats']} pairs; {source('read_share')}",
        )
        for state, words in (("warm", "the page cache"), ("cold", "the disk"))
    ]


def batched_scoring_rows() -> list[str]:
    rows = []
    for name, case in result("batched_scoring")["cases"].items():
        ratio = case["ratio_to_best_single"]
        size = "x".join(map(str, case["image"]))
        rows.append(
            row(
                f"scoring by the walk against the best single calls, {name} {size}",
                "times as fast: "
                + ", ".join(f"{spread(ratio[way])} in blocks of {way.split()[1]}" for way in case["width"]),
                f"{case['gflop_per_s']['walk 16']:.0f} GFLOP a second; best single calls "
                f"{case['gflop_per_s'][case['best_single']]:.0f}; naive `vmap` {case['gflop_per_s']['naive 16']:.0f}",
                f"{case['models']} models, {case['repeats']} pairs; {source('batched_scoring')}",
            )
        )
    return rows


def lenet_rows() -> list[str]:
    figures = result("lenet_ratio")
    return [
        row(
            f"full verdicts against PyTorch's eager loop, {case['models']} LeNets in memory, {kind}",
            f"{spread(case['times_faster'])} times as fast",
            f"{case['ms']['wmjax']['median']:.0f} and {case['ms']['torch']['median']:.0f} ms; "
            f"{case['matched']} matches, {case['thieves']} thieves",
            f"{case['repeats']} pairs; {source('lenet_ratio')}",
        )
        for kind, case in figures.items()
        if kind != "environment"
    ]


def audit_growth_rows() -> list[str]:
    figures = result("audit_growth")
    cells = {(cell["models"], cell["keys"]): cell for cell in figures["grid"]}
    (few, one), (many, _) = min(cells), max(cells)
    largest = max(cells, key=lambda cell: cell[0] * cell[1])
    rows = [
        row(
            f"audit of {models:,} models by {keys} {'key' if keys == 1 else 'keys'}",
            f"{cells[models, keys]['seconds']['median']:.2f} s",
            f"{cells[models, keys]['models_per_s']['median']:,.0f} models and "
            f"{cells[models, keys]['pairs_per_s']['median']:,.0f} pairs a second",
            f"{figures['repeats']} repeats; {source('audit_growth')}",
        )
        for models, keys in ((few, one), (many, one), largest)
    ]
    for cell in figures["large"]:
        rows.append(
            row(
                f"memory, auditing {cell['models']:,} models, {cell['bytes'] / 1e9:.1f} GB packed, `--memory 4GB`",
                f"{cell['peak_mib'] / 1024:.2f} GiB at most",
                f"{cell['models_per_s']['median']:.0f} models a second",
                f"{figures['repeats']} repeats; {source('audit_growth')}",
            )
        )
    return rows


def false_alarm_rows() -> list[str]:
    rows = []
    for zoo, figures in result("false_alarms").items():
        for scheme in ("abstract", "blend") if zoo != "environment" else ():
            told = [
                f"alpha {alpha}: {found['false_alarms']} (rate {found['rate']:.2g}, by keys "
                "{:.2g} to {:.2g})".format(*found["interval_by_key"])
                for alpha, found in figures[scheme]["alarms"].items()
            ]
            what = f"false alarms, {figures['models']} innocents on {zoo}, {figures['keys']} {scheme} keys"
            pairs = f"of {figures[scheme]['pairs']:,} pairs"
            rows.append(row(what, "; ".join(told), pairs, source("false_alarms")))
        for level, found in figures.get("e_bh", {}).items():
            if level == "0.01":
                what = f"e-BH at {level}, {found['thieves']} thieves among {figures['models']} innocents, 10 keys"
                false = f"{found['false_share_mean']:.2g} false among the matches in the mean"
                thieves = f"{found['thieves_found_mean']:.1f} thieves found"
                rows.append(row(what, false, thieves, f"{found['draws']} draws of keys; {source('false_alarms')}"))
    return rows


def null_pair_rows() -> list[str]:
    figures = result("null_pairs")
    rows = []
    for alpha, found in figures["alphas"].items():
        rates = "; ".join(
            "{}{:.2g} ({:.2g} to {:.2g})".format(what, one["rate"], *one["interval"])
            for what, one in (("", found["all"]), (f"worst, {found['worst']['design']}: ", found["worst"]))
        )
        what = f"false alarms of {figures['designs']} kinds of made-up innocents at alpha {alpha}"
        pairs = f"of {figures['pairs']:,} pairs; {len(found['designs_above'])} kinds above alpha"
        rows.append(row(what, rates, pairs, source("null_pairs")))
    return rows


def acquittal_rows(name: str) -> list[str]:
    figures = result(name)
    kinds = {kind: found for kind, found in figures.items() if isinstance(found, dict) and "verifications" in found}
    innocent, labels = kinds.pop("innocent"), kinds.pop("innocent_labels")
    thieves = [
        f"{kind.replace('_', ' ')} {found.get('no-match', 0)} ({found.get('match', 0)} convicted)"
        for kind, found in kinds.items()
    ]
    cleared = [
        f"{100 * found['cleared_within_60']:.0f} % cleared within 60 questions, half within {found['median_queries']:g}"
        for found in (innocent, labels)
    ]
    data = "CIFAR-10, vgg" if name == "acquittals_cifar10" else "digits"
    return [
        row(
            f"thieves acquitted, of {figures['honest']['verifications']:,} verifications of each kind, {data}",
            "; ".join(thieves),
            f"innocents: {cleared[0]}; by labels alone {cleared[1]}; {innocent.get('match', 0)} and "
            f"{labels.get('match', 0)} of {innocent['verifications']:,} a match",
            source(name, "acquittals"),
        )
    ]


def null_models_rows() -> list[str]:
    figures = result("null_models")
    means = [kind["accuracy"]["mean"] for kind in figures["kinds"].values()]
    ratios = ", ".join(f"{case['ratio_median']:.2f} ({kind})" for kind, case in figures["one_after_another"].items())
    return [
        row(
            f"{figures['models']:,} independent digits models trained many at once",
            f"{figures['minutes']['train_s']:.1f} minutes; one after another / at once {ratios}",
            f"mean accuracies of the {len(means)} recipes {min(means):.1f} to {max(means):.1f} %",
            source("null_models"),
        )
    ]


def zoo_rows() -> list[str]:
    figures = result("audit_truth")
    ways = [
        f"{how}: {', '.join(f'{count} {verdict}' for verdict, count in sorted(verdicts.items()))}"
        for how, verdicts in figures["verdicts"].items()
    ]
    listed = figures["hostile"] - len(figures["hostile_not_listed"])
    return [
        row(
            f"audit of the made zoo against the truth, {figures['models']} models, {figures['keys']} keys",
            f"{len(figures['false_matches'])} false matches; {'; '.join(ways)}",
            f"{listed} of {figures['hostile']} hostile entries listed; {figures['seconds']:.0f} s",
            source("audit_truth"),
        )
    ]


def scale_rows() -> list[str]:
    """How fast audits are, and how they grow."""
    made = {
        "audit_speed": audit_speed_rows,
        "read_share": read_share_rows,
        "batched_scoring": batched_scoring_rows,
        "lenet_ratio": lenet_rows,
        "audit_growth": audit_growth_rows,
    }
    return rows_of(made)


def truth_rows() -> list[str]:
    """How often verdicts are false."""
    made = {
        "false_alarms": false_alarm_rows,
        "null_pairs": null_pair_rows,
        "acquittals": partial(acquittal_rows, "acquittals"),
        "acquittals_cifar10": partial(acquittal_rows, "acquittals_cifar10"),
        "audit_truth": zoo_rows,
        "null_models": null_models_rows,
    }
    return rows_of(made)


def judge_rows() -> list[str]:
    if not there("judge_cost"):
        return []
    figures = result("judge_cost")
    hostile = figures["hostile"].values()
    worst = row(
        f"`wmjax judge`, {len(hostile)} hostile files below a mebibyte",
        f"at most {max(case['cpu_seconds'] for case in hostile):.1f} s of all cores together",
        f"at most {max(case['peak_mb'] for case in hostile):.0f} MB; no match among them",
        f"1 run each; {source('judge_cost')}",
    )
    honest = [
        row(
            f"`wmjax judge`, a claim of {figures['openings']} openings, {name}",
            f"{spread(case['seconds'])} s; {spread(case['cpu_seconds'])} s of all cores together",
            f"{spread(case['peak_mb'], 0)} MB; {', '.join(case['verdicts'])}; JAX was "
            f"{'imported' if case['jax_imported'] else 'never imported'}",
            f"{figures['repeats']} repeats; {source('judge_cost')}",
        )
        for name, case in figures["cases"].items()
    ]
    return [*honest, *_coins(), worst]


def _coins() -> list[str]:
    """Of judging a claim of coins that all answers tell."""
    if not there("judge_coins"):
        return []
    case = result("judge_coins")
    return [
        row(
            f"`wmjax judge`, a claim of {case['coins']} coins over {case['probes']:,} probes of 32x32x3",
            f"{spread(case['seconds'])} s; {spread(case['cpu_seconds'])} s of all cores together",
            f"{spread(case['peak_mb'], 0)} MB; {', '.join(case['verdicts'])}; JAX was "
            f"{'imported' if case['jax_imported'] else 'never imported'}",
            f"{case['repeats']} repeats; {source('judge_coins')}",
        )
    ]


def kill_rows() -> list[str]:
    """Of commands that are killed at random moments."""
    figures = result("kill_loops") if there("kill_loops") else {}
    rows = []
    if claim := figures.get("claim"):
        rows.append(
            row(
                f"`wmjax claim` killed {claim['kills']} times at random moments and resumed, {claim['claims']} claims",
                f"{claim['triggers_lost']} triggers lost, at most one a kill; {claim['answers_lost']} answers",
                f"{claim['asked_twice']} questions asked twice, {claim['other_verdicts']} other verdicts, "
                f"{claim['other_rows']} other rows, {claim['keys_that_do_not_open']} keys that do not open",
                f"{claim['kills']} kills; {source('kill_loops', commit=claim['commit'])}",
            )
        )
    if audit := figures.get("audit"):
        shared = f", {audit['note']}" if "note" in audit else ""
        rows.append(
            row(
                f"`wmjax audit` killed {audit['kills']} times at random moments and resumed, {audit['audits']} audits",
                f"{audit['lines_lost']} lines of journals lost",
                f"{audit['other_results']} other results, {audit['other_exit_codes']} other exit codes",
                f"{audit['kills']} kills{shared}; {source('kill_loops', commit=audit['commit'])}",
            )
        )
    return rows


def table(*columns: str, rows: list[str]) -> str:
    """A table as Markdown."""
    return "\n".join([f"| {' | '.join(columns)} |", f"|{'---|' * len(columns)}", *rows]) + "\n"


def made() -> dict[str, str]:
    """What stands between the markers of each name."""
    return {
        "headline": headline_table(),
        "marks": table(
            "network and key", "test accuracy", "evidence", rows=[*digits_rows(), *cifar10_rows(), *vit_rows()]
        ),
        "students": table(
            "network and key",
            "test accuracy",
            "evidence",
            rows=[*digits_student_rows(), *student_rows(), *tie_rows(), *null_coin_rows()],
        ),
        "truth": table("what", "found", "of", rows=truth_rows()),
        "steps": table("what", "times as long", "time", rows=speed_rows()),
        "devices": table("what", "found", "rate", rows=device_rows()),
        "scale": table("what", "figure", "more", rows=scale_rows()),
        "suspects": table("what", "figure", "more", rows=suspect_rows()),
        "gpu": table("what", "figure", "more", rows=gpu_rows()),
        "judge": table("what", "figure", "more", rows=[*judge_rows(), *kill_rows()]),
        "robustness": table("key and attacks", "removed by", "closest of the others", rows=robustness_rows()),
        "standard": table("modification", "detector and decoder", "what it cost the thief", rows=standard_rows()),
        "million": million_table(),
        "ibm": ibm_table(),
        "dispute": dispute_text(),
    }


def dispute_text() -> str:
    """What the parties of the played dispute typed and were told, as a Markdown block."""
    lines: list[str] = []
    for step in result("dispute")["steps"]:
        typed = re.sub(r"[0-9a-f]{64}", "NONCE", step.get("command", ""))
        lines.append(f"\n{step['who']}$ {typed}" if typed else f"\n{step['who']} {step['words']}")
        whole = False  # whether what follows is shown, down to the single sentences
        for line in step.get("told", ()):
            whole = whole or line.startswith(("  missing:", "2 claims:"))
            if whole or not line.startswith("  ") or "match; " in line:
                lines.append(line)
    return "\n".join(["```text", "\n".join(lines).lstrip(), "```", "", f"{source('dispute')}.", ""])


def filled(text: str) -> str:
    """A page with all its tables as the results say."""
    tables = made()
    return MARKERS.sub(lambda match: match[1] + tables[match[2]] + match[3], text)


if __name__ == "__main__":
    for page in PAGES:
        page.write_text(filled(page.read_text()))
