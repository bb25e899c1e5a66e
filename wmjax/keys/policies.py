"""Label policies: how a key's labels are drawn. Each is one `LabelPolicy` record; `POLICIES` has them by name."""

from collections.abc import Callable, Sequence
from typing import NamedTuple, Protocol

import numpy as np

from wmjax.keys.derive import Stream
from wmjax.stats import EVIDENCE


class Labelled(Protocol):
    """What a policy needs to know of a key's spec."""

    @property
    def classes(self) -> int:
        """Classes of the model."""

    @property
    def triggers(self) -> int:
        """Triggers in the key."""

    @property
    def target(self) -> int | None:
        """The one label that the paper's variant names; otherwise None."""


class LabelPolicy(NamedTuple):
    """A way to draw the labels of a key.

    Attributes:
      name: what users type and commitments say.
      words: what it gives, in a few words.
      evidence: kind of evidence, as `wmjax.stats.EVIDENCE` has it: an exact one where the labels are uniform over all
        classes and independent of everything else, else `ranked/1`.
      paper: whether the paper-exact variants of schemes take it.
      draw: `draw(secret, spec, at)` gives the labels of the triggers of these numbers, int32 [len(at)], each the same
        whatever else is asked for; pure, the same on every machine.
    """

    name: str
    words: str
    evidence: str
    paper: bool
    draw: Callable[[bytes, Labelled, Sequence[int]], np.ndarray]

    @property
    def exact(self) -> bool:
        """Whether exact evidence exists; other keys are judged by calibration: null models or decoy keys."""
        return EVIDENCE[self.evidence].exact


def _random(secret: bytes, spec: Labelled, at: Sequence[int]) -> np.ndarray:
    labels = [Stream(secret, "label", i).integers(spec.classes, 1)[0] for i in at]
    return np.array(labels, np.int32)


def _fixed(secret: bytes, spec: Labelled, at: Sequence[int]) -> np.ndarray:
    target = int(Stream(secret, "target", 0).integers(spec.classes, 1)[0]) if spec.target is None else spec.target
    return np.full(len(at), target, np.int32)


_RANDOM = LabelPolicy("random", "uniform over the classes, provable", evidence="labels/1", paper=False, draw=_random)
_FIXED = LabelPolicy("fixed", "one class for all, judged by calibration", evidence="ranked/1", paper=True, draw=_fixed)

POLICIES: dict[str, LabelPolicy] = {policy.name: policy for policy in (_RANDOM, _FIXED)}


def default_policy(paper: bool) -> LabelPolicy:
    """The policy of a key for which no other is asked: the provable one, or that of the paper's variants.

    >>> default_policy(paper=False).name
    'random'
    """
    return next(policy for policy in POLICIES.values() if policy.paper == paper)
