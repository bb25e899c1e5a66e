"""Committing to a key before any suspect exists: a Merkle root over salted leaves, in a public file.

Leaf i is SHA-256(0x00 || JCS({"index", "input_sha256", "label", "salt"})) with lowercase hex digests and the 16-byte
salt that only the secret gives; nodes are SHA-256(0x01 || left || right) over RFC 9162's tree. JCS is RFC 8785.
"""

import dataclasses
import hashlib
from collections.abc import Mapping
from typing import Any

import numpy as np
import rfc8785

from wmjax.errors import InvalidFile, UsageError
from wmjax.keys.derive import Stream
from wmjax.keys.merkle import tree_hash
from wmjax.keys.spec import Spec
from wmjax.keys.times import read_time
from wmjax.stats import EVIDENCE, Rule
from wmjax.text import bare, is_sha256

FORMAT = "wmjax-commitment/1"


@dataclasses.dataclass(frozen=True)
class Commitment:
    """The public half of a key, published before the model is.

    Attributes:
      spec: what the key is.
      rule: how a verdict is reached.
      root: Merkle root over the triggers, hex.
      created: UTC time by the owner's own clock, as `wmjax.keys.times` has it; a time stamp is what proves it.
    """

    spec: Spec
    rule: Rule
    root: str
    created: str

    def _body(self) -> dict[str, Any]:
        return {
            "format": FORMAT,
            "spec": self.spec.to_json(),
            "rule": dataclasses.asdict(self.rule),
            "root": self.root,
            "created": self.created,
        }

    @property
    def id(self) -> str:
        """SHA-256 (hex) of the canonical body: the name of the key everywhere."""
        return hashlib.sha256(rfc8785.dumps(self._body())).hexdigest()

    @property
    def limit(self) -> int:
        """How many triggers may be asked: as the rule has it, and as there are."""
        return min(self.rule.max_queries, self.spec.triggers)

    def to_json(self) -> dict[str, Any]:
        """The commitment as JSON values, with its id."""
        return {**self._body(), "id": self.id}

    @classmethod
    def from_json(cls, values: Mapping[str, Any]) -> "Commitment":
        """Reads `to_json` back; raises `InvalidFile` where a value was changed."""
        try:
            if values["format"] != FORMAT:
                raise InvalidFile(f"commitment format {values['format']!r:.50}: this version reads {FORMAT}")
            commitment = cls(
                Spec.from_json(values["spec"]), Rule(**values["rule"]), str(values["root"]), str(values["created"])
            )
            if commitment.rule.evidence not in EVIDENCE:
                kinds = ", ".join(EVIDENCE)
                raise InvalidFile(f"evidence {commitment.rule.evidence!r:.50}: this version weighs {kinds}")
            read_time(commitment.created)
            if not is_sha256(commitment.root) or commitment.rule.rate <= 1 / commitment.spec.classes:
                raise InvalidFile("not a wmjax commitment: its root or its match rate cannot be")
            if commitment.to_json() != dict(values):
                raise InvalidFile("the commitment was altered: its id does not fit its contents")
        except (KeyError, TypeError, ValueError, UsageError, rfc8785.CanonicalizationError) as error:
            raise InvalidFile(f"not a wmjax commitment: {bare(error)}") from error
        return commitment


def merkle_root(secret: bytes, images: np.ndarray, labels: np.ndarray) -> str:
    """Root over all triggers, hex; arguments as of `leaves`."""
    return tree_hash([leaf.entry for leaf in leaves(secret, images, labels)]).hex()


@dataclasses.dataclass(frozen=True)
class Leaf:
    """What the tree holds of one trigger.

    Attributes:
      index: of the trigger.
      salt: 16 bytes, hex; without it nobody can guess the label from the leaf's hash.
      input_sha256: of what the model is asked with, hex: of an image's uint8 bytes in C order.
      label: the secret one.
    """

    index: int
    salt: str
    input_sha256: str
    label: int

    @property
    def entry(self) -> bytes:
        """The bytes that are hashed."""
        return rfc8785.dumps(dataclasses.asdict(self))


def leaves(secret: bytes, images: np.ndarray, labels: np.ndarray) -> list[Leaf]:
    """The leaves of all triggers.

    Args:
      secret: 32 bytes, for the salts.
      images: uint8 [n, H, W, C].
      labels: int [n].
    """
    return [leaf_of(secret, i, image, label) for i, (image, label) in enumerate(zip(images, labels, strict=True))]


def leaf_of(secret: bytes, index: int, image: np.ndarray, label: int) -> Leaf:
    """The leaf of one trigger."""
    salt = Stream(secret, "salt", index).octets(16).tobytes().hex()
    return Leaf(int(index), salt, input_sha256(image), int(label))


def input_sha256(trigger: np.ndarray) -> str:
    """SHA-256 (hex) of a trigger's bytes in C order."""
    return hashlib.sha256(np.ascontiguousarray(trigger).data).hexdigest()
