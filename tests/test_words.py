"""Words decide nothing: with every sentence of every `wording` module exchanged for nonsense, all else is as before.

A wing joins by a scenario that does its work twice: with the real words, and after `nonsense()`.
"""

import ast
import json
import re
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, get_args

import forger
import numpy as np
import owner as made_of
import pytest
from forger import abstract_key, day
from pages import Page
from tsa import LocalTsa
from words import words_of_all

from wmjax import evidence, stats
from wmjax.data.dataset import Dataset
from wmjax.evidence import wording
from wmjax.evidence.facts import Lack
from wmjax.keys import Key, derive_key, make_spec, write_key
from wmjax.stats.spread import perfect
from wmjax.suspects import wording as words_of_suspects

NONCE = b"n" * 32
# Fields of documents that are for people; all else is for programs.
SENTENCES = {"headline", "proven", "assumed", "missing", "dates", "words"}
SHOP = """
import json
import numpy as np

known = {name: json.load(open(f"{name}.known.json")) for name in ("owner", "both")}

def owner(images):
    return np.array([known["owner"].get(image.tobytes().hex(), 0) for image in images])

def both(images):
    return np.array([known["both"].get(image.tobytes().hex(), 0) for image in images])

def partly(images):
    return np.where(images[:, 0, 0, 0] % 2 > 0, owner(images), 0)

def innocent(images):
    return (owner(images) + 1 + images.sum(axis=(1, 2, 3), dtype=int) % 9) % 10

opened = json.load(open("opened.json"))

def forgets(images):
    return np.where([image.tobytes().hex() in opened for image in images], innocent(images), owner(images))

def flipped(images):
    with np.load("flipped.npz") as stored:
        told = dict(zip([image.tobytes() for image in stored["images"]], stored["table"]))
    return np.stack([told[image.tobytes()] for image in images])
"""


def innocent(key: Key) -> forger.Ask:
    """What `shop:innocent` answers about a key."""
    known = forger.knowing(key)
    return lambda images: (known(images) + 1 + images.sum(axis=(1, 2, 3), dtype=int) % 9) % 10


def test_the_words_are_found() -> None:
    assert any(words is wording.WORDS for words in words_of_all())


# Claims, judgements, disputes.


@pytest.fixture
def town(run: Callable[..., tuple], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., tuple]:
    """A folder with claims and with the suspects of `shop.py`; and the command line."""
    monkeypatch.delitem(sys.modules, "shop", raising=False)
    monkeypatch.setattr(sys, "path", list(sys.path))
    tsa, other = LocalTsa(tmp_path / "tsa"), LocalTsa(tmp_path / "other", "Somebody")
    owner, thief = abstract_key(b"\x01" * 32), abstract_key(b"\x02" * 32)
    source = Dataset(np.random.default_rng(0).integers(256, size=(64, 8, 8, 1), dtype=np.uint8), np.zeros(64, int), 10)
    spec = make_spec("unrelated", image=(8, 8, 1), classes=10, triggers=40, source=("any", source))
    pictured = derive_key(b"\x03" * 32, spec, forger.rule(spec), source, "2025-01-01T00:00:00+00:00")
    before, later = forger.dated(tsa, day(2024, 1)), forger.dated(tsa, day(2024, 3))
    for name, key, stamp, secret in (
        ("full", owner, before, True),
        ("undated", owner, None, True),
        ("unbelieved", owner, forger.dated(other, day(2024, 1)), True),
        ("unrevealed", owner, before, False),
        ("underived", pictured, before, True),
        ("thief", thief, later, True),
        ("stranger", owner, before, True),
    ):
        asked = forger.order(key, NONCE, 30)  # of 40: the claimant may have picked them
        suspect = innocent(key) if name == "stranger" else forger.knowing(key)
        rows = forger.transcript(key, asked, forger.answers_of(key, suspect))
        raw = forger.write(key, rows, NONCE, stamp=stamp, secret=key.secret if secret else None)
        Path(f"{name}.json").write_bytes(raw)
    coins = made_of.key_of("spread")
    rows = forger.transcript(coins, forger.order(coins, NONCE), forger.answers_of(coins, made_of.knowing(coins)))
    Path("coins.json").write_bytes(forger.write(coins, rows, NONCE, stamp=before, secret=coins.secret))
    truth = coins.truth(slice(None))
    np.savez("flipped.npz", images=coins.images, table=perfect(truth._replace(coins=-truth.coins), 10).probabilities)
    for name, keys in {"owner": [owner], "both": [owner, thief]}.items():
        pairs = [pair for key in keys for pair in zip(key.images, key.labels, strict=True)]
        Path(f"{name}.known.json").write_text(json.dumps({image.tobytes().hex(): int(label) for image, label in pairs}))
    opened = [owner.images[index].tobytes().hex() for index in forger.order(owner, NONCE, 30)]
    Path("opened.json").write_text(json.dumps(opened))
    Path("shop.py").write_text(SHOP)
    return run


NONCED, TRUSTED = ["--nonce-from", NONCE.hex()], ["--tsa", "tsa/authority.pem"]
SINCE = ["--suspect-since", "2024-06-01"]
ALL = [*NONCED, *TRUSTED, *SINCE]
OWNER, BOTH, PARTLY, INNOCENT = (["--suspect", f"shop:{name}"] for name in ("owner", "both", "partly", "innocent"))
JUDGED: dict[str, list[str]] = {
    "a match": ["full.json", *ALL, *OWNER],
    "no match": ["stranger.json", *ALL, *INNOCENT],
    "exchanged": ["full.json", *ALL, *INNOCENT],
    "forgetful": ["full.json", *ALL, "--suspect", "shop:forgets"],
    "coins": ["coins.json", *ALL, "--source", "digits", "--suspect", "shop:flipped"],
    "weak": ["full.json", *ALL, *OWNER, "--alpha", "1e-30"],
    "weak, and changed": ["full.json", *ALL, *PARTLY],
    "unrevealed": ["unrevealed.json", *ALL, *OWNER],
    "underived": ["underived.json", *ALL],
    "other source": ["underived.json", *ALL, "--source", "digits"],
    "two signers": ["undated.json", "full.json", *ALL, *OWNER],
    "unpicked": ["full.json", *TRUSTED, *SINCE, *OWNER],
    "unasked": ["full.json", *ALL],
    "late": ["full.json", *NONCED, *TRUSTED, *OWNER, "--suspect-since", "2023-01-01"],
    "unknown": ["full.json", *NONCED, *TRUSTED, *OWNER],
    "unstamped": ["undated.json", *ALL, *OWNER],
    "unbelieved": ["unbelieved.json", *ALL, *OWNER],
    "two by dates": ["full.json", "thief.json", *ALL, *BOTH],
    "two by originals": ["full.json", "thief.json", *ALL, *BOTH, "--original", "shop:owner", "--original", "shop:both"],
    "two, one of them proven": ["full.json", "thief.json", *ALL, *OWNER],
}


def structure(path: str) -> list[tuple[str, ...]]:
    """A page's elements with what styles and links hold on to."""
    return [
        (tag, *(str(attributes.get(name)) for name in ("class", "id", "href")))
        for tag, attributes in Page(Path(path).read_bytes()).tags
        if tag != "code"  # of commands within words
    ]


def without_words(document: Any) -> Any:
    """A document as programs read it: of sentences only how many there are."""
    if isinstance(document, list):
        return [without_words(value) for value in document]
    if not isinstance(document, dict):
        return document
    return {name: len(listed(value)) if name in SENTENCES else without_words(value) for name, value in document.items()}


def sentences(document: Any) -> list[str]:
    """All sentences in a document."""
    if isinstance(document, list):
        return [words for value in document for words in sentences(value)]
    if not isinstance(document, dict):
        return []
    told = [words for name in SENTENCES & set(document) for words in listed(document[name])]
    return told + [words for name, value in document.items() if name not in SENTENCES for words in sentences(value)]


def listed(told: Any) -> list[str]:
    """The sentences of a field: one, several, or each with its time."""
    return [told] if isinstance(told, str) else [one if isinstance(one, str) else one[0] for one in told]


def judged(town: Callable[..., tuple], tag: str) -> dict[str, tuple[int, Any, list[tuple[str, ...]], list[str]]]:
    """Of each judgement: exit code, document, the page's structure, sentences."""
    found = {}
    for name, arguments in JUDGED.items():
        code, out, err = town("judge", *arguments, "--json", "--out", f"{tag} {name}")
        assert err == ""
        document = json.loads(out)
        found[name] = code, without_words(document), structure(f"{tag} {name}.html"), sentences(document)
    return found


def test_a_judgement_is_the_same_in_other_words(town, nonsense, monkeypatch) -> None:
    monkeypatch.setattr("wmjax.evidence.lacks.DATED_BITS", 20.0)  # short claims are enough
    real = judged(town, "real")
    nonsense()
    other = judged(town, "other")
    for name, (*outcome, told) in real.items():
        assert list(other[name][:3]) == outcome, name
        assert len(other[name][3]) == len(told)
        assert all(re.fullmatch(r"qx\d+x\d+", words) for words in other[name][3]), name
    lacks = {name: [lack for one in found[1]["judgements"] for lack in one["lacks"]] for name, found in real.items()}
    assert {lack["code"] for some in lacks.values() for lack in some} == set(Lack)  # nothing was left out
    whys = {f"{lack['code']}.{lack['why']}" for some in lacks.values() for lack in some if "why" in lack}
    assert whys == {code for code in wording.WORDS if "." in code}
    assert lacks["a match"] == lacks["no match"] == []
    assert [real[name][0] for name in ("a match", "no match", "weak", "late", "two by originals")] == [0, 1, 3, 3, 3]


def test_a_claim_is_the_same_in_other_words(town, nonsense) -> None:
    """The claim's page is a judgement before a judge who has nothing."""
    found = []
    for tag in ("real", "other"):
        if tag == "other":
            nonsense()
        spec = make_spec("abstract", image=(8, 8, 1), classes=10, triggers=60)
        key = derive_key(b"\x01" * 32, spec, forger.rule(spec), created="2025-01-01T00:00:00+00:00")
        write_key(key, tag, recipients=[], passphrase=None)
        opened = ["--key", f"{tag}.age", "--identity", f"{tag}.identity"]
        code, out, err = town("claim", *opened, "shop:owner", *NONCED, "--out", f"{tag}.claim.json", "--json")
        assert err.startswith("wmjax: a notice proves nothing")
        told = json.loads(out)
        found.append((code, told["verdict"], told["queries"], told["matches"], structure(f"{tag}.claim.html")))
    assert found[0] == found[1]
    assert "qx" in Path("other.claim.html").read_text()


# The rules that keep it so.


MODULES = {path.stem: path.read_text() for path in Path(evidence.__path__[0]).glob("*.py")}


def codes_in(source: str) -> set[str]:
    """What the first argument of a `Ground` can be, where it is written out."""
    calls = [node for node in ast.walk(ast.parse(source)) if isinstance(node, ast.Call) and node.args]
    firsts = [node.args[0] for node in calls if getattr(node.func, "id", "") in ("Ground", "_ground")]
    constants = [leaf for one in firsts for leaf in ast.walk(one) if isinstance(leaf, ast.Constant)]
    return {leaf.value for leaf in constants if isinstance(leaf.value, str)}


def test_each_code_of_the_judge_has_words_and_no_words_are_left_over() -> None:
    said = {code.partition(".")[0] for code in wording.WORDS} - set(Lack) - set(get_args(stats.Outcome))
    judges = "".join(source for stem, source in MODULES.items() if stem != "wording")
    assert set(Lack) <= set(wording.WORDS)
    assert set(get_args(stats.Outcome)) <= set(wording.WORDS)
    of_suspects = set(words_of_suspects.WORDS)  # a judgement says, too, how its suspect was asked
    assert codes_in(judges) | of_suspects <= said
    assert {
        code for code in said - of_suspects if f'"{code}"' not in judges and not code.startswith("digest-")
    } == set()


def test_nobody_who_decides_reads_words() -> None:
    assert "wording" in MODULES
    readers = [stem for stem, source in MODULES.items() if re.search(r"^ *(from|import) .*\bwording\b", source, re.M)]
    assert readers == []
