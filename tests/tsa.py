"""A time-stamping authority of the tests' own: tokens of any date, built by hand, and an HTTP server that gives them.

The structures are RFC 3161 (TimeStampReq, TimeStampResp, TSTInfo), RFC 5652 (SignedData) and RFC 5816 (ESSCertIDv2).
"""

import datetime
import hashlib
import itertools
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from types import TracebackType

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

SEQUENCE, SET, OCTETS, INTEGER, NULL, UTF8, GENERALIZED = 0x30, 0x31, 0x04, 0x02, 0x05, 0x0C, 0x18
YEARS = datetime.datetime(2015, 1, 1), datetime.datetime(2045, 1, 1)

Answer = tuple[int, dict[str, str], bytes]

DATA = b"a signed commitment"
IN_2020 = datetime.datetime(2020, 1, 2, 3, 4, 5, tzinfo=datetime.UTC)


def der(tag: int, *parts: bytes) -> bytes:
    """One DER value."""
    content = b"".join(parts)
    if len(content) < 128:
        return bytes([tag, len(content)]) + content
    length = len(content).to_bytes((len(content).bit_length() + 7) // 8, "big")
    return bytes([tag, 128 | len(length)]) + length + content


def integer(value: int, tag: int = INTEGER) -> bytes:
    return der(tag, value.to_bytes(value.bit_length() // 8 + 1, "big"))


def oid(dotted: str) -> bytes:
    first, second, *rest = map(int, dotted.split("."))
    octets = []
    for number in (40 * first + second, *rest):
        groups = [number & 127]
        while number := number >> 7:
            groups.append(128 | number & 127)
        octets += reversed(groups)
    return der(0x06, bytes(octets))


def children(value: bytes) -> list[bytes]:
    """The DER values inside of one."""

    def split(raw: bytes) -> Iterator[tuple[bytes, bytes]]:
        while raw:
            size, start = raw[1], 2
            if size > 127:
                start += size & 127
                size = int.from_bytes(raw[2:start], "big")
            yield raw[: start + size], raw[start : start + size]
            raw = raw[start + size :]

    [(_, content)] = split(value)
    return [whole for whole, _ in split(content)]


SHA1, SHA256, SHA512 = oid("1.3.14.3.2.26"), oid("2.16.840.1.101.3.4.2.1"), oid("2.16.840.1.101.3.4.2.3")
_DIGESTS: dict[bytes, Callable] = {SHA1: hashlib.sha1, SHA256: hashlib.sha256, SHA512: hashlib.sha512}
_ECDSA_SHA256 = der(SEQUENCE, oid("1.2.840.10045.4.3.2"))
_TST_INFO, _SIGNED_DATA = oid("1.2.840.113549.1.9.16.1.4"), oid("1.2.840.113549.1.7.2")
_CONTENT_TYPE, _MESSAGE_DIGEST = oid("1.2.840.113549.1.9.3"), oid("1.2.840.113549.1.9.4")
_SIGNING_CERTIFICATE_V2 = oid("1.2.840.113549.1.9.16.2.47")


def imprint(data: bytes, algorithm: bytes = SHA256) -> bytes:
    """MessageImprint of some data."""
    return der(SEQUENCE, der(SEQUENCE, algorithm, der(NULL)), der(OCTETS, _DIGESTS[algorithm](data).digest()))


def accuracy(seconds: int = 0, millis: int = 0, micros: int = 0) -> bytes:
    parts = ((INTEGER, seconds), (0x80, millis), (0x81, micros))
    return der(SEQUENCE, *(integer(value, tag) for tag, value in parts if value))


class LocalTsa:
    """An authority with a root, a certificate and a key; within `with` also a server at `url`.

    Attributes:
      authority: file with the certificate and the root, PEM: what somebody who trusts it gives to the program.
      root_file: the root alone, for openssl.
      url: of the server.
      respond: what the server answers to a query; a test may exchange it.
    """

    def __init__(
        self,
        folder: Path,
        name: str = "Test time stamps",
        *,
        valid: tuple[datetime.datetime, datetime.datetime] = YEARS,
        usages: Sequence[x509.ObjectIdentifier] = (ExtendedKeyUsageOID.TIME_STAMPING,),
        critical: bool = True,
        serial: int = 0,
    ) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self.key, root_key = ec.generate_private_key(ec.SECP256R1()), ec.generate_private_key(ec.SECP256R1())
        self.root = _certificate(f"{name} root", f"{name} root", root_key, root_key, YEARS, None, critical, 0)
        self.certificate = _certificate(name, f"{name} root", self.key, root_key, valid, usages, critical, serial)
        self.root_file, self.authority = folder / "root.pem", folder / "authority.pem"
        self.root_file.write_bytes(pem(self.root))
        self.authority.write_bytes(pem(self.certificate) + pem(self.root))
        self.url = ""
        self.respond: Callable[[bytes], Answer] = self.answer
        self._serials = itertools.count(1)

    def stamp(
        self,
        data: bytes,
        at: datetime.datetime | None = None,
        *,
        algorithm: bytes = SHA256,
        nonce: bytes = b"",
        precision: bytes = b"",
        time: bytes = b"",
        status: int = 0,
        embedded: Sequence[x509.Certificate] | None = None,
        signers: int = 1,
    ) -> bytes:
        """A TimeStampResp over the data.

        Args:
          at: the time it tells, UTC; now by default.
          nonce: DER INTEGER of the query.
          precision: DER of an Accuracy.
          time: in place of `at`, the text of a GeneralizedTime.
          status: PKIStatus; 0 is granted.
          embedded: certificates in it; the authority's own by default.
          signers: how many signatures it carries.
        """
        return self.token(imprint(data, algorithm), at, nonce, precision, time, status, embedded, signers)

    def token(
        self,
        message_imprint: bytes,
        at: datetime.datetime | None = None,
        nonce: bytes = b"",
        precision: bytes = b"",
        time: bytes = b"",
        status: int = 0,
        embedded: Sequence[x509.Certificate] | None = None,
        signers: int = 1,
    ) -> bytes:
        """The same over a MessageImprint."""
        time = time or (at or datetime.datetime.now(datetime.UTC)).strftime("%Y%m%d%H%M%SZ").encode()
        serial, policy = integer(next(self._serials)), oid("1.2.3.4.1")
        info = der(SEQUENCE, integer(1), policy, message_imprint, serial, der(GENERALIZED, time), precision, nonce)
        certificates = sorted(map(_raw, [self.certificate] if embedded is None else embedded))
        signed = der(
            SEQUENCE,
            integer(3),
            der(SET, der(SEQUENCE, SHA256)),
            der(SEQUENCE, _TST_INFO, der(0xA0, der(OCTETS, info))),
            der(0xA0, *certificates) if certificates else b"",
            der(SET, *sorted(self._signer(info) for _ in range(signers))),
        )
        return der(SEQUENCE, der(SEQUENCE, integer(status)), der(SEQUENCE, _SIGNED_DATA, der(0xA0, signed)))

    def _signer(self, info: bytes) -> bytes:
        """SignerInfo over a TSTInfo."""
        named = der(OCTETS, hashlib.sha256(_raw(self.certificate)).digest())
        values = {
            _CONTENT_TYPE: _TST_INFO,
            _MESSAGE_DIGEST: der(OCTETS, hashlib.sha256(info).digest()),
            _SIGNING_CERTIFICATE_V2: der(SEQUENCE, der(SEQUENCE, der(SEQUENCE, named))),
        }
        attributes = sorted(der(SEQUENCE, kind, der(SET, value)) for kind, value in values.items())
        signature = self.key.sign(der(SET, *attributes), ec.ECDSA(hashes.SHA256()))
        issuer, number = self.certificate.issuer.public_bytes(), integer(self.certificate.serial_number)
        return der(
            SEQUENCE,
            integer(1),
            der(SEQUENCE, issuer, number),
            der(SEQUENCE, SHA256),
            der(0xA0, *attributes),
            _ECDSA_SHA256,
            der(OCTETS, signature),
        )

    def answer(self, query: bytes) -> Answer:
        """An honest answer to a TimeStampReq."""
        _, message_imprint, *rest = children(query)
        nonce = next((part for part in rest if part[0] == INTEGER), b"")
        return 200, {"Content-Type": "application/timestamp-reply"}, self.token(message_imprint, nonce=nonce)

    def __enter__(self) -> "LocalTsa":
        self._running = serve(lambda query: self.respond(query))
        self.url = self._running.__enter__()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._running.__exit__(kind, error, trace)


@contextmanager
def serve(respond: Callable[[bytes], Answer]) -> Iterator[str]:
    """Answers POST at a free port of this machine; gives the URL. A GET is answered as a POST of nothing."""

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            status, headers, body = respond(self.rfile.read(int(self.headers.get("Content-Length") or 0)))
            self.send_response(status)
            for name, value in {"Content-Length": str(len(body)), **headers}.items():
                self.send_header(name, value)
            self.end_headers()
            try:
                self.wfile.write(body)
            except OSError:
                self.close_connection = True  # who asked has heard enough

        do_GET = do_POST

        def log_message(self, format: str, *arguments: object) -> None:
            pass

    with HTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True)
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_port}/tsr"
        finally:
            server.shutdown()
            thread.join()


def pem(*certificates: x509.Certificate) -> bytes:
    return b"".join(certificate.public_bytes(serialization.Encoding.PEM) for certificate in certificates)


def _raw(certificate: x509.Certificate) -> bytes:
    return certificate.public_bytes(serialization.Encoding.DER)


def _certificate(
    subject: str,
    issuer: str,
    key: ec.EllipticCurvePrivateKey,
    issuer_key: ec.EllipticCurvePrivateKey,
    valid: tuple[datetime.datetime, datetime.datetime],
    usages: Sequence[x509.ObjectIdentifier] | None,
    critical: bool,
    serial: int,
) -> x509.Certificate:
    """A certificate authority where `usages` is None, else what may be used for them."""

    def name(text: str) -> x509.Name:
        return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, text)])

    builder = x509.CertificateBuilder(name(issuer), name(subject), key.public_key())
    builder = builder.serial_number(serial or x509.random_serial_number())
    builder = builder.not_valid_before(valid[0]).not_valid_after(valid[1])
    builder = builder.add_extension(x509.BasicConstraints(usages is None, None), critical=True)
    if usages:
        builder = builder.add_extension(x509.ExtendedKeyUsage(usages), critical)
    return builder.sign(issuer_key, hashes.SHA256())
