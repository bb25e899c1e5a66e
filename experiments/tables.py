"""Puts the measured figures into the README and the documentation, between their result markers.

Command   python experiments/tables.py      (after `pip install '.[test]'`: the rows are made by the scripts)
"""

import re
import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

sys.path.insert(0, str(Path(__file__).parents[1]))  # the checkout

from experiments import headline, record
from experiments.attacks import averages, ibm_tables, quick_suite, robustness, standard
from experiments.audits import (
    audit_growth,
    audit_speed,
    audit_truth,
    batched_scoring,
    bucket_audit,
    lenet_ratio,
    mixed_zoo,
    ray_audit,
    read_share,
)
from experiments.claims import claims_a_key, dispute, judge_coins, judge_cost, kill_loops
from experiments.evidence import acquittals, answer_forms, false_alarms, null_coins, null_models, null_pairs, resized
from experiments.gpu import on_gpu
from experiments.services import service_pairs, services
from experiments.students import digits_students, students, ties
from experiments.suspects import converted, hostile_zoo, hub_cache, onnx_exports, real_files, real_zoo, torch_families
from experiments.training import (
    cifar10,
    digits,
    mapping_overhead,
    scan_ratio,
    step_ratio,
    stream_ratio,
    torch_ratio,
    vit,
)

CHECKOUT = Path(__file__).parents[1]
PAGES = [
    CHECKOUT / "README.md",
    *(CHECKOUT / "docs" / f"{name}.md" for name in ("results", "survival", "dispute", "million", "guides/mark")),
]
MARKERS = re.compile(r"(<!-- ([a-z]+) -->\n).*?(<!-- /\2 -->)", re.DOTALL)
GRIDS = ("robustness_digits", "robustness_cifar10_small", "robustness_cifar10")


class Table(NamedTuple):
    """What its columns are called, and who makes rows of which result."""

    columns: tuple[str, str, str]
    rows: dict[str, Callable[[dict[str, Any]], list[str]]]


TABLES = {
    "marks": Table(
        ("network and key", "test accuracy", "evidence"),
        {"digits": digits.rows, "cifar10": partial(cifar10.rows, what="abstract key of 100, vgg"), "vit": vit.rows},
    ),
    "students": Table(
        ("network and key", "test accuracy", "evidence"),
        {
            "digits_students": digits_students.rows,
            "students": students.rows,
            "ties": ties.rows,
            "null_coins": null_coins.rows,
        },
    ),
    "truth": Table(
        ("what", "found", "of"),
        {
            "false_alarms": false_alarms.rows,
            "null_pairs": null_pairs.rows,
            "acquittals": partial(acquittals.rows, data="digits"),
            "acquittals_cifar10": partial(acquittals.rows, data="CIFAR-10, vgg"),
            "answer_forms": answer_forms.rows,
            "audit_truth": audit_truth.rows,
            "null_models": null_models.rows,
        },
    ),
    "steps": Table(
        ("what", "times as long", "time"),
        {"step_ratio": step_ratio.rows, "scan_ratio": scan_ratio.rows, "torch_ratio": torch_ratio.rows},
    ),
    "devices": Table(
        ("what", "found", "rate"), {"stream_ratio": stream_ratio.rows, "mapping_overhead": mapping_overhead.rows}
    ),
    "scale": Table(
        ("what", "figure", "more"),
        {
            "audit_speed": audit_speed.rows,
            "read_share": read_share.rows,
            "batched_scoring": batched_scoring.rows,
            "lenet_ratio": lenet_ratio.rows,
            "mixed_zoo": mixed_zoo.rows,
            "quick_suite": quick_suite.rows,
            "audit_growth": audit_growth.rows,
            "ray_audit": ray_audit.rows,
        },
    ),
    "suspects": Table(
        ("what", "figure", "more"),
        {
            "real_zoo": real_zoo.rows,
            "onnx_exports": onnx_exports.rows,
            "torch_families": torch_families.rows,
            "hub_cache": hub_cache.rows,
            "converted": converted.rows,
            "real_files": real_files.rows,
            "hostile_zoo": hostile_zoo.rows,
            "services": services.rows,
            "service_pairs": service_pairs.rows,
            "resized": resized.rows,
            "bucket_audit": bucket_audit.rows,
        },
    ),
    "gpu": Table(("what", "figure", "more"), {"on_gpu": on_gpu.rows, "on_gpu_h200": on_gpu.rows}),
    "judge": Table(
        ("what", "figure", "more"),
        {"judge_cost": judge_cost.rows, "judge_coins": judge_coins.rows, "kill_loops": kill_loops.rows},
    ),
    "robustness": Table(
        ("key and attacks", "removed by", "closest of the others"), dict.fromkeys(GRIDS, robustness.rows)
    ),
    "averages": Table(("average of", "evidence", "test accuracy"), {"averages": averages.rows}),
    "standard": Table(
        ("modification", "detector and decoder", "what it cost the thief"), dict.fromkeys(GRIDS, standard.rows)
    ),
}


def table(made: Table) -> str:
    """A table as Markdown, of the results that there are."""
    rows = [row for name, rows in made.rows.items() if record.there(name) for row in rows(record.read(name))]
    return "\n".join([f"| {' | '.join(made.columns)} |", f"|{'---|' * len(made.columns)}", *rows]) + "\n"


def made() -> dict[str, str]:
    """What stands between the markers of each name."""
    ibm = [ibm_tables.text(record.read(name)) for name in ("ibm_small", "ibm", "ibm_mnist") if record.there(name)]
    return {
        "headline": headline.five(),
        **{name: table(one) for name, one in TABLES.items()},
        "million": headline.million(),
        "ibm": "\n".join(ibm),
        "claims": claims_a_key.text(record.read("claims_a_key")),
        "dispute": dispute.text(record.read("dispute")),
    }


def filled(text: str) -> str:
    """A page with all its tables as the results say."""
    tables = made()
    return MARKERS.sub(lambda match: match[1] + tables[match[2]] + match[3], text)


if __name__ == "__main__":
    for page in PAGES:
        page.write_text(filled(page.read_text()))
