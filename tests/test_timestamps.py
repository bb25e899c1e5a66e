"""Time stamps: home-made and OpenSSL's tokens, forged and damaged ones, and servers that misbehave."""

import contextlib
import dataclasses
import datetime
import hashlib
import os
import random
import shutil
import subprocess
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import tsa
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID
from tsa import LocalTsa, accuracy, der, integer, pem

from wmjax.errors import AccessError, InvalidFile, UsageError, WmjaxError
from wmjax.evidence import timestamps
from wmjax.evidence.timestamps import Authority, Stamp, check, embedded_certificates, obtain, read_authority

DATA = b"a signed commitment"
IN_2020 = datetime.datetime(2020, 1, 2, 3, 4, 5, tzinfo=datetime.UTC)
needs_openssl = pytest.mark.skipif(shutil.which("openssl") is None, reason="the openssl program is not on PATH")


@pytest.fixture(scope="module")
def local(tmp_path_factory) -> Iterator[LocalTsa]:
    with LocalTsa(tmp_path_factory.mktemp("tsa")) as authority:
        yield authority


@pytest.fixture(scope="module")
def trusted(local) -> list[Authority]:
    return [read_authority(local.authority)]


@pytest.fixture(autouse=True)
def _honest(local, monkeypatch) -> Iterator[None]:
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    yield
    local.respond = local.answer


def assert_refused(call: Callable, match: str = ".", kind: type[WmjaxError] = InvalidFile) -> None:
    with pytest.raises(kind, match=match) as caught:
        call()
    assert caught.type is kind
    assert len(str(caught.value)) < 600
    assert str(caught.value).isprintable()


def changed(raw: bytes, at: int, flip: int) -> bytes:
    return raw[:at] + bytes([raw[at] ^ flip]) + raw[at + 1 :]


# Tokens that hold


def test_a_token_tells_its_time_and_its_signer(local, trusted):
    stamp = check(local.stamp(DATA, IN_2020), DATA, trusted)
    expected = local.certificate.fingerprint(hashes.SHA256()).hex()
    assert stamp == Stamp(IN_2020, "Test time stamps", True, expected)


@pytest.mark.parametrize("algorithm", [tsa.SHA256, tsa.SHA512], ids=["SHA-256", "SHA-512"])
def test_longer_digests_serve_too(algorithm, local, trusted):
    assert check(local.stamp(DATA, IN_2020, algorithm=algorithm), DATA, trusted).trusted


@pytest.mark.parametrize(
    ("precision", "later"),
    [
        (b"", 0),
        (accuracy(1), 1),
        (accuracy(300), 300),
        (accuracy(2, 500, 250), 2.50025),
        (accuracy(0, 999), 0.999),
        (der(tsa.SEQUENCE), 0),
    ],
    ids=range(6),
)
def test_the_time_is_the_latest_that_the_accuracy_allows(precision, later, local, trusted):
    stamp = check(local.stamp(DATA, IN_2020, precision=precision), DATA, trusted)
    assert stamp.time == IN_2020 + datetime.timedelta(seconds=later)


def test_a_fraction_of_a_second_is_not_lost(local, trusted):
    stamp = check(local.stamp(DATA, time=b"20200102030405.75Z"), DATA, trusted)
    assert stamp.time == IN_2020 + datetime.timedelta(seconds=1)


def test_an_accuracy_beyond_all_time_is_refused(local, trusted):
    assert_refused(lambda: check(local.stamp(DATA, IN_2020, precision=accuracy(10**14)), DATA, trusted))


def test_any_of_several_authorities_will_do(local, trusted, tmp_path):
    other = LocalTsa(tmp_path)
    both = [read_authority(other.authority), *trusted]
    for one in (local, other):
        certificate = one.certificate.fingerprint(hashes.SHA256()).hex()
        stamp = check(one.stamp(DATA, IN_2020), DATA, both)
        assert (stamp.trusted, stamp.certificate) == (True, certificate)


def test_one_pinned_certificate_under_two_roots_needs_one_that_holds(local, trusted, tmp_path):
    other = LocalTsa(tmp_path)
    wrong = dataclasses.replace(trusted[0], roots=(other.root,))
    token = local.stamp(DATA, IN_2020)
    assert check(token, DATA, [wrong, *trusted]).trusted
    assert_refused(lambda: check(token, DATA, [wrong]), "does not verify")


def test_a_token_needs_no_certificate_inside(local, trusted):
    token = local.stamp(DATA, IN_2020, embedded=[])
    assert check(token, DATA, trusted).trusted
    assert embedded_certificates(token) == b""


def test_the_embedded_certificates_come_out_signer_first(local, tmp_path):
    other = LocalTsa(tmp_path)
    token = local.stamp(DATA, IN_2020, embedded=[other.root, local.certificate, local.root, other.certificate])
    found = x509.load_pem_x509_certificates(embedded_certificates(token))
    assert found[0] == local.certificate
    assert set(found[1:]) == {other.root, local.root, other.certificate}


# Whom to believe


def test_without_authorities_a_token_is_only_its_own_word(local):
    stamp = check(local.stamp(DATA, IN_2020), DATA, [])
    assert (stamp.trusted, stamp.time, stamp.authority, stamp.certificate) == (False, IN_2020, "Test time stamps", None)


def test_an_unknown_authority_is_not_believed(trusted, tmp_path):
    stamp = check(LocalTsa(tmp_path, "Stranger").stamp(DATA, IN_2020), DATA, trusted)
    assert (stamp.trusted, stamp.authority, stamp.certificate) == (False, "Stranger", None)


def test_an_unknown_signer_without_a_certificate_is_named_by_its_issuer(trusted, tmp_path):
    stamp = check(LocalTsa(tmp_path, "Stranger").stamp(DATA, IN_2020, embedded=[]), DATA, trusted)
    assert not stamp.trusted
    assert "CN=Stranger root" in stamp.authority


@pytest.mark.parametrize("same_serial", [False, True])
@pytest.mark.parametrize("embed", ["root", "leaf", "both", "victim"])
def test_a_forged_token_with_its_own_root_is_refused(embed, same_serial, local, trusted, tmp_path):
    """The hole of rfc3161-client 1.0.7 and 1.0.8: a home-made authority of the same names, its root in the token."""
    serial = local.certificate.serial_number if same_serial else 0
    forger = LocalTsa(tmp_path, "Test time stamps", serial=serial)
    assert forger.certificate.subject == local.certificate.subject
    embedded = {
        "root": [forger.root],
        "leaf": [forger.certificate],
        "both": [forger.certificate, forger.root],
        "victim": [forger.certificate, forger.root, local.certificate, local.root],
    }[embed]
    token = forger.stamp(DATA, IN_2020, embedded=embedded)
    if same_serial:
        assert_refused(lambda: check(token, DATA, trusted), "does not verify")
    else:
        assert not check(token, DATA, trusted).trusted


def test_an_embedded_root_is_never_a_root(local, tmp_path):
    """The same hole at its core: the signer is pinned, and leads only to the root that the token brings along."""
    elsewhere = Authority("elsewhere", (local.certificate,), (), (LocalTsa(tmp_path).root,))
    token = local.stamp(DATA, IN_2020, embedded=[local.certificate, local.root])
    assert_refused(lambda: check(token, DATA, [elsewhere]), "does not verify")


def test_a_signer_under_the_right_root_that_is_not_pinned_is_not_believed(local, tmp_path):
    other = LocalTsa(tmp_path)
    narrow = Authority("narrow", (other.certificate,), (), (other.root, local.root))
    assert not check(local.stamp(DATA, IN_2020), DATA, [narrow]).trusted


def test_names_of_strangers_are_printable(trusted, tmp_path):
    name = "Evil\x1b[2J\nTSA\u202e" + "x" * 40
    stamp = check(LocalTsa(tmp_path, name).stamp(DATA, IN_2020), DATA, trusted)
    assert stamp.authority.isprintable()
    assert "Evil" in stamp.authority


# Tokens that do not hold


def test_a_token_of_other_data_is_refused(local, trusted):
    token = local.stamp(DATA, IN_2020)
    for authorities in (trusted, []):
        assert_refused(lambda authorities=authorities: check(token, DATA + b"\n", authorities), "other data")
        assert_refused(lambda authorities=authorities: check(token, b"", authorities), "other data")


def test_sha1_is_refused(local, trusted):
    assert_refused(lambda: check(local.stamp(DATA, IN_2020, algorithm=tsa.SHA1), DATA, trusted), "SHA-256")


@pytest.mark.parametrize("status", [1, 2, 3, 4, 5, 77])
def test_a_token_that_was_not_granted_is_refused(status, local, trusted):
    assert_refused(lambda: check(local.stamp(DATA, IN_2020, status=status), DATA, trusted), f"status {status}")
    bare = der(tsa.SEQUENCE, der(tsa.SEQUENCE, integer(status)))
    assert_refused(lambda: check(bare, DATA, trusted), f"status {status}")


@pytest.mark.parametrize("signers", [0, 2])
@pytest.mark.parametrize("embed", [False, True])
def test_a_token_has_one_signer(signers, embed, local, trusted):
    token = local.stamp(DATA, IN_2020, signers=signers, embedded=None if embed else [])
    assert_refused(lambda: check(token, DATA, trusted), "one signer")


def test_certificates_count_as_of_the_time_of_the_token(tmp_path):
    expired = LocalTsa(tmp_path, valid=(datetime.datetime(2019, 1, 1), datetime.datetime(2021, 1, 1)))
    pinned = [read_authority(expired.authority)]
    assert check(expired.stamp(DATA, IN_2020), DATA, pinned).trusted
    for year in (2018, 2022, 2025):
        token = expired.stamp(DATA, IN_2020.replace(year=year))
        assert_refused(lambda token=token: check(token, DATA, pinned), "does not verify")


@pytest.mark.parametrize(
    ("usages", "critical"),
    [
        ([], True),
        ([ExtendedKeyUsageOID.TIME_STAMPING], False),
        ([ExtendedKeyUsageOID.CODE_SIGNING], True),
    ],
    ids=["none", "not critical", "another"],
)
def test_a_certificate_that_is_not_for_time_stamps_signs_none(usages, critical, tmp_path):
    wrong = LocalTsa(tmp_path, usages=usages, critical=critical)
    assert_refused(lambda: read_authority(wrong.authority), "timeStamping", UsageError)
    by_hand = Authority("by hand", (wrong.certificate,), (), (wrong.root,))
    assert_refused(lambda: check(wrong.stamp(DATA, IN_2020), DATA, [by_hand]), "does not verify")


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


# Files of authorities


def test_an_authority_is_read_in_any_order_with_comments(local, tmp_path):
    path = tmp_path / "authority.pem"
    path.write_bytes(b"# of the tests\n" + pem(local.root) + b"the one that signs:\n" + pem(local.certificate))
    authority = read_authority(path)
    assert authority == Authority(str(path), (local.certificate,), (), (local.root,))


def test_an_authority_without_its_own_certificate_or_root_is_refused(local, tmp_path):
    path = tmp_path / "authority.pem"
    path.write_bytes(pem(local.root))
    assert_refused(lambda: read_authority(path), "own certificate", UsageError)
    path.write_bytes(pem(local.certificate))
    assert_refused(lambda: read_authority(path), "root", UsageError)


def test_a_root_that_may_stamp_is_not_an_authoritys_own_certificate(tmp_path):
    key, name = ec.generate_private_key(ec.SECP256R1()), x509.Name([])
    builder = x509.CertificateBuilder(name, name, key.public_key(), 1, *tsa.YEARS)
    builder = builder.add_extension(x509.BasicConstraints(True, None), critical=True)
    builder = builder.add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.TIME_STAMPING]), critical=True)
    path = tmp_path / "authority.pem"
    path.write_bytes(pem(builder.sign(key, hashes.SHA256())))
    assert_refused(lambda: read_authority(path), "own certificate", UsageError)


@pytest.mark.parametrize("damage", ["", "garbage", "DER", "cut", "flip", "\x00" * 4000], ids=range(6))
def test_a_file_that_holds_no_certificates_is_refused(damage, local, tmp_path):
    whole = pem(local.certificate, local.root)
    raw = {
        "DER": local.root.public_bytes(serialization.Encoding.DER),
        "cut": pem(local.certificate)[:-40],
        "flip": whole.replace(b"MII", b"M!I", 1),
    }
    path = tmp_path / "authority.pem"
    path.write_bytes(raw.get(damage, damage.encode()))
    assert_refused(lambda: read_authority(path), "authority.pem")


def test_flipped_bytes_in_an_authority_never_end_in_a_traceback(local, tmp_path):
    whole = local.authority.read_bytes()
    path, rng = tmp_path / "authority.pem", random.Random(3)
    for _ in range(300):
        path.write_bytes(changed(whole, rng.randrange(len(whole)), 1 << rng.randrange(8)))
        with contextlib.suppress(InvalidFile, UsageError):  # some flips hit only comments' or names' bytes
            assert read_authority(path).pinned


def test_a_gigabyte_and_a_missing_file_are_refused(tmp_path):
    path = tmp_path / "authority.pem"
    with path.open("wb") as file:
        file.truncate(1 << 30)
    assert_refused(lambda: read_authority(path), "too large")
    assert_refused(lambda: read_authority(tmp_path / "none.pem"), "cannot read", AccessError)
    assert_refused(lambda: read_authority(tmp_path), "cannot read", AccessError)


@pytest.mark.skipif(not Path("/dev/zero").exists(), reason="no /dev/zero here")
def test_a_file_without_an_end_is_refused():
    assert_refused(lambda: read_authority(Path("/dev/zero")), "too large")


# Asking a server


def test_an_obtained_token_verifies(local, trusted):
    before = datetime.datetime.now(datetime.UTC) - datetime.timedelta(seconds=2)
    token = obtain(local.url, DATA, trusted)
    stamp = check(token, DATA, trusted)
    assert stamp.trusted
    assert before < stamp.time < before + datetime.timedelta(minutes=10)
    assert local.certificate in x509.load_pem_x509_certificates(embedded_certificates(token))


def test_the_query_is_of_sha256_with_a_nonce_and_for_certificates(local):
    seen = []
    local.respond = lambda query: (seen.append(query), local.answer(query))[1]
    token = obtain(local.url, DATA)
    obtain(local.url, DATA)
    version, message_imprint, nonce, certificates = tsa.children(seen[0])
    assert (version, message_imprint) == (integer(1), tsa.imprint(DATA))
    assert certificates == b"\x01\x01\xff"
    assert len(nonce) >= 8
    assert nonce in token
    assert nonce not in seen[1]


def test_an_obtained_token_is_what_the_server_sent(local):
    sent = []

    def respond(query: bytes) -> tsa.Answer:
        sent.append(local.answer(query))
        return sent[0]

    local.respond = respond
    assert obtain(local.url, DATA) == sent[0][2]


def test_a_server_that_is_not_pinned_is_refused_where_someone_is(local, trusted, tmp_path):
    other = LocalTsa(tmp_path)
    local.respond = other.answer
    assert_refused(lambda: obtain(local.url, DATA, trusted), "none of the pinned")
    assert obtain(local.url, DATA)


def answers(body: bytes, status: int = 200, **headers: str) -> Callable[[bytes], tsa.Answer]:
    return lambda query: (status, headers, body)


def test_a_replayed_token_is_refused(local, trusted):
    local.respond = answers(obtain(local.url, DATA))
    assert_refused(lambda: obtain(local.url, DATA, trusted), "nonce")
    local.respond = answers(local.stamp(DATA))
    assert_refused(lambda: obtain(local.url, DATA, trusted), "nonce")


def test_a_token_of_other_data_is_not_taken(local, trusted):
    def respond(query: bytes) -> tsa.Answer:
        return local.answer(query.replace(hashlib.sha256(DATA).digest(), hashlib.sha256(b"other").digest()))

    local.respond = respond
    assert_refused(lambda: obtain(local.url, DATA, trusted), "other data")


@pytest.mark.parametrize(
    "body",
    [b"", b"garbage", b"<html><body>Please log in</body></html>"],
    ids=["empty", "garbage", "HTML"],
)
def test_an_answer_that_is_no_token_is_refused(body, local, trusted):
    local.respond = answers(body)
    assert_refused(lambda: obtain(local.url, DATA, trusted), local.url)


def test_a_huge_answer_is_not_read_to_its_end(local, trusted):
    local.respond = answers(bytes(2 << 20))
    assert_refused(lambda: obtain(local.url, DATA, trusted), f"{local.url} answered with more than")


def test_a_refusal_and_a_cut_answer_are_refused(local, trusted):
    local.respond = answers(der(tsa.SEQUENCE, der(tsa.SEQUENCE, integer(2))))
    assert_refused(lambda: obtain(local.url, DATA, trusted), "did not grant")

    def cut(query: bytes) -> tsa.Answer:
        status, headers, body = local.answer(query)
        return status, {**headers, "Content-Length": str(len(body))}, body[:-10]

    local.respond = cut
    assert_refused(lambda: obtain(local.url, DATA, trusted), "not a time stamp")


@pytest.mark.parametrize("status", [400, 404, 500, 503])
def test_an_error_of_the_server_is_an_access_error(status, local):
    local.respond = answers(b"sorry", status)
    assert_refused(lambda: obtain(local.url, DATA), f"answered {status}", AccessError)


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
def test_redirects_are_not_followed(status, local, tmp_path):
    for target in (tmp_path.as_uri(), "ftp://127.0.0.1/x", f"{local.url}/elsewhere"):
        asked = []

        def respond(query: bytes, target: str = target, asked: list = asked) -> tsa.Answer:
            asked.append(query)
            return status, {"Location": target}, b""

        local.respond = respond
        assert_refused(lambda: obtain(local.url, DATA), f"answered {status}.*{target}", AccessError)
        assert len(asked) == 1


def test_a_server_that_is_down_is_an_access_error():
    with tsa.serve(answers(b"")) as url:
        pass
    assert_refused(lambda: obtain(url, DATA), "cannot reach", AccessError)


@pytest.mark.parametrize(
    "status_line", [b"", b"\0\xff garbage\r\n\r\n", b"HTTP/1.1 200 OK\r\nContent-Length: x\r\n\r\n"]
)
def test_a_server_that_does_not_speak_http_is_refused_in_one_line(status_line, local, trusted):
    import socket
    import threading

    with socket.create_server(("127.0.0.1", 0)) as server:

        def talk() -> None:
            connection, _ = server.accept()
            with connection:
                connection.recv(65536)
                connection.sendall(status_line)

        thread = threading.Thread(target=talk, daemon=True)
        thread.start()
        with pytest.raises((AccessError, InvalidFile)) as caught:
            obtain(f"http://127.0.0.1:{server.getsockname()[1]}/", DATA, trusted)
        thread.join()
    assert str(caught.value).isprintable()


@pytest.mark.parametrize(
    "url",
    [
        "",
        "tsa.example",
        "file:///etc/passwd",
        "ftp://127.0.0.1/",
        "data:,x",
        "http://",
        "http://[::1",
        "http://user:hunter2@127.0.0.1/",
    ],
)
def test_an_address_that_cannot_be_is_a_usage_error(url):
    assert_refused(lambda: obtain(url, DATA), "http", UsageError)
    with pytest.raises(UsageError) as caught:
        obtain(url, DATA)
    assert "hunter2" not in str(caught.value)


@pytest.mark.parametrize(
    "url", ["http://127.0.0.1:x/", "http://127.0.0.1:99999/", "http://127.0.0.1:1/a b", "http://é\n.invalid:1/"]
)
def test_a_strange_address_ends_in_one_line(url):
    with pytest.raises((UsageError, AccessError)) as caught:
        obtain(url, DATA)
    assert str(caught.value).isprintable()


def test_a_query_in_the_address_is_not_repeated(local):
    local.respond = answers(b"", 500)
    with pytest.raises(AccessError) as caught:
        obtain(f"{local.url}?token=hunter2", DATA)
    assert "hunter2" not in str(caught.value)


# OpenSSL


def openssl(*arguments: object, folder: Path, check: bool = True) -> subprocess.CompletedProcess:
    command = ["openssl", *map(str, arguments)]
    return subprocess.run(command, cwd=folder, capture_output=True, check=check, timeout=60)


@needs_openssl
def test_openssl_accepts_our_tokens_and_refuses_what_we_refuse(local, tmp_path):
    (tmp_path / "data").write_bytes(DATA)
    (tmp_path / "other").write_bytes(b"other")
    tokens = {"obtained": obtain(local.url, DATA), "old": local.stamp(DATA, IN_2020, precision=accuracy(1, 5, 5))}
    for name, token in tokens.items():
        (tmp_path / name).write_bytes(token)
        arguments = ("ts", "-verify", "-in", name, "-CAfile", local.root_file)
        assert b"Verification: OK" in openssl(*arguments, "-data", "data", folder=tmp_path).stdout
        assert openssl(*arguments, "-data", "other", folder=tmp_path, check=False).returncode != 0


CONFIG = """[tsa]
serial = serial
signer_digest = sha256
default_policy = 1.2.3.4.1
digests = sha256
accuracy = secs:1, millisecs:500
ess_cert_id_alg = sha256
"""


@needs_openssl
def test_a_token_of_openssl_is_accepted(local, trusted, tmp_path):
    (tmp_path / "tsa.cnf").write_text(CONFIG)
    (tmp_path / "serial").write_text("01\n")
    (tmp_path / "leaf.pem").write_bytes(pem(local.certificate))
    key = local.key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    (tmp_path / "key.pem").write_bytes(key)

    def respond(query: bytes) -> tsa.Answer:
        (tmp_path / "query").write_bytes(query)
        arguments = ("-config", "tsa.cnf", "-section", "tsa", "-signer", "leaf.pem", "-inkey", "key.pem")
        openssl("ts", "-reply", *arguments, "-queryfile", "query", "-out", "reply", folder=tmp_path)
        return 200, {}, (tmp_path / "reply").read_bytes()

    local.respond = respond
    token = obtain(local.url, DATA, trusted)
    stamp = check(token, DATA, trusted)
    assert stamp.trusted
    assert stamp.time.microsecond == 500_000
    assert_refused(lambda: check(token, b"other", trusted), "other data")


# The environment


def test_nothing_is_fetched_by_checking(local, trusted, monkeypatch):
    import socket

    token = local.stamp(DATA, IN_2020)

    def no_network(*arguments: object) -> None:
        raise AssertionError("a network was asked for")

    monkeypatch.setattr(socket.socket, "connect", no_network)
    assert check(token, DATA, trusted).trusted


def test_time_stamps_need_no_jax():
    import sys

    program = "import sys, wmjax.evidence.timestamps; print(sorted({'jax', 'jaxlib', 'flax'} & set(sys.modules)))"
    environment = dict(os.environ)
    found = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True, timeout=120, env=environment
    )
    assert found.stdout.strip() == "[]"
