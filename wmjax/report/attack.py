"""What an attack suite found, for people: one self-contained HTML page, and a table for the terminal."""

import textwrap
from pathlib import Path
from typing import Any

import numpy as np

from wmjax.attacks.result import AttackResult, Leak, Point
from wmjax.attacks.wording import WORDS
from wmjax.files import write_bytes
from wmjax.report.fates import FATES, fate_of, headline, judged_in, marked_in, several, unproven
from wmjax.report.frontier import distinguish, frontier, gain
from wmjax.report.html import page
from wmjax.report.plot import Plot, number
from wmjax.report.thumbnail import thumbnail
from wmjax.text import cut, visible

COLUMNS = 100  # of a terminal
LEVEL = 0.05  # of all leaks together: how often chance alone may be taken for one
_ABOVE = ("not above chance", "above chance")


def write_attack_report(path: Path, result: AttackResult) -> None:
    """Writes the page: headline, frontier, what probabilities add, and tables, nothing loaded from elsewhere.

    It has no script. Every name is escaped, and characters that cannot be seen are spelt out.

    Args:
      path: of the HTML file.
      result: to show.

    Raises:
      AccessError: the file cannot be written.
    """
    plots, gained = attack_plots(result)
    needed, marked = result.match_bits, marked_in(result)
    fates = {fate_of(p, marked) for p in result.points}
    raw = page(
        "attack.html",
        title="wmjax: what does the mark survive?",
        sheets=("plot.css", "attack.css"),
        summary=_summary(result),
        headline=headline(result),
        result=result,
        notes=[note.told(WORDS) for note in result.notes],
        number=number,
        visible=visible,
        facts=_facts(result),
        plots=plots,
        gain=gained,
        won=(sum(_won(p, needed) for p in result.points), sum(p.label_bits is not None for p in result.points)),
        unproven=unproven(result),
        several=several(result),
        groups=_groups(result),
        fates={fate: words for fate, words in FATES.items() if fate in fates},
        leaks=[_shown(leak, _limit(result)) for leak in result.leaks],
        limit=_limit(result),
        tested=sum(leak.p is not None for leak in result.leaks),
        level=LEVEL,
    )
    write_bytes(path, raw)


def attack_plots(result: AttackResult) -> tuple[list[Plot], Plot | None]:
    """The page's drawings: the frontiers, and what probabilities add to labels where that is known."""
    fixed = {p.key for p in result.points if p.outcome == "uncalibrated"}
    halves = [[p for p in result.points if p.key not in fixed], [p for p in result.points if p.key in fixed]]
    needed, looks = result.match_bits, distinguish(result.points)
    gained = gain(halves[0], needed, looks) if any(p.label_bits is not None for p in halves[0]) else None
    return [frontier(half, needed, looks) for half in halves if half], gained


def _summary(result: AttackResult) -> list[str]:
    """What was tried on what, and what became of it, as plain lines."""
    head = headline(result)
    tried = f"Suite {visible(result.suite)} on {visible(result.model)}, data {visible(result.data)}."
    return [head.verdict, head.reason, *(f"  {words}" for words in head.named), *unproven(result), tried]


def attack_table(result: AttackResult) -> list[str]:
    """The result as lines for a terminal: headline, a table for each victim and key, and what could not be tried.

    Args:
      result: to show.

    Returns:
      Lines of printable characters, at most 100.
    """
    head, marked = headline(result), marked_in(result)
    lines = [*_wrap(f"{head.verdict} {head.reason}"), *(line for name in head.named for line in _wrap(name, "  "))]
    lines += [line for words in unproven(result) for line in _wrap(words)]
    pairs = dict.fromkeys((p.victim, p.key) for p in result.points)
    for victim, key in pairs:
        lines += ["", *_wrap(f"victim {visible(victim)}, key {visible(key)}")] if len(pairs) > 1 else [""]
        lines.append(
            f"{'attack':<22} {'strength':>8} {'accuracy':>8} {'lost':>6} {'repeated':>9} {'labels':>8} {'probs':>8}  "
            f"{'verdict':<12} mark"
        )
        lines += [_line(p, marked) for p in result.points if (p.victim, p.key) == (victim, key)]
    lines.append("")
    lines += _wrap(
        "repeated: secret labels of those asked, of a spread key coins; labels, probs: bits of evidence from each"
    )
    for leak in result.leaks:
        shown = _shown(leak, _limit(result))
        words = f"{shown['start']}: correlation {shown['correlation']}, chance {shown['chance']}, p {shown['p']}"
        lines += _wrap(f"inversion of {shown['victim']}, {shown['key']}, from {words}")
    lines += [
        line for name, why in result.skipped.items() for line in _wrap(f"skipped {visible(name)}: {visible(why)}")
    ]
    lines += [line for note in result.notes for line in _wrap(visible(note.told(WORDS)))]
    return lines


def _wrap(text: str, indent: str = "") -> list[str]:
    return textwrap.wrap(text, COLUMNS, initial_indent=indent, subsequent_indent=indent + "  ")


def _line(p: Point, marked: set[tuple[str, str]]) -> str:
    """A point's line in the terminal's table."""
    row = _row(p, marked)
    name = "as stolen" if p.attack == "none" else cut(visible(p.attack), 22)
    return (
        f"{name:<22} {row['strength']:>8} {row['accuracy']:>8} {row['lost']:>6} {row['repeated']:>9} "
        f"{row['label_bits']:>8} {row['bits']:>8}  {p.outcome:<12} {row['fate']}"
    ).rstrip()


def _row(p: Point, marked: set[tuple[str, str]]) -> dict[str, str]:
    """A point's cells."""
    return {
        "strength": "" if p.attack == "none" else f"{p.strength:g}",
        "victim": visible(p.victim),
        "key": visible(p.key),
        "accuracy": "-" if p.accuracy is None else f"{100 * p.accuracy:.1f} %",
        "lost": "-" if p.lost is None else f"{round(p.lost, 1) + 0.0:.1f}",
        "repeated": f"{p.matches}/{p.asked}",
        "label_bits": "-" if p.label_bits is None else f"{p.label_bits:.1f}",
        "bits": "-" if p.bits is None else f"{p.bits:.1f}",
        "outcome": p.outcome,
        "fate": fate_of(p, marked),
    }


def _won(p: Point, needed: float) -> bool:
    """Whether only probabilities show the mark."""
    return p.bits is not None and p.label_bits is not None and p.bits >= needed > p.label_bits


def _facts(result: AttackResult) -> list[tuple[str, str]]:
    """Short figures under the headline."""
    tried = [p for p in result.points if p.attack != "none"]
    removing = {p.attack for p in judged_in(result) if p.removed}
    return [
        ("attacks", f"{len({p.attack for p in tried})}"),
        ("of them remove the mark", f"{len(removing)}"),
        ("attacked networks", f"{len({(p.attack, p.strength, p.victim) for p in tried})}"),
        ("diverged", f"{len({(p.attack, p.strength, p.victim) for p in tried if p.outcome == 'diverged'})}"),
        ("victims", f"{len({p.victim for p in result.points})}"),
        ("keys", f"{len(result.keys)}"),
        ("bits for a match", number(result.match_bits)),
        ("seconds", f"{result.seconds:,.1f}"),
    ]


def _groups(result: AttackResult) -> list[dict[str, Any]]:
    """The table: attacks in the order tried, each with what is said of it and its points."""
    groups, marked = [], marked_in(result)
    for name in dict.fromkeys(p.attack for p in result.points):
        groups.append(
            {
                "name": "as stolen" if name == "none" else visible(name),
                "strength": visible(result.strengths.get(name, "")),
                "attacker": visible(result.attackers.get(name, "")),
                "rows": [_row(p, marked) for p in result.points if p.attack == name],
            }
        )
    return groups


def _limit(result: AttackResult) -> float:
    """The largest p that is above chance: the level divided by how many leaks were tested (Bonferroni)."""
    return LEVEL / max(1, sum(leak.p is not None for leak in result.leaks))


def _shown(leak: Leak, limit: float) -> dict[str, Any]:
    """What model inversion recovered, as the page and the terminal show it; `limit` is the largest p above chance."""
    picture = np.array(leak.picture, np.uint8)
    return {
        "victim": visible(leak.victim),
        "key": visible(leak.key),
        "start": visible(leak.start),
        "correlation": f"{leak.correlation:.2f}",
        "chance": "not known" if leak.chance is None else f"{leak.chance:.2f}",
        "p": "not known" if leak.p is None else f"{leak.p:.3g}",
        "finding": "no decoys to compare with" if leak.p is None else _ABOVE[leak.p <= limit],
        "picture": thumbnail(picture, max(1, 128 // picture.shape[0])),
    }
