"""Suspects that are asked side by side, whatever they are: what a round of an audit sees of them."""

import contextlib
import dataclasses
import sys
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any, NamedTuple, Protocol

import numpy as np

from wmjax import stats
from wmjax.errors import AccessError, AnswerError, GoneError
from wmjax.stats.said import as_answers, said
from wmjax.suspects.calls import Back, ask_each
from wmjax.suspects.contract import Askable
from wmjax.suspects.query import answered, check_there
from wmjax.zoo.score import Scorer
from wmjax.zoo.turns import Turn, Turns


class Seats(NamedTuple):
    """Who is asked: readings of suspects.

    Attributes:
      rows: int [n], the suspects.
      readings: int [n], in which of its readings each is asked.
    """

    rows: np.ndarray
    readings: np.ndarray


class Panel(Protocol):
    """Suspects that take the same images and tell the same classes apart."""

    def answers(self, seats: Seats, picks: np.ndarray) -> stats.Answers:
        """What some of them answer, [n, Q]; all in one form.

        Args:
          seats: n readings of suspects.
          picks: int32 [Q], the questions that all are asked, or [n, Q], those that each is.
        """


@dataclasses.dataclass(frozen=True)
class Loaded:
    """Models of one family whose weights lie stacked on the devices.

    Attributes:
      scorer: of the family.
      weights: the chunk's, as from `Scorer.place`.
      bank: the images of all questions, as from `Scorer.replicate`.
    """

    scorer: Scorer
    weights: dict[str, Any]
    bank: Any

    def answers(self, seats: Seats, picks: np.ndarray) -> stats.Answers:
        """One compiled call for all of them."""
        logits = self.scorer.answers(self.weights, *seats, self.bank, picks)
        return stats.read_answers(logits, logits.shape[:2], logits.shape[2])


@dataclasses.dataclass(frozen=True, eq=False)
class AtHand:
    """Suspects whose files are at hand, run by another program: they remember nothing.

    Attributes:
      suspects: whom, by row.
      images: uint8 [B, H, W, C], of all questions.
      classes: that they tell apart.
    """

    suspects: Mapping[int, Askable]
    images: np.ndarray
    classes: int

    def answers(self, seats: Seats, picks: np.ndarray) -> stats.Answers:
        """One call for each of their readings, about every image once, as many at once as they take.

        Raises:
          AccessError: one cannot be run.
        """
        parts = dict[int, stats.Answers]()
        with contextlib.redirect_stdout(sys.stderr):  # for all threads at once: stdout is the verdict's
            for row in np.unique(seats.rows).tolist():
                own = np.flatnonzero(seats.rows == row)
                each = [picks] * len(own) if picks.ndim == 1 else list(picks[own])
                parts |= zip(
                    own.tolist(), self._one(self.suspects[row], seats.readings[own].tolist(), each), strict=True
                )
        return stats.stack([parts[at] for at in range(len(parts))])

    def _one(self, askable: Askable, readings: Sequence[int], picks: Sequence[np.ndarray]) -> list[stats.Answers]:
        """What one answers in some of its readings."""

        def one(reading: int, picks: np.ndarray) -> stats.Answers:
            asked, places = np.unique(picks, return_inverse=True)
            return answered(askable.suspect.asked[reading], self.images[asked], self.classes)[places.ravel()]

        with ThreadPoolExecutor(askable.concurrency) as pool:
            return list(pool.map(one, readings, picks))


@dataclasses.dataclass(frozen=True, eq=False)
class Questioned:
    """One suspect that can only be asked: each question once, whatever comes back.

    Attributes:
      askable: whom.
      images: uint8 [B, H, W, C], of all questions, key after key.
      starts: int [keys], where each key's begin.
      classes: that it tells apart.
      turns: what it was asked and said so far.
    """

    askable: Askable
    images: np.ndarray
    starts: np.ndarray
    classes: int
    turns: Turns

    def answers(self, seats: Seats, picks: np.ndarray) -> stats.Answers:
        """A call for each question that is new; a failure or another form is a refusal, as in `wmjax.verify`.

        Raises:
          AccessError: its first call failed, so it was never asked; or it is not there any more.
        """
        asked = [self._place(int(pick)) for pick in picks.ravel()]
        self._ask([place for place in dict.fromkeys(asked) if place not in self.turns.known])
        known = self.turns.known.values()
        scores = next((turn.scores for turn in known if turn.scores is not None), 0)
        turns = [self.turns.known[place] for place in asked]
        said = [turn.answer if turn.scores == scores else None for turn in turns]
        return stats.stack([as_answers(said, self.classes, scores, self.turns.names)])

    def _place(self, pick: int) -> tuple[int, int]:
        """The key's column and the trigger of a question."""
        column = int(np.searchsorted(self.starts, pick, side="right")) - 1
        return column, pick - int(self.starts[column])

    def _ask(self, places: Sequence[tuple[int, int]]) -> None:
        """Asks what is new; each answer is written down before the next question."""
        most = self.askable.most
        left = len(places) if most is None else max(0, most - self.turns.asked)
        self._put(places[:left])
        if left < len(places):
            raise GoneError(f"it had the {most} questions that `max_queries` allows")

    def _put(self, places: Sequence[tuple[int, int]]) -> None:
        ask_each(
            self.askable,
            [self.images[self.starts[column] + trigger] for column, trigger in places],
            self.classes,
            self.turns.names,
            before=lambda asked: self.turns.before([places[at] for at in asked]),
            told=lambda backs: self._told({places[at]: self._turn(back) for at, back in backs.items()}),
        )

    def _told(self, turns: Mapping[tuple[int, int], Turn]) -> None:
        self.turns.told(turns)
        if all(turn.answer is None for turn in turns.values()):
            check_there(self.askable.suspect)

    def _turn(self, back: Back) -> Turn:
        """What came of a question; raises where the suspect never answered."""
        if isinstance(back, stats.Answers) and back.scores not in (0, self.classes):
            told = f"it answers with {back.scores} scores, not {self.classes}: give `classes` in the list, or wrap it"
            back = AnswerError(told, f"{back.scores} scores")
        if not isinstance(back, AccessError):
            return Turn(back.scores, said(back, self.turns.names))
        if not self.turns.known:
            raise back
        return Turn(None, None)
