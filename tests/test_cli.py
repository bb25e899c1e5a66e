"""The command line as a user meets it: the main path, exit codes, JSON, and one line for everything that is wrong."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from refusals import one_line
from test_vault import QUICK

from wmjax.checkpoint import read_metadata
from wmjax.keys import read_commitment

KEYGEN = ["keygen", "--image", "8x8x1", "--classes", "10", "--triggers", "100"]
EMBED = ["embed", "--data", "digits", "--model", "vgg", "--epochs", "10", "--key-per-batch", "16"]
UNLOCK = ["--key", "my.age", "--identity", "my.identity"]


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a key, a marked run and a clean run, made once by the commands."""
    from wmjax.cli import main

    folder, before = tmp_path_factory.mktemp("home"), Path.cwd()
    os.chdir(folder)
    try:
        assert main([*KEYGEN, "--out", "my"]) == 0
        assert main([*KEYGEN, "--out", "other"]) == 0
        assert main([*EMBED, "--out", "marked", *UNLOCK]) == 0
        assert main([*EMBED, "--out", "clean"]) == 0
    finally:
        os.chdir(before)
    return folder


@pytest.fixture
def at_home(home, tmp_path, run):
    """`run` in a private copy of `home`."""
    shutil.copytree(home, tmp_path, dirs_exist_ok=True)
    return run


@pytest.mark.parametrize(("suspect", "code", "verdict"), [("marked", 0, "match"), ("clean", 1, "no-match")])
@pytest.mark.parametrize("more", [[], ["--all"]])
def test_verify(at_home, suspect, code, verdict, more):
    got, out, err = at_home("verify", *UNLOCK, suspect, "--json", *more)
    document = json.loads(out)
    assert (got, document["verdict"], document["version"], document["suspect"]) == (code, verdict, 1, suspect)
    assert document["key_id"] == read_commitment("my.commitment.json").commitment.id
    assert err == ""


def test_verify_in_words(at_home):
    code, out, _ = at_home("verify", *UNLOCK, "marked", "--all")
    assert code == 0
    assert out.startswith("match: marked and key ")
    assert "binomial p" in out


def test_another_key_does_not_match(at_home):
    code, _, _ = at_home("verify", "--key", "other.age", "--identity", "other.identity", "marked")
    assert code in (1, 3)


def test_nothing_secret_is_shown(at_home):
    identity = Path("my.identity").read_text().split()[-1]
    shown = "".join(
        out + err
        for _, out, err in (
            at_home("verify", *UNLOCK, "marked", "--all", "--json"),
            at_home("verify", "--key", "my.age", "--identity", "other.identity", "marked"),
            at_home("embed", "--data", "digits", "--out", "marked", *UNLOCK, "--resume"),
        )
    )
    assert identity not in shown
    assert "AGE-SECRET-KEY" not in shown
    assert "AGE-SECRET-KEY" not in Path("my.commitment.json").read_text()
    assert not any(identity.encode() in p.read_bytes() for p in Path("marked").rglob("*") if p.is_file())


def test_export_and_verify_what_was_published(at_home):
    assert at_home("export", "marked", "public")[0] == 0
    assert b"AGE ENCRYPTED" not in b"".join(p.read_bytes() for p in Path("public").rglob("*") if p.is_file())
    assert at_home("verify", *UNLOCK, "public")[0] == 0
    code, _, err = at_home("export", "marked", "public")
    assert (code, "already" in one_line(err)) == (2, True)


@pytest.mark.parametrize(("way", "epochs"), [("--from", 10), ("--teacher", 12)])
def test_ibms_other_two_ways(at_home, way, epochs):
    """Fine-tuning a trained model with the key mixed in, and distilling one while marking the student."""
    marking = ["embed", "--data", "digits", "--model", "vgg", "--epochs", epochs, "--key-per-batch", "24"]
    code, out, _ = at_home(*marking, way, "clean", "--out", "another", *UNLOCK, "--json")
    report = json.loads(out)
    assert code == 0
    assert report["marks"][0]["learned"] >= 95
    assert report["test_accuracy"] > 0.9


def test_two_keys_ride_in_one_network(at_home):
    """Each is opened by what lies beside it, sealed in the checkpoint, told in the report, and found by itself."""
    marking = ["embed", "--data", "digits", "--model", "vgg", "--epochs", "20", "--key-per-batch", "24"]
    keys = ["--out", "both", "--key", "my.age", "--key", "other.age"]
    code, out, _ = at_home(*marking, *keys, "--json")
    ids = [read_commitment(f"{name}.commitment.json").commitment.id for name in ("my", "other")]
    marks = json.loads(out)["marks"]
    assert (code, [mark["key_id"] for mark in marks]) == (0, ids)
    assert all(mark["learned"] >= 90 for mark in marks)
    (last,) = sorted(Path("both").glob("step-*"))[-1:]
    assert [key.commitment_id for key in read_metadata(last).keys] == ids
    for name in ("my", "other"):
        assert at_home("verify", "--key", f"{name}.age", "--identity", f"{name}.identity", "both")[0] == 0
    code, _, err = at_home(*marking, *keys[:4], "--resume")
    assert (code, "began with these keys" in one_line(err)) == (2, True)
    assert at_home("export", "both", "bare")[0] == 0
    assert not read_metadata(Path("bare")).keys


def test_a_weak_mark_is_a_warning_with_advice(at_home):
    code, out, err = at_home(
        "embed", "--data", "digits", "--model", "vgg", "--epochs", "1", "--key-per-batch", "1", "--out", "weak", *UNLOCK
    )
    assert code == 1
    assert "test accuracy" in out
    line = one_line(err)
    assert "did not take" in line
    for advice in ("--epochs", "--key-per-batch", "--triggers"):
        assert advice in line


def test_passphrases_come_by_file_environment_or_descriptor(run, monkeypatch):
    Path("words").write_text("correct horse\n")
    assert run(*KEYGEN, "--out", "my", "--passphrase-file", "words")[0] == 0
    assert not Path("my.identity").exists()
    reader, writer = os.pipe()
    os.write(writer, b"correct horse")
    os.close(writer)
    code, _, err = run("verify", "--key", "my.age", "--passphrase-file", f"/dev/fd/{reader}", "nowhere")
    assert (code, "nowhere does not exist" in one_line(err)) == (5, True)
    Path("quick.age").write_bytes(QUICK)
    monkeypatch.setenv("WMJAX_PASSPHRASE", "wrong")
    code, _, err = run("verify", "--key", "quick.age", "nowhere")
    assert (code, "passphrase" in one_line(err)) == (4, True)


def test_keygen_writes_what_it_says(run):
    code, out, err = run(*KEYGEN, "--out", "deep/my", "--json")
    document = json.loads(out)
    assert (code, err, document["triggers"]) == (0, "", 100)
    assert {Path(file).name for file in document["files"]} == {
        "my.age",
        "my.commitment.json",
        "my.identity",
        "my.signer.pem",
    }
    assert (os.stat("deep/my.identity").st_mode & 0o777, os.stat("deep/my.age").st_mode & 0o777) == (0o600, 0o600)


def test_keygen_for_recipients_leaves_no_identity(run):
    assert run(*KEYGEN, "--out", "first")[0] == 0
    recipient = Path("first.identity").read_text().split("public key: ")[1].split()[0]
    assert run(*KEYGEN, "--out", "my", "--recipient", recipient)[0] == 0
    assert not Path("my.identity").exists()
    code, _, err = run("verify", "--key", "my.age", "--identity", "first.identity", "nowhere")
    assert (code, "nowhere" in one_line(err)) == (5, True)


def test_papers_variants(run):
    """Algorithm 1 of Zhang et al.: a share of one class, stamped, one target label."""
    code, out, _ = run(
        "keygen", "--scheme", "noise", "--source", "digits", "--paper", "--share", "20", "--out", "ibm", "--json"
    )
    assert code == 0
    spec = read_commitment("ibm.commitment.json").commitment.spec.to_json()
    assert spec["paper"] == {"source_class": 1, "target_class": 0, "share_percent": 20}
    assert spec["labels"] == "fixed"
    assert spec["triggers"] == json.loads(out)["triggers"] > 20


BAD = [
    (["sing"], 2, "there is no verb sing"),
    (["verfy", "--key", "my.age", "marked"], 2, "there is no verb verfy: do you mean verify?"),
    (["verify", "marked"], 2, "--key"),
    ([*KEYGEN], 2, "--out"),
    (["keygen", "--out", "k"], 2, "--image"),
    (["keygen", "--image", "8x8", "--classes", "10", "--out", "k"], 2, "HEIGHTxWIDTHxCHANNELS"),
    ([*KEYGEN, "--scheme", "magic", "--out", "k"], 2, "unknown scheme 'magic'"),
    ([*KEYGEN, "--scheme", "blend", "--out", "k"], 2, "--source"),
    ([*KEYGEN, "--source", "digits", "--out", "k"], 2, "takes no --source"),
    ([*KEYGEN, "--alpha", "2", "--out", "k"], 2, "alpha"),
    ([*KEYGEN, "--share", "5", "--out", "k"], 2, "--paper"),
    ([*KEYGEN, "--recipient", "age1nonsense", "--out", "k"], 2, "recipient"),
    ([*KEYGEN, "--out", "my"], 2, "never overwritten"),
    ([*KEYGEN, "--out", "my.identity/k"], 5, "cannot write"),
    ([*KEYGEN, "--passphrase-file", "absent", "--out", "k"], 5, "absent"),
    (["embed", "--data", "nonsense", "--out", "r"], 2, "unknown data set 'nonsense'"),
    (["embed", "--data", "cifar10", "--data-dir", "empty", "--out", "r"], 5, "wmjax prepare cifar10"),
    (["embed", "--data", "digits", "--model", "gpt", "--out", "r"], 2, "unknown --model 'gpt'"),
    (["embed", "--data", "digits", "--image", "4x4x1", "--out", "r"], 2, "digits are 8x8x1 and not fitted to 4x4x1"),
    (["embed", "--data", "digits", "--epochs", "0", "--out", "r"], 2, "--epochs"),
    (["embed", "--data", "digits", "--batch", "9999", "--out", "r"], 2, "--batch"),
    (["embed", "--data", "digits", "--batch", "0", "--out", "r"], 2, "--batch 0"),
    (["embed", "--data", "digits", "--save-every", "0", "--out", "r"], 2, "--save-every 0"),
    (["embed", "--data", "digits", "--processes", "2", "--out", "r"], 2, "belong together"),
    (["embed", "--data", "./none", "--out", "r"], 5, "none is not a folder"),
    (["embed", "--data", "digits", "--out", "r", "--key", "nowhere.age"], 5, "cannot read nowhere.age"),
    (["embed", "--data", "digits", "--out", "r", *UNLOCK, "--key", "my.age"], 2, "share a secret"),
    (["embed", "--data", "digits", "--out", "r", "--identity", "my.identity"], 2, "belong to --key"),
    (["embed", "--data", "digits", "--out", "marked"], 2, "--resume"),
    ([*EMBED, "--out", "marked", *UNLOCK, "--resume", "--seed", "9"], 2, "began with seed 0, not 9"),
    ([*EMBED, "--out", "marked", "--resume"], 2, "began with these keys"),
    (["embed", "--data", "digits", "--out", "my.age"], 5, "cannot write"),
    (["embed", "--data", "digits", "--out", "my.age/run"], 5, "cannot write"),
    (["embed", "--data", "digits", "--model", "cnn", "--from", "clean", "--out", "r"], 2, "asked for: it is a vgg"),
    (["embed", "--data", "digits", "--from", "nowhere", "--out", "r"], 5, "nowhere does not exist"),
    (["embed", "--data", "digits", "--teacher", "nowhere", "--out", "r"], 5, "nowhere does not exist"),
    ([*KEYGEN, "--classes", "0", "--out", "k"], 2, "--classes 0"),
    (["verify", "--key", "nowhere.age", "--identity", "my.identity", "marked"], 5, "nowhere.age"),
    (["verify", "--key", "my.age", "--identity", "nowhere", "marked"], 5, "nowhere"),
    (["verify", "--key", "my.age", "--identity", "other.identity", "marked"], 4, "identity is not its own"),
    (["verify", "--key", "my.age", "--identity", "my.age", "marked"], 4, "not an age identity"),
    (["verify", "--key", "nowhere.age", "marked"], 5, "cannot read nowhere.age"),
    (["verify", "--key", "my.age", "--key", "my.age", "marked"], 2, "share a secret"),
    (["verify", *UNLOCK, "nowhere"], 5, "nowhere does not exist"),
    (["verify", *UNLOCK, "my.age"], 4, "holds no model"),
    (["verify", *UNLOCK, "no_module:f"], 2, "no_module"),
    (["verify", *UNLOCK, "marked", "--alpha", "0"], 2, "alpha"),
    (["export", "nowhere", "out"], 5, "nowhere does not exist"),
    (["verify", *UNLOCK, "no\x1b[31mwhere"], 5, "no?[31mwhere does not exist"),
    (["verify", *UNLOCK, "marked", "--null", "clean"], 2, "without exact evidence"),
    (["embed", "--data", "digits", "--seed", "-1", "--out", "r"], 2, "--seed"),
    (["embed", "--data", "digits", "--learning-rate", "nan", "--out", "r"], 2, "--learning-rate"),
    (["demo", "--out", "my.age/demo"], 5, "cannot write"),
    (["demo", "--out", "r", "--seed", str(2**31)], 2, "--seed"),
    (["demo", "--out", "r", "--seed", "-1"], 2, "--seed"),
    (["prepare", "imagenet"], 2, "invalid choice"),
    (["prepare", "cifar10", "--url", "http://127.0.0.1:9/x"], 2, "--sha256"),
]


@pytest.mark.parametrize(
    ("arguments", "code", "words"), BAD, ids=lambda value: " ".join(value)[:60] if isinstance(value, list) else None
)
def test_bad_input_is_one_line_and_an_exit_code(at_home, arguments, code, words):
    before = {path: path.stat().st_mtime_ns for path in Path().rglob("*")}
    got, out, err = at_home(*arguments)
    assert (got, out) == (code, "")
    assert words in one_line(err)
    assert {path: path.stat().st_mtime_ns for path in Path().rglob("*")} == before  # nothing lost, nothing left behind


@pytest.mark.parametrize("damage", ["flip", "truncate"])
@pytest.mark.parametrize("name", ["my.age", "my.commitment.json"])
def test_damaged_keys(at_home, name, damage):
    raw = bytearray(Path(name).read_bytes())
    if damage == "flip":
        raw[len(raw) // 2] ^= 4
    Path(name).write_bytes(raw if damage == "flip" else raw[: len(raw) // 2])
    code, out, err = at_home("verify", *UNLOCK, "marked")
    assert (code, out) == (4, "")
    assert name in one_line(err)


def test_a_commitment_of_another_key(at_home):
    shutil.copy("other.commitment.json", "my.commitment.json")
    code, _, err = at_home("verify", *UNLOCK, "marked")
    assert (code, "not the key that" in one_line(err)) == (4, True)


def test_a_key_for_other_images_or_classes(at_home):
    assert at_home("keygen", "--image", "8x8x3", "--classes", "10", "--out", "rgb")[0] == 0
    assert at_home("keygen", "--image", "8x8x1", "--classes", "7", "--out", "seven")[0] == 0
    for name, ground in (("rgb", "adapted"), ("seven", "more-classes")):
        unlock = ["--key", f"{name}.age", "--identity", f"{name}.identity"]
        code, out, err = at_home("verify", *unlock, "marked", "--json")
        assert (code in (1, 3), ground in {g["code"] for g in json.loads(out)["grounds"]}) == (True, True), err
        code, _, err = at_home("embed", "--data", "digits", "--out", "r", *unlock)
        assert (code, "is for" in one_line(err)) == (2, True)


def test_suspects_that_answer_badly(at_home):
    Path("theirs.py").write_text(
        "import numpy as np\n"
        "def nan(x): return np.full((len(x), 10), np.nan)\n"
        "def wide(x): return np.zeros((len(x), 1))\n"
        "def down(x): raise TimeoutError('no answer')\n"
        "def gone(x): raise OSError('no server') from ConnectionRefusedError()\n"
        "def leaves(x): import os; os._exit(0)\n"
        "def quits(x): raise SystemExit(0)\n"
    )
    for name, code, told, words in (
        ("nan", 5, "no-answer", "no usable answer"),
        ("wide", 2, "answer-form", "[1, 1]"),
        ("down", 5, "no-answer", "no answer"),
        ("quits", 5, "no-answer", "SystemExit"),
        ("gone", 5, "gone", "no server"),
        ("leaves", 5, "gone", "answers no more"),
        ("absent", 2, "usage", "AttributeError"),
    ):
        got, out, err = at_home("verify", *UNLOCK, f"theirs:{name}")
        assert (got, out, words in one_line(err)) == (code, "", True)
        got, out, err = at_home("verify", *UNLOCK, f"theirs:{name}", "--json")
        document = json.loads(out)
        assert (got, document["error"], document["exit_code"]) == (code, told, code)
        assert f"wmjax: {document['message']}\n" == err


def test_an_error_has_its_code_in_the_document(at_home):
    for arguments, code, told in (
        (["verify", *UNLOCK, "nowhere"], 5, "access"),
        (["verify", "--key", "my.age", "--identity", "other.identity", "marked"], 4, "invalid"),
        (["verify", *UNLOCK, "marked", "--alpha", "0"], 2, "usage"),
    ):
        got, out, _ = at_home(*arguments, "--json")
        assert (got, json.loads(out)["error"], json.loads(out)["version"]) == (code, told, 1)
    assert at_home("keygen", "--image", "8x8x4", "--classes", "10", "--out", "four")[0] == 0
    unlock = ["--key", "four.age", "--identity", "four.identity"]
    got, out, _ = at_home("verify", *unlock, "marked", "--json")
    assert (got, json.loads(out)["error"]) == (2, "misfit")


def test_a_suspect_that_prints_does_not_spoil_the_document(at_home):
    Path("loud.py").write_text(
        "import numpy as np\nprint('hello')\ndef f(x): print('1/1'); return np.zeros(len(x), int)\n"
    )
    _, out, err = at_home("verify", *UNLOCK, "loud:f", "--json")
    assert json.loads(out)["suspect"] == "loud:f"
    assert "hello" in err
    Path("broken.py").write_text("def f(:\n")
    code, out, err = at_home("verify", *UNLOCK, "broken:f")
    assert (code, out, "SyntaxError" in one_line(err)) == (2, "", True)


def test_defects_of_ours_are_no_verdict(at_home, monkeypatch):
    monkeypatch.setattr("wmjax.verification.verify", lambda *_, **__: 1 / 0)
    code, out, err = at_home("verify", *UNLOCK, "marked")
    assert (code, out, err.count("\n"), "internal error" in err, "hint: " in err) == (5, "", 2, True, True)


def test_regenerating_a_key_from_its_source(at_home):
    assert at_home("keygen", "--scheme", "blend", "--source", "digits", "--triggers", "20", "--out", "mix")[0] == 0
    unlock = ["--key", "mix.age", "--identity", "mix.identity"]
    _, plain, _ = at_home("verify", *unlock, "marked", "--json")
    _, again, _ = at_home("verify", *unlock, "marked", "--json", "--regenerate")
    assert "not made again" in plain
    assert "made again here" in again


def test_a_key_too_small_to_convict_says_so(at_home):
    code, _, err = at_home("keygen", "--image", "8x8x1", "--classes", "10", "--triggers", "4", "--out", "tiny")
    assert (code, "answers all 4 triggers as marked gives 11.9 bits, and a match takes 19.9" in one_line(err)) == (
        0,
        True,
    )
    small = ["embed", "--data", "digits", "--model", "vgg", "--epochs", "5", "--out", "small"]
    code, _, err = at_home(*small, "--key", "tiny.age", "--identity", "tiny.identity")
    assert (code, "larger key" in one_line(err)) == (1, True)


def test_a_truncated_checkpoint(at_home):
    for file in Path("marked").rglob("d/*"):
        os.truncate(file, file.stat().st_size // 2)
    code, out, err = at_home("verify", *UNLOCK, "marked")
    assert (code, out) == (4, "")
    assert "state cannot be read" in one_line(err)


def test_resume_of_a_finished_run_reports_again(at_home):
    code, out, _ = at_home(*EMBED, "--out", "marked", *UNLOCK, "--resume", "--json")
    assert (code, json.loads(out)["marks"][0]["learned"] >= 90) == (0, True)


def test_help_and_import_need_no_jax():
    script = "import sys, wmjax, wmjax.cli; wmjax.cli.make_parser().format_help(); "
    script += "print('jax' in sys.modules, 'numpy' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["False", "False"]


def test_interrupt_is_one_line(run, monkeypatch):
    def stop(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("wmjax.keys.generate", stop)
    code, _, err = run(*KEYGEN, "--out", "k")
    assert (code, one_line(err)) == (130, "wmjax: interrupted\n")
