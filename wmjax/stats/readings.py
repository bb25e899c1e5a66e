"""Several readings of one suspect: who has its file, but not how its pixels are prepared, asks it in each usual way.

The gambler bets on every reading at once, with equal stakes: an average of wealths is a wealth, so the bound holds as
for one, and the right reading among R costs log2(R) bits. A suspect is cleared where every reading of it is: the right
one is among them, and clears a copy with chance beta at most. How many classes an output tells apart is what any
reading of it shows: else nobody would be cleared who gives one answer to all pictures that are far too bright.

A reading that is cleared need not be asked any further: its wealth stays what it was, as of any gambler who stops, and
beta bounds the chance that a copy is *ever* cleared. The last of 14 readings takes about twice as long as the first.
"""

from collections.abc import Callable
from typing import NamedTuple

import numpy as np

from wmjax.stats.answers import Answers, only
from wmjax.stats.contract import Path, State, Truth
from wmjax.stats.decision import clears
from wmjax.stats.kinds import kind_of
from wmjax.stats.mixture import mixed
from wmjax.stats.rule import Rule


class Bets(NamedTuple):
    """The state of bets on the readings of suspects; arrays begin with [..., readings].

    Attributes:
      own: the state of the kind of evidence.
      stood: how each reading stood after the last answer that counts.
      open: bool, whether it is to be asked on: it is not cleared by itself.
    """

    own: State
    stood: Path
    open: np.ndarray


def begin(rule: Rule, shape: tuple[int, ...]) -> Bets:
    """Nothing asked yet, of readings in an array of this shape, (..., readings)."""
    bits, counts = np.zeros(shape), np.zeros(shape, np.int64)
    return Bets(kind_of(rule).start(shape), Path(bits, bits, bits, counts, counts), np.ones(shape, bool))


def bet_each(
    state: Bets,
    answers: Answers,
    truth: Truth,
    rule: Rule,
    *,
    outputs: int = 1,
    fresh: int | None = None,
    stop: bool = False,
) -> tuple[Bets, Path]:
    """What `Evidence.bet` gives for suspects whose readings are asked alike.

    Args:
      state: of each reading, as `begin` or this function gave it.
      answers: labels [..., readings, n]; of readings that are not open any more they count for nothing.
      truth: what the secret says about the n questions.
      rule: the key's.
      outputs: of how many the readings are, one after another.
      fresh: of the n questions, the first ones that are about new triggers; may be less than 0 or more than n. Others
        clear nobody. None: all.
      stop: use no answer of a reading after the first that clears it.

    Returns:
      the state, and the path of the suspects, arrays [..., n].
    """

    def bet(answers: Answers) -> tuple[State, Path]:
        own, path = kind_of(rule).bet(state.own, answers, truth, rule, outputs=outputs)
        return own, _of_fresh(path, fresh, state.stood.acquittal)

    if stop and state.open.shape[-1] > 1:
        return _bet_until_cleared(state, answers, rule, bet)
    own, path = bet(answers)
    found = of_readings(path, np.ones(path.evidence.shape, bool))
    return Bets(own, _last(path), state.open), found


def play_each(
    rule: Rule,
    answers: Answers,
    truth: Truth,
    outputs: int = 1,
    *,
    fresh: int | None = None,
    stop: bool = False,
) -> Path:
    """The path [..., n] over all answers [..., readings, n] at once; arguments as of `bet_each`."""
    begun = begin(rule, answers.labels.shape[:-1])
    return bet_each(begun, answers, truth, rule, outputs=outputs, fresh=fresh, stop=stop)[1]


def _bet_until_cleared(
    state: Bets, answers: Answers, rule: Rule, bet: Callable[[Answers], tuple[State, Path]]
) -> tuple[Bets, Path]:
    """As `bet_each` with `stop`.

    What a reading answers after it was cleared is nothing to the others either, so that it may be asked or not. Which
    answers these are is found by looking again until nothing changes: each look is right about one answer more.
    """
    counts = np.repeat(state.open[..., None], len(answers), axis=-1)
    while True:
        own, path = bet(only(answers, counts))
        path, now, still = _stopped(path, state, rule)
        if (now == counts).all():
            return Bets(own, _last(path), still), of_readings(path, counts)
        counts = now


def _last(path: Path) -> Path:
    """How things stood after the last answer, arrays [...]."""
    return Path(*(array[..., -1] for array in path))


def _of_fresh(path: Path, fresh: int | None, before: np.ndarray) -> Path:
    """The path with the acquittal of its first answers alone: what was shown before clears nobody."""
    n = path.acquittal.shape[-1]
    fresh = n if fresh is None else min(max(0, fresh), n)
    last = path.acquittal[..., fresh - 1 : fresh] if fresh else before[..., None]
    return path._replace(acquittal=np.where(np.arange(n) < fresh, path.acquittal, last))


def _stopped(path: Path, state: Bets, rule: Rule) -> tuple[Path, np.ndarray, np.ndarray]:
    """The path on which each reading stays where it was cleared, which of its answers count, and what is still open."""
    cleared, numbers = clears(path, rule), np.arange(path.evidence.shape[-1])
    ever = cleared.any(axis=-1)
    last = np.where(ever, cleared.argmax(axis=-1), numbers[-1])[..., None]
    places, was_open = np.minimum(numbers, last), state.open[..., None]
    kept = (
        np.where(was_open, np.take_along_axis(array, places, axis=-1), stood[..., None])
        for array, stood in zip(path, state.stood, strict=True)
    )
    return Path(*kept), was_open & (numbers <= last), state.open & ~ever


def of_readings(path: Path, counts: np.ndarray) -> Path:
    """The path of suspects from those of their readings.

    >>> path = Path(*np.array([[[0.0], [21.0]], [[9.0], [-9.0]], [[0.0], [21.0]], [[0], [7]], [[0], [0]]]))
    >>> found = of_readings(path, np.ones((2, 1), bool))
    >>> found.evidence.round(2).tolist(), found.reading.tolist()
    ([20.0], [1])

    Args:
      path: arrays [..., readings, n].
      counts: bool [..., readings, n], whether a reading was still to be asked.

    Returns:
      arrays [..., n]. Matches are those of the reading that shows the most evidence of those still asked, or, where
      none shows more than another, of the one with the most; a peak is the highest of any reading, which is no less
      than the mixture's.
    """
    if path.evidence.shape[-2] == 1:
        return Path(*(array[..., 0, :] for array in path))
    evidence = mixed(path.evidence, axis=-2)  # 0 of zeros, exactly
    asked = np.where(counts, path.evidence, -np.inf)
    most = counts & (asked == asked.max(axis=-2, keepdims=True))
    reading = np.where(most, path.matches, -1).argmax(axis=-2)
    matches = np.take_along_axis(path.matches, reading[..., None, :], axis=-2)[..., 0, :]
    return Path(evidence, path.acquittal.min(axis=-2), path.peak.max(axis=-2), matches, reading)
