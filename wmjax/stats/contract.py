"""What a kind of evidence is: pure functions over a small state, for one suspect or for many side by side.

Whoever gathers answers (a verification, an audit's round, a claim, an attack, a judge) starts a state, has each batch
of answers bet on, and lets `decision.decide` look at the path. None of them knows what a bet is. A kind may bet on each
answer by itself, or on a figure of all answers so far: then its state holds what that figure needs, and its path moves
only at the stages that it declares.
"""

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple, TypeVar

import numpy as np

from wmjax.stats.answers import Answers

State = Any  # a NamedTuple of arrays that all begin with the leading axes; each kind has its own
Truth = Any  # what the secret says about the questions at hand; keys and transcripts make it, only a kind looks inside
_Rows = TypeVar("_Rows", bound=tuple[Any, ...])


class Path(NamedTuple):
    """How things stood after each of n answers; arrays [..., n].

    Attributes:
      evidence: float64, bits for "this suspect knows the secret": log2 of the wealth.
      acquittal: float64, bits against "this suspect repeats at least `rate` of the secret".
      peak: float64, the most evidence so far, earlier bets included; 0 before the first.
      matches: int64, how often the secret was repeated so far.
      reading: int64, which reading of the suspect these are of, where there are several (`readings.of_readings`).
    """

    evidence: np.ndarray
    acquittal: np.ndarray
    peak: np.ndarray
    matches: np.ndarray
    reading: np.ndarray


class Evidence(NamedTuple):
    """A kind of evidence.

    Attributes:
      name: with its version, as commitments have it: `labels/1`. Whatever changes a bit of a path is a new version.
      start: `start(shape)` is the state before the first answer, of suspects in an array of that shape.
      bet: `bet(state, answers, truth, rule, outputs=0)` is the state after more answers, and the path over them; with
        `outputs` the last of the leading axes are the readings of one suspect, of so many outputs. Under "these
        suspects have nothing to do with the secret", 2 ** evidence must be a test martingale, or below one, from the
        first answer on, so that by Ville's inequality it ever reaches 1/alpha with chance alpha at most; under "they
        repeat at least `rule.rate`", 2 ** acquittal likewise.
      perfect: `perfect(truth, classes)` is what a suspect answers that knows all of the secret.
      redraw: `redraw(answers, truth, rng)` is a calibrated p-value of the evidence from all answers, against secrets
        drawn anew.
      exact: whether there is any: else evidence stays 0, and matches are ranked among those of null models or decoys.
      independent: whether matches are independent trials under the null, with chance 1/C each, so that binomial figures
        apply.
      stages: `stages(n)` is after how many answers the path of a key of n triggers moves; empty where each answer moves
        it.
      coins: `coins(truth)` is how many coins matches are out of; None where it is the answers.
      leanings: `leanings(answers, truth)` is how far each coin shows, float64 [coins]: above 0 where its own side does;
        None where there are none.
    """

    name: str
    start: Callable[[tuple[int, ...]], State]
    bet: Callable[..., tuple[State, Path]]
    perfect: Callable[[Truth, int], Answers]
    redraw: Callable[[Answers, Truth, np.random.Generator], float]
    exact: bool
    independent: bool
    stages: Callable[[int], tuple[int, ...]] = lambda triggers: ()
    coins: Callable[[Truth], int] | None = None
    leanings: Callable[[Answers, Truth], np.ndarray] | None = None


def join(paths: Sequence[Path]) -> Path:
    """One path from the paths of batches that were bet on one after another."""
    return Path(*(np.concatenate(parts, axis=-1) for parts in zip(*paths, strict=True)))


def next_stage(kind: Evidence, asked: int, triggers: int) -> int:
    """How many answers there will be when the path moves again: answers before that are worth asking together."""
    return next((stage for stage in kind.stages(triggers) if stage > asked), asked + 1)


def rows_of(arrays: _Rows, rows: np.ndarray) -> _Rows:
    """A state or path of some suspects out of many: the rows of their first axis, also of states in it.

    >>> rows_of(Path(*np.arange(10).reshape(5, 2, 1)), np.array([1])).matches.tolist()
    [[7]]
    """
    return type(arrays)(*(rows_of(part, rows) if isinstance(part, tuple) else part[rows] for part in arrays))
