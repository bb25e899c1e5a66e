"""A journal that was damaged or edited: refused with one line, or without effect; never other verdicts."""

import base64
import copy
import dataclasses
import hashlib
import json
import os
import random
import shutil
import subprocess
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import audit_worker as worker
import journals
import numpy as np
import pytest
from refusals import assert_refused

from wmjax import chain, journal
from wmjax.errors import AccessError, InvalidFile, UsageError
from wmjax.keys import Key
from wmjax.zoo.merge import merge
from wmjax.zoo.result import MATCH, AuditResult

Lines = list[dict[str, Any]]


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The journal of an audit of three chunks of four models and five keys, some of each verdict."""
    keys, logits = worker.mixed()
    zoo, out = worker.zoo(logits), tmp_path_factory.mktemp("whole")
    worker.audited(zoo, keys, out=out, memory=worker.portions(zoo, 4))
    return out / "journal-1-of-1.jsonl"


@pytest.fixture(scope="module")
def other(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """That of another audit, of the same models with other answers."""
    keys, logits = worker.mixed()
    zoo, out = worker.zoo(logits[::-1]), tmp_path_factory.mktemp("other")
    worker.audited(zoo, keys, out=out, memory=worker.portions(zoo, 4), fdr=0.02)
    return out / "journal-1-of-1.jsonl"


def refused(path: Path, expected: AuditResult) -> bool:
    """Whether a journal is refused in one line; else its verdicts must be the expected ones."""
    try:
        found = merge(path.parent)
    except (InvalidFile, UsageError) as error:
        return "\n" not in str(error)
    worker.assert_same(found, expected)
    return False


def test_a_chain_is_checked_with_a_shell(whole: Path, tmp_path: Path) -> None:
    """By the lines that `wmjax.chain` gives."""
    if not (shutil.which("bash") and shutil.which("sha256sum")):
        pytest.skip("no shell with sha256sum")
    import wmjax.chain

    script = wmjax.chain.__doc__.split("In a shell:\n")[1].split("\n\nSo ")[0]
    raw = whole.read_bytes()
    for text, told in ((raw, 0), (raw.replace(b'"matches":[[', b'"matches":[ [', 1), 3)):
        (tmp_path / "journal-1-of-1.jsonl").write_bytes(text)
        done = subprocess.run(["bash", "-c", script], cwd=tmp_path, capture_output=True, text=True, check=True)
        assert done.stdout.count("damaged") == told


def test_a_line_without_an_end_is_read_to_a_bound(whole: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A hostile one would fill the memory: a file of zeros takes no room on a disk."""
    monkeypatch.setattr(chain, "LONGEST", max(map(len, whole.read_bytes().splitlines(keepends=True))))
    path = tmp_path / "journal-1-of-1.jsonl"
    shutil.copy(whole, path)
    merge(tmp_path)
    with path.open("ab") as file:
        file.truncate(path.stat().st_size + chain.LONGEST + 1)
    assert_refused(lambda: merge(tmp_path), f"^{path} is damaged: start afresh")
    assert_refused(lambda: journal.outline(path), f"^{path} is damaged")


def test_a_pipe_is_not_waited_for(tmp_path: Path) -> None:
    os.mkfifo(path := tmp_path / "journal-1-of-1.jsonl")
    for read in (lambda: merge(tmp_path), lambda: journal.outline(path)):
        assert_refused(read, f"^cannot read {path}: not a regular file$", AccessError)


def test_each_line_holds_the_digest_of_all_before(whole: Path) -> None:
    link = ""
    for line in whole.read_text().splitlines():
        content, own = line.rsplit(',"sha256":', 1)
        link = hashlib.sha256((link + content).encode()).hexdigest()
        assert own == f'"{link}"}}'


def test_bytes_changed_dropped_added_and_moved(whole: Path, tmp_path: Path) -> None:
    rng, raw, expected = random.Random(0), whole.read_bytes(), merge(whole.parent)
    path, changed = tmp_path / "journal-1-of-1.jsonl", 0
    for _ in range(200):
        text = journals.mutated(raw, rng)
        path.write_bytes(text)
        changed += text != raw
        assert refused(path, expected) == (text != raw)
    assert changed > 150


LINES: dict[str, Callable[[list[bytes], list[bytes]], list[bytes]]] = {
    "dropped": lambda own, _: [own[0], *own[2:]],
    "the first dropped": lambda own, _: own[1:],
    "the last dropped": lambda own, _: own[:-1],
    "twice": lambda own, _: [*own[:2], own[1], *own[2:]],
    "again at the end": lambda own, _: [*own, own[1]],
    "reordered": lambda own, _: [own[0], own[2], own[1], own[3]],
    "another's header": lambda own, other: [other[0], *own[1:]],
    "another's record": lambda own, other: [own[0], other[1], *own[2:]],
    "an empty one": lambda own, _: [*own[:2], b"", *own[2:]],
    "a space before one": lambda own, _: [own[0], b" " + own[1], *own[2:]],
    "carriage returns": lambda own, _: [line + b"\r" for line in own],
    "without its link": lambda own, _: [own[0], own[1][:-77] + b"}", *own[2:]],
    "two links": lambda own, _: [own[0], own[1][:-1] + own[1][-77:], *own[2:]],
}


@pytest.mark.parametrize("what", LINES)
def test_lines_that_are_not_where_they_were_written(whole: Path, other: Path, tmp_path: Path, what: str) -> None:
    lines = LINES[what](whole.read_bytes().splitlines(), other.read_bytes().splitlines())
    path = tmp_path / "journal-1-of-1.jsonl"
    path.write_bytes(b"".join(line + b"\n" for line in lines))
    # without its last line a journal is that of an audit that was killed earlier
    expected = UsageError if what == "the last dropped" else InvalidFile
    with pytest.raises(expected):
        merge(tmp_path)


@pytest.mark.parametrize("size", [2**31, 2**63, 10**400, 1e300])
@pytest.mark.parametrize(
    ("line", "name"),
    [(0, "nulls"), (0, "tests"), (0, "chunks"), (0, "family"), (1, "chunk"), (1, "width"), (1, "seconds")]
    + [(1, name) for name in ("rows", "keys", "outcomes", "bits", "queries", "matches")],
)
def test_absurd_sizes_with_the_chain_mended(whole: Path, tmp_path: Path, line: int, name: str, size: Any) -> None:
    lines = journals.values_of(whole)
    value = lines[line][name]
    if not isinstance(value, list):
        lines[line][name] = size
    elif isinstance(value[0], list):
        value[0][0] = size
    else:
        value[0] = size
    journals.write_chained(tmp_path / "journal-1-of-1.jsonl", lines)
    with pytest.raises(InvalidFile, match="is damaged"):
        merge(tmp_path)


CONTRADICTIONS: dict[str, Callable[[dict[str, Any]], object]] = {
    "a match without evidence": lambda record: pick(record, 3, "bits", 2.0),
    "a no-match with evidence": lambda record: pick(record, 1, "bits", 30.0),
    "a no-match called a match": lambda record: pick(record, 1, "outcomes", 3),
    "a match called a no-match": lambda record: pick(record, 3, "outcomes", 1),
    "a match called inconclusive": lambda record: pick(record, 3, "outcomes", 2),
    "a pair that was never asked": lambda record: pick(record, 1, "queries", 0),
    "more queries than triggers": lambda record: pick(record, 1, "queries", 500),
    "more matches than queries": lambda record: pick(record, 1, "matches", 400),
    "more evidence than answers can give": lambda record: pick(record, 3, "bits", 1e4),
    "a curve that ends elsewhere": lambda record: record["curves"][0][2].__setitem__(-1, 0.5),
    "a curve of fewer answers": lambda record: record["curves"][0][2].pop(0),
    "a curve without answers": lambda record: record["curves"][0][2].clear(),
    "no curve of a match": lambda record: record["curves"].clear(),
    "no digest of what matched": lambda record: record["digests"].clear(),
    "a digest of what did not match": lambda record: record["digests"].update(dict.fromkeys("0123", "0" * 64)),
    "a model that disappeared": lambda record: [record[name].pop() for name in ("rows", *TABLES)],
    "keys that it was not asked": lambda record: record["keys"].reverse(),
}
TABLES = ("outcomes", "bits", "queries", "matches")


def pick(record: dict[str, Any], outcome: int, table: str, value: float) -> None:
    """Sets a figure of the first pair with this outcome."""
    places = [(i, k) for i, row in enumerate(record["outcomes"]) for k, found in enumerate(row) if found == outcome]
    record[table][places[0][0]][places[0][1]] = value


@pytest.mark.parametrize("what", CONTRADICTIONS)
def test_figures_that_contradict_each_other_with_the_chain_mended(whole: Path, tmp_path: Path, what: str) -> None:
    lines = journals.values_of(whole)
    CONTRADICTIONS[what](lines[1])
    journals.write_chained(tmp_path / "journal-1-of-1.jsonl", lines)
    with pytest.raises(InvalidFile, match="is damaged"):
        merge(tmp_path)


def test_a_part_that_is_there_twice_with_the_chain_mended(whole: Path, tmp_path: Path) -> None:
    lines = journals.values_of(whole)
    changed = copy.deepcopy(lines[1])
    pick(changed, 1, "matches", 0)  # nothing contradicts it
    journals.write_chained(tmp_path / "journal-1-of-1.jsonl", [*lines, changed])
    with pytest.raises(InvalidFile, match="part 1 is there twice"):
        merge(tmp_path)
    journals.write_chained(tmp_path / "journal-1-of-1.jsonl", lines)
    journals.write_chained(tmp_path / "journal-2-of-2.jsonl", [lines[0], changed])
    with pytest.raises(InvalidFile, match=r"journal-2-of-2\.jsonl contradicts another journal about part 1"):
        merge(tmp_path)
    journals.write_chained(tmp_path / "journal-2-of-2.jsonl", [lines[0], lines[1] | {"seconds": 5.0, "width": 4}])
    worker.assert_same(merge(tmp_path), merge(whole.parent))


def test_the_journal_of_this_test_has_every_verdict(whole: Path) -> None:
    found = json.dumps([row for record in journals.values_of(whole)[1:] for row in record["outcomes"]])
    assert all(outcome in found for outcome in "123")


# Answers that are kept ------------------------------------------------------------------------------------------------


@dataclasses.dataclass
class Kept:
    """An audit whose journal keeps answers, in scores and for a ranked key too, and what it found."""

    path: Path
    keys: dict[str, Key]
    found: AuditResult


@pytest.fixture(scope="module")
def kept(tmp_path_factory: pytest.TempPathFactory) -> Kept:
    out = tmp_path_factory.mktemp("kept")
    keys, logits = worker.mixed()
    keys |= {"fixed": worker.keys((20,), seed=3, labels="fixed")["k0"]}
    zoo = worker.zoo(logits)
    options: dict[str, Any] = {"nulls": worker.zoo(logits[:3], "null"), "memory": worker.portions(zoo, 4)}
    found = worker.audited(zoo, keys, out=out, keep_answers=True, **options)
    return Kept(out / "journal-1-of-1.jsonl", keys, found)


def test_kept_answers_give_the_same_verdicts_again(kept: Kept) -> None:
    without = merge(kept.path.parent)
    again = merge(kept.path.parent, {f"other {name}": key for name, key in kept.keys.items()})
    assert (kept.found.basis, without.basis, again.basis) == ("asked-now", "as-written", "replayed")
    worker.assert_same(again, kept.found)
    worker.assert_same(without, kept.found)
    assert {1, 2, 3} == set(kept.found.outcomes.ravel().tolist())


def test_figures_that_were_edited(kept: Kept, tmp_path: Path) -> None:
    """Edits that contradict nothing. Without the keys they stand, and the result says that it believes them.

    With the keys nothing counts that was written without them, and nothing that does not follow, whoever wrote it.
    """
    path = tmp_path / "journal-1-of-1.jsonl"
    lines = journals.values_of(kept.path)
    for edit in (made_a_match, lambda record: pick(record, 1, "matches", 0), swapped, another_curve):
        edited = copy.deepcopy(lines)
        edit(edited[1])
        assert edited != lines
        journals.write_chained(path, edited)
        believed = merge(tmp_path)
        assert believed.basis == "as-written"
        assert (np.sum(believed.outcomes == MATCH) > np.sum(kept.found.outcomes == MATCH)) == (edit is made_a_match)
        with pytest.raises(InvalidFile, match=r"was changed by somebody who did not hold the keys"):
            merge(tmp_path, kept.keys)
        journals.write_chained(path, edited, kept.keys)
        with pytest.raises(InvalidFile, match=r"figures of part 1 do not follow from its answers"):
            merge(tmp_path, kept.keys)


def test_parts_and_names_exchanged(whole: Path, kept: Kept, tmp_path: Path) -> None:
    """Figures and answers of other models: only that who wrote them held the keys tells."""

    def parts(lines: Lines) -> None:
        lines[1]["chunk"], lines[2]["chunk"] = lines[2]["chunk"], lines[1]["chunk"]

    def names(lines: Lines) -> None:
        lines[0]["models"][:2] = lines[0]["models"][1::-1]

    for path, keys in ((whole, worker.mixed()[0]), (kept.path, kept.keys)):
        assert merge(path.parent, keys).basis in ("with-keys", "replayed")
        for exchange in (parts, names):
            edited = journals.values_of(path)
            exchange(edited)
            journals.write_chained(tmp_path / "journal-1-of-1.jsonl", edited)
            assert not np.array_equal(merge(tmp_path).bits, merge(path.parent).bits) or exchange is names
            with pytest.raises(InvalidFile, match=r"was changed by somebody who did not hold the keys"):
                merge(tmp_path, keys)


def test_nothing_that_was_written_without_the_keys_is_resumed(whole: Path, tmp_path: Path) -> None:
    """Not a single line more or less, and none without its `mac`; nothing new is written behind them."""
    keys, logits = worker.mixed()
    zoo, path = worker.zoo(logits), tmp_path / "journal-1-of-1.jsonl"
    lines, other = journals.values_of(whole), {"k": worker.keys((7,), seed=9)["k0"]}
    for writer, kept_lines in ((None, lines), (None, lines[:1]), (other, lines)):
        journals.write_chained(path, kept_lines, writer)
        before = path.read_bytes()
        with pytest.raises(InvalidFile, match=r"was changed by somebody who did not hold the keys: start afresh"):
            worker.audited(zoo, keys, out=tmp_path, memory=worker.portions(zoo, 4), resume=True)
        assert path.read_bytes() == before
    journals.write_chained(path, lines[:2], keys)
    resumed = worker.audited(zoo, keys, out=tmp_path, memory=worker.portions(zoo, 4), resume=True)
    assert resumed.basis == "with-keys"
    worker.assert_same(resumed, merge(whole.parent))


def made_a_match(record: dict[str, Any]) -> None:
    """The first pair that is a no-match becomes a match of as many questions."""
    row, column = next((i, k) for i, found in enumerate(record["outcomes"]) for k, one in enumerate(found) if one == 1)
    asked = record["queries"][row][column]
    for table, value in (("outcomes", 3), ("bits", 25.0), ("matches", asked)):
        record[table][row][column] = value
    record["curves"].append([row, column, [0.0] * (asked - 1) + [25.0]])


def swapped(record: dict[str, Any]) -> None:
    """Two models change places, with all that is said of them."""
    for table in TABLES:
        record[table][:2] = record[table][1::-1]
    record["curves"] = [[1 - row if row < 2 else row, *rest] for row, *rest in record["curves"]]


def another_curve(record: dict[str, Any]) -> None:
    record["curves"][0][2][0] += 0.5


def test_answers_that_cannot_be_kept_ones(kept: Kept, tmp_path: Path) -> None:
    def packed(raw: bytes) -> str:
        return base64.b64encode(zlib.compress(raw)).decode()

    lines = journals.values_of(kept.path)
    total = sum(sum(row) for row in lines[1]["queries"])
    for answers in (
        None,
        {},
        {"labels": "?", "scores": None},
        {"labels": packed(b"1"), "scores": None},
        {"labels": base64.b64encode(b"no zlib").decode(), "scores": None},
        {"labels": packed(bytes(4 * total + 4)), "scores": None},
        {"labels": packed(bytes(1 << 24)), "scores": None},
        {"labels": packed(b"\0\0\x20" + bytes(4 * total - 3)), "scores": None},  # 2**21 is no class and no name
        {"labels": packed(bytes(4 * total)), "scores": packed(bytes(40 * total))},  # probabilities that add up to 0
        {"labels": packed(bytes(4 * total)), "scores": packed(b"\xff" * 40 * total)},  # NaN
    ):
        edited = copy.deepcopy(lines)
        edited[1]["answers"] = answers
        journals.write_chained(tmp_path / "journal-1-of-1.jsonl", edited)
        with pytest.raises(InvalidFile, match="is damaged"):
            merge(tmp_path)


def test_an_audit_that_keeps_answers_is_resumed_on_them(kept: Kept, tmp_path: Path) -> None:
    keys, logits = worker.mixed()
    zoo, path = worker.zoo(logits), tmp_path / "journal-1-of-1.jsonl"
    options: dict[str, Any] = {"memory": worker.portions(zoo, 4), "out": tmp_path}
    whole = worker.audited(zoo, keys, keep_answers=True, **options)
    lines = journals.values_of(path)
    journals.write_chained(path, lines[:3], keys)
    resumed = worker.audited(zoo, keys, keep_answers=True, resume=True, **options)
    assert resumed.basis == "replayed"
    worker.assert_same(resumed, whole)
    with pytest.raises(InvalidFile, match="began with other keep_answers"):
        worker.audited(zoo, keys, resume=True, **options)
    pick(lines[1], 1, "matches", 0)
    journals.write_chained(path, lines[:3], keys)
    with pytest.raises(InvalidFile, match=r"figures of part 1 do not follow from its answers"):
        worker.audited(zoo, keys, keep_answers=True, resume=True, **options)
    with pytest.raises(UsageError, match="`keys`: k0, which the audit asked about, is not among them"):
        merge(kept.path.parent, {"k1": keys["k1"]})
    with pytest.raises(InvalidFile, match="the audit asked about none of the 1 keys in `keys`"):
        merge(kept.path.parent, worker.keys((7,), seed=8))


def test_what_is_kept_is_what_was_answered(kept: Kept) -> None:
    """Against the tables that answered: each pair's labels, in the order of its triggers."""
    _, logits = worker.mixed()
    record = journals.values_of(kept.path)[1]
    labels = np.frombuffer(zlib.decompress(base64.b64decode(record["answers"]["labels"])), "<i4").tolist()
    starts = np.cumsum([0, *worker.SIZES])
    for row, place in enumerate(record["rows"]):
        for column, asked in enumerate(record["queries"][row]):
            start = starts[column] if column < len(worker.SIZES) else 0  # the ranked key has the first one's images
            expected = logits[place].argmax(axis=1)[start : start + asked].tolist()
            assert [labels.pop(0) for _ in range(asked)] == expected
    assert labels == []
