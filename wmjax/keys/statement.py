"""A commitment in public: signed by its owner, and naming the released checkpoint where there is one."""

import dataclasses
import os
from typing import Any

from wmjax.errors import InvalidFile
from wmjax.files import read_bytes
from wmjax.keys.commitment import Commitment
from wmjax.keys.signing import Signer, read_signed, sign
from wmjax.stores import place
from wmjax.text import is_name, is_sha256, named

COMMITMENT = "urn:wmjax:watermark-commitment:v1"


@dataclasses.dataclass(frozen=True)
class Model:
    """A released model, by digests that are in-toto's or ours.

    Attributes:
      name: of its folder or file; of a packed one `PACK.safetensors:NAME`. Signed statements hold it as
        `wmjax.text.named` gives it.
      files: of this copy: `wmjax.digest.files_digest`, in-toto's `dirHash`, hex.
      tensors: of its weights, the same in every copy and format: `wmjax.digest.digest`, hex.
    """

    name: str
    files: str
    tensors: str

    def subjects(self) -> list[dict[str, Any]]:
        """Its in-toto resource descriptors."""
        name = named(self.name)
        return [
            {"name": name, "digest": {"dirHash": self.files}},
            {"name": f"{name}: tensors", "digest": {"wmjaxTensors": self.tensors}},
        ]


@dataclasses.dataclass(frozen=True)
class SignedCommitment:
    """A commitment file whose signature was checked.

    Attributes:
      commitment: what was committed to.
      owner: public key of who signed, hex.
      model: the released checkpoint that it names.
      raw: the file, byte for byte: what is time-stamped.
    """

    commitment: Commitment
    owner: str
    model: Model | None
    raw: bytes = dataclasses.field(repr=False)


def sign_commitment(commitment: Commitment, signer: Signer, model: Model | None = None) -> bytes:
    """The commitment file: the public half of a key, signed."""
    return sign(_subjects(commitment, model), COMMITMENT, commitment.to_json(), signer)


def _subjects(commitment: Commitment, model: Model | None) -> list[dict[str, Any]]:
    """The key itself, by its id, and the model."""
    key = {"name": "watermark key", "digest": {"sha256": commitment.id}}
    return [key, *(model.subjects() if model else [])]


def parse_commitment(raw: bytes, what: str) -> SignedCommitment:
    """Checks a commitment file's bytes; any changed one is refused.

    Raises:
      InvalidFile: damaged, forged, or of a version that is not known here.
    """
    signed = read_signed(raw, COMMITMENT, what)
    values = signed.statement["predicate"]
    try:
        commitment = Commitment.from_json({name: value for name, value in values.items() if name != "owner"})
        model = model_of(signed.statement["subject"])
        if signed.statement["subject"] != _subjects(commitment, model):
            raise InvalidFile("its subjects are not the key that it commits to and a model")
    except InvalidFile as error:
        raise InvalidFile(f"{what}: {error}") from error
    return SignedCommitment(commitment, signed.owner, model, raw)


def model_of(subjects: Any) -> Model | None:
    """The model after the first of a statement's subjects; whether they are well-formed is seen by writing them again.

    Raises:
      InvalidFile: there are others.
    """
    if not isinstance(subjects, list) or len(subjects) < 3:
        return None
    try:
        model = Model(subjects[1]["name"], subjects[1]["digest"]["dirHash"], subjects[2]["digest"]["wmjaxTensors"])
    except (KeyError, TypeError) as error:
        raise InvalidFile("its subjects are not a model") from error
    if not is_name(model.name):
        raise InvalidFile("the name of its model is not 1 to 200 characters that can be seen")
    if not (is_sha256(model.files) and is_sha256(model.tensors)):
        raise InvalidFile("the digests of its model are not 64 hex digits each")
    return model


def read_commitment(path: str | os.PathLike[str]) -> SignedCommitment:
    """Reads a commitment file; any changed byte is refused.

    Example:

        wmjax.read_commitment("my.commitment.json").owner

    Args:
      path: of NAME.commitment.json.

    Raises:
      AccessError: it cannot be read.
      InvalidFile: it was changed, or is not a commitment.
    """
    return parse_commitment(read_bytes(place(path)), str(path))
