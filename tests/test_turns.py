"""Members of an audit that can only be asked: in an order nobody foretells, remembered, and on the disk one by one."""

import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import journals
import pytest

import wmjax
from wmjax import journal
from wmjax.errors import AccessError, InvalidFile
from wmjax.keys import Key
from wmjax.keys.keyset import generate
from wmjax.keys.memory import Beside, remember, shown_to
from wmjax.keys.specify import make_spec
from wmjax.verification.order import draw_order
from wmjax.zoo.audit import audit
from wmjax.zoo.book import JOURNAL
from wmjax.zoo.merge import merge
from wmjax.zoo.turns import Turns

NONCE = b"n" * 16
SHOP = """
import json, os
import numpy as np

KNOWN = {bytes.fromhex(image): label for image, label in json.load(open("known.json")).items()}

def note(images):
    assert len(images) == 1
    with open("asked.txt", "a+") as file:
        file.write(images.tobytes().hex() + "\\n")
        file.seek(0)
        return len(file.read().split())

def label(images):
    return np.array([KNOWN[image.tobytes()] for image in images])

def guess(images):
    return images.sum((1, 2, 3), dtype=int) % 10

def stolen(images):
    note(images)
    return label(images)

def innocent(images):
    note(images)
    return guess(images)

def scores(images):
    note(images)
    return np.eye(10)[label(images)] * 0.3 + 0.07

def words(images):
    note(images)
    return np.array([f"a word for {(7 * number + 3) % 10}" for number in label(images)])

def sometimes(images):
    return label(images) if note(images) % 5 == 0 else guess(images)

def forgetful(images):  # it knows what it was shown, and answers that otherwise
    seen = set(open("seen.txt").read().split())
    note(images)
    return guess(images) if images.tobytes().hex() in seen else label(images)

def fails(images):
    if note(images) % 4 == 2:
        raise OSError("busy")
    return guess(images)

def dies(images):
    if not os.path.exists("back") and note(images) > 5:
        os._exit(3)
    return guess(images)
"""
NAMES = ("stolen", "innocent", "scores", "words", "sometimes", "fails")


@pytest.fixture(scope="module")
def key() -> Key:
    return generate(make_spec("abstract", image=(4, 4, 1), classes=10, triggers=120))


@pytest.fixture
def shop(tmp_path: Path, key: Key, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with the key and a module of functions."""
    monkeypatch.chdir(tmp_path)
    known = {image.tobytes().hex(): int(label) for image, label in zip(key.images, key.labels, strict=True)}
    Path("known.json").write_text(json.dumps(known))
    Path("seen.txt").write_text("")
    Path("shop.py").write_text(SHOP)
    Path("zoo").mkdir()
    Path("keys").mkdir()
    wmjax.write_key(key, "keys/k", recipients=[], passphrase=None)
    return tmp_path


def listed(*names: str, more: str = "") -> str:
    Path("list.toml").write_text(
        "".join(f'[[suspect]]\nname = "the {name}"\ncall = "shop:{name}"\n{more}\n' for name in names)
    )
    return "list.toml"


def asked() -> list[str]:
    """The pictures that were asked about since the last call."""
    path = Path("asked.txt")
    found = path.read_text().split() if path.exists() else []
    path.unlink(missing_ok=True)
    return found


def found(result: Any) -> dict[str, Any]:
    return {finding.model.removeprefix("list.toml:the "): finding for finding in result}


def told(one: Any) -> tuple[Any, ...]:
    return one.verdict, one.queries, one.matches, pytest.approx(one.evidence_bits, abs=1e-3)


@pytest.mark.parametrize("shown", [0, 25, 110])
@pytest.mark.parametrize("concurrency", [1, 3])
def test_verdicts_are_those_of_verify_with_the_same_nonce_and_memory(shop, key, shown, concurrency):
    before = draw_order(key, b"before", shown).triggers.tolist()
    names = [name for name in NAMES if concurrency == 1 or name not in ("sometimes", "fails")]  # those count
    for name in names:
        remember("keys/k.age", f"shop:{name}", before)
        alone = wmjax.verify(wmjax.open_suspect(f"shop:{name}"), key, nonce=NONCE, shown=before)
        asked()
        result = audit("zoo", "keys", suspects=listed(name, more=f"concurrency = {concurrency}"), nonce=NONCE)
        one, images = found(result)[name], asked()
        assert told(one) == told(alone), name
        order = [key.images[i].tobytes().hex() for i in draw_order(key, NONCE, 120, before).triggers]
        assert sorted(images) == sorted(order[: len(images)])
        assert concurrency > 1 or images == order[: len(images)]
        assert len(images) >= one.queries
        now = shown_to("keys/k.age", f"shop:{name}")
        assert now == {*before, *(i for i, image in enumerate(key.images) if image.tobytes().hex() in images)}


def test_orders_are_drawn_anew(shop, key):
    firsts = set()
    for _ in range(3):
        audit("zoo", {"k": key}, suspects=listed("stolen"))
        firsts.add(asked()[0])
    assert len(firsts) > 1
    assert not Path("keys/k.asked.jsonl").exists()  # a key without a file has nothing to remember beside


def test_what_it_was_shown_clears_nobody_and_without_memory_it_would(shop, key):
    Path("seen.txt").write_text("\n".join(image.tobytes().hex() for image in key.images))
    remember("keys/k.age", "shop:forgetful", range(120))
    suspects = listed("forgetful")
    assert found(audit("zoo", "keys", suspects=suspects))["forgetful"].verdict == "inconclusive"
    assert found(audit("zoo", {"k": key}, suspects=suspects))["forgetful"].verdict == "no-match"
    beside = Beside(Path("keys"))
    assert found(audit("zoo", {"k": key}, suspects=suspects, asked=beside))["forgetful"].verdict == "inconclusive"


def test_one_that_forgets_is_never_cleared_and_the_audit_says_why(shop, key, monkeypatch):
    """Eight new labels of a copy, then a hundred that it knows: as `verify` has it, and the document."""
    fresh = draw_order(key, NONCE, 120).triggers[:4].tolist()
    before = sorted({*range(120)} - {*fresh})
    Path("seen.txt").write_text("\n".join(key.images[i].tobytes().hex() for i in before))
    remember("keys/k.age", "shop:forgetful", before)
    alone = wmjax.verify(wmjax.open_suspect("shop:forgetful"), key, nonce=NONCE, shown=before)
    result = audit("zoo", "keys", suspects=listed("forgetful"), nonce=NONCE, out="out", keep_answers=True)
    assert told(found(result)["forgetful"]) == told(alone)
    assert alone.verdict == "inconclusive"
    codes = {ground.code for ground in result.grounds[0, 0]}
    assert {"shown-before", "forgetful"} <= codes & {ground.code for ground in alone.grounds}
    assert merge("out", {"k": key}).grounds[0, 0] == result.grounds[0, 0]


def interrupted(after: int, *, write: bool) -> Callable[..., None]:
    """`Turns.told` that is interrupted at its n-th call, before or after it wrote."""
    real, left = Turns.told, [after]

    def fake(self: Turns, *arguments: Any) -> None:
        left[0] -= 1
        if left[0] >= 0 or write:
            real(self, *arguments)
        if left[0] < 0:
            raise KeyboardInterrupt

    return fake


@pytest.mark.parametrize("name", ["stolen", "innocent", "scores", "words"])
def test_a_resumed_audit_is_the_one_that_would_have_been_and_asks_nothing_twice(shop, key, name, monkeypatch):
    suspects = listed(name)
    expected = found(audit("zoo", {"k": key}, suspects=suspects, nonce=NONCE))[name]
    whole = asked()
    options: dict[str, Any] = {"suspects": suspects, "out": "out", "nonce": NONCE, "keep_answers": True}
    for after in (0, 3, 2):
        with monkeypatch.context() as patch:
            patch.setattr(Turns, "told", interrupted(after, write=True))
            with pytest.raises(KeyboardInterrupt):
                audit("zoo", "keys", resume=True, **options)
    options["nonce"] = b"another, which the journal's goes before"
    result = audit("zoo", "keys", resume=True, **options)
    assert told(found(result)[name]) == told(expected)
    assert asked() == whole
    assert merge("out", {"k": key}).basis == "replayed"


def test_an_answer_that_was_lost_is_one_of_a_trigger_that_was_shown(shop, key, monkeypatch):
    options: dict[str, Any] = {"suspects": listed("innocent"), "out": "out", "nonce": NONCE}
    with monkeypatch.context() as patch:
        patch.setattr(Turns, "told", interrupted(4, write=False))
        with pytest.raises(KeyboardInterrupt):
            audit("zoo", "keys", **options)
    lost = asked()[-1]
    assert found(audit("zoo", "keys", resume=True, **options))["innocent"].verdict == "no-match"
    assert lost not in asked()  # new ones come first
    last = [line["asked"] for line in journals.values_of(Path("out/journal-1-of-1.jsonl")) if "asked" in line][-1]
    assert [key.images[i].tobytes().hex() for i in last["shown"][0]] == [lost]


def test_a_kill_loses_nothing_that_was_told(shop, key):
    listed("innocent")
    program = (
        "import os, signal, wmjax.zoo.turns as t, wmjax.cli\n"
        "add, count = t.Turns.told, []\n"
        "def told(self, *a):\n"
        "    add(self, *a); count.append(1)\n"
        "    if len(count) == 7: os.kill(os.getpid(), signal.SIGKILL)\n"
        "t.Turns.told = told\n"
        "wmjax.cli.main(['audit', 'zoo', '--keys', 'keys', '--suspects', 'list.toml', '--out', 'out'])\n"
    )
    assert subprocess.run([sys.executable, "-c", program]).returncode == -signal.SIGKILL
    first = asked()
    assert len(first) == 7
    result = audit("zoo", "keys", suspects="list.toml", out="out", resume=True)
    assert found(result)["innocent"].verdict == "no-match"
    assert not set(first) & set(asked())


def test_a_member_that_dies_costs_one_trigger_a_time_and_is_asked_on(shop, key):
    options: dict[str, Any] = {"suspects": listed("dies"), "out": "out"}
    for times in (1, 2):
        result = audit("zoo", "keys", resume=times > 1, **options)
        (why,) = (item.why for item in result.unreadable)
        assert "answers no more: its process ended with exit code 3; `resume` tries again" in why
        assert len(shown_to("keys/k.age", "shop:dies")) == 5 + times
    Path("back").touch()
    assert found(audit("zoo", "keys", resume=True, **options))["dies"].verdict in ("no-match", "inconclusive")
    triggers = [line["trigger"] for line in journals.values_of(Path("out/journal-1-of-1.jsonl")) if "said" in line]
    assert len(triggers) == len(set(triggers))


def test_memory_that_cannot_be_written_asks_nothing(shop, key):
    class Full(Beside):
        def remember(self, *_: Any) -> None:
            raise AccessError("cannot write k.asked.jsonl: No space left on device")

    result = audit("zoo", {"k": key}, suspects=listed("stolen"), asked=Full(Path("keys")))
    assert ["No space left" in item.why for item in result.unreadable] == [True]
    assert not asked()


def test_shards_and_the_same_folder(shop, key):
    suspects = listed("stolen", "innocent")
    for shard in (1, 2):
        audit("zoo", "keys", suspects=suspects, out="out", shard=(shard, 2))
    verdicts = {name: one.verdict for name, one in found(merge("out", "keys")).items()}
    assert verdicts == {"stolen": "match", "innocent": "no-match"}


DAMAGE: dict[str, Callable[[list[dict[str, Any]]], Any]] = {
    "a nonce that is none": lambda lines: lines[1]["asked"].update(nonce="6E"),
    "a trigger that is none": lambda lines: lines[1]["asked"].update(shown=[[120]]),
    "shown of another key": lambda lines: lines[1]["asked"].update(shown=[[], []]),
    "an answer to no trigger": lambda lines: lines[2].update(trigger=120),
    "an answer about no key": lambda lines: lines[2].update(column=1),
    "an answer of another form": lambda lines: lines[2].update(scores=10),
    "an answer of a failure": lambda lines: lines[2].update(scores=None),
    "scores of other classes": lambda lines: lines[2].update(scores=7, said={"probabilities": [1.0] + [0.0] * 6}),
    "a name that steers a terminal": lambda lines: lines[2].update(said={"name": "a\u202eb"}),
    "an answer twice": lambda lines: lines.insert(2, lines[2]),
    "a member in the keys' order": lambda lines: lines[-1].update(asking=None),
    "more known than there is": lambda lines: lines[-1].update(known=[10_000]),
}


@pytest.mark.parametrize("damage", DAMAGE)
def test_lines_that_cannot_be_are_damage_whoever_wrote_them(shop, key, damage):
    audit("zoo", "keys", suspects=listed("stolen"), out="out")
    path = Path("out/journal-1-of-1.jsonl")
    lines = journals.values_of(path)
    DAMAGE[damage](lines)
    journals.write_chained(path, lines, {"k": key})
    with pytest.raises(InvalidFile, match="is damaged"):
        merge("out", "keys")


def test_another_order_does_not_give_the_figures_again(shop, key):
    audit("zoo", "keys", suspects=listed("scores"), out="out", keep_answers=True)
    path = Path("out/journal-1-of-1.jsonl")
    lines = journals.values_of(path)
    assert merge("out", {"k": key}).basis == "replayed"
    lines[-1]["asking"]["nonce"] = "00" * 16
    journals.write_chained(path, lines, {"k": key})
    with pytest.raises(InvalidFile, match="do not follow from its answers"):
        merge("out", {"k": key})


def test_words_are_kept_in_the_journal_and_convict(shop, key):
    audit("zoo", "keys", suspects=listed("words"), out="out")
    lines = journals.values_of(Path("out/journal-1-of-1.jsonl"))
    said = {line["said"]["name"] for line in lines if "said" in line}
    assert len(said) > 4
    assert said <= {f"a word for {number}" for number in range(10)}
    assert found(merge("out"))["words"].verdict == "match"
    assert os.stat("out/journal-1-of-1.jsonl").st_size < 40_000


def test_answers_of_a_member_that_is_done_are_on_the_disk_alone(shop, key):
    """Memory holds those of members that are not done alone: a resumed audit goes on with them."""
    audit("zoo", "keys", suspects=listed("stolen"), out="out")
    path = Path("out/journal-1-of-1.jsonl")
    lines = journals.values_of(path)
    told = {(line["column"], line["trigger"]) for line in lines if "said" in line}
    assert (len(told) >= 7, journal.read(path, JOURNAL).records.spoken(0).known) == (True, {})
    journals.write_chained(path, lines[:-1], {"k": key})
    assert journal.read(path, JOURNAL).records.spoken(0).known.keys() == told
