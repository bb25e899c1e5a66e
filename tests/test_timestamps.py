"""Time stamps: tokens that hold, home-made and OpenSSL's, whom to believe, and tokens that do not hold."""

import dataclasses
import datetime
import os
import shutil
import subprocess
from pathlib import Path

import pytest
import tsa
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.x509.oid import ExtendedKeyUsageOID
from refusals import assert_refused
from tsa import DATA, IN_2020, LocalTsa, accuracy, der, integer, pem

from wmjax.errors import UsageError
from wmjax.evidence.authority import Authority, read_authority
from wmjax.evidence.timestamps import Stamp, check, embedded_certificates, obtain

needs_openssl = pytest.mark.skipif(shutil.which("openssl") is None, reason="the openssl program is not on PATH")


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
