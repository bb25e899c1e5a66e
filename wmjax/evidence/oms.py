"""OpenSSF Model Signing v1.0: the bytes of a bundle that signs the files of a folder with a P-256 key.

A Sigstore bundle v0.3 holds a DSSE envelope, that an in-toto statement v1, and that the SHA-256 of each file. Sections
are those of https://github.com/ossf/model-signing-spec, spec/v1.0.md.
"""

import base64
import binascii
import dataclasses
import hashlib
import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from securesystemslib.dsse import Envelope

from wmjax.canonical import LARGEST, write_canonical
from wmjax.digest import BUNDLE, sha256_each
from wmjax.errors import AccessError, InvalidFile
from wmjax.keys.signing import PAYLOAD_TYPE, STATEMENT
from wmjax.text import named, quoted

MEDIA_TYPE = "application/vnd.dev.sigstore.bundle.v0.3+json"
PREDICATE = "https://model_signing/signature/v1.0"
IGNORED = (".git", ".gitattributes", ".github", ".gitignore", BUNDLE)  # 6.2, at the top of a folder
_RULES = {"method": "files", "hash_type": "sha256", "allow_symlinks": False}
_TOKENS = 32  # time stamps that a bundle may have


@dataclasses.dataclass(frozen=True)
class Bundle:
    """A bundle's contents; nothing of it is verified.

    Attributes:
      payload: the statement's bytes.
      signature: ECDSA in DER, over `encoded(payload)`.
      hint: SHA-256 (hex) of the PEM of the key that is meant.
      tokens: RFC 3161 responses (DER) over the signature.
      files: SHA-256 (hex) by path, as the statement says.
    """

    payload: bytes = dataclasses.field(repr=False)
    signature: bytes
    hint: str
    tokens: tuple[bytes, ...]
    files: dict[str, str]


def statement(name: str, digests: Mapping[str, str]) -> bytes:
    """What is signed of a folder's files (5 and 6), as its bytes."""
    files = sorted(digests.items())
    return write_canonical(
        {
            "_type": STATEMENT,
            "subject": [{"name": named(name), "digest": {"sha256": _root(digest for _, digest in files)}}],
            "predicateType": PREDICATE,
            "predicate": {
                "resources": [{"name": file, "digest": digest, "algorithm": "sha256"} for file, digest in files],
                "serialization": {**_RULES, "ignore_paths": list(IGNORED)},
            },
        }
    )


def write_bundle(payload: bytes, signature: bytes, hint: str, tokens: Sequence[bytes]) -> bytes:
    """A bundle, as the bytes of its file; arguments as the fields of `Bundle`."""
    material: dict[str, Any] = {"publicKey": {"hint": hint}, "tlogEntries": []}
    if tokens:
        stamps = [{"signedTimestamp": _base64(token)} for token in tokens]
        material["timestampVerificationData"] = {"rfc3161Timestamps": stamps}
    signed = {"payload": _base64(payload), "payloadType": PAYLOAD_TYPE, "signatures": [{"sig": _base64(signature)}]}
    return write_canonical({"mediaType": MEDIA_TYPE, "verificationMaterial": material, "dsseEnvelope": signed})


def read_bundle(raw: bytes, what: str) -> Bundle:
    """Reads a bundle, made by any tool of the standard.

    Args:
      raw: bytes of its file.
      what: its name, for messages.

    Raises:
      InvalidFile: it is none that a P-256 key signed over whole files.
    """
    bundle = _parsed(raw, what)
    try:
        material, envelope = bundle["verificationMaterial"], bundle["dsseEnvelope"]
        (signature,) = envelope["signatures"]
        stamps = material.get("timestampVerificationData", {}).get("rfc3161Timestamps", [])
        if bundle["mediaType"] != MEDIA_TYPE or envelope["payloadType"] != PAYLOAD_TYPE or len(stamps) > _TOKENS:
            raise ValueError
        tokens = tuple(_exact(stamp["signedTimestamp"]) for stamp in stamps)
        payload, signed = _exact(envelope["payload"]), _exact(signature["sig"])
        hint = str(material["publicKey"]["hint"])
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise InvalidFile(f"{what} is not a bundle of OpenSSF Model Signing v1.0, signed with a key") from error
    return Bundle(payload, signed, hint, tokens, _files_of(_parsed(payload, f"the statement in {what}"), what))


def _files_of(statement: Any, what: str) -> dict[str, str]:
    """The files that a statement names, with their digests."""
    try:
        predicate, (subject,) = statement["predicate"], statement["subject"]
        rules, resources = dict(predicate["serialization"]), predicate["resources"]
        ignored = list(rules.pop("ignore_paths", []))
        files = {str(one["name"]): str(one["digest"]) for one in resources}
        if (statement["_type"], statement["predicateType"]) != (STATEMENT, PREDICATE):
            raise ValueError
        if [one["name"] for one in resources] != sorted(files) or {one["algorithm"] for one in resources} != {"sha256"}:
            raise ValueError
        if subject["digest"] != {"sha256": _root(files.values())}:
            raise ValueError
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise InvalidFile(f"{what} holds no statement of OpenSSF Model Signing v1.0 over files by SHA-256") from error
    if rules != _RULES:
        raise InvalidFile(f"{what} was made by other rules than this program reads: whole files, SHA-256, no links")
    if hidden := [path for path in ignored if path not in IGNORED]:
        raise InvalidFile(f"{what} leaves out {quoted(str(hidden[0]))}: what lies there is not signed")
    return files


def _root(digests: Iterable[str]) -> str:
    """The one digest of all files (6.5.1)."""
    return hashlib.sha256(b"".join(bytes.fromhex(digest) for digest in digests)).hexdigest()


def encoded(payload: bytes) -> bytes:
    """What DSSE signs of a payload."""
    signed: bytes = Envelope(payload, PAYLOAD_TYPE, {}).pae()
    return signed


def digests(folder: Path) -> dict[str, str]:
    """SHA-256 of all files of a folder by their paths in it, but for those that the standard leaves out.

    Raises:
      AccessError: one cannot be read.
      InvalidFile: there is a link, or what is neither a file nor a folder, or a name that is not UTF-8.
    """
    found: dict[str, str] = {}
    try:
        for path, sha256 in sha256_each(list(_files(folder))):
            found[path.relative_to(folder).as_posix()] = sha256
    except OSError as error:
        raise AccessError(f"cannot read {error.filename or folder}: {error.strerror}") from error
    return found


def _files(folder: Path) -> Iterator[Path]:
    for path in sorted(folder.iterdir()):
        if path.name not in IGNORED:
            yield from _below(path)


def _below(path: Path) -> Iterator[Path]:
    """The files of a path; raises `InvalidFile` where something is neither a file nor a folder."""
    try:
        path.name.encode()
    except UnicodeEncodeError as error:
        raise InvalidFile(
            f"{path.parent}: {quoted(path.name)} is not a name in UTF-8, so it cannot be signed"
        ) from error
    if path.is_symlink() or not (path.is_file() or path.is_dir()):
        raise InvalidFile(f"{path.parent}: {quoted(path.name)} is a link, or no file: copy what is to be released")
    if path.is_file():
        yield path
    else:
        for inner in sorted(path.iterdir()):
            yield from _below(inner)


def _parsed(raw: bytes, what: str) -> Any:
    """A stranger's JSON, in any form of its own; a field that is given twice means two things, and is refused."""
    try:
        if len(raw) > LARGEST:
            raise ValueError("too large")
        return json.loads(raw, object_pairs_hook=_unique)
    except (ValueError, RecursionError) as error:
        raise InvalidFile(f"{what} is not JSON that this program reads") from error


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    if len(dict(pairs)) != len(pairs):
        raise ValueError("a field is given twice")
    return dict(pairs)


def _base64(raw: bytes) -> str:
    return base64.b64encode(raw).decode()


def _exact(text: Any) -> bytes:
    try:
        return base64.b64decode(text, validate=True)
    except binascii.Error as error:
        raise ValueError("no base64") from error
