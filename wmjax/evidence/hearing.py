"""All claims on one suspect that lie before a judge: each judged, whatever is beside it, and who of them was first.

A file that is not a claim, or a false one, is listed with its reason and changes nothing for the others. What the whole
comes to is the settlement's; of claims that leave nothing to settle, because they are by one owner, what they say: one
key that is in the suspect suffices, since thefts leave one kind of key and destroy another. To choose among keys is to
search among secrets, which the bits that each claim needs have paid for.
"""

import dataclasses
from collections.abc import Sequence

from wmjax.errors import InvalidFile, UsageError, WmjaxError
from wmjax.evidence.checks import check_court
from wmjax.evidence.claim import Claim, read_claim
from wmjax.evidence.conflict import settle
from wmjax.evidence.facts import Court
from wmjax.evidence.judge import judge
from wmjax.evidence.judgement import Judgement, Refused, Settlement
from wmjax.grounds import Ground
from wmjax.suspects.contract import Suspect


@dataclasses.dataclass(frozen=True, eq=False)
class Hearing:
    """What came of it.

    Attributes:
      judgements: of each file, in their order.
      settlement: of several; None of one alone.
      outcome: `match`, `no-match`, `inconclusive`, or where no claim could be judged the first one's `Refused.code`.
    """

    judgements: tuple[Judgement | Refused, ...]
    settlement: Settlement | None
    outcome: str


def read_all(files: Sequence[tuple[str, bytes]]) -> tuple[Claim | Refused, ...]:
    """Claims by name and bytes; those that are none are listed as such."""
    found: list[Claim | Refused] = []
    for name, raw in files:
        try:
            found.append(read_claim(raw, name))
        except InvalidFile as error:
            found.append(_refused(error))
    return tuple(found)


def hear(claims: Sequence[Claim | Refused], court: Court, originals: Sequence[Suspect] = ()) -> Hearing:
    """Judges each claim beside the others, and settles who was first.

    Args:
      claims: as `read_all` gives them.
      court: what the judge has; its `others` are the claims.
      originals: what each of two parties calls its original model, in the order of the claims; or none.

    Raises:
      UsageError: something in `court`, or an original, cannot be.
      AccessError: the suspect gives no usable answer.
    """
    check_court(court)
    court = dataclasses.replace(court, others=[one for one in claims if isinstance(one, Claim)])
    judgements = tuple(_judged(one, court) for one in claims)
    valid = [place for place, one in enumerate(judgements) if isinstance(one, Judgement)]
    if len(claims) == 1 or not valid:
        return Hearing(judgements, None, _verdict(judgements[0]))
    settlement = _settled(claims, judgements, valid, court, originals)
    return Hearing(judgements, settlement, settlement.verdict)


def _refused(error: WmjaxError) -> Refused:
    return Refused(error.code, " ".join(str(error).split()), error.exit_code)


def _judged(claim: Claim | Refused, court: Court) -> Judgement | Refused:
    if isinstance(claim, Refused):
        return claim
    try:
        return judge(claim, court)
    except (InvalidFile, UsageError) as error:
        return _refused(error)


def _verdict(judged: Judgement | Refused) -> str:
    return judged.verdict if isinstance(judged, Judgement) else judged.code


def _settled(
    claims: Sequence[Claim | Refused],
    judgements: Sequence[Judgement | Refused],
    valid: Sequence[int],
    court: Court,
    originals: Sequence[Suspect],
) -> Settlement:
    """Who was first of those that are valid, by their numbers among all."""
    pairs = [
        (c, j) for c, j in zip(claims, judgements, strict=True) if isinstance(c, Claim) and isinstance(j, Judgement)
    ]
    if len(pairs) == 1:
        return Settlement(None, (Ground("only-valid", {"claim": valid[0], "verdict": pairs[0][1].verdict}),))
    if len({claim.owner for claim, _ in pairs}) == 1:
        return Settlement(None, (Ground("one-owner", {"verdict": _together([judgement for _, judgement in pairs])}),))
    if len(pairs) > 2:
        keys = {(claim.owner, claim.commitment.id) for claim, _ in pairs}
        return Settlement(None, (Ground("many-keys", {"keys": len(keys)}),))
    found = settle([claim for claim, _ in pairs], [judgement for _, judgement in pairs], court, originals)
    return dataclasses.replace(_renumbered(found, valid), originals=len(originals))


def _renumbered(settlement: Settlement, valid: Sequence[int]) -> Settlement:
    """With the claims' numbers among all."""
    numbers = ("claim", "other", "original")
    grounds = tuple(
        Ground(ground.code, {n: valid[v] if n in numbers else v for n, v in ground.values.items()})
        for ground in settlement.grounds
    )
    first = None if settlement.first is None else valid[settlement.first]
    return dataclasses.replace(settlement, first=first, grounds=grounds)


def _together(judgements: Sequence[Judgement]) -> str:
    """What one owner's keys come to."""
    said: dict[str, set[str]] = {}
    for judgement in judgements:
        said.setdefault(judgement.key_id, set()).add(judgement.verdict)
    if {"match"} in said.values():  # of a key about which two claims differ neither counts
        return "match"
    return "no-match" if all(verdicts == {"no-match"} for verdicts in said.values()) else "inconclusive"
