"""Two claims on one model, both good: who marked it first?

A thief may mark a stolen model with a key of his own, and then both keys are in it. What tells the two apart is the
model that each party calls its original: the thief's comes from the owner's and carries the owner's mark, the owner's
knows nothing of the thief's. So each key is asked of the other's original. Without originals the earlier dated
commitment goes first; that is weaker, since a thief may put an old key on a model that he stole yesterday, and the
words say so.
"""

import datetime
from collections.abc import Sequence

from wmjax import stats
from wmjax.evidence import transcript
from wmjax.evidence.claim import Claim
from wmjax.evidence.judge import Court, ask, check_stamps
from wmjax.evidence.judgement import Judgement, Settlement
from wmjax.suspects.contract import Suspect

_OLD_KEY = (
    "This rests on dates alone: a key can be older than the model that it was put on. Have each key tested on the "
    "other's original (--original twice, in the order of the claims) before you rely on it."
)


def settle(
    claims: Sequence[Claim], judgements: Sequence[Judgement], court: Court, originals: Sequence[Suspect] = ()
) -> Settlement:
    """Who was first, of two claims on one suspect.

    Args:
      claims: two, by different keys.
      judgements: of them, in the same order.
      court: before which they were judged.
      originals: what each party calls its original model, in the same order; or none.

    Raises:
      UsageError, AccessError: an original cannot be asked about the other's key.
    """
    matched = [judgement.verdict == "match" for judgement in judgements]
    if not all(matched):
        if not any(matched):
            return Settlement(None, ("Neither claim is proven, so there is nothing to settle.",))
        why = "a second mark may have damaged the first one, so this does not say whose was first."
        return Settlement(None, (f"Only claim {matched.index(True) + 1} is proven; the other one is not, but {why}",))
    if originals:
        return _by_originals(claims, judgements, originals)
    return _by_dates(claims, court)


def _by_originals(claims: Sequence[Claim], judgements: Sequence[Judgement], originals: Sequence[Suspect]) -> Settlement:
    """Each party's key, asked of the other's original."""
    carried, words = [], []
    own = [_bits(claims[n], originals[n]) >= judgements[n].needed_bits for n in (0, 1)]
    if own in ([True, False], [False, True]):
        first = own.index(True)
        why = f"What claim {2 - first} calls its original does not carry its own key: it is no original."
        return Settlement(first, (why, f"That of claim {first + 1} carries its own."))
    for number, other in ((0, 1), (1, 0)):
        bits = _bits(claims[number], originals[other])
        carries = bits >= judgements[number].needed_bits
        carried.append(carries)
        words.append(
            f"The original of claim {other + 1} {'carries' if carries else 'does not carry'} the key of claim "
            f"{number + 1}: {bits:.1f} bits of {judgements[number].needed_bits:.1f}."
        )
        words += _named(number, claims[number], originals[number])
    if carried == [True, False]:
        return Settlement(
            0, (*words, "So the model of claim 2 comes from that of claim 1, and not the other way round.")
        )
    if carried == [False, True]:
        return Settlement(
            1, (*words, "So the model of claim 1 comes from that of claim 2, and not the other way round.")
        )
    why = "Each original carries the other's mark: at least one of them is no original."
    if not any(carried):
        why = (
            "Neither original carries the other's mark: the suspect may come from both, or one of them is no original."
        )
    return Settlement(None, (*words, why))


def _named(number: int, claim: Claim, original: Suspect) -> list[str]:
    """Whether the original is a model that its owner's signed statements name."""
    if original.describe is None:
        return [f"That the model given for claim {number + 1} is its original is somebody's word."]
    tensors = original.describe().tensors
    if any(one.public.model and one.public.model.tensors == tensors for one in claim.commitments):
        return [f"The original of claim {number + 1} is, weight for weight, the model that its owner signed for."]
    return [
        f"The model given for claim {number + 1} is in none of its owner's statements: that it is the original is a "
        f"word."
    ]


def _bits(claim: Claim, suspect: Suspect) -> float:
    """The most evidence that a claim's triggers ever gave against a model, in the claim's order."""
    path = stats.play(claim.commitment.rule, ask(claim, suspect), transcript.truth(claim.rows))
    return float(path.evidence.max())


def _by_dates(claims: Sequence[Claim], court: Court) -> Settlement:
    """The earlier of two dates: of the released models where both are stamped, else of the keys."""
    for of_model, what in ((True, "The released model"), (False, "The key")):
        dates = [_date(claim, court, of_model) for claim in claims]
        if dates[0] and dates[1] and dates[0] != dates[1]:
            first = int(dates[1] < dates[0])
            told = [date.isoformat(timespec="seconds") for date in dates if date]
            words = f"{what} of claim {first + 1} is time-stamped {told[first]}, that of the other {told[1 - first]}."
            return Settlement(first, (words, _OLD_KEY))
    return Settlement(
        None,
        (
            "The claims have no two time stamps, by authorities that you trust, of which one is earlier.",
            "Have each key tested on the other's original: --original twice, in the order of the claims.",
        ),
    )


def _date(claim: Claim, court: Court, of_model: bool) -> datetime.datetime | None:
    stamps = [
        stamp.time
        for number, stamp in check_stamps(claim, court)
        if stamp.trusted and (not of_model or claim.commitments[number].public.model)
    ]
    return min(stamps, default=None)
