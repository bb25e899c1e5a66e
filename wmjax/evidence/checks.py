"""What a judge checks of a claim before it is weighed: each raises `InvalidFile` where something in it is false.

The numbers are those of "What a judge checks" in FORMAT.md; `read_claim` does the first, `judge` the seventh.
"""

import datetime

import numpy as np

from wmjax import stats
from wmjax.data.dataset import Dataset
from wmjax.errors import InvalidFile, UsageError
from wmjax.evidence import transcript
from wmjax.evidence.claim import Claim, picks
from wmjax.evidence.facts import Court
from wmjax.evidence.pledge import check_pledge
from wmjax.evidence.timestamps import Stamp, check_past
from wmjax.keys.keyset import check_material, derive_leaves
from wmjax.keys.specify import check_against_scheme
from wmjax.text import bare

LARGEST_TABLE = 1 << 22  # answers times classes, of which several tables of floats are made


def check_court(court: Court) -> None:
    """What the judge brought can be."""
    if not 0 < court.alpha < 1:
        raise UsageError(f"`alpha` {court.alpha}: must be between 0 and 1")
    if court.since is not None and court.since.utcoffset() is None:
        raise UsageError(f"`since` {court.since} has no offset from UTC: give it one, e.g. tzinfo=datetime.UTC")


def check_spec(claim: Claim) -> None:
    """The key is of a kind that exact evidence exists for."""
    spec = claim.commitment.spec
    try:
        check_against_scheme(spec)
    except UsageError as error:
        raise InvalidFile(f"the claim's key cannot be: {bare(error)}") from error
    if not spec.policy.exact:
        raise InvalidFile(f"the claim's key has {spec.labels} labels: no exact evidence exists for it")
    if (kind := claim.commitment.rule.evidence) != spec.policy.evidence:
        raise InvalidFile(f"the claim's rule weighs {kind}, which is not for {spec.labels} labels")
    check_material(spec, claim.material)
    arrays = claim.material.arrays.values() if claim.material else ()
    more = sum(array.size for array in arrays) // spec.triggers
    if len(claim.rows) * (max(spec.classes, transcript.scores_of(claim.rows) or 0) + more) > LARGEST_TABLE:
        raise InvalidFile(
            f"the claim has {len(claim.rows)} rows of {spec.classes} classes: more than {LARGEST_TABLE} stakes"
        )


def check_picks(claim: Claim) -> None:
    """The transcript has the triggers that its nonce picks, in that order, and not too many."""
    indices = [row.index for row in claim.rows]
    if len(indices) > claim.commitment.rule.max_queries:
        raise InvalidFile(f"{len(indices)} triggers were asked; {claim.commitment.rule.max_queries} were committed to")
    for place, (told, picked) in enumerate(
        zip(indices, picks(claim.commitment, claim.nonce, len(indices)), strict=True), 1
    ):
        if told != picked:
            raise InvalidFile(f"row {place} of the transcript asks trigger {told}, where the nonce picks {picked}")


def check_proofs(claim: Claim) -> None:
    """Each opened trigger is in the commitment's Merkle tree."""
    for row in claim.rows:
        if row.opening and not claim.has(row):
            raise InvalidFile(f"trigger {row.index} is not in the commitment: its proof does not lead to the root")


def check_nonce(claim: Claim, court: Court) -> None:
    """The nonce is the judge's own."""
    if court.nonce is not None and court.nonce != claim.nonce:
        raise InvalidFile("the claim was made for another nonce than the challenger's: it answers other questions")


def check_unspent(claim: Claim, court: Court) -> None:
    """No trigger that another claim opened is opened again, also where the same triggers were committed to anew.

    Another signer's claim counts only where both are dated, and it before this one: anyone who saw a secret can sign it
    again, and have that stamped. An undated claim beside such a one is not a false one; `lacks.two_signers` has it.
    """
    for other in court.others:
        if other.sha256 == claim.sha256 or (other.owner != claim.owner and not _is_earlier(other, claim, court)):
            continue
        if again := [claim.opened[entry] for entry in claim.opened if entry in other.opened]:
            raise InvalidFile(
                f"trigger {min(again)} was opened in another claim already: a spent trigger proves nothing"
            )


def _is_earlier(other: Claim, claim: Claim, court: Court) -> bool:
    """Whether another signer's key is shown to be older than the claim's."""
    theirs, own = dated(other, court), dated(claim, court)
    return theirs is not None and own is not None and theirs < own


def check_stamps(claim: Claim, court: Court) -> tuple[tuple[int, Stamp], ...]:
    """Every time stamp is over its commitment; those of trusted authorities are genuine."""
    return tuple(
        (number, check_past(token, attached.public.raw, court.authorities))
        for number, attached in enumerate(claim.commitments)
        for token in attached.tokens
    )


def dated(claim: Claim, court: Court) -> datetime.datetime | None:
    """By when a claim's key was committed to, as a trusted authority says; None where nothing shows it."""
    try:
        return min((stamp.time for _, stamp in check_stamps(claim, court) if stamp.trusted), default=None)
    except InvalidFile:  # another's false stamp must not spoil this claim
        return None


def check_secret(claim: Claim, source: Dataset | None) -> bool | None:
    """A revealed secret gives each opened trigger again: image, label and salt; None where that cannot be told.

    Triggers that are not opened count for nothing, so only the opened ones are made: the file pays for each of them.
    """
    spec = claim.commitment.spec
    if claim.secret is None or (spec.source and source is None):
        return None
    opened = [row.opening.leaf for row in claim.rows if row.opening]
    try:
        made = derive_leaves(claim.secret, spec, source, [leaf.index for leaf in opened], claim.material)
    except UsageError as error:
        raise InvalidFile(f"the claim's key cannot be: {bare(error)}") from error
    if made != opened:
        raise InvalidFile("the revealed secret does not give the triggers that were committed to: they were made up")
    return True


def check_pledged(claim: Claim, court: Court) -> Stamp | None:
    """The revealed secret follows from the time stamp that the claim says it does."""
    if claim.secret is None or claim.pledge is None:
        return None
    return check_pledge(claim.pledge, claim.secret, claim.commitment.spec, claim.commitment.rule, court.authorities)


def check_stated(claim: Claim) -> None:
    """The claimant's own verdict and figures follow from the transcript by the committed rule."""
    commitment, told = claim.commitment, claim.stated
    stated = transcript.state(claim.rows, commitment.rule, commitment.spec, claim.secret, claim.material, claim.asked)
    if not isinstance(told, dict) or set(told) != set(stated):
        raise InvalidFile("the claim's verdict has other figures than a claim has")
    bits = told["evidence_bits"]
    if type(bits) not in (int, float) or abs(bits - float(stated["evidence_bits"])) > 0.002:
        raise InvalidFile(f"the claim states {bits!r:.40} bits; its transcript gives {stated['evidence_bits']}")
    for name in ("verdict", "queries", "matches"):
        if told[name] != stated[name] or type(told[name]) is not type(stated[name]):
            raise InvalidFile(f"the claim states {name} {told[name]!r:.40}; its transcript gives {stated[name]!r}")


def check_answers(claim: Claim, own: stats.Answers | None, same_weights: bool | None) -> int:
    """How many of the judge's answers are not the transcript's; of the very same weights hardly any may be."""
    if own is None:
        return 0
    told = transcript.answers(claim.rows, claim.commitment.spec.classes)
    differing = int(np.sum(told.labels != own.labels))
    if same_weights and differing > max(1, len(own) // 50):  # rounding on other hardware may turn a close one
        raise InvalidFile(f"the transcript is false: of {len(own)} answers this very model gives {differing} others")
    return differing
