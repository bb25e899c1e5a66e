"""The judge: believes nobody, checks everything again, and says what that proves, in codes (`wording` has the words).

Liu et al. (USENIX Security 2024) showed that a malicious accuser can make innocent models look stolen under every
published scheme, by triggers that are fitted to models before or after the commitment. Here a match needs all of this:

* The secret is revealed and gives every opened image, label and salt again. So nothing was fitted to anything: the
  accuser chose 32 bytes (and a spec), all else follows. Where images start from a data set, the judge's own copy is
  used.
* The accuser did not search for those 32 bytes: 2**k tries gain k bits, so the evidence is `SEARCH_BITS` beyond what a
  match needs. If an authority that the judge trusts time-stamped the commitment before the suspect appeared,
  `DATED_BITS` are enough: the search must then have been made before it, against models that the suspect resembles. A
  try is taken to cost one hash, as it does where a suspect gives one answer to all odd pictures: STANDARD.md has the
  arithmetic, and why the judge does not measure that. Of a secret that follows from a time stamp each try costs a stamp
  by that authority: there `PLEDGED_BITS` are enough, whenever the suspect appeared.
* The accuser did not choose the questions: they are the first ones of the order that the judge's own nonce gives; or
  the whole key was asked, and only what it comes to in the end counts, where that does not depend on the order. Nor did
  the accuser choose what to leave out: triggers that are called spent count as wrong, or (where answers are weighed
  together) cost as much as choosing them can gain.
* The answers are the suspect's: the judge asks it again.

What a file declares costs nothing: only what it opens is computed, and it holds a picture for each of that.

What is lacking withholds a match: the claim is then `inconclusive`. A `no-match` says only that the answers are too
unlike the secret labels by the committed rule, so it stays one whatever is lacking; unless the suspect answers what it
was shown before unlike what it was not, or than it did to the claimant: then it may know what it was asked. What is
wrong makes a claim invalid (`InvalidFile`).
"""

import dataclasses
import datetime
from collections.abc import Sequence

import numpy as np

from wmjax import stats
from wmjax.errors import InvalidFile, UsageError
from wmjax.evidence import findings, transcript
from wmjax.evidence.asking import as_claimed, ask_beside, fresh_triggers
from wmjax.evidence.claim import Claim, picks, share_triggers
from wmjax.evidence.facts import Court, Facts, Lack
from wmjax.evidence.judgement import Judgement
from wmjax.evidence.lacks import counted_bits, lacks, needed_bits
from wmjax.evidence.pledge import check_pledge
from wmjax.evidence.release import Release
from wmjax.evidence.timestamps import Stamp, check_past
from wmjax.grounds import Ground
from wmjax.keys import Spec
from wmjax.keys.keyset import check_material, derive_leaves
from wmjax.keys.material import Material
from wmjax.keys.merkle import proven_root
from wmjax.keys.specify import check_against_scheme, is_made_from
from wmjax.suspects.grounds import clears_all
from wmjax.text import bare

LARGEST_TABLE = 1 << 22  # answers times classes, of which several tables of floats are made


def judge(claim: Claim, court: Court | None = None) -> Judgement:
    """Checks a claim again, believing nobody, and says what it proves (example: `wmjax.evidence`).

    Guarantee: if the suspect has nothing to do with the key's secret, and what the judgement lists as assumed is true,
    `match` comes with chance at most `Judgement.alpha`, whatever the claimant did.

    Args:
      claim: as `wmjax.read_claim` gives it.
      court: what the judge has from elsewhere; whatever a match lacks is named in `Judgement.missing`.

    Returns:
      verdict, figures, and what the verdict rests on, in codes; `wmjax.evidence.wording` says them in words.

    Raises:
      InvalidFile: something in the claim is false.
      UsageError: the suspect cannot be asked about this key, or something in `court` cannot be.
      AccessError: the suspect did not answer.
    """
    court = court or Court()
    check_court(court)
    # The numbers are those of "What a judge checks" in FORMAT.md; `read_claim` did the first.
    check_spec(claim)  # 2
    check_picks(claim)
    check_proofs(claim)
    check_nonce(claim, court)  # 3
    check_unspent(claim, court)
    stamps = check_stamps(claim, court)  # 4
    regenerated = check_secret(claim, court)  # 5
    pledge = check_pledged(claim, court)
    check_stated(claim)  # 6
    if court.suspect:
        court = dataclasses.replace(court, suspect=as_claimed(claim, court.suspect))
    names = transcript.names_of(claim.rows)
    own, fresh = ask_again(claim, court, regenerated, names)  # 7
    same_weights = compare_weights(claim, court)
    differing = check_answers(claim, own, same_weights)
    others = _others(claim, court)
    released, copied = released_as(claim, court)
    return conclude(
        Facts(
            claim=claim,
            court=court,
            stamps=stamps,
            regenerated=regenerated,
            own=own,
            differing=differing,
            same_weights=same_weights,
            others=others,
            fresh=fresh,
            names=names,
            pledge=pledge,
            released=released,
            copied=copied,
        )
    )


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
    root, size = bytes.fromhex(claim.commitment.root), claim.commitment.spec.triggers
    for row in claim.rows:
        if row.opening and proven_root(row.opening.leaf.entry, row.index, size, row.opening.proof) != root:
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


def _others(claim: Claim, court: Court) -> tuple[datetime.datetime | None, ...]:
    """When other signers committed to the same triggers."""
    return tuple(
        dated(other, court) for other in court.others if other.owner != claim.owner and share_triggers(other, claim)
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


def check_secret(claim: Claim, court: Court) -> bool | None:
    """A revealed secret gives each opened trigger again: image, label and salt; None where that cannot be told.

    Triggers that are not opened count for nothing, so only the opened ones are made: the file pays for each of them.
    """
    spec = claim.commitment.spec
    if claim.secret is None or (spec.source and (court.source is None or not is_made_from(spec, court.source))):
        return None
    opened = [row.opening.leaf for row in claim.rows if row.opening]
    try:
        source = court.source if spec.source else None
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
    stated = state(claim.rows, commitment.rule, commitment.spec, claim.secret, claim.material, claim.asked)
    if not isinstance(told, dict) or set(told) != set(stated):
        raise InvalidFile("the claim's verdict has other figures than a claim has")
    bits = told["evidence_bits"]
    if type(bits) not in (int, float) or abs(bits - float(stated["evidence_bits"])) > 0.002:
        raise InvalidFile(f"the claim states {bits!r:.40} bits; its transcript gives {stated['evidence_bits']}")
    for name in ("verdict", "queries", "matches"):
        if told[name] != stated[name] or type(told[name]) is not type(stated[name]):
            raise InvalidFile(f"the claim states {name} {told[name]!r:.40}; its transcript gives {stated[name]!r}")


def state(
    rows: Sequence[transcript.Row],
    rule: stats.Rule,
    spec: Spec,
    secret: bytes | None = None,
    material: Material | None = None,
    asked: Sequence[Ground] = (),
) -> dict[str, str | int | float]:
    """The verdict and its figures, as a transcript gives them by the committed rule.

    They are none where only the secret could tell, and it is not revealed; and nobody is cleared who was asked in a way
    (`asked`, as of `Claim`) that clears nobody.
    """
    path = transcript.weigh(rows, transcript.answers(rows, spec.classes), rule, spec, secret, material)
    outcome = stats.decide(path, rule, stop=False).outcome
    return {
        "verdict": "inconclusive" if outcome == "no-match" and not clears_all(asked) else outcome,
        "evidence_bits": round(float(path.evidence[-1]), 3),
        "queries": sum(row.opening is not None for row in rows),
        "matches": int(path.matches[-1]),
    }


def compare_weights(claim: Claim, court: Court) -> bool | None:
    """Whether the judge's suspect has the weights that the claim names."""
    if court.suspect is None or court.suspect.describe is None or claim.model is None:
        return None
    return court.suspect.describe().tensors == claim.model.tensors


def released_as(claim: Claim, court: Court) -> tuple[Release | None, bool]:
    """The claimant's release whose weights the judge's suspect has; whether it has all other files of it too."""
    if not court.releases or court.suspect is None or court.suspect.describe is None:
        return None, False
    told = court.suspect.describe()
    found = [release for release in court.releases if release.says(claim.owner, claim.commitment.id, told)]
    copied = [release for release in found if release.model.files == told.files]
    return next(iter(copied + found), None), bool(copied)


def check_answers(claim: Claim, own: stats.Answers | None, same_weights: bool | None) -> int:
    """How many of the judge's answers are not the transcript's; of the very same weights hardly any may be."""
    if own is None:
        return 0
    told = transcript.answers(claim.rows, claim.commitment.spec.classes)
    differing = int(np.sum(told.labels != own.labels))
    if same_weights and differing > max(1, len(own) // 50):  # rounding on other hardware may turn a close one
        raise InvalidFile(f"the transcript is false: of {len(own)} answers this very model gives {differing} others")
    return differing


def ask_again(
    claim: Claim, court: Court, regenerated: bool | None, names: dict[str, int]
) -> tuple[stats.Answers | None, tuple[int, int]]:
    """The suspect's answers to the judge, and how many labels it repeats of how many triggers that nobody opened.

    Those are asked beside the others where the suspect may remember what it was shown, and the secret gives them. Names
    that it has for its classes are added to `names`.
    """
    if court.suspect is None:
        return None, (0, 0)
    single = stats.kind_of(claim.commitment.rule).coins is None  # else one answer by itself tells nothing
    fresh = fresh_triggers(claim, court.source) if single and court.suspect.remembers and regenerated else None
    own, known = ask_beside(claim, court.suspect, fresh, names)
    return own, (known, 0 if fresh is None else len(fresh.images))


def conclude(facts: Facts) -> Judgement:
    """The judgement that follows from the facts: what is lacking withholds a match.

    A no-match is withheld where the suspect forgets, or was not shown the triggers to the pixel.
    """
    claim, spec, rule = facts.claim, facts.claim.commitment.spec, facts.claim.commitment.rule
    answers, path = facts.answers, facts.path
    class_names = facts.court.suspect.class_names if facts.court.suspect else ()
    outcome = stats.decide(path, rule, stop=False).outcome
    counted = float(path.evidence[-1]) if outcome == "no-match" else counted_bits(facts, path.evidence)
    missing = lacks(facts, outcome, counted)
    if outcome == "match":
        withheld = bool(missing)
    else:
        withheld = any(lack.code == Lack.FORGETFUL for lack in missing) or not clears_all(facts.asked)
    return Judgement(
        verdict="inconclusive" if withheld else outcome,
        proven=findings.proven(facts),
        assumed=findings.assumed(facts),
        missing=missing,
        suspect=claim.suspect,
        key_id=claim.commitment.id,
        owner=claim.owner,
        evidence_bits=round(counted, 3),
        needed_bits=round(needed_bits(facts, facts.is_before_suspect), 3),
        alpha=min(rule.alpha, facts.court.alpha),
        asked_by="judge" if facts.own is not None else "claimant",
        queries=sum(row.opening is not None for row in claim.rows),
        matches=int(path.matches[-1]),
        triggers=spec.triggers,
        path=path.evidence,
        shown=findings.shown(claim, answers, facts.names, class_names),
        dates=findings.dates(facts),
        digests=findings.digests(facts),
        brought=findings.brought(facts),
        leanings=findings.leanings(claim, answers),
    )
