"""The files of a dispute: claims, verdicts, time stamps, authorities, releases."""

import hashlib
import re
from typing import Any

from cryptography.hazmat.primitives.asymmetric.ec import EllipticCurvePublicKey
from cryptography.hazmat.primitives.serialization import load_pem_public_key

from wmjax.digest import BUNDLE, STATEMENT
from wmjax.errors import UsageError
from wmjax.evidence import authority, oms, timestamps
from wmjax.evidence.claim_file import FORMAT as CLAIM
from wmjax.evidence.claim_file import read_claim
from wmjax.evidence.release import read_release
from wmjax.files import read_bytes
from wmjax.showing.contract import Facts, Glimpse, Kind, said
from wmjax.text import quoted

_TOKEN = bytes.fromhex("060b2a864886f70d0109100104")  # the object identifier of what a time stamp signs
_SHOWN = 5  # names of a list


def _claim(seen: Glimpse) -> Facts:
    """Signatures are checked in reading; all else is for the judge."""
    claim = read_claim(seen.raw, str(seen.path))
    stated, revealed = claim.stated, claim.secret is not None
    return {
        "signatures": "hold; a judge checks the rest",
        "suspect": quoted(claim.suspect),
        "verdict_by_the_claimant": said(stated.get("verdict")),
        "evidence_bits_by_the_claimant": said(stated.get("evidence_bits")),
        "triggers_asked": sum(bool(row.attempts) for row in claim.rows),
        "key_id": claim.commitment.id,
        "owner": claim.owner,
        "made_as_the_claimant_says": claim.made,
        "nonce": claim.nonce.hex(),
        "time_stamps": sum(len(one.tokens) for one in claim.commitments),
        "released_models": [one.public.model.name for one in claim.commitments if one.public.model],
        "weights_of_the_suspect": claim.model and claim.model.tensors,
        "holds_the_secret": "yes: hand it to the judge alone" if revealed else "no: a notice, which proves nothing",
        "sha256": claim.sha256,
    }


def _verdict(seen: Glimpse) -> Facts:
    """It is not signed: whoever doubts it judges again."""
    judgements, settlement = seen.values["judgements"], seen.values.get("settlement")
    told: list[Any] = [
        f"{said(one.get('verdict', one.get('code')))}: {said(one.get('headline', one.get('reason')))}"
        for one in judgements[:_SHOWN]
    ]
    first = judgements[0] if judgements else {}
    return {
        "judgements": len(judgements),
        "verdicts": told,
        "settlement": said(settlement.get("headline")) if isinstance(settlement, dict) else None,
        "evidence_bits": said(first.get("evidence_bits")),
        "needed_bits": said(first.get("needed_bits")),
        "judge_again_with": said(first.get("command")),
        "signature": "none: judge again rather than believe it",
    }


def _stamp(seen: Glimpse) -> Facts:
    stamp, digest = timestamps.told_by(seen.raw)
    over, owner = "unknown", re.fullmatch(r"(.+)\.\d+\.tsr", seen.path.name)
    if owner and (stamped := seen.path.with_name(f"{owner[1]}.json")).is_file():
        raw = read_bytes(stamped)
        same = digest in (hashlib.new(name, raw).digest() for name in ("sha256", "sha384", "sha512"))
        over = f"{stamped.name}, as it is now" if same else f"not {stamped.name} as it is now"
    return {
        "time": stamp.time.isoformat(timespec="seconds"),
        "authority_by_its_own_word": stamp.authority,
        "of": over,
        "signature": "not checked: a judge does, against authorities that they trust",
    }


def _authority(seen: Glimpse) -> Facts:
    certificates = authority.certificates_in(seen.path)
    told = [f"{name}, until {until:%Y-%m-%d}, sha256 {sha256}" for name, until, sha256 in certificates[:_SHOWN]]
    facts = {"certificates": told}
    try:
        found = authority.read_authority(seen.path)
    except UsageError as error:
        return {**facts, "usable_as_tsa": f"no: {error}"}
    return {**facts, "usable_as_tsa": "yes", "sign_time_stamps": len(found.pinned), "roots": len(found.roots)}


def _public(seen: Glimpse) -> Facts:
    key = load_pem_public_key(seen.raw)
    kind = key.curve.name if isinstance(key, EllipticCurvePublicKey) else type(key).__name__.removesuffix("PublicKey")
    return {"type": kind, "sha256_of_the_file": hashlib.sha256(seen.raw).hexdigest()}


def _release(seen: Glimpse) -> Facts:
    """A signature over a folder, and whether the folder is still as it was signed."""
    path = seen.path / BUNDLE if seen.folder else seen.path
    bundle = oms.read_bundle(read_bytes(path), str(path))
    facts = {"signed_files": len(bundle.files), "time_stamps": len(bundle.tokens), "key": bundle.hint}
    if path.name != BUNDLE or STATEMENT not in bundle.files:
        return {**facts, "folder": "not checked: it is not a release that wmjax made"}
    release = read_release(path.parent)
    return {
        "folder": "every file is as it was signed, and none was added",
        **facts,
        "released_model": release.model.name,
        "key_id": release.public.commitment.id,
        "owner": release.public.owner,
    }


def _is_stamp(seen: Glimpse) -> bool:
    return seen.head.startswith(b"\x30") and _TOKEN in seen.head


def _is_release(seen: Glimpse) -> bool:
    if seen.folder:
        return (seen.path / BUNDLE).is_file()
    return seen.values.get("mediaType") == oms.MEDIA_TYPE


KINDS = (
    Kind("claim", "a claim on a suspect", lambda seen: seen.values.get("format") == CLAIM, _claim),
    Kind("verdict", "a judge's verdict", lambda seen: isinstance(seen.values.get("judgements"), list), _verdict),
    Kind("time-stamp", "a time stamp (RFC 3161)", _is_stamp, _stamp),
    Kind("authority", "certificates", lambda seen: b"-----BEGIN CERTIFICATE-----" in seen.head, _authority),
    Kind("public-key", "a public key", lambda seen: seen.head.startswith(b"-----BEGIN PUBLIC KEY-----"), _public),
    Kind("release", "a signed release (OpenSSF Model Signing)", _is_release, _release),
)
