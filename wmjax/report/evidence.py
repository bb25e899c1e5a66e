"""What a judge found, for people: one self-contained HTML page a claim, a verdict or a dispute. No JAX in here.

The page is a view and proves nothing by itself: it names by digest the files that do, and how to check them again.
"""

import datetime
import math
from collections import Counter
from collections.abc import Sequence
from typing import Any

from wmjax.evidence import wording
from wmjax.evidence.judgement import REFUSED, SPENT, Judgement, Refused, Settlement, Shown
from wmjax.grounds import Ground
from wmjax.report.evidence_plot import STRIP, coin_strip, evidence_curve, match_at
from wmjax.report.html import page, typed
from wmjax.report.plot import Plot, number
from wmjax.report.thumbnail import thumbnail
from wmjax.text import cut, quoted, visible

PICTURES = 60  # triggers in the gallery; the rest are counted
SIDE = 64  # pixels of a picture's longer side, about: smaller ones are enlarged, larger ones thinned out
LONGEST = 600  # characters of a sentence or name; of a longer one, which could hide the next, its two ends are shown
FATES = {
    "hit": "the suspect answered the secret label",
    "miss": "it answered another class",
    "answered": "the suspect answered: a single answer says nothing, all of them together are the evidence",
    "refused": "asked, and no usable answer came: counts against the claimant",
    "spent": "opened in an earlier claim, so not asked: counts against the claimant",
}


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
        strip=STRIP,
    )


def evidence_plots(judgements: Sequence[Judgement | Refused]) -> list[Plot]:
    """The page's drawings of evidence, one a claim that was judged."""
    return [evidence_curve(one) for one in judgements if isinstance(one, Judgement)]


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
        "plot": evidence_curve(judgement),
        "coins": coin_strip(judgement),
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
    reached = match_at(judgement)
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
