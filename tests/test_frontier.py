"""The plot of accuracy lost against bits left."""

import dataclasses
import itertools
import re
import xml.etree.ElementTree as ElementTree
from pathlib import Path

import numpy as np
import pytest
from attacked import NEEDED, diverged, fixed, found, leak, page, point, stolen

from wmjax.attacks.result import Point
from wmjax.report.attack import attack_table
from wmjax.report.frontier import ENTRIES, LOST, REST, distinguish, frontier, frontier_svg, gain
from wmjax.report.plot import Axis


@pytest.mark.parametrize(("low", "high", "bend"), [(-2.0, 50.0, 5.0), (-40.0, 330.0, 20.0), (0.0, 100.0, None)])
def test_axis(low: float, high: float, bend: float | None) -> None:
    axis = Axis(low, high, 100.0, 500.0, bend)
    assert (axis.at(low), axis.at(high), axis.at(low - 9), axis.at(high + 9)) == (100, 500, 100, 500)
    assert np.all(np.diff([axis.at(v) for v in np.linspace(low, high, 50)]) > 0)
    places = sorted(axis.ticks(24.0))
    assert len(places) >= 5
    assert np.min(np.diff([place for place, _ in places])) >= 24
    assert all(place == axis.at(value) for place, value in places)


def test_axis_is_even_about_zero_and_logarithmic_far_out() -> None:
    axis = Axis(-100.0, 10_000.0, 0.0, 1000.0, 20.0)
    near, far = (axis.at(v + 2) - axis.at(v) for v in (-3, 1)), (axis.at(10 * v) - axis.at(v) for v in (100, 1000))
    assert np.ptp(list(near)) < 0.4
    assert np.ptp(list(far)) < 2


def spots(points: list[Point]) -> dict[str, tuple[float, float]]:
    """Where the marks are, by their words' first part."""
    return {
        mark.words.partition(":")[0]: (mark.x, mark.y) for mark in frontier(points, NEEDED, distinguish(points)).marks
    }


def test_points_land_in_the_removed_quarter_when_removed() -> None:
    grid = itertools.product((-1.0, 4.5, 5.5, 30.0), (-30.0, 18.0, 22.0, 150.0))
    points = [point(f"a{i}", lost=lost, bits=bits) for i, (lost, bits) in enumerate(grid)]
    plot, where = frontier(points, NEEDED, distinguish(points)), spots(points)
    assert plot.quarter
    for p in points:
        x, y = where[f"{p.attack} 1"]
        inside = x < plot.quarter.x + plot.quarter.width and y > plot.quarter.y
        assert inside == p.removed, p


def test_no_mark_or_line_covers_a_label() -> None:
    rng = np.random.default_rng(0)
    points = [stolen()] + [
        point(f"a{i % 30}", i, lost=rng.uniform(-9, 60), bits=rng.uniform(-400, 400)) for i in range(300)
    ]
    looks = distinguish(points)
    for plot in (frontier(points, NEEDED, looks), gain(points, NEEDED, looks)):
        left, top, right, bottom = plot.plane
        assert plot.quarter
        label = (plot.quarter.baseline - 9, plot.quarter.baseline + 2)  # its letters' top and foot
        assert 8 + 7 * len(plot.quarter.label) < plot.quarter.width
        for mark in plot.marks:
            assert left + 6 <= mark.x <= right - 6
            assert top + 6 <= mark.y <= bottom - 6
            assert mark.y + 5 <= label[0] or mark.y - 5 >= label[1]
        for points_, _ in plot.lines:
            assert all(top < float(pair.split(",")[1]) < bottom - 20 for pair in points_.split())
        rows = sorted({y for _, y, *_ in plot.legend} | {y for y, _ in plot.remarks})
        assert not rows or rows[0] >= bottom + 34 + 12
        assert all(below - above >= 14 for above, below in itertools.pairwise(rows))
        assert not rows or rows[-1] <= plot.height - 4
        assert all(0 <= x <= plot.width - 20 for _, _, x, _, _ in plot.limits)


def test_lines_join_growing_strengths_of_one_attack_victim_and_key() -> None:
    points = [
        *(point("prune", s, lost=10 * s, bits=90 - 80 * s, victim=v) for v in "ab" for s in (0.9, 0.1, 0.5)),
        point("tune", lost=1.0),
        diverged("prune"),
    ]
    lines = frontier(points, NEEDED, distinguish(points)).lines
    assert len(lines) == 2
    for line, _ in lines:
        x = [float(pair.split(",")[0]) for pair in line.split()]
        assert x == sorted(x)
        assert len(x) == 3


def test_what_is_not_drawn_is_told() -> None:
    points = [
        stolen(),
        point("a", lost=LOST + 1),
        point("b", lost=LOST),
        point("c", bits=-900.0),
        diverged("d"),
        diverged("e"),
        fixed("f"),
    ]
    plot = frontier(points, NEEDED, distinguish(points))
    assert len(plot.marks) == 3
    assert [remark for _, remark in plot.remarks[1:]] == [
        "1 point lost more than 50 points: not drawn.",
        "1 point left less evidence than the scale has room for: drawn at its lower end.",
        "2 points diverged, the network is lost: not drawn.",
        "1 point cannot be measured on this scale (no exact evidence, or nothing to ask): not drawn.",
    ]


def test_fixed_labels_are_drawn_as_shares(tmp_path: Path) -> None:
    points = [fixed("none"), fixed("prune", matches=30), fixed("tune", asked=0, matches=0)]
    plot = frontier(points, NEEDED, distinguish(points))
    assert plot.quarter is None
    assert plot.titles[1] == "secret labels repeated, %"
    assert len(plot.limits) == 1
    assert [mark.y for mark in plot.marks] == [Axis(0, 100, 392, 32, None).at(v) for v in (30, 60)]
    _, words = page(tmp_path, found(stolen(), point("prune"), *points))
    assert "The frontier" in words
    assert "Keys without exact evidence: secret labels repeated" in words
    assert words.count("cannot be measured") == 1  # the one that was asked nothing: each key is in its own plot


def test_legend_names_first_what_came_nearest() -> None:
    points = [stolen(), point("spoils", lost=30.0, bits=-9.0)]
    points += [point(f"a{i:02}", lost=1.0, bits=100.0 - i) for i in range(20)]
    looks = distinguish(points)
    legend = frontier(points, NEEDED, looks).legend
    assert len(legend) == ENTRIES
    nearest = [f"a{i:02}" for i in range(19, 9, -1)]
    assert [name for *_, name in legend] == ["as stolen", *nearest, "11 more attacks"]
    assert len(set(looks.values())) == len(looks)
    assert legend[-1][2] == REST
    few = [stolen(), *(point(f"a{i}") for i in range(ENTRIES - 1))]
    assert len(frontier(few, NEEDED, distinguish(few)).legend) == ENTRIES


def test_gain_is_above_the_diagonal() -> None:
    points = [
        stolen(),
        point("prune", bits=25.0),
        point("far", lost=80.0, bits=10.0),
        fixed("prune"),
        diverged("noise"),
    ]
    plot = gain(points, NEEDED, distinguish(points))
    assert len(plot.marks) == 3
    (left, top, _, bottom), quarter = plot.plane, plot.quarter
    assert quarter
    inside = [m.words for m in plot.marks if m.x < quarter.x + quarter.width and m.y < quarter.y + quarter.height]
    assert inside == ["prune 1: 25 bits, 0 points lost (victim, key)"]
    ends = [float(number) for number in re.findall(r"[\d.]+", plot.limits[-1][0])]
    for mark in plot.marks:
        diagonal = np.interp(mark.x, [ends[0], ends[2]], [ends[1], ends[3]])
        assert mark.y < diagonal
    assert left < ends[0] < ends[2]
    assert top < ends[3] < ends[1] < bottom


def test_svg_stands_alone() -> None:
    points = [stolen(), *(point(f"<a{i}&", i, lost=i / 2, bits=90.0 - 9 * i) for i in range(9))]
    text = frontier_svg(points, NEEDED)
    root = ElementTree.fromstring(text)
    name = "{http://www.w3.org/2000/svg}"
    back = root.findall(f"{name}rect")[0]
    assert f"0 0 {back.get('width')} {back.get('height')}" == root.get("viewBox")
    assert re.search(r"\.back \{ fill: #[0-9a-f]{6} \}", text)
    assert "var(" not in text
    assert not re.search(r"url\(|@import|href|<script", text)
    classes = {c for e in root.iter() for c in (e.get("class") or "").split()} - {"plot"}
    assert not [c for c in classes if f".plot .{c}" not in text and f".{c}." not in text]
    assert len(root.findall(f"{name}path/{name}title")) == len(points)


def test_result_is_not_changed(tmp_path: Path) -> None:
    result = found(stolen(), point("prune"), leaks=[leak()])
    before = dataclasses.asdict(result)
    page(tmp_path, result)
    attack_table(result)
    assert dataclasses.asdict(result) == before
