"""The rule of a verdict: thresholds that are fixed before any suspect is asked."""

import dataclasses
import numbers
from typing import Any

import numpy as np

from wmjax.errors import UsageError

SEARCH_BITS = 128  # of evidence, which no search for a fitting secret gains: nobody tries 2**128 of them


def bits_for(chance: float) -> float:
    """Evidence that comes about with this chance at most, by Ville's inequality.

    >>> bits_for(1 / 1024)
    10.0
    """
    return -float(np.log2(chance))


@dataclasses.dataclass(frozen=True)
class Rule:
    """How a verdict is reached; fixed in the commitment, before any suspect is asked.

    Attributes:
      alpha: largest chance that a model independent of the key is ever called a match.
      beta: largest chance that a model repeating at least `rate` of the labels is ever called no match.
      rate: share of the labels that a copy is held to repeat.
      max_queries: triggers that may be asked.
      evidence: kind of evidence, with its version; `wmjax.stats.EVIDENCE` holds those that exist.
    """

    alpha: float
    beta: float
    rate: float
    max_queries: int
    evidence: str = "labels/1"

    def __post_init__(self) -> None:
        for name in ("alpha", "beta", "rate"):
            value: Any = getattr(self, name)
            is_real = isinstance(value, numbers.Real)
            number = float(value) if is_real and 0 < value < 1 else 0.0
            if not 0.0 < number < 1.0:  # a fraction may be so close to either that no float is between
                raise UsageError(f"`{name}` {value!r:.50}: must be a number between 0 and 1")
            object.__setattr__(self, name, number)
        if type(self.max_queries) is not int or self.max_queries < 1:
            raise UsageError(f"max_queries {self.max_queries!r:.50}: must be at least 1")

    @property
    def match_bits(self) -> float:
        """Evidence that makes a match."""
        return bits_for(self.alpha)

    @property
    def clear_bits(self) -> float:
        """Evidence against copying that makes a no-match."""
        return bits_for(self.beta)
