"""What services write about one picture, in JSON: scores of all classes, or the best classes with their names."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from wmjax.suspects.services.contract import Beside, Choice, Malformed, Said

_LABELS = ("label", "class", "class_name", "className", "displayName", "name", "prediction")
_BESIDE = ("classes", "class_ids", "class_id", "classId", "predicted_class", "predicted_label")
_SCORES = ("score", "confidence", "probability", "prob")
_VECTORS = ("probabilities", "scores", "confidences", "logits", "output", "outputs")
_PARALLEL = (("displayNames", "confidences"), ("labels", "scores"), ("classes", "scores"))


def read_said(value: Any) -> Said:
    """What one picture's part of an answer says.

    >>> read_said([0.1, 0.9]).tolist(), read_said("cat"), read_said([{"label": "cat", "score": 0.9}])
    ([0.1, 0.9], (Choice(label='cat', score=nan),), (Choice(label='cat', score=0.9),))

    Args:
      value: null or an empty list for a refusal; a class's name or number; a list of numbers; a list of objects with a
        name and a score each, or one of them; parallel lists of names and scores; an object of scores by name; an
        object that holds a list of numbers under a usual name.

    Raises:
      Malformed: it is none of these.
    """
    if value is None or value == []:
        return ()
    if isinstance(value, str) or type(value) is int:
        return (Choice(value),)
    if isinstance(value, list):
        return _of_list(value)
    if isinstance(value, dict):
        return _of_object(value)
    raise Malformed("it answers with neither scores nor names of classes", value)


def read_only(values: Any) -> Said:
    """What the part of the only picture says; raises `Malformed` where there are more parts, or none."""
    if not isinstance(values, list) or len(values) != 1:
        came = f"{len(values)} answers" if isinstance(values, list) else values
        raise Malformed("it was asked about one picture, and does not answer about one", came)
    return read_said(values[0])


def beside(scores: Said, label: Any) -> Said:
    """What scores say and a class that is named beside them; raises `Malformed` where that is not a name of a class."""
    if isinstance(scores, Beside):
        return scores
    if type(label) not in (str, int):
        raise Malformed("it answers with objects that name no class", label)
    return Beside(scores, label)


def _of_list(values: list[Any]) -> Said:
    if all(isinstance(value, dict) for value in values):
        return tuple(_choice(value) for value in values)
    if len(values) == 1 and isinstance(values[0], list | str):
        return read_said(values[0])
    if len(values) == 1 and type(values[0]) is int:
        return (Choice(values[0]),)
    return _scores(values)


def _parallel(value: dict[str, Any]) -> tuple[Choice, ...] | None:
    """The classes of parallel lists of names and scores; None where there are none."""
    pairs = [pair for pair in _PARALLEL if all(isinstance(value.get(name), list) for name in pair)]
    if not pairs:
        return None
    names, scores = pairs[0]
    _check_one(pairs, value)
    if len(value[names]) != len(value[scores]):
        raise Malformed("it answers with more names than scores, or fewer", value)
    return tuple(_choice({"label": n, "score": s}) for n, s in zip(value[names], value[scores], strict=True))


def _check_one(found: Sequence[object], value: Mapping[str, Any]) -> None:
    """Raises `Malformed` where an answer may be meant by one thing or another: either may be a decoy."""
    if len(found) > 1:
        raise Malformed("several things in it may be its answer: wrap it in a function, module:function", dict(value))


def _scores(values: Any) -> np.ndarray:
    numbers = isinstance(values, list) and all(type(value) in (int, float, type(None)) for value in values)
    if not numbers or len(values) < 2:
        raise Malformed("it answers with neither scores nor names of classes", values)
    if len(values) > 2 and len(set(values)) == len(values) and all(type(value) is int for value in values):
        raise Malformed("its whole numbers may be scores or the best classes: wrap it in a function", values)
    try:
        return np.array([np.nan if value is None else value for value in values], np.float64)
    except OverflowError as error:
        raise Malformed("it answers with numbers that are not scores", "") from error


def _choice(value: Mapping[str, Any]) -> Choice:
    labels = [value[name] for name in _LABELS if name in value]
    scores = [value[name] for name in _SCORES if name in value]
    for each in (labels, scores):
        _check_one([other for other in each if other != each[0]] and each, value)
    if not labels or not isinstance(labels[0], str | int) or isinstance(labels[0], bool):
        raise Malformed("it answers with objects that name no class", dict(value))
    score = scores[0] if scores and scores[0] is not None else float("nan")
    if type(score) not in (int, float):
        raise Malformed("it answers with scores that are not numbers", dict(value))
    return Choice(labels[0], float(score))


def _named(value: Mapping[str, Any], *known: str) -> str:
    """All that may name the one class that is answered, in one text; empty where nothing does.

    >>> _named({"class_ids": [3], "classes": ["cat"], "probabilities": [0.1, 0.9]})
    'cat 3'
    """
    found = [value[name] for name in _BESIDE if name in value]
    alone = [each[0] if isinstance(each, list) and len(each) == 1 else each for each in found]
    return " ".join([*known, *(str(each) for each in alone if type(each) in (str, int))])


def _of_object(value: dict[str, Any]) -> Said:
    scores: Said | None = _parallel(value)
    lists = [value[name] for name in _VECTORS if isinstance(value.get(name), list)]
    of_one = scores is not None and all(len(each) == 1 for each in lists)  # the score of one class that is named
    vectors = [] if of_one else [_scores(each) for each in lists]
    if any(len(each) != len(vectors[0]) or each.argmax() != vectors[0].argmax() for each in vectors[1:]):
        raise Malformed("it answers with several scores, of which each says something else", value)
    if scores is None and vectors:
        scores = vectors[0]
    if any(name in value for name in _LABELS):
        choice = _choice(value)
        return (choice,) if scores is None else beside(scores, _named(value, str(choice.label)))
    if scores is not None:
        named = _named(value)
        return beside(scores, named) if named else scores
    if value and all(type(score) in (int, float) for score in value.values()):
        return tuple(Choice(name, float(score)) for name, score in value.items())
    raise Malformed("it answers with an object that holds neither scores nor names of classes", value)
