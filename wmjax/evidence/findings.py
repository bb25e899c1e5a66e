"""What a judgement rests on, as codes with values, read off the facts. Nothing is decided here, nothing worded."""

import datetime
import hashlib
from collections.abc import Mapping, Sequence

import numpy as np

from wmjax import stats
from wmjax.evidence import transcript
from wmjax.evidence.claim import Claim
from wmjax.evidence.facts import DATED_BITS, PLEDGED_BITS, Facts
from wmjax.evidence.judgement import SPENT, Brought, Digests, Shown
from wmjax.evidence.timestamps import Stamp
from wmjax.grounds import Ground
from wmjax.keys.times import read_time
from wmjax.stats.rule import SEARCH_BITS
from wmjax.suspects.adapt import naming


def proven(facts: Facts) -> tuple[Ground, ...]:
    """What was checked."""
    claim, spec = facts.claim, facts.claim.commitment.spec
    grounds = [Ground("signed", {"owner": claim.owner}), *_stamped(facts)]
    opened = len(claim.rows) - _spent(facts)
    grounds.append(Ground("opened", {"triggers": opened}))
    if facts.court.nonce is not None:
        grounds.append(Ground("picked"))
    elif facts.whole:
        grounds.append(Ground("whole"))
    if facts.regenerated and spec.source:
        grounds.append(Ground("regenerated-from-source", {"triggers": opened, "source": spec.source.name}))
    elif facts.regenerated:
        grounds.append(Ground("regenerated", {"triggers": opened}))
    if facts.pledge and facts.pledged:
        grounds.append(_ground("pledged", facts.pledge.time, **_signer(facts.pledge)))
    if claim.material:
        grounds.append(Ground("material-committed", {"arrays": ", ".join(sorted(claim.material.arrays))}))
    grounds.append(Ground("figures-follow"))
    if facts.own is not None:
        grounds.append(Ground("asked-again"))
    if facts.same_weights:
        grounds.append(Ground("same-weights"))
    if facts.released:
        code = "released-copy" if facts.copied else "released-weights"
        grounds.append(Ground(code, {"model": facts.released.model.name, "key": facts.released.key}))
    return tuple(grounds)


def _stamped(facts: Facts) -> list[Ground]:
    """What trusted authorities dated: the key first, then released models."""
    trusted = [(number, stamp) for number, stamp in facts.stamps if stamp.trusted]
    keys = [_ground("committed-by", stamp.time, **_signer(stamp)) for number, stamp in trusted if not number]
    released = [
        _ground("released-by", stamp.time, **_signer(stamp), model=model.name)
        for number, stamp in trusted
        if number and (model := facts.claim.commitments[number].public.model)
    ]
    if facts.released:
        trusted_here = [stamp for stamp in facts.released.stamps if stamp.trusted]
        name = facts.released.model.name
        released += [_ground("released-by", s.time, **_signer(s), model=name) for s in trusted_here]
    return keys + released


def _signer(stamp: Stamp) -> dict[str, str]:
    """Who made a trusted stamp: a name, which anybody may bear, and the certificate that nobody else has."""
    return {"authority": stamp.authority, "certificate": stamp.certificate or ""}


def assumed(facts: Facts) -> tuple[Ground, ...]:
    """What is taken on trust, and what no such claim can show."""
    claim, court = facts.claim, facts.court
    grounds = [Ground("owner-unknown", {"owner": claim.owner})]
    if court.nonce is not None:
        grounds.append(Ground("nonce-fair"))
    if facts.pledge and facts.pledged:
        grounds.append(Ground("no-search-by-stamps", {"authority": facts.pledge.authority, "bits": PLEDGED_BITS}))
    elif facts.is_before_suspect and court.since:
        grounds.append(Ground("no-search-before-date", {"since": _utc(court.since), "bits": DATED_BITS}))
    else:
        grounds.append(Ground("no-search", {"bits": SEARCH_BITS}))
    if claim.commitment.spec.source and facts.regenerated:
        grounds.append(Ground("source-independent"))
    if facts.own is not None:
        grounds.append(Ground("suspect-asked"))
    grounds += facts.asked
    if facts.own is not None and facts.same_weights is False:
        grounds.append(Ground("other-weights"))
    grounds += [Ground("release-spoilt", {"model": name, "reason": why}) for name, why in court.spoilt.items()]
    if facts.others:
        grounds.append(Ground("other-signer" if facts.dated else "order-unknown"))
    if facts.own is not None and (refused := sum(shown < 0 for shown in facts.own.labels) - _spent(facts)):
        grounds.append(Ground("refused-here", {"refused": int(refused)}))
    if facts.mixed:
        grounds.append(Ground("mixed-forms"))
    grounds += naming(facts.answers)
    if facts.differing:
        grounds.append(Ground("answers-differ", {"differing": facts.differing}))
    if spent := _spent(facts):
        grounds.append(Ground("spent-before", {"spent": spent}))
    if facts.dated and read_time(claim.commitment.created) > facts.dated + datetime.timedelta(days=1):
        grounds.append(Ground("clock-ahead"))
    return (*grounds, Ground("one-claim"), Ground("origin-open"))


def _spent(facts: Facts) -> int:
    return sum(row.opening is None for row in facts.claim.rows)


def dates(facts: Facts) -> tuple[Ground, ...]:
    """What happened when, in the order of time; each with its `time`."""
    claim = facts.claim
    told = [
        _ground("key-made", read_time(claim.commitment.created)),
        _ground("claim-made", read_time(claim.made)),
        *(
            _ground("stamped" if stamp.trusted else "stamp-unbelieved", stamp.time, authority=stamp.authority)
            for _, stamp in facts.stamps
        ),
    ]
    if facts.court.since:
        told.append(_ground("suspect-appeared", facts.court.since))
    return tuple(sorted(told, key=lambda ground: str(ground.values["time"])))


def digests(facts: Facts) -> Digests:
    """What was judged."""
    claim = facts.claim
    return Digests(
        claim=claim.sha256,
        commitment=claim.commitment.id,
        root=claim.commitment.root,
        commitment_files=tuple(hashlib.sha256(one.public.raw).hexdigest() for one in claim.commitments),
        released=tuple(one.public.model for one in claim.commitments if one.public.model),
        suspect=claim.model,
        nonce=claim.nonce.hex(),
    )


def brought(facts: Facts) -> Brought:
    """What the judge brought."""
    court = facts.court
    return Brought(
        nonce=None if court.nonce is None else court.nonce.hex(),
        since=court.since.isoformat() if court.since else None,
        authorities=tuple(authority.name for authority in court.authorities),
        source=court.named(facts.claim.commitment.spec),
        alpha=court.alpha,
    )


def leanings(claim: Claim, answers: stats.Answers) -> np.ndarray | None:
    """How far each coin shows, where the key has coins that all answers tell together, and they are told."""
    show = stats.kind_of(claim.commitment.rule).leanings
    return None if show is None or claim.truth is None else show(answers, claim.truth)


def shown(
    claim: Claim, answers: stats.Answers, names: Mapping[str, int], class_names: Sequence[str]
) -> tuple[Shown, ...]:
    """The triggers, in the order of asking; the suspect's words for classes, and what its files call them."""
    words, called = {number: word for word, number in names.items()}, dict(enumerate(class_names))
    return tuple(
        Shown(row.index, row.opening.input, label, int(answer), words.get(answer, ""), called.get(answer, ""))
        if row.opening
        else Shown(row.index, None, None, SPENT)
        for row, label, answer in zip(claim.rows, _secret_labels(claim), answers.labels, strict=True)
    )


def _secret_labels(claim: Claim) -> Sequence[int | None]:
    """What whoever knows the secret answers to each trigger; None where single answers tell nothing."""
    spec = claim.commitment.spec
    if spec.policy.answers is None:
        return [None] * len(claim.rows)
    known = transcript.known(claim.rows, spec, claim.secret, claim.material)
    return [int(label) for label in spec.policy.answers(known)]


def _ground(code: str, time: datetime.datetime, **values: str) -> Ground:
    return Ground(code, {"time": _utc(time), **values})


def _utc(when: datetime.datetime) -> str:
    return when.astimezone(datetime.UTC).isoformat(timespec="seconds")
