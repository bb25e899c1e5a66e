"""Key files: sealed and opened, every damaged byte, what lies on the disk, and what must never leak."""

import base64
import json
import shutil
import stat
import subprocess
import types
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from samples import (
    IDENTITY,
    KEY,
    NOISE,
    PUBLIC,
    RECIPIENT,
    SEALED,
    SECRET,
    SIGNER,
    UNLOCK,
    abstract_key,
    assert_one_line,
    assert_refused,
    assert_same,
)

from wmjax.errors import AccessError, InvalidFile, UsageError
from wmjax.keys import Key, Unlock, open_key, open_signer, read_commitment, sign_commitment, spend, vault, write_key
from wmjax.keys.files import open_by, open_keys
from wmjax.keys.vault import armour, dearmour, new_identity, seal, unseal


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    return tmp_path_factory.mktemp("vault")


# Key files


@pytest.mark.parametrize("key", [KEY, NOISE], ids=["abstract", "noise"])
def test_a_key_is_opened_as_it_was_sealed(key):
    assert_same(unseal(seal(key, recipients=[RECIPIENT]), UNLOCK), key)


def test_the_armoured_form_opens_too():
    key = unseal(armour(SEALED).encode(), UNLOCK)
    assert_same(key, KEY)
    assert key.sealed == SEALED


def test_a_key_sealed_to_two_recipients_opens_with_each():
    other_identity, other = new_identity()
    sealed = seal(KEY, recipients=[RECIPIENT, other])
    assert_same(unseal(sealed, UNLOCK), KEY)
    assert_same(unseal(sealed, Unlock(identity=other_identity)), KEY)


def test_sealing_twice_gives_other_bytes():
    assert seal(KEY, recipients=[RECIPIENT]) != SEALED


def assert_refused_or_the_same(raw: bytes, path: Path) -> None:
    path.write_bytes(raw)
    try:
        key = open_key(path, UNLOCK)
    except (InvalidFile, AccessError) as error:
        assert_one_line(error)
    else:
        assert_same(key, KEY)


def test_a_flipped_bit_anywhere_in_a_key_file_is_refused(folder):
    for flip in (1, 0x20):
        for at, byte in enumerate(SEALED):
            assert_refused_or_the_same(SEALED[:at] + bytes([byte ^ flip]) + SEALED[at + 1 :], folder / "flipped.age")


def test_a_truncated_key_file_is_refused(folder):
    path = folder / "short.age"
    for end in sorted({*range(0, len(SEALED), len(SEALED) // 60), len(SEALED) - 1}):
        path.write_bytes(SEALED[:end])
        assert_refused(lambda: open_key(path, UNLOCK))


@given(st.binary(max_size=300))
def test_bytes_that_are_no_key_file_are_refused(raw):
    assert_refused(lambda: unseal(raw, UNLOCK))
    assert_refused(lambda: unseal(b"age-encryption.org/v1\n" + raw, UNLOCK))


def test_a_lengthened_key_file_is_refused():
    assert_refused(lambda: unseal(SEALED + b"\0", UNLOCK))
    assert_refused(lambda: unseal(SEALED + SEALED, UNLOCK))


def test_another_identity_is_refused():
    assert_refused(lambda: unseal(SEALED, Unlock(identity=new_identity()[0])), "identity is not its own")


@pytest.mark.parametrize(
    "text",
    [
        None,
        "",
        "\n\n",
        "# public key: age1\n",
        "AGE-SECRET-KEY-1",
        "AGE-SECRET-KEY-1QQQ",
        RECIPIENT,
        "é\0",
        IDENTITY * 2,
    ],
    ids=range(9),
)
def test_a_malformed_identity_is_refused(text):
    assert_refused(lambda: unseal(SEALED, Unlock(identity=text)), "identity file")


@pytest.mark.parametrize(
    "text", ["", "age1", "age1" + "q" * 58, RECIPIENT[:-1], RECIPIENT + "q", "a\nb", IDENTITY], ids=range(7)
)
def test_a_malformed_recipient_is_refused(text):
    assert_refused(lambda: seal(KEY, recipients=[text]), "recipient", UsageError)
    assert_refused(lambda: seal(KEY, recipients=[RECIPIENT, text]), "recipient", UsageError)


@pytest.mark.parametrize(
    "openers",
    [{}, {"recipients": []}, {"passphrase": ""}, {"recipients": [RECIPIENT], "passphrase": "p"}],
    ids=["none", "no recipients", "empty passphrase", "both"],
)
def test_a_key_is_sealed_to_recipients_or_a_passphrase_and_not_both(openers):
    assert_refused(lambda: seal(KEY, **openers), "one of them", UsageError)


def test_a_passphrase_opens_what_it_sealed():
    assert_same(unseal(seal(NOISE, passphrase="correct horse"), Unlock(passphrase="correct horse")), NOISE)


# An age file that holds "{}" under the passphrase "right", with a work factor of 2**4 in place of some 2**19.
QUICK = base64.b64decode(
    "YWdlLWVuY3J5cHRpb24ub3JnL3YxCi0+IHNjcnlwdCBFQkVTRXhRVkZoY1lHUm9iSEIwZUh3IDQKZ1VWNHR6SFFpV3U3R010NmVPclpjUDNX"
    "cW5ES1NIOVg3eTNNdmZFT1J4OAotLS0gK3pIbTNGV0pQVXBoMlJwSVU0Zzl3eW1HWCtXMFRwUkFYS1I4cFhyM1NEWQogISIjJCUmJygpKiss"
    "LS4vKf6/2+1m4LLTN2o/pVvmWYW6"
)


def test_another_passphrase_is_refused():
    assert_refused(lambda: unseal(QUICK, Unlock(passphrase="right")), "does not hold a wmjax key")
    for wrong in ("", "Right", "right ", "é", "\0"):
        assert_refused(lambda wrong=wrong: unseal(QUICK, Unlock(passphrase=wrong)), "passphrase is not its own")


def test_a_passphrase_file_that_asks_for_years_of_work_is_refused():
    forged = QUICK.replace(b" 4\n", b" 50\n", 1)
    assert forged != QUICK
    assert_refused(lambda: unseal(forged, Unlock(passphrase="right")))


def test_identity_and_passphrase_do_not_open_each_others_files():
    assert_refused(lambda: unseal(SEALED, Unlock(passphrase="right")))
    assert_refused(lambda: unseal(QUICK, UNLOCK))


# Files on disk


def write(key: Key, stem: Path, recipients: list[str] | None = None) -> list[Path]:
    return write_key(key, stem, recipients=recipients or [], passphrase=None)


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


def test_written_files_open_and_only_the_commitment_is_public(tmp_path):
    paths = write(NOISE, tmp_path / "new" / "my.key")
    sealed, public, identity = (tmp_path / "new" / f"my.key{end}" for end in (".age", ".commitment.json", ".identity"))
    signer = tmp_path / "new" / "my.key.signer.pem"
    assert set(paths) == {sealed, public, identity, signer} == set(sealed.parent.iterdir())
    assert (mode(sealed), mode(identity), mode(signer)) == (0o600, 0o600, 0o600)
    key = open_key(sealed, Unlock(identity=identity.read_text()))
    assert_same(key, NOISE)
    assert key.sealed == sealed.read_bytes()
    assert read_commitment(public).commitment == NOISE.commitment
    assert read_commitment(public).owner == open_signer(signer).owner


def test_no_identity_is_written_where_a_recipient_is_given(tmp_path):
    write(KEY, tmp_path / "k", [RECIPIENT])
    assert {path.name for path in tmp_path.iterdir()} == {"k.age", "k.commitment.json", "k.signer.pem"}
    assert_same(open_key(tmp_path / "k.age", UNLOCK), KEY)


@pytest.mark.parametrize("end", [".age", ".commitment.json", ".identity", ".signer.pem"])
def test_existing_files_are_never_overwritten(end, tmp_path):
    (tmp_path / f"k{end}").write_text("precious")
    assert_refused(lambda: write(KEY, tmp_path / "k"), "never overwritten", UsageError)
    assert [path.read_text() for path in tmp_path.iterdir()] == ["precious"]


def test_spent_triggers_are_remembered_for_everybody_who_could_open_the_key(tmp_path):
    other_identity, other = new_identity()
    write(KEY, tmp_path / "k", [RECIPIENT, other])
    path = tmp_path / "k.age"
    spend(path, UNLOCK, [2])
    spend(path, Unlock(identity=other_identity), [1])
    for unlock in (UNLOCK, Unlock(identity=other_identity)):
        key = open_key(path, unlock)
        assert_same(key, KEY)
        assert key.spent == {1, 2}
    assert mode(path) == 0o600
    assert_refused(lambda: spend(path, UNLOCK, [0, 1]), "one claim at a time", UsageError)
    for unknown in (-1, KEY.spec.triggers):  # a file that named them would open no more
        assert_refused(
            lambda i=unknown: spend(path, UNLOCK, [0, i]), f"`asked` {unknown}: its triggers are", UsageError
        )
    assert open_key(path, UNLOCK).spent == {1, 2}
    spend(path, UNLOCK, np.arange(1))  # type: ignore[arg-type]
    assert open_key(path, UNLOCK).spent == {0, 1, 2}


def test_a_key_under_a_passphrase_stays_under_it_when_triggers_are_spent(tmp_path, monkeypatch):
    def decrypt(sealed: bytes, words: str) -> bytes:
        head = begin(words)
        assert sealed.startswith(head)
        return sealed.removeprefix(head)

    def begin(words: str) -> bytes:
        return b"age-encryption.org/ " + words.encode()

    quick = types.SimpleNamespace(encrypt=lambda plain, words: begin(words) + plain, decrypt=decrypt)  # no scrypt
    monkeypatch.setattr(vault.pyrage, "passphrase", quick)
    write_key(KEY, tmp_path / "k", recipients=[], passphrase="words")
    unlock = Unlock(passphrase="words")
    spend(tmp_path / "k.age", unlock, [1])
    assert open_key(tmp_path / "k.age", unlock).spent == {1}
    assert b"ENCRYPTED" in (tmp_path / "k.signer.pem").read_bytes()
    owner = read_commitment(tmp_path / "k.commitment.json").owner
    assert open_signer(tmp_path / "k.signer.pem", "words").owner == owner
    assert_refused(lambda: open_signer(tmp_path / "k.signer.pem", "other"), "passphrase")
    assert_refused(lambda: open_signer(tmp_path / "k.signer.pem"), "encrypted", UsageError)


def test_nothing_is_written_for_a_malformed_recipient(tmp_path):
    assert_refused(lambda: write(KEY, tmp_path / "k", ["age1"]), "recipient", UsageError)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("stem", ["file/k", "file/deeper/k"])
def test_a_folder_that_cannot_be_is_an_access_error(stem, tmp_path):
    (tmp_path / "file").write_text("")
    assert_refused(lambda: write(KEY, tmp_path / stem), "cannot write", AccessError)
    assert [path.name for path in tmp_path.iterdir()] == ["file"]


def test_a_name_that_is_too_long_is_an_access_error(tmp_path):
    with pytest.raises(AccessError):
        write(KEY, tmp_path / ("k" * 300))


def test_a_missing_file_is_an_access_error(tmp_path):
    assert_refused(lambda: open_key(tmp_path / "k.age", UNLOCK), "cannot read", AccessError)
    assert_refused(lambda: read_commitment(tmp_path / "k.commitment.json"), "cannot read", AccessError)
    assert_refused(lambda: open_key(tmp_path, UNLOCK), "is a folder, not a key file", UsageError)


def test_a_key_beside_the_commitment_of_another_is_refused(tmp_path):
    write(KEY, tmp_path / "k", [RECIPIENT])
    (tmp_path / "k.commitment.json").write_bytes(sign_commitment(NOISE.commitment, SIGNER))
    assert_refused(lambda: open_key(tmp_path / "k.age", UNLOCK), "commits to")
    (tmp_path / "k.commitment.json").write_bytes(PUBLIC[:-1])
    assert_refused(lambda: open_key(tmp_path / "k.age", UNLOCK), "canonical")


def test_an_identity_that_does_not_fit_hides_no_tampering(tmp_path):
    write(KEY, tmp_path / "k", [RECIPIENT])
    other = Unlock(identity=new_identity()[0])
    assert_same(open_by(tmp_path / "k.age", [other, UNLOCK]), KEY)
    assert_refused(lambda: open_by(tmp_path / "k.age", [other, other]), "identity is not its own")
    (tmp_path / "k.commitment.json").write_bytes(sign_commitment(NOISE.commitment, SIGNER))
    for unlocks in ([UNLOCK, other], [other, UNLOCK]):
        assert_refused(lambda unlocks=unlocks: open_by(tmp_path / "k.age", unlocks), "commits to")
        assert "commits to" in open_keys(tmp_path, unlocks)[1][str(tmp_path / "k.age")]


def test_comparing_two_keys_raises_nothing():
    assert isinstance(abstract_key() == KEY, bool)


def test_the_secret_shows_nowhere(tmp_path):
    write(NOISE, tmp_path / "k", [RECIPIENT])
    unlock = Unlock(identity=IDENTITY, passphrase="correct horse")
    shown = [repr(NOISE), str(NOISE), repr(NOISE.commitment), repr(unlock), str(unlock)]
    shown += [path.read_bytes().decode("latin-1") for path in tmp_path.iterdir()]
    for text in shown:
        for hidden in (
            SECRET.hex(),
            repr(SECRET),
            SECRET.decode("latin-1"),
            IDENTITY.splitlines()[-1],
            "correct horse",
        ):
            assert hidden not in text
        assert base64.b64encode(SECRET).decode() not in text


@pytest.mark.skipif(shutil.which("age") is None, reason="the age program is not on PATH")
def test_the_age_program_opens_a_key_file(tmp_path):
    write(KEY, tmp_path / "k")
    command = ["age", "-d", "-i", tmp_path / "k.identity", tmp_path / "k.age"]
    opened = subprocess.run(command, capture_output=True, check=True, timeout=60)
    assert json.loads(opened.stdout)["secret"] == SECRET.hex()


@pytest.mark.skipif(shutil.which("age") is None, reason="the age program is not on PATH")
def test_the_age_program_opens_the_armoured_form(tmp_path):
    write(KEY, tmp_path / "k")
    sealed = (tmp_path / "k.age").read_bytes()
    command = ["age", "-d", "-i", tmp_path / "k.identity"]
    opened = subprocess.run(command, input=armour(sealed).encode(), capture_output=True, check=True, timeout=60)
    assert json.loads(opened.stdout)["secret"] == SECRET.hex()


# Armour


@given(st.binary(max_size=400))
def test_armour_is_undone(raw):
    text = armour(raw)
    assert dearmour(text) == dearmour(f"\n{text}\n") == raw
    assert max(map(len, text.splitlines())) <= 64
    assert text.isascii()


LINES = armour(SEALED).splitlines()


@pytest.mark.parametrize(
    "lines",
    [
        [],
        [""],
        LINES[1:],
        LINES[:-1],
        LINES[:1],
        LINES[:1] * 2,
        [LINES[0], "é", LINES[-1]],
        [LINES[0], "A", LINES[-1]],
        [LINES[0], "====", LINES[-1]],
        [LINES[0], *LINES],
        [*LINES, *LINES],
        [LINES[0].lower(), *LINES[1:]],
        [*LINES[:3], "", LINES[3] + " ", *LINES[4:]],
    ],
    ids=range(13),
)
def test_bad_armour_is_refused(lines):
    assert_refused(lambda: dearmour("\n".join(lines)), "armoured")


def test_armour_with_the_line_ends_of_windows_opens():
    assert dearmour("\r\n".join(LINES)) == SEALED
