"""What a match needs beyond the committed rule: each rule gives what is lacking, as a code with values, or None."""

from collections.abc import Sequence

import numpy as np

from wmjax import stats
from wmjax.evidence.facts import DATED_BITS, PLEDGED_BITS, Facts, Lack
from wmjax.grounds import Ground
from wmjax.stats.rule import SEARCH_BITS


def needed_bits(facts: Facts, dated: bool) -> float:
    """Evidence that makes a match: by the stricter of two rules, and so much more that no search has found it."""
    rule, closed = facts.claim.commitment.rule, [row.opening is None for row in facts.claim.rows]
    bits = margin(dated=dated, pledged=facts.pledged)
    return demanded_bits(rule, facts.court.alpha, bits) + chosen_bits(rule, closed)


def demanded_bits(rule: stats.Rule, alpha: float, searched: float) -> float:
    """What a judge who accepts `alpha` demands for a match with a key of this committed rule, with a `margin`."""
    return max(rule.match_bits, stats.bits_for(alpha)) + searched


def margin(*, dated: bool, pledged: bool) -> float:
    """Bits that a search for a secret may have gained: as many as it could make tries, as a power of two."""
    return PLEDGED_BITS if pledged else DATED_BITS if dated else SEARCH_BITS


def chosen_bits(rule: stats.Rule, closed: Sequence[bool]) -> float:
    """What a claimant may have gained by calling triggers spent, at most.

    Where coins are told by all answers together, a spent trigger does not count against the claimant: it is left out,
    and whoever knew all answers beforehand chose which. Whoever chooses among N ways gains log2(N) bits at most; each
    run of spent triggers is one of less than (rows + 1)**2. A claim that was ended and resumed has a run for each end.

    >>> chosen_bits(stats.Rule(1e-6, 1e-3, 0.65, 15, "spread/1"), [False, True, True] * 5)
    40.0

    Args:
      rule: the committed one.
      closed: of each row of the transcript, whether its trigger was not asked.
    """
    if stats.kind_of(rule).coins is None:
        return 0.0
    runs = int(np.sum(np.diff(np.array([False, *closed]).astype(np.int8)) > 0))
    return float(2 * runs * np.log2(len(closed) + 1))


def counted_bits(facts: Facts, path: np.ndarray) -> float:
    """The evidence that counts: its peak (Ville) in an order by the judge, its end in one by the claimant."""
    return float(path.max() if facts.court.nonce is not None else path[-1])


def underived(facts: Facts) -> Ground | None:
    """The triggers were not made again from the secret: they may have been fitted to models."""
    if facts.regenerated:
        return None
    if facts.claim.secret is None:
        return Ground(Lack.UNREVEALED)
    source = facts.claim.commitment.spec.source
    code = Lack.OTHER_SOURCE if facts.court.sources else Lack.UNDERIVED
    return Ground(code, {"source": source.name if source else ""})


def two_signers(facts: Facts) -> Ground | None:
    """Somebody else had these triggers before the suspect was there, and this claim shows no date: whose are they?

    Nobody who learned the secret from a claim on this suspect can have a stamp from before it.
    """
    theirs = min((date for date in facts.others if date), default=None)
    if facts.dated or theirs is None or (facts.court.since and theirs >= facts.court.since):
        return None
    return Ground(Lack.TWO_SIGNERS, {"dated": theirs.isoformat(timespec="seconds")})


def unpicked(facts: Facts) -> Ground | None:
    """The claimant may have picked the questions: neither the judge did, nor was the whole key asked.

    Of a key whose evidence moves at several stages the order picks too: it says which triggers the earlier ones weigh.
    """
    claim = facts.claim
    moves = stats.kind_of(claim.commitment.rule).stages(claim.commitment.spec.triggers)
    whole = facts.whole and len(moves) < 2
    return None if facts.court.nonce is not None or whole else Ground(Lack.UNPICKED)


def unasked(facts: Facts) -> Ground | None:
    """The answers may not be the suspect's."""
    return None if facts.own is not None else Ground(Lack.UNASKED)


def weak(facts: Facts, counted: float) -> Ground | None:
    """There is not enough evidence, or not enough without a date."""
    needed = needed_bits(facts, facts.is_before_suspect)
    if counted >= needed:
        return None
    told: dict[str, float | str] = {"bits": round(counted, 3), "needed": round(needed, 3)}
    if not facts.is_before_suspect and counted >= needed_bits(facts, True):
        return Ground(Lack.UNDATED, {**told, **_why_undated(facts)})
    if facts.differing:
        told |= {"why": "changed", "differing": facts.differing}
    return Ground(Lack.WEAK, told)


def _why_undated(facts: Facts) -> dict[str, str]:
    """Why the key is not shown to be older than the suspect."""
    if facts.dated:
        dated = facts.dated.isoformat(timespec="seconds")
        if facts.court.since is None:
            return {"why": "unknown", "dated": dated}
        return {"why": "late", "dated": dated, "since": facts.court.since.isoformat(timespec="seconds")}
    if names := sorted(stamp.authority for _, stamp in facts.stamps):
        return {"why": "unbelieved", "authority": names[0]}
    return {"why": "unstamped"}


def forgetful(facts: Facts) -> Ground | None:
    """The suspect answers what it was shown before unlike new triggers, or unlike what it told the claimant."""
    if facts.own is None or facts.same_weights:
        return None
    rows, kind = facts.claim.rows, stats.kind_of(facts.claim.commitment.rule)
    if facts.claim.truth is None:
        return None
    shown = kind.coins(facts.claim.truth) if kind.coins else sum(row.opening is not None for row in rows)
    known, before = int(facts.path.matches[-1]), int(facts.told.matches[-1])
    for why, (hits, asked) in (("fresh", facts.fresh), ("coins" if kind.coins else "transcript", (before, shown))):
        p = stats.more_often_p(hits, asked, known, shown) if asked else 1.0
        if p <= stats.TELLING_P:
            values = {"why": why, "known": hits, "asked": asked, "shown_known": known, "shown": shown, "p": p}
            return Ground(Lack.FORGETFUL, values)
    return None


def lacks(facts: Facts, outcome: stats.Outcome, counted: float) -> tuple[Ground, ...]:
    """What a match still needs.

    Args:
      facts: what the checks brought to light.
      outcome: by the committed rule.
      counted: bits of evidence that count.
    """
    forgets = forgetful(facts)
    found = [underived(facts), two_signers(facts), unpicked(facts), unasked(facts), forgets]
    # A no-match needs no further evidence, unless the answers may be feigned. Evidence that was not weighed cannot be
    # called weak.
    if (outcome != "no-match" or forgets) and facts.claim.truth is not None:
        found.append(weak(facts, counted))
    return tuple(one for one in found if one)
