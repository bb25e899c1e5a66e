"""A claim's journal: whatever ends a claim costs one trigger at most, and the rest is there when it is resumed."""

import dataclasses
import json
import os
import random
import resource
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from test_claim_cli import NONCE, OTHER_NONCE, claim, home, indices, know, make_key, one_line, opened
from tsa import LocalTsa

from wmjax import files, journal, keys
from wmjax.errors import AccessError
from wmjax.evidence import claimant
from wmjax.evidence.claim import Claim, picks
from wmjax.evidence.claim_file import read_claim
from wmjax.evidence.transcript import Row
from wmjax.files import alone, write_bytes
from wmjax.keys import derive_key, make_spec, write_key
from wmjax.keys.specify import default_rule

__all__ = ["home"]  # a fixture
JOURNAL = "claim.json.journal.jsonl"
SHOP = """
import json, os, socket, time, numpy as np
_KNOWN = json.load(open("known.json"))

def stolen(images):
    with open("asked.txt", "a") as file:
        file.write("".join(image.tobytes().hex() + "\\n" for image in images))
    time.sleep(0.01)
    return np.array([_KNOWN[image.tobytes().hex()] for image in images])

def _count():
    return len(open("asked.txt").read().split()) if os.path.exists("asked.txt") else 0

def _after(good, other):
    def ask(images):
        label = stolen(images)
        return other(label) if _count() == good + 1 else label
    return ask

wide = _after(5, lambda label: np.zeros((1, 1)))
scores = _after(5, lambda label: np.eye(10)[label])
ragged = _after(5, lambda label: [[1], [1, 2]])
text = _after(5, lambda label: "\\x1b[2J" * 1000)
wide_at_once = _after(0, lambda label: np.zeros((1, 1)))
fails = _after(5, lambda label: 1 // 0)

def _gone(how):
    def ask(images):
        if os.path.exists("back") or _count() < 5:
            return stolen(images)
        return how()
    return ask

def _refused():
    import urllib.request
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        port = unused.getsockname()[1]
    urllib.request.urlopen("http://127.0.0.1:%d" % port)

dies, is_refused = _gone(lambda: os._exit(3)), _gone(_refused)

def broken(images):
    label = stolen(images)
    return label if _count() < 5 or os.path.exists("mended") else np.zeros((1, 1))
"""
MALFORMED = {
    "wide": "ndarray float64 [1, 1]: array([[0.]])",
    "scores": "ndarray float64 [1, 10]: array([[",
    "ragged": "list: [[1], [1, 2]]",
    "text": "ndarray <U",
}


@pytest.fixture
def asked(home):
    """The command line, with suspects that note what they were asked."""
    Path("shop.py").write_text(SHOP)
    return home


def questions() -> list[str]:
    """What was asked, in the order of asking."""
    return Path("asked.txt").read_text().split() if Path("asked.txt").exists() else []


def read(path: str = "claim.json") -> Claim:
    return read_claim(Path(path).read_bytes(), path)


def turn(row: Row) -> tuple[Any, ...]:
    """A row without its time."""
    return row.index, [attempt["outcome"] for attempt in row.attempts], row.answer


def whole_claim(asked) -> list[tuple[Any, ...]]:
    """What a claim comes to that nothing disturbs, with a key of the same contents."""
    make_key("same", 60)
    key = ["--key", "same.age", "--identity", "same.identity"]
    assert claim(asked, *key, "--reveal", out="same.json")[0] == 0
    Path("asked.txt").unlink()
    return [turn(row) for row in read("same.json").rows]


def told() -> list[dict[str, Any]]:
    """The rows of the journal."""
    return [json.loads(line) for line in Path(JOURNAL).read_text().splitlines()[1:]]


def spawn(key: str = "my", **options: Any) -> subprocess.Popen[bytes]:
    """A claim in a process of its own, which can be killed."""
    unlock = ["--key", f"{key}.age", "--identity", f"{key}.identity"]
    words = ["claim", *unlock, "shop:stolen", "--nonce-from", NONCE, "--reveal", "--out", "claim.json", "--resume"]
    command = [sys.executable, "-m", "wmjax", *words]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, **options)


def test_a_claim_killed_at_any_moment_is_continued_and_loses_what_was_on_its_way_alone(asked):
    """Seven kills, at the asking of different triggers, in one claim."""
    make_key("big", 150)
    know("big")
    rng, kills = random.Random(0), 0
    for _ in range(7):
        process, before, more = spawn("big"), len(questions()), rng.randrange(1, 5)
        while process.poll() is None and len(questions()) < before + more:
            time.sleep(0.001)
        time.sleep(rng.random() * 0.02)
        kills += process.poll() is None
        process.send_signal(signal.SIGKILL)
        process.communicate()
        assert opened("big").spec.triggers == 150  # the key file always opens
    assert kills == 7
    assert spawn("big").wait() == 0
    made, shown = read(), [image.tobytes().hex() for image in opened("big").images]
    opening = [row.index for row in made.rows if row.attempts]
    assert [row.index for row in made.rows] == picks(made.commitment, bytes.fromhex(NONCE), len(made.rows))
    assert len(questions()) == len(set(questions()))  # nothing is asked twice
    assert set(opening) <= {shown.index(image) for image in questions()} <= opened("big").spent
    assert len(opened("big").spent - set(opening)) <= kills
    assert all(row.answer == opened("big").labels[row.index] for row in made.rows if row.attempts)
    assert made.stated["verdict"] == "match"
    assert asked("judge", "claim.json", "--nonce-from", NONCE, "--suspect", "shop:stolen")[0] == 0


def test_a_resumed_claim_is_the_one_that_would_have_been(asked, monkeypatch):
    """Stopped before a question, at each of its turns: nothing at all is lost."""
    expected = whole_claim(asked)
    spend, turns = keys.spend, []

    def stopping(path, unlock, triggers):
        turns.append(triggers)
        if len(turns) % 7 == 0:
            raise KeyboardInterrupt
        spend(path, unlock, triggers)

    monkeypatch.setattr(keys, "spend", stopping)
    codes = [claim(asked, "--reveal", *(["--resume"] if n else []))[0] for n in range(9)]
    assert codes[: codes.index(0)] == [130] * codes.index(0)
    assert codes.index(0) > 3
    assert [turn(row) for row in read().rows] == expected


def test_a_full_disk_under_the_journal_is_one_line_and_costs_one_trigger(asked):
    """A limit on the size of files is what a full disk is: the line does not fit."""
    process = spawn(preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (4000, 4000)))
    _, err = process.communicate()
    assert (process.returncode, "File too large" in one_line(err.decode())) == (5, True)
    assert "resume" in err.decode()
    assert len(opened().spent) == len(questions()) == len(told()) + 1
    assert not Path("claim.json").exists()
    assert spawn().wait() == 0
    assert len([row for row in read().rows if not row.attempts]) == 1
    assert len(questions()) == len(set(questions())) == len(told()) + 1


def test_a_full_disk_under_the_claim_is_one_line_and_costs_nothing(asked):
    """The journal fits, the claim does not."""
    process = spawn(preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (15_000, 15_000)))
    _, err = process.communicate()
    assert (process.returncode, "File too large" in one_line(err.decode())) == (5, True)
    before = questions()
    assert len(before) == len(told()) == len(opened().spent) > 40
    assert {path.name for path in Path().glob("*claim*")} == {JOURNAL}
    assert spawn().wait() == 0
    assert questions() == before
    assert read().stated["verdict"] == "match"


def test_a_full_disk_under_the_key_is_one_line_and_costs_nothing(asked, monkeypatch):
    expected = whole_claim(asked)
    spend, count = keys.spend, []

    def full(*arguments):
        count.append(1)
        if len(count) == 8:
            raise AccessError("cannot write my.age: No space left on device")
        spend(*arguments)

    monkeypatch.setattr(keys, "spend", full)
    code, _, err = claim(asked, "--reveal")
    assert (code, "No space left" in one_line(err), Path("claim.json").exists()) == (5, True, False)
    assert claim(asked, "--reveal", "--resume")[0] == 0
    assert [turn(row) for row in read().rows] == expected


def test_a_failure_half_way_is_an_outcome_and_the_claim_goes_on(asked):
    assert claim(asked, "--reveal", suspect="shop:fails")[0] == 0
    (failed,) = [row for row in read().rows if row.answer is None]
    assert failed.attempts[0]["outcome"] == "failed"
    assert "ZeroDivisionError" in failed.attempts[0]["detail"]["error"]


@pytest.mark.parametrize("form", MALFORMED)
def test_an_answer_in_another_form_costs_one_trigger_and_is_on_record(asked, form):
    code, _, _ = claim(asked, "--reveal", suspect=f"shop:{form}")
    assert code == 0
    made = read()
    refused = [row for row in made.rows if row.answer is None]
    assert [row.index for row in refused] == [made.rows[5].index]
    (attempt,) = refused[0].attempts
    assert attempt["outcome"] == "answered"
    came = attempt["detail"]["came"]
    assert came.startswith(MALFORMED[form])
    assert len(came) <= 200
    assert came.isprintable()
    assert len(opened().spent) == len(made.rows)
    assert made.stated["verdict"] == "match"
    assert asked("judge", "claim.json", "--nonce-from", NONCE, "--suspect", "shop:stolen")[0] == 0


def test_a_first_answer_in_another_form_ends_the_claim_and_costs_one_trigger(asked):
    code, _, err = claim(asked, suspect="shop:wide_at_once")
    assert (code, "float64 [1, 1]" in one_line(err)) == (2, True)
    assert len(opened().spent) == 1
    assert not Path("claim.json").exists()


def test_a_suspect_that_breaks_ends_the_claim_and_is_asked_on_when_it_is_mended(asked):
    make_key("big", 100)
    know("big")
    big = ["--key", "big.age", "--identity", "big.identity", "--reveal"]
    assert claim(asked, *big, suspect="shop:broken")[0] == 3
    assert len(opened("big").spent) == 4 + 8
    assert read().secret is None  # it would prove nothing
    Path("mended").touch()
    assert claim(asked, *big, "--resume", suspect="shop:broken")[0] == 0
    assert read().secret == opened("big").secret
    assert sum(row.answer is None for row in read().rows) == 8


@pytest.mark.parametrize("how", ["dies", "is_refused"])
def test_a_suspect_that_is_gone_costs_one_trigger_and_is_asked_on_when_it_is_back(asked, how):
    code, _, err = claim(asked, "--reveal", suspect=f"shop:{how}")
    words = {"dies": "answers no more: its process ended with exit code 3", "is_refused": "Connection refused"}
    assert (code, words[how] in one_line(err), "--resume continues the claim" in err) == (5, True, True)
    assert len(opened().spent) == len(told()) == 6
    assert not Path("claim.json").exists()
    code, _, err = claim(asked, "--reveal", "--resume", suspect=f"shop:{how}")
    assert (code, len(opened().spent), words[how] in one_line(err)) == (5, 7, True)
    Path("back").touch()
    assert claim(asked, "--reveal", "--resume", suspect=f"shop:{how}")[0] == 0
    assert [row.answer is None for row in read().rows[:8]] == [n in (5, 6) for n in range(8)]
    assert len(questions()) == len(set(questions()))


def test_a_claim_that_has_become_hopeless_is_not_resumed(asked):
    """Of 60 triggers 8 were refused: the rest cannot reach what a judge demands."""
    assert claim(asked, "--reveal", suspect="shop:broken")[0] == 3
    Path("mended").touch()
    code, _, err = claim(asked, "--reveal", "--resume", suspect="shop:broken")
    assert (code, "can reach a match" in one_line(err), len(opened().spent)) == (2, True, 12)


def test_a_key_that_cannot_reach_what_a_judge_demands_asks_nothing(asked):
    """By the committed alpha it could: 40 triggers are 130 bits, but a judge demands 148 without a date."""
    assert claim(asked, nonce=OTHER_NONCE, out="notice.json")[0] == 0
    spent = opened().spent
    Path("asked.txt").unlink()
    code, _, err = claim(asked, "--reveal")
    assert (code, "can reach a match" in one_line(err), "148" in err, "--anyway" in err) == (2, True, True, True)
    assert (questions(), opened().spent, Path("claim.json").exists()) == ([], spent, False)
    assert not Path(JOURNAL).exists()
    assert claim(asked, "--reveal", "--anyway")[0] in (0, 3)
    assert read().secret == opened().secret
    code, _, _ = asked("judge", "claim.json", "--nonce-from", NONCE, "--suspect", "shop:stolen")
    assert code == 3


def test_without_that_check_the_key_is_burnt_and_its_secret_still_not_given_away(asked, monkeypatch):
    make_key("few", 40)
    know("few")
    monkeypatch.setattr(claimant, "_check_enough", lambda *_: None)
    code, _, err = claim(asked, "--key", "few.age", "--identity", "few.identity", "--reveal")
    assert (code, len(opened("few").spent)) == (0, 40)
    assert read().secret is None
    assert "the secret is not in the claim" in err


def test_a_dated_key_needs_less(asked, tmp_path):
    make_key("few", 30)
    know("few")
    few = ["--key", "few.age", "--identity", "few.identity"]
    assert claim(asked, *few, "--reveal")[0] == 2
    with LocalTsa(tmp_path / "tsa") as tsa:
        asked("commit", "few.commitment.json", "--timestamp", tsa.url, "--tsa", tsa.authority)
    assert claim(asked, *few, "--reveal")[0] == 0


def test_a_claim_asks_on_until_the_judges_threshold_where_the_committed_one_is_lower(asked):
    spec = make_spec("abstract", image=(4, 4, 1), classes=10, triggers=90)
    rule = dataclasses.replace(default_rule(spec), alpha=0.01)
    write_key(derive_key(bytes(32), spec, rule), "lax", recipients=[], passphrase=None)
    know("lax")
    assert claim(asked, "--key", "lax.age", "--identity", "lax.identity", "--reveal")[0] == 0
    assert read().stated["evidence_bits"] >= 128 + 19.93
    assert asked("judge", "claim.json", "--nonce-from", NONCE, "--suspect", "shop:stolen")[0] == 0


def test_a_notice_says_what_it_costs_and_becomes_the_claim_without_another_question(asked):
    code, _, err = claim(asked)
    assert (code, "spent triggers that a claim for another nonce will lack" in one_line(err)) == (0, True)
    before, notice = questions(), [turn(row) for row in read().rows]
    assert read().secret is None
    assert claim(asked, "--reveal")[0] == 2  # nothing is written over unasked
    assert claim(asked, "--reveal", "--resume")[0] == 0
    assert questions() == before
    assert (read().secret, [turn(row) for row in read().rows]) == (opened().secret, notice)
    assert asked("judge", "claim.json", "--nonce-from", NONCE, "--suspect", "shop:stolen")[0] == 0


def test_only_the_same_claim_is_resumed(asked):
    assert claim(asked)[0] == 0
    for more, words in (
        ({"nonce": OTHER_NONCE}, "other nonce"),
        ({"suspect": "shop:fails"}, "other suspect"),
    ):
        code, _, err = claim(asked, "--resume", **more)
        assert (code, words in one_line(err)) == (4, True)
    make_key("other", 61)
    code, _, err = claim(asked, "--key", "other.age", "--identity", "other.identity", "--resume")
    assert (code, "other commitment" in one_line(err)) == (4, True)
    assert not opened("other").spent


def test_a_later_claim_takes_nothing_from_one_that_is_resumed(asked):
    """What another claim asked meanwhile is passed over, unopened, and never asked again."""
    make_key("big", 160)
    know("big")
    big = ["--key", "big.age", "--identity", "big.identity", "--reveal"]
    assert claim(asked, *big)[0] == 0
    assert claim(asked, *big, nonce=OTHER_NONCE, out="other.json")[0] == 0
    assert claim(asked, *big, "--all", "--resume")[0] == 0
    assert not set(indices("claim.json")) & set(indices("other.json"))
    assert len(read().rows) == 160
    assert len(questions()) == len(set(questions()))


DAMAGE = {
    "an answer": lambda raw: raw.replace(b'"answered"', b'"failed"', 1),
    "no journal": lambda raw: b"precious\n",
    "another format": lambda raw: raw.replace(b"wmjax-claim-journal/1", b"wmjax-claim-journal/9"),
}


@pytest.mark.parametrize("damage", DAMAGE)
def test_a_damaged_journal_is_one_line_and_asks_nothing(asked, damage):
    claim(asked)
    Path("claim.json").unlink()
    path, before = Path(JOURNAL), questions()
    raw = DAMAGE[damage](path.read_bytes())
    path.write_bytes(raw)
    code, _, err = claim(asked, "--resume")
    assert (code, JOURNAL in one_line(err)) == (4, True)
    assert (questions(), path.read_bytes()) == (before, raw)


def test_rows_that_the_nonce_does_not_pick_are_damage(asked):
    claim(asked)
    lines = [json.loads(line) for line in Path(JOURNAL).read_text().splitlines()]
    contents = [{name: value for name, value in line.items() if name != "sha256"} for line in lines]
    for rows in ([*contents[2:0:-1], *contents[3:]], [contents[1], *contents[1:]]):
        raw, link = b"", ""
        for content in [contents[0], *rows]:
            line, link = journal.chained(content, link)
            raw += line
        Path(JOURNAL).write_bytes(raw)
        code, _, err = claim(asked, "--resume")
        assert (code, "not what the nonce picks" in one_line(err)) == (4, True)


def test_an_older_copy_of_the_key_learns_what_is_spent(asked):
    """Whoever brings the key back from a backup asks nothing twice."""
    backup = Path("my.age").read_bytes()
    assert claim(asked, "--reveal")[0] == 0
    spent, before = opened().spent, questions()
    Path("my.age").write_bytes(backup)
    assert claim(asked, "--reveal", "--resume")[0] == 0
    assert (opened().spent, questions()) == (spent, before)


def test_a_line_that_a_kill_cut_is_cut_off(asked):
    claim(asked, "--reveal")
    whole, path = [turn(row) for row in read().rows], Path(JOURNAL)
    path.write_bytes(path.read_bytes()[:-20])
    assert claim(asked, "--reveal", "--resume")[0] == 0
    rows = [turn(row) for row in read().rows]
    assert rows[: len(whole) - 1] == whole[:-1]
    assert rows[len(whole) - 1] == (whole[-1][0], [], None)  # it was asked, and its answer is lost


def test_a_key_behind_a_link_is_the_one_that_is_written(asked):
    """Beside the link nothing has to lie: what belongs to the key lies beside the key."""
    Path("elsewhere").mkdir()
    for path in [*Path().glob("my.*")]:
        path.rename(Path("elsewhere") / path.name)
    link = Path("link.age")
    link.symlink_to("elsewhere/my.age")
    assert claim(asked, "--key", "link.age", "--identity", "elsewhere/my.identity", "--reveal")[0] == 0
    assert link.is_symlink()
    assert opened("elsewhere/my").spent == set(indices("claim.json"))
    assert Path("elsewhere/my.age").stat().st_mode & 0o777 == 0o600


def test_a_claim_through_a_link_knows_of_the_one_that_is_under_way(asked):
    Path("link.age").symlink_to("my.age")
    Path("link.commitment.json").write_bytes(Path("my.commitment.json").read_bytes())
    with alone(Path("my.commitment.json")):
        code, _, err = claim(asked, "--key", "link.age")
    assert (code, "another process" in one_line(err)) == (2, True)
    assert not opened().spent


def test_a_link_that_is_written_through_stays_a_link(tmp_path):
    (tmp_path / "link").symlink_to("real")
    write_bytes(tmp_path / "link", b"new", mode=0o600)
    assert (tmp_path / "link").is_symlink()
    assert (tmp_path / "real").read_bytes() == b"new"
    assert {path.name for path in tmp_path.iterdir()} == {"link", "real"}


@pytest.mark.skipif(not hasattr(os, "O_TMPFILE"), reason="needs Linux: elsewhere a kill may leave a file with a dot")
def test_until_it_is_whole_a_file_has_no_name_that_a_kill_could_leave(tmp_path, monkeypatch):
    sync, seen = os.fsync, []

    def look(descriptor: int) -> None:
        seen.append([path.name for path in tmp_path.iterdir()])
        sync(descriptor)

    monkeypatch.setattr(os, "fsync", look)
    write_bytes(tmp_path / "key", b"one")
    write_bytes(tmp_path / "key", b"two", mode=0o600)
    assert seen == [[], ["key"], ["key"], ["key"]]  # the file's and its folder's, twice
    assert (tmp_path / "key").read_bytes() == b"two"
    assert (tmp_path / "key").stat().st_mode & 0o777 == 0o600


@pytest.mark.parametrize("why", ["the file system has none", "no /proc"])
def test_where_no_file_can_be_without_a_name_it_has_one_with_a_dot(tmp_path, monkeypatch, why):
    if why == "no /proc":
        monkeypatch.setattr(files, "_DESCRIPTORS", "/nowhere")
    else:
        monkeypatch.setattr(os, "O_TMPFILE", 1 << 30, raising=False)
    write_bytes(tmp_path / "key", b"one", mode=0o600)
    assert [path.name for path in tmp_path.iterdir()] == ["key"]
    assert (tmp_path / "key").stat().st_mode & 0o777 == 0o600


def test_nobody_else_reads_what_shows_triggers(asked):
    old = os.umask(0)
    try:
        for more in ((), ("--reveal", "--resume")):
            assert claim(asked, *more)[0] == 0
            for name in ("claim.json", "claim.html", JOURNAL):
                assert Path(name).stat().st_mode & 0o777 == 0o600
        asked("judge", "claim.json", "--suspect", "shop:stolen", "--out", "verdict")
        assert "data:image/png" in Path("verdict.html").read_text()
        assert Path("verdict.html").stat().st_mode & 0o777 == 0o600
    finally:
        os.umask(old)
    secret = opened().secret.hex()
    assert secret not in Path(JOURNAL).read_text()
    assert not any(key in Path(JOURNAL).read_text() for key in ("salt", "proof", '"input":"'))


def test_journals_hold_probabilities_exactly(asked):
    Path("shop.py").write_text(
        "import numpy as np\n\ndef soft(images):\n    x = images.reshape(-1, 16)[:, :10] / 7.0\n    return x\n"
    )
    sys.modules.pop("shop", None)
    claim(asked, suspect="shop:soft")
    rows = [row for row in read().rows if row.attempts]
    for line, row in zip(told(), rows, strict=True):
        assert np.array_equal(line["answer"]["probabilities"], row.answer)
