"""A claim's file: how it is written, and what its reader checks.

It is one JSON object in RFC 8785 form (FORMAT.md): the signed commitment with its time stamps, and a signed statement
with nonce, transcript, openings and perhaps the secret. Nothing in it can be changed or dropped unnoticed: the
statement holds a digest of all the rest.
"""

import base64
import datetime
import glob
import hashlib
import os
from collections.abc import Sequence
from typing import Any

from wmjax.canonical import read_canonical, write_canonical
from wmjax.errors import InvalidFile
from wmjax.evidence.claim import Attached, Claim
from wmjax.evidence.transcript import Row, read_rows
from wmjax.files import read_bytes
from wmjax.grounds import Ground
from wmjax.keys import Model, SignedCommitment, Signer, Spec
from wmjax.keys.derive import SECRET_BYTES
from wmjax.keys.material import Material
from wmjax.keys.pledge import Pledge
from wmjax.keys.signing import read_signed, sign
from wmjax.keys.statement import model_of, parse_commitment
from wmjax.keys.times import read_time
from wmjax.stores import place
from wmjax.suspects.grounds import read_told
from wmjax.text import is_name, named

FORMAT = "wmjax-claim/1"
CLAIM = "urn:wmjax:watermark-claim:v1"
_TOKENS = 32  # time stamps that a statement may have
_COMMITMENTS = 32  # that a claim may have


def attach(path: str | os.PathLike[str]) -> Attached:
    """Reads a commitment file and its time stamps: NAME.commitment.json, and NAME.commitment.*.tsr in the same folder.

    Example:

        wmjax.attach("my.commitment.json").public.commitment.id

    Args:
      path: of NAME.commitment.json.

    Raises:
      AccessError: a file cannot be read.
      InvalidFile: the commitment was changed, or is not one.
    """
    path = place(path)
    raw = read_bytes(path)
    tokens = sorted(path.parent.glob(f"{glob.escape(path.stem)}.*.tsr"))
    return Attached(parse_commitment(raw, str(path)), tuple(read_bytes(token) for token in tokens))


def write_claim(
    commitments: Sequence[Attached],
    signer: Signer,
    rows: Sequence[Row],
    stated: dict[str, Any],
    *,
    suspect: str,
    model: Model | None,
    nonce: bytes,
    asked: Sequence[Ground] = (),
    secret: bytes | None = None,
    pledge: Pledge | None = None,
    material: Material | None = None,
) -> bytes:
    """The claim's file; arguments as the attributes of `Claim`."""
    attached = [one.to_json() for one in commitments]
    transcript = [row.to_json() for row in rows]
    predicate = {
        "attached": hashlib.sha256(write_canonical(attached)).hexdigest(),
        "commitment": commitments[0].public.commitment.id,
        "made": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
        "nonce": nonce.hex(),
        "secret": secret.hex() if secret else None,
        "suspect": named(suspect),
        "transcript": transcript,
        "verdict": stated,
        **({"pledge": pledge.to_json()} if secret and pledge else {}),
        **({"material": material.to_json()} if material else {}),
        **({"asked": [ground.to_json() for ground in asked]} if asked else {}),
    }
    statement = read_canonical(sign(_subjects(transcript, model), CLAIM, predicate, signer), "the claim")
    return write_canonical({"format": FORMAT, "commitments": attached, "claim": statement})


def _subjects(transcript: Any, model: Model | None) -> list[dict[str, Any]]:
    """The transcript, for a service has no digest; and the model where it was at hand."""
    sha256 = hashlib.sha256(write_canonical(transcript)).hexdigest()
    return [{"name": "transcript", "digest": {"sha256": sha256}}, *(model.subjects() if model else [])]


def read_claim(raw: bytes, what: str = "the claim") -> Claim:
    """Reads a claim and checks its form and signatures: all else is for `wmjax.judge` (example: `wmjax.evidence`).

    Args:
      raw: the file's bytes, as `wmjax.claim` gave them.
      what: its name, for messages.

    Raises:
      InvalidFile: it was changed by as much as a byte, is not a claim, or has a version that this program does not
        read.
    """
    values = read_canonical(raw, what)
    if values.get("format") != FORMAT:
        other = f"of format {values['format']!r:.80}" if "format" in values else "not a claim"
        raise InvalidFile(f"{what} is {other}: this program reads {FORMAT}")
    try:
        if set(values) != {"format", "commitments", "claim"}:
            raise InvalidFile("unexpected or missing fields")
        commitments = _read_commitments(values["commitments"])
        signed = read_signed(write_canonical(values.pop("claim")), CLAIM, "its claim")  # large: kept no longer
        return _claim(signed.statement, commitments, values["commitments"], raw)
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise InvalidFile(f"{what} is not a valid claim: a field is missing or malformed") from error
    except InvalidFile as error:
        raise InvalidFile(f"{what}: {error}") from error


def _read_commitments(values: Any) -> tuple[Attached, ...]:
    """The commitments in a claim: one key, one owner."""
    if not 1 <= len(values) <= _COMMITMENTS:
        raise InvalidFile(f"it holds {len(values)} commitments, not 1 to {_COMMITMENTS}")
    attached = []
    for value in values:
        stamps = value["timestamps"]
        if set(value) != {"statement", "timestamps"} or type(stamps) is not list or len(stamps) > _TOKENS:
            raise InvalidFile(f"one of its commitments is not a statement with up to {_TOKENS} time stamps")
        public = parse_commitment(write_canonical(value["statement"]), "its commitment")
        tokens = [base64.b64decode(token, validate=True) for token in stamps]
        attached.append(Attached(public, tuple(tokens)))
    _check_one_key(attached)
    return tuple(attached)


def _check_one_key(attached: Sequence[Attached]) -> None:
    """No key is dated by the time stamp of another."""
    first = attached[0].public
    if any((one.public.owner, one.public.commitment) != (first.owner, first.commitment) for one in attached):
        raise InvalidFile("its commitments are of different keys or owners")


def _exact(text: str) -> bytes:
    """Bytes of hex in its one form."""
    raw = bytes.fromhex(text)
    if raw.hex() != text:
        raise ValueError("not in its one form")
    return raw


def _check_fields(told: dict[str, Any], spec: Spec) -> None:
    """The statement has the fields of a claim on such a key, and no others."""
    names = {"attached", "commitment", "made", "nonce", "owner", "secret", "suspect", "transcript", "verdict"}
    if spec.material is not None:
        names.add("material")
    if set(told) - {"asked", *(["pledge"] if told["secret"] else [])} != names:
        raise InvalidFile("its statement has unexpected or missing fields")


def _check_owner(told: dict[str, Any], public: SignedCommitment) -> None:
    """Nobody claims by another's commitment."""
    if told["owner"] != public.owner or told["commitment"] != public.commitment.id:
        raise InvalidFile("it is not signed by the owner of its commitment, or is about another key")


def _check_time(text: Any) -> None:
    try:
        read_time(text)
    except (TypeError, ValueError) as error:
        raise InvalidFile(f"when it was made cannot be read: {error}") from error


def _claim(statement: dict[str, Any], commitments: tuple[Attached, ...], attached: Any, raw: bytes) -> Claim:
    """The claim of a statement whose signature was checked."""
    told, public = statement["predicate"], commitments[0].public
    spec = public.commitment.spec
    _check_fields(told, spec)
    if told["attached"] != hashlib.sha256(write_canonical(attached)).hexdigest():
        raise InvalidFile("its commitments or time stamps are not those that were there when it was signed")
    _check_owner(told, public)
    model = model_of(statement["subject"])
    if statement["subject"] != _subjects(told["transcript"], model):
        raise InvalidFile("its subjects are not its transcript and a model")
    _check_time(told["made"])
    secret = None if told["secret"] is None else _exact(told["secret"])
    nonce = _exact(told["nonce"])
    if not 16 <= len(nonce) <= 64 or (secret is not None and len(secret) != SECRET_BYTES):
        raise InvalidFile("its nonce or its secret has the wrong length")
    rows = read_rows(told["transcript"], spec)
    if not is_name(told["suspect"]):
        raise InvalidFile("the name of its suspect is not 1 to 200 characters that can be seen")
    if told.get("asked", [{}]) == []:
        raise InvalidFile("it says how the suspect was asked, and says nothing")
    asked = read_told(told.get("asked", []))
    pledge = Pledge.from_json(told["pledge"]) if "pledge" in told else None
    material = None if spec.material is None else Material.from_json(told["material"])
    return Claim(
        commitments=commitments,
        owner=public.owner,
        suspect=told["suspect"],
        asked=asked,
        model=model,
        nonce=nonce,
        made=told["made"],
        rows=rows,
        secret=secret,
        pledge=pledge,
        material=material,
        stated=told["verdict"],
        raw=raw,
    )
