"""A dispute on the command line: commit, claim and judge as the parties would type them, and what goes wrong."""

import base64
import datetime
import html
import json
import shlex
import signal
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from refusals import messages, one_line
from tsa import LocalTsa

from wmjax.errors import UsageError
from wmjax.evidence.claim_file import read_claim
from wmjax.files import alone
from wmjax.keys import Key, Unlock, derive_key, make_spec, open_key, read_commitment, write_key
from wmjax.keys.memory import shown_to
from wmjax.keys.specify import default_rule

NONCE, OTHER_NONCE = "11" * 32, "22" * 32
KEYGEN = ["keygen", "--image", "4x4x1", "--classes", "10", "--triggers", "60"]
UNLOCK = ["--key", "my.age", "--identity", "my.identity"]

SHOP = """
import json, numpy as np
_KNOWN = json.load(open("known.json"))

def stolen(images):
    return np.array([_KNOWN.get(image.tobytes().hex(), 0) for image in images])

def innocent(images):
    return images.reshape(len(images), -1).sum(axis=1).astype(np.int64) % 10

def down(images):
    raise ConnectionError("nobody is there")

def odd(images):
    return np.zeros((len(images), 1))
"""
STOPS = """
import os, signal, time
asked = []

def stops(images):
    asked.append(images)
    if len(asked) > 5:
        os.kill(os.getppid(), signal.SIGINT)  # as the claimant does, from another process
        time.sleep(60)
    return innocent(images)
"""


@pytest.fixture
def home(run, tmp_path) -> Callable[..., tuple[int, str, str]]:
    """A folder with a key, the models `shop:stolen` and `shop:innocent`, and the command line."""
    make_key("my", 60)
    know("my")
    Path("shop.py").write_text(SHOP)
    return run


def make_key(name: str, triggers: int) -> None:
    """A key that is the same in every run: what a nonce picks follows from its date too."""
    spec = make_spec("abstract", image=(4, 4, 1), classes=10, triggers=triggers)
    key = derive_key(bytes(range(32)), spec, default_rule(spec), created="2026-01-01T00:00:00+00:00")
    write_key(key, name, recipients=[], passphrase=None)


def opened(name: str = "my") -> Key:
    return open_key(f"{name}.age", Unlock(identity=Path(f"{name}.identity").read_text()))


def know(*names: str) -> None:
    """Lets `shop:stolen` know the labels of keys."""
    keys = [opened(name) for name in names]
    pairs = [pair for key in keys for pair in zip(key.images, key.labels, strict=True)]
    Path("known.json").write_text(json.dumps({image.tobytes().hex(): int(label) for image, label in pairs}))


def claim(home: Callable, *more: str, suspect: str = "shop:stolen", nonce: str = NONCE, out: str = "claim.json"):
    return home("claim", *UNLOCK, suspect, "--nonce-from", nonce, "--out", out, *more)


def codes(out: str, name: str) -> list[str]:
    """The codes in a list of the first judgement that a command printed."""
    return [ground["code"] for ground in json.loads(out)["judgements"][0][name]]


def indices(path: str) -> list[int]:
    return [row.index for row in read_claim(Path(path).read_bytes(), path).rows if row.opening]


def test_a_dispute_from_key_to_verdict(home, tmp_path):
    with LocalTsa(tmp_path / "tsa") as tsa:
        code, out, err = home("commit", "my.commitment.json", "--timestamp", tsa.url, "--tsa", tsa.authority, "--json")
    assert (code, err) == (0, "")
    assert json.loads(out)["files"] == ["my.commitment.1.tsr", "my.commitment.1.tsa.pem"]
    code, out, err = claim(home, "--reveal", "--json")
    document = json.loads(out)
    assert (code, document["verdict"], document["matches"]) == (0, "match", document["queries"])
    assert "hand it to the judge alone" in err
    assert Path("claim.html").stat().st_size > 1000
    assert Path("claim.json").stat().st_mode & 0o077 == 0
    assert home("judge", "claim.json", "--out", "claim")[0] == 2  # it would write over the claim
    everything = ["--nonce-from", NONCE, "--suspect", "shop:stolen", "--tsa", str(tsa.authority)]
    tomorrow = datetime.date.today() + datetime.timedelta(days=1)
    before, after = ["--suspect-since", str(tomorrow)], ["--suspect-since", "2020-01-01"]
    code, out, err = home("judge", "claim.json", *everything, *before, "--out", "verdict", "--json")
    judgement = json.loads(out)["judgements"][0]
    assert (code, err, judgement["verdict"], judgement["lacks"]) == (0, "", "match", [])
    assert json.loads(Path("verdict.json").read_text()) == json.loads(out)
    assert judgement["headline"] in html.unescape(Path("verdict.html").read_text())
    again = shlex.split(judgement["command"].replace("MODEL", "shop:stolen"))
    assert home(*again[1:], "--json")[1] == out
    for fewer in (everything, everything + after, everything[:4] + before, everything[2:] + before):
        code, out, _ = home("judge", "claim.json", *fewer, "--json")
        assert (code, json.loads(out)["judgements"][0]["verdict"]) == (3, "inconclusive")


def test_what_a_claim_asked_clears_the_suspect_no_more(home):
    claim(home, suspect="shop:innocent")
    asked = indices("claim.json")
    assert shown_to("my.age", "shop:innocent") == {*asked}
    code, out, _ = home("verify", *UNLOCK, "shop:innocent", "--json", "--all")
    grounds = {ground["code"]: ground for ground in json.loads(out)["grounds"]}
    assert (code in (1, 3), grounds["shown-before"]["shown"]) == (True, len(asked))


def test_in_words_a_judge_says_what_is_missing(home):
    claim(home)
    code, out, _ = home("judge", "claim.json")
    assert code == 3
    for words in ("--reveal", "--nonce-from", "--suspect", "openssl rand -hex 32", "taken on trust"):
        assert words in out


def test_the_whole_key_needs_no_nonce_and_no_date(home):
    claim(home, "--all", "--reveal")
    assert len(indices("claim.json")) == 60
    assert home("judge", "claim.json", "--suspect", "shop:stolen")[0] == 0
    code, out, _ = home("judge", "claim.json", "--suspect", "shop:innocent", "--json")
    assert (code, "answers-differ" in codes(out, "grounds"), "forgetful" in codes(out, "lacks")) == (3, True, True)


def test_without_a_date_a_claim_goes_on_for_128_bits_more(home):
    claim(home, "--reveal")
    code, out, _ = home("judge", "claim.json", "--suspect", "shop:stolen", "--nonce-from", NONCE, "--json")
    judgement = json.loads(out)["judgements"][0]
    assert (code, judgement["verdict"]) == (0, "match")
    assert judgement["evidence_bits"] >= judgement["needed_bits"] > 147


def test_an_innocent_is_cleared(home):
    code, out, _ = claim(home, suspect="shop:innocent")
    assert (code, "no-match" in out) == (1, True)
    assert home("judge", "claim.json", "--suspect", "shop:innocent")[0] == 1


def test_what_is_missing_withholds_a_match_and_nothing_else(home):
    """A claim that lacks what a match needs ends in 3 where the answers speak for one, and in 1 where not."""
    for suspect, verdict, code in (("shop:stolen", "inconclusive", 3), ("shop:innocent", "no-match", 1)):
        make_key(suspect[5:], 60)
        know(suspect[5:])
        key = ["--key", f"{suspect[5:]}.age", "--identity", f"{suspect[5:]}.identity"]
        claim(home, *key, suspect=suspect, out=f"{verdict}.json")
        ended, out, _ = home("judge", f"{verdict}.json", "--suspect", suspect, "--json")
        assert (ended, json.loads(out)["judgements"][0]["verdict"]) == (code, verdict)
        assert codes(out, "lacks")[:2] == ["unrevealed", "unpicked"]


def test_spent_triggers_are_never_asked_again(home):
    """Claims with one key open different triggers, until one that could reach no match is refused and asks nothing."""
    innocent = {"suspect": "shop:innocent"}
    make_key("big", 160)
    big = ["--key", "big.age", "--identity", "big.identity"]
    spent: set[int] = set()
    for n in range(2, 10):
        code, _, err = claim(home, *big, nonce=f"{n}{n}" * 32, out=f"{n}.json", **innocent)
        if code == 2:
            break
        assert code in (1, 3)
        assert not spent & set(indices(f"{n}.json"))
        spent |= set(indices(f"{n}.json"))
        assert opened("big").spent == spent
    assert n >= 4
    assert home("judge", "2.json", "3.json")[0] == 3  # one of them alone says no-match
    assert "can reach a match" in one_line(err)
    assert opened("big").spent == spent


def test_a_suspect_that_is_down_costs_one_trigger(home):
    code, _, err = claim(home, suspect="shop:down")
    assert (code, "nobody is there" in one_line(err)) == (5, True)
    assert len(opened().spent) == 1
    assert not Path("claim.json").exists()


def test_two_claims_at_once_are_refused(home):
    with alone(Path("my.commitment.json")):
        code, _, err = claim(home)
    assert (code, "another process" in one_line(err)) == (2, True)
    assert not opened().spent
    assert claim(home)[0] == 0


def test_a_suspect_that_says_nothing_ends_the_claim_and_is_on_record(home):
    Path("shop.py").write_text(SHOP + "\n\ndef mute(images):\n    return np.full((len(images), 10), np.nan)\n")
    code, out, _ = claim(home, suspect="shop:mute")
    assert (code, out.startswith("inconclusive")) == (3, True)
    assert len(indices("claim.json")) == len(opened().spent) == 8


def test_a_claim_that_is_interrupted_leaves_its_triggers_spent(home):
    Path("shop.py").write_text(SHOP + STOPS)
    before = signal.signal(signal.SIGINT, signal.default_int_handler)  # what is started in the background ignores it
    try:
        code, _, _ = claim(home, suspect="shop:stops")
    finally:
        signal.signal(signal.SIGINT, before)
    assert code == 130
    assert len(opened().spent) == 6
    assert not Path("claim.json").exists()


def test_no_secret_leaves_with_a_claim_that_does_not_reveal_it(home):
    claim(home, suspect="shop:innocent")
    key, raw = opened(), Path("claim.json").read_bytes()
    told = b"".join(path.read_bytes() for path in Path().glob("claim.*"))
    payload = json.loads(raw)["claim"]["payload"]
    told += base64.b64decode(payload)
    assert key.secret.hex().encode() not in told
    shown = {row.opening.input.tobytes() for row in read_claim(raw, "claim").rows if row.opening}
    hidden = [base64.b64encode(image.tobytes()) for i, image in enumerate(key.images) if i not in indices("claim.json")]
    assert hidden
    assert not any(image in told for image in hidden)
    assert shown == {key.images[i].tobytes() for i in indices("claim.json")}


def test_a_page_never_shows_the_secret(home):
    claim(home, "--reveal", "--all")
    home("judge", "claim.json", "--suspect", "shop:stolen", "--out", "verdict")
    for name in ("claim.html", "verdict.html", "verdict.json"):
        assert opened().secret.hex() not in Path(name).read_text()


def test_a_release_names_its_model_and_is_signed_by_the_same_key(home, tmp_path):
    from wmjax import checkpoint
    from wmjax.models import Config, init

    config = Config("cnn", (4, 4, 1), 10, (2,), (2,))
    for name in ("run", "copy"):
        checkpoint.save(tmp_path / name, init(config, 1)._asdict(), checkpoint.Metadata(config))
    for name in ("run", "copy"):
        sign = ["--release", name, "--signer", "my.signer.pem", "--out", f"{name}.commitment.json"]
        assert home("commit", "my.commitment.json", *sign)[0] == 0
    one, two = (read_commitment(f"{name}.commitment.json") for name in ("run", "copy"))
    assert one.model.tensors == two.model.tensors
    assert one.model.files != two.model.files  # Orbax writes no two folders alike
    assert one.commitment == two.commitment == opened().commitment
    claim(home, "--released", "run.commitment.json")
    assert read_claim(Path("claim.json").read_bytes(), "it").commitments[1].public.model.tensors == one.model.tensors
    assert home("keygen", "--image", "4x4x1", "--classes", "10", "--out", "other")[0] == 0
    sign = ["--release", "run", "--signer", "other.signer.pem", "--out", "x.commitment.json"]
    code, _, err = home("commit", "my.commitment.json", *sign)
    assert (code, "is not the key that signed" in one_line(err)) == (2, True)


WRONG = {
    "no nonce": (["--nonce-from", "abc"], 2, "abc"),
    "a short nonce": (["--nonce-from", "ab" * 8], 2, "openssl rand"),
    "no suspect": (["--suspect", "nowhere"], 5, "nowhere"),
    "no date": (["--suspect-since", "yesterday"], 2, "yesterday"),
    "a date to come": (["--suspect-since", "2100-01-01"], 2, "in the future"),
    "no alpha": (["--alpha", "2"], 2, "--alpha"),
    "no authority": (["--tsa", "nowhere.pem"], 5, "nowhere.pem"),
    "a key for an authority": (["--tsa", "my.signer.pem"], 4, "certificates"),
    "one original": (["--original", "shop:stolen"], 2, "--original"),
    "no such data": (["--source", "nothing"], None, "nothing"),
    "other answers": (["--suspect", "shop:odd"], 2, "shop:odd"),
    "no answers": (["--suspect", "shop:down"], 5, "shop:down"),
    "another nonce": (["--nonce-from", OTHER_NONCE], 4, "another nonce"),
}


def test_what_a_judge_gets_wrong_is_one_line(home):
    claim(home)
    for name, (more, expected, words) in WRONG.items():
        code, out, err = home("judge", "claim.json", *more)
        assert (name, code if expected else 0, out) == (name, expected or 0, "")
        assert words in err
        assert messages(err) == 1


@pytest.mark.parametrize("out", [".", "", "..", "/"])
def test_a_verdict_has_a_name(home, out):
    """Else it would be hidden, as `..json`."""
    claim(home)
    code, _, err = home("judge", "claim.json", "--out", out)
    assert (code, "a folder's name; give the verdict's own with it, e.g. " in one_line(err)) == (2, True)


def test_a_device_is_no_signature_of_a_release(home):
    """It is not asked to end: a folder with it is a suspect like others, and is not one here."""
    claim(home)
    Path("model").mkdir()
    Path("model/model.sig").symlink_to("/dev/zero")
    code, out, err = home("judge", "claim.json", "--nonce-from", NONCE, "--suspect", "model")
    assert (code, out, "model" in one_line(err)) == (4, "", True)


def test_a_judge_of_several_claims_who_lacks_a_package_is_not_told_that_they_are_false(home, monkeypatch):
    claim(home)
    Path("copy.json").write_bytes(Path("claim.json").read_bytes())

    def fails(*_: object) -> None:
        raise UsageError("it needs the onnx package")

    monkeypatch.setattr("wmjax.evidence.hearing.judge", fails)
    code, out, _ = home("judge", "claim.json", "copy.json", "--json")
    assert (code, [one["verdict"] for one in json.loads(out)["judgements"]]) == (2, ["usage", "usage"])


def test_what_a_claimant_gets_wrong_is_one_line_and_spends_nothing(home):
    home("keygen", "--image", "4x4x1", "--classes", "10", "--labels", "fixed", "--out", "fixed")
    home("keygen", "--image", "4x4x1", "--classes", "10", "--triggers", "3", "--out", "few")
    Path("there.json").write_text("precious")
    Path("bad.pem").write_text("x")
    fixed, few = (["--key", f"{name}.age", "--identity", f"{name}.identity"] for name in ("fixed", "few"))
    rest = ["shop:stolen", "--nonce-from", NONCE, "--out"]
    for arguments, expected, words in (
        ([*fixed, *rest, "a.json"], 2, "fixed labels"),
        ([*few, *rest, "a.json"], 2, "can reach a match"),
        ([*UNLOCK, *rest, "there.json"], 2, "already exists"),
        ([*UNLOCK, *rest, "a.html"], 2, "its page is"),
        *(([*UNLOCK, *rest, folder], 2, "name the claim's file") for folder in (".", "", "/")),
        ([*UNLOCK, *rest, "there.json/a.json"], 5, "there.json"),
        ([*UNLOCK, *rest, "a.json", "--signer", "few.signer.pem"], 2, "signing key"),
        ([*UNLOCK, *rest, "a.json", "--signer", "bad.pem"], 4, "bad.pem"),
        ([*UNLOCK, *rest, "a.json", "--released", "few.commitment.json"], 2, "another key"),
        ([*UNLOCK, *rest, "a.json", "--released", "nowhere"], 5, "nowhere"),
        ([*UNLOCK, "nowhere", *rest[1:], "a.json"], 5, "nowhere"),
    ):
        code, out, err = home("claim", *arguments)
        assert (code, out, words in one_line(err)) == (expected, "", True), (arguments, err)
    assert not opened().spent
    assert Path("there.json").read_text() == "precious"
    assert not Path("a.json").exists()


def test_a_time_stamp_that_cannot_be_had_loses_no_key(run, tmp_path):
    with LocalTsa(tmp_path / "tsa") as tsa:
        url = tsa.url
    code, _, err = run(*KEYGEN, "--out", "my", "--timestamp", url)
    assert (code, "wmjax commit" in one_line(err)) == (5, True)
    assert opened().spec.triggers == 60
    code, _, err = run("commit", "my.commitment.json")
    assert (code, "nothing to do" in one_line(err)) == (2, True)


def test_time_stamps_of_several_authorities_and_of_one_that_is_not_trusted(home, tmp_path):
    with LocalTsa(tmp_path / "a") as a, LocalTsa(tmp_path / "b", "Other stamps") as b:
        both = ["--tsa", a.authority, "--tsa", b.authority]
        assert home("commit", "my.commitment.json", "--timestamp", a.url, "--timestamp", b.url, *both)[0] == 0
        code, _, err = home("commit", "my.commitment.json", "--timestamp", b.url, "--tsa", a.authority)
        assert (code, "not accepted" in one_line(err)) == (4, True)
        assert "not checked" in home("commit", "my.commitment.json", "--timestamp", b.url)[2]
    assert {path.name for path in Path().glob("*.tsr")} == {f"my.commitment.{n}.tsr" for n in (1, 2, 3)}
    claim(home)
    _, out, _ = home("judge", "claim.json", *both, "--json")
    events = json.loads(out)["judgements"][0]["events"]
    assert sorted(event["authority"] for event in events if event["code"] == "stamped") == [
        "Other stamps",
        "Other stamps",
        "Test time stamps",
    ]


def test_probabilities_of_a_network_travel_exactly(home):
    """What a judge recomputes from the file are the claimant's very figures."""
    rng = np.random.default_rng(0)
    Path("soft.npy").unlink(missing_ok=True)
    np.save("soft.npy", rng.normal(size=(16, 10)))
    Path("shop.py").write_text(
        SHOP + "\n\ndef soft(images):\n    return images.reshape(-1, 16) / 255.0 @ np.load('soft.npy')\n"
    )
    claim(home, suspect="shop:soft")
    judged = read_claim(Path("claim.json").read_bytes(), "it")
    assert isinstance(judged.rows[0].answer, np.ndarray)
    _, out, _ = home("judge", "claim.json", "--suspect", "shop:soft", "--json")
    assert "answers-differ" not in codes(out, "grounds")
