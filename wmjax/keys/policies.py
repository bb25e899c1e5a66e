"""Label policies: how a key's labels are drawn. Each is one `LabelPolicy` record; `POLICIES` has them by name."""

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple, Protocol

import numpy as np

from wmjax.errors import InvalidFile, UsageError
from wmjax.keys.coins import coins_of, contrasts_of
from wmjax.keys.derive import Stream
from wmjax.keys.material import Material
from wmjax.stats import EVIDENCE
from wmjax.stats.contract import Truth
from wmjax.stats.correlations import Coins
from wmjax.stats.pairs import Pairs

_MOST_CLASSES = 1 << 10  # that coins are told of: a suspect's outputs are matched to them


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

    @property
    def material(self) -> str | None:
        """Digest of what was fixed before the coins."""


@dataclasses.dataclass(frozen=True, eq=False)
class Known:
    """What is known of some triggers of a key, for what its secret says about them.

    Attributes:
      spec: the key's.
      rows: int64 [n], the triggers' numbers.
      labels: int [n], their labels in the Merkle tree.
      secret: 32 bytes; None where it is not revealed.
      material: what was fixed before the coins; None for keys without.
    """

    spec: Labelled
    rows: np.ndarray
    labels: np.ndarray
    secret: bytes | None = dataclasses.field(repr=False)
    material: Material | None


def _labels(known: Known) -> Truth:
    return known.labels


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
      truth: what the key's kind of evidence bets on; by default the labels.
      answers: what a marked model shall answer, int [n]: by default the labels; None for keys that are not mixed in as
        triggers, of which single answers tell nothing.
      arrays: those that a key's material has, with their dtypes; none for keys without.
      check: raises `InvalidFile` where the shapes or values of such arrays do not fit a spec.
      revealed: whether only the secret itself gives `truth`, so that without it nothing can be weighed.
    """

    name: str
    words: str
    evidence: str
    paper: bool
    draw: Callable[[bytes, Labelled, Sequence[int]], np.ndarray]
    truth: Callable[[Known], Truth] = _labels
    answers: Callable[[Known], np.ndarray] | None = lambda known: known.labels
    arrays: Mapping[str, str] = {}
    check: Callable[[Labelled, Material], None] = lambda spec, material: None
    revealed: bool = False

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


def _coin(secret: bytes, spec: Labelled, at: Sequence[int]) -> np.ndarray:
    tossed = [Stream(secret, f"coin/{spec.material}", i).integers(2, 1)[0] for i in at]
    return np.array(tossed, np.int32)


def _pairs(known: Known) -> Truth:
    return Pairs(known.labels, required(known.material)["pairs"][known.rows].astype(np.int64))


def _of_pairs(known: Known) -> np.ndarray:
    pairs = required(known.material)["pairs"][known.rows].astype(np.int32)
    return np.take_along_axis(pairs, known.labels[:, None], axis=1)[:, 0]


def _check_pairs(spec: Labelled, material: Material) -> None:
    rows, pairs = material["rows"], material["pairs"]
    fits = rows.shape == (spec.triggers,) and pairs.shape == (spec.triggers, 2)
    if not fits or not (pairs < spec.classes).all() or (pairs[:, 0] == pairs[:, 1]).any():
        raise InvalidFile("the key's pairs are not two different classes for each trigger")
    if len(np.unique(rows)) != len(rows):
        raise InvalidFile("the key names an image twice")


def _check_coins(spec: Labelled, material: Material) -> None:
    features, references = material["features"], material["references"]
    fits = features.ndim == 2 and len(features) == spec.triggers and 1 <= features.shape[1] <= 4096
    if not fits or references.ndim != 3 or references.shape[1:] != (spec.triggers, spec.classes):
        raise InvalidFile("the key's features and references are not those of its probes")
    if not 1 <= len(references) <= 16:
        raise InvalidFile("the key has no reference, or more than 16")
    if spec.classes > _MOST_CLASSES:
        raise InvalidFile(f"the key has coins for more than {_MOST_CLASSES} classes")


def _none(secret: bytes, spec: Labelled, at: Sequence[int]) -> np.ndarray:
    return np.zeros(len(at), np.int32)


def _coins(known: Known) -> Truth:
    material = required(known.material)
    if known.secret is None:
        raise UsageError("the coins of this key are known only where its secret is revealed")
    contrasts = contrasts_of(known.secret, known.spec.classes)
    features = material["features"]
    drawn = coins_of(known.secret, material.sha256, len(contrasts), features.shape[1])
    return Coins(known.rows, features, material["references"], drawn, contrasts)


def required(material: Material | None) -> Material:
    """The material of a key that cannot do without."""
    if material is None:
        raise UsageError("the arrays that this key's evidence is computed with are missing")
    return material


_COIN = LabelPolicy(
    "coin",
    "a coin between the two classes that an unmarked network wavers between",
    evidence="pairs/1",
    paper=False,
    draw=_coin,
    truth=_pairs,
    answers=_of_pairs,
    arrays={"pairs": "uint16", "rows": "int32"},
    check=_check_pairs,
)
_COINS = LabelPolicy(
    "coins",
    "no labels: coins that all answers together tell",
    evidence="spread/1",
    paper=False,
    draw=_none,
    truth=_coins,
    answers=None,
    arrays={"features": "int8", "references": "uint16"},
    check=_check_coins,
    revealed=True,
)
_RANDOM = LabelPolicy("random", "uniform over the classes, provable", evidence="labels/1", paper=False, draw=_random)
_FIXED = LabelPolicy("fixed", "one class for all, judged by calibration", evidence="ranked/1", paper=True, draw=_fixed)

POLICIES: dict[str, LabelPolicy] = {policy.name: policy for policy in (_RANDOM, _FIXED, _COIN, _COINS)}


def default_policy(paper: bool) -> LabelPolicy:
    """The policy of a key for which no other is asked: the provable one, or that of the paper's variants.

    >>> default_policy(paper=False).name
    'random'
    """
    return next(policy for policy in POLICIES.values() if policy.paper == paper)
