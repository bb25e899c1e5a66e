"""Who says so: Ed25519 keys (RFC 8032), and in-toto statements that they sign in DSSE envelopes.

A signing key is a PEM file (PKCS#8), as `openssl genpkey -algorithm ed25519` makes it too; it is apart from the secrets
of watermark keys, and may sign for many of them. An envelope (github.com/secure-systems-lab/dsse) signs the bytes

    "DSSEv1" SP LEN(type) SP type SP LEN(payload) SP payload

so that `openssl pkeyutl -verify -rawin` checks it. A file that holds one is RFC 8785 JSON and a newline: one form only.
"""

import base64
import binascii
import dataclasses
import os
from pathlib import Path
from typing import Any

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.ec import SECP256R1, EllipticCurvePrivateKey, derive_private_key
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    KeySerializationEncryption,
    NoEncryption,
    PrivateFormat,
    load_pem_private_key,
)
from securesystemslib.exceptions import VerificationError

from wmjax.canonical import read_canonical, write_canonical
from wmjax.errors import InvalidFile, UsageError
from wmjax.files import read_private
from wmjax.keys.owners import check_owner
from wmjax.text import is_sha256

PAYLOAD_TYPE = "application/vnd.in-toto+json"
STATEMENT = "https://in-toto.io/Statement/v1"
_P256_ORDER = 0xFFFFFFFF00000000FFFFFFFFFFFFFFFFBCE6FAADA7179E84F3B9CAC2FC632551


@dataclasses.dataclass(frozen=True, eq=False)
class Signer:
    """An opened signing key.

    Attributes:
      private: never printed.
    """

    private: Ed25519PrivateKey = dataclasses.field(repr=False)

    @property
    def owner(self) -> str:
        """The public key, 64 hex digits: who signs, everywhere."""
        return self.private.public_key().public_bytes_raw().hex()

    @property
    def p256(self) -> EllipticCurvePrivateKey:
        """The same signer's key for tools that know no Ed25519: it follows from this one, so there is nothing to keep.

        Its number is 1 + (HKDF-SHA-256 of the 32 bytes, 48 bytes long, mod n - 1): FIPS 186-5, A.2.1.
        """
        kdf = HKDF(SHA256(), length=48, salt=None, info=b"wmjax model.sig P-256")
        drawn = int.from_bytes(kdf.derive(self.private.private_bytes_raw()))
        return derive_private_key(1 + drawn % (_P256_ORDER - 1), SECP256R1())

    def to_pem(self, passphrase: str | None = None) -> bytes:
        """The PEM file, encrypted where there is a passphrase."""
        sealed: KeySerializationEncryption = NoEncryption()
        if passphrase:
            sealed = BestAvailableEncryption(passphrase.encode())
        return self.private.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, sealed)


def new_signer() -> Signer:
    """A fresh signing key."""
    return Signer(Ed25519PrivateKey.generate())


def open_signer(path: str | os.PathLike[str], passphrase: str | None = None) -> Signer:
    """Reads a signing key.

    Example:

        signer = wmjax.open_signer("my.signer.pem")

    Args:
      path: of a PEM file with an Ed25519 key.
      passphrase: what it is encrypted with, if it is.

    Raises:
      AccessError: the file cannot be read.
      UsageError: it is encrypted and there is no passphrase.
      InvalidFile: it is not an Ed25519 key in PEM, or the passphrase is not its own.
    """
    raw = read_private(Path(path))
    needed = b"ENCRYPTED" in raw
    if needed and not passphrase:
        raise UsageError(f"{path} is encrypted: give its `passphrase`")
    try:
        private = load_pem_private_key(raw, (passphrase or "").encode() if needed else None)
    except (ValueError, TypeError, UnsupportedAlgorithm) as error:
        why = "its passphrase is another, or it is damaged" if needed else "it is not a private key in PEM"
        raise InvalidFile(f"{path}: cannot open the signing key: {why}") from error
    if not isinstance(private, Ed25519PrivateKey):
        raise InvalidFile(f"{path}: not an Ed25519 key; `openssl genpkey -algorithm ed25519` makes one")
    return Signer(private)


@dataclasses.dataclass(frozen=True)
class Signed:
    """An in-toto statement whose signature was checked.

    Attributes:
      owner: the public key that signed, hex.
      statement: its JSON.
      raw: the envelope's file, byte for byte.
    """

    owner: str
    statement: dict[str, Any]
    raw: bytes


def sign(subjects: list[dict[str, Any]], predicate_type: str, predicate: dict[str, Any], signer: Signer) -> bytes:
    """A signed statement, as the bytes of its file.

    Args:
      subjects: in-toto resource descriptors, at least one, each with a name and a digest.
      predicate_type: URI of what is said.
      predicate: what is said; its field `owner` will be the signer's public key.
      signer: who says so.
    """
    from securesystemslib.dsse import Envelope  # here: where there is boto3 it imports that, as long as SciPy takes
    from securesystemslib.signer import CryptoSigner

    predicate = {**predicate, "owner": signer.owner}
    statement = {"_type": STATEMENT, "subject": subjects, "predicateType": predicate_type, "predicate": predicate}
    envelope = Envelope(write_canonical(statement), PAYLOAD_TYPE, {})
    envelope.sign(CryptoSigner(signer.private))
    return write_canonical(envelope.to_dict())


def read_signed(raw: bytes, predicate_type: str, what: str) -> Signed:
    """Checks a signed statement and reads it.

    Args:
      raw: bytes of its file.
      predicate_type: that it must have.
      what: its name, for messages.

    Raises:
      InvalidFile: it is not in its one canonical form, is of another type, or its signature is not its owner's.
    """
    from securesystemslib.dsse import Envelope
    from securesystemslib.signer import Signature, SSlibKey

    payload, keyid, signature = _opened(read_canonical(raw, what), what)
    statement = read_canonical(payload, f"the statement in {what}")
    owner = _owner(statement, predicate_type, what)
    try:
        key = SSlibKey.from_crypto(Ed25519PublicKey.from_public_bytes(bytes.fromhex(owner)))
        Envelope(payload, PAYLOAD_TYPE, {keyid: Signature(keyid, signature.hex())}).verify([key], 1)
    except (ValueError, VerificationError) as error:
        raise InvalidFile(f"{what}: the signature is not that of its owner {owner[:16]}...") from error
    return Signed(owner, statement, raw)


def _opened(values: dict[str, Any], what: str) -> tuple[bytes, str, bytes]:
    """What an envelope holds, its signature's key and bytes; nothing is checked but their form."""
    try:
        payload = _exact(values["payload"])
        (signature,) = values["signatures"]
        if set(values) != {"payload", "payloadType", "signatures"} or set(signature) != {"keyid", "sig"}:
            raise InvalidFile(f"{what} is not a DSSE envelope with one signature")
        if type(signature["keyid"]) is not str:
            raise TypeError
        if values["payloadType"] != PAYLOAD_TYPE:
            raise InvalidFile(f"{what} holds {values['payloadType']!r:.80}, not an in-toto statement")
        return payload, signature["keyid"], _exact(signature["sig"])
    except (KeyError, TypeError, ValueError) as error:
        raise InvalidFile(f"{what} is not a DSSE envelope with one signature") from error


def _owner(statement: dict[str, Any], predicate_type: str, what: str) -> str:
    """The public key that a statement says is its owner's."""
    if statement.get("_type") != STATEMENT or statement.get("predicateType") != predicate_type:
        told = statement.get("predicateType")
        raise InvalidFile(f"{what} is a statement of type {told!r:.80}; this program reads {predicate_type} here")
    if set(statement) != {"_type", "subject", "predicateType", "predicate"}:
        raise InvalidFile(f"{what} is not an in-toto statement: it has fields that none has, or lacks some")
    predicate = statement["predicate"]
    owner = predicate.get("owner") if isinstance(predicate, dict) else None
    if not is_sha256(owner):  # as many digits
        raise InvalidFile(f"{what} does not say whose it is: its owner is not an Ed25519 public key in hex")
    check_owner(str(owner), what)
    return str(owner)


def _exact(text: str) -> bytes:
    """Bytes of base64 in its one form."""
    raw = base64.b64decode(text, validate=True)
    if base64.b64encode(raw).decode() != text:  # unused bits of the last digit, or line breaks
        raise binascii.Error("not in its one form")
    return raw
