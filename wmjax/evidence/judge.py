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
was shown before unlike what it was not, or than it did to the claimant: then it may know what it was asked; or unless
it may be meant to be asked in several ways, of which the claim chose one. What is wrong makes a claim invalid
(`InvalidFile`).
"""

import dataclasses
import datetime

from wmjax import stats
from wmjax.data.dataset import Dataset
from wmjax.evidence import findings, transcript
from wmjax.evidence.checks import (
    check_answers,
    check_court,
    check_nonce,
    check_picks,
    check_pledged,
    check_proofs,
    check_secret,
    check_spec,
    check_stamps,
    check_stated,
    check_unspent,
    dated,
)
from wmjax.evidence.claim import Claim, share_triggers
from wmjax.evidence.facts import Court, Facts, Lack
from wmjax.evidence.judge_asking import Heard, as_claimed, ask_beside, fresh_triggers
from wmjax.evidence.judgement import Judgement
from wmjax.evidence.lacks import counted_bits, lacks, needed_bits
from wmjax.evidence.release import Release
from wmjax.suspects.grounds import clears_all


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
    source = court.source_of(claim.commitment.spec)
    regenerated = check_secret(claim, source)  # 5
    pledge = check_pledged(claim, court)
    check_stated(claim)  # 6
    chosen = bool(court.suspect.readings if court.suspect else claim.reading)
    if court.suspect:
        court = dataclasses.replace(court, suspect=as_claimed(claim, court.suspect))
    names = transcript.names_of(claim.rows)
    heard = ask_again(claim, court, source, names, fresh=bool(regenerated))  # 7
    own = heard.answers if heard else None
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
            fresh=heard.fresh if heard else (0, 0),
            names=names,
            pledge=pledge,
            released=released,
            copied=copied,
            chosen=chosen,
            mixed=heard is not None and heard.mixed,
        )
    )


def _others(claim: Claim, court: Court) -> tuple[datetime.datetime | None, ...]:
    """When other signers committed to the same triggers."""
    return tuple(
        dated(other, court) for other in court.others if other.owner != claim.owner and share_triggers(other, claim)
    )


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


def ask_again(
    claim: Claim, court: Court, source: Dataset | None, names: dict[str, int], *, fresh: bool
) -> Heard | None:
    """What the suspect says to the judge.

    Triggers that nobody opened are asked beside the others where the suspect may remember what it was shown, and the
    secret gives them. Names that it has for its classes are added to `names`.
    """
    if court.suspect is None:
        return None
    single = stats.kind_of(claim.commitment.rule).coins is None  # else one answer by itself tells nothing
    beside = fresh_triggers(claim, source) if fresh and single and court.suspect.remembers else None
    return ask_beside(claim, court.suspect, beside, names)


def conclude(facts: Facts) -> Judgement:
    """The judgement that follows from the facts: what is lacking withholds a match.

    A no-match is withheld where the suspect forgets, or was asked in a way that clears nobody, or in one that the claim
    chose among several, or answered in several forms.
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
        forgets = any(lack.code == Lack.FORGETFUL for lack in missing)
        withheld = forgets or facts.chosen or facts.mixed or not clears_all(facts.asked)
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
