"""The demo, whole, as the command runs it; and the report's escaping and layout."""

import json
import re

import numpy as np
import pytest
from pages import Page
from PIL import Image

from wmjax.report.curves import Evidence, curves
from wmjax.report.html import page as framed
from wmjax.report.plot import ticks
from wmjax.report.thumbnail import thumbnail


def test_demo(run, tmp_path):
    code, out, _ = run("demo", "--json", "--png", "demo.png")
    document = json.loads(out)
    assert code == 0
    assert document["version"] == 1
    assert set(document["accuracy"]) == {"clean", "marked"}
    assert min(document["accuracy"].values()) > 0.94
    suspects = {row["name"]: row for row in document["suspects"]}
    told = {"name", "truth", "verdict", "evidence_bits", "triggers_bits", "spread_bits", "queries"}
    assert all(set(row) == told for row in suspects.values())
    for row in suspects.values():
        if row["truth"] == "independent":
            assert row["verdict"] != "match"
        else:
            assert row["verdict"] == "match"
    assert suspects["stolen, distilled"]["triggers_bits"] < 20 <= suspects["stolen, distilled"]["spread_bits"]
    assert suspects["marked"]["queries"] <= 60  # smoothed labels make every answer less sure
    page = Page((tmp_path / document["report"]).read_text())
    tags = [tag for tag, _ in page.tags]
    assert "script" not in tags
    assert tags.count("polyline") == len(suspects)
    assert tags.count("img") == 48
    loaded = [value for _, attributes in page.tags for name, value in attributes.items() if name in ("src", "href")]
    assert all(source and source.startswith("data:") for source in loaded)
    with Image.open(tmp_path / "demo.png") as picture:
        assert picture.format == "PNG"


def test_hostile_names_are_escaped():
    page = framed("demo.html", **_values("<script>alert(1)</script>")).decode()
    assert "<script" not in page
    assert "&lt;script&gt;" in page
    assert re.search(r'Content-Security-Policy" content="default-src &#39;none&#39;|default-src \'none\'', page)


def _values(name: str) -> dict[str, object]:
    from types import SimpleNamespace as Space

    verdict = Space(evidence_bits=20.0)
    combined = Space(verdict="match", evidence_bits=20.0, alpha=1e-6, verdicts=[verdict, verdict])
    finding = Space(name=name, truth="stolen", accuracy=0.9, combined=combined, queries=7)
    spec = Space(scheme="abstract", triggers=3)
    key = Space(spec=spec, created="now", root="00", id="00")
    plot = curves([Evidence(name, "match", np.array([1.0, 2.0]))], 20.0)
    frame = {"title": name, "sheets": ["demo.css"], "summary": [name]}
    more = frame | {"assumptions": [name], "gallery": [], "probes": [], "needed": 20.0}
    return {"keys": [key, key], "findings": [finding], "plot": plot, **more}


@pytest.mark.parametrize(("low", "high"), [(0, 1), (-20, 330), (0, 200), (-3.5, 12)])
def test_ticks_are_few_and_round(low, high):
    marks = ticks(low, high)
    assert 2 <= len(marks) <= 8
    assert all(low - 1 <= mark <= high for mark in marks)


@pytest.mark.parametrize("ends", [[300.0] * 12, [0.0] * 12, [-50.0] * 7, [25.0, 24.0, 3.0]])
def test_names_beside_curves_do_not_cover_each_other_and_stay_on_the_picture(ends):
    plot = curves([Evidence(str(i), "match", np.array([0.0, end])) for i, end in enumerate(ends)], 20.0)
    heights = [y for x, y, *_ in plot.legend]
    assert all(x > plot.plane.right for x, *_ in plot.legend)
    assert 12 <= min(heights) <= max(heights) < plot.height
    assert min(np.diff(heights)) >= 12


def test_long_names_stand_below():
    plot = curves([Evidence("a/long/path/" * 5, "match", np.array([1.0])), Evidence("b", "match", np.zeros(0))], 20.0)
    assert all(plot.plane.bottom < y < plot.height for _, y, *_ in plot.legend)


def test_thumbnail_is_a_picture():
    assert thumbnail(np.zeros((4, 4, 1), np.uint8), 3).startswith("data:image/png;base64,iVBOR")
    assert thumbnail(np.zeros((4, 4, 3), np.uint8), 3).startswith("data:image/png;base64,iVBOR")
