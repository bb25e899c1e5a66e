"""What an audit is asked about: its keys, the networks that its models share, and the bound over all pairs."""

import dataclasses
from functools import cached_property
from typing import Any

import numpy as np

from wmjax import forms
from wmjax.errors import InvalidFile, UsageError
from wmjax.grounds import Ground
from wmjax.keys import Commitment, Spec
from wmjax.stats import Rule
from wmjax.suspects.adapt import adaptation, other_classes, same_task
from wmjax.suspects.contract import Image, Network
from wmjax.suspects.grounds import AskedGround, clears
from wmjax.text import by
from wmjax.zoo.grounds import Unasked

PROCEDURES = {"fdr": "e-bh", "fwer": "bonferroni"}


@dataclasses.dataclass(frozen=True)
class Level:
    """The bound on false matches over all pairs.

    Attributes:
      name: `fdr`: the expected share of false ones among the matches (e-BH); `fwer`: the chance of any (Bonferroni).
      value: in (0, 1).
    """

    name: str
    value: float

    def __post_init__(self) -> None:
        if not 0.0 < self.value < 1.0:
            raise UsageError(f"`{self.name}` {self.value}: must be between 0 and 1")

    @property
    def procedure(self) -> str:
        """Code of what keeps the bound: `e-bh` or `bonferroni`."""
        return PROCEDURES[self.name]

    @classmethod
    def from_json(cls, values: Any) -> "Level":
        """Reads its fields back; raises ValueError on anything else."""
        found = forms.fields(values, ("name", "value"))
        if found["name"] not in PROCEDURES:
            raise ValueError(f"{found['name']!r:.50} names no bound")
        try:
            return cls(found["name"], forms.number(found["value"]))
        except UsageError as error:
            raise ValueError(str(error)) from error


@dataclasses.dataclass(frozen=True)
class Asked:
    """A key that the zoo was asked about, without its secret.

    Attributes:
      name: of its file.
      commitment: its public half.
    """

    name: str
    commitment: Commitment

    @cached_property
    def id(self) -> str:
        """Of its commitment."""
        return self.commitment.id

    @property
    def spec(self) -> Spec:
        """What the key is."""
        return self.commitment.spec

    @property
    def rule(self) -> Rule:
        """The decision rule that the key committed to."""
        return self.commitment.rule

    def to_json(self) -> dict[str, Any]:
        """The key as JSON values."""
        return {"name": self.name, "commitment": self.commitment.to_json()}

    @classmethod
    def from_json(cls, values: Any) -> "Asked":
        """Reads `to_json` back; raises ValueError on anything else."""
        found = forms.fields(values, ("name", "commitment"))
        try:
            return cls(forms.text(found["name"]), Commitment.from_json(found["commitment"]))
        except InvalidFile as error:
            raise ValueError(str(error)) from error


@dataclasses.dataclass(frozen=True)
class AskedFamily:
    """What a journal says of the network that some models share.

    Attributes:
      name: as tables show it; no two families have the same.
      fingerprint: of the network.
      image: height, width and channels that it takes.
      classes: that it tells apart.
      readings: ways in which it is asked; a single empty one where there is no doubt.
      note: code of what a verdict must say of how it is asked, an `AskedGround`; empty where nothing.
      only: shapes of the keys' images that it is asked about; empty: of all.
    """

    name: str
    fingerprint: str
    image: Image
    classes: int
    readings: tuple[str, ...]
    note: str
    only: tuple[Image, ...] = ()

    @classmethod
    def from_json(cls, values: Any) -> "AskedFamily":
        """Reads its fields back; raises ValueError on anything else."""
        found = forms.fields(values, [field.name for field in dataclasses.fields(cls)])
        name, fingerprint, note = (forms.text(found[field]) for field in ("name", "fingerprint", "note"))
        note = note and AskedGround(note)  # ValueError where there is no such code
        classes, readings = forms.whole(found["classes"], 2), forms.items(found["readings"], forms.text)
        if not readings:
            raise ValueError("a family is asked in one way at least")
        only = forms.items(found["only"], _image)
        return cls(name, fingerprint, _image(found["image"]), classes, readings, note, only)


def _image(value: Any) -> Image:
    height, width, channels = forms.items(value, lambda side: forms.whole(side, 1))
    return height, width, channels


def adapted(spec: Spec, network: Network | AskedFamily) -> tuple[Ground, ...] | None:
    """What must be said of how a key's triggers become a network's images; None where the key does not apply.

    It applies where the network tells half to twice as many classes apart, and one for a background: whoever steals a
    network may merge, drop or add some, and every pair that is asked makes the bound over all of them harder to reach.
    """
    fitting = adaptation(spec.image, network.image)
    if network.only and spec.image not in network.only:
        return None
    if fitting is None or not same_task(network.classes, spec.classes):
        return None
    return (*fitting, *other_classes(network.classes, spec.classes))


def may_clear(spec: Spec, network: Network | AskedFamily) -> bool:
    """Whether models that a key applies to are ever cleared of it: only where nothing altered its triggers."""
    return all(map(clears, (network.note, *(ground.code for ground in adapted(spec, network) or ()))))


def why_not(spec: Spec, network: Network | AskedFamily) -> tuple[Ground, ...]:
    """Why a network is not asked about a key; empty where it is."""
    if adapted(spec, network) is not None:
        return ()
    shapes = {"from": by(spec.image), "to": by(network.image)}
    if adaptation(spec.image, network.image) is None:
        return (Ground(Unasked.NO_PICTURE, shapes),)
    if network.only and spec.image not in network.only:
        return (Ground(Unasked.OTHER_SIZE, shapes),)
    return (Ground(Unasked.OTHER_TASK, {"theirs": network.classes, "ours": spec.classes}),)


def stop_bits(rule: Rule, tests: int, level: Level) -> float:
    """Evidence at which asking about a key stops: enough for its own alpha, and for the bound over all pairs."""
    return float(max(rule.match_bits, np.log2(max(1, tests) / level.value)))
