"""Signing keys: the owner's own, OpenSSL's, and what is none."""

import shutil
import subprocess

import pytest
from samples import KEY, RECIPIENT, assert_refused

from wmjax.keys import open_signer, read_commitment, write_key


@pytest.mark.parametrize("raw", [b"", b"-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n", b"\0" * 99])
def test_what_is_no_signing_key_is_refused(raw, tmp_path):
    (tmp_path / "signer.pem").write_bytes(raw)
    assert_refused(lambda: open_signer(tmp_path / "signer.pem"), "signing key")


@pytest.mark.skipif(not shutil.which("openssl"), reason="openssl is not here")
def test_a_signing_key_of_openssl_signs_too(tmp_path):
    path = tmp_path / "lab.pem"
    subprocess.run(["openssl", "genpkey", "-algorithm", "ed25519", "-out", path], check=True)
    write_key(KEY, tmp_path / "k", recipients=[RECIPIENT], passphrase=None, signer=open_signer(path))
    assert not (tmp_path / "k.signer.pem").exists()
    assert read_commitment(tmp_path / "k.commitment.json").owner == open_signer(path).owner
    subprocess.run(["openssl", "genpkey", "-algorithm", "x25519", "-out", path], check=True)
    assert_refused(lambda: open_signer(path), "Ed25519")
