"""Suspects that are asked side by side, whatever they are: what a round of an audit sees of them."""

import contextlib
import dataclasses
import sys
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any, Protocol

import numpy as np

from wmjax import stats
from wmjax.errors import AccessError, AnswerError, GoneError
from wmjax.stats.said import as_answers, said
from wmjax.suspects.calls import Back, ask_each
from wmjax.suspects.contract import Askable
from wmjax.suspects.query import answered, check_there
from wmjax.zoo.score import Scorer
from wmjax.zoo.turns import Turn, Turns


class Panel(Protocol):
    """Suspects that take the same images and tell the same classes apart."""

    def answers(self, rows: np.ndarray, picks: np.ndarray) -> stats.Answers:
        """What some of them answer; all in one form.

        Args:
          rows: int [n], which suspects.
          picks: int32 [Q], the questions that all are asked, or [n, Q], those that each is.

        Returns:
          answers [n, readings, Q].
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

    def answers(self, rows: np.ndarray, picks: np.ndarray) -> stats.Answers:
        """One compiled call for all of them."""
        logits = self.scorer.answers(self.weights, rows, self.bank, picks)
        return stats.read_answers(logits, logits.shape[:3], logits.shape[3])


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

    def answers(self, rows: np.ndarray, picks: np.ndarray) -> stats.Answers:
        """One call for each of their readings, about every image once, as many at once as they take.

        Raises:
          AccessError: one cannot be run.
        """
        each = [picks] * len(rows) if picks.ndim == 1 else picks
        with contextlib.redirect_stdout(sys.stderr):  # for all threads at once: stdout is the verdict's
            return stats.stack([self._one(self.suspects[int(row)], own) for row, own in zip(rows, each, strict=True)])

    def _one(self, askable: Askable, picks: np.ndarray) -> stats.Answers:
        """What one answers, [readings, Q]."""
        asked, places = np.unique(picks, return_inverse=True)
        images = self.images[asked]
        with ThreadPoolExecutor(askable.concurrency) as pool:
            given = pool.map(lambda reading: answered(reading, images, self.classes), askable.suspect.asked)
            return stats.stack(list(given))[places.ravel()]


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

    def answers(self, rows: np.ndarray, picks: np.ndarray) -> stats.Answers:
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
        return stats.stack([stats.stack([as_answers(said, self.classes, scores, self.turns.names)])])

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
            told = f"it answers with {back.scores} scores, not {self.classes}: give `classes` in the list"
            back = AnswerError(told, f"{back.scores} scores")
        if not isinstance(back, AccessError):
            return Turn(back.scores, said(back, self.turns.names))
        if not self.turns.known:
            raise back
        return Turn(None, None)
