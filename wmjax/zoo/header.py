"""What an audit's journal begins with: facts without secrets, from which everything that is said later follows."""

import dataclasses
from collections.abc import Mapping, Sequence
from functools import cached_property
from itertools import accumulate
from typing import Any, NamedTuple

import numpy as np

from wmjax import forms, stats
from wmjax.suspects.grounds import RAN, SPOKEN
from wmjax.zoo.records import Unreadable
from wmjax.zoo.scope import Asked, AskedFamily, Level, adapted, stop_bits


class Bounds(NamedTuple):
    """What the figures of a chunk must keep to; arrays [columns].

    Attributes:
      keys: places of the keys that it is asked about; none where no key applies.
      exact: bool, whether there is exact evidence.
      limits: int64, triggers that may be asked.
      bars: float64, evidence that makes a match; infinite without exact evidence.
      most_bits: float64, evidence that an answer can add; infinite where all answers together tell of coins.
      weighed: float64, evidence from which the weights may carry a match, so that their digest is taken.
    """

    keys: tuple[int, ...]
    exact: np.ndarray
    limits: np.ndarray
    bars: np.ndarray
    most_bits: np.ndarray
    weighed: np.ndarray


@dataclasses.dataclass(frozen=True, eq=False)
class AuditHeader:
    """An audit's plan: what a journal must agree with to be resumed or merged.

    Attributes:
      models: their names, in the order in which they are asked; null models behind the others.
      nulls: how many of them are null models.
      weights: SHA-256 over size and time of change of what holds each.
      keys: that are asked about.
      family: for each model its place in `families`.
      families: the networks.
      level: the bound.
      tests: pairs that may become a match.
      chunks: models in each portion that is judged at once.
      unreadable: what could not be used before anything was asked.
      keep_answers: whether records hold what was answered.
      others: what of the zoo was passed over, a number for each kind.
      spent: for each key the triggers that claims had opened before: a model may have been made to answer them
        otherwise, so they clear nobody.
    """

    models: tuple[str, ...]
    nulls: int
    weights: str
    keys: tuple[Asked, ...]
    family: tuple[int, ...]
    families: tuple[AskedFamily, ...]
    level: Level
    tests: int
    chunks: tuple[int, ...]
    unreadable: tuple[Unreadable, ...]
    keep_answers: bool
    others: Mapping[str, int]
    spent: tuple[tuple[int, ...], ...]

    @property
    def suspects(self) -> int:
        """Models that are not null models."""
        return len(self.models) - self.nulls

    @cached_property
    def starts(self) -> tuple[int, ...]:
        """For each chunk the place of its first model."""
        return tuple(accumulate(self.chunks, initial=0))[:-1]

    def family_of(self, chunk: int) -> AskedFamily:
        """The network of a chunk's models."""
        return self.families[self.family[self.starts[chunk]]]

    @cached_property
    def bounds(self) -> tuple[Bounds, ...]:
        """For each chunk what its figures must keep to."""
        kinds = [(self.family[start], start >= self.suspects) for start in self.starts]
        known = {kind: self._bounds(*kind) for kind in set(kinds)}
        return tuple(known[kind] for kind in kinds)

    def _bounds(self, family: int, null: bool) -> Bounds:
        asked = self.families[family]
        places = [
            place
            for place, key in enumerate(self.keys)
            if adapted(key.spec, asked) is not None and not (null and key.spec.policy.exact)
        ]
        keys = [self.keys[place] for place in places]
        exact = np.array([key.spec.policy.exact for key in keys], bool)
        stops = np.array([stop_bits(key.rule, self.tests, self.level) for key in keys])
        ranked = -np.inf if self.nulls and not null else np.inf  # their rank is not known yet
        own = np.where(exact, np.array([key.rule.match_bits for key in keys]), ranked)
        return Bounds(
            tuple(places),
            exact,
            np.array([key.commitment.limit for key in keys], np.int64),
            np.where(exact, stops, np.inf),
            np.array([np.inf if stats.kind_of(key.rule).coins else np.log2(key.spec.classes) for key in keys]),
            own if asked.note not in (*SPOKEN, *RAN) else np.full(len(keys), np.inf),  # no weights
        )

    def fresh(self, place: int) -> int:
        """How many triggers of a key are asked before those that were spent."""
        key = self.keys[place]
        return min(key.rule.max_queries, key.spec.triggers - len(self.spent[place]))

    def to_json(self) -> dict[str, Any]:
        """The header as JSON values."""
        return {
            **{field.name: getattr(self, field.name) for field in dataclasses.fields(self)},  # in their order
            "keys": [key.to_json() for key in self.keys],
            "families": [dataclasses.asdict(family) for family in self.families],
            "level": dataclasses.asdict(self.level),
            "unreadable": [dataclasses.asdict(item) for item in self.unreadable],
        }

    @classmethod
    def from_json(cls, values: Mapping[str, Any]) -> "AuditHeader":
        """Reads `to_json` back; raises ValueError where form or range of anything cannot be."""
        found = forms.fields(values, [field.name for field in dataclasses.fields(cls)])
        models = forms.items(found["models"], forms.text)
        keys = forms.items(found["keys"], Asked.from_json)
        families = forms.items(found["families"], AskedFamily.from_json)
        header = cls(
            models=models,
            nulls=forms.whole(found["nulls"], 0, len(models)),
            weights=forms.text(found["weights"]),
            keys=keys,
            family=forms.items(found["family"], lambda place: forms.whole(place, 0, len(families) - 1)),
            families=families,
            level=Level.from_json(found["level"]),
            tests=forms.whole(found["tests"], 0, len(models) * len(keys)),
            chunks=forms.items(found["chunks"], lambda size: forms.whole(size, 1)),
            unreadable=forms.items(found["unreadable"], Unreadable.from_json),
            keep_answers=forms.flag(found["keep_answers"]),
            others=forms.counts(found["others"]),
            spent=forms.items(found["spent"], lambda own: forms.items(own, forms.whole)),
        )
        if not keys or len(keys) != len(header.spent) or not len(models) == len(header.family) == sum(header.chunks):
            raise ValueError("keys, models, families or chunks are not as many as what is said of them")
        _check_chunks(header)
        for key, own in zip(keys, header.spent, strict=True):
            if list(own) != sorted(set(own)) or max(own, default=0) >= key.spec.triggers:
                raise ValueError("there are no such triggers")
        return header


def _check_chunks(header: AuditHeader) -> None:
    """Raises ValueError where chunks are of several families, or other pairs may match than are said to."""
    able = 0
    for start, size, bounds in zip(header.starts, header.chunks, header.bounds, strict=True):
        if len(set(header.family[start : start + size])) > 1 or start < header.suspects < start + size:
            raise ValueError("a chunk is of one family, and of null models or none")
        if start < header.suspects:
            able += size * int(np.sum(bounds.exact | bool(header.nulls)))
    if able != header.tests or (header.nulls and not header.suspects):
        raise ValueError("other pairs may become a match than are counted")


def joined(headers: Sequence[AuditHeader]) -> AuditHeader:
    """The header of all parts of one audit: what any of them could not read, or found spent, is not lost."""
    unreadable: list[Unreadable] = []
    for header in headers:
        known = {item.path for item in unreadable}
        unreadable += [item for item in header.unreadable if item.path not in known]
    spent = tuple(tuple(sorted(set().union(*own))) for own in zip(*(header.spent for header in headers), strict=True))
    return dataclasses.replace(headers[0], unreadable=tuple(unreadable), spent=spent)
