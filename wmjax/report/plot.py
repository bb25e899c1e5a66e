"""What a plot of marks consists of, in pixels; the template `plot.svg` draws it."""

import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np


class Look(NamedTuple):
    """How the marks of an attack look: class of the style sheet, and the shape as an SVG path about its centre."""

    colour: str
    shape: str


class Axis(NamedTuple):
    """From values to pixels.

    Attributes:
      low: value at `start`; smaller ones are drawn there too.
      high: value at `end`; greater ones are drawn there too.
      start: pixel.
      end: pixel.
      bend: the scale is even up to about this value on both sides of zero, and logarithmic further out; None: even
        all over.
    """

    low: float
    high: float
    start: float
    end: float
    bend: float | None

    def at(self, value: float) -> float:
        """The pixel of a value."""
        low, high, here = (self._bent(v) for v in (self.low, self.high, min(max(value, self.low), self.high)))
        return round(self.start + (here - low) / (high - low) * (self.end - self.start), 1)

    def ticks(self, gap: float) -> list[tuple[float, int]]:
        """Pixels and values of round numbers, the roundest first, as many as fit `gap` pixels apart."""
        numbers = ticks(self.low, self.high)
        if self.bend is not None:
            powers = [10**k for k in range(math.ceil(math.log10(max(-self.low, self.high, 1))) + 1)]
            sizes = [first * power for first in (1, 5, 2) for power in powers]
            numbers = [0, *sizes, *(-size for size in sizes)]
        chosen: list[tuple[float, int]] = []
        for number in (n for n in numbers if self.low <= n <= self.high):
            if all(abs(self.at(number) - place) >= gap for place, _ in chosen):
                chosen.append((self.at(number), number))
        return chosen

    def _bent(self, value: float) -> float:
        return value if self.bend is None else math.asinh(value / self.bend)


class Plane(NamedTuple):
    """Where the marks are, in pixels."""

    left: int
    top: int
    right: int
    bottom: int


class Mark(NamedTuple):
    """One point: its centre in pixels, how it looks, and what is said of it."""

    x: float
    y: float
    look: Look
    words: str


class Quarter(NamedTuple):
    """The part of the plane that the plot is about, in pixels; its label's baseline; its class in the style sheet."""

    x: float
    y: float
    width: float
    height: float
    label: str
    baseline: float
    colour: str


class Plot(NamedTuple):
    """All that the template draws, in pixels.

    Attributes:
      width: of the drawing.
      height: of the drawing.
      plane: where its marks are.
      titles: of the two axes.
      across: ticks of the x axis.
      up: ticks of the y axis.
      limits: dashed lines: a path, and a label with its place and anchor.
      quarter: that is tinted; None for none.
      lines: points of a polyline, and how it looks.
      marks: the last on top.
      legend: how each attack looks, where that is said, and its name.
      remarks: what the drawing leaves out, each with its baseline.
      words: for those who cannot see the drawing.
    """

    width: int
    height: float
    plane: Plane
    titles: tuple[str, str]
    across: list[tuple[float, int]]
    up: list[tuple[float, int]]
    limits: list[tuple[str, str, float, float, str]]
    quarter: Quarter | None
    lines: list[tuple[str, Look]]
    marks: list[Mark]
    legend: list[tuple[float, float, Look, str]]
    remarks: list[tuple[float, str]]
    words: str


def ticks(low: float, high: float) -> list[int]:
    """About five round numbers between two ends."""
    raw = max(1.0, (high - low) / 5)
    power = 10 ** int(np.floor(np.log10(raw)))
    step = next(power * m for m in (1, 2, 5, 10) if power * m >= raw)
    return list(range(int(np.ceil(low / step)) * step, int(high) + 1, int(step)))


def apart(heights: Sequence[float], lowest: float, gap: float) -> list[float]:
    """Baselines of names beside heights, the highest first: moved down so that none covers another, up at the end.

    >>> apart([10.0, 12.0, 60.0], lowest=50.0, gap=16.0)
    [10.0, 26.0, 50.0]
    """
    moved: list[float] = []
    for height in heights:
        moved.append(max(height, moved[-1] + gap) if moved else height)
    return [min(height, lowest - gap * after) for after, height in enumerate(reversed(moved))][::-1]


def number(value: float) -> str:
    """In words: with one decimal, which is left out where it is nought.

    >>> number(20.0), number(-3.25)
    ('20', '-3.2')
    """
    return f"{value:.1f}".removesuffix(".0")
