"""The judge's words: what was proven, what is taken on somebody's word, and what is missing, a sentence each."""

import datetime
import hashlib
import shlex
from typing import TYPE_CHECKING

from wmjax import stats

if TYPE_CHECKING:
    from wmjax.evidence.judge import Facts


def headline(outcome: stats.Outcome, facts: "Facts") -> str:
    """The verdict in one plain sentence."""
    suspect, owner = facts.claim.suspect, f"{facts.claim.owner[:16]}..."
    if outcome == "match":
        return f"{suspect} knows the secret key that the owner of {owner} committed to."
    if outcome == "no-match":
        return f"{suspect} repeats fewer of the secret labels than a copy would: its answers give no sign of this key."
    return f"It is not proven that {suspect} knows the secret key that the owner of {owner} committed to."


def missing(facts: "Facts", outcome: stats.Outcome, counted: float, needed: float, dated: float) -> tuple[str, ...]:
    """What a match still needs, and how to supply it; never empty where the evidence is too weak for one.

    Args:
      facts: of the claim.
      outcome: by the committed rule.
      counted: bits of evidence.
      needed: bits that make a match.
      dated: bits that would make one with a date from before the suspect.
    """
    lines = [_underived(facts), _unpicked(facts), _unasked(facts)]
    if counted < needed and outcome != "no-match":
        lines.append(_weak(facts, counted, needed, dated))
    return tuple(line for line in lines if line)


def _underived(facts: "Facts") -> str:
    """That the triggers were not made again from the secret; empty where they were."""
    source = facts.claim.commitment.spec.source
    if facts.regenerated:
        return ""
    if facts.claim.secret is None:
        return (
            "The secret is not revealed: that it gave the images and labels, and that they were not fitted to models, "
            "is the claimant's word. Ask for a claim made with --reveal."
        )
    name = source.name if source else ""
    return (
        f"The key's images start from the data set {name}, which is not at hand, so they were not made again: get it "
        "from elsewhere than the claimant, who could have made it up, and give it with --source."
    )


def _unpicked(facts: "Facts") -> str:
    """That the claimant may have picked the questions; empty where a judge did, or nobody."""
    if facts.court.nonce is not None or facts.whole:
        return ""
    return (
        "Only the claimant says who picked the questions: draw a nonce (openssl rand -hex 32), ask for a claim made "
        "for it, and give it with --nonce-from."
    )


def _unasked(facts: "Facts") -> str:
    """That the answers may not be the suspect's; empty where the judge asked it."""
    if facts.own is not None:
        return ""
    return "The answers are the claimant's word: ask the suspect yourself, with --suspect."


def _weak(facts: "Facts", counted: float, needed: float, dated: float) -> str:
    """That there is not enough evidence, or not enough without a date."""
    told = f"The evidence is {counted:.1f} bits"
    if facts.is_before_suspect or counted < dated:
        return f"{told}; a match needs {needed:.1f}.{_changed(facts)}"
    why = "no authority that you trust has time-stamped it (--tsa names whom you trust)"
    if facts.dated and facts.court.since:
        why = f"its time stamp of {_day(facts.dated)} is not from before the suspect, of {_day(facts.court.since)}"
    elif facts.dated:
        why = f"it is of {_day(facts.dated)}; say when the suspect first appeared, with --suspect-since"
    elif reasons := sorted({stamp.why for _, stamp in facts.stamps}):
        why = f"its time stamp is not believed: {reasons[0]}"
    return (
        f"{told}, enough for a key that was committed to before the suspect appeared, which is not shown: {why}. "
        f"Without a date the claimant may have searched for a secret that fits, and a match needs {needed:.1f} bits."
    )


def _changed(facts: "Facts") -> str:
    if not facts.differing:
        return ""
    return f" The suspect answers otherwise than the transcript says, {facts.differing} times: was it changed since?"


def proven(facts: "Facts") -> tuple[str, ...]:
    """What was checked."""
    claim, spec = facts.claim, facts.claim.commitment.spec
    opened = sum(row.opening is not None for row in claim.rows)
    lines = [f"The commitment and the claim are signed by one key, {claim.owner}."]
    lines += [
        f"The key was committed to by {_minute(stamp.time)}: time stamp of {stamp.authority}."
        for number, stamp in facts.stamps
        if stamp.trusted and not number
    ]
    lines += [
        f"The model {attached.public.model.name} was named as carrying the key by {_minute(stamp.time)}: time stamp of "
        f"{stamp.authority}."
        for number, stamp in facts.stamps
        if stamp.trusted and number and (attached := claim.commitments[number]).public.model
    ]
    lines.append(f"All {opened} triggers shown here were committed to: their Merkle proofs lead to the signed root.")
    if facts.court.nonce is not None:
        lines.append("The questions are those that your nonce picks, in its order, with none left out.")
    elif facts.whole:
        lines.append("The whole key is in the transcript: nobody chose among its triggers.")
    if facts.regenerated:
        origin = f"your copy of {spec.source.name}" if spec.source else "the written standard alone"
        lines.append(
            f"The revealed secret and {origin} give all {spec.triggers} images and labels of the commitment again: "
            "none of them was fitted to a model."
        )
    lines.append("The claimant's figures follow from the transcript by the rule that was committed to.")
    if facts.own is not None:
        lines.append("The suspect was asked again here, and its own answers were weighed.")
    if facts.same_weights:
        lines.append("The suspect is, weight for weight, the model that the claim names.")
    return tuple(lines)


def assumed(facts: "Facts") -> tuple[str, ...]:
    """What is taken on somebody's word, and what no such claim can show."""
    claim, court = facts.claim, facts.court
    lines = [f"Whose the signing key {claim.owner[:16]}... is: compare it with what its owner publishes."]
    if court.nonce is not None:
        lines.append("The nonce was drawn at random by the challenger, after he had seen the commitment.")
    if facts.is_before_suspect and court.since:
        lines.append(
            f"The suspect did not exist before {_minute(court.since)}; the authority's clock and key are sound. Nobody "
            "tried 2^64 secrets, or had as many stamped, against models from before that it may resemble."
        )
    else:
        lines.append("Nobody can try 2^128 secrets; what the commitment says of its date is the claimant's own clock.")
    if claim.commitment.spec.source and facts.regenerated:
        lines.append("Your copy of the source data set comes from where the claimant could not write.")
    if facts.own is not None:
        lines.append("The model that was asked here is the suspect.")
    if facts.own is not None and facts.same_weights is False:
        lines.append("The claim names a model with other weights: a copy that went on being trained, or another one.")
    if any(o.owner != claim.owner and o.commitment.root == claim.commitment.root for o in court.others):
        lines.append("Another signer claims the very same triggers: whose they were first, only dates can show.")
    if facts.differing:
        lines.append(f"{facts.differing} answers differ from the claimant's transcript; yours were weighed.")
    if spent := sum(row.opening is None for row in claim.rows):
        lines.append(f"{spent} triggers were spent before, by the claimant's word; they count against him.")
    if facts.dated and _made(claim.commitment.created) > facts.dated + datetime.timedelta(days=1):
        lines.append("The clock of the commitment is ahead of its time stamp; only the stamp counts.")
    lines += [
        "The bound is for this one claim: who tries many models or many keys finds one by chance as many times as "
        "often.",
        "How the suspect came to know the key is for people to judge: a copy, a student of a copy, or training on "
        "triggers that were made public.",
    ]
    return tuple(lines)


def dates(facts: "Facts") -> tuple[tuple[str, str], ...]:
    """What happened when."""
    claim = facts.claim
    told = [
        (_made(claim.commitment.created), "the key was made, by the owner's own clock"),
        (_made(claim.made), "the claim was made, by the claimant's own clock"),
        *((stamp.time, f"time stamp of {stamp.authority}{_not_believed(stamp.trusted)}") for _, stamp in facts.stamps),
    ]
    if facts.court.since:
        told.append((facts.court.since, "the suspect first appeared, as the judge was told"))
    in_order = sorted(told, key=lambda pair: pair[0])
    return tuple((words, when.astimezone(datetime.UTC).isoformat(timespec="seconds")) for when, words in in_order)


def _not_believed(trusted: bool) -> str:
    return "" if trusted else ", not believed"


def digests(facts: "Facts") -> dict[str, str]:
    """SHA-256 of what was judged."""
    claim = facts.claim
    told = {
        "claim file": claim.sha256,
        "commitment (its id)": claim.commitment.id,
        "Merkle root": claim.commitment.root,
    }
    for number, attached in enumerate(claim.commitments):
        told[f"commitment file {number + 1}"] = hashlib.sha256(attached.public.raw).hexdigest()
        if model := attached.public.model:
            told[f"released model {model.name}: files (dirHash)"] = model.files
            told[f"released model {model.name}: tensors"] = model.tensors
    if claim.model:
        told[f"suspect {claim.model.name}: files (dirHash)"] = claim.model.files
        told[f"suspect {claim.model.name}: tensors"] = claim.model.tensors
    told["nonce (not a digest)"] = claim.nonce.hex()
    return told


def command(facts: "Facts") -> str:
    """The shell line that judges the claim again, with all that this judge brought."""
    court, words = facts.court, ["wmjax", "judge", "claim.json", "--suspect", "MODEL"]
    if court.nonce is not None:
        words += ["--nonce-from", court.nonce.hex()]
    if court.since:
        words += ["--suspect-since", court.since.isoformat()]
    for authority in court.authorities:
        words += ["--tsa", authority.name]
    if court.source and facts.claim.commitment.spec.source:
        words += ["--source", facts.claim.commitment.spec.source.name]
    return shlex.join(words) + f" --alpha {court.alpha:g}"


def _made(text: str) -> datetime.datetime:
    """A time by somebody's own clock; one without an offset is taken for UTC."""
    when = datetime.datetime.fromisoformat(text)
    return when if when.tzinfo else when.replace(tzinfo=datetime.UTC)


def _day(when: datetime.datetime) -> str:
    return when.astimezone(datetime.UTC).date().isoformat()


def _minute(when: datetime.datetime) -> str:
    return when.astimezone(datetime.UTC).strftime("%Y-%m-%d %H:%M UTC")
