"""The drawings on a page of evidence: its curve, and the strip of a key's coins. No JAX in here."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from wmjax.evidence.judgement import REFUSED, SPENT, Judgement, Shown
from wmjax.report.plot import Axis, Look, Mark, Plane, Plot, number

POINTS = 2000  # of a curve, about
_PLANE = Plane(46, 12, 500, 236)
_WIDTH, _FOOT, _ROW = 520, 288, 17.0  # of the drawing: its width, first line under the axis, line height
_REFUSED = Look("refused", "m-4 -4l8 8m0 -8l-8 8")
_SPENT = Look("spent", "m-3.5 -3.5h7v7h-7z")
_UNANSWERED = ((_REFUSED, "refused: asked, no usable answer"), (_SPENT, "spent in an earlier claim: not asked"))
STRIP = 1000, 90  # pixels of the strip of coins
_REACHED = Look("reached", "m-4.5 0a4.5 4.5 0 1 0 9 0a4.5 4.5 0 1 0 -9 0")


def match_at(judgement: Judgement) -> int | None:
    """The number of the trigger after which the evidence first was enough; None for never."""
    enough = np.flatnonzero(judgement.path >= judgement.needed_bits)
    return int(enough[0]) + 1 if len(enough) else None


def evidence_curve(judgement: Judgement) -> Plot:
    """Evidence against triggers, with the dashed line that makes a match; refused and spent ones on the axis."""
    bits, needed = np.concatenate([[0.0], judgement.path]), judgement.needed_bits
    left, top, right, bottom = _PLANE
    high = max(1.25 * needed, float(bits.max()))
    low = max(float(bits.min()), -0.5 * high)  # an unrelated model's evidence sinks without end
    across = Axis(0.0, max(len(bits) - 1, len(judgement.shown), 1), left, right, None)
    up = Axis(low, high, bottom, top, None)
    told = np.unique(np.r_[np.linspace(0, len(bits) - 1, POINTS).astype(int), bits.argmin(), bits.argmax()])
    line = " ".join(f"{across.at(i)},{up.at(float(bits[i]))}" for i in told)
    marks = _rug(judgement.shown, across, bottom)
    looks = {mark.look for mark in marks}
    said = [(look, words) for look, words in _UNANSWERED if look in looks]
    if reached := match_at(judgement):
        words = f"trigger {reached:,}: enough for a match, {needed:.2f} bits"
        marks.append(Mark(across.at(reached), up.at(float(bits[reached])), _REACHED, words))
        said.insert(0, (_REACHED, words))
    legend = [(left + 6.0, _FOOT + _ROW * row, *entry) for row, entry in enumerate(said)]
    cut_off = f"The curve falls to {number(float(bits.min()))} bits: cut off at the bottom."
    # Left, where the curve begins far below; where the scale is too coarse for that, right, where it is far above.
    side = (left + 6, "start") if needed > 0.1 * (high - low) else (right - 6, "end")
    label = (side[0], up.at(needed) - 5, side[1])
    remarks = [(_FOOT + _ROW * len(legend), cut_off)] if bits.min() < low else []
    return Plot(
        width=_WIDTH,
        height=_FOOT + _ROW * (len(legend) + len(remarks)) - 8,
        plane=_PLANE,
        titles=("triggers, in the order asked", "evidence, bits"),
        across=across.ticks(56.0),
        up=up.ticks(26.0),
        limits=[(f"M{left} {up.at(needed)}H{right}", "a match", *label)],
        quarter=None,
        lines=[(line, Look(judgement.verdict, ""))],
        marks=marks,
        legend=legend,
        remarks=remarks,
        words=f"Evidence after {len(bits) - 1} triggers: {bits[-1]:.1f} bits; {needed:.1f} make a match",
    )


class Strip(NamedTuple):
    """Each coin as a line, the clearest first: SVG paths.

    Attributes:
      agree: lines upwards, of the coins whose own side shows.
      differ: downwards, of the others.
      thick: width of a line.
      words: for those who cannot see the drawing.
    """

    agree: str
    differ: str
    thick: float
    words: str


def coin_strip(judgement: Judgement) -> Strip | None:
    """The strip of the coins' agreement; of very many, some of all ranks."""
    if judgement.leanings is None or not len(judgement.leanings):
        return None
    ranked = np.sort(judgement.leanings)[::-1]
    drawn = ranked[np.unique(np.linspace(0, len(ranked) - 1, POINTS // 2).astype(int))]
    step, middle = STRIP[0] / len(drawn), STRIP[1] / 2
    lines = [
        (height > 0.0, f"M{step * (i + 0.5):.1f} {middle:.1f}v{-height * middle:.1f}")
        for i, height in enumerate(np.clip(drawn / 3.0, -1.0, 1.0))
    ]
    agree, differ = ("".join(line for up, line in lines if up == side) for side in (True, False))
    words = f"{judgement.matches:,} of {judgement.coins:,} coins agree"
    return Strip(agree, differ, round(max(0.5, 0.8 * step), 2), words)


def _rug(shown: Sequence[Shown], across: Axis, bottom: float) -> list[Mark]:
    """A mark on the axis where triggers were refused or spent, one a pixel."""
    places: dict[tuple[int, Look], list[int]] = {}
    for turn, item in enumerate(shown, 1):
        if item.answer in (REFUSED, SPENT):
            look = _SPENT if item.answer == SPENT else _REFUSED
            places.setdefault((round(across.at(turn)), look), []).append(turn)
    return [
        Mark(x, bottom, look, f"{look.colour}: trigger {', '.join(map(str, turns))}")
        for (x, look), turns in places.items()
    ]
