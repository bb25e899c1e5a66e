"""Keys without exact evidence: a suspect's matches are ranked among those of null models, or its own on decoy keys."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from wmjax import stats
from wmjax.data.dataset import Dataset
from wmjax.errors import UsageError
from wmjax.keys.derive import Stream
from wmjax.keys.keyset import Decoy, Key, draw_decoys
from wmjax.keys.specify import is_self_derived
from wmjax.suspects.contract import Suspect
from wmjax.suspects.query import query_each
from wmjax.verification.asking import Given, Question, ask, check_usable, put_together
from wmjax.verification.grounds import VerdictGround


class Null(NamedTuple):
    """What a suspect's matches are ranked among."""

    kind: VerdictGround
    matches: np.ndarray


def ask_ranked(
    question: Question, nulls: Sequence[Suspect], decoys: int, source: Dataset | None
) -> tuple[Given, Null | None]:
    """Answers about the whole key, and the matches to rank them among.

    Decoy keys are asked together with the key, in one random order: a quota or a drift hits all of them alike.

    Args:
      question: what is asked.
      nulls: models trained independently of the key; they are asked instead of decoys.
      decoys: how many decoy keys.
      source: of the key's images, for the decoys'.

    Returns:
      the answers; and None where there are no null models, and no decoys can be made without the source.

    Raises:
      UsageError: `decoys` is less than 1.
      AccessError, InvalidFile: as of `ask` and `draw_decoys`.
    """
    if decoys < 1:
        raise UsageError(f"`decoys` {decoys}: must be at least 1")
    key, limit = question.key, len(question.order.triggers)
    if nulls:
        matches = [
            _matches(query_each(model, key.images[:limit], key.spec.classes), key, np.arange(limit)) for model in nulls
        ]
        return ask(question, stop=False), Null(VerdictGround.NULL_MODELS, np.array(matches))
    if source is None and not is_self_derived(key.spec):
        return ask(question, stop=False), None
    return _interleaved(question, list(draw_decoys(key, source, decoys)))


def _interleaved(question: Question, decoys: Sequence[Decoy]) -> tuple[Given, Null]:
    """The key, decoys and ordinary images in one random order."""
    triggers, covers = question.order.triggers, len(question.cover)
    keys: list[Key | Decoy] = [question.key, *decoys]
    asked = [key.images[triggers] for key in keys]
    images = np.concatenate([*asked, question.cover])
    seed = Stream(question.key.secret, "interleave", 0).integers(2**32, 4)
    shuffled = np.random.default_rng(seed).permutation(len(images))
    numbers = np.full(len(images), -1)
    numbers[: len(triggers)] = triggers
    answers = put_together(question, numbers[shuffled], images[shuffled])
    check_usable(question.suspect, answers)
    back = np.argsort(shuffled)
    parts = np.split(back[: len(images) - covers], len(asked))
    whole = answers[parts[0]]
    matches = [_matches(answers[part], key, triggers) for part, key in zip(parts[1:], decoys, strict=True)]
    truth, fresh = question.key.truth(triggers), question.order.fresh
    path = stats.play_each(question.rule, whole, truth, question.suspect.outputs, fresh=fresh)
    reading = int(path.reading[-1])
    refused = int(np.sum(answers.labels[reading, back[len(images) - covers :]] < 0))
    found = Given(whole.of(reading), triggers, fresh, path, reading, covers, refused)
    return found, Null(VerdictGround.DECOY_KEYS, np.array(matches))


def _matches(answers: stats.Answers, key: Key | Decoy, triggers: np.ndarray) -> int:
    """Labels of a key that a suspect repeats, by the reading that repeats most; answers [readings, n]."""
    return int(np.sum(answers.labels == key.labels[triggers], axis=-1).max())
