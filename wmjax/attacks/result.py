"""What an attack suite found: one point for each attack, strength, victim and key."""

import dataclasses
from typing import Any, Literal, get_args

import numpy as np

from wmjax import forms
from wmjax.attacks.wording import WORDS
from wmjax.grounds import Ground

AttackOutcome = Literal["match", "no-match", "inconclusive", "uncalibrated", "diverged"]
COST = 5.0  # points of accuracy from which on an attack has spoilt what it stole (Lukas et al. 2022)


@dataclasses.dataclass(frozen=True)
class Point:
    """What an attack of one strength left of one key in one network.

    Attributes:
      attack: its name; `none` for the networks as they were stolen.
      strength: of it; 0 for `none`.
      victim: name of the network.
      key: name of the key.
      accuracy: top-1 on the test images of the classes that are left; None where it diverged.
      lost: percentage points of the victim's accuracy that the attack cost; None where it diverged.
      classes: that are left.
      asked: triggers whose class is left; of a key whose evidence is read off all answers together, its coins.
      matches: of them answered with their label; coins that agree.
      label_bits: evidence from the top-1 labels of all of them; None for fixed labels and where it diverged.
      bits: the same from probabilities.
      outcome: what `verify` would say from probabilities; `uncalibrated` for fixed labels (there is no exact evidence),
        `diverged` where weights or answers are not numbers: then nothing was removed, the network is lost.
    """

    attack: str
    strength: float
    victim: str
    key: str
    accuracy: float | None
    lost: float | None
    classes: int
    asked: int
    matches: int
    label_bits: float | None
    bits: float | None
    outcome: AttackOutcome

    @property
    def removed(self) -> bool:
        """Whether `verify` finds no match any more in a network that lost less than `COST` points of accuracy."""
        return self.bits is not None and self.lost is not None and self.outcome != "match" and self.lost < COST

    @classmethod
    def from_json(cls, values: Any) -> "Point":
        """Reads its fields back; raises ValueError where form or range of one cannot be."""
        found = forms.fields(values, [field.name for field in dataclasses.fields(cls)])
        if found["outcome"] not in get_args(AttackOutcome):
            raise ValueError(f"{found['outcome']!r:.50} is not an outcome")
        forms.number(found["strength"])
        for name in ("attack", "victim", "key"):
            forms.text(found[name])
        ranges = {"accuracy": (0.0, 1.0), "lost": (-100.0, 100.0), "label_bits": (), "bits": ()}
        for name, ends in ranges.items():
            if found[name] is not None:
                forms.number(found[name], *ends)
        classes, asked = forms.whole(found["classes"], 1), forms.whole(found["asked"])
        forms.whole(found["matches"], 0, asked)
        point = cls(**found)
        weighed = point.outcome in ("match", "no-match", "inconclusive")
        bits = point.bits, point.label_bits
        lost = point.accuracy is None or point.lost is None
        if lost != (point.outcome == "diverged") or any((value is not None) != weighed for value in bits):
            raise ValueError("figures are there that such an outcome has not, or are missing")
        if weighed and max(b for b in bits if b is not None) > asked * np.log2(classes) + 1e-3:
            raise ValueError("more evidence than so many answers can give")
        return point


@dataclasses.dataclass(frozen=True)
class Leak:
    """How well model inversion recovered what a key stamps on its images.

    Attributes:
      victim: name of the network.
      key: name of the key.
      start: what it began with: `image`, `blank` or `noise`.
      correlation: of what was recovered with the key's own stamp, in [-1, 1].
      chance: the same with the stamps of decoy keys, the 95th percentile; None where none can be made.
      p: share of decoy stamps (and the key's own) that fit as well or better; None where none can be made.
      picture: what was recovered, uint8 [H, W, C], as nested lists.
    """

    victim: str
    key: str
    start: str
    correlation: float
    chance: float | None
    p: float | None
    picture: list[Any]

    @classmethod
    def from_json(cls, values: Any) -> "Leak":
        """Reads its fields back; raises ValueError where form or range of one cannot be."""
        found = forms.fields(values, [field.name for field in dataclasses.fields(cls)])
        for name in ("victim", "key", "start"):
            forms.text(found[name])
        forms.number(found["correlation"], -1.0, 1.0)
        for name, least in (("chance", -1.0), ("p", 0.0)):
            if found[name] is not None:
                forms.number(found[name], least, 1.0)
        shape = np.shape(found["picture"])  # lists of unequal lengths: ValueError
        if len(shape) != 3:
            raise ValueError("a picture has height, width and channels")
        forms.table(found["picture"], shape, np.uint8, 0, 255)
        return cls(**found)


@dataclasses.dataclass(frozen=True)
class AttackResult:
    """What a suite found.

    Attributes:
      suite: what was asked for, as typed.
      data: name of the data set.
      model: of the victims, in words.
      keys: by name: scheme, label policy, triggers and commitment id of each.
      match_bits: evidence that makes a match.
      thief: what the thief owns, a line each.
      attackers: of each attack tried, what its thief knows and owns.
      strengths: of each attack tried, what its strengths are.
      points: `none` first, then in the order tried.
      leaks: of model inversion.
      skipped: attacks that could not be tried, with the reason.
      notes: such as a grid that had to be cut because memory did not suffice.
      seconds: of trying.
    """

    suite: str
    data: str
    model: str
    keys: dict[str, dict[str, Any]]
    match_bits: float
    thief: list[str]
    attackers: dict[str, str]
    strengths: dict[str, str]
    points: list[Point]
    leaks: list[Leak]
    skipped: dict[str, str]
    notes: tuple[Ground, ...]
    seconds: float

    def to_json(self) -> dict[str, Any]:
        """The result as the versioned JSON document: notes in words, and beside them as codes."""
        told = {"notes": [note.told(WORDS) for note in self.notes], "grounds": [note.to_json() for note in self.notes]}
        return {"version": 1, **dataclasses.asdict(dataclasses.replace(self, notes=())), **told}
