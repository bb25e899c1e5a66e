"""The public half of a key: everything but the secret."""

import dataclasses
import math
import re
from collections.abc import Mapping
from typing import Any

from wmjax.errors import InvalidFile, UsageError
from wmjax.keys.policies import POLICIES, LabelPolicy, default_policy
from wmjax.text import bare, by, is_sha256


@dataclasses.dataclass(frozen=True)
class Input:
    """What a model is asked with, one trigger of a key.

    >>> Input("image", (8, 8, 1)).size
    64

    Attributes:
      kind: `image`, uint8 pixels; no other kind is built.
      shape: height, width, channels.
    """

    kind: str
    shape: tuple[int, int, int]

    def __post_init__(self) -> None:
        if self.kind != "image":
            raise UsageError(f"input kind {self.kind!r:.50}: this version knows images only")
        shape = self.shape if isinstance(self.shape, list | tuple) else ()
        if len(shape) != 3 or any(type(n) is not int for n in shape):
            raise UsageError("`image` is height, width and channels: three whole numbers")
        object.__setattr__(self, "shape", tuple(shape))  # a list would be another shape to whoever compares them
        if not all(1 <= n <= 4096 for n in self.shape):
            raise UsageError(f"`image` {by(self.shape)}: each side must be in 1..4096")

    @property
    def size(self) -> int:
        """Bytes of one trigger."""
        return math.prod(self.shape)

    def to_json(self) -> dict[str, Any]:
        """The input as JSON values."""
        return {"kind": self.kind, "shape": list(self.shape)}

    @classmethod
    def from_json(cls, values: Mapping[str, Any]) -> "Input":
        """Reads `to_json` back; raises `UsageError`, `TypeError`, `KeyError` or `ValueError` on anything else."""
        kind, shape = values["kind"], values["shape"]
        if set(values) != {"kind", "shape"} or type(shape) is not list:
            raise ValueError("an input has a kind and a shape")
        return cls(kind, tuple(shape))


@dataclasses.dataclass(frozen=True)
class Source:
    """The images that a scheme starts from.

    Attributes:
      name: name of the data set; the images are the scheme's split of it, or the other split if it has only one.
      sha256: `Dataset.fingerprint` of that split.
    """

    name: str
    sha256: str

    def __post_init__(self) -> None:
        if type(self.name) is not str or not is_sha256(self.sha256):
            raise UsageError("a source is a data set's name and 64 hex digits")
        if not re.fullmatch(r"\w[\w.+ -]{0,99}", self.name):  # no path: a stranger's key must not choose what is read
            raise UsageError(f"{self.name!r:.120} is not a data set's name: letters, digits and . + - _ only")


@dataclasses.dataclass(frozen=True)
class Paper:
    """The paper-exact variant of an IBM scheme (Zhang et al. 2018, Algorithm 1).

    Attributes:
      source_class: class of the source images that are marked.
      target_class: the one label of all triggers.
      share_percent: of the source class's training images that become triggers, 1..100.
    """

    source_class: int = 1
    target_class: int = 0
    share_percent: int = 30

    def __post_init__(self) -> None:
        if any(type(n) is not int for n in dataclasses.astuple(self)):
            raise UsageError("`source_class`, `target_class` and `share_percent` are whole numbers")
        if not 1 <= self.share_percent <= 100:
            raise UsageError(f"`share_percent` {self.share_percent}: must be in 1..100")


@dataclasses.dataclass(frozen=True)
class Spec:
    """With the secret (and the source's images) it determines every trigger.

    Attributes:
      scheme: name of the scheme; `wmjax.keys.schemes` knows them. Its derivation is that of `wmjax/v1`.
      input: what a trigger is.
      classes: of the classifier that carries the mark.
      triggers: number of images in the key.
      labels: name of the label policy; `wmjax.keys.policies` knows them.
      parameters: of the scheme, sorted by name.
      source: of the source images; None for schemes that need none.
      paper: the paper-exact variant; None for the provable one.
      material: SHA-256 (hex) of what the key's evidence is computed with (`wmjax.keys.material`), which its coins
        follow from too; None for schemes that need none.
    """

    scheme: str
    input: Input
    classes: int
    triggers: int
    labels: str
    parameters: tuple[tuple[str, int | str], ...] = ()
    source: Source | None = None
    paper: Paper | None = None
    material: str | None = None

    def __post_init__(self) -> None:
        if type(self.classes) is not int or type(self.triggers) is not int:
            raise UsageError("`classes` and `triggers` are whole numbers")
        if not isinstance(self.labels, str) or self.labels not in POLICIES:
            raise UsageError(f"`labels` {self.labels!r:.50}: must be {' or '.join(POLICIES)}")
        if any(type(value) not in (int, str) for _, value in self.parameters):
            raise UsageError("a scheme's parameters are whole numbers or text")
        if not 2 <= self.classes <= 2**20:
            raise UsageError(f"`classes` {self.classes}: must be in 2..{2**20}")
        if not 1 <= self.triggers <= 2**20:
            raise UsageError(f"`triggers` {self.triggers}: must be in 1..{2**20}")
        if self.triggers * self.input.size > 2**30:
            raise UsageError(f"`triggers` {self.triggers}: more than 2**30 bytes of them, use fewer or smaller ones")
        if self.material is not None and not is_sha256(self.material):
            raise UsageError("a key's material is named by 64 hex digits")
        if self.paper:
            self._check_paper(self.paper)

    def _check_paper(self, paper: Paper) -> None:
        if not self.policy.paper:
            usual = default_policy(paper=True).name
            raise UsageError(f"the paper's variant has one target class: `labels` must be {usual}")
        if not 0 <= paper.target_class < self.classes:
            raise UsageError(f"`target_class` {paper.target_class}: must be in 0..{self.classes - 1}")

    @property
    def image(self) -> tuple[int, int, int]:
        """Height, width and channels of the triggers."""
        return self.input.shape

    @property
    def policy(self) -> LabelPolicy:
        """How the labels are drawn, and whether exact evidence exists for them."""
        return POLICIES[self.labels]

    @property
    def target(self) -> int | None:
        """The one label that the paper's variant names; otherwise None."""
        return self.paper.target_class if self.paper else None

    def parameter(self, name: str) -> int | str:
        """The scheme's parameter `name`."""
        return dict(self.parameters)[name]

    def to_json(self) -> dict[str, Any]:
        """The spec as JSON values; without `material` where the key has none."""
        values = {**dataclasses.asdict(self), "input": self.input.to_json(), "parameters": dict(self.parameters)}
        return {name: value for name, value in values.items() if name != "material" or value is not None}

    @classmethod
    def from_json(cls, values: Mapping[str, Any]) -> "Spec":
        """Reads `to_json` back; raises `InvalidFile` on anything else."""
        try:
            return cls(
                scheme=str(values["scheme"]),
                input=Input.from_json(values["input"]),
                classes=values["classes"],
                triggers=values["triggers"],
                labels=values["labels"],
                parameters=tuple(sorted(values["parameters"].items())),
                source=Source(**values["source"]) if values["source"] else None,
                paper=Paper(**values["paper"]) if values["paper"] else None,
                material=values.get("material"),
            )
        except (KeyError, TypeError, ValueError, AttributeError, UsageError) as error:
            raise InvalidFile(f"not a key spec: {bare(error)}") from error
