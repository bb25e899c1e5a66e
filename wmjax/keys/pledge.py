"""A secret that follows from a time stamp, so that whoever looks for one that fits an innocent needs a stamp a try.

The owner draws 32 bytes, the *base*, and has an authority stamp the pledge: base (by its digest), spec and rule. The
key's secret follows from the base and from what only that authority could sign. Nothing about the key is known before
the stamp, and each stamp gives one key: `evidence/STANDARD.md` has the argument and the arithmetic.
"""

import base64
import dataclasses
import hashlib
from collections.abc import Mapping
from typing import Any

import rfc8785

from wmjax.keys.derive import SECRET_BYTES, Stream
from wmjax.keys.spec import Spec
from wmjax.stats.rule import Rule

FORMAT = "wmjax-pledge/1"
LARGEST = 1 << 20  # bytes of a token


@dataclasses.dataclass(frozen=True)
class Pledge:
    """What a pledged key's secret follows from.

    Attributes:
      base: 32 bytes, as secret as the secret.
      token: the RFC 3161 response (DER) over `document`.
    """

    base: bytes = dataclasses.field(repr=False)
    token: bytes = dataclasses.field(repr=False)

    def to_json(self) -> dict[str, str]:
        """The pledge as JSON values."""
        return {"base": self.base.hex(), "token": base64.b64encode(self.token).decode()}

    @classmethod
    def from_json(cls, values: Mapping[str, Any]) -> "Pledge":
        """Reads `to_json` back; raises `ValueError`, `KeyError` or `TypeError` on anything else."""
        pledge = cls(bytes.fromhex(values["base"]), base64.b64decode(values["token"], validate=True))
        if pledge.to_json() != dict(values) or len(pledge.base) != SECRET_BYTES or len(pledge.token) > LARGEST:
            raise ValueError("not a pledge")
        return pledge


def document(base: bytes, spec: Spec, rule: Rule) -> bytes:
    """What an authority stamps: everything that the key depends on, and the base by its digest alone."""
    digest = hashlib.sha256(b"\x02" + base).hexdigest()
    return rfc8785.dumps({"format": FORMAT, "base": digest, "spec": spec.to_json(), "rule": dataclasses.asdict(rule)})


def pledged_secret(base: bytes, signature: bytes) -> bytes:
    """The key's secret, 32 bytes.

    >>> pledged_secret(bytes(32), b"signed") != pledged_secret(bytes(32), b"signed otherwise")
    True

    Args:
      base: 32 bytes.
      signature: what only the authority could make (`wmjax.evidence.pledge.signature`).
    """
    digest = hashlib.sha256(signature).hexdigest()
    return Stream(base, f"pledge/{digest}", 0).octets(SECRET_BYTES).tobytes()
