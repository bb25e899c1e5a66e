"""Keys whose secret follows from a time stamp: made, kept, claimed with, judged; no form of a token is a try more."""

import dataclasses
import shutil
import subprocess

import forger
import pytest
import tsa
from accuser import NONCE, SINCE
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature, encode_dss_signature
from forger import knowing
from refusals import messages
from tsa import LocalTsa

from wmjax.cli import main
from wmjax.errors import InvalidFile
from wmjax.evidence.authority import read_authority
from wmjax.evidence.facts import DATED_BITS, PLEDGED_BITS, Court
from wmjax.evidence.judge import judge
from wmjax.evidence.pledge import check_pledge, pledged_key, signature
from wmjax.evidence.timestamps import check
from wmjax.keys import Unlock, make_spec, open_key, write_key
from wmjax.keys.pledge import Pledge
from wmjax.keys.vault import new_identity, seal, unseal
from wmjax.stats.rule import SEARCH_BITS

SPEC = make_spec("abstract", image=(8, 8, 1), classes=10, triggers=60)
P256 = 0xFFFFFFFF00000000FFFFFFFFFFFFFFFFBCE6FAADA7179E84F3B9CAC2FC632551  # its order


@pytest.fixture(scope="module")
def local(tmp_path_factory: pytest.TempPathFactory) -> LocalTsa:
    return LocalTsa(tmp_path_factory.mktemp("tsa"))


@pytest.fixture(scope="module")
def key(local):
    return pledged_key(SPEC, None, local.stamp)


def test_a_pledged_claim_needs_fewer_bits_whenever_the_suspect_appeared(local, key):
    ask = knowing(key)
    claim = forger.honest_claim(key, ask, NONCE)
    court = Court(nonce=NONCE, suspect=forger.suspect(ask), since=SINCE)
    believing = dataclasses.replace(court, authorities=[read_authority(local.authority)])
    judged, doubted = judge(claim, believing), judge(claim, court)
    assert judged.verdict == "match"
    assert judged.needed_bits == pytest.approx(key.commitment.rule.match_bits + PLEDGED_BITS, abs=1e-3)
    assert doubted.needed_bits == pytest.approx(key.commitment.rule.match_bits + SEARCH_BITS, abs=1e-3)
    assert PLEDGED_BITS < DATED_BITS < SEARCH_BITS
    assert {"pledged", "no-search-by-stamps"} <= {ground.code for ground in (*judged.proven, *judged.assumed)}
    assert not {"pledged", "no-search-by-stamps"} & {ground.code for ground in (*doubted.proven, *doubted.assumed)}


def test_a_notice_shows_no_pledge(key):
    rows = forger.transcript(key, forger.order(key, NONCE), forger.answers_of(key, knowing(key)))
    assert b"token" not in forger.write(key, rows, NONCE, secret=None)


def test_a_key_file_keeps_it(key, tmp_path):
    text, recipient = new_identity()  # a passphrase takes seconds
    assert unseal(seal(key, recipients=[recipient]), Unlock(identity=text)).pledge == key.pledge
    write_key(key, tmp_path / "my")
    opened = open_key(tmp_path / "my.age", Unlock(identity=(tmp_path / "my.identity").read_text()))
    assert opened.pledge == key.pledge
    assert key.pledge.base.hex() not in repr(opened)


@pytest.mark.parametrize(
    "values",
    [{}, {"base": "00", "token": ""}, {"base": "0" * 64, "token": "?"}, {"base": "A" * 64, "token": ""}, {"base": 1}],
)
def test_what_is_no_pledge_is_refused(values):
    with pytest.raises((ValueError, KeyError, TypeError)):
        Pledge.from_json(values)


def test_each_stamp_gives_another_key_and_nothing_else_does(local):
    tokens = [local.stamp(b"one pledge", tsa.IN_2020) for _ in range(2)]
    assert signature(tokens[0]) != signature(tokens[1])
    bare = local.token(tsa.imprint(b"x"), tsa.IN_2020, embedded=[])
    assert signature(bare) != signature(tokens[0])


def test_the_twin_of_a_signature_is_no_other_try(local):
    """(r, n - s) verifies as well as (r, s): whoever derived from all of it would have two tries a stamp."""
    authority = read_authority(local.authority)
    token = local.stamp(b"pledge", tsa.IN_2020)
    raw = _signature_of(token)
    r, s = decode_dss_signature(raw)
    twin = _rebuilt(token, raw, encode_dss_signature(r, P256 - s))
    assert twin != token
    assert check(twin, b"pledge", [authority]).trusted
    assert signature(twin) == signature(token)


def _signature_of(token: bytes) -> bytes:
    """The last OCTET STRING of the SignerInfo."""
    info = tsa.children(tsa.children(tsa.children(tsa.children(tsa.children(token)[1])[1])[0])[-1])[0]
    value = tsa.children(info)[-1]
    return value[2:] if value[1] < 128 else value[2 + (value[1] & 127) :]


def _rebuilt(token: bytes, old: bytes, new: bytes) -> bytes:
    """A token with another signature; all lengths around it follow."""

    def within(value: bytes) -> bytes:
        if old not in value:
            return value
        if value[0] == 0x04:
            return tsa.der(0x04, new)
        return tsa.der(value[0], *map(within, tsa.children(value)))

    return within(token)


@pytest.mark.skipif(shutil.which("openssl") is None, reason="the openssl program is not on PATH")
def test_an_rsa_authority_of_openssl(tmp_path):
    def run(*arguments: str) -> None:
        subprocess.run(["openssl", *arguments], cwd=tmp_path, check=True, capture_output=True)

    private = rsa.generate_private_key(65537, 2048)
    pem = serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    (tmp_path / "key.pem").write_bytes(private.private_bytes(*pem))
    extensions = "extendedKeyUsage=critical,timeStamping"
    run("req", "-x509", "-key", "key.pem", "-subj", "/CN=T", "-addext", extensions, "-out", "leaf.pem")
    (tmp_path / "tsa.cnf").write_text(
        "[tsa]\nserial=serial\ndefault_policy=1.2.3.4\ndigests=sha256\nsigner_digest=sha256\n"
    )
    (tmp_path / "serial").write_text("01\n")
    (tmp_path / "data").write_bytes(b"pledge")
    run("ts", "-query", "-data", "data", "-sha256", "-cert", "-out", "query")
    reply = ("-config", "tsa.cnf", "-section", "tsa", "-signer", "leaf.pem", "-inkey", "key.pem")
    run("ts", "-reply", *reply, "-queryfile", "query", "-out", "token")
    raw = signature((tmp_path / "token").read_bytes())
    assert len(raw) == 256
    assert hashes.SHA256().name.encode() not in raw


@pytest.mark.parametrize(
    "damage", [lambda t: t[:-1], lambda t: t + b"\0", lambda t: b"", lambda t: b"\x30\x80" + t[2:]]
)
def test_a_damaged_token_has_no_signature(local, damage):
    with pytest.raises(InvalidFile):
        signature(damage(local.stamp(b"pledge")))


def test_two_signatures_are_refused(local):
    with pytest.raises(InvalidFile, match="one signature"):
        signature(local.stamp(b"pledge", signers=2))


def test_the_judge_alone_decides_whom_to_believe(local, key):
    assert not check_pledge(key.pledge, key.secret, SPEC, key.commitment.rule, ()).trusted


def test_the_command_line_from_pledge_to_claim(local, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("WMJAX_PASSPHRASE", "")
    with local:
        made = ["keygen", "--out", "my", "--image", "8x8x1", "--classes", "10", "--triggers", "30"]
        assert main([*made, "--pledge", local.url, "--tsa", str(local.authority)]) == 0
    key = open_key(tmp_path / "my.age", Unlock(identity=(tmp_path / "my.identity").read_text()))
    trusted = [read_authority(local.authority)]
    assert check_pledge(key.pledge, key.secret, key.spec, key.commitment.rule, trusted).trusted
    capsys.readouterr()
    assert main([*made[:2], "other", *made[3:], "--scheme", "spread", "--pledge", local.url]) == 2
    assert "spread" in capsys.readouterr().err
    assert not (tmp_path / "other.age").exists()


def test_no_key_is_left_where_the_authority_fails(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    made = ["keygen", "--out", "my", "--image", "8x8x1", "--classes", "10", "--pledge", "http://127.0.0.1:9/"]
    assert main(made) == 5
    assert messages(capsys.readouterr().err) == 1
    assert not list(tmp_path.iterdir())
