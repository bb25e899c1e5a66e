"""The questions of a claim, one row a trigger: each is marked as spent before it is asked, and kept before the next."""

import dataclasses
import datetime
from collections.abc import Callable, Collection, Sequence
from typing import Any, NamedTuple

import numpy as np

from wmjax import stats
from wmjax.errors import AccessError, AnswerError, GoneError
from wmjax.evidence import claim_journal, transcript
from wmjax.evidence.lacks import chosen_bits
from wmjax.evidence.transcript import Opening, Row
from wmjax.keys import Key
from wmjax.keys.commitment import leaves
from wmjax.keys.merkle import Tree
from wmjax.progress import progress
from wmjax.stats.contract import State
from wmjax.stats.said import Said, said
from wmjax.suspects.contract import Seen, Suspect
from wmjax.suspects.query import came, check_there, mixed, query
from wmjax.text import printable

Spend = Callable[[Collection[int]], None]
PORTION = 100  # triggers that are marked as spent at once, at most
_TRIES = 4  # that a question's last one is told with
_SILENCE = 8  # unusable answers one after another that end a claim


class Case(NamedTuple):
    """Who is asked what, and until when.

    Attributes:
      suspect: whom.
      key: whose triggers.
      order: of the questions.
      bar: bits that a judge demands where no trigger is spent.
      whole: whether to ask on where the evidence decides.
    """

    suspect: Suspect
    key: Key
    order: Sequence[int]
    bar: float
    whole: bool


def ask(case: Case, asked: claim_journal.Asked, spend: Spend) -> tuple[list[Row], bool]:
    """The transcript: one row a trigger, until the evidence decides; and whether it ever reached the bar."""
    key, opened = case.key, _Opened(case.key)
    before = {row.index: row for row in asked.records}
    if unmarked := before.keys() - key.spent:  # of an older copy of the key
        spend(sorted(unmarked))
    rows: list[Row] = []
    now: list[Row] = []  # of them, those that are asked in this run
    marked = before.keys() | key.spent
    weighed = _Weighed(None, 0, False, False)
    with progress(f"asking {case.suspect.name}", len(case.order)) as advance:
        for place, index in enumerate(case.order):
            if index not in before and (_is_silent(now) or (weighed.decided and not case.whole)):
                break
            row = before.get(index, Row(index))
            if index not in before and index not in key.spent:
                if index not in marked:
                    until = _until(case, place) if now else place + 1  # one that is not there costs no more
                    portion = [i for i in case.order[place:until] if i not in marked]
                    spend(portion)
                    marked = marked.union(portion)
                row, gone = _one(case, index, rows, first=not now)
                asked.add(row)
                now.append(row)
                if gone or row.answer is None:
                    _go_on(case.suspect, gone)
            rows.append(opened.row(row))
            advance(1)
            if len(rows) == _stage(case, place):
                weighed = _weigh(weighed, rows, case)
    return rows, weighed.reached


def _go_on(suspect: Suspect, gone: GoneError | None) -> None:
    """After a refusal; raises where the suspect is not there any more."""
    try:
        if gone:
            raise gone
        check_there(suspect)
    except GoneError as error:
        raise GoneError(f"{error}; `resume` continues the claim") from error


def _stage(case: Case, asked: int) -> int:
    """After how many questions the evidence moves again."""
    return stats.next_stage(stats.kind_of(case.key.commitment.rule), asked, case.key.spec.triggers)


def _until(case: Case, place: int) -> int:
    """Up to which question triggers are marked as spent together: of a service, which may go wrong, one by one."""
    return place + 1 if case.suspect.wire else min(_stage(case, place), place + PORTION)


class _Opened:
    """The openings of a key's triggers."""

    def __init__(self, key: Key):
        self._images = key.images
        self._leaves = leaves(key.secret, key.images, key.labels)
        self._tree = Tree([leaf.entry for leaf in self._leaves])

    def row(self, row: Row) -> Row:
        """The row with its trigger opened, if it was asked."""
        if not row.attempts:
            return row
        proof = tuple(self._tree.proof(row.index))
        return dataclasses.replace(row, opening=Opening(self._leaves[row.index], self._images[row.index], proof))


def _is_silent(asked: Sequence[Row]) -> bool:
    """Whether the last answers were all unusable: more questions would only be wasted."""
    return len(asked) >= _SILENCE and all(row.answer is None for row in asked[-_SILENCE:])


class _Weighed(NamedTuple):
    """What the rows so far come to.

    Attributes:
      state: of the evidence; None while no usable answer has shown the suspect's form.
      rows: that were bet on.
      decided: whether the evidence decides.
      reached: whether it ever was enough for a match.
    """

    state: State
    rows: int
    decided: bool
    reached: bool


def _weigh(before: _Weighed, rows: Sequence[Row], case: Case) -> _Weighed:
    """Bets on the rows that came since."""
    if transcript.scores_of(rows) is None:
        return before
    rule, classes = case.key.commitment.rule, case.key.spec.classes
    kind, fresh = stats.kind_of(rule), rows[before.rows :]
    state = kind.start(()) if before.state is None else before.state
    given = transcript.answers(fresh, classes, before=rows[: before.rows])
    truth = transcript.truth(fresh, case.key.spec, case.key.secret, case.key.material)
    state, path = kind.bet(state, given, truth, rule)
    bar = case.bar + chosen_bits(rule, [row.opening is None for row in rows])
    decided = bool(stats.decide(path, rule, stop=False, match_bits=bar).decided)
    return _Weighed(state, len(rows), decided, bool(path.peak[-1] >= bar))


def _one(case: Case, index: int, rows: Sequence[Row], *, first: bool) -> tuple[Row, GoneError | None]:
    """Asks once; a failure is an outcome, unless it is the first: then the suspect is not there at all.

    An answer in another form is a refusal, and what came is kept. A suspect that is gone costs this trigger alone: why
    is given too.

    Args:
      case: who is asked.
      index: of the trigger.
      rows: what it answered before, which shows its form and its names.
      first: whether this is the first question of this run.
    """
    at = datetime.datetime.now(datetime.UTC).isoformat(timespec="milliseconds")
    answer: Said | None = None
    detail: dict[str, str] = {}
    scores, names = transcript.scores_of(rows), transcript.names_of(rows)
    try:
        given = query(case.suspect, case.key.images[index][None], case.key.spec.classes, names)
        answer = said(given, names)
        if scores not in (None, given.scores):
            told, answer = came(np.array([answer]) if given.probabilities is None else given.probabilities), None
            raise mixed(told)
    except AccessError as error:
        if first:
            raise
        detail = {"error": printable(f"{error!s:.200}")}
        if not isinstance(error, AnswerError):
            gone = error if isinstance(error, GoneError) else None
            return Row(index, _attempts(case.suspect, at, "failed", detail)), gone
        detail["came"] = error.came
    return Row(index, _attempts(case.suspect, at, "answered", detail), answer), None


def _attempts(suspect: Suspect, at: str, outcome: str, detail: dict[str, str]) -> tuple[dict[str, Any], ...]:
    """Every try of a question, with what was seen of it where the suspect is behind a network.

    Args:
      suspect: who was asked.
      at: when.
      outcome: of the last try.
      detail: what came of it.
    """
    # A service that puts off each question a hundred times must not fill the file: the last one says how many came.
    *failed, last = (suspect.wire.seen() if suspect.wire else ()) or (Seen(at, {}),)
    tries = str(len(failed) + 1)
    return (
        *({"at": each.at, "outcome": "failed", "detail": each.detail} for each in failed[-_TRIES:]),
        {"at": last.at, "outcome": outcome, "detail": last.detail | detail | ({"tries": tries} if failed else {})},
    )
