"""One answer as files hold it: a label, the suspect's name for a class, or probabilities; None for a refusal."""

from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np

from wmjax.stats.answers import NAMES, Answers, read_answers
from wmjax.text import is_name

Said = int | str | np.ndarray


def said(answer: Answers, names: dict[str, int]) -> Said | None:
    """What a suspect said to one question.

    >>> said(Answers(np.array([NAMES]), None, 10), {"cat": NAMES})
    'cat'

    Args:
      answer: of one question.
      names: the suspect's words for its classes, with their numbers.
    """
    label = int(answer.labels[0])
    if label < 0:
        return None
    if answer.probabilities is not None:
        return np.asarray(answer.probabilities[0])
    return label if label < NAMES else next(word for word, number in names.items() if number == label)


def said_json(answer: Said | None) -> dict[str, Any] | None:
    """An answer as JSON values."""
    if answer is None:
        return None
    if isinstance(answer, np.ndarray):
        return {"probabilities": answer.tolist()}
    return {"name" if isinstance(answer, str) else "label": answer}


def read_said(value: Any) -> Said | None:
    """Reads `said_json` back.

    Raises:
      ValueError, TypeError, KeyError: it is not an answer.
    """
    if value is None:
        return None
    if set(value) == {"label"}:
        if type(value["label"]) is not int or not 0 <= value["label"] < NAMES:
            raise ValueError(f"its label is not in 0..{NAMES - 1}")
        return int(value["label"])
    if set(value) == {"name"}:
        if not is_name(value["name"]):
            raise ValueError("its name is not 1 to 200 characters that can be seen")
        return str(value["name"])
    told = value["probabilities"]
    if set(value) != {"probabilities"} or not isinstance(told, list) or len(told) < 2:
        raise ValueError("its answer is neither a label, nor a name, nor two or more probabilities")
    if any(type(p) not in (int, float) or not 0 <= p <= 1 for p in told) or abs(sum(told) - 1) > 1e-6:
        raise ValueError("its probabilities are not in 0..1 or do not add up to 1")
    return np.array(told, np.float64)


def scores_in(answers: Iterable[Said | None]) -> int | None:
    """How many classes the first answer gives scores to, 0 for a label or a name; None without an answer."""
    given = next((answer for answer in answers if answer is not None), None)
    return None if given is None else len(given) if isinstance(given, np.ndarray) else 0


def numbered(answers: Iterable[Said | None]) -> dict[str, int]:
    """The names among answers, numbered in the order in which they first came.

    >>> numbered([3, "cat", "dog", "cat"]) == {"cat": NAMES, "dog": NAMES + 1}
    True
    """
    words = dict.fromkeys(answer for answer in answers if isinstance(answer, str))
    return {word: NAMES + place for place, word in enumerate(words)}


def as_answers(answers: Sequence[Said | None], classes: int, scores: int, names: dict[str, int]) -> Answers:
    """Answers of one form, as evidence is computed from them.

    Args:
      answers: one a question.
      classes: that the key is for.
      scores: as of `scores_in`, from all that the suspect said.
      names: with their numbers, as of `numbered`, from all that the suspect said.
    """
    if not scores:
        labels = [
            names[answer] if isinstance(answer, str) else answer if isinstance(answer, int) else -1
            for answer in answers
        ]
        return Answers(np.array(labels, np.int64), None, classes)
    missing = np.full(scores, np.nan)
    told = [answer if isinstance(answer, np.ndarray) else missing for answer in answers]
    return read_answers(np.stack(told), len(answers), classes)
