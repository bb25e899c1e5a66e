"""Claims by two signers on one model, both good: who marked it first?

*One key, two signers.* Anybody who saw a secret can sign it again, and everything else follows from it. So who was
first follows from dates alone; where one is missing the order is unknown.

*Two keys.* A thief may mark a stolen model with a key of their own, and then both keys are in it. What tells the two
apart is the model that each party calls its original: the thief's comes from the owner's and carries the owner's mark;
the owner's knows nothing of the thief's. So each key is asked of each original, and a party was first only if

* each original carries its own party's key, at the bits of a match;
* the other's original carries theirs, and theirs shows no sign of the other's;
* theirs is, weight for weight, a model that they signed for, with a time stamp that the judge trusts;
* it is older than the suspect and than the other's original, which is as old as its own such time stamp says; without
  one no older than that of its key, since a key is stamped before it is embedded.

Anything else leaves it open, with the reasons: a key can be older than the model that it was put on, so dates of keys
settle nothing; an original may be somebody else's network, or have learned triggers that were published. A settlement
still takes on trust that the other's triggers were secret until the first original was dated: triggers that are put
about in time, for an owner to learn unawares, look like a theft.
"""

import dataclasses
import datetime
from collections.abc import Sequence

from wmjax.errors import UsageError
from wmjax.evidence.checks import check_stamps, dated
from wmjax.evidence.claim import Claim, share_triggers
from wmjax.evidence.facts import Court
from wmjax.evidence.judge_asking import ask
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
      claims: two, by two signers; `hear` takes any.
      judgements: what `judge` says of them, in the same order.
      court: what their judge has.
      originals: what each party calls its original model, in the same order; without them two keys stay open.

    Returns:
      the number of the claim that was first, if that can be said, and why.

    Raises:
      UsageError: an original takes other images or classes than the other's key, there are not two of each, or both
        claims are by one signer, who disputes nothing.
      AccessError: an original did not answer.
    """
    if (len(claims), len(judgements)) != (2, 2) or len(originals) not in (0, 2):
        raise UsageError("two claims are settled, each with its judgement, and with an original of each or none")
    if claims[0].owner == claims[1].owner:
        raise UsageError("two claims by one signer leave nothing to settle: wmjax.hear says what they come to")
    matched = [judgement.verdict == "match" for judgement in judgements]
    if not any(matched):
        return Settlement(None, (Ground("neither-proven"),))
    if not all(matched):
        return Settlement(None, (Ground("one-proven", {"claim": matched.index(True)}),))
    if share_triggers(*claims):
        return _by_dates(claims, court)
    if not originals:
        return Settlement(None, (*_key_dates(claims, court), Ground("ask-originals")))
    return _by_originals(claims, judgements, court, originals)


def _by_dates(claims: Sequence[Claim], court: Court) -> Settlement:
    """Of two signers of one key: whose commitment is shown to be older."""
    earlier = _key_dates(claims, court)
    if not earlier:
        return Settlement(None, (Ground("two-signers-open"),))
    return Settlement(int(earlier[0].values["claim"]), (Ground("one-key"), *earlier))


def _key_dates(claims: Sequence[Claim], court: Court) -> tuple[Ground, ...]:
    """Which key is dated earlier, where both are dated."""
    dates = [dated(claim, court) for claim in claims]
    if not dates[0] or not dates[1] or dates[0] == dates[1]:
        return ()
    first = int(dates[1] < dates[0])
    told = [date.isoformat(timespec="seconds") for date in dates if date]
    return (Ground("key-earlier", {"claim": first, "dated": told[first], "later": told[1 - first]}),)


@dataclasses.dataclass(frozen=True)
class _Original:
    """What is known of the model that a party calls its original.

    Attributes:
      own, other: bits that its own party's key and the other's give on it.
      carries, clean: whether the own key is there; whether there is no sign of the other's.
      learned: whether the other's key is there.
      released: by when the party had signed for these weights; None if no trusted stamp says so.
      keyed: by when its key was committed to; None likewise.
    """

    own: float
    other: float
    carries: bool
    clean: bool
    learned: bool
    released: datetime.datetime | None
    keyed: datetime.datetime | None


def _by_originals(
    claims: Sequence[Claim], judgements: Sequence[Judgement], court: Court, originals: Sequence[Suspect]
) -> Settlement:
    """Each party's key, asked of each original."""
    bits = [[_bits(claim, original) for original in originals] for claim in claims]
    needed = [judgement.needed_bits for judgement in judgements]
    shown = [
        _Original(
            own=bits[n][n],
            other=bits[1 - n][n],
            carries=bits[n][n] >= needed[n],
            clean=bits[1 - n][n] < claims[1 - n].commitment.rule.match_bits / 2,
            learned=bits[1 - n][n] >= needed[1 - n],
            released=_released(claims[n], originals[n], court),
            keyed=dated(claims[n], court),
        )
        for n in (0, 1)
    ]
    told = tuple(_told(n, key, bits[key][n], needed[key]) for n in (0, 1) for key in (n, 1 - n))
    first = 0 if shown[0].clean else 1
    if doubts := _doubts(shown) or _doubts_of_dates(first, shown, court.since):
        return Settlement(None, (*told, *doubts))
    return Settlement(first, (*told, *_order(first, shown), Ground("secret-until-dated", {"claim": 1 - first})))


def _told(original: int, key: int, bits: float, needed: float) -> Ground:
    code = "carries" if bits >= needed else "carries-not"
    return Ground(code, {"claim": key, "original": original, "bits": round(bits, 3), "needed": needed})


def _doubts(shown: Sequence[_Original]) -> tuple[Ground, ...]:
    """Why the marks in the originals settle nothing: every reason; none where they do."""
    found = [Ground("not-own-original", {"claim": n}) for n in (0, 1) if not shown[n].carries]
    clean, learned = [one.clean for one in shown], [one.learned for one in shown]
    if all(clean):
        found.append(Ground("neither-carries"))
    elif all(learned):
        found.append(Ground("both-carry"))
    elif clean[0] == clean[1] or not learned[clean.index(False)]:
        found.append(Ground("traces"))
    return tuple(found)


def _doubts_of_dates(first: int, shown: Sequence[_Original], since: datetime.datetime | None) -> tuple[Ground, ...]:
    """Why the dates of two originals do not let the model of one come from that of `first`."""
    own, other = shown[first].released, shown[1 - first].released or shown[1 - first].keyed
    undated = [n for n, date in ((first, own), (1 - first, other)) if date is None]
    if own is None or other is None:
        return tuple(Ground("original-undated", {"claim": n}) for n in undated)
    found = []
    if own >= other:
        found.append(Ground("clean-later", {"claim": first}))
    if since is None:
        found.append(Ground("since-unknown"))
    elif own >= since:
        found.append(Ground("original-late", {"claim": first}))
    return tuple(found)


def _order(first: int, shown: Sequence[_Original]) -> tuple[Ground, ...]:
    """The reason of a settlement."""
    own, other = shown[first], shown[1 - first]
    told = {"claim": first, "dated": _told_date(own.released)}
    if other.released:
        earlier = Ground("model-earlier", {**told, "later": _told_date(other.released)})
    else:
        earlier = Ground("before-key", {**told, "other": 1 - first, "later": _told_date(other.keyed)})
    return earlier, Ground("descends", {"claim": 1 - first, "other": first})


def _told_date(when: datetime.datetime | None) -> str:
    return when.isoformat(timespec="seconds") if when else ""


def _released(claim: Claim, original: Suspect, court: Court) -> datetime.datetime | None:
    """By when the party had signed for these very weights, as a trusted authority says."""
    if original.describe is None:
        return None
    told = original.describe()
    stamps = [
        stamp.time
        for number, stamp in check_stamps(claim, court)
        if stamp.trusted and (model := claim.commitments[number].public.model) and model.tensors == told.tensors
    ]
    for release in court.releases:
        if release.dated and release.says(claim.owner, claim.commitment.id, told):
            stamps.append(release.dated)
    return min(stamps, default=None)


def _bits(claim: Claim, suspect: Suspect) -> float:
    """The most evidence that a claim's triggers ever gave against a model, in the claim's order."""
    return max(float(claim.weigh(ask(claim, each)).evidence.max()) for each in suspect.asked)
