"""Signing keys: the owner's own, OpenSSL's, and what is none."""

import hashlib
import shutil
import subprocess

import pytest
from samples import KEY, RECIPIENT, assert_refused

from wmjax.errors import InvalidFile
from wmjax.keys import open_signer, read_commitment, write_key
from wmjax.keys.owners import check_owner

P = 2**255 - 19
D = -121665 * pow(121666, -1, P) % P


def add(one: tuple[int, int], other: tuple[int, int]) -> tuple[int, int]:
    """The sum of two points of edwards25519, by RFC 8032's formula."""
    (x1, y1), (x2, y2) = one, other
    product = D * x1 * x2 * y1 * y2 % P
    x = (x1 * y2 + x2 * y1) * pow(1 + product, -1, P) % P
    return x, (y1 * y2 + x1 * x2) * pow(1 - product, -1, P) % P


def point(y: int, sign: int) -> tuple[int, int] | None:
    """The point of an encoding; None where the curve has none."""
    square = (y * y - 1) * pow(D * y * y + 1, -1, P) % P
    x = pow(square, (P + 3) // 8, P)
    if (x * x - square) % P:
        x = x * pow(2, (P - 1) // 4, P) % P
    if (x * x - square) % P:
        return None
    return (P - x if x % 2 != sign else x), y % P


def small_encodings() -> list[str]:
    """All encodings, canonical or not, of the eight points of small order: multiples of one of order eight."""
    start = next(p for n in range(2, 99) if (p := point(n, 0)))
    order = 2**252 + 27742317777372353535851937790883648493
    torsion, double = (0, 1), start
    for bit in range(order.bit_length()):  # order times a point leaves what is of small order in it
        torsion = add(torsion, double) if order >> bit & 1 else torsion
        double = add(double, double)
    points, multiple = set(), (0, 1)
    for _ in range(8):
        multiple = add(multiple, torsion)
        points.add(multiple)
    assert len(points) == 8
    ys = {y + more for _, y in points for more in (0, P) if y + more < 2**255}
    return [(y | sign << 255).to_bytes(32, "little").hex() for y in sorted(ys) for sign in (0, 1)]


@pytest.mark.parametrize("owner", small_encodings())
def test_a_public_key_of_small_order_is_nobodys(owner):
    with pytest.raises(InvalidFile, match=r"small order|one form"):
        check_owner(owner, "it")


def test_a_public_key_has_one_form():
    for y in range(P, 2**255):
        with pytest.raises(InvalidFile, match="one form"):
            check_owner(y.to_bytes(32, "little").hex(), "it")


def test_any_other_public_key_may_be_an_owner():
    for number in range(200):
        check_owner(hashlib.sha256(bytes([number])).hexdigest()[:-2] + "70", "it")


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
