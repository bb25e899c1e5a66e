"""The demo's findings as one self-contained HTML page."""

import dataclasses
from collections.abc import Sequence
from pathlib import Path

from wmjax.files import write_bytes
from wmjax.keys import Key
from wmjax.report.html import render
from wmjax.report.svg import Curve, layout, png
from wmjax.verification import Verdict
from wmjax.verification.wording import told


@dataclasses.dataclass(frozen=True)
class Finding:
    """What verification said of one suspect of known origin.

    Attributes:
      name: the suspect's.
      truth: `stolen` or `independent`.
      accuracy: on the test split.
      verdict: reached sequentially.
      whole: reached on the whole key, for the curve.
    """

    name: str
    truth: str
    accuracy: float
    verdict: Verdict
    whole: Verdict


def write_demo_report(out: Path, key: Key, findings: Sequence[Finding]) -> Path:
    """Writes OUT/report.html: trigger gallery, evidence against queries for each suspect, and the table."""
    curves = [Curve(f.name, f.whole.path, f.truth == "stolen") for f in findings]
    scale = max(1, 48 // key.spec.image[0])
    page = render(
        "demo.html",
        key=key.commitment,
        key_id=key.commitment.id,
        findings=findings,
        assumptions=[told(ground) for ground in findings[0].verdict.grounds],
        gallery=[
            (png(image, scale), int(label)) for image, label in zip(key.images[:24], key.labels[:24], strict=True)
        ],
        plot=layout(curves, key.commitment.rule.match_bits),
    )
    path = out / "report.html"
    write_bytes(path, page)
    return path
