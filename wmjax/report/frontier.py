"""The frontier of an attack suite: what each attack cost against what it left of the mark, drawn as SVG."""

import re
from collections.abc import Callable, Mapping, Sequence

from wmjax.attacks.result import COST, Point
from wmjax.report.html import inline, render
from wmjax.report.plot import Axis, Look, Mark, Plane, Plot, Quarter, number
from wmjax.text import cut, visible

WIDTH, LEFT, TOP, STRIP, ROW = 660, 56, 24, 24, 17  # pixels; STRIP: of the plane, for its labels, where no mark is
LOST = 50.0  # points of accuracy at which the frontier is cut: what lost as much is of no use to a thief
ENTRIES = 12  # of a legend at most
SHAPES = (
    "m-4.2 0a4.2 4.2 0 1 0 8.4 0a4.2 4.2 0 1 0 -8.4 0z",  # disc
    "m-3.8 -3.8h7.6v7.6h-7.6z",  # square
    "m0 -5l4.8 8.6h-9.6z",  # triangle
    "m0 -5.4l5.4 5.4l-5.4 5.4l-5.4 -5.4z",  # diamond
    "m0 5l4.8 -8.6h-9.6z",  # triangle, the other way up
    "m-2 -5h4v3h3v4h-3v3h-4v-3h-3v-4h3z",  # plus
)
STAR = "m0 -7l1.7 4.7l5 .1l-4 3.1l1.4 4.8l-4.1 -2.9l-4.1 2.9l1.4 -4.8l-4 -3.1l5 -.1z"
REST = Look("rest", "m-2.6 0a2.6 2.6 0 1 0 5.2 0a2.6 2.6 0 1 0 -5.2 0z")  # of all attacks that the legend does not name


def distinguish(points: Sequence[Point]) -> dict[str, Look]:
    """How each attack looks, those first that came nearest to removing the mark; the last of many look the same.

    Args:
      points: of all attacks, victims and keys.
    """
    reached: dict[str, tuple[bool, bool, float]] = {}
    for p in points:
        left = _share(p) if p.bits is None else p.bits
        if p.attack != "none" and left is not None and p.lost is not None and p.lost <= LOST:
            here = (p.bits is None, p.lost >= COST, left)
            reached[p.attack] = min(here, reached.get(p.attack, here))
    names = sorted(reached, key=lambda name: reached[name])
    apart = names if len(names) < ENTRIES else names[: ENTRIES - 2]
    looks = {name: Look(f"c{i % 6}", SHAPES[(i + i // 6 * 3) % 6]) for i, name in enumerate(apart)}
    return {"none": Look("stolen", STAR)} | looks


def frontier(points: Sequence[Point], needed: float, looks: Mapping[str, Look]) -> Plot:
    """Accuracy lost against bits left, one mark a point, growing strengths of an attack joined by a line.

    Where no point has bits, since no exact evidence exists, the share of labels repeated takes their place: there is
    no exact threshold then, and no quarter in which a mark counts as removed.

    Args:
      points: of all attacks, victims and keys.
      needed: bits that make a match.
      looks: of the attacks, from `distinguish`.
    """
    exact = any(p.bits is not None for p in points) or not any(p.outcome == "uncalibrated" for p in points)
    left_of: Callable[[Point], float | None] = _bits if exact else _share
    drawn = _drawn(points, left_of)
    plane = Plane(LEFT, TOP, WIDTH - (84 if exact else 20), 400)
    x = Axis(min([-2.0, *(_number(p.lost) for p in drawn)]), LOST, plane.left + 10, plane.right - 10, COST)
    y = Axis(0.0, 100.0, plane.bottom - 8, plane.top + 8, None)
    if exact:
        y = Axis(*_reach([_number(p.bits) for p in drawn], needed), plane.bottom - STRIP, plane.top + 8, needed)
    places = [(x.at(_number(p.lost)), y.at(_number(left_of(p)))) for p in drawn]
    legend = _legend(drawn, looks, plane.bottom + 56.0)
    below = max([plane.bottom + 36.0, *(entry[1] for entry in legend)]) + 20
    remarks = [(below + 15 * i, remark) for i, remark in enumerate(_remarks(points, drawn, y.low if exact else None))]
    return Plot(
        WIDTH,
        below + 15 * len(remarks),
        plane,
        ("accuracy lost, points", "evidence left, bits" if exact else "secret labels repeated, %"),
        x.ticks(24),
        y.ticks(24),
        _limits(plane, x.at(COST), y.at(needed), needed)[: 2 if exact else 1],
        _removed(plane, x.at(COST), y.at(needed)) if exact else None,
        _lines(drawn, places, looks),
        _marks(drawn, places, looks),
        legend,
        remarks,
        "What each attack cost in accuracy, and what it left of the mark",
    )


def gain(points: Sequence[Point], needed: float, looks: Mapping[str, Look]) -> Plot:
    """Bits from labels against bits from probabilities of the points that have both: what the latter add.

    Args:
      points: of all attacks, victims and keys.
      needed: bits that make a match.
      looks: of the attacks, as in the frontier beside it.
    """
    drawn = [p for p in points if p.bits is not None and p.label_bits is not None]
    plane = Plane(LEFT, TOP, 340, 308)
    low, high = _reach([_number(b) for p in drawn for b in (p.bits, p.label_bits)], needed)
    x = Axis(low, high, plane.left + 8, plane.right - 8, needed)
    y = Axis(low, high, plane.bottom - 8, plane.top + STRIP, needed)
    places = [(x.at(_number(p.label_bits)), y.at(_number(p.bits))) for p in drawn]
    across, up = x.at(needed), y.at(needed)
    return Plot(
        plane.right + 10,
        plane.bottom + 40.0,
        plane,
        ("bits from labels", "bits from probabilities"),
        x.ticks(24),
        y.ticks(24),
        [
            (
                f"M{across} {plane.top}V{plane.bottom}",
                f"match: {number(needed)} bits",
                across,
                plane.top - 7.0,
                "middle",
            ),
            (f"M{plane.left} {up}H{plane.right}", "", 0.0, 0.0, ""),
            (f"M{x.at(low)} {y.at(low)}L{x.at(high)} {y.at(high)}", "", 0.0, 0.0, ""),
        ],
        Quarter(
            plane.left,
            plane.top,
            *_size(across - plane.left, up - plane.top),
            "gained",
            plane.top + 14,
            "good",
        ),
        [],
        _marks(drawn, places, looks),
        [],
        [],
        "Evidence from probabilities against evidence from labels alone",
    )


def frontier_svg(points: Sequence[Point], needed: float) -> str:
    """The frontier as the text of an SVG file that stands alone, on a background of its own.

    Args:
      points: of all attacks, victims and keys.
      needed: bits that make a match.
    """
    values = dict(re.findall(r"(--[\w-]+): (#\w+)", inline("page.css", "plot.css").partition("@media")[0]))
    style = inline("plot.css").partition("@media")[0]
    values |= dict(re.findall(r"(--[\w-]+): (#\w+)", style))
    style = re.sub(r":root {[^}]*}\s*", "", style)
    style = re.sub(r"var\((--[\w-]+)\)", lambda found: values[found[1]], style)  # not every viewer knows variables
    return render("plot.svg", plot=frontier(points, needed, distinguish(points)), style=style).decode()


def _drawn(points: Sequence[Point], left_of: Callable[[Point], float | None]) -> list[Point]:
    """The points that have a place in the frontier."""
    return [p for p in points if left_of(p) is not None and p.lost is not None and p.lost <= LOST]


def _bits(point: Point) -> float | None:
    return point.bits


def _share(point: Point) -> float | None:
    """Of the labels, per cent; None where none was asked for or the network answered no numbers."""
    return 100 * point.matches / point.asked if point.asked and point.outcome != "diverged" else None


def _number(value: float | None) -> float:
    assert value is not None  # only points that were measured are drawn
    return value


def _reach(bits: Sequence[float], needed: float) -> tuple[float, float]:
    """Ends of an axis of evidence: what sinks without end is drawn at the lower one."""
    return max(-2 * needed, min([-needed / 2, *bits])), max([1.5 * needed, *bits])


def _limits(plane: Plane, x: float, y: float, needed: float) -> list[tuple[str, str, float, float, str]]:
    """The dashed lines of the frontier: at what an attack may cost, and at what makes a match."""
    return [
        (f"M{x} {plane.top}V{plane.bottom}", f"{COST:g} points lost", x, plane.top - 7.0, "middle"),
        (f"M{plane.left} {y}H{plane.right}", f"match: {number(needed)}", plane.right + 5.0, y + 4, "start"),
    ]


def _removed(plane: Plane, x: float, y: float) -> Quarter:
    """The quarter of the frontier in which a mark is removed."""
    return Quarter(plane.left, y, *_size(x - plane.left, plane.bottom - y), "mark removed", plane.bottom - 7, "bad")


def _size(width: float, height: float) -> tuple[float, float]:
    return round(width, 1), round(height, 1)


def _marks(drawn: Sequence[Point], places: Sequence[tuple[float, float]], looks: Mapping[str, Look]) -> list[Mark]:
    """The marks, those on top that the legend names first."""
    order = list(looks.values())
    marks = [Mark(*place, looks.get(p.attack, REST), _words(p)) for p, place in zip(drawn, places, strict=True)]
    return sorted(marks, key=lambda mark: -order.index(mark.look) if mark.look in order else -len(order))


def _lines(
    drawn: Sequence[Point], places: Sequence[tuple[float, float]], looks: Mapping[str, Look]
) -> list[tuple[str, Look]]:
    """A line through the strengths of each attack on each victim and key."""
    runs: dict[tuple[str, str, str], list[tuple[float, float, float]]] = {}
    for p, place in zip(drawn, places, strict=True):
        runs.setdefault((p.attack, p.victim, p.key), []).append((p.strength, *place))
    return [
        (" ".join(f"{x},{y}" for _, x, y in sorted(run)), looks.get(attack, REST))
        for (attack, *_), run in runs.items()
        if len(run) > 1
    ]


def _legend(drawn: Sequence[Point], looks: Mapping[str, Look], top: float) -> list[tuple[float, float, Look, str]]:
    """Four columns, read line by line; what looks the same is one entry."""
    names = {p.attack for p in drawn}
    entries = [(look, _name(name)) for name, look in looks.items() if name in names]
    if rest := len(names - set(looks)):
        entries.append((REST, f"{rest} more attack{'' if rest == 1 else 's'}"))
    wide = (WIDTH - LEFT) / 4
    return [(LEFT + 6 + i % 4 * wide, top + i // 4 * ROW, *entry) for i, entry in enumerate(entries)]


def _name(attack: str) -> str:
    return "as stolen" if attack == "none" else cut(visible(attack), 21)


def _words(p: Point) -> str:
    """A point in words."""
    left = f"{p.matches} of {p.asked} labels" if p.bits is None else f"{number(p.bits)} bits"
    what = "as stolen" if p.attack == "none" else f"{p.attack} {p.strength:g}"
    return visible(f"{what}: {left}, {number(_number(p.lost))} points lost ({p.victim}, {p.key})")


def _remarks(points: Sequence[Point], drawn: Sequence[Point], floor: float | None) -> list[str]:
    """What the drawing leaves out; `floor` is the least evidence that has a place of its own."""
    diverged = sum(p.outcome == "diverged" for p in points)
    far = sum(p.lost is not None and p.lost > LOST for p in points)
    other = len(points) - len(drawn) - diverged - far
    sunk = sum(p.bits is not None and floor is not None and p.bits < floor for p in drawn)
    counts = (
        (far, f"lost more than {LOST:g} points: not drawn."),
        (sunk, "left less evidence than the scale has room for: drawn at its lower end."),
        (diverged, "diverged, the network is lost: not drawn."),
        (other, "cannot be measured on this scale (no exact evidence, or nothing to ask): not drawn."),
    )
    lines = [f"{n} {'point' if n == 1 else 'points'} {words}" for n, words in counts if n]
    scales = "Both scales are" if floor is not None else "The scale of accuracy is"
    return [f"{scales} even about zero and logarithmic further out.", *lines]
