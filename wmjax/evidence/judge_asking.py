"""The judge asks: the suspect's own answers about the triggers that a claim opened.

A suspect that fails on a picture has refused that picture: nobody gets rid of a verdict so, and nobody is acquitted by
it. One that gives no usable answer to the first questions is not there, or is not a classifier; that is not the claim's
fault.
"""

import hashlib
from collections.abc import Iterator
from typing import NamedTuple

import numpy as np

from wmjax import stats
from wmjax.data.dataset import Dataset
from wmjax.errors import AccessError, AnswerError, InvalidFile, NoAnswerError
from wmjax.evidence import transcript
from wmjax.evidence.claim import Claim, picks
from wmjax.evidence.judgement import REFUSED
from wmjax.keys.keyset import derive_some
from wmjax.keys.policies import Known
from wmjax.progress import progress
from wmjax.stats.contract import Truth
from wmjax.suspects.contract import Suspect
from wmjax.suspects.query import check_fits, query

_SILENCE = 8  # single questions without a usable answer, and none before: the suspect is not there
_PORTION = 1 << 20  # answers times classes that are asked for at once
_CALLS = 32  # questions to a service between two looks at the clock
FRESH = 40  # triggers that nobody opened, at most


class Heard(NamedTuple):
    """What the suspect said to the judge.

    Attributes:
      answers: about every opened trigger; in the place of a spent one a refusal.
      fresh: how many labels it repeats of how many fresh triggers.
      mixed: whether answers of several forms came, of which the labels alone count.
    """

    answers: stats.Answers
    fresh: tuple[int, int]
    mixed: bool


class Fresh(NamedTuple):
    """Triggers that no claim opened: the suspect was not shown them before.

    Attributes:
      images: uint8 [n, H, W, C].
      truth: what the secret says about them.
    """

    images: np.ndarray
    truth: Truth


def fresh_triggers(claim: Claim, source: Dataset | None) -> Fresh | None:
    """The next triggers that the claim's nonce picks, as its secret gives them; None where all are opened.

    Args:
      claim: its secret is revealed, and gives what it opened.
      source: of its images, where its scheme needs one.
    """
    spec, done = claim.commitment.spec, len(claim.rows)
    order = picks(claim.commitment, claim.nonce, min(done + FRESH, spec.triggers))[done:]
    if not order or claim.secret is None or (spec.source and source is None):
        return None
    images, labels = derive_some(claim.secret, spec, source, order, claim.material)
    return Fresh(images, spec.policy.truth(Known(spec, np.array(order), labels, claim.secret, claim.material)))


def ask(claim: Claim, suspect: Suspect) -> stats.Answers:
    """The suspect's answers about every opened trigger; in the place of a spent one a refusal.

    Raises:
      MisfitError: the suspect cannot carry this key: it takes other images.
      NoAnswerError, AnswerError: as of `usable`.
    """
    return ask_beside(claim, suspect, None, transcript.names_of(claim.rows)).answers


def as_claimed(claim: Claim, suspect: Suspect) -> Suspect:
    """The judge's suspect by that of its readings in which the claim asked; where it says none, by the likest one.

    Raises:
      UsageError: it has no such reading.
      NoAnswerError, AnswerError: as of `usable`.
    """
    if claim.reading and suspect.reading:
        return suspect.read(claim.reading)
    if not suspect.readings:
        return suspect
    told = transcript.answers(claim.rows, claim.commitment.spec.classes).labels
    agreed = [int(np.sum(ask(claim, each).labels == told)) for each in suspect.readings]
    return suspect.readings[int(np.argmax(agreed))]


def ask_beside(claim: Claim, suspect: Suspect, fresh: Fresh | None, names: dict[str, int]) -> Heard:
    """As `ask`, and fresh triggers beside; raises as it does.

    All are asked in one random order, so that no place says which is which.

    Args:
      claim: whose triggers are asked.
      suspect: whom.
      fresh: triggers that nobody opened.
      names: those of the transcript, with their numbers: new ones are added.
    """
    spec = claim.commitment.spec
    check_fits(suspect, spec)
    opened = [place for place, row in enumerate(claim.rows) if row.opening]
    images = [row.opening.input for row in claim.rows if row.opening] + ([] if fresh is None else list(fresh.images))
    seed = hashlib.sha256(claim.nonce + (claim.secret or b"")).digest()
    order = np.random.default_rng(list(seed)).permutation(len(images))
    given, mixed = usable(suspect, np.stack([images[i] for i in order]), spec.classes, names)
    given = given[np.argsort(order)]
    labels = np.full(len(claim.rows), REFUSED)
    labels[opened] = given.labels[: len(opened)]
    probabilities = None
    if given.probabilities is not None:
        probabilities = np.full((len(claim.rows), given.scores), 1.0 / given.scores)
        probabilities[opened] = given.probabilities[: len(opened)]
    known = (0, 0)
    if fresh is not None:
        repeated = stats.play(claim.commitment.rule, given[len(opened) :], fresh.truth).matches[-1]
        known = (int(repeated), len(fresh.images))
    return Heard(stats.Answers(labels, probabilities, spec.classes), known, mixed)


def usable(suspect: Suspect, images: np.ndarray, classes: int, names: dict[str, int]) -> tuple[stats.Answers, bool]:
    """Answers about images, of one form; what fails is a refusal. And whether several forms came.

    Where answers of several forms come, their labels count alone: nobody spoils the others by one of another form.

    Args:
      suspect: whom; it has to fit.
      images: uint8 [n, H, W, C], a key's.
      classes: that the key is for.
      names: the suspect's, with their numbers: new ones are added.

    Raises:
      NoAnswerError: the suspect gives no usable answer at all.
      AnswerError: all that it gives has another form.
    """
    parts = list(_answers(suspect, images, classes, names))
    told = [part for part in parts if part is not None]
    mixed = len({part.scores for part in told}) > 1
    if mixed:
        parts = [part and stats.Answers(part.labels, None, classes) for part in parts]
        told = [part for part in parts if part is not None]
    silent = stats.refusal(told[0] if told else stats.Answers(np.array([REFUSED]), None, classes))
    return stats.concatenate([silent if part is None else part for part in parts]), mixed


def _answers(
    suspect: Suspect, images: np.ndarray, classes: int, names: dict[str, int]
) -> Iterator[stats.Answers | None]:
    """What comes back: about many images at once where that may be and works, else about each; None for a failure."""
    portion, answered, failed = 1 if suspect.alone else max(1, _PORTION // classes), False, 0
    portion = min(portion, _CALLS) if suspect.wire else portion
    with progress(f"asking {suspect.name}", len(images)) as advance:
        for start in range(0, len(images), portion):
            batch = images[start : start + portion]
            try:
                if len(batch) > 1:
                    yield query(suspect, batch, classes, names)
                    answered = True
                    advance(len(batch))
                    continue
            except (AccessError, InvalidFile):
                pass  # whose fault it was, only single questions show
            for image in batch:
                try:
                    yield query(suspect, image[None], classes, names)
                    answered = True
                except (AccessError, InvalidFile) as error:
                    failed += 1
                    if not answered and failed == min(_SILENCE, len(images)):
                        raise _no_answer(f"no usable answer to {failed} questions: {error}", error) from error
                    yield None
                advance(1)


def _no_answer(told: str, error: Exception) -> AccessError:
    """Of a suspect that answers in another form something else is wrong than with one that is not there."""
    return AnswerError(told, error.came) if isinstance(error, AnswerError) else NoAnswerError(told)
