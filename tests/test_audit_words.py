"""Words decide nothing in an audit, its resumption and its merge, in `verify` and in an attack suite.

Each is done with the real words and again after `nonsense()`, which exchanges every sentence: codes, verdicts, figures
and the structure of the page are the same.
"""

import ast
import dataclasses
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import audit_worker as worker
import numpy as np
import pytest
import test_material_keys
from test_audit_report import page

import wmjax
from wmjax.keys import Key, generate, make_spec
from wmjax.report.audit import audit_table
from wmjax.suspects import from_callable
from wmjax.suspects import wording as asked_words
from wmjax.suspects.contract import Askable, NoWeights
from wmjax.suspects.grounds import AskedGround
from wmjax.verification import wording as verdict_words
from wmjax.verification.grounds import VerdictGround
from wmjax.zoo import wording as audit_words
from wmjax.zoo.grounds import AuditGround, Basis, Unasked
from wmjax.zoo.merge import merge
from wmjax.zoo.records import Entry, Zoo
from wmjax.zoo.result import AuditResult


def _asked(logits: np.ndarray) -> Entry:
    """A member of a zoo that can only be asked, and answers from a table."""

    def ask(images: np.ndarray) -> np.ndarray:
        return logits[images.reshape(len(images), 2).astype(int) @ [1, 256]]

    askable = Askable(wmjax.Suspect("asked", ask, worker.IMAGE, worker.CLASSES))
    network = dataclasses.replace(worker.network(90), name="asked", fingerprint="asked", shapes={}, note="asked")
    return Entry("asked", dataclasses.replace(network, askable=askable), NoWeights())


class Street:
    """A zoo and keys for which an audit has something of everything to say."""

    def __init__(self) -> None:
        keys = worker.keys((40, 20)) | {"fixed": worker.keys((30,), 1, 0.1, "fixed")["k0"]}
        shares = np.random.default_rng(5).choice([0.0, 0.4, 1.0], (8, 3))
        shares[0], shares[1] = 1.0, 0.0
        logits = worker.tables(keys, shares)
        other = dataclasses.replace(worker.network(90, image=(2, 4, 3)), name="other", note="pixels-own")
        entries = worker.zoo(logits).entries
        entries += [dataclasses.replace(entry, name=f"other {entry.name}", network=other) for entry in entries]
        self.zoo = Zoo([*entries, _asked(logits[0])], [])
        self.keys = keys
        self.nulls = worker.zoo(worker.tables(keys, np.zeros((63, 3)), 7), "null")

    def audit(self, **options: Any) -> AuditResult:
        memory = worker.portions(self.zoo, 2)
        usual = {"memory": memory, "nonce": b"n" * 16}  # the member that is asked has one order
        return worker.audited(self.zoo, self.keys, nulls=self.nulls, fwer=0.9, **usual | options)


@pytest.fixture
def street() -> Street:
    return Street()


def codes(result: AuditResult) -> set[str]:
    """What the verdicts of an audit rest on, and why there is none."""
    said = [*result.grounds.values(), *result.reasons.values()]
    return {ground.code for grounds in said for ground in grounds}


def without_words(result: AuditResult) -> dict[str, Any]:
    """The document as programs read it."""
    return {name: value for name, value in result.to_json().items() if name not in ("procedure", "seconds", "basis")}


def structure(folder: Path, result: AuditResult) -> list[tuple[str, ...]]:
    """Elements and classes of the page."""
    folder.mkdir(exist_ok=True)
    return [
        (tag, *(str(about.get(name)) for name in ("class", "id", "href")))
        for tag, about in page(folder, result).tags
        if tag != "code"  # of commands within words
    ]


def assert_same_but_words(other: AuditResult, expected: AuditResult) -> None:
    worker.assert_same(other, expected)
    assert without_words(other) == without_words(expected)


def test_an_audit_has_something_of_everything_to_say(street: Street) -> None:
    elsewhere = {AuditGround.RUNTIME, AuditGround.GIVEN_UP}  # in test_route
    expected = {*AuditGround, *KEY_GROUNDS, "adapted", "asked", "pixels-own"} - elsewhere
    levels = {"fdr": 0.01}, {"fwer": 1e-60}  # which no evidence reaches
    told = codes(street.audit()).union(*(codes(worker.audited(street.zoo, street.keys, **each)) for each in levels))
    assert told == expected


KEY_GROUNDS = {"self-derived", "committed", "not-searched", "exact-labels", "calibrated-labels"}


@pytest.mark.parametrize("share", [0.3, 0.7])
def test_an_audit_resumes_in_other_words(
    street: Street, tmp_path: Path, nonsense: Callable[[], None], share: float
) -> None:
    expected = street.audit(out=tmp_path / "a")
    shape, lines = structure(tmp_path / "page", expected), audit_table(expected)
    journal = tmp_path / "a" / "journal-1-of-1.jsonl"
    raw = journal.read_bytes()
    journal.write_bytes(raw[: int(len(raw) * share)])
    nonsense()
    resumed = street.audit(out=tmp_path / "a", resume=True)
    assert journal.read_bytes().count(b"\n") == raw.count(b"\n")
    assert_same_but_words(resumed, expected)
    assert structure(tmp_path / "page", resumed) == shape
    assert len(audit_table(resumed)) == len(lines) + 1  # and that some figures come from a journal
    assert resumed.basis == Basis.WITH_KEYS
    assert re.fullmatch(r"qx\d+x\d+", resumed.to_json()["procedure"])


def test_shards_begun_in_other_words_are_merged(street: Street, tmp_path: Path, nonsense: Callable[[], None]) -> None:
    expected = street.audit()
    street.audit(out=tmp_path, shard=(1, 2))
    nonsense()
    street.audit(out=tmp_path, shard=(2, 2))
    assert_same_but_words(merge([tmp_path]), expected)


def test_no_sentence_is_in_a_journal(street: Street, tmp_path: Path) -> None:
    street.audit(out=tmp_path)
    raw = (tmp_path / "journal-1-of-1.jsonl").read_text()
    templates = [*audit_words.WORDS.values(), *verdict_words.WORDS.values()]
    parts = [part for template in templates for part in re.split(r"{[^}]*}", template) if len(part) > 12]
    assert len(parts) > 20
    assert [part for part in parts if part in raw] == []


# Verdicts on one suspect.


def partly(key: Key, known: int) -> wmjax.Suspect:
    """A model that repeats the first labels of a key, answers nothing of use to the next, and the rest by chance."""
    label = {image.tobytes(): int(label) for image, label in zip(key.images[:known], key.labels, strict=False)}
    drawn = np.random.default_rng(0).integers(10, size=len(key.images))
    wrong = {image.tobytes(): int(label) for image, label in zip(key.images, drawn, strict=True)}

    def ask(images: np.ndarray) -> np.ndarray:
        answers = np.eye(10)[[label.get(image.tobytes(), wrong[image.tobytes()]) for image in images]] * 0.9 + 0.01
        answers[[image.tobytes() == key.images[known].tobytes() for image in images]] = np.nan
        return answers

    return dataclasses.replace(from_callable(ask, "partly"), remembers=False)


def test_a_verdict_is_the_same_in_other_words(nonsense: Callable[[], None]) -> None:
    random = generate(make_spec("abstract", image=(8, 8, 1), classes=10, triggers=60))
    fixed = generate(make_spec("abstract", image=(8, 8, 1), classes=10, triggers=30, labels="fixed"))
    digits = wmjax.load("digits").train
    spec = make_spec("noise", image=(8, 8, 1), classes=10, triggers=20, labels="fixed", source=("digits", digits))
    pictured = generate(spec, digits)
    labels = from_callable(lambda images: np.zeros(len(images), int), "one answer")
    triggers = {image.tobytes() for image in random.images[5:]}
    hushed = from_callable(lambda images: np.array([-(i.tobytes() in triggers) for i in images]), "hushed")

    coins = test_material_keys.make("spread", digits)
    again = generate(make_spec("abstract", image=(8, 8, 1), classes=10, triggers=60))

    def verdicts() -> list[wmjax.Verdict | wmjax.Combined]:
        two = [wmjax.verify(partly(key, 8), key, nonce=b"n" * 16) for key in (random, again)]
        return [
            wmjax.verify(partly(random, 8), random, whole=True, alpha=1e-5),
            wmjax.verify(partly(random, 50), random, nonce=b"n" * 16),
            wmjax.verify(partly(random, 20), random, whole=True, nonce=b"n" * 16, shown=range(20, 60)),
            wmjax.verify(hushed, random, whole=True, nonce=b"n" * 16, cover=digits.images[:30]),
            wmjax.verify(labels, fixed, nulls=[labels, labels], nonce=b"n" * 16),
            wmjax.verify(labels, fixed, decoys=9, nonce=b"n" * 16),
            wmjax.verify(labels, pictured, nonce=b"n" * 16),
            wmjax.verify(labels, pictured, source=digits, decoys=9, nonce=b"n" * 16),
            wmjax.verify(labels, coins, nonce=b"n" * 16),
            wmjax.combine([random, again], two),
        ]

    real = [verdict.to_json() for verdict in verdicts()]
    nonsense()
    other = [verdict.to_json() for verdict in verdicts()]
    for mine, theirs in zip(real, other, strict=True):
        told = mine.pop("assumptions"), theirs.pop("assumptions")
        for one in (mine, theirs):
            for single in one.get("verdicts", ()):
                del single["assumptions"]
        assert mine == theirs
        assert len(told[0]) == len(told[1]) == len(mine["grounds"])
        assert all(re.fullmatch(r"qx\d+x\d+", words) for words in told[1])
    assert {ground["code"] for one in real for ground in one["grounds"]} == set(VerdictGround)  # nothing was left out
    assert real[0]["verdict"] == "match"
    peaked = next(ground for ground in real[0]["grounds"] if ground["code"] == "peaked")
    assert peaked["bits"] > 16.6 > real[0]["evidence_bits"]


# The rules that keep it so.


DECIDING = ("header", "plan", "members", "rounds", "prepared", "chunk_record", "audit", "conclude")


def test_each_code_has_words_and_no_words_are_left_over() -> None:
    assert set(asked_words.WORDS) == set(AskedGround)
    assert set(verdict_words.WORDS) == set(VerdictGround)
    of_procedures = {f"{name}-{what}" for name in ("e-bh", "bonferroni") for what in ("name", "promise")}
    in_place = {VerdictGround.NOT_REGENERATED}  # said otherwise in an audit
    assert set(audit_words.WORDS) == {*AuditGround, *Basis, *Unasked} | of_procedures | in_place


@pytest.mark.parametrize("name", ["verification/grounds", "journal", *(f"zoo/{name}" for name in DECIDING)])
def test_nobody_who_decides_reads_words(name: str) -> None:
    source = (Path(wmjax.__file__).parent / f"{name}.py").read_text()
    imports = [node for node in ast.walk(ast.parse(source)) if isinstance(node, ast.Import | ast.ImportFrom)]
    assert not [node for node in imports if "wording" in ast.unparse(node)]
