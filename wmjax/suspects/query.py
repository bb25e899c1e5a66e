"""How a suspect is asked about images, and what it answers read."""

import contextlib
import math
import reprlib
import sys
from collections.abc import Sequence
from typing import Any

import numpy as np

from wmjax.errors import AccessError, AnswerError, GoneError, InvalidFile, MisfitError, NoAnswerError
from wmjax.keys import Spec
from wmjax.stats import Answers, concatenate, may_rank, read_answers, refusal, stack
from wmjax.suspects.adapt import adapt, adaptation
from wmjax.suspects.child import is_refused
from wmjax.suspects.contract import Suspect
from wmjax.text import first_line, printable

LONGEST_CAME = 200  # characters of an answer in another form that are kept
_LARGEST_IMAGE = 1 << 26  # bytes; also of the images that are made of a key's at once


def check_there(suspect: Suspect) -> None:
    """After a refusal: a service that has gone wrong altogether is told from one that is silent about a picture.

    It is asked about a plain picture, so that this costs no trigger.

    Raises:
      GoneError: it answers that no more as it did before.
    """
    if suspect.wire:
        suspect.wire.check()


def check_fits(suspect: Suspect, spec: Spec) -> None:
    """Raises `MisfitError` where a suspect's images cannot be made of a key's."""
    image = suspect.image
    if image is not None and (adaptation(spec.image, image) is None or math.prod(image) > _LARGEST_IMAGE):
        raise MisfitError(f"suspect {suspect.name} has images {image}, the key {spec.image}: it cannot carry this key")


def query_each(
    suspect: Suspect,
    images: np.ndarray,
    classes: int,
    names: dict[str, int] | None = None,
    of: np.ndarray | None = None,
) -> Answers:
    """What `query` reads by each of a suspect's readings, [readings, n]; other arguments and errors as of `query`.

    Args:
      of: bool [readings], which of them are asked, at least one; others count as a refusal. None: all.
    """
    given = {at: query(each, images, classes, names) for at, each in enumerate(suspect.asked) if of is None or of[at]}
    silent = refusal(next(iter(given.values())))
    return stack([given.get(at, silent) for at in range(len(suspect.asked))])


def query(suspect: Suspect, images: np.ndarray, classes: int, names: dict[str, int] | None = None) -> Answers:
    """Asks once about each image, as the suspect takes it, and reads what came back.

    Args:
      suspect: whom; it has to fit, by `check_fits`.
      images: uint8 [n, H, W, C], a key's.
      classes: that the key is for.
      names: as of `stats.read_answers`.

    Raises:
      NoAnswerError: the suspect failed to answer; `GoneError` where it is not there any more.
      AnswerError: its answer has not the form of labels or scores.
    """
    image = suspect.image or images.shape[1:]
    portion = len(images) if image == images.shape[1:] else max(1, _LARGEST_IMAGE // math.prod(image))
    with contextlib.redirect_stdout(sys.stderr):  # stdout is the verdict's
        parts = [
            answered(suspect, adapt(images[at : at + portion], image), classes, names)
            for at in range(0, max(1, len(images)), max(1, portion))
        ]
    return joined(parts)


def joined(parts: Sequence[Answers]) -> Answers:
    """A suspect's answers to several calls, one after another; raises `AnswerError` where they have several forms."""
    if len({part.scores for part in parts}) > 1:
        raise mixed("labels and scores")
    return concatenate(parts)


def mixed(came: str) -> AnswerError:
    """What is wrong with a suspect that answers in another form than before; `came` as of `AnswerError`."""
    return AnswerError("the suspect answers now with labels, now with scores: it must keep to one form", came)


def answered(suspect: Suspect, images: np.ndarray, classes: int, names: dict[str, int] | None = None) -> Answers:
    """What `query` reads, about images as the suspect takes them; its output is not redirected."""
    try:
        raw = suspect.ask(images)
    except AccessError:  # of a process of its own, in one line
        raise
    except (Exception, SystemExit) as error:  # a stranger's code: whatever it raises is its failure to answer
        reason = f"{type(error).__name__} {first_line(error)}"
        kind = GoneError if is_refused(error) else NoAnswerError
        raise kind(f"suspect {suspect.name} failed to answer: {reason}") from error
    try:
        given = np.asarray(raw)
        answers = read_answers(given, len(images), classes, suspect.name, names)
    except InvalidFile as error:
        raise AnswerError(str(error), came(raw)) from error
    except Exception as error:  # ragged lists, tensors that will not leave their device, ...
        raise AnswerError(f"suspect {suspect.name} answered with no array of numbers", came(raw)) from error
    if suspect.remembers and answers.probabilities is not None and may_rank(given, classes).any():
        several = (  # of a file at hand, which nobody wraps, such answers are refusals, as `read_answers` says
            "numbers that may be scores, ranks or the classes from the best on: wrap it in a function"
        )
        raise AnswerError(f"suspect {suspect.name} answered with {several}", came(raw))
    return answers


def came(raw: Any) -> str:
    r"""What a stranger's code returned, fit for a record: its form and how it begins.

    >>> came(np.zeros((1, 3))), came("no\x1b[2J" * 99)[:14]
    ('ndarray float64 [1, 3]: array([[0., 0., 0.]])', "str: 'no\\x1b[2")
    """
    form, brief = type(raw).__name__, reprlib.Repr()
    brief.maxstring = brief.maxother = LONGEST_CAME
    try:
        form += f" {raw.dtype} {list(raw.shape)}" if hasattr(raw, "dtype") else ""
        form += f": {brief.repr(raw)}"
    except Exception:  # of a stranger's own class, perhaps
        form += ", which cannot be shown"
    return printable(" ".join(form.split()))[:LONGEST_CAME]
