"""Filling the HTML templates."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from jinja2 import Environment, PackageLoader, StrictUndefined

from wmjax.files import write_bytes
from wmjax.keys import Key
from wmjax.report.svg import Curve, layout, png

if TYPE_CHECKING:
    from wmjax.demo import Finding


def render(template: str, **values: Any) -> bytes:
    """A page from a template of this package; every value is escaped."""
    environment = Environment(loader=PackageLoader("wmjax.report"), autoescape=True, undefined=StrictUndefined)
    return environment.get_template(template).render(**values).encode()


def write_demo_report(out: Path, key: Key, findings: "Sequence[Finding]") -> Path:
    """Writes OUT/report.html: trigger gallery, evidence against queries for each suspect, and the table."""
    curves = [Curve(f.exhibit.name, f.whole.path, f.exhibit.truth == "stolen") for f in findings]
    scale = max(1, 48 // key.spec.image[0])
    page = render(
        "demo.html",
        key=key.commitment,
        key_id=key.commitment.id,
        findings=findings,
        gallery=[
            (png(image, scale), int(label)) for image, label in zip(key.images[:24], key.labels[:24], strict=True)
        ],
        plot=layout(curves, key.commitment.rule.match_bits),
    )
    path = out / "report.html"
    write_bytes(path, page)
    return path
