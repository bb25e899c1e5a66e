"""Answers that an audit's journal keeps, so that whoever holds the keys can play the evidence again."""

import dataclasses
from collections.abc import Sequence
from typing import Any

import numpy as np

from wmjax import forms, stats
from wmjax.packed import pack, unpack


@dataclasses.dataclass(frozen=True, eq=False)
class KeptAnswers:
    """What a chunk's models answered: row by row, in each key by key, in each in the order of the questions.

    Attributes:
      labels: int32 [readings, total], -1 for a refusal.
      scores: float32 [readings, total, classes], probabilities; None where only labels came back.
      classes: that the models tell apart.
    """

    labels: np.ndarray
    scores: np.ndarray | None
    classes: int

    @classmethod
    def of(cls, parts: Sequence[stats.Answers], classes: int, readings: int) -> "KeptAnswers":
        """Answers [readings, n] as from `as_kept`, pair after pair; all of one form."""
        if not parts:
            return cls(np.empty((readings, 0), np.int32), None, classes)
        whole = stats.concatenate(parts)
        scores = None if whole.probabilities is None else whole.probabilities.astype(np.float32)
        return cls(whole.labels.astype(np.int32), scores, classes)

    def pairs(self, starts: np.ndarray, count: int) -> stats.Answers:
        """The answers [n, readings, count] of pairs that begin at some places, int [n], with `count` questions each."""
        places = starts[:, None] + np.arange(count)
        scores = None if self.scores is None else np.moveaxis(self.scores[:, places], 0, 1).astype(np.float64)
        return stats.Answers(np.moveaxis(self.labels[:, places], 0, 1).astype(np.int64), scores, self.classes)

    def to_json(self) -> dict[str, Any]:
        """Little-endian bytes, packed."""
        scores = None if self.scores is None else pack(self.scores.astype("<f4").tobytes(), 1)
        return {"labels": pack(self.labels.astype("<i4").tobytes(), 1), "scores": scores}

    @classmethod
    def from_json(cls, values: Any, readings: int, total: int, classes: int) -> "KeptAnswers":
        """Reads `to_json` back; raises ValueError where it is not so many answers about so many classes."""
        found = forms.fields(values, ("labels", "scores"))
        labels, scores = _unpacked(found["labels"], (readings, total), "<i4"), None
        if found["scores"] is not None:
            scores = _unpacked(found["scores"], (readings, total, classes), "<f4")
            if not ((scores >= 0) & (scores <= 1)).all() or (np.abs(scores.sum(axis=-1) - 1) > 1e-3).any():
                raise ValueError("probabilities were expected")
        if not ((labels >= -1) & (labels < (2 * stats.NAMES if scores is None else classes))).all():
            raise ValueError("a label is not a class")
        return cls(labels, scores, classes)


def as_kept(answers: stats.Answers) -> stats.Answers:
    """Answers as they will be read back, so that evidence comes from just what is kept."""
    if answers.probabilities is None:
        return answers
    return dataclasses.replace(answers, probabilities=answers.probabilities.astype(np.float32).astype(np.float64))


def _unpacked(value: Any, shape: tuple[int, ...], dtype: str) -> np.ndarray:
    size = int(np.prod(shape)) * np.dtype(dtype).itemsize
    return np.frombuffer(unpack(forms.text(value), size), dtype).reshape(shape)
