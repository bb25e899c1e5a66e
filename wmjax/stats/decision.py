"""What a rule says of a path: a match, a no-match, or neither."""

import dataclasses
from typing import Literal

import numpy as np

from wmjax.stats.contract import Path
from wmjax.stats.rule import Rule

Outcome = Literal["match", "no-match", "inconclusive"]


@dataclasses.dataclass(frozen=True)
class Decision:
    """What a rule says of one suspect, or of many; arrays of the path's leading axes.

    Attributes:
      matched: bool.
      cleared: bool, never where `matched` is.
      used: int64, answers that it rests on.
    """

    matched: np.ndarray
    cleared: np.ndarray
    used: np.ndarray

    @property
    def decided(self) -> np.ndarray:
        """Where it is a match or a no-match, bool."""
        return np.asarray(self.matched | self.cleared)

    @property
    def outcome(self) -> Outcome:
        """Of one suspect."""
        return "match" if self.matched else "no-match" if self.cleared else "inconclusive"


def clears(path: Path, rule: Rule) -> np.ndarray:
    """After which answers suspects could be cleared, bool [..., n]."""
    return (path.acquittal >= rule.clear_bits) & (path.evidence < 0.0) & (path.peak < rule.match_bits)


def decide(path: Path, rule: Rule, *, stop: bool, match_bits: float | None = None, exact: bool = True) -> Decision:
    """The three-way verdict.

    `match` as soon as evidence reaches log2(1/alpha); `no-match` as soon as acquittal reaches log2(1/beta) while
    there is no evidence for the key (below 0 bits) and never was a match: a copy that repeats few labels but leans
    towards them goes on being asked. Neither: `inconclusive`, which never means "not stolen".

    >>> path = Path(*np.array([[5.0, 21.0], [0.0, 0.0], [5.0, 21.0], [1, 2], [0, 0]]))
    >>> decide(path, Rule(1e-6, 1e-3, 0.4, 2), stop=True).outcome
    'match'

    Args:
      path: as from a kind's `bet`, [..., n].
      rule: the thresholds.
      stop: use no answer after the first that decides. Otherwise use all: a match at any of them stays one, an
        acquittal must still stand at the last.
      match_bits: evidence that makes a match, where that is more than the rule's.
      exact: whether evidence exists for this key. Without it nothing matches, and the acquittal at the end decides.
    """
    n = path.evidence.shape[-1]
    matched = path.evidence >= (rule.match_bits if match_bits is None else match_bits)
    cleared = clears(path, rule)
    if not exact:
        matched, cleared, stop = np.zeros_like(matched), path.acquittal >= rule.clear_bits, False
    if not stop:
        ever = np.asarray(matched.any(axis=-1))
        return Decision(ever, cleared[..., -1] & ~ever, np.full(ever.shape, n))
    decides = matched | cleared
    first = decides.argmax(axis=-1)
    matched, cleared = (
        np.take_along_axis(those, first[..., None], axis=-1)[..., 0] for those in (matched, cleared & ~matched)
    )
    return Decision(matched, cleared, np.where(decides.any(axis=-1), first + 1, n))
