"""Committing to a key before any suspect exists: a Merkle root over salted leaves, in a public file.

Leaf i is SHA-256(0x00 || JCS({"image_sha256", "index", "label", "salt"})) with lowercase hex digests and the 16-byte
salt that only the secret gives; nodes are SHA-256(0x01 || left || right) over RFC 9162's tree. JCS is RFC 8785.
"""

import dataclasses
import datetime
import hashlib
import re
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import rfc8785

from wmjax.errors import InvalidFile, UsageError
from wmjax.keys.derive import Stream
from wmjax.keys.spec import Spec
from wmjax.stats import Rule

FORMAT = "wmjax-commitment/1"


@dataclasses.dataclass(frozen=True)
class Commitment:
    """The public half of a key, published before the model is.

    Attributes:
      spec: what the key is.
      rule: how a verdict is reached.
      root: Merkle root over the triggers, hex.
      created: UTC time by the owner's own clock, ISO 8601; a time stamp is what proves it.
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

    def to_json(self) -> dict[str, Any]:
        """The commitment as JSON values, with its id."""
        return {**self._body(), "id": self.id}

    def to_bytes(self) -> bytes:
        """The commitment file: canonical JSON and a newline, one form only."""
        return rfc8785.dumps(self.to_json()) + b"\n"

    @classmethod
    def from_json(cls, values: Mapping[str, Any]) -> "Commitment":
        """Reads `to_json` back; raises `InvalidFile` where a value was changed."""
        try:
            if values["format"] != FORMAT:
                raise InvalidFile(f"commitment format {values['format']!r:.50}: this version reads {FORMAT}")
            commitment = cls(
                Spec.from_json(values["spec"]), Rule(**values["rule"]), str(values["root"]), str(values["created"])
            )
            datetime.datetime.fromisoformat(commitment.created)
            if not re.fullmatch("[0-9a-f]{64}", commitment.root) or commitment.rule.rate <= 1 / commitment.spec.classes:
                raise InvalidFile("not a wmjax commitment: its root or its match rate cannot be")
            if commitment.to_json() != dict(values):
                raise InvalidFile("the commitment was altered: its id does not fit its contents")
        except (KeyError, TypeError, ValueError, UsageError, rfc8785.CanonicalizationError) as error:
            raise InvalidFile(f"not a wmjax commitment: {error!s:.200}") from error
        return commitment


def merkle_root(secret: bytes, images: np.ndarray, labels: np.ndarray) -> str:
    """Root over all triggers, hex.

    Args:
      secret: 32 bytes, for the salts.
      images: uint8 [n, H, W, C].
      labels: int [n].
    """
    leaves: list[dict[str, str | int]] = [
        {
            "index": i,
            "salt": Stream(secret, "salt", i).octets(16).tobytes().hex(),
            "image_sha256": hashlib.sha256(np.ascontiguousarray(image).data).hexdigest(),
            "label": int(label),
        }
        for i, (image, label) in enumerate(zip(images, labels, strict=True))
    ]
    return tree_hash([rfc8785.dumps(leaf) for leaf in leaves]).hex()


def tree_hash(entries: Sequence[bytes]) -> bytes:
    """Merkle tree hash of RFC 9162, section 2.1.1."""
    if not entries:
        return hashlib.sha256(b"").digest()
    if len(entries) == 1:
        return hashlib.sha256(b"\0" + entries[0]).digest()
    half = 1 << (len(entries) - 1).bit_length() - 1  # the largest power of two below the size
    return hashlib.sha256(b"\1" + tree_hash(entries[:half]) + tree_hash(entries[half:])).digest()
