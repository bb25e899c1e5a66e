"""Files of the time-stamping authorities that somebody trusts."""

import contextlib
import random
from pathlib import Path

import pytest
import tsa
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID
from refusals import assert_refused, changed
from tsa import pem

from wmjax.errors import AccessError, InvalidFile, UsageError
from wmjax.evidence.authority import Authority, certificates_in, read_authority


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
    assert_refused(lambda: certificates_in(path), "authority.pem")


def test_certificates_that_cannot_be_read_are_not_said_to_be_damaged(tmp_path):
    for reader in (read_authority, certificates_in):
        assert_refused(lambda reader=reader: reader(tmp_path / "none.pem"), "cannot read .*none.pem", AccessError)


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
    assert_refused(lambda: read_authority(path), "too large", AccessError)
    assert_refused(lambda: read_authority(tmp_path / "none.pem"), "cannot read", AccessError)
    assert_refused(lambda: read_authority(tmp_path), "cannot read", AccessError)


@pytest.mark.skipif(not Path("/dev/zero").exists(), reason="no /dev/zero here")
def test_a_file_without_an_end_is_refused():
    assert_refused(lambda: read_authority(Path("/dev/zero")), "not a regular file", AccessError)
