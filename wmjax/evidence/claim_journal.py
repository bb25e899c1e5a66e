"""The journal of a claim: each answer is on the disk before the next question, so that nothing that was asked is lost.

Its first line says which key asks which suspect by which nonce; each later one is a row of the transcript without its
opening, which follows from the key. Before a trigger is asked it is marked as spent in the key file. So a trigger that
is spent there and not told here was asked by an earlier claim, or its answer was lost: in both cases it is passed over.
"""

import dataclasses
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from wmjax import journal
from wmjax.errors import InvalidFile
from wmjax.evidence.transcript import Row, read_turn
from wmjax.grounds import Ground
from wmjax.keys import Commitment
from wmjax.suspects.grounds import read_told

Asked = journal.Journal["Head", Row, list[Row]]


@dataclasses.dataclass(frozen=True)
class Head:
    """Who asks whom what.

    Attributes:
      commitment: of the key.
      nonce: the challenger's.
      suspect: its name.
      told: how it is asked, as `Claim.asked`.
      tensors: digest of its weights; None where they are not at hand.
    """

    commitment: Commitment
    nonce: bytes
    suspect: str
    told: tuple[Ground, ...]
    tensors: str | None

    def to_json(self) -> dict[str, Any]:
        """Its JSON values."""
        return {
            "commitment": self.commitment.to_json(),
            "nonce": self.nonce.hex(),
            "suspect": self.suspect,
            "told": [ground.to_json() for ground in self.told],
            "tensors": self.tensors,
        }


def _head(values: dict[str, Any]) -> Head:
    nonce = bytes.fromhex(values["nonce"])
    commitment, told = Commitment.from_json(values["commitment"]), read_told(values["told"])
    return Head(commitment, nonce, str(values["suspect"]), told, values["tensors"])


def _row(values: dict[str, Any], head: Head) -> Row:
    row = read_turn(values, head.commitment.spec)
    if not row.attempts or values["opening"] is not None:
        raise ValueError("a row of a journal is asked and not opened")
    return row


KIND = journal.Kind(journal.CLAIM, _head, _row, list[Row], mode=0o600)


def begin(path: Path | None, head: Head, order: Sequence[int], *, resume: bool) -> Asked:
    """Opens the journal of a claim, as `wmjax.journal.begin` does; its rows must be in the order of the questions."""
    asked = journal.begin(path, KIND, head, resume=resume)
    there = {row.index for row in asked.records}
    if [row.index for row in asked.records] != [index for index in order if index in there]:
        asked.close()
        raise InvalidFile(f"{path} is damaged: its rows are not what the nonce picks, in that order")
    return asked


def told(path: Path | None) -> list[Row]:
    """The rows of a journal that may be there; none where there is none.

    Raises:
      InvalidFile: it is damaged.
      AccessError: it cannot be read.
    """
    found = journal.read(path, KIND) if path and path.exists() else None
    return found.records if found else []
