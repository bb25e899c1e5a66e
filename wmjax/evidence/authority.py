"""Time-stamping authorities that somebody trusts: their certificates, from a file in PEM."""

import contextlib
import datetime
import os
import warnings
from collections.abc import Iterator
from dataclasses import dataclass

from cryptography import x509
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from wmjax import stores
from wmjax.errors import InvalidFile, UsageError
from wmjax.files import read_bytes
from wmjax.post import words

LARGEST = 1 << 20  # bytes of a token or an authority's file; real ones have less than 20,000


@dataclass(frozen=True)
class Authority:
    """A time-stamping authority that somebody trusts.

    Attributes:
      name: the file it was read from.
      pinned: its own certificates, which sign tokens.
      intermediates: certificates between those and a root; may be empty.
      roots: where trust ends.
    """

    name: str
    pinned: tuple[x509.Certificate, ...]
    intermediates: tuple[x509.Certificate, ...]
    roots: tuple[x509.Certificate, ...]


def read_authority(path: str | os.PathLike[str]) -> Authority:
    """Reads a PEM file with an authority's own certificates and their root; intermediates may be among them.

    Example:

        court = wmjax.Court(authorities=[wmjax.read_authority("tsa.pem")])

    Args:
      path: of the PEM file.

    Raises:
      AccessError: the file cannot be read.
      InvalidFile: it holds no certificates, or damaged ones.
      UsageError: the authority's own certificate or the root is missing.
    """
    raw = read_bytes(stores.place(path), LARGEST)
    with hostile(f"{path} does not hold certificates in PEM"):
        certificates = x509.load_pem_x509_certificates(raw)
        self_issued = [one.issuer == one.subject for one in certificates]  # parses the names, here and not later
        pinned = tuple(one for one in certificates if _may_stamp(one))
        roots = tuple(one for one, own in zip(certificates, self_issued, strict=True) if own and _is_ca(one))
        intermediates = tuple(one for one in certificates if _is_ca(one) and one not in roots)
    if not pinned:
        raise UsageError(f"{path} lacks the authority's own certificate (critical usage timeStamping alone): add it")
    if not roots:
        raise UsageError(f"{path} lacks the root that the authority's certificate leads to: add it")
    return Authority(os.fspath(path), pinned, intermediates, roots)


def certificates_in(path: str | os.PathLike[str]) -> list[tuple[str, datetime.datetime, str]]:
    """Names of the certificates in a PEM file, until when each is valid, and its SHA-256.

    Raises:
      AccessError: it cannot be read.
      InvalidFile: it holds none.
    """
    raw = read_bytes(stores.place(path))
    with hostile(f"{path} does not hold certificates in PEM"):
        found = x509.load_pem_x509_certificates(raw)
        return [(name_of(one), one.not_valid_after_utc, one.fingerprint(SHA256()).hex()) for one in found]


@contextlib.contextmanager
def hostile(what: str) -> Iterator[None]:
    """Whatever the parsers raise on a stranger's bytes becomes `InvalidFile`, and what they warn of is not shown."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    except (InvalidFile, MemoryError):
        raise
    except BaseException as error:
        # Seen: ValueError, KeyError, TypeError, OverflowError, x509.InvalidVersion. Rust's panics are not an Exception.
        if not isinstance(error, Exception) and type(error).__name__ != "PanicException":
            raise
        raise InvalidFile(f"{what}: {words(str(error))}") from error


def _may_stamp(certificate: x509.Certificate) -> bool:
    """Whether it is for time stamps only (RFC 3161, section 2.3) and not a CA's."""
    try:
        usage = certificate.extensions.get_extension_for_class(x509.ExtendedKeyUsage)
    except x509.ExtensionNotFound:
        return False
    return usage.critical and list(usage.value) == [ExtendedKeyUsageOID.TIME_STAMPING] and not _is_ca(certificate)


def _is_ca(certificate: x509.Certificate) -> bool:
    try:
        return certificate.extensions.get_extension_for_class(x509.BasicConstraints).value.ca
    except x509.ExtensionNotFound:
        return False


def name_of(certificate: x509.Certificate) -> str:
    """Subject's common name, else the whole subject."""
    names = certificate.subject.get_attributes_for_oid(NameOID.COMMON_NAME)
    return words(str(names[0].value) if names else certificate.subject.rfc4514_string())
