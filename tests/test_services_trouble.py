"""Services that are not there, or go wrong half-way: one line, the right exit code, nothing burnt, and it goes on."""

import base64
import datetime
import json
import re
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import trustme_here
from marked import make_key
from recorder import WORDS, Recorder, files_with, knows, serving
from refusals import messages

from wmjax.keys import Key, open_key, write_key
from wmjax.keys.files import read_identity
from wmjax.suspects.services import wire

pytest.importorskip("stamina", reason="the packages of the extra `remote` are not installed")

UNLOCK = ["--key", "my.age", "--identity", "my.identity"]
CLAIM = ["--nonce-from", "ab" * 16, "--out", "c.json"]
TOKEN = "hidden-token-0123456789"
OK = (200, {"Content-Type": "application/json"})
HALF = 12  # questions, the plain one among them, after which a service goes wrong


@pytest.fixture(scope="module")
def key() -> Key:
    return make_key(triggers=100)


@pytest.fixture
def service(key: Key) -> Iterator[Recorder]:
    """A copy's."""
    with serving(Recorder(knows(key))) as server:
        yield server


@pytest.fixture
def work(key: Key, run: Callable[..., Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Any]:
    """The command line in a folder with the key; retries come at once."""
    monkeypatch.setattr(wire, "_FIRST_WAIT", 0.001)
    monkeypatch.setattr(wire, "_LEAST_WAIT", 0.001)
    monkeypatch.delenv("SUSPECT_TOKEN", raising=False)
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    write_key(key, tmp_path / "my", recipients=[], passphrase=None)
    (tmp_path / "words.txt").write_text("\n".join(WORDS))
    return run


def spent() -> int:
    return len(open_key(Path("my.age"), read_identity(Path("my.identity"))).spent)


def rows() -> Any:
    statement = json.loads(base64.b64decode(json.loads(Path("c.json").read_bytes())["claim"]["payload"]))
    return statement["predicate"]["transcript"]


# From the beginning ---------------------------------------------------------------------------------------------------


def elsewhere(service: Recorder, folder: Path) -> str:
    return "v1+https://nowhere.invalid/v1/models/m"


def another_name(service: Recorder, folder: Path) -> str:
    return service.address("oip") + "x"


def a_function_that_is_not_there(service: Recorder, folder: Path) -> str:
    return service.address("gradio") + "/other"


def not_encrypted(service: Recorder, folder: Path) -> str:
    return service.address("v1").replace("http:", "https:")


def unknown_authority(service: Recorder, folder: Path) -> str:
    service.encrypt(trustme_here.certificate(folder))
    return service.address("v1")


def another_host(service: Recorder, folder: Path) -> str:
    service.encrypt(trustme_here.certificate(folder, address="192.0.2.1"))
    return service.address("v1")


def expired(service: Recorder, folder: Path) -> str:
    service.encrypt(trustme_here.certificate(folder, days=-1))
    return service.address("v1")


def answering(*reply: Any) -> Callable[[Recorder, Path], str]:
    def begin(service: Recorder, folder: Path) -> str:
        service.broken = reply
        return service.address("v1")

    return begin


def unlabelled(service: Recorder, folder: Path) -> str:
    service.words = ["ostrich"] * 10
    return service.address("hf")


@pytest.mark.parametrize(
    ("begin", "code", "words"),
    [
        (elsewhere, 5, "cannot be reached"),
        (another_name, 5, "no such model"),
        (a_function_that_is_not_there, 2, "no function /other, only /predict"),
        (not_encrypted, 5, "cannot be reached"),
        (unknown_authority, 5, "self-signed certificate"),
        (another_host, 5, "certificate is not valid for '127.0.0.1'"),
        (expired, 5, "certificate has expired"),
        (answering(307, {"Location": "https://evil.example/"}, b""), 5, "leads elsewhere .HTTP 307., .* https://evil"),
        (answering(200, {"Content-Type": "text/html"}, b"<html>Log in</html>"), 2, "no JSON"),
        (answering(*OK, 1 << 30), 2, "more than 16777216 bytes"),
        (answering(*OK, b'{"predictions": [["NaN", 1]]}'), 2, "neither scores nor names"),
        (unlabelled, 2, "'ostrich', which --labels does not hold"),
        (answering(401, {}, b"{}"), 5, "wants a token"),
        (answering(500, {}, b'{"error": "out of order"}'), 5, "HTTP 500: out of order"),
    ],
)
def test_what_is_wrong_is_one_line_and_costs_nothing(begin, code, words, service, work, tmp_path, monkeypatch):
    if begin in (another_host, expired):
        monkeypatch.setenv("SSL_CERT_FILE", str(tmp_path / "here.pem"))  # its authority is trusted
    address = begin(service, tmp_path)
    for verb in (["verify", address], ["claim", address, *CLAIM, "--reveal"]):
        got, out, err = work(verb[0], *UNLOCK, *verb[1:], "--labels", "words.txt")
        assert (got, out, messages(err)) == (code, "", 1), err
        assert re.search(words, err), err
    left = {path.name for path in tmp_path.iterdir()} - {"here.pem"}
    assert left == {"my.age", "my.commitment.json", "my.identity", "my.signer.pem", "words.txt"} - (
        {"my.commitment.json", "my.signer.pem"} - left
    )
    assert spent() == 0


OTHERWISE = "even about a plain picture"
DENIED = b'<?xml version="1.0"?><Error><Code>AccessDenied</Code><Message>Request has expired</Message></Error>'


# Half-way -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("late", "words"),
    [
        ((307, {"Location": "https://evil.example/"}, b""), "leads elsewhere"),
        ((302, {"Location": "https://evil.example/login"}, b"<html>Moved</html>"), "leads elsewhere"),
        ((401, {}, b'{"error": "expired"}'), "HTTP 401: the token was refused, .* SUSPECT_TOKEN or --token"),
        ((403, {"Content-Type": "application/xml"}, DENIED), "HTTP 403: the token was refused, .* SUSPECT_TOKEN"),
        ((404, {}, b"{}"), "no such model"),
        ((503, {"Retry-After": "9999"}, b""), "HTTP 503 and wants 9999 seconds more"),
        ((200, {"Content-Type": "text/html"}, b"<html>Back soon</html>"), f"no JSON.*, {OTHERWISE}"),
        ((*OK, 1 << 30), f"more than 16777216 bytes, {OTHERWISE}"),
        (
            (*OK, b'{"predictions": [[NaN, NaN, NaN, NaN, NaN, NaN, NaN, NaN, NaN, NaN]]}'),
            "a plain picture with nothing usable, where it was 10 scores before",
        ),
        ((*OK, b'{"predictions": [[0.5, 0.25, 0.25]]}'), "with 3 scores, where it was 10 scores before"),
        ((500, {}, b"{}"), f"HTTP 500, {OTHERWISE}"),
    ],
)
def test_who_goes_wrong_half_way_costs_a_trigger_and_the_claim_goes_on(late, words, service, work, monkeypatch):
    monkeypatch.setenv("SUSPECT_TOKEN", "old")
    service.until, service.late = HALF, late
    claim = ["claim", *UNLOCK, service.address("v1"), *CLAIM, "--reveal"]
    got, _, err = work(*claim)
    assert (got, err.splitlines()[-1].count("<")) == (5, 0), err
    assert re.search(words, err), err
    assert "--resume" in err
    assert spent() == HALF
    service.late, service.token = None, "fresh"
    assert (work(*claim, "--resume")[0], spent()) == (5, HALF)  # nothing is asked with the old one
    monkeypatch.setenv("SUSPECT_TOKEN", "fresh")
    got, _, err = work(*claim, "--resume")
    assert got == 0, err
    (refused,) = (row for row in rows() if row["answer"] is None)
    assert refused["attempts"][-1]["outcome"] == ("failed" if late[0] != 200 else "answered")


def test_who_is_silent_about_triggers_alone_is_asked_on(service, work):
    """The plain picture tells it from one that is out of order; eight refusals end the claim, which is no match."""
    scores, seen = service.scores, []

    def silent(image: Any) -> Any:
        seen.append(image)
        return scores(image) * (float("nan") if len(seen) > HALF and (image != seen[0]).any() else 1.0)

    service.scores = silent
    got, _, err = work("claim", *UNLOCK, service.address("v1"), *CLAIM, "--reveal")
    assert (got, "the secret is not in the claim" in err, spent()) == (0, True, HALF - 1 + 8), err


def test_a_verification_and_an_audit_end_where_a_service_goes_wrong(service, work, tmp_path, monkeypatch):
    """What is asked on is new to it; without the plain picture all would be shown to a page that says: back soon."""
    monkeypatch.setenv("JAX_NUM_CPU_DEVICES", "1")  # JAX may have begun already
    service.until, service.late = 4, (200, {"Content-Type": "text/html"}, b"<html>Back soon</html>")
    verify = ["verify", *UNLOCK, service.address("v1")]
    code, _, err = work(*verify)
    assert (code, len(service.asked), OTHERWISE in err) == (5, 6, True), err  # a plain one, four triggers, a plain one
    service.asked.clear()
    (tmp_path / "zoo").mkdir()
    listed = f'[[suspect]]\nname = "it"\nservice = "{service.address("oip")}"\nconcurrency = 2\n'
    (tmp_path / "list.toml").write_text(listed)
    audit = ["audit", "zoo", "--keys", ".", "--suspects", "list.toml", "--out", "out", "--json"]
    code, out, err = work(*audit)
    (why,) = json.loads(out)["unreadable"]
    assert (code, OTHERWISE in why["why"], len(service.asked) <= 8) == (3, True, True), (err, why)
    service.late, before = None, len(service.asked)
    code, out, err = work(*audit, "--resume")
    assert (code, len(json.loads(out)["matches"]), len(service.asked) > before) == (0, 1, True), err
    service.asked.clear()
    service.until, service.late = 4, (500, {}, b"{}")
    whole = ["verify", *UNLOCK, service.address("hf"), "--all"]  # four at once, and a plain one for each
    code, _, err = work(*whole)
    assert (code, len(service.asked) <= 13, OTHERWISE in err) == (5, True, True), err
    for room in ("verification.asking.check_there", "suspects.services.service.Service.check"):
        service.asked.clear()
        monkeypatch.setattr(f"wmjax.{room}", lambda *_: None)
        code, _, err = work(*(verify if "asking" in room else whole))
        assert (code, len(service.asked) > 50) == (3, True), err


def test_clocks_that_jump_change_nothing(service, work, monkeypatch):
    """The service's is years ahead and names dates; our own goes back a day at each look."""
    day = datetime.timedelta(days=1)
    now = datetime.datetime(2026, 6, 1, tzinfo=datetime.UTC)

    class Jumping(datetime.datetime):
        @classmethod
        def now(cls, zone: Any = None) -> datetime.datetime:
            nonlocal now
            now -= day
            return now

    monkeypatch.setattr(wire, "datetime", SimpleNamespace(datetime=Jumping, UTC=datetime.UTC))
    later, back = "Tue, 01 Jan 2036 00:00:00 GMT", "Mon, 01 Jan 2035 00:00:00 GMT"
    dated = [
        {"Date": later, "Retry-After": later},
        {"Date": back, "Retry-After": "0"},
        {"Date": "", "Retry-After": later},
    ]
    service.script = [each for told in dated * 7 for each in ((503, told, b""), None)]
    code, _, err = work("claim", *UNLOCK, service.address("v1"), *CLAIM, "--reveal")
    assert code == 0, err
    times = [attempt["at"] for row in rows() for attempt in row["attempts"]]
    assert times == sorted(times, reverse=True)
    judge = ["judge", "c.json", "--nonce-from", "ab" * 16, "--suspect", service.address("v1")]
    assert work(*judge)[0] == 0


# Secrets --------------------------------------------------------------------------------------------------------------


def said_by(service: Recorder, work: Callable[..., Any]) -> str:
    """What is said where things go well, where they go wrong, and by the judge and an audit; files are left too."""
    service.token, service.headers = TOKEN, {"X-Request-Id": f"Bearer {TOKEN}", "Server": TOKEN}
    address, labels = service.address("v1"), ["--labels", "words.txt"]
    Path("zoo").mkdir()
    Path("list.toml").write_text(f'[[suspect]]\nname = "it"\nservice = "{address}"\ntoken = "SUSPECT_TOKEN"\n')
    verbs = [
        ["claim", *UNLOCK, address, *CLAIM],
        ["judge", "c.json", "--nonce-from", "ab" * 16, "--suspect", address, "--out", "verdict"],
        ["verify", *UNLOCK, address, "--json"],
        ["audit", "zoo", "--keys", ".", "--suspects", "list.toml", "--keep-answers", "--out", "out", "--json"],
    ]
    said = "".join("".join(map(str, work(*verb))) for verb in verbs)
    echo = f"no {TOKEN}"
    for reply in (
        (500, {}, json.dumps({"error": echo}).encode()),
        (307, {"Location": f"https://evil.example/{TOKEN}"}, b""),
        (*OK, json.dumps({"predictions": [{"label": "x" * 60 + TOKEN}]}).encode()),
        (*OK, f"<html>{'x' * 180}{TOKEN}</html>".encode()),
    ):
        service.broken = reply
        said += "".join(map(str, work("verify", *UNLOCK, address, *labels)))
    return said


def traces(folder: Path, said: str, secret: str) -> list[str]:
    return ["said"] * (secret in said) + files_with(folder, secret)


def test_neither_token_nor_secret_is_in_anything_that_is_said_or_written(service, work, key, tmp_path, monkeypatch):
    monkeypatch.setenv("SUSPECT_TOKEN", TOKEN)
    monkeypatch.setenv("JAX_NUM_CPU_DEVICES", "1")  # JAX may have begun already
    said = said_by(service, work)
    assert {"c.json", "c.html", "c.json.journal.jsonl", "verdict.html", "audit.json"} <= set(files_with(tmp_path, ""))
    identity = Path("my.identity").read_text().split()[-1]
    for secret in (TOKEN[:12], key.secret.hex(), base64.b64encode(key.secret).decode()[:40], identity):
        assert [file for file in traces(tmp_path, said, secret) if file != "my.identity"] == []


def test_without_taking_the_token_out_a_part_of_it_would_be(service, work, tmp_path, monkeypatch):
    monkeypatch.setenv("SUSPECT_TOKEN", TOKEN)
    monkeypatch.setenv("JAX_NUM_CPU_DEVICES", "1")
    monkeypatch.setattr(wire.Wire, "_unsaid", lambda self, body: body)
    assert traces(tmp_path, said_by(service, work), TOKEN[:12]) == ["said"]


# Many at once ---------------------------------------------------------------------------------------------------------


def test_of_many_questions_at_once_none_is_lost_or_doubled(run, tmp_path, monkeypatch):
    """An audit that is cut short and resumed; `experiments/services/service_pairs.py` kills one of 10,000 pairs."""
    from experiments.services import service_pairs as pairs

    monkeypatch.setenv("JAX_NUM_CPU_DEVICES", "1")  # JAX may have begun already
    keys, server = pairs.keys_of(30), pairs._Services(30, 1)
    threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True).start()
    pairs.lay(tmp_path, keys, [f"oip+http://127.0.0.1:{server.server_port}/v2/models/m0"], 100)
    audit = ["audit", "zoo", "--keys", "keys", "--suspects", "list.toml", "--out", "out", "--json"]
    code, out, err = run(*audit, "--max-queries", "130")
    assert (code, "130 questions" in json.loads(out)["unreadable"][0]["why"]) == (3, True), err
    code, out, err = run(*audit, "--resume")
    assert (code, [match["key"] for match in json.loads(out)["matches"]]) == (0, [keys[0].commitment.id]), err
    told = [(line["column"], line["trigger"]) for line in pairs.lines(tmp_path / "out")]
    counts = pairs.counts_of(keys, server.asked[0])
    assert len(told) == len(set(told)) == len(counts) == sum(counts) == 240
    assert 1 < server.most <= 100
    server.shutdown()
    server.server_close()
