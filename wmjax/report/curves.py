"""Evidence against questions, a curve for each pair of a model and a key, as a plot for a picture."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from wmjax.report.plot import Axis, Look, Plane, Plot, apart, number
from wmjax.text import cut, visible
from wmjax.verification.verdict import Verdict
from wmjax.zoo.result import OUTCOMES, AuditResult

_PLANE = Plane(56, 18, 640, 300)
_FOOT, _ROW, _NAMES = 352, 16.0, 12  # of the legend: first line, height, names
_POINTS = 1000  # of a curve
_MOST = 200  # curves
_SHORT, _BESIDE = 48, 310  # characters of a name that stands beside its curve's end, and pixels for it
_SQUARE = "m-4 -4h8v8h-8z"


class Evidence(NamedTuple):
    """One curve: whose, its verdict, and bits after each question."""

    name: str
    verdict: str
    bits: np.ndarray


def curves(found: Sequence[Evidence], needed: float) -> Plot:
    """The plot of some curves, the strongest evidence first in the legend.

    Args:
      found: at least one; of very many the strongest are drawn.
      needed: bits that make a match.
    """
    ranked = sorted(found, key=lambda one: -float(one.bits[-1]) if len(one.bits) else 0.0)[:_MOST]
    left, top, right, bottom = _PLANE
    high = max(1.25 * needed, *(float(one.bits.max(initial=0.0)) for one in ranked))
    low = max(-0.5 * high, min(0.0, *(float(one.bits.min(initial=0.0)) for one in ranked)))
    across = Axis(0.0, max(len(one.bits) for one in ranked) or 1, left, right, None)
    up = Axis(low, min(high, 8 * needed), bottom, top, None)  # far above the line there is nothing to see
    line = up.at(needed)
    names = [f"{one.verdict}: {cut(visible(one.name), 90)}" for one in ranked[:_NAMES]]
    beside = len(ranked) == len(names) and max(map(len, names)) <= _SHORT
    ends = [up.at(float(one.bits[-1])) + 4 if len(one.bits) else bottom for one in ranked]
    heights = apart(ends, bottom + 34.0, _ROW)
    legend = [
        (right + 12.0, height, Look(one.verdict, _SQUARE), name)
        if beside
        else (left + 6.0, _FOOT + _ROW * row, Look(one.verdict, _SQUARE), name)
        for row, (one, name, height) in enumerate(zip(ranked, names, heights, strict=False))
    ]
    more = len(found) - len(legend)
    remarks = [(_FOOT + _ROW * len(legend), f"and {more:,} more")] if more else []
    return Plot(
        width=right + (_BESIDE if beside else 20),
        height=_FOOT + (0 if beside else _ROW * (len(legend) + len(remarks))),
        plane=_PLANE,
        titles=("questions", "evidence, bits"),
        across=across.ticks(48.0),
        up=up.ticks(24.0),
        limits=[(f"M{left} {line}H{right}", f"a match: {number(needed)} bits", left + 6, line - 5, "start")],
        quarter=None,
        lines=[(_line(one.bits, across, up), Look(one.verdict, "")) for one in reversed(ranked)],
        marks=[],
        legend=legend,
        remarks=remarks,
        words=f"Evidence of {len(found)} pairs against questions",
    )


def _line(bits: np.ndarray, across: Axis, up: Axis) -> str:
    path = np.concatenate([[0.0], bits])
    told = np.unique(np.linspace(0, len(path) - 1, _POINTS).astype(int))
    return " ".join(f"{across.at(int(i))},{up.at(float(path[i]))}" for i in told)


def of_verdicts(verdicts: Sequence[Verdict], names: Sequence[str], needed: float) -> Plot:
    """The curves of one suspect's verdicts, a key each."""
    paths = [np.nan_to_num(one.path) for one in verdicts]  # no exact evidence is none
    told = [Evidence(name, one.verdict, path) for name, one, path in zip(names, verdicts, paths, strict=True)]
    return curves(told, needed)


def of_audit(result: AuditResult) -> Plot:
    """The curves that an audit kept: of all matches, and of what else is worth a look."""
    told = [
        Evidence(
            f"{result.models[i]}, {result.keys[k].name}",
            OUTCOMES[int(result.outcomes[i, k])],
            np.nan_to_num(np.asarray(curve, np.float64)),
        )
        for (i, k), curve in result.curves.items()
    ]
    return curves(told or [Evidence("nothing was asked", "no-match", np.zeros(1))], result.match_bits)
