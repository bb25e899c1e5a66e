"""The owner's side of a claim: asking a suspect the questions that a challenger's nonce picks."""

import dataclasses
import datetime
from collections.abc import Callable, Collection, Sequence
from typing import NamedTuple

import numpy as np

from wmjax import stats
from wmjax.errors import AccessError, UsageError
from wmjax.evidence import transcript
from wmjax.evidence.claim import Attached, picks, write_claim
from wmjax.evidence.facts import DATED_BITS, SEARCH_BITS
from wmjax.evidence.judge import state
from wmjax.evidence.transcript import Opening, Row
from wmjax.keys import Key, Signer
from wmjax.keys.commitment import leaves
from wmjax.keys.merkle import Tree
from wmjax.progress import progress
from wmjax.stats.contract import State
from wmjax.suspects.contract import Suspect, check_fits, query

Spend = Callable[[Collection[int], Collection[int]], None]
_PORTION = 16  # triggers that are marked as spent at once
_SILENCE = 8  # unusable answers one after another that end a claim


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
) -> bytes:
    """Asks a suspect what a challenger's nonce picks, and gives the claim's file (example: `wmjax.evidence`).

    The nonce orders all triggers; they are asked in that order, one by one, until the evidence decides: beyond the
    committed rule by `DATED_BITS`, or by `SEARCH_BITS` if no time stamp dates the commitment. A suspect that falls
    silent ends the claim too. Each trigger is marked as spent before it is asked. Spent ones are passed over, and count
    against the owner.

    Args:
      suspect: the model that is accused.
      key: the opened key, with `random` labels.
      signer: the one that signed the key's commitment (`wmjax.open_signer`).
      commitments: as `wmjax.attach` reads them: the key's first, then any that name a released model.
      nonce: the challenger's, 16 to 64 bytes.
      spend: `spend(asked, released)` marks triggers, by index, as spent in the key file, and takes the marks back from
        those that were not asked: `functools.partial(wmjax.spend, path, unlock)`.
      whole: ask about every trigger that the committed rule allows.
      reveal: hand over the secret; without it the claim is a notice, and no judge says `match`.

    Returns:
      the bytes of `claim.json`, which `wmjax.read_claim` reads.

    Raises:
      UsageError: the suspect takes other images or classes than the key, signer or commitments are of another key, the
        nonce has another length, or the key can support no claim.
      AccessError: the suspect never answered, or the key file cannot be written.
      InvalidFile: the suspect's answers have the wrong form.
    """
    _check(suspect, key, signer, commitments, nonce)
    rule = key.commitment.rule
    extra = DATED_BITS if any(attached.tokens for attached in commitments) else SEARCH_BITS
    goal = dataclasses.replace(rule, alpha=rule.alpha * 2.0**-extra)
    order = picks(key.commitment, nonce, min(rule.max_queries, key.spec.triggers))
    _check_enough(key, order, rule)
    rows = _ask(suspect, key, order, goal, spend, whole)
    stated = state(rows, rule, key.spec)
    secret = key.secret if reveal else None
    model = suspect.describe() if suspect.describe else None
    return write_claim(commitments, signer, rows, stated, suspect=suspect.name, model=model, nonce=nonce, secret=secret)


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


def _check_enough(key: Key, order: Sequence[int], rule: stats.Rule) -> None:
    """A suspect that knows every label could be a match: spent triggers count against the owner."""
    truth = key.truth(np.array(order))
    sure = stats.kind_of(rule).perfect(truth, key.spec.classes)
    told = dataclasses.replace(sure, labels=np.where(np.isin(order, list(key.spent)), -1, sure.labels))
    if stats.play(rule, told, truth).peak[-1] < rule.match_bits:
        spent = f"{len(key.spent)} of its {key.spec.triggers} triggers are spent"
        raise UsageError(f"no claim with this key can reach a match: {spent}; mark the next model with a new key")


def _ask(suspect: Suspect, key: Key, order: list[int], goal: stats.Rule, spend: Spend, whole: bool) -> list[Row]:
    """The transcript: one row a trigger, until the evidence decides."""
    entries = leaves(key.secret, key.images, key.labels)
    tree = Tree([leaf.entry for leaf in entries])
    rows: list[Row] = []
    reserved: set[int] = set()
    asked: set[int] = set()
    weighed = _Weighed(None, 0, False)
    try:
        with progress(f"asking {suspect.name}", len(order)) as advance:
            for place, index in enumerate(order):
                if index in key.spent:
                    rows.append(Row(index))
                    continue
                if index not in reserved:  # the first alone: a suspect that is down costs one trigger
                    ahead = order[place : place + (_PORTION if reserved else 1)]
                    portion = [i for i in ahead if i not in key.spent]
                    spend(portion, ())
                    reserved.update(portion)
                asked.add(index)
                opening = Opening(entries[index], key.images[index], tuple(tree.proof(index)))
                rows.append(_ask_one(suspect, key.spec.classes, opening, first=not any(row.attempts for row in rows)))
                advance(1)
                weighed = _weigh(weighed, rows, key.spec.classes, goal)
                if _is_silent(rows) or (weighed.decided and not whole):
                    break
    finally:
        spend((), reserved - asked)
    return rows


def _is_silent(rows: Sequence[Row]) -> bool:
    """Whether the last answers were all unusable: more questions would only be wasted."""
    asked = [row for row in rows if row.attempts]
    return len(asked) >= _SILENCE and all(row.answer is None for row in asked[-_SILENCE:])


class _Weighed(NamedTuple):
    """What the rows so far come to.

    Attributes:
      state: of the evidence; None while no usable answer has shown the suspect's form.
      rows: that were bet on.
      decided: whether the evidence decides.
    """

    state: State
    rows: int
    decided: bool


def _weigh(before: _Weighed, rows: Sequence[Row], classes: int, goal: stats.Rule) -> _Weighed:
    """Bets on the rows that came since."""
    scored = next((isinstance(row.answer, np.ndarray) for row in rows if row.answer is not None), None)
    if scored is None:
        return before
    kind, fresh = stats.kind_of(goal), rows[before.rows :]
    state = kind.start(()) if before.state is None else before.state
    answers = transcript.answers(fresh, classes, scored=scored)
    state, path = kind.bet(state, answers, transcript.truth(fresh), goal)
    return _Weighed(state, len(rows), bool(stats.decide(path, goal, stop=False).decided))


def _ask_one(suspect: Suspect, classes: int, opening: Opening, *, first: bool) -> Row:
    """Asks once; a failure is an outcome, unless it is the first: then the suspect is not there at all."""
    at = datetime.datetime.now(datetime.UTC).isoformat(timespec="milliseconds")
    try:
        given = query(suspect, opening.input[None], classes)
    except AccessError as error:
        if first:
            raise
        failed = {"at": at, "outcome": "failed", "detail": {"error": f"{error!s:.200}"}}
        return Row(opening.leaf.index, (failed,), None, opening)
    attempt = {"at": at, "outcome": "answered", "detail": {}}
    answer: int | np.ndarray | None = int(given.labels[0])
    if given.labels[0] < 0:
        answer = None
    elif given.probabilities is not None:
        answer = given.probabilities[0]
    return Row(opening.leaf.index, (attempt,), answer, opening)
