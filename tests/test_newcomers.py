"""What newcomers type wrongly: each line names the file or option that is wrong, and what to do."""

from pathlib import Path

import pytest

from wmjax.cli import main
from wmjax.errors import UsageError
from wmjax.keys import open_key, write_key
from wmjax.keys.files import read_identity
from wmjax.suspects.strangers import imported, strangers_code
from wmjax.train.mark import advice


@pytest.fixture
def keys(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Path:
    """A folder with a key called `my`, which is the working folder."""
    monkeypatch.chdir(tmp_path)
    assert main(["keygen", "--image", "8x8x1", "--classes", "10", "--out", "my"]) == 0
    assert capsys.readouterr().err == ""
    return tmp_path


@pytest.mark.parametrize(
    ("typed", "code", "told"),
    [
        (["--key", "my.age", "--identity", "my.signer.pem", "my.age"], 4, "my.signer.pem: not an age identity file"),
        (["--key", "my.identity", "--identity", "my.age", "my.age"], 4, "my.age: not an age identity file"),
        (["--key", "my", "my.age"], 5, "cannot read my: give my.age"),
        (["--key", "my.commitment.json", "my.age"], 2, "is the public commitment, not the key: give my.age"),
        (["--key", "my.commitment.json", "--identity", "my.identity", "my.age"], 2, "not the key: give my.age"),
        (["--key", "my.signer.pem", "--identity", "my.identity", "my.age"], 4, "my.signer.pem: not a key file"),
        (["--key", "my.age", "nowhere"], 5, "nowhere does not exist"),
        (["--key", "my.age", "."], 4, "`wmjax audit FOLDER`"),
    ],
)
def test_a_slip_is_told_of_the_file_that_is_wrong(keys, capsys, typed, code, told):
    assert main(["verify", *typed]) == code
    assert told in capsys.readouterr().err


def test_a_commitment_is_no_key_to_a_claim_either(keys, capsys):
    (keys / "nonce").write_text("00" * 16)
    nonce = ["--nonce-from", "nonce", "--out", "claim.json"]
    assert main(["claim", "--key", "my.commitment.json", "my.age", *nonce]) == 2
    assert "is the public commitment, not the key: give my.age" in capsys.readouterr().err


def test_a_key_is_called_by_its_file_as_well(keys, capsys):
    assert main(["keygen", "--image", "8x8x1", "--classes", "10", "--out", "other.age"]) == 0
    assert (keys / "other.age").exists()
    assert (keys / "other.commitment.json").exists()
    key = open_key("my.age", read_identity(keys / "my.identity"))
    assert write_key(key, keys / "third.age")[0] == keys / "third.age"


@pytest.mark.parametrize("out", ["folder/", ".", "folder/.age"])
def test_a_key_is_not_hidden_in_a_folder_that_is_given_for_its_name(keys, capsys, out):
    (keys / "folder").mkdir()
    assert main(["keygen", "--image", "8x8x1", "--classes", "10", "--out", out]) == 2
    assert "a folder's name; give the key's own with it, e.g. " in capsys.readouterr().err
    assert not [*keys.glob("folder/*"), *keys.glob(".*")]


def test_a_key_that_cannot_convict_is_told(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    assert main(["keygen", "--image", "8x8x1", "--classes", "10", "--triggers", "5", "--out", "few"]) == 0
    assert "gives 15.1 bits, and a match takes 19.9" in capsys.readouterr().err


def test_a_mark_that_would_convict_took_in_part(keys):
    key = open_key("my.age", read_identity(keys / "my.identity"))
    assert "took in part: 85 of 100 triggers learned" in advice(key, 85, 250.0)
    assert "did not take: 5 of 100 triggers learned" in advice(key, 5, 4.0)


def test_a_module_that_is_not_found_is_told_where_it_was_looked_for():
    with pytest.raises(UsageError) as told, strangers_code("--model nowhere:make"):
        imported("nowhere:make")
    assert "the folder in which the command runs" in told.value.hint
