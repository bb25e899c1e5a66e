"""Two claims on one model, both good: who marked it first?

A thief may mark a stolen model with a key of their own, and then both keys are in it. What tells the two apart is the
model that each party calls its original: the thief's comes from the owner's and carries the owner's mark; the owner's
knows nothing of the thief's. So each key is asked of the other's original. Without originals the earlier dated
commitment goes first; that is weaker, since a thief may put an old key on a model that they stole yesterday, and the
settlement says so.
"""

import datetime
from collections.abc import Sequence

from wmjax import stats
from wmjax.errors import UsageError
from wmjax.evidence import transcript
from wmjax.evidence.claim import Claim
from wmjax.evidence.facts import Court
from wmjax.evidence.judge import ask, check_stamps
from wmjax.evidence.judgement import Judgement, Settlement
from wmjax.grounds import Ground
from wmjax.suspects.contract import Suspect


def settle(
    claims: Sequence[Claim], judgements: Sequence[Judgement], court: Court, originals: Sequence[Suspect] = ()
) -> Settlement:
    """Who was first, of two claims on one suspect.

    Example:

        judgements = [wmjax.judge(claim, court) for claim in claims]
        first = wmjax.settle(claims, judgements, court, originals).first

    Args:
      claims: two, by different keys.
      judgements: what `judge` says of them, in the same order.
      court: what their judge has.
      originals: what each party calls its original model, in the same order; or none: then only dates decide.

    Returns:
      the number of the claim that was first, if that can be said, and why.

    Raises:
      UsageError: an original takes other images or classes than the other's key, or there are not two of each.
      AccessError: an original did not answer.
    """
    if (len(claims), len(judgements)) != (2, 2) or len(originals) not in (0, 2):
        raise UsageError("two claims are settled, each with its judgement, and with an original of each or none")
    matched = [judgement.verdict == "match" for judgement in judgements]
    if not any(matched):
        return Settlement(None, (Ground("neither-proven"),))
    if not all(matched):
        return Settlement(None, (Ground("one-proven", {"claim": matched.index(True)}),))
    if originals:
        return _by_originals(claims, judgements, originals)
    return _by_dates(claims, court)


def _by_originals(claims: Sequence[Claim], judgements: Sequence[Judgement], originals: Sequence[Suspect]) -> Settlement:
    """Each party's key, asked of the other's original."""
    own = [_bits(claims[n], originals[n]) >= judgements[n].needed_bits for n in (0, 1)]
    if own[0] != own[1]:
        first = own.index(True)
        why = (Ground("not-own-original", {"claim": 1 - first}), Ground("own-original", {"claim": first}))
        return Settlement(first, why)
    carried: list[bool] = []
    grounds: list[Ground] = []
    for number, other in ((0, 1), (1, 0)):
        bits, needed = _bits(claims[number], originals[other]), judgements[number].needed_bits
        carried.append(bits >= needed)
        told = {"claim": number, "original": other, "bits": round(bits, 3), "needed": needed}
        grounds.append(Ground("carries" if carried[-1] else "carries-not", told))
        grounds.append(_named(number, claims[number], originals[number]))
    if carried[0] != carried[1]:
        first = carried.index(True)
        return Settlement(first, (*grounds, Ground("descends", {"claim": 1 - first, "other": first})))
    return Settlement(None, (*grounds, Ground("both-carry" if all(carried) else "neither-carries")))


def _named(number: int, claim: Claim, original: Suspect) -> Ground:
    """Whether the original is a model that its owner's signed statements name."""
    if original.describe is None:
        return Ground("original-unknown", {"claim": number})
    tensors = original.describe().tensors
    signed = any(one.public.model and one.public.model.tensors == tensors for one in claim.commitments)
    return Ground("original-signed" if signed else "original-unsigned", {"claim": number})


def _bits(claim: Claim, suspect: Suspect) -> float:
    """The most evidence that a claim's triggers ever gave against a model, in the claim's order."""
    path = stats.play(claim.commitment.rule, ask(claim, suspect), transcript.truth(claim.rows))
    return float(path.evidence.max())


def _by_dates(claims: Sequence[Claim], court: Court) -> Settlement:
    """The earlier of two dates: of the released models where both are stamped, else of the keys."""
    for of_model, code in ((True, "model-earlier"), (False, "key-earlier")):
        dates = [_date(claim, court, of_model) for claim in claims]
        if dates[0] and dates[1] and dates[0] != dates[1]:
            first = int(dates[1] < dates[0])
            told = [date.isoformat(timespec="seconds") for date in dates if date]
            earlier = Ground(code, {"claim": first, "dated": told[first], "later": told[1 - first]})
            return Settlement(first, (earlier, Ground("dates-alone")))
    return Settlement(None, (Ground("no-order"), Ground("ask-originals")))


def _date(claim: Claim, court: Court, of_model: bool) -> datetime.datetime | None:
    stamps = [
        stamp.time
        for number, stamp in check_stamps(claim, court)
        if stamp.trusted and (not of_model or claim.commitments[number].public.model)
    ]
    return min(stamps, default=None)
