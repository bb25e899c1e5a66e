"""The turns of a member that can only be asked: in which order, and what it said, on the disk before the next question.

Such a member may remember, so it is asked as `wmjax.verify` asks: in an order drawn from the secret and a nonce, and
what it was shown is remembered beside the keys; what a claim opened counts as shown. Its journal's lines come before
the record of its chunk: one with nonce and triggers that were shown before, then one for each answer. A resumed audit
asks on in the same order. A trigger that is remembered there and was not answered here was shown all the same: it comes
last, and clears nobody.
"""

import dataclasses
import secrets
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from wmjax import forms, journal
from wmjax.keys import Key
from wmjax.keys.memory import Memory
from wmjax.stats.said import Said, numbered, read_said, said_json
from wmjax.suspects.contract import Askable
from wmjax.suspects.grounds import SPOKEN
from wmjax.verification.order import NONCE_BYTES, Order, draw_order
from wmjax.zoo.header import AuditHeader


@dataclasses.dataclass(frozen=True)
class Asking:
    """What the order of a member's questions follows from, besides the secrets.

    Attributes:
      nonce: drawn for it.
      shown: for each key that it is asked about the triggers that it was shown before.
    """

    nonce: bytes
    shown: tuple[tuple[int, ...], ...]

    def order(self, column: int, key: Key, limit: int) -> Order:
        """The questions about one key."""
        return draw_order(key, self.nonce, limit, self.shown[column])

    def to_json(self) -> dict[str, Any]:
        """As JSON values."""
        return {"nonce": self.nonce.hex(), "shown": self.shown}

    @classmethod
    def from_json(cls, values: Any, header: AuditHeader, chunk: int) -> "Asking":
        """Reads `to_json` back; raises ValueError where no member of that chunk can be asked so."""
        found = forms.fields(values, ("nonce", "shown"))
        keys, nonce = header.bounds[chunk].keys, bytes.fromhex(forms.text(found["nonce"]))
        shown = forms.items(found["shown"], lambda column: forms.items(column, forms.whole))
        if nonce.hex() != found["nonce"] or not nonce or len(shown) != len(keys) or not is_asked(header, chunk):
            raise ValueError("nobody is asked so")
        for triggers, key in zip(shown, keys, strict=True):
            if list(triggers) != sorted(set(triggers)) or max(triggers, default=0) >= header.keys[key].spec.triggers:
                raise ValueError("there are no such triggers")
        return cls(nonce, shown)


def is_asked(header: AuditHeader, chunk: int) -> bool:
    """Whether a chunk is a member that can only be asked."""
    return header.chunks[chunk] == 1 and header.family_of(chunk).note in SPOKEN


@dataclasses.dataclass(frozen=True)
class Begun:
    """A line of the journal: a member is asked so from now on."""

    chunk: int
    asking: Asking

    def to_json(self) -> dict[str, Any]:
        """As JSON values."""
        return {"chunk": self.chunk, "asked": self.asking.to_json()}

    @classmethod
    def from_json(cls, values: dict[str, Any], header: AuditHeader) -> "Begun":
        """Reads `to_json` back; raises ValueError on anything else."""
        found = forms.fields(values, ("chunk", "asked"))
        chunk = forms.whole(found["chunk"], 0, len(header.chunks) - 1)
        return cls(chunk, Asking.from_json(found["asked"], header, chunk))


class Turn(NamedTuple):
    """What came of a question.

    Attributes:
      scores: classes that the answer gives scores to, usable or not; 0 for labels and names, None where it failed.
      answer: None for a refusal.
    """

    scores: int | None
    answer: Said | None


@dataclasses.dataclass(frozen=True, eq=False)
class Replied:
    """A line of the journal: what a member said about a trigger.

    Attributes:
      chunk: the member's.
      column: of the key, among those that it is asked about.
      trigger: the key's.
      turn: what came of it.
    """

    chunk: int
    column: int
    trigger: int
    turn: Turn

    def to_json(self) -> dict[str, Any]:
        """As JSON values."""
        place = {"chunk": self.chunk, "column": self.column, "trigger": self.trigger}
        return {**place, "scores": self.turn.scores, "said": said_json(self.turn.answer)}

    @classmethod
    def from_json(cls, values: dict[str, Any], header: AuditHeader) -> "Replied":
        """Reads `to_json` back; raises ValueError where no such member can have said that."""
        found = forms.fields(values, ("chunk", "column", "trigger", "scores", "said"))
        chunk = forms.whole(found["chunk"], 0, len(header.chunks) - 1)
        keys, answer = header.bounds[chunk].keys, read_said(found["said"])
        column = forms.whole(found["column"], 0, len(keys) - 1)
        scores = None if found["scores"] is None else forms.whole(found["scores"])
        told = None if answer is None else len(answer) if isinstance(answer, np.ndarray) else 0
        classes = header.family_of(chunk).classes
        if not is_asked(header, chunk) or scores not in (None, 0, classes) or told not in (None, scores):
            raise ValueError("the member cannot have said that")
        trigger = forms.whole(found["trigger"], 0, header.keys[keys[column]].spec.triggers - 1)
        return cls(chunk, column, trigger, Turn(scores, answer))


class Spoken:
    """What a member was asked and said so far.

    Attributes:
      asking: what the order follows from; None where it was not begun.
      known: what came of each question, by column and trigger.
    """

    def __init__(self) -> None:
        """Nothing yet."""
        self.asking: Asking | None = None
        self.known: dict[tuple[int, int], Turn] = {}

    def add(self, line: Begun | Replied) -> bool:
        """Takes the next line; whether it can be one: no question is asked twice."""
        if isinstance(line, Begun):
            self.asking = line.asking
            return True
        return self.known.setdefault((line.column, line.trigger), line.turn) is line.turn


class Turns:
    """One member's questions: what is known of them, and where that is kept.

    Attributes:
      asking: what the order follows from; None where the member cannot remember.
      known: what came of each question, by column and trigger.
      names: the member's words for its classes, with their numbers.
      asked: questions of this run.
    """

    def __init__(
        self,
        book: journal.Journal[AuditHeader, Any, Any],
        chunk: int,
        askable: Askable,
        keys: Sequence[tuple[str, Key]],
        memory: Memory | None,
        nonce: bytes | None,
    ):
        """Begins, or continues with what the journal holds.

        Args:
          book: the journal.
          chunk: the member's.
          askable: the member.
          keys: that it is asked about, with their names.
          memory: of what it was shown; None: nothing is remembered beyond the journal.
          nonce: of the order; drawn where it is None.

        Raises:
          InvalidFile: memory is damaged.
          AccessError: the journal cannot be written, or memory be read.
        """
        self._book, self._chunk, self._called = book, chunk, askable.called or askable.suspect.name
        self._keys, self._memory = [name for name, _ in keys], memory
        own: Spoken = book.records.spoken(chunk)
        self.asked, self.known = 0, own.known  # which grows as lines are added
        self.names = numbered(turn.answer for turn in self.known.values())
        self.asking = self._begin(own.asking, keys, nonce) if askable.suspect.remembers else None

    def _begin(self, begun: Asking | None, keys: Sequence[tuple[str, Key]], nonce: bytes | None) -> Asking:
        """What the order follows from; what was shown since the journal's last line is added."""
        if begun:
            nonce, before = begun.nonce, begun.shown
        else:
            nonce, before = nonce or secrets.token_bytes(NONCE_BYTES), ((),) * len(keys)
        shown = []
        for column, ((name, key), known) in enumerate(zip(keys, before, strict=True)):
            now = key.spent.union(self._memory.shown(name, self._called) if self._memory else ())
            new = {i for i in now if 0 <= i < key.spec.triggers and (column, i) not in self.known}
            shown.append(tuple(sorted(new.union(known))))
        asking = Asking(nonce, tuple(shown))
        if begun != asking:
            self._book.add(Begun(self._chunk, asking))
        return asking

    def before(self, places: Sequence[tuple[int, int]]) -> None:
        """Remembers that triggers, by column and number, are about to be shown."""
        self.asked += len(places)
        if self._memory is None:
            return
        for column in dict.fromkeys(column for column, _ in places):
            shown = [trigger for own, trigger in places if own == column]
            self._memory.remember(self._keys[column], self._called, shown)

    def told(self, turns: Mapping[tuple[int, int], Turn]) -> None:
        """Writes down what came of some questions, by column and trigger, all at once: a disk is slow."""
        self._book.add(*(Replied(self._chunk, *place, turn) for place, turn in turns.items()))


Begin = Callable[[Askable, Sequence[tuple[str, Key]]], Turns]
