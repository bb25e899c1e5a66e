"""All claims on one suspect that lie before a judge: each judged, whatever is beside it, and who of them was first.

A file that is not a claim, or a false one, is listed with its reason and changes nothing for the others. One that the
suspect gave no answer about is listed too, and leaves open what another owner's claims come to: a thief's service may
be silent about the owner's triggers alone. What the whole
comes to is the settlement's; of claims that leave nothing to settle, because they are by one owner, what they say: one
key that is in the suspect suffices, since thefts leave one kind of key and destroy another. To choose among keys is to
search among secrets, which the bits that each claim needs have paid for.
"""

import dataclasses
from collections.abc import Callable, Sequence

from wmjax.data.dataset import Dataset
from wmjax.errors import AccessError, AnswerError, InvalidFile, MisfitError, UsageError, WmjaxError
from wmjax.evidence.checks import check_court
from wmjax.evidence.claim import Claim
from wmjax.evidence.claim_file import read_claim
from wmjax.evidence.conflict import settle
from wmjax.evidence.facts import Court
from wmjax.evidence.judge import judge
from wmjax.evidence.judgement import Judgement, Refused, Settlement
from wmjax.grounds import Ground
from wmjax.suspects.contract import Suspect

AtHand = Callable[[Claim], tuple[Suspect | None, Sequence[Dataset]]]


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


def hear(
    claims: Sequence[Claim | Refused],
    court: Court,
    originals: Sequence[Suspect] = (),
    *,
    at_hand: AtHand | None = None,
) -> Hearing:
    """Judges each claim beside the others, and settles who was first.

    Example:

        claims = [wmjax.read_claim(path.read_bytes(), str(path)) for path in paths]
        hearing = wmjax.hear(claims, wmjax.Court(nonce, suspect))

    Args:
      claims: those that are any; in place of a file that is none, why, as `read_all` gives it.
      court: what the judge has; its `others` are the claims.
      originals: what each of two parties calls its original model, in the order of the claims; or none.
      at_hand: gives the suspect, opened for a claim's images, and the sources for it; by default those of `court`.

    Raises:
      UsageError: something in `court`, or an original, cannot be.
      AccessError, AnswerError: the suspect gives no usable answer about a claim that is alone; also what `at_hand`
        raises about such a one.
    """
    check_court(court)
    court = dataclasses.replace(court, others=[one for one in claims if isinstance(one, Claim)])
    judgements = tuple(_judged(one, court, at_hand, alone=len(claims) == 1) for one in claims)
    if len(claims) == 1 or not any(isinstance(one, Judgement) for one in judgements):
        unasked = [one for one in judgements if isinstance(one, Refused) and one.unasked]
        return Hearing(judgements, None, _verdict((*unasked, *judgements)[0]))
    settlement = _settled(claims, judgements, court, originals)
    return Hearing(judgements, settlement, settlement.verdict)


def _refused(error: WmjaxError, source: str | None = None, *, unasked: bool = False) -> Refused:
    return Refused(error.code, " ".join(str(error).split()), error.exit_code, source, unasked)


def _judged(claim: Claim | Refused, court: Court, at_hand: AtHand | None, *, alone: bool) -> Judgement | Refused:
    if isinstance(claim, Refused):
        return claim
    source, is_open = None, False
    try:
        if at_hand:
            suspect, sources = at_hand(claim)
            court = dataclasses.replace(court, suspect=suspect, sources=sources)
        source, is_open = court.named(claim.commitment.spec), True
        return judge(claim, court)
    except (AccessError, AnswerError, InvalidFile, UsageError) as error:
        is_its_fault = isinstance(error, MisfitError) or (is_open and isinstance(error, InvalidFile))
        if alone and (not is_open or isinstance(error, AccessError | AnswerError)):
            raise
        return _refused(error, source, unasked=not is_its_fault)


def _verdict(judged: Judgement | Refused) -> str:
    return judged.verdict if isinstance(judged, Judgement) else judged.code


def _settled(
    claims: Sequence[Claim | Refused],
    judgements: Sequence[Judgement | Refused],
    court: Court,
    originals: Sequence[Suspect],
) -> Settlement:
    """Who was first of those that are valid, by their numbers among all."""
    files: dict[str, tuple[int, Claim, Judgement | Refused]] = {}  # one that is laid before the judge twice is one
    for place, (claim, one) in enumerate(zip(claims, judgements, strict=True)):
        if isinstance(claim, Claim):
            files.setdefault(claim.sha256, (place, claim, one))
    valid = [place for place, _, one in files.values() if isinstance(one, Judgement)]
    pairs = [(claim, one) for _, claim, one in files.values() if isinstance(one, Judgement)]
    unasked = [place for place, _, one in files.values() if isinstance(one, Refused) and one.unasked]
    owners = {claim.owner for _, claim, one in files.values() if isinstance(one, Judgement) or one.unasked}
    if unasked and len(owners) > 1:
        return Settlement(None, (Ground("unasked-claim", {"claim": unasked[0]}),))
    if len(pairs) == 1 and not unasked:
        return Settlement(None, (Ground("only-valid", {"claim": valid[0], "verdict": pairs[0][1].verdict}),))
    if len(owners) == 1:
        said = _together([judgement for _, judgement in pairs], whole=not unasked)
        return Settlement(None, (Ground("one-owner", {"verdict": said}),))
    if len(pairs) > 2:
        keys = {(claim.owner, claim.commitment.id) for claim, _ in pairs}
        return Settlement(None, (Ground("many-keys", {"keys": len(keys)}),))
    try:
        found = settle([claim for claim, _ in pairs], [judgement for _, judgement in pairs], court, originals)
    except (AccessError, AnswerError, MisfitError) as error:
        found = Settlement(None, (Ground("unasked-original", {"why": _refused(error).reason}),))
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


def _together(judgements: Sequence[Judgement], *, whole: bool) -> str:
    """What one owner's keys come to; `whole` says whether all were judged."""
    said: dict[str, set[str]] = {}
    for judgement in judgements:
        said.setdefault(judgement.key_id, set()).add(judgement.verdict)
    if {"match"} in said.values():  # of a key about which two claims differ neither counts
        return "match"
    return "no-match" if whole and all(verdicts == {"no-match"} for verdicts in said.values()) else "inconclusive"
