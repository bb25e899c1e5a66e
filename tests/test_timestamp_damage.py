"""Damaged and hostile time stamps: each is refused in one line, none ends in a traceback."""

import contextlib
import hashlib
import random
import warnings

import pytest
import tsa
from cryptography import x509
from cryptography.hazmat.primitives import serialization
from refusals import assert_refused, changed
from tsa import DATA, IN_2020, accuracy, der, integer

from wmjax.errors import InvalidFile
from wmjax.evidence import timestamps
from wmjax.evidence.timestamps import check, embedded_certificates


def test_no_flipped_byte_changes_what_is_believed(local, trusted):
    token = local.stamp(DATA, IN_2020, precision=accuracy(1, 5), nonce=integer(2**60), embedded=[local.certificate])
    expected = check(token, DATA, trusted)
    outcomes = {"same": 0, "not trusted": 0, "refused": 0}
    for at in range(len(token)):
        for flip in (1 << at % 8, 0xFF):
            try:
                stamp = check(changed(token, at, flip), DATA, trusted)
            except InvalidFile:
                outcomes["refused"] += 1
                continue
            outcomes["same" if stamp.trusted else "not trusted"] += 1
            assert not stamp.trusted or stamp == expected
    assert outcomes["refused"] > 1.5 * len(token)
    assert outcomes["not trusted"] > 0  # where the name or number of its signer was hit


def test_no_signed_byte_can_be_changed(local, trusted):
    """The signed structure and the attributes: every flip there is refused, whatever the parsers make of it."""
    token = local.stamp(DATA, IN_2020, precision=accuracy(1), embedded=[])
    for signed in (b"20200102030405Z", hashlib.sha256(DATA).digest(), accuracy(1)):
        start = token.index(signed)
        for at in range(start, start + len(signed)):
            assert_refused(lambda at=at: check(changed(token, at, 1), DATA, trusted))


def test_cut_tokens_and_garbage_are_refused(local, trusted):
    token = local.stamp(DATA, IN_2020)
    rng = random.Random(1)
    pieces = [b"", b"\0", b"<html>busy</html>", b"{}", token + b"\0", token[1:], b"\x30\x84\xff\xff\xff\xff", token * 2]
    pieces += [token[:size] for size in range(0, len(token), 7)]
    pieces += [rng.randbytes(rng.randrange(400)) for _ in range(300)]
    pieces += [b"\x30\x80" * 20_000]
    for piece in pieces:
        assert_refused(lambda piece=piece: check(piece, DATA, trusted))
        assert_refused(lambda piece=piece: embedded_certificates(piece))


def test_a_giant_token_is_refused_unread(monkeypatch):
    monkeypatch.delattr(timestamps, "decode_timestamp_response")
    assert_refused(lambda: check(bytes(timestamps.LARGEST + 1), DATA, []), "no more than")


def test_random_damage_never_ends_in_a_traceback(local, trusted):
    token = local.stamp(DATA, IN_2020, precision=accuracy(1, 5), embedded=[local.certificate, local.root])
    expected, rng = check(token, DATA, trusted), random.Random(2)
    refused = 0
    for _ in range(3000):
        raw = bytearray(token)
        for _ in range(rng.randrange(1, 4)):
            at = rng.randrange(len(raw))
            raw[at : at + rng.randrange(4)] = rng.randbytes(rng.randrange(4))
        try:
            stamp = check(bytes(raw), DATA, trusted)
            embedded_certificates(bytes(raw))
        except InvalidFile:
            refused += 1
        else:
            assert not stamp.trusted or stamp == expected
    assert refused > 2000


def test_warnings_of_the_parsers_are_not_shown(local, trusted):
    """An embedded certificate with the number 0, of which `cryptography` warns."""
    body, *rest = tsa.children(local.root.public_bytes(serialization.Encoding.DER))
    version, _, *fields = tsa.children(body)
    raw = der(tsa.SEQUENCE, der(tsa.SEQUENCE, version, integer(0), *fields), *rest)
    with pytest.warns(UserWarning, match="serial number"):
        odd = x509.load_der_x509_certificate(raw)
    token = local.stamp(DATA, IN_2020, embedded=[local.certificate, odd])
    with warnings.catch_warnings(record=True) as shown:
        warnings.simplefilter("always")
        embedded_certificates(token)
        assert check(token, DATA, trusted).trusted
    assert not shown


def test_an_embedded_certificate_with_a_name_that_cannot_be_is_refused(local, trusted):
    """Names are parsed only when they are looked at."""
    token = local.stamp(DATA, IN_2020, embedded=[local.root])
    name = b"\x0c" + bytes([len("Test time stamps root")]) + b"Test time stamps root"
    start = token.index(name)
    for tag in (0x03, 0x16, 0x1E, 0x63):
        raw = token[:start] + token[start:].replace(name, bytes([tag]) + name[1:], 2)
        for use in (lambda raw=raw: check(raw, DATA, []), lambda raw=raw: embedded_certificates(raw)):
            with contextlib.suppress(InvalidFile):
                use()


def test_a_panic_in_the_parser_is_an_invalid_file(local, monkeypatch):
    class PanicException(BaseException):
        pass

    def panic(token: bytes) -> None:
        raise PanicException("called `Option::unwrap()` on a `None` value")

    monkeypatch.setattr(timestamps, "decode_timestamp_response", panic)
    assert_refused(lambda: check(b"", DATA, []), "unwrap")


def test_an_interrupt_is_not_taken_for_a_bad_file(monkeypatch):
    def interrupt(token: bytes) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(timestamps, "decode_timestamp_response", interrupt)
    with pytest.raises(KeyboardInterrupt):
        check(b"", DATA, [])
