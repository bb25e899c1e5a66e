"""Several readings of one suspect: who has its file, but not how its pixels are prepared, asks it in each usual way.

The gambler bets on every reading at once, with equal stakes: an average of wealths is a wealth, so the bound holds as
for one, and the right reading among R costs log2(R) bits. A suspect is cleared where every reading of it is: the right
one is among them, and clears a copy with chance beta at most. How many classes an output tells apart is what any
reading of it shows: else nobody would be cleared who gives one answer to all pictures that are far too bright.
"""

import numpy as np

from wmjax.stats.answers import Answers
from wmjax.stats.contract import Path, State, Truth
from wmjax.stats.kinds import kind_of
from wmjax.stats.mixture import mixed
from wmjax.stats.rule import Rule


def bet_each(state: State, answers: Answers, truth: Truth, rule: Rule, outputs: int = 1) -> tuple[State, Path]:
    """What `Evidence.bet` gives for suspects whose readings are asked alike.

    Args:
      state: of each reading, as the kind's `start((..., readings))` begins it.
      answers: labels [..., readings, n].
      truth: what the secret says about the n questions.
      rule: the key's.
      outputs: of how many the readings are, one after another.

    Returns:
      the state, and the path of the suspects, arrays [..., n].
    """
    state, path = kind_of(rule).bet(state, answers, truth, rule, outputs=outputs)
    return state, of_readings(path)


def play_each(rule: Rule, answers: Answers, truth: Truth, outputs: int = 1) -> Path:
    """The path [..., n] over all answers [..., readings, n] at once."""
    return bet_each(kind_of(rule).start(answers.labels.shape[:-1]), answers, truth, rule, outputs)[1]


def of_readings(path: Path) -> Path:
    """The path of suspects from those of their readings.

    >>> path = Path(*np.array([[[0.0], [21.0]], [[9.0], [-9.0]], [[0.0], [21.0]], [[0], [7]], [[0], [0]]]))
    >>> of_readings(path).evidence.round(2).tolist(), of_readings(path).reading.tolist()
    ([20.0], [1])

    Args:
      path: arrays [..., readings, n].

    Returns:
      arrays [..., n]. Matches are those of the reading that shows the most evidence, or, where none shows more than
      another, of the one with the most; a peak is the highest of any reading, which is no less than the mixture's.
    """
    if path.evidence.shape[-2] == 1:
        return Path(*(array[..., 0, :] for array in path))
    highest = path.evidence.max(axis=-2, keepdims=True)
    evidence = mixed(path.evidence, axis=-2)  # 0 of zeros, exactly
    most = path.evidence == highest
    reading = np.where(most, path.matches, -1).argmax(axis=-2)
    matches = np.take_along_axis(path.matches, reading[..., None, :], axis=-2)[..., 0, :]
    return Path(evidence, path.acquittal.min(axis=-2), path.peak.max(axis=-2), matches, reading)
