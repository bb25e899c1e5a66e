"""The journal of an audit, what a kill or a full disk leaves of it, and shards."""

import dataclasses
import errno
import itertools
import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import audit_worker as worker
import journals
import pytest

from wmjax import journal
from wmjax.errors import AccessError, InvalidFile, UsageError
from wmjax.zoo.book import JOURNAL
from wmjax.zoo.header import AuditHeader
from wmjax.zoo.merge import merge
from wmjax.zoo.records import Unreadable, Zoo
from wmjax.zoo.replay import secret_of
from wmjax.zoo.result import AuditResult


@dataclasses.dataclass
class Audit:
    """An audit of six chunks of two models each, and what it found."""

    out: Path
    expected: AuditResult

    def run(self, **options: Any) -> AuditResult:
        keys, logits = worker.mixed()
        zoo = worker.zoo(logits)
        zoo.unreadable.append(Unreadable("x.pt", "a pickle"))
        zoo.entries[5] = dataclasses.replace(zoo.entries[5], digest="0" * 64)
        return worker.audited(zoo, keys, memory=worker.portions(zoo, 2), **{"out": self.out, **options})

    @property
    def path(self) -> Path:
        return self.out / "journal-1-of-1.jsonl"


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Audit:
    audit = Audit(tmp_path_factory.mktemp("whole"), None)  # type: ignore[arg-type]
    audit.expected = audit.run()
    assert audit.path.read_bytes().count(b"\n") == 7
    assert ("m005", "its weights are not those that were packed: their digests differ") in worker.unreadable(
        audit.expected
    )
    return audit


@pytest.fixture
def audit(whole: Audit, tmp_path: Path) -> Audit:
    return Audit(tmp_path, whole.expected)


def header_of(raw: bytes) -> AuditHeader:
    """What a journal begins with."""
    values = json.loads(raw.splitlines()[0])
    assert values.pop("format") == JOURNAL.format
    del values["mac"], values["sha256"]
    return AuditHeader.from_json(values)


def test_a_journal_changes_nothing(audit: Audit) -> None:
    worker.assert_same(audit.run(out=None), audit.expected)


def test_cut_anywhere(whole: Audit, audit: Audit) -> None:
    """The journal of an audit killed at any byte; whole lines stay, and going on ends the same."""
    raw = whole.path.read_bytes()
    ends = [i + 1 for i, byte in enumerate(raw) if byte == ord("\n")]
    keys = worker.mixed()[0]
    secret = secret_of(list(keys.values()))
    journals.write_chained(audit.path, [journals.values_of(whole.path)[i] for i in (0, -1)], keys)
    last = audit.path.read_bytes()
    began = header_of(raw)
    for length in (*range(0, ends[0], 99), *range(ends[0] - 1, len(last), 50), *range(len(last) - 30, len(last) + 1)):
        audit.path.write_bytes(last[:length])
        book = journal.begin(audit.path, JOURNAL, began, resume=True, secret=secret)
        book.close()
        assert len(book.records.chunks) == (length == len(last))
        assert audit.path.read_bytes() == (last if length == len(last) else raw[: ends[0]])
    for length in (0, ends[0] - 1, ends[0] + 1, ends[3] - 1, ends[5], len(raw) - 1, len(raw)):
        audit.path.write_bytes(raw[:length])
        worker.assert_same(audit.run(resume=True), audit.expected)


@pytest.mark.parametrize("after", [0, 1, 5])
def test_interrupted(audit: Audit, monkeypatch: pytest.MonkeyPatch, after: int) -> None:
    add, count = journal.Journal.add, itertools.count()

    def interrupted(self: journal.Journal, *lines: Any) -> None:
        if next(count) == after:
            raise KeyboardInterrupt
        add(self, *lines)

    with monkeypatch.context() as patch:
        patch.setattr(journal.Journal, "add", interrupted)
        with pytest.raises(KeyboardInterrupt):
            audit.run()
    worker.assert_same(audit.run(resume=True), audit.expected)


@pytest.mark.parametrize("room", [0, 100, 5000, 9000])
def test_a_full_disk(whole: Audit, audit: Audit, monkeypatch: pytest.MonkeyPatch, room: int) -> None:
    raw, write, left = whole.path.read_bytes(), os.write, [room]
    assert room < len(raw)

    def fill(descriptor: int, data: bytes) -> int:
        if not left[0]:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        count = write(descriptor, data[: left[0]])
        left[0] -= count
        return count

    with monkeypatch.context() as patch:
        patch.setattr(os, "write", fill)
        with pytest.raises(AccessError, match=r"journal-1-of-1.jsonl: No space left.*`resume`") as caught:
            audit.run()
    assert "\n" not in str(caught.value)
    there = audit.path.read_bytes()
    assert there == b"" or there.endswith(b"\n")
    worker.assert_same(audit.run(resume=True), audit.expected)


def test_what_is_no_resumption(whole: Audit) -> None:
    before = whole.path.read_bytes()
    keys, logits = worker.mixed()
    zoo, out = worker.zoo(logits), whole.out
    zoo.unreadable.append(Unreadable("x.pt", "a pickle"))
    fewer = dict(list(keys.items())[:4])
    others = keys | {"k0": worker.keys((7,), seed=8)["k0"]}
    memory = worker.portions(zoo, 2)
    for found, asked, options, what in (
        (Zoo(zoo.entries[1:], []), keys, {}, "models"),
        (zoo, fewer, {}, "keys"),
        (zoo, others, {}, "keys"),
        (zoo, keys, {"fdr": 0.02}, "level"),
        (zoo, keys, {"fwer": 0.01}, "level"),
        (zoo, keys, {"nulls": worker.zoo(logits[:2], "null")}, "models"),
    ):
        with pytest.raises(InvalidFile, match=f"journal-1-of-1.jsonl began with other {what}: "):
            worker.audited(found, asked, out=out, resume=True, **{"memory": memory} | options)
    with pytest.raises(UsageError, match="already exists: use `resume` to continue"):
        whole.run()
    book = journal.begin(whole.path, JOURNAL, header_of(before), resume=True)
    with pytest.raises(UsageError, match="is being written by another process"):
        whole.run(resume=True)
    book.close()
    assert whole.path.read_bytes() == before


@pytest.mark.parametrize("line", [0, 2])
@pytest.mark.parametrize(
    "damage", [lambda raw: raw[:50] + raw[51:], lambda raw: b"\xff", lambda raw: b"[1]", lambda raw: b"{}"]
)
def test_a_damaged_journal(whole: Audit, audit: Audit, line: int, damage: Callable[[bytes], bytes]) -> None:
    lines = whole.path.read_bytes().splitlines()
    lines[line] = damage(lines[line])
    audit.path.write_bytes(b"\n".join([*lines, b""]))
    for go_on in (lambda: audit.run(resume=True), lambda: merge([audit.out])):
        with pytest.raises(InvalidFile, match=r"journal-1-of-1\.jsonl") as caught:
            go_on()
        assert "\n" not in str(caught.value)


HEADER_DAMAGE: list[Callable[[Any], object]] = [
    lambda values: values.update(nulls=13),
    lambda values: values.update(nulls=-1),
    lambda values: values.update(nulls=True),
    lambda values: values.update(more=1),
    lambda values: values.pop("weights"),
    lambda values: values.update(models=values["models"][1:]),
    lambda values: values.update(models="m"),
    lambda values: values.update(keys=[]),
    lambda values: values["keys"][0].update(name=3),
    lambda values: values["keys"][0]["commitment"].update(created="2020-01-01T00:00:00+00:00"),
    lambda values: values["keys"][0]["commitment"]["rule"].update(alpha=2.0),
    lambda values: values["family"].__setitem__(0, 1),
    lambda values: values["families"][0].update(note="{0.__class__}"),
    lambda values: values["families"][0].update(note=["pixels-own"]),
    lambda values: values["families"][0].update(image=[1, 2]),
    lambda values: values.update(families=[]),
    lambda values: values["level"].update(value=float("nan")),
    lambda values: values["level"].update(name="pfer"),
    lambda values: values["level"].update(value=1.0),
    lambda values: values.update(tests=1e9),
    lambda values: values["chunks"].__setitem__(0, 3),
    lambda values: values["chunks"].__setitem__(slice(2), [0, 4]),
    lambda values: values["unreadable"].append(3),
]
RECORD_DAMAGE: list[Callable[[Any], object]] = [
    lambda values: values.update(chunk=6),
    lambda values: values.update(chunk="1"),
    lambda values: values.update(chunk=10**400),
    lambda values: values.update(family="another"),
    lambda values: values.update(width=0),
    lambda values: values.update(again=None),
    lambda values: values.pop("seconds"),
    lambda values: values.update(seconds=-1.0),
    lambda values: values.update(rows=[0, 0]),
    lambda values: values.update(rows=[0, 2]),
    lambda values: values.update(rows=[0]),
    lambda values: values.update(keys=[0, 1, 2, 3, 5]),
    lambda values: values["outcomes"][0].__setitem__(0, 4),
    lambda values: values["outcomes"][0].__setitem__(0, 1.5),
    lambda values: values["outcomes"][0].pop(),
    lambda values: values["bits"][1].__setitem__(0, float("inf")),
    lambda values: values["bits"][1].__setitem__(0, "9"),
    lambda values: values["queries"][0].__setitem__(0, -1),
    lambda values: values["queries"][0].__setitem__(0, 2**40),
    lambda values: values["matches"][0].__setitem__(0, [1]),
    lambda values: values["curves"].append([0, 9, [1.0]]),
    lambda values: values["curves"].append([0, 0]),
    lambda values: values["curves"].append([0, 0, [None]]),
    lambda values: values["failures"].update({"0": "why"}),
    lambda values: values["failures"].update({"x": "why"}),
    lambda values: values["failures"].update({"7": "why"}),
    lambda values: values["digests"].update({"0": "abc"}),
]


@pytest.mark.parametrize(("line", "damage"), [(0, d) for d in HEADER_DAMAGE] + [(2, d) for d in RECORD_DAMAGE])
def test_what_no_audit_wrote_is_damage(whole: Audit, audit: Audit, line: int, damage: Callable[[Any], object]) -> None:
    """Every line is JSON of the right names, and the chain is whole; its form or range cannot be."""
    lines = journals.values_of(whole.path)
    damage(lines[line])
    journals.write_chained(audit.path, lines)
    for go_on in (lambda: audit.run(resume=True), lambda: merge([audit.out])):
        with pytest.raises(InvalidFile, match=r"journal-1-of-1\.jsonl is damaged: start afresh") as caught:
            go_on()
        assert "\n" not in str(caught.value)


def test_where_no_journal_can_be(audit: Audit) -> None:
    (audit.out / "file").touch()
    with pytest.raises(AccessError, match=r"cannot write .*journal-1-of-1\.jsonl"):
        audit.run(out=audit.out / "file" / "within")


# Shards ---------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("folders", [1, 3])
def test_shards_together_are_the_whole(audit: Audit, folders: int) -> None:
    outs = [audit.out / str(i % folders) for i in range(3)]
    models = [model for i, out in enumerate(outs) for model in audit.run(out=out, shard=(i + 1, 3)).models]
    assert sorted(models) == audit.expected.models
    worker.assert_same(merge(sorted(set(outs))), audit.expected)
    if folders == 1:
        worker.assert_same(merge(str(outs[0])), audit.expected)
    (outs[1] / "journal-2-of-3.jsonl").unlink()
    with pytest.raises(UsageError, match=r"2 of 6 parts are not done|holds no journal"):
        merge(sorted(set(outs)))


def test_more_shards_than_parts(audit: Audit) -> None:
    for i in range(8):
        assert len(audit.run(shard=(i + 1, 8)).models) <= 2
    worker.assert_same(merge([audit.out]), audit.expected)


def test_a_shard_looks_at_how_the_others_began_alone(audit: Audit, tmp_path: Path) -> None:
    """Reading each other's records would take as long as reading the whole audit, on every host."""
    audit.run(shard=(1, 2))
    path = audit.out / "journal-1-of-2.jsonl"
    lines = path.read_bytes().splitlines(keepends=True)
    path.write_bytes(b"".join([lines[0], b"{}\n", *lines[2:]]))
    audit.run(shard=(2, 2))
    with pytest.raises(InvalidFile, match="is damaged"):
        merge([audit.out])
    for start, told in {
        lines[0].replace(b'"tests":', b'"tests":1'): "journal-1-of-2.jsonl is damaged",
        journals.chained([{**journals.lines_of(lines[0])[0], "format": "other/1"}]): "format 'other/1', expected",
        journals.chained(
            [{**journals.lines_of(lines[0])[0], "weights": "0"}]
        ): "of an audit with other weights: choose",
    }.items():
        path.write_bytes(start + lines[1])
        with pytest.raises(InvalidFile, match=told):
            audit.run(shard=(2, 2), resume=True)
    path.write_bytes(lines[0][:-1])  # it is just being begun
    audit.run(shard=(2, 2), resume=True)


def test_what_cannot_be_merged(audit: Audit, tmp_path: Path) -> None:
    keys, logits = worker.mixed()
    audit.run(shard=(1, 2), out=tmp_path / "a")
    worker.audited(worker.zoo(logits), keys, out=tmp_path / "b", shard=(2, 2))
    with pytest.raises(InvalidFile, match=r"b/journal-2-of-2.jsonl is not of the audit that .*a/journal-1-of-2.jsonl"):
        merge([tmp_path / "a", tmp_path / "b"])
    with pytest.raises(UsageError, match="3 of 6 parts are not done: finish all shards with `resume`"):
        merge([tmp_path / "a"])
    with pytest.raises(UsageError, match="holds no journal of an audit"):
        merge([tmp_path])
    with pytest.raises(UsageError, match="`folders` is empty"):
        merge([])
    (tmp_path / "a" / "journal-1-of-2.jsonl").write_bytes(b'{"format":')
    with pytest.raises(UsageError, match="a: no journal was begun"):
        merge([tmp_path / "a"])


@pytest.mark.parametrize("shard", [(0, 2), (3, 2), (1, 0), (-1, -1)])
def test_shards_that_cannot_be(audit: Audit, shard: tuple[int, int]) -> None:
    with pytest.raises(UsageError, match=f"`shard` {shard[0]}/{shard[1]}"):
        audit.run(shard=shard)
