"""A service's words for classes as the owner numbers them, and what it said as `stats.read_answers` takes it."""

import itertools
import json
import re
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from wmjax.errors import InvalidFile
from wmjax.files import read_bytes
from wmjax.stats import shares, spread_top_k
from wmjax.suspects.services.contract import Beside, Choice, Malformed, Said
from wmjax.text import visible

_NUMBER = re.compile(r"(?:LABEL_)?(\d{1,7})", re.IGNORECASE)  # transformers' words for classes without names
_SLACK = 0.05  # by which rounding may move a sum of probabilities
_LARGEST = 1 << 24  # bytes of a file of labels


def read_labels(file: Path) -> tuple[str, ...]:
    """The names of classes in the order of the owner's numbers.

    Args:
      file: a name a line; or JSON: a list of names, an object of names by number, or a `config.json` with `id2label`.

    Raises:
      AccessError: it cannot be read.
      InvalidFile: it holds no such names, or one twice, or has more than 16 MiB.
    """
    raw = read_bytes(file)
    if len(raw) > _LARGEST:
        raise InvalidFile(f"{file} has {len(raw):,} bytes, and names of classes at most {_LARGEST:,}")
    try:
        text = raw.decode("utf-8-sig")
        names = _from_json(json.loads(text)) if text.lstrip()[:1] in ("[", "{") else text.splitlines()
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        raise InvalidFile(f"{file} holds no names of classes: give a name a line, in their order") from error
    names = [str(name).strip() for name in names]
    if len(names) < 2 or "" in names:
        raise InvalidFile(f"{file} must hold a name a line for two or more classes, and no empty line")
    if len(set(names)) < len(names):
        twice = next(name for name, count in Counter(names).items() if count > 1)
        raise InvalidFile(f"{file} holds {twice!r:.80} twice")
    return tuple(names)


def _from_json(values: Any) -> list[Any]:
    if isinstance(values, list):
        return values
    values = values.get("id2label", values)
    return [values[str(number)] for number in range(len(values))]


class Reader:
    """What a service said, as one answer each.

    Scores of the best classes alone are spread over all where the words for these are known, by a map or as numbers;
    else the best word is the answer, and bets on a renaming learn what it means. Where all classes have scores, unknown
    words are numbered in the order of the alphabet: the lowest may be best, and is looked at too. Of some classes the
    first must have the highest, or a distance would be taken for a probability. Where a class is named beside scores,
    each that is named must go with one that scores best: else either may be a decoy, and the other what is meant.
    """

    def __init__(self, labels: Sequence[str], classes: int):
        """Knows no answer yet.

        Args:
          labels: names of the classes, in the order of the owner's numbers; empty where they are not known.
          classes: that the key is for.
        """
        self._numbers = {name: number for number, name in enumerate(labels)}
        self._whence = "`labels` does not hold"
        self._classes = len(labels) or classes
        self._named: dict[str | int, str | int] = {}  # by the class that scores best
        self._best: dict[str | int, str | int] = {}  # by the class that is named

    def meet(self, said: Said) -> None:
        """Looks at a first answer: it may name more classes than the key is for.

        Raises:
          Malformed: it names one that is not in the map.
        """
        said = said.scores if isinstance(said, Beside) else said
        numbers = [self.number(choice.label) for choice in said if isinstance(choice, Choice)]
        known = [number for number in numbers if number is not None]
        if not self._numbers and known and len(known) == len(numbers):
            self._classes = max(self._classes, *(number + 1 for number in known))
        if not self._numbers and not known:
            self._number(said)

    def _number(self, said: np.ndarray | tuple[Choice, ...]) -> None:
        """Numbers the words of a first answer, where it scores all classes."""
        words = {str(each.label) for each in said if isinstance(each, Choice) and not np.isnan(each.score)}
        if max(2, self._classes) <= len(words):
            self._numbers = {word: number for number, word in enumerate(sorted(words))}
            self._whence = "its first answer did not hold: give `labels`"
            self._classes = len(words)

    def number(self, label: str | int) -> int | None:
        """The class that a word stands for; None where only bets on a renaming can tell.

        Raises:
          Malformed: the map lacks it.
        """
        if self._numbers:
            if label in self._numbers:
                return self._numbers[str(label)]
            if isinstance(label, str):
                raise Malformed(f"it says {visible(label)!r:.80}, which {self._whence}", label)
        found = _NUMBER.fullmatch(str(label).strip())
        return int(found[1]) if found else None

    def read(self, said: Said) -> np.ndarray | int | str:
        """One answer: scores float64 [A], a class's number, or a word; -1 for a refusal.

        Raises:
          Malformed: it names a class twice, one that the map lacks, or now this one and now that for the same scores.
        """
        if isinstance(said, Beside):
            self._check(said)
            said = said.scores
        if isinstance(said, np.ndarray):
            return _normalised(said)
        if not said:
            return -1
        best = max(said, key=lambda choice: -1.0 if np.isnan(choice.score) else choice.score)
        scores = [choice.score for choice in said]
        if len(said) < self._classes and any(after > before for before, after in itertools.pairwise(scores)):
            raise Malformed("it scores some classes, not from the highest on: wrap it in a function", [*said])
        number = self.number(best.label)
        if number is None:
            return str(best.label)
        if np.isnan([choice.score for choice in said]).any():
            return number if np.isnan([choice.score for choice in said]).all() else -1
        return self._scores(said, number)

    def _check(self, said: Beside) -> None:
        """The class that is named is the one that was named with these scores before.

        Of several that are equally good one has to be; which is named with which is not learned from these.
        """
        agree = [self._named.get(b, said.label) == said.label and self._best.get(said.label, b) == b for b in said.best]
        if said.best and not any(agree):
            raise Malformed("it names another class than its scores say", said.label)
        if len(said.best) == 1:
            self._named[said.best[0]], self._best[said.label] = said.label, said.best[0]

    def _scores(self, said: Sequence[Choice], best: int) -> np.ndarray | int:
        """Probabilities of all classes from those of some."""
        named = [(number, choice.score) for choice in said if (number := self.number(choice.label)) is not None]
        if len({number for number, _ in named}) < len(named):
            raise Malformed("it names a class twice", [choice.label for choice in said])
        if best >= self._classes:
            raise Malformed(f"it names class {best} of {self._classes}", best)
        named = [(number, score) for number, score in named if number < self._classes]
        numbers, scores = np.array([n for n, _ in named]), np.array([s for _, s in named], np.float64)
        if (scores < 0).any() or not np.isfinite(scores).all() or scores.sum() <= 0:
            return -1
        if len(named) < self._classes:
            return np.asarray(spread_top_k(numbers[None], scores[None], self._classes)[0])
        full = np.zeros(self._classes)
        full[numbers] = scores
        return shares(full) if full.max() <= 1 else np.asarray(full / full.sum())


def _normalised(scores: np.ndarray) -> np.ndarray:
    """Probabilities whose rounding keeps them from adding up to 1, mended; other scores as they are."""
    total = float(scores.sum())
    if 0 < abs(total - 1) < _SLACK and scores.min() >= 0 and scores.max() <= 1:
        return np.asarray(scores / total)
    return scores


def as_array(answers: Sequence[np.ndarray | int | str | None]) -> np.ndarray:
    """Answers of one form in one array, as `stats.read_answers` takes them; what has another form is a refusal.

    >>> as_array(["cat", None, "dog"]).tolist(), as_array([3, -1]).tolist()
    (['cat', '', 'dog'], [3, -1])

    Args:
      answers: of one picture each; None where none came.
    """
    first = next((answer for answer in answers if answer is not None and not _is_silent(answer)), -1)
    if isinstance(first, np.ndarray):
        missing = np.full(len(first), np.nan)
        return np.stack([a if isinstance(a, np.ndarray) and len(a) == len(first) else missing for a in answers])
    if isinstance(first, str):
        return np.array([answer if isinstance(answer, str) else "" for answer in answers])
    return np.array([answer if isinstance(answer, int) else -1 for answer in answers])


def _is_silent(answer: np.ndarray | int | str) -> bool:
    return isinstance(answer, int) and answer < 0
