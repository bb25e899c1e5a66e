"""A claim on a suspect, as a judge has it before them; `claim_file` reads and writes it."""

import base64
import dataclasses
import hashlib
import re
from functools import cached_property
from typing import Any

from wmjax import stats
from wmjax.canonical import read_canonical
from wmjax.errors import UsageError
from wmjax.evidence import transcript
from wmjax.evidence.transcript import Row
from wmjax.files import read_bytes
from wmjax.grounds import Ground
from wmjax.keys import Commitment, Model, SignedCommitment
from wmjax.keys.derive import Stream
from wmjax.keys.material import Material
from wmjax.keys.merkle import proven_root
from wmjax.keys.pledge import Pledge
from wmjax.stats.contract import Truth
from wmjax.stores import place
from wmjax.suspects.grounds import AskedGround


@dataclasses.dataclass(frozen=True)
class Attached:
    """A signed commitment and its time stamps.

    Attributes:
      public: the commitment.
      tokens: RFC 3161 responses (DER) over the commitment's file.
    """

    public: SignedCommitment
    tokens: tuple[bytes, ...] = dataclasses.field(repr=False)

    def to_json(self) -> dict[str, Any]:
        """Its JSON in a claim; the file's bytes follow from it, since it has one form only."""
        tokens = [base64.b64encode(token).decode() for token in self.tokens]
        return {"statement": read_canonical(self.public.raw, "a commitment"), "timestamps": tokens}


@dataclasses.dataclass(frozen=True, eq=False)
class Claim:
    """A claim as its file says it; signatures are checked, everything else is for the judge.

    Attributes:
      commitments: the key's commitment first, then others of the same key, for released models.
      owner: public key of whoever signed the claim, hex.
      suspect: its name.
      asked: how it was asked, where not with the key's own triggers as wmjax's own networks are; by the claimant.
      model: the suspect's digests; None if it was not a checkpoint at hand.
      nonce: the challenger's, as the claimant says.
      made: UTC time by the claimant's clock, ISO 8601.
      rows: the transcript.
      secret: 32 bytes; None if it is not revealed.
      pledge: the time stamp that the secret follows from; None where none is shown.
      material: what the key's evidence is computed with; None for keys of labels alone.
      stated: verdict and figures, by the claimant.
      raw: the file's bytes.
    """

    commitments: tuple[Attached, ...]
    owner: str
    suspect: str
    asked: tuple[Ground, ...]
    model: Model | None
    nonce: bytes
    made: str
    rows: tuple[Row, ...]
    secret: bytes | None = dataclasses.field(repr=False)
    pledge: Pledge | None = dataclasses.field(repr=False)
    material: Material | None
    stated: dict[str, Any]
    raw: bytes = dataclasses.field(repr=False)

    @property
    def reading(self) -> str:
        """In which of the ways that its file may be meant the suspect was asked; empty where there is no doubt."""
        return next((str(ground.values["reading"]) for ground in self.asked if ground.code == AskedGround.READ_AS), "")

    @property
    def commitment(self) -> Commitment:
        """What the claim's key committed to."""
        return self.commitments[0].public.commitment

    @cached_property
    def truth(self) -> Truth | None:
        """What the secret says about the rows; None where only a secret could tell that is not revealed."""
        return transcript.truth(self.rows, self.commitment.spec, self.secret, self.material)

    def weigh(self, answers: stats.Answers) -> stats.Path:
        """What answers about the rows come to, by the committed rule; nothing where the truth is not told."""
        rule, spec = self.commitment.rule, self.commitment.spec
        return transcript.weigh(self.rows, answers, rule, spec, self.secret, self.material)

    @property
    def sha256(self) -> str:
        """SHA-256 (hex) of the file."""
        return hashlib.sha256(self.raw).hexdigest()

    @cached_property
    def opened(self) -> dict[bytes, int]:
        """The leaves that it opens, as the tree holds them, with the numbers of their triggers: a salt has 16 bytes.

        Only those that are proven to be in it: anyone can write another's openings into a claim of their own.
        """
        return {row.opening.leaf.entry: row.index for row in self.rows if row.opening and self.has(row)}

    def has(self, row: Row) -> bool:
        """Whether an opened row is a trigger of the commitment, by its proof."""
        root, size = bytes.fromhex(self.commitment.root), self.commitment.spec.triggers
        opening = row.opening
        return opening is not None and proven_root(opening.leaf.entry, row.index, size, opening.proof) == root


def share_triggers(one: Claim, other: Claim) -> bool:
    """Whether two claims are about the same triggers, whatever their commitments say besides."""
    return one.commitment.root == other.commitment.root or not one.opened.keys().isdisjoint(other.opened)


def picks(commitment: Commitment, nonce: bytes, count: int) -> list[int]:
    """The first `count` triggers that a nonce picks, in order: different ones, as `wmjax.keys.derive` says."""
    seed = hashlib.sha256(bytes.fromhex(commitment.id) + nonce).digest()
    return [int(index) for index in Stream(seed, "pick", 0).distinct(commitment.spec.triggers, count)]


def read_nonce(text: str) -> bytes:
    """A challenger's nonce: 16 to 64 bytes in hex, or a file that holds them.

    >>> read_nonce("00ff" * 8).hex()
    '00ff00ff00ff00ff00ff00ff00ff00ff'

    Raises:
      UsageError: it is neither.
    """
    hexadecimal, digits = "(?:[0-9a-fA-F]{2}){16,64}", text.strip()
    if not re.fullmatch(hexadecimal, digits) and place(text).is_file():
        digits = read_bytes(place(text)).decode("ascii", "replace").strip()
    if not re.fullmatch(hexadecimal, digits):
        raise UsageError(
            f"nonce {digits[:40]!r}: 16 to 64 bytes in hex, as `openssl rand -hex 32` makes, or their file"
        )
    return bytes.fromhex(digits)
