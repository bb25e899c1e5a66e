"""Plots as PNG, for mails and slides: what the template `plot.svg` draws, drawn by Pillow alone."""

import io
import itertools
import re
from collections.abc import Sequence
from functools import lru_cache
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from wmjax.files import write_bytes
from wmjax.report.html import inline
from wmjax.report.plot import Plot

SCALE, FINE = 2, 2  # pixels of the picture for one of the plot; drawn so many times larger, for smooth edges
_CROSSES, _HOLLOW = {"refused"}, {"reached"}  # looks whose marks are lines, or an outline
_INK = {"stolen": "ink", "spent": "ink"}
_STEP = re.compile(r"([MmLlHhVvAaZz])([^MmLlHhVvAaZz]*)")
Points = list[tuple[float, float]]


def write_picture(path: Path, plots: Sequence[Plot]) -> None:
    """Writes plots as one PNG, one below the other, in the colours of a page by day.

    Args:
      path: of the file.
      plots: at least one.

    Raises:
      AccessError: it cannot be written.
    """
    drawn = [_draw(plot) for plot in plots]
    whole = Image.new("RGB", (max(one.width for one in drawn), sum(one.height for one in drawn)), _colours()["paper"])
    top = 0
    for one in drawn:
        whole.paste(one, (0, top))
        top += one.height
    buffer = io.BytesIO()
    whole.save(buffer, "PNG", optimize=True)
    write_bytes(path, buffer.getvalue())


@lru_cache(maxsize=1)
def _colours() -> dict[str, str]:
    """The pages' own colours, by name."""
    day = inline("page.css", "plot.css").split("@media screen")
    return dict(re.findall(r"--([\w-]+): (#[0-9a-f]{6})", day[0] + day[1].partition("}\n}")[2]))


def _colour(look: str) -> str:
    """The colour of a look, grey if it has none of its own."""
    return _colours().get(_INK.get(look, look), _colours()["grey"])


class _Canvas:
    """A picture that is drawn on in a plot's own pixels."""

    def __init__(self, width: float, height: float) -> None:
        self.scale = SCALE * FINE
        self.image = Image.new("RGB", (round(width * self.scale), round(height * self.scale)), _colours()["paper"])
        self.pen = ImageDraw.Draw(self.image)

    def line(self, points: Points, colour: str, width: float, dash: float = 0.0) -> None:
        parts = _dashed(points, dash) if dash else [points]
        for part in parts:
            scaled = [(x * self.scale, y * self.scale) for x, y in part]
            self.pen.line(scaled, colour, max(1, round(width * self.scale)), joint="curve")

    def area(self, points: Points, fill: str, outline: str, width: float) -> None:
        scaled = [(x * self.scale, y * self.scale) for x, y in points]
        self.pen.polygon(scaled, fill)
        self.pen.line([*scaled, scaled[0]], outline, max(1, round(width * self.scale)), joint="curve")

    def text(self, x: float, y: float, words: str, colour: str, anchor: str = "start", turned: bool = False) -> None:
        font = ImageFont.load_default(11 * self.scale)
        if not turned:
            at = (x * self.scale, y * self.scale)
            self.pen.text(at, words, colour, font, anchor={"start": "ls", "middle": "ms", "end": "rs"}[anchor])
            return
        left, top, right, bottom = (round(edge) for edge in font.getbbox(words))
        label = Image.new("RGB", (right - left, bottom - top), _colours()["paper"])
        ImageDraw.Draw(label).text((-left, -top), words, colour, font)
        label = label.rotate(90, expand=True)
        place = round(x * self.scale - label.width / 2), round(y * self.scale - label.height / 2)
        self.image.paste(label, place)

    def shrunk(self) -> Image.Image:
        return self.image.resize((self.image.width // FINE, self.image.height // FINE), Image.Resampling.BOX)


def _draw(plot: Plot) -> Image.Image:
    """A plot, in the order of the template: what comes later lies on top."""
    canvas, colours = _Canvas(plot.width, plot.height), _colours()
    left, top, right, bottom = plot.plane
    if plot.quarter:
        x, y, width, height, label, baseline, colour = plot.quarter
        corners = [(x, y), (x + width, y), (x + width, y + height), (x, y + height)]
        canvas.area(corners, colours[colour], colours[colour], 1)
        canvas.text(x + 8, baseline, label, colours["ink"])
    for y, value in plot.up:
        canvas.line([(left, y), (right, y)], colours["line"], 1)
        canvas.text(left - 6, y + 4, str(value), colours["soft"], "end")
    for x, value in plot.across:
        canvas.line([(x, bottom), (x, bottom + 4)], colours["line"], 1)
        canvas.text(x, bottom + 16, str(value), colours["soft"], "middle")
    canvas.line([(left, bottom), (right, bottom)], colours["line"], 1)
    canvas.text((left + right) / 2, bottom + 34, plot.titles[0], colours["soft"], "middle")
    canvas.text(14, (top + bottom) / 2, plot.titles[1], colours["soft"], turned=True)
    for path, label, x, y, anchor in plot.limits:
        for points in outlines(path, 0, 0):
            canvas.line(points, colours["ink"], 1.5, dash=4)
        if label:
            canvas.text(x, y, label, colours["ink"], anchor)
    for line, look in plot.lines:
        pairs = [point.split(",") for point in line.split()]
        canvas.line([(float(x), float(y)) for x, y in pairs], _colour(look.colour), 2)
    for mark in plot.marks:
        _mark(canvas, mark.look.colour, outlines(mark.look.shape, mark.x, mark.y))
    for x, y, look, name in plot.legend:
        _mark(canvas, look.colour, outlines(look.shape, x, y - 4))
        canvas.text(x + 12, y, name, colours["ink"])
    for y, remark in plot.remarks:
        canvas.text(left, y, remark, colours["soft"])
    return canvas.shrunk()


def _mark(canvas: _Canvas, look: str, shape: list[Points]) -> None:
    colours = _colours()
    for points in shape:
        if look in _CROSSES:
            canvas.line(points, colours["ink"], 1.8)
        elif look in _HOLLOW:
            canvas.area(points, colours["paper"], colours["ink"], 1.8)
        else:
            canvas.area(points, _colour(look), colours["paper"], 1)


def outlines(path: str, x: float, y: float) -> list[Points]:
    """The corners of an SVG path's parts about a point: moves, straight lines and half circles alone.

    >>> outlines("m-1 -1h2v2z", 10, 10)
    [[(9.0, 9.0), (11.0, 9.0), (11.0, 11.0)]]
    """
    parts: list[Points] = []
    for step, text in _STEP.findall(path):
        numbers = [float(n) for n in re.findall(r"-?(?:\d+\.?\d*|\.\d+)", text)]
        before = x, y
        if step in "Hh":
            x = numbers[0] + (x if step == "h" else 0)
        elif step in "Vv":
            y = numbers[0] + (y if step == "v" else 0)
        elif step in "MLml":
            x, y = (n + (at if step.islower() else 0) for n, at in zip(numbers, (x, y), strict=True))
        elif step in "Aa":
            x, y = (n + (at if step == "a" else 0) for n, at in zip(numbers[5:], (x, y), strict=True))
            parts[-1] += _half(before, (x, y), clockwise=bool(numbers[4]))
        if step in "Mm":
            parts.append([])
        if step not in "AaZz":
            parts[-1].append((x, y))
    return parts


def _half(one: tuple[float, float], other: tuple[float, float], *, clockwise: bool) -> Points:
    """Corners of a half circle from one point to another."""
    middle, spoke = (complex(*one) + complex(*other)) / 2, (complex(*one) - complex(*other)) / 2
    turns = np.exp(1j * np.linspace(0, np.pi, 16) * (-1 if clockwise else 1))
    return [(float(at.real), float(at.imag)) for at in middle + spoke * turns]


def _dashed(points: Points, dash: float) -> list[Points]:
    """Pieces of straight lines, each so long, with as much between them."""
    pieces: list[Points] = []
    for (x0, y0), (x1, y1) in itertools.pairwise(points):
        count = max(1, round(float(np.hypot(x1 - x0, y1 - y0)) / dash))
        at = [(x0 + (x1 - x0) * i / count, y0 + (y1 - y0) * i / count) for i in range(count + 1)]
        pieces += [at[i : i + 2] for i in range(0, count, 2)]
    return pieces
