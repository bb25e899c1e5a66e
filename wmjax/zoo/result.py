"""What an audit found, as tables of models by keys."""

import dataclasses
from typing import Any

import numpy as np

from wmjax.zoo.records import Unreadable

OUTCOMES = ("not-applicable", "no-match", "inconclusive", "match")  # what the numbers in `Result.outcomes` mean


@dataclasses.dataclass(frozen=True)
class Asked:
    """A key that the zoo was asked about, without its secret.

    Attributes:
      id: of its commitment.
      name: of its file.
      scheme, labels, image, classes, triggers: from its spec.
      alpha: that its commitment names.
    """

    id: str
    name: str
    scheme: str
    labels: str
    image: tuple[int, int, int]
    classes: int
    triggers: int
    alpha: float


@dataclasses.dataclass(frozen=True, eq=False)
class Result:
    """Verdicts on N models and K keys.

    Attributes:
      models: their names.
      families: name of each model's network.
      keys: that were asked.
      outcomes: int8 [N, K], places in `OUTCOMES`.
      bits: float64 [N, K], evidence where asking stopped; NaN where not applicable or the key's labels are fixed.
      queries: int32 [N, K], triggers asked.
      matches: int32 [N, K], answers equal to the secret label.
      curves: evidence after each query of the pairs worth a look (all matches among them), by (model, key).
      notes: what the pair's verdict rests on, by (model, key); at least for every match.
      unreadable: models and keys that could not be used.
      alpha: the level of `procedure`.
      procedure: `e-BH (false discovery rate)` or `Bonferroni (family-wise error rate)`.
      seconds: that the audit took, resumed parts included.
    """

    models: list[str]
    families: list[str]
    keys: list[Asked]
    outcomes: np.ndarray
    bits: np.ndarray
    queries: np.ndarray
    matches: np.ndarray
    curves: dict[tuple[int, int], list[float]]
    notes: dict[tuple[int, int], list[str]]
    unreadable: list[Unreadable]
    alpha: float
    procedure: str
    seconds: float

    def pairs(self, outcome: str) -> list[dict[str, Any]]:
        """The pairs with this outcome as JSON values, strongest evidence first."""
        rows, columns = np.nonzero(self.outcomes == OUTCOMES.index(outcome))
        found = sorted(zip(rows, columns, strict=True), key=lambda at: -np.nan_to_num(self.bits[at], nan=-np.inf))
        return [
            {
                "model": self.models[i],
                "key": self.keys[k].id,
                "evidence_bits": None if np.isnan(self.bits[i, k]) else round(float(self.bits[i, k]), 3),
                "queries": int(self.queries[i, k]),
                "verdict": outcome,
            }
            for i, k in found
        ]

    def to_json(self) -> dict[str, Any]:
        """The audit as the versioned JSON document."""
        return {
            "version": 1,
            "models": len(self.models),
            "keys": len(self.keys),
            "matches": self.pairs("match"),
            "inconclusive": self.pairs("inconclusive"),
            "unreadable": [dataclasses.asdict(item) for item in self.unreadable],
            "alpha": self.alpha,
            "procedure": self.procedure,
            "seconds": round(self.seconds, 3),
        }
