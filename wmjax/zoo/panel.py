"""Suspects that are asked side by side, whatever they are: what a round of an audit sees of them."""

import dataclasses
from collections.abc import Sequence
from typing import Any, Protocol

import numpy as np

from wmjax import stats
from wmjax.errors import AccessError, AnswerError, InvalidFile, WmjaxError
from wmjax.suspects.asking import ask_each
from wmjax.suspects.contract import Askable
from wmjax.zoo.score import Scorer


class Panel(Protocol):
    """Suspects that take the same images and tell the same classes apart."""

    def answers(self, rows: np.ndarray, picks: np.ndarray) -> stats.Answers:
        """What some of them answer; all in one form.

        Args:
          rows: int [n], which suspects.
          picks: int32 [Q], the questions that all are asked, or [n, Q], those that each is.

        Returns:
          answers [n, Q].
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
        return stats.read_answers(logits, logits.shape[:2], logits.shape[2])


@dataclasses.dataclass(frozen=True, eq=False)
class Questioned:
    """One suspect that can only be asked: each question once, whatever comes back.

    Attributes:
      askable: whom.
      images: uint8 [B, H, W, C], of all questions.
      classes: that it tells apart.
      known: what it answered so far, by question.
    """

    askable: Askable
    images: np.ndarray
    classes: int
    known: dict[int, stats.Answers] = dataclasses.field(default_factory=dict)

    def answers(self, rows: np.ndarray, picks: np.ndarray) -> stats.Answers:
        """A call for each question that is new; a failure or another form is a refusal, as in `wmjax.verify`.

        Raises:
          AccessError: its first call failed, so it was never asked.
          InvalidFile: it hung.
        """
        asked = [int(pick) for pick in picks.ravel()]
        self._ask([pick for pick in dict.fromkeys(asked) if pick not in self.known])
        return stats.stack([stats.concatenate([self.known[pick] for pick in asked])])

    def _ask(self, picks: Sequence[int]) -> None:
        try:
            back = ask_each(self.askable, [self.images[pick] for pick in picks], self.classes)
        except AccessError as error:
            raise (InvalidFile(str(error)) if self.known else error) from error
        for pick, given in zip(picks, back, strict=True):
            first = next(iter(self.known.values()), None)
            if isinstance(given, stats.Answers) and given.scores not in (0, self.classes):
                told = f"it answers with {given.scores} scores, not {self.classes}: give `classes` in the list"
                given = AnswerError(told, f"{given.scores} scores")
            if isinstance(given, WmjaxError):
                if first is None:
                    raise given
                given = stats.refusal(first)
            elif first is not None and given.scores != first.scores:
                given = stats.refusal(first)  # labels, where there were scores, or the other way round
            self.known[pick] = given
