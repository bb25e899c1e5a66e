"""The demo's findings as one self-contained HTML page."""

import dataclasses
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from wmjax.files import write_bytes
from wmjax.keys import Key
from wmjax.report.curves import Evidence, curves
from wmjax.report.html import page
from wmjax.report.plot import Plot
from wmjax.report.thumbnail import thumbnail
from wmjax.stats.several import multiplied
from wmjax.verification import Combined
from wmjax.verification.wording import told


@dataclasses.dataclass(frozen=True)
class Finding:
    """What verification said of one suspect of known origin.

    Attributes:
      name: the suspect's.
      truth: `stolen` or `independent`.
      accuracy: on the test split.
      combined: what both keys say, the one of triggers first, each asked whole.
    """

    name: str
    truth: str
    accuracy: float
    combined: Combined

    @property
    def path(self) -> np.ndarray:
        """Evidence of both keys after each answer."""
        return multiplied([verdict.path for verdict in self.combined.verdicts])

    @property
    def queries(self) -> int:
        """Answers after which the evidence decided, or all of them."""
        enough = np.flatnonzero(self.path >= self.combined.needed_bits)
        return int(enough[0]) + 1 if len(enough) else len(self.path)


def write_demo_report(out: Path, keys: Sequence[Key], findings: Sequence[Finding]) -> Path:
    """Writes OUT/report.html: trigger gallery, evidence against queries for each suspect, and the table."""
    triggers, spread = keys
    scale = max(1, 48 // triggers.spec.image[0])
    grounds = {told(ground): None for verdict in findings[0].combined.verdicts for ground in verdict.grounds}
    report = page(
        "demo.html",
        title="wmjax: whose model is this?",
        sheets=("plot.css", "demo.css"),
        summary=[f"Whose model is this? {len(findings)} models, asked about {len(keys)} keys:", *map(_line, findings)],
        keys=[key.commitment for key in keys],
        needed=findings[0].combined.needed_bits,
        findings=findings,
        assumptions=[*grounds, *map(told, findings[0].combined.grounds)],
        gallery=[
            (thumbnail(image, scale), int(label))
            for image, label in zip(triggers.images[:24], triggers.labels[:24], strict=True)
        ],
        probes=[thumbnail(image, scale) for image in spread.images[:24]],
        plot=demo_plot(findings),
    )
    path = out / "report.html"
    write_bytes(path, report)
    return path


def demo_plot(findings: Sequence[Finding]) -> Plot:
    """The evidence against questions."""
    told = [Evidence(f"{one.name} ({one.truth})", one.combined.verdict, one.path) for one in findings]
    return curves(told, findings[0].combined.needed_bits)


def _line(finding: Finding) -> str:
    bits = f"{finding.combined.evidence_bits:.1f} bits, {finding.combined.needed_bits:.0f} make a match"
    return f"{finding.combined.verdict}: {finding.name} (in truth {finding.truth}), {bits}"
