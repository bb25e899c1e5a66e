"""What an attack suite's journal holds: the grid that was begun, and a record for each attack tried."""

import dataclasses
from collections.abc import Mapping
from typing import Any

from wmjax import forms
from wmjax.attacks.contract import CUT
from wmjax.attacks.result import Leak, Point
from wmjax.grounds import Ground


@dataclasses.dataclass(frozen=True, eq=False)
class GridHeader:
    """What a journal must agree with to be resumed; digests alone, no secret.

    Attributes:
      suite: strengths by attack.
      inversion: whether models are inverted too.
      model: configuration of the victims.
      victims: digest of each one's variables.
      keys: commitment ids by name.
      sources: names of the keys whose source images are at hand.
      images: fingerprint of the thief's labelled images; None where the thief has none.
      queries: checksum of the thief's other images; None where the thief has none.
      recipe: how the thief trains.
      test: fingerprint of the test images.
      seed: of all random choices.
    """

    suite: Mapping[str, Any]
    inversion: bool
    model: Mapping[str, Any]
    victims: list[str]
    keys: Mapping[str, str]
    sources: list[str]
    images: str | None
    queries: int | None
    recipe: Mapping[str, Any]
    test: str
    seed: int

    def to_json(self) -> dict[str, Any]:
        """The header as JSON values."""
        return {field.name: getattr(self, field.name) for field in dataclasses.fields(self)}

    @classmethod
    def from_json(cls, values: Mapping[str, Any]) -> "GridHeader":
        """Reads `to_json` back, which is only compared; raises ValueError where fields are missing or unknown."""
        return cls(**forms.fields(values, [field.name for field in dataclasses.fields(cls)]))


@dataclasses.dataclass(frozen=True, eq=False)
class Attempt:
    """An attack at all its strengths on all victims.

    Attributes:
      attack: its name; `none` for the networks as they were stolen, `inversion` for model inversion.
      points: what it left of each key in each network.
      leaks: what model inversion found.
      notes: such as a grid that had to be cut because memory did not suffice.
      why: what kept it from being tried, for people; None where it was tried.
      seconds: that it took.
    """

    attack: str
    points: tuple[Point, ...]
    leaks: tuple[Leak, ...]
    notes: tuple[Ground, ...]
    why: str | None
    seconds: float

    def to_json(self) -> dict[str, Any]:
        """The record as JSON values."""
        return {
            "attack": self.attack,
            "points": [dataclasses.asdict(point) for point in self.points],
            "leaks": [dataclasses.asdict(leak) for leak in self.leaks],
            "notes": [note.to_json() for note in self.notes],
            "why": self.why,
            "seconds": self.seconds,
        }

    @classmethod
    def from_json(cls, values: Any, header: GridHeader) -> "Attempt":
        """Reads `to_json` back; raises ValueError where form or range of anything cannot be in such a grid."""
        found = forms.fields(values, [field.name for field in dataclasses.fields(cls)])
        if found["attack"] not in {"none", "inversion", *header.suite}:
            raise ValueError("the attack is not one of the grid's")
        attempt = cls(
            attack=found["attack"],
            points=forms.items(found["points"], Point.from_json),
            leaks=forms.items(found["leaks"], Leak.from_json),
            notes=forms.items(found["notes"], _note),
            why=None if found["why"] is None else forms.text(found["why"]),
            seconds=forms.number(found["seconds"], 0.0, 1e9),
        )
        if not attempt._of(header):
            raise ValueError("what was found is not what the grid asks")
        return attempt

    def _of(self, header: GridHeader) -> bool:
        """Whether it holds a point for each strength and victim where it was tried, and nothing of others."""
        strengths = [0.0] if self.attack == "none" else header.suite.get(self.attack, [])
        tried = {(point.strength, point.victim, point.key) for point in self.points}
        asked = {(point.victim, point.key) for point in self.points}
        is_whole = len(tried) == len(strengths) * len(asked)
        is_whole &= len({victim for victim, _ in asked}) == len(header.victims)
        found: list[Point | Leak] = [*self.points, *self.leaks]
        return (
            all(point.attack == self.attack and point.strength in strengths for point in self.points)
            and len(tried) == len(self.points)
            and {each.key for each in found} <= header.keys.keys()
            and len({each.victim for each in found}) <= len(header.victims)
            and not (self.leaks and self.attack != "inversion")
            and not (self.why is not None and (self.points or self.leaks))
            and (is_whole or self.why is not None or self.attack == "inversion")
        )


def _note(values: Any) -> Ground:
    found = forms.fields(values, ("code", "attack", "networks", "part"))
    if found["code"] != CUT:
        raise ValueError(f"{found['code']!r:.50} is not a code of a note")
    numbers = {name: forms.whole(found[name], 1) for name in ("networks", "part")}
    return Ground(CUT, {"attack": forms.text(found["attack"]), **numbers})
