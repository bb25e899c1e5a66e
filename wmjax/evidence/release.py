"""A released folder that anyone can verify: `model.sig`, an OpenSSF Model Signing v1.0 bundle over all of its files.

Three files are added (FORMAT.md). `watermark.commitment.json` is the owner's own statement (Ed25519) that these weights
carry the key; `watermark.pub.pem` is the owner's P-256 key, since such bundles know no Ed25519; `model.sig` signs every
file, those two among them, and holds the time stamps over its signature. So `model_signing verify key` covers weights
and commitment together, and a judge with a copy at hand sees that it is the released one, and since when.

The public key is among the signed files for a reason: for any ECDSA signature and any message somebody can compute a
key under which the one signs the other. So a time stamp over a signature dates a message only where the message fixes
the key; else a signature of nothing, stamped in 2020, would date whatever is made today.
"""

import dataclasses
import datetime
import hashlib
import os
from collections.abc import Mapping, Sequence
from pathlib import Path

from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.ec import ECDSA, SECP256R1, EllipticCurvePublicKey
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat, load_pem_public_key

from wmjax.digest import BUNDLE, PUBLIC, STATEMENT
from wmjax.errors import InvalidFile, UsageError
from wmjax.evidence import oms
from wmjax.evidence.authority import Authority
from wmjax.evidence.timestamps import Stamp, check_past, obtain
from wmjax.files import read_bytes, write_bytes
from wmjax.keys import Model, SignedCommitment, Signer
from wmjax.keys.statement import parse_commitment
from wmjax.stores import place
from wmjax.text import quoted


@dataclasses.dataclass(frozen=True)
class Release:
    """A folder whose `model.sig` holds for every file in it.

    Attributes:
      folder: its name.
      public: the owner's statement in it.
      model: that it names.
      key: SHA-256 (hex) of the P-256 key's PEM; whose it is, only its owner's own publications say.
      stamps: the time stamps over its signature, which date all that it signs.
    """

    folder: str
    public: SignedCommitment
    model: Model
    key: str
    stamps: tuple[Stamp, ...]

    @property
    def dated(self) -> datetime.datetime | None:
        """The earliest moment by which it existed, by an authority that is trusted."""
        return min((stamp.time for stamp in self.stamps if stamp.trusted), default=None)

    def says(self, owner: str, key_id: str, model: Model) -> bool:
        """Whether an owner says in it that a model's weights carry a key."""
        public = self.public
        return (public.owner, public.commitment.id, self.model.tensors) == (owner, key_id, model.tensors)


def sign_release(
    folder: str | os.PathLike[str],
    statement: bytes,
    signer: Signer,
    timestamps: Sequence[str] = (),
    authorities: Sequence[Authority] = (),
) -> list[Path]:
    """Signs a folder for publication: writes the three files of a release into it, `model.sig` last.

    Args:
      folder: holds the model, and nothing that is not to be published.
      statement: the owner's signed commitment that names the model (`wmjax.keys.sign_commitment`), its file's bytes.
      signer: who signed that; the P-256 key follows from theirs.
      timestamps: URLs of RFC 3161 authorities, to stamp the signature.
      authorities: where given, one of them must have signed each answer.

    Returns:
      the files.

    Raises:
      UsageError: the folder is signed already, or holds links or what is not a file.
      AccessError: a file, or an authority, cannot be reached.
      InvalidFile: an authority's answer is not a time stamp of the signature.
    """
    folder, private = place(folder), signer.p256
    public = parse_commitment(statement, STATEMENT)
    if public.model is None or public.owner != signer.owner:
        raise UsageError("the statement names no model, or is not by the signer: it is not a release")
    new = {STATEMENT: statement, PUBLIC: _pem(private.public_key())}
    for name in (BUNDLE, *new):
        if os.path.lexists(folder / name):
            raise UsageError(f"{folder / name} already exists: delete the files of the older release to sign anew")
    try:
        digests = {**oms.digests(folder), **{name: _sha256(raw) for name, raw in new.items()}}
    except InvalidFile as error:
        raise UsageError(str(error)) from error
    payload = oms.statement(folder.resolve().name, digests)
    signature = private.sign(oms.encoded(payload), ECDSA(SHA256()))
    tokens = [obtain(url, signature, authorities) for url in timestamps]
    new[BUNDLE] = oms.write_bundle(payload, signature, _sha256(new[PUBLIC]), tokens)
    for name, raw in new.items():
        write_bytes(folder / name, raw)
    return [folder / name for name in new]


def read_release(folder: str | os.PathLike[str], authorities: Sequence[Authority] = ()) -> Release:
    """Checks a released folder: every file in it is one that was signed, and none is missing.

    Example:

        court = wmjax.Court(releases=[wmjax.read_release("release")])

    Args:
      folder: which holds `model.sig`; made by wmjax or by any tool for OpenSSF Model Signing v1.0.
      authorities: whose time stamps are to be believed.

    Raises:
      AccessError: a file cannot be read.
      InvalidFile: a file was changed, added or removed, or a signature or time stamp is of something else.
    """
    folder = place(folder)
    what = str(folder / BUNDLE)
    bundle = oms.read_bundle(read_bytes(folder / BUNDLE), what)
    _compare(bundle.files, oms.digests(folder), folder)
    statement, pem = (_pinned(folder, name, bundle.files, what) for name in (STATEMENT, PUBLIC))
    if bundle.hint != _verified(pem, bundle, what):
        raise InvalidFile(f"{what} names another key than {PUBLIC}")
    public = parse_commitment(statement, str(folder / STATEMENT))
    if public.model is None:
        raise InvalidFile(f"{folder / STATEMENT} names no model: it is not a release")
    try:
        stamps = tuple(check_past(token, bundle.signature, authorities) for token in bundle.tokens)
    except InvalidFile as error:
        raise InvalidFile(f"{what}: {error}") from error
    return Release(folder.resolve().name, public, public.model, bundle.hint, stamps)


def _compare(signed: Mapping[str, str], lying: Mapping[str, str], folder: Path) -> None:
    """The folder's files are those that were signed, all of them and no others."""
    for name in sorted(signed.keys() | lying.keys()):
        if name not in lying:
            raise InvalidFile(f"{folder}: {quoted(name)} was signed and is missing")
        if name not in signed:
            raise InvalidFile(f"{folder}: {quoted(name)} was added: it is not among the signed files")
        if signed[name] != lying[name]:
            raise InvalidFile(f"{folder}: {quoted(name)} is not as it was signed")


def _pinned(folder: Path, name: str, signed: Mapping[str, str], what: str) -> bytes:
    """One of the release's own files, which must be signed with the others."""
    if name not in signed:
        raise InvalidFile(f"{what} does not cover {name}: it is not a release of wmjax")
    raw = read_bytes(folder / name)
    if _sha256(raw) != signed[name]:
        raise InvalidFile(f"{folder}: {quoted(name)} is not as it was signed")
    return raw


def _verified(pem: bytes, bundle: oms.Bundle, what: str) -> str:
    """The name of the P-256 key that signed."""
    try:
        public = load_pem_public_key(pem)
        if not isinstance(public, EllipticCurvePublicKey) or not isinstance(public.curve, SECP256R1):
            raise ValueError
        public.verify(bundle.signature, oms.encoded(bundle.payload), ECDSA(SHA256()))
    except (ValueError, UnsupportedAlgorithm) as error:
        raise InvalidFile(f"{what}: {PUBLIC} beside it is not a P-256 key in PEM") from error
    except InvalidSignature as error:
        raise InvalidFile(f"{what}: the signature is not that of {PUBLIC}") from error
    return _sha256(_pem(public))


def _pem(public: EllipticCurvePublicKey) -> bytes:
    return public.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)


def _sha256(raw: bytes) -> str:
    return hashlib.sha256(raw).hexdigest()
