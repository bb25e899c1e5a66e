"""The owner's side of a claim: what must hold before a suspect is asked, and the file that tells of it."""

import dataclasses
import os
from collections.abc import Sequence

import numpy as np

from wmjax import stats
from wmjax.canonical import LARGEST
from wmjax.errors import UsageError
from wmjax.evidence import claim_journal
from wmjax.evidence.claim import Attached, picks
from wmjax.evidence.claim_asking import Case, Spend, ask
from wmjax.evidence.claim_file import write_claim
from wmjax.evidence.facts import Court
from wmjax.evidence.lacks import chosen_bits, demanded_bits, margin
from wmjax.evidence.transcript import Row, state
from wmjax.keys import Key, Signer, Spec
from wmjax.keys.keyset import limit
from wmjax.stores import place
from wmjax.suspects.contract import Suspect
from wmjax.suspects.query import check_fits, query_each

_WATCHED = 4000  # bytes of what is seen on the way to a service, for a row


def claim(
    suspect: Suspect,
    key: Key,
    signer: Signer,
    commitments: Sequence[Attached],
    nonce: bytes,
    spend: Spend,
    *,
    whole: bool = False,
    reveal: bool = False,
    anyway: bool = False,
    journal: str | os.PathLike[str] | None = None,
    resume: bool = False,
    max_queries: int | None = None,
) -> bytes:
    """Asks a suspect what a challenger's nonce picks, and gives the claim's file (example: `wmjax.evidence`).

    The nonce orders all triggers; they are asked in that order, one by one, until the evidence reaches what a judge
    demands (`lacks.demanded_bits`), or acquits. A suspect that falls silent ends the claim too. Each trigger is marked
    as spent before it is asked, and each answer is in the journal before the next question. So whatever ends a claim
    costs one trigger at most, and `resume` continues it. Spent ones are passed over, and count against the owner. More
    than the file has room for (64 MiB) are not asked: of images of 32x32x3 about 8,000. Where the evidence moves at
    stages, triggers are marked in portions (`claim_asking.PORTION`), but for a service: so many a kill may cost there,
    and some 20 bits (`lacks.chosen_bits`).

    Args:
      suspect: the model that is accused.
      key: the opened key, of a kind that exact evidence exists for.
      signer: the one that signed the key's commitment (`wmjax.open_signer`).
      commitments: as `wmjax.attach` reads them: the key's first, then any that name a released model.
      nonce: the challenger's, 16 to 64 bytes.
      spend: `spend(asked)` marks triggers, by index, as spent in the key file: `functools.partial(wmjax.spend, path,
        unlock)`.
      whole: ask about every trigger that the committed rule allows.
      reveal: hand over the secret; without it the claim is a notice, and no judge says `match`. It is handed over only
        if the answers reach what a judge demands. A notice by a key whose coins only the secret tells has no figures.
      anyway: begin also where the key cannot reach that any more, and hand over the secret also where it was not.
      journal: file of what was asked and answered; without one, what was asked before an error is lost.
      resume: continue with the journal that is there. A claim that is finished can be resumed too, e.g. with `reveal`.
      max_queries: triggers to ask at most, where that is fewer than the committed rule allows.

    Returns:
      the bytes of `claim.json`, which `wmjax.read_claim` reads.

    Raises:
      UsageError: the suspect takes other images than the key, signer or commitments are of another key, the
        nonce has another length, the key can support no claim, or the journal exists.
      AccessError: the suspect did not answer the first question, or key file or journal cannot be written.
      GoneError: it is not there any more; `resume` continues the claim when it is.
      AnswerError: its answer to the first question had the wrong form.
      InvalidFile: the journal is damaged, or of another claim.
    """
    _check(suspect, key, signer, commitments, nonce)
    suspect = best_read(suspect, key)
    path = None if journal is None else place(journal)
    rule = key.commitment.rule
    dated = any(attached.tokens for attached in commitments)
    bar = demanded_bits(rule, Court().alpha, margin(dated=dated, pledged=key.pledge is not None and reveal))
    room = _room(key.spec, stats.kind_of(rule), watched=suspect.wire is not None)
    order = picks(key.commitment, nonce, min(limit(key, max_queries), room))
    if not anyway:
        _check_enough(key, order, bar, claim_journal.told(path) if resume else ())
    model = suspect.describe() if suspect.describe else None
    told = suspect.grounds(key.spec.image)
    head = claim_journal.Head(key.commitment, nonce, suspect.name, told, model.tensors if model else None)
    asked = claim_journal.begin(path, head, order, resume=resume)
    try:
        rows, reached = ask(Case(suspect, key, order, bar, whole), asked, spend)
    finally:
        asked.close()
    secret = key.secret if reveal and (reached or anyway) else None
    stated = state(rows, rule, key.spec, secret, key.material, told)
    return write_claim(
        commitments,
        signer,
        rows,
        stated,
        suspect=suspect.name,
        asked=told,
        model=model,
        nonce=nonce,
        secret=secret,
        pledge=key.pledge,
        material=key.material,
    )


def best_read(suspect: Suspect, key: Key) -> Suspect:
    """A suspect by that of its readings which shows the most evidence; its file is at hand, so it learns nothing.

    That one was chosen among a few gives an accuser no more than trying as many secrets does, which a judge's margin
    pays for.
    """
    if not suspect.readings:
        return suspect
    asked = slice(0, key.commitment.limit)
    given = query_each(suspect, key.images[asked], key.spec.classes)
    path = stats.play(key.commitment.rule, given, key.truth(asked))
    return suspect.readings[int(path.peak[:, -1].argmax())]


def _check(suspect: Suspect, key: Key, signer: Signer, commitments: Sequence[Attached], nonce: bytes) -> None:
    check_fits(suspect, key.spec)
    if not key.spec.policy.exact:
        raise UsageError(f"a key with {key.spec.labels} labels has no exact evidence: no claim can be made with it")
    if not 16 <= len(nonce) <= 64:
        raise UsageError(f"`nonce` is {len(nonce)} bytes long: it must be 16 to 64")
    if not commitments:
        raise UsageError("`commitments` is empty: a claim holds the commitment of its key")
    for attached in commitments:
        if attached.public.commitment != key.commitment:
            raise UsageError("a commitment is of another key than `key`")
        if attached.public.owner != signer.owner:
            raise UsageError("the signing key is not the one that signed the commitment: give that one as `signer`")


def _room(spec: Spec, kind: stats.Evidence, *, watched: bool) -> int:
    """Triggers that a claim's file has room for, twice in base64; where the evidence moves at stages, up to one."""
    opening = spec.input.size * 4 // 3 + 70 * spec.triggers.bit_length()  # and what else is in a row
    row = _WATCHED if watched else 500
    most = (LARGEST - (1 << 22)) * 3 // 4 // (opening + 25 * min(spec.classes, 1000) + row)
    if most >= spec.triggers:
        return spec.triggers
    return max((stage for stage in kind.stages(spec.triggers) if stage <= most), default=max(1, most))


def _check_enough(key: Key, order: Sequence[int], bar: float, rows: Sequence[Row]) -> None:
    """A suspect that knows every label could be a match before a judge: spent triggers count against the owner.

    Args:
      key: the opened key.
      order: of the questions.
      bar: bits that a judge demands.
      rows: asked by this claim already; what was answered counts as if it had been answered well.
    """
    refused = {row.index for row in rows if row.answer is None}
    lost = (key.spent | refused) - {row.index for row in rows if row.answer is not None}
    rule, truth = key.commitment.rule, key.truth(np.array(order))
    sure = stats.kind_of(rule).perfect(truth, key.spec.classes)
    told = dataclasses.replace(sure, labels=np.where(np.isin(order, list(lost)), -1, sure.labels))
    best = _most(stats.play(rule, told, truth), key, np.isin(order, list(key.spent - {row.index for row in rows})))
    if best < bar:
        spent = f"{len(key.spent)} of its {key.spec.triggers} triggers are spent"
        raise UsageError(
            f"no claim with this key can reach a match: a judge demands {bar:.0f} bits, and it can give {best:.0f} at "
            f"most ({spent}); mark the next model with a new key (`anyway` asks all the same)"
        )


def _most(path: stats.Path, key: Key, closed: np.ndarray) -> float:
    """The most evidence on a path beyond what is owed for closed triggers; where it moves at stages, after one."""
    rule, triggers = key.commitment.rule, key.spec.triggers
    ends = [stage for stage in stats.kind_of(rule).stages(triggers) if stage <= len(closed)]
    if not ends:
        return float(path.peak[-1])
    return max(float(path.evidence[end - 1]) - chosen_bits(rule, closed[:end].tolist()) for end in ends)
