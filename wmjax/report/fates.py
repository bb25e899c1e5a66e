"""What became of a mark under attack, and that in words."""

from typing import NamedTuple

from wmjax.attacks.result import COST, AttackResult, Point
from wmjax.report.plot import number
from wmjax.text import counted, cut, visible

NAMED = 6  # attacks that removed the mark, named in the headline; the table shows all
FATES = {
    "removed": "no match any more, in a network that is still worth having",
    "spoilt": f"no match any more, but the attack cost {COST:g} points of accuracy or more",
    "held": "still a match",
    "diverged": "the network's weights or answers are not numbers: nothing was removed, the network is lost",
    "not shown": "no match even before any attack: there was nothing to remove",
    "not exact": "no exact evidence exists for the key's labels, only those that it repeats are counted",
}


class Headline(NamedTuple):
    """The finding in words: the verdict, what it rests on, and the attacks that it is about."""

    verdict: str
    reason: str
    named: list[str]


def headline(result: AttackResult) -> Headline:
    """How many attacks left no match in a network worth having, and which, the least evidence first.

    Args:
      result: of the suite.
    """
    if all(p.attack == "none" for p in result.points):
        return Headline("No attack was tried.", "Below stands what the networks hold as they were stolen.", [])
    tried = judged_in(result)
    if not tried:
        return Headline("There was no mark to remove.", _before(result), [])
    attacks = counted(len({p.attack for p in tried}), "attack")
    marked = marked_in(result)
    fates = {fate_of(p, marked) for p in tried}
    if fates == {"diverged"}:
        return Headline("No verdict.", f"{attacks} tried, and every network diverged.", [])
    if fates <= {"not exact", "diverged"}:
        reason = "There is no exact evidence for such keys: labels repeated are counted, and nothing counts as removed."
        return Headline("No verdict.", f"{attacks} tried. {reason}", [])
    cheap = sorted(
        (p for p in tried if p.bits is not None and p.lost is not None and p.lost < COST), key=lambda p: p.bits or 0.0
    )
    removing: dict[str, Point] = {}
    for p in cheap:
        if p.removed:
            removing.setdefault(p.attack, p)
    needed = f"which takes {number(result.match_bits)} bits"
    if removing:
        verb = "leaves" if len(removing) == 1 else "leave"
        reason = (
            f"{len(removing)} of {attacks} {verb} no match, {needed}, in a network that lost less than {COST:g} points."
        )
        named = [_point(p, result) for p in removing.values()]
        more = [f"and {counted(len(named[NAMED:]), 'more attack')}"] if named[NAMED:] else []
        return Headline("The mark was removed.", reason, named[:NAMED] + more)
    reason = (
        f"{attacks} tried. After none of them did a network that lost less than {COST:g} points "
        f"cease to be a match, {needed}."
    )
    nearest = [f"nearest: {_point(cheap[0], result)}"] if cheap else []
    return Headline("No attack removed the mark.", reason, nearest)


def fate_of(p: Point, marked: set[tuple[str, str]]) -> str:
    """What became of the mark: one of `FATES`; only what was shown before any attack can have been removed."""
    if p.outcome == "diverged":
        return "diverged"
    if p.bits is None:
        return "not exact"
    if (p.victim, p.key) not in marked:
        return "not shown"
    if p.outcome == "match":
        return "held"
    return "removed" if p.removed else "spoilt"


def marked_in(result: AttackResult) -> set[tuple[str, str]]:
    """Victims and keys that were a match as they were stolen, or have no exact evidence: no match can tell there."""
    return {(p.victim, p.key) for p in result.points if p.attack == "none" and p.outcome in ("match", "uncalibrated")}


def judged_in(result: AttackResult) -> list[Point]:
    """The attacks' points on victims and keys that had a mark to remove."""
    marked = marked_in(result)
    return [p for p in result.points if p.attack != "none" and (p.victim, p.key) in marked]


def _before(result: AttackResult) -> str:
    """What networks without a mark held as they were stolen."""
    bits = [p.bits for p in result.points if p.attack == "none" and p.bits is not None]
    most = f"the most evidence found was {number(max(bits))} bits" if bits else "no evidence could be measured"
    return f"As they were stolen, no network was a match: {most}."


def _point(p: Point, result: AttackResult) -> str:
    """An attack's point in words."""
    assert p.bits is not None
    assert p.lost is not None
    where = f" ({cut(visible(p.victim), 40)}, {cut(visible(p.key), 40)})" if several(result) else ""
    name = cut(visible(p.attack), 40)
    return f"{name} at {p.strength:g} leaves {number(p.bits)} bits, {number(p.lost)} points lost{where}"


def several(result: AttackResult) -> bool:
    """Whether a point must say which victim and key it is about."""
    return len({(p.victim, p.key) for p in result.points}) > 1


def unproven(result: AttackResult) -> list[str]:
    """Warns of networks in which the mark cannot be shown even before an attack."""
    return [
        f"As stolen, {visible(p.victim)} holds {number(p.bits)} bits of {visible(p.key)}, which is not a match: "
        "nothing counts as removed there."
        for p in result.points
        if p.attack == "none" and p.bits is not None and p.outcome != "match"
    ]
