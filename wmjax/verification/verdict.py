"""What was found out about one suspect and one key."""

import dataclasses
from typing import Any

import numpy as np

from wmjax import stats
from wmjax.grounds import Ground
from wmjax.verification.wording import told


@dataclasses.dataclass(frozen=True)
class Verdict:
    """What was found out about one suspect and one key.

    Attributes:
      verdict: `match`, `no-match` or `inconclusive` (which never means "not stolen").
      evidence_bits: log2 of the wealth won by betting on the secret labels; None if no exact evidence exists.
      alpha: largest chance of a match with a model that has nothing to do with the key.
      queries: triggers asked.
      matches: answers equal to the secret label; of keys that are read off all answers together, coins that agree.
      coins: how many coins matches are out of; None where it is the answers.
      triggers: in the whole key.
      match_rate: 95 % interval (Clopper & Pearson) of the match rate; None where asking stopped early.
      p_binomial: exact chance of so many matches; None if asking stopped early or no exact evidence exists.
      p_calibrated: rank among decoys or null models; None where asking stopped early or there are none.
      grounds: what the verdict rests on.
      key_id: of the commitment.
      suspect: its name.
      class_names: of the suspect's classes, as its files call them; empty where they do not.
      nonce: hex, from which and the secret the order of the questions follows; None: the key's own order.
      path: evidence in bits after each query; not part of the JSON document.
    """

    verdict: stats.Outcome
    evidence_bits: float | None
    alpha: float
    queries: int
    matches: int
    coins: int | None
    triggers: int
    match_rate: tuple[float, float] | None
    p_binomial: float | None
    p_calibrated: float | None
    grounds: tuple[Ground, ...]
    key_id: str
    suspect: str
    class_names: tuple[str, ...]
    nonce: str | None
    path: np.ndarray = dataclasses.field(repr=False)

    @property
    def needed_bits(self) -> float:
        """Evidence that makes a match."""
        return stats.bits_for(self.alpha)

    def to_json(self) -> dict[str, Any]:
        """The verdict as the versioned JSON document: its grounds as codes, and in words as `assumptions`."""
        values = {field.name: getattr(self, field.name) for field in dataclasses.fields(self) if field.name != "path"}
        return {
            "version": 1,
            **values,
            "needed_bits": self.needed_bits,
            "match_rate": self.match_rate and list(self.match_rate),
            "class_names": list(self.class_names),
            "assumptions": [told(ground) for ground in self.grounds],
            "grounds": [ground.to_json() for ground in self.grounds],
        }
