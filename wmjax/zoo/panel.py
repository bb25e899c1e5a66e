"""Suspects that are asked side by side, whatever they are: what a round of an audit sees of them."""

import dataclasses
from typing import Any, Protocol

import numpy as np

from wmjax import stats
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
