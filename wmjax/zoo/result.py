"""What an audit found, as tables of models by keys."""

import dataclasses
from collections.abc import Iterator, Mapping
from functools import cached_property
from typing import Any

import numpy as np

from wmjax.grounds import Ground
from wmjax.verification.grounds import withholds
from wmjax.zoo.grounds import AuditGround, Basis, Unasked
from wmjax.zoo.records import Unreadable
from wmjax.zoo.scope import Asked
from wmjax.zoo.wording import name_of

OUTCOMES = ("not-applicable", "no-match", "inconclusive", "match")  # what the numbers in `AuditResult.outcomes` mean
_RANKS = (AuditGround.RANKED, AuditGround.NO_NULLS)
_UNASKED = frozenset(Unasked) - {Unasked.OTHER_SIZE}  # whose weights are asked as another model
NOT_APPLICABLE, NO_MATCH, INCONCLUSIVE, MATCH = range(len(OUTCOMES))


@dataclasses.dataclass(frozen=True)
class AuditFinding:
    """The verdict on one model and one key.

    Attributes:
      model, key: their names.
      verdict: `match`, `no-match`, `inconclusive` or `not-applicable`.
      evidence_bits: where asking stopped; None where not applicable or no exact evidence exists.
      queries: triggers asked.
      matches: answers equal to the secret label.
    """

    model: str
    key: str
    verdict: str
    evidence_bits: float | None
    queries: int
    matches: int


@dataclasses.dataclass(frozen=True)
class NotAsked:
    """Models of one family that were not asked about some keys.

    Attributes:
      models: their names.
      keys: that are not applicable to them.
      why: the same for all, an `Unasked`.
    """

    models: tuple[str, ...]
    keys: tuple[Asked, ...]
    why: Ground

    def to_json(self) -> dict[str, Any]:
        """The same as JSON values."""
        return {"models": list(self.models), "keys": [key.id for key in self.keys], "why": self.why.to_json()}


@dataclasses.dataclass(frozen=True, eq=False)
class AuditResult:
    """Verdicts on N models and K keys.

    Attributes:
      models: their names.
      families: name of each model's network.
      keys: that were asked.
      outcomes: int8 [N, K], places in `OUTCOMES`.
      bits: float64 [N, K], evidence where asking stopped; NaN where not applicable or no exact evidence exists.
      queries: int32 [N, K], triggers asked.
      matches: int32 [N, K], answers equal to the secret label.
      curves: evidence after each query of the pairs worth a look (all matches among them), by (model, key).
      grounds: what the pair's verdict rests on, by (model, key); at least for every match.
      remarks: by family, how it was asked where that was not as it is: resized triggers, pixels prepared otherwise;
        each with the name of the key that it is about, empty for all.
      unreadable: models and keys that could not be used.
      others: what of the zoo was passed over, a number for each kind: of files that are plainly no models by ending.
      alpha: the level of `procedure`.
      match_bits: evidence that made a match here, with the least strict key.
      procedure: code of what keeps the bound: `e-bh` (false discovery rate) or `bonferroni` (family-wise error rate).
      basis: code of what all figures rest on, a `wmjax.zoo.grounds.Basis`.
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
    grounds: dict[tuple[int, int], tuple[Ground, ...]]
    remarks: dict[str, tuple[tuple[str, Ground], ...]]
    unreadable: list[Unreadable]
    others: Mapping[str, int]
    alpha: float
    match_bits: float
    procedure: str
    basis: Basis
    seconds: float

    def __iter__(self) -> Iterator[AuditFinding]:
        """Every pair that was asked, matches first, then by evidence."""
        strength = np.nan_to_num(self.bits, nan=-np.inf)
        for place in np.lexsort((-strength.ravel(), -self.outcomes.ravel())):
            i, k = divmod(int(place), len(self.keys))
            yield AuditFinding(
                self.models[i],
                self.keys[k].name,
                OUTCOMES[self.outcomes[i, k]],
                None if np.isnan(self.bits[i, k]) else float(self.bits[i, k]),
                int(self.queries[i, k]),
                int(self.matches[i, k]),
            )

    @cached_property
    def reasons(self) -> dict[tuple[int, int], tuple[Ground, ...]]:
        """Why each inconclusive pair is neither a match nor a no-match, by (model, key)."""
        rows, columns = (found.tolist() for found in np.nonzero(self.outcomes == INCONCLUSIVE))
        withheld: dict[tuple[str, int], tuple[Ground, ...]] = {}  # what holds for all of a family
        for family, k in {(self.families[i], k) for i, k in zip(rows, columns, strict=True)}:
            said = (why for key, why in self.remarks.get(family, ()) if key in ("", self.keys[k].name))
            withheld[family, k] = tuple(filter(withholds, said))
        return {(i, k): self._reasons(i, k, withheld[self.families[i], k]) for i, k in zip(rows, columns, strict=True)}

    def _reasons(self, i: int, k: int, withheld: tuple[Ground, ...]) -> tuple[Ground, ...]:
        own, rule = self.grounds.get((i, k), ()), self.keys[k].rule
        if not self.keys[k].spec.policy.exact:
            return tuple(ground for ground in own if ground.code in _RANKS)
        if self.bits[i, k] >= rule.match_bits:
            return (Ground(AuditGround.SHORT, {"own": round(rule.match_bits, 1)}),)
        of_pair = tuple(ground for ground in own if withholds(ground) and ground not in withheld)
        return (*withheld, *of_pair) or (Ground(AuditGround.UNDECIDED, {"asked": int(self.queries[i, k])}),)

    def pairs(self, outcome: str) -> list[dict[str, Any]]:
        """The pairs with this outcome as JSON values, strongest evidence first; matches with what they rest on.

        So are acquittals that are withheld; what is inconclusive comes with the reasons.
        """
        reasons = self.reasons if outcome == "inconclusive" else {}
        rows, columns = np.nonzero(self.outcomes == OUTCOMES.index(outcome))
        found = sorted(zip(rows, columns, strict=True), key=lambda at: -np.nan_to_num(self.bits[at], nan=-np.inf))
        return [
            {
                "model": self.models[i],
                "key": self.keys[k].id,
                "evidence_bits": None if np.isnan(self.bits[i, k]) else round(float(self.bits[i, k]), 3),
                "queries": int(self.queries[i, k]),
                "verdict": outcome,
                **({"grounds": [ground.to_json() for ground in grounds]} if outcome == "match" or withheld else {}),
                **({"why": [ground.to_json() for ground in reasons[int(i), int(k)]]} if reasons else {}),
            }
            for i, k in found
            for grounds in [self.grounds.get((int(i), int(k)), ())]
            for withheld in [any(map(withholds, grounds))]
        ]

    def not_applicable(self) -> list[NotAsked]:
        """The models that were not asked about some key, with the reason; those of one family and reason together."""
        models: dict[str, list[str]] = {}
        for model, family in zip(self.models, self.families, strict=True):
            models.setdefault(family, []).append(model)
        keys, found = {key.name: key for key in self.keys}, []
        for family, names in models.items():
            about: dict[tuple[Any, ...], tuple[Ground, list[Asked]]] = {}
            for key, why in self.remarks.get(family, ()):
                if why.code in _UNASKED:
                    about.setdefault((why.code, *why.values.items()), (why, []))[1].append(keys[key])
            found += [NotAsked(tuple(names), tuple(asked), why) for why, asked in about.values()]
        return found

    def to_json(self) -> dict[str, Any]:
        """The audit as the versioned JSON document."""
        return {
            "version": 1,
            "models": len(self.models),
            "keys": len(self.keys),
            "matches": self.pairs("match"),
            "inconclusive": self.pairs("inconclusive"),
            "not_applicable": [item.to_json() for item in self.not_applicable()],
            "unreadable": [dataclasses.asdict(item) for item in self.unreadable],
            "others": dict(self.others),
            "alpha": self.alpha,
            "procedure": name_of(self.procedure),
            "procedure_code": self.procedure,
            "basis": self.basis,
            "seconds": round(self.seconds, 3),
        }
