"""A service that answers with words of its own: asked, claimed and judged as any other; words steer nothing."""

import base64
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from test_claim_cli import NONCE, claim, home, know, make_key, opened

from wmjax import stats
from wmjax.errors import InvalidFile
from wmjax.evidence import transcript
from wmjax.evidence.claim import Claim
from wmjax.evidence.claim_file import read_claim
from wmjax.keys import Spec, make_spec
from wmjax.stats import renaming
from wmjax.stats.said import read_said, said, said_json
from wmjax.text import LONGEST_NAME, is_name

__all__ = ["home"]  # a fixture
SHOP = """
import json, os
import numpy as np
_KNOWN = json.load(open("known.json"))
_WORDS = ["cat", "dog", "a\\x1b[2J\\u202eb", "<b>bird</b>", "x" * 300, "1", '"', "frog ", "\\u732b", "-1"]

def _labels(images):
    return [_KNOWN.get(image.tobytes().hex(), 0) for image in images]

def stolen(images):
    return np.array([_WORDS[(label * 3 + 1) % 10] for label in _labels(images)])

def innocent(images):
    return np.array([_WORDS[int(image.sum()) % 10] for image in images])

def some(images):  # no word for some classes
    return np.array([_WORDS[label] if label else "" for label in _labels(images)])

def counted(images):
    with open("asked.txt", "a+") as file:
        file.write("x" * len(images))
        file.seek(0)
        if len(file.read()) == 8 and not os.path.exists("back"):
            os._exit(3)
    return stolen(images)
"""
BIG = ["--key", "big.age", "--identity", "big.identity"]


@pytest.fixture
def words(home: Any, monkeypatch: pytest.MonkeyPatch) -> Any:
    """The command line, with a key of 150 triggers, and suspects that answer in words."""
    monkeypatch.setenv("JAX_NUM_CPU_DEVICES", "1")  # JAX may have begun already
    make_key("big", 150)
    know("big")
    Path("words.py").write_text(SHOP)
    return home


def read() -> Claim:
    return read_claim(Path("claim.json").read_bytes())


@pytest.mark.parametrize(("name", "verdict"), [("stolen", "match"), ("innocent", "no-match")])
def test_verify_and_audit_say_the_same_of_words(words, name, verdict):
    code, out, _ = words("verify", *BIG, f"words:{name}", "--json", "--nonce", NONCE)
    alone = json.loads(out)
    assert (code, alone["verdict"]) == ({"match": 0, "no-match": 1}[verdict], verdict)
    Path("keys").mkdir()
    for end in ("age", "identity"):
        Path(f"big.{end}").rename(f"keys/big.{end}")
    Path("zoo").mkdir()
    Path("list.toml").write_text(f'[[suspect]]\nname = "it"\ncall = "words:{name}"\n')
    code, out, err = words("audit", "zoo", "--keys", "keys", "--suspects", "list.toml", "--json")
    assert code == {"match": 0, "no-match": 1}[verdict], err
    document = json.loads(out)
    assert [bool(document["matches"]), document["inconclusive"]] == [verdict == "match", []]


def test_words_convict_in_a_claim_and_before_a_judge(words):
    code, out, _ = claim(words, *BIG, "--reveal", "--json", suspect="words:stolen")
    assert (code, json.loads(out)["verdict"]) == (0, "match")
    said_ = {row.answer for row in read().rows}
    assert all(isinstance(word, str) and is_name(word) for word in said_)
    assert len(said_) == 10
    assert "a\\x1b[2J\\u202eb" in said_
    assert max(map(len, said_)) == LONGEST_NAME
    court = ["--nonce-from", NONCE, "--suspect", "words:stolen", "--json", "--out", "verdict"]
    code, out, _ = words("judge", "claim.json", *court)
    judged = json.loads(out)["judgements"][0]
    assert (code, judged["verdict"], judged["lacks"]) == (0, "match", [])
    for page in ("claim.html", "verdict.html"):
        text = Path(page).read_text()
        assert "<b>bird" not in text
        assert "&quot;cat&quot;" in text or "&#34;cat&#34;" in text
        assert "\u202e" not in text
    code, out, _ = words("judge", "claim.json", *court[:3], "words:innocent", "--json")
    assert code in (1, 3)


def test_without_bets_on_a_renaming_words_would_convict_nobody(words, monkeypatch):
    monkeypatch.setattr(renaming, "learn", lambda history, answered, *_: (history, np.zeros((4, *answered.shape))))
    assert claim(words, *BIG, "--reveal", "--anyway", suspect="words:stolen")[0] != 0


def test_an_innocent_service_is_no_match(words):
    assert claim(words, *BIG, "--reveal", suspect="words:innocent")[0] == 1
    assert words("judge", "claim.json", "--nonce-from", NONCE, "--suspect", "words:innocent")[0] == 1


def test_no_word_is_a_refusal(words):
    assert claim(words, *BIG, suspect="words:some")[0] in (0, 3)
    labels = opened("big").labels
    assert {row.index for row in read().rows if row.answer is None} == {
        row.index for row in read().rows if labels[row.index] == 0
    }


def test_a_claim_in_words_is_resumed_as_it_would_have_been(words):
    assert claim(words, *BIG, "--reveal", suspect="words:counted")[0] == 5
    Path("back").touch()
    assert claim(words, *BIG, "--reveal", "--resume", suspect="words:counted")[0] == 0
    (lost,) = [row for row in read().rows if row.answer is None]
    assert read().rows[7].index == lost.index
    assert words("judge", "claim.json", "--nonce-from", NONCE, "--suspect", "words:counted")[0] == 0


def test_the_numbers_of_words_change_no_bit():
    rng = np.random.default_rng(0)
    labels = rng.integers(10, size=80)
    told = [f"word {(3 * label + 1) % 10}" for label in labels]
    rows = [transcript.Row(i, ({},), word) for i, word in enumerate(told)]
    names = transcript.names_of(rows)
    assert list(names.values()) == list(range(stats.NAMES, stats.NAMES + 10))
    assert list(names) == list(dict.fromkeys(told))
    numbers = stats.Answers(np.array([(3 * label + 1) % 10 + stats.NAMES for label in labels]), None, 10)
    assert stats.evidence(transcript.answers(rows, 10), labels).tolist() == stats.evidence(numbers, labels).tolist()
    parts = [transcript.answers(rows[i : i + 1], 10, before=rows[:i]).labels[0] for i in range(80)]
    assert parts == transcript.answers(rows, 10).labels.tolist()


@pytest.mark.parametrize("word", ["", "x" * 201, "a\nb", "a\u202eb", "a\u200bb", 3, None, ["a"], True])
def test_what_is_no_name_is_refused(word):
    with pytest.raises((ValueError, TypeError)):
        read_said({"name": word})
    with pytest.raises((ValueError, TypeError, KeyError)):
        read_said({"name": "a", "label": 1})


@pytest.mark.parametrize("text", ["cat", "x" * 5000, "\x1b[2J", "\u202e", "\ud800", "\t", " ", "a" * 199 + "\n"])
def test_any_text_is_a_name_that_can_be_written_and_read(text):
    names: dict[str, int] = {}
    answer = stats.read_answers(np.array([text]), 1, 10, names=names)
    word = said(answer, names)
    assert is_name(word)
    assert read_said(json.loads(json.dumps(said_json(word)))) == word
    assert word.isprintable()


def test_words_among_scores_are_another_form():
    spec = opened_spec()
    told = [{"probabilities": [0.1] * 10}, {"name": "cat"}]
    rows = [row_of(spec, place, answer) for place, answer in enumerate(told)]
    with pytest.raises(InvalidFile, match="labels here and probabilities there"):
        transcript.read_rows(rows, spec)
    assert len(transcript.read_rows([row_of(spec, 0, {"label": 3}), row_of(spec, 1, {"name": "cat"})], spec)) == 2


def opened_spec() -> Spec:
    return make_spec("abstract", image=(4, 4, 1), classes=10, triggers=20)


def row_of(spec: Spec, index: int, answer: dict[str, Any]) -> dict[str, Any]:
    """A row of a transcript as its file has it."""
    opening = {"salt": "0" * 32, "label": 0, "proof": [], "input": base64.b64encode(bytes(spec.input.size)).decode()}
    attempt = {"at": "2026-01-01T00:00:00+00:00", "outcome": "answered", "detail": {}}
    return {"index": index, "attempts": [attempt], "answer": answer, "opening": opening}
