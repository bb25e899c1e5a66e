"""What a judge found, for people: one self-contained HTML page a claim, a verdict or a dispute. No JAX in here.

The page is a view and proves nothing by itself: it names by digest the files that do, and how to check them again.
"""

import datetime
import math
from collections import Counter
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

from wmjax.evidence import wording
from wmjax.evidence.judgement import REFUSED, SPENT, Judgement, Refused, Settlement, Shown
from wmjax.grounds import Ground
from wmjax.report.html import page, typed
from wmjax.report.plot import Axis, Look, Mark, Plane, Plot, number
from wmjax.report.thumbnail import thumbnail
from wmjax.text import cut, quoted, visible

PICTURES = 60  # triggers in the gallery; the rest are counted
SIDE = 64  # pixels of a picture's longer side, about: smaller ones are enlarged, larger ones thinned out
LONGEST = 600  # characters of a sentence or name; of a longer one, which could hide the next, its two ends are shown
POINTS = 2000  # of a curve, about
FATES = {
    "hit": "the suspect answered the secret label",
    "miss": "it answered another class",
    "answered": "the suspect answered: a single answer says nothing, all of them together are the evidence",
    "refused": "asked, and no usable answer came: counts against the claimant",
    "spent": "opened in an earlier claim, so not asked: counts against the claimant",
}
_PLANE = Plane(46, 12, 500, 236)
_WIDTH, _FOOT, _ROW = 520, 288, 17.0  # of the drawing: its width, first line under the axis, line height
_REFUSED = Look("refused", "m-4 -4l8 8m0 -8l-8 8")
_SPENT = Look("spent", "m-3.5 -3.5h7v7h-7z")
_UNANSWERED = ((_REFUSED, "refused: asked, no usable answer"), (_SPENT, "spent in an earlier claim: not asked"))
_STRIP = 1000, 90  # pixels of the strip of coins
_REACHED = Look("reached", "m-4.5 0a4.5 4.5 0 1 0 9 0a4.5 4.5 0 1 0 -9 0")


def judgement_page(
    judgements: Sequence[Judgement | Refused], settlement: Settlement | None = None, *, title: str
) -> bytes:
    """The page: verdict, what it rests on, what is not proven, evidence, triggers, and how to check it again.

    It has no script and loads nothing. Every foreign word is escaped, characters that cannot be seen are spelt out.

    Args:
      judgements: one: the page of a claim or verdict; several: of a dispute.
      settlement: who was first, of several.
      title: of the page.

    Returns:
      HTML in UTF-8.
    """
    return page(
        "evidence.html",
        title=_fit(title),
        sheets=("plot.css", "evidence.css"),
        summary=[line for one in judgements for line in _summary(one)],
        claims=[_refused(one) if isinstance(one, Refused) else _shown(one) for one in judgements],
        settlement=settlement
        and {
            "first": settlement.first,
            "headline": wording.told(settlement.headline),
            "words": _told(settlement.grounds),
            "command": _fit(wording.command(judgements, settlement.originals)),
        },
        fates=FATES,
        strip=_STRIP,
    )


def evidence_plots(judgements: Sequence[Judgement | Refused]) -> list[Plot]:
    """The page's drawings of evidence, one a claim that was judged."""
    return [_curve(one) for one in judgements if isinstance(one, Judgement)]


def _summary(one: Judgement | Refused) -> list[str]:
    """A judgement as plain lines, and how to check it again."""
    if isinstance(one, Refused):
        return [f"{one.code}: {_fit(one.reason)}"]
    bits = f"{one.evidence_bits:.1f} bits of evidence; a match needs {one.needed_bits:.1f}"
    chance = f", a chance of {_odds(one.evidence_bits)} for an unrelated model" if one.evidence_bits >= 1.0 else ""
    asked = "asked again by the judge" if one.asked_by == "judge" else "as the claimant recorded"
    return [
        f"{one.verdict}: {_fit(wording.headline(one))}",
        f"Suspect {quoted(one.suspect)}, key {_fit(one.key_id)}.",
        f"{bits}{chance}; {one.queries:,} answers, {asked}.",
        *(f"Not proven: {words}" for words in _told(one.missing)),
        f"Claim file, SHA-256: {_fit(one.digests.claim)}. To check: {_fit(wording.command([one]))}",
    ]


def recheck_commands(judgement: Judgement) -> list[tuple[str, str]]:
    """What anybody can run to see whether the page tells the truth: what it does, and the line for a shell."""
    same = f"The claim file is the one that was judged here: must print {judgement.digests.claim}."
    again = "Judge it again, and ask the suspect itself: then no record has to be believed."
    return [(same, "sha256sum claim.json"), (again, wording.command([judgement]))]


def _fit(text: str) -> str:
    """Foreign text, fit to be shown."""
    return cut(visible(text), LONGEST)


def _told(grounds: Sequence[Ground]) -> list[str]:
    """Grounds in words, fit to be shown."""
    return [_fit(typed(words)) for words in wording.sentences(grounds)]


def _shown(judgement: Judgement) -> dict[str, Any]:
    """All that the template says of one judgement, fit to be shown."""
    fates = Counter(_fate(shown) for shown in judgement.shown)
    more = Counter(_fate(shown) for shown in judgement.shown[PICTURES:])
    return {
        "verdict": judgement.verdict,
        "headline": _fit(wording.headline(judgement)),
        "facts": _facts(judgement, fates),
        "proven": _told(judgement.proven),
        "assumed": _told(judgement.assumed),
        "missing": _told(judgement.missing),
        "bits": number(judgement.evidence_bits),
        "needed": number(judgement.needed_bits),
        "needed_odds": _odds(judgement.needed_bits),
        "odds": _odds(judgement.evidence_bits) if judgement.evidence_bits >= 1.0 else None,
        "plot": _curve(judgement),
        "coins": _coins(judgement),
        "gallery": [_picture(shown) for shown in judgement.shown[:PICTURES]],
        "fates": [fate for fate in FATES if fates[fate]],
        "more": ", ".join(f"{more[fate]:,} {fate}" for fate in FATES if more[fate]),
        "dates": _dates(judgement.dates),
        "suspect": quoted(judgement.suspect),
        "key": _fit(judgement.key_id),
        "owner": _fit(judgement.owner),
        "digests": [(_fit(name), _fit(value)) for name, value in wording.digest_rows(judgement.digests)],
        "nonce": _fit(judgement.digests.nonce),
        "commands": [(_fit(what), _fit(line)) for what, line in recheck_commands(judgement)],
    }


def _refused(refused: Refused) -> dict[str, Any]:
    """What the template says of a claim that was not judged."""
    reason = _fit(refused.reason)
    return {"verdict": refused.code, "reason": reason, "missing": [], "bits": "-", "needed": "-", "owner": "-"}


def _facts(judgement: Judgement, fates: Counter[str]) -> list[tuple[str, str, str]]:
    """Short figures under the headline: what, how much, and a remark."""
    reached = _reached(judgement)
    judge = judgement.asked_by == "judge"
    facts = [
        (
            "evidence",
            f"{judgement.evidence_bits:,.1f} bits",
            f"a match needs {judgement.needed_bits:.1f}: "
            + ("not reached" if reached is None else f"reached at trigger {reached:,}"),
        ),
        ("triggers asked", f"{judgement.queries:,}", f"of {judgement.triggers:,} in the key"),
        *_agreement(judgement),
        (
            "who asked",
            "the judge" if judge else "the claimant",
            "the suspect itself was asked again" if judge else "its answers are the claimant's own record",
        ),
    ]
    if judgement.verdict == "match":
        facts.append(("chance of a false match", _level(judgement.alpha), "at most, for an unrelated model"))
    facts += [(fate, f"{fates[fate]:,}", "count against the claimant") for fate in ("refused", "spent") if fates[fate]]
    return facts


def _agreement(judgement: Judgement) -> list[tuple[str, str, str]]:
    """How much of the secret the answers show, where it is told."""
    if judgement.coins is not None:
        remark = "of a model that has nothing to do with the key about half"
        return [("coins that agree", f"{judgement.matches:,} of {judgement.coins:,}", remark)]
    if any(shown.label is not None and not shown.name for shown in judgement.shown):
        return [("secret labels answered", f"{judgement.matches:,} of {judgement.queries:,}", "")]
    return []


def _level(alpha: float) -> str:
    """A chance in words: of a small one, one in how many."""
    return f"{alpha:g}" if alpha > 0.05 else _odds(-math.log2(alpha))


def _odds(bits: float) -> str:
    """What so many bits are against chance.

    >>> _odds(20.0), _odds(41.3)
    ('1 in 1,048,576', '1 in 10¹²')
    """
    if bits < 30.0:
        return f"1 in {2.0**bits:,.0f}"
    return "1 in 10" + str(math.floor(bits * math.log10(2.0))).translate(str.maketrans("0123456789", "⁰¹²³⁴⁵⁶⁷⁸⁹"))


def _reached(judgement: Judgement) -> int | None:
    """The number of the trigger after which the evidence first was enough; None for never."""
    enough = np.flatnonzero(judgement.path >= judgement.needed_bits)
    return int(enough[0]) + 1 if len(enough) else None


def _curve(judgement: Judgement) -> Plot:
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
    if reached := _reached(judgement):
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


class _Strip(NamedTuple):
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


def _coins(judgement: Judgement) -> _Strip | None:
    """The strip of the coins' agreement; of very many, some of all ranks."""
    if judgement.leanings is None or not len(judgement.leanings):
        return None
    ranked = np.sort(judgement.leanings)[::-1]
    drawn = ranked[np.unique(np.linspace(0, len(ranked) - 1, POINTS // 2).astype(int))]
    step, middle = _STRIP[0] / len(drawn), _STRIP[1] / 2
    lines = [
        (height > 0.0, f"M{step * (i + 0.5):.1f} {middle:.1f}v{-height * middle:.1f}")
        for i, height in enumerate(np.clip(drawn / 3.0, -1.0, 1.0))
    ]
    agree, differ = ("".join(line for up, line in lines if up == side) for side in (True, False))
    words = f"{judgement.matches:,} of {judgement.coins:,} coins agree"
    return _Strip(agree, differ, round(max(0.5, 0.8 * step), 2), words)


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


def _fate(shown: Shown) -> str:
    """What became of a trigger: one of `FATES`."""
    if shown.answer in (REFUSED, SPENT):
        return "spent" if shown.answer == SPENT else "refused"
    if shown.label is None or shown.name:  # whose number is ours, so none to be compared
        return "answered"
    return "hit" if shown.answer == shown.label else "miss"


def _picture(shown: Shown) -> dict[str, Any]:
    """A trigger in the gallery; the label of a spent one stays unsaid, since nothing opened it here."""
    fate, source = _fate(shown), None
    if shown.image is not None:
        longer = max(shown.image.shape[:2])
        thin = math.ceil(longer / (1.5 * SIDE))
        source = thumbnail(shown.image[::thin, ::thin], max(1, SIDE // longer))
    return {
        "index": shown.index,
        "fate": fate,
        "source": source,
        "label": None if fate == "spent" else shown.label,
        "answer": _answer(shown),
    }


def _answer(shown: Shown) -> str:
    if shown.answer < 0:
        return "none"
    if shown.name:
        return quoted(shown.name)
    return f"{shown.answer} {quoted(shown.called)}" if shown.called else str(shown.answer)


def _dates(dates: Sequence[Ground]) -> list[tuple[str, str, str]]:
    """What happened, when, and how long it came after the one before."""
    times = [str(ground.values["time"]) for ground in dates]
    pauses = [_pause(before, time) for before, time in zip(times[:1] + times, times, strict=False)]
    return [(words, _fit(time), pause) for words, time, pause in zip(_told(dates), times, pauses, strict=True)]


def _pause(before: str, after: str) -> str:
    """The time between two UTC times, in words.

    >>> _pause("2026-01-01T00:00:00Z", "2026-03-01T00:00:00+00:00")
    '59 days later'
    """
    seconds = (datetime.datetime.fromisoformat(after) - datetime.datetime.fromisoformat(before)).total_seconds()
    for unit, size in (("days", 86_400), ("hours", 3_600), ("minutes", 60), ("seconds", 1)):
        if seconds >= 2 * size:
            return f"{seconds // size:,.0f} {unit} later"
    return ""
