"""Keys whose secret follows from a time stamp (`wmjax.keys.pledge`): making one, and checking one."""

import dataclasses
import secrets
from collections.abc import Callable, Sequence
from typing import Annotated

from cryptography import x509
from cryptography.hazmat import asn1
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature

from wmjax.data.dataset import Dataset
from wmjax.errors import InvalidFile
from wmjax.evidence.authority import Authority
from wmjax.evidence.timestamps import Stamp, check_past
from wmjax.keys.derive import SECRET_BYTES
from wmjax.keys.keyset import Key, derive_key
from wmjax.keys.material import Material
from wmjax.keys.pledge import Pledge, document, pledged_secret
from wmjax.keys.spec import Spec
from wmjax.keys.specify import default_rule
from wmjax.stats.rule import Rule

_Rest = asn1.SetOf[asn1.TLV] | None  # what is not looked into


@asn1.sequence
class _Signer:
    """SignerInfo (RFC 5652, section 5.3)."""

    version: int
    name: asn1.TLV
    digest: asn1.TLV
    signed: Annotated[_Rest, asn1.Implicit(0)]
    algorithm: asn1.TLV
    signature: bytes
    unsigned: Annotated[_Rest, asn1.Implicit(1)]


@asn1.sequence
class _SignedData:
    """SignedData (section 5.1)."""

    version: int
    digests: asn1.TLV
    content: asn1.TLV
    certificates: Annotated[_Rest, asn1.Implicit(0)]
    revoked: Annotated[_Rest, asn1.Implicit(1)]
    signers: asn1.SetOf[_Signer]


@asn1.sequence
class _Content:
    """ContentInfo (section 3)."""

    kind: x509.ObjectIdentifier
    content: Annotated[_SignedData, asn1.Explicit(0)]


@asn1.sequence
class _Response:
    """TimeStampResp (RFC 3161, section 2.4.2)."""

    status: asn1.TLV
    token: _Content


def pledged_key(
    spec: Spec,
    source: Dataset | None,
    stamp: Callable[[bytes], bytes],
    *,
    alpha: float = 1e-6,
    material: Material | None = None,
) -> Key:
    """Draws a base, has it stamped, and derives the key that follows.

    Example:

        key = pledged_key(spec, None, functools.partial(timestamps.obtain, "https://tsa.example"))

    Args:
      spec, source, alpha, material: as of `wmjax.keys.generate`.
      stamp: gives the token (DER) of a document, e.g. `timestamps.obtain`.

    Raises:
      UsageError: as of `generate`.
      InvalidFile: the token cannot be read.
    """
    base, rule = secrets.token_bytes(SECRET_BYTES), default_rule(spec, alpha)
    token = stamp(document(base, spec, rule))
    key = derive_key(pledged_secret(base, signature(token)), spec, rule, source, material=material)
    return dataclasses.replace(key, pledge=Pledge(base, token))


def check_pledge(pledge: Pledge, secret: bytes, spec: Spec, rule: Rule, authorities: Sequence[Authority]) -> Stamp:
    """The stamp that a secret follows from.

    Raises:
      InvalidFile: the stamp is of another base, spec or rule, or the secret does not follow from it.
    """
    stamp = check_past(pledge.token, document(pledge.base, spec, rule), authorities)
    if pledged_secret(pledge.base, signature(pledge.token)) != secret:
        raise InvalidFile("the secret does not follow from its pledge: it is another one's")
    return stamp


def signature(token: bytes) -> bytes:
    """What only the authority could make, in a form that nobody can change: of an ECDSA signature its r alone.

    Of (r, s) anyone makes (r, -s), which is as good; what is not signed, such as attributes and certificates, is left
    out, for each of its forms would be a try for nothing.

    Args:
      token: DER TimeStampResp (RFC 3161) with one signer (RFC 5652).

    Raises:
      InvalidFile: it is not.
    """
    try:
        (signer,) = asn1.decode_der(_Response, token).token.content.signers.as_list()
    except ValueError as error:
        raise InvalidFile("not a time stamp with one signature, in DER") from error
    try:
        return decode_dss_signature(signer.signature)[0].to_bytes(72, "big")
    except (ValueError, OverflowError):
        return signer.signature
