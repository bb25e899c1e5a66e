"""Time stamps of RFC 3161: an authority's word that some bytes existed at a time, checked without a network.

A token is a DER TimeStampResp, as the authority sent it; `openssl ts -verify -in` reads it too. It is believed only
where its signer is a certificate that whoever checks has pinned, and that certificate leads to a root given with it.
Certificates are looked at as of the token's time, so that they may expire later; revocation is not looked at. What a
token embeds is never a root: rfc3161-client below 1.0.9 took it for one.
"""

import datetime
import hashlib
import re
from collections.abc import Sequence
from dataclasses import dataclass

from cryptography import x509
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import Encoding
from rfc3161_client import (
    HashAlgorithm,
    PKIStatus,
    SignerInfo,
    TimestampRequestBuilder,
    TimeStampResponse,
    TimeStampTokenInfo,
    VerifierBuilder,
    decode_timestamp_response,
)

from wmjax.errors import InvalidFile
from wmjax.evidence.authority import LARGEST, Authority, hostile, name_of
from wmjax.post import place, post, words

AHEAD = datetime.timedelta(hours=24)  # that an honest clock may be ahead of the judge's
_HASHES = {"2.16.840.1.101.3.4.2.1": "sha256", "2.16.840.1.101.3.4.2.2": "sha384", "2.16.840.1.101.3.4.2.3": "sha512"}


@dataclass(frozen=True)
class Stamp:
    """What a token says, and whether that is to be believed.

    Attributes:
      time: UTC, the latest moment that the token may mean: its time plus its stated accuracy.
      authority: the signer's name; only its own word where the stamp is not trusted.
      trusted: a pinned certificate signed it.
      certificate: SHA-256 (hex) of the pinned certificate that signed it; None if it is not trusted.
    """

    time: datetime.datetime
    authority: str
    trusted: bool
    certificate: str | None


@dataclass(frozen=True)
class _Token:
    """A token taken apart, nothing of it verified; its certificates with the signer's first."""

    response: TimeStampResponse
    algorithm: str
    digest: bytes
    time: datetime.datetime
    nonce: int | None
    signer: SignerInfo
    name: str
    certificates: tuple[x509.Certificate, ...]


def check(token: bytes, data: bytes, authorities: Sequence[Authority]) -> Stamp:
    """Checks a time stamp over some data, offline.

    Args:
      token: DER TimeStampResp.
      data: what it must be a time stamp of.
      authorities: whom to believe.

    Returns:
      the stamp; where none of the pinned certificates signed it, it is not trusted and all in it is only its own word.

    Raises:
      InvalidFile: the token is malformed, was not granted, is of other data or by SHA-1, or names a pinned certificate
        as its signer and does not verify under it.
    """
    parts = _take_apart(token)
    if hashlib.new(parts.algorithm, data).digest() != parts.digest:
        raise InvalidFile("the time stamp is of other data")
    reason = ""
    for authority in authorities:
        for certificate in (one for one in authority.pinned if _is_signer(parts.signer, one)):
            try:
                _verify(parts, data, certificate, authority)
            except InvalidFile as error:
                reason = str(error)
                continue
            return Stamp(parts.time, name_of(certificate), True, certificate.fingerprint(SHA256()).hex())
    if reason:
        raise InvalidFile(reason)
    return Stamp(parts.time, parts.name, False, None)


def told_by(token: bytes) -> tuple[Stamp, bytes]:
    """What a time stamp says of itself, nothing of it verified, and the digest of what it was made of.

    Raises:
      InvalidFile: it is malformed, was not granted, or is by SHA-1.
    """
    parts = _take_apart(token)
    return Stamp(parts.time, parts.name, False, None), parts.digest


def check_past(token: bytes, data: bytes, authorities: Sequence[Authority]) -> Stamp:
    """`check`, which also refuses a trusted stamp from the future; raises `InvalidFile`."""
    stamp = check(token, data, authorities)
    if stamp.trusted and stamp.time > datetime.datetime.now(datetime.UTC) + AHEAD:
        told = stamp.time.isoformat(timespec="seconds")
        raise InvalidFile(f"a time stamp says {told}, which this computer's clock has not reached: check the clock")
    return stamp


def obtain(url: str, data: bytes, authorities: Sequence[Authority] = ()) -> bytes:
    """Asks an authority for a time stamp, over HTTP (RFC 3161, section 3.4).

    Args:
      url: of the authority, http or https.
      data: what to stamp, not empty; only its SHA-256 is sent.
      authorities: where given, one of them must have signed the answer.

    Returns:
      the token, as it came.

    Raises:
      UsageError: no such URL can be.
      AccessError: the network failed or the server answered with an error.
      InvalidFile: the answer is not a time stamp of this data for this query, or no pinned certificate signed it.
    """
    builder = TimestampRequestBuilder(data, HashAlgorithm.SHA256, nonce=True, cert_req=True)
    query = builder.build()
    token = post(url, query.as_bytes(), "application/timestamp-query", LARGEST)
    try:
        if _take_apart(token).nonce != query.nonce:
            raise InvalidFile("its nonce is not the query's: an old time stamp was sent again")
        stamp = check(token, data, authorities)
        if authorities and not stamp.trusted:
            raise InvalidFile(f"its signer, which calls itself {stamp.authority}, is none of the pinned certificates")
    except InvalidFile as error:
        raise InvalidFile(f"the answer of {place(url)} is not accepted: {error}") from error
    return token


def embedded_certificates(token: bytes) -> bytes:
    """All certificates in a token as PEM, the signer's first; they prove nothing, but can be compared.

    Raises:
      InvalidFile: the token is malformed or was not granted.
    """
    parts = _take_apart(token)
    return b"".join(certificate.public_bytes(Encoding.PEM) for certificate in parts.certificates)


def _take_apart(token: bytes) -> _Token:
    """Parses a token; raises `InvalidFile` where it is malformed, not granted or not by SHA-2."""
    if len(token) > LARGEST:
        raise InvalidFile(f"a time stamp has no more than {LARGEST} bytes")
    with hostile("not a time stamp as of RFC 3161 in DER"):
        response = decode_timestamp_response(token)
        if response.status != PKIStatus.GRANTED:
            said = words("; ".join(response.status_string))
            raise InvalidFile(
                f"the authority did not grant the time stamp: status {response.status}{said and f' ({said})'}"
            )
        if len(response.signed_data.signer_infos) != 1:
            raise InvalidFile("a time stamp has one signer, this one has another number of them")
        info, (signer,) = response.tst_info, response.signed_data.signer_infos
        algorithm = info.message_imprint.hash_algorithm.dotted_string
        if algorithm not in _HASHES:
            raise InvalidFile("the time stamp is over a digest that is not SHA-256, SHA-384 or SHA-512")
        certificates = [x509.load_der_x509_certificate(raw) for raw in sorted(response.signed_data.certificates)]
        certificates.sort(key=lambda one: not _is_signer(signer, one))
        known = certificates and _is_signer(signer, certificates[0])
        return _Token(
            response,
            _HASHES[algorithm],
            info.message_imprint.message,
            _latest(info),
            info.nonce,
            signer,
            name_of(certificates[0]) if known else f"an authority under {words(signer.issuer.rfc4514_string())}",
            tuple(certificates),
        )


def _is_signer(signer: SignerInfo, certificate: x509.Certificate) -> bool:
    """Whether a token names the certificate as its signer."""
    return (certificate.issuer, certificate.serial_number) == (signer.issuer, signer.serial_number)


def _latest(info: TimeStampTokenInfo) -> datetime.datetime:
    """The latest moment that a token may mean."""
    time, accuracy = info.gen_time, info.accuracy
    raw: bytes = info.as_bytes()  # type: ignore[attr-defined]
    if re.search(time.strftime("%Y%m%d%H%M%S").encode() + rb"\.\d", raw):
        time += datetime.timedelta(seconds=1)  # the library drops fractions of a second
    if accuracy:
        time += datetime.timedelta(
            seconds=accuracy.seconds or 0, milliseconds=accuracy.millis or 0, microseconds=accuracy.micros or 0
        )
    return time


def _verify(parts: _Token, data: bytes, certificate: x509.Certificate, authority: Authority) -> None:
    """Raises `InvalidFile` where the certificate did not sign the token or was not valid at its time."""
    verifier = VerifierBuilder(
        tsa_certificate=certificate, intermediates=list(authority.intermediates), roots=list(authority.roots)
    ).build()
    with hostile(
        f"the time stamp names {name_of(certificate)} as its signer but does not verify under {authority.name}"
    ):
        verifier.verify_message(parts.response, data)
