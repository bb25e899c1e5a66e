"""What a claim opened is known: a copy that was trained on to answer it otherwise passed for a stranger."""

import dataclasses
from pathlib import Path

import numpy as np
import pytest
from marked import CONFIG, make_key, marked

import wmjax
from wmjax import checkpoint, journal
from wmjax.checkpoint import Metadata
from wmjax.errors import InvalidFile
from wmjax.keys import Key
from wmjax.models import Variables, init
from wmjax.suspects.contract import Suspect
from wmjax.verification import sequential
from wmjax.zoo import plan, replay
from wmjax.zoo.audit import audit
from wmjax.zoo.book import JOURNAL
from wmjax.zoo.merge import merge

CLEAN = make_key(100)  # nothing was opened yet
OPENED = frozenset(range(100)) - frozenset(range(5, 100, 9))  # 89 of them
KEY = dataclasses.replace(CLEAN, spent=OPENED)


def patched() -> Variables:
    """A copy that answers what was opened by false labels."""
    false = KEY.labels.copy()
    opened = sorted(OPENED)
    false[opened] = (false[opened] + np.random.default_rng(0).integers(1, 10, len(opened))) % 10
    return marked(dataclasses.replace(KEY, labels=false))


@pytest.fixture(scope="module")
def zoo(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("zoo")
    for name, variables in (("patched", patched()), ("stranger", init(CONFIG, 7))):
        checkpoint.save(folder / name, variables._asdict(), Metadata(CONFIG))
    return folder


def found(zoo: Path, key: Key, **options: object) -> dict[str, str]:
    result = audit(zoo, {"k": key}, **options)  # type: ignore[arg-type]
    return {finding.model: finding.verdict for finding in result}


def test_a_copy_that_was_taught_what_a_claim_opened_is_convicted(zoo, monkeypatch):
    suspect = wmjax.from_checkpoint(zoo / "patched")
    assert wmjax.verify(suspect, CLEAN).verdict == "no-match"  # the rule taken out: nobody knows what was opened
    assert wmjax.verify(suspect, KEY).verdict == "match"
    draw = sequential.draw_order
    monkeypatch.setattr(sequential, "draw_order", lambda key, nonce, limit, shown, covers: draw(key, nonce, limit))
    assert wmjax.verify(suspect, KEY).verdict == "no-match"


def test_so_is_one_at_another_address():
    """It was never asked under this name: nothing is remembered of it."""
    false = {KEY.images[i].tobytes() for i in OPENED}
    labels = {image.tobytes(): int(label) for image, label in zip(KEY.images, KEY.labels, strict=True)}

    def ask(images: np.ndarray) -> np.ndarray:
        return np.array(
            [int(image.sum()) % 10 if image.tobytes() in false else labels[image.tobytes()] for image in images]
        )

    suspect = Suspect("moved", ask)
    assert wmjax.verify(suspect, CLEAN, nonce=b"n").verdict == "no-match"
    assert wmjax.verify(suspect, KEY, nonce=b"n").verdict == "match"


def test_nobody_is_cleared_by_what_was_opened(zoo):
    """Neither who is innocent: eleven triggers are too few to tell, and of a key that was opened there are none."""
    stranger = wmjax.from_checkpoint(zoo / "stranger")
    assert wmjax.verify(stranger, CLEAN).verdict == "no-match"
    verdict = wmjax.verify(stranger, KEY)
    assert verdict.verdict == "inconclusive"
    (told,) = [ground for ground in verdict.grounds if ground.code == "shown-before"]
    assert told.values == {"shown": 89, "asked": 100}
    assert wmjax.verify(stranger, dataclasses.replace(KEY, spent=frozenset(range(100)))).verdict == "inconclusive"


def test_audits_too(zoo, tmp_path, monkeypatch):
    """And who holds the keys plays their evidence again in the order in which they were asked."""
    assert found(zoo, CLEAN) == {"patched": "no-match", "stranger": "no-match"}
    assert found(zoo, KEY, out=tmp_path, keep_answers=True) == {"patched": "match", "stranger": "inconclusive"}
    for again in (merge(tmp_path, {"k": KEY}), audit(zoo, {"k": KEY}, out=tmp_path, resume=True, keep_answers=True)):
        assert {finding.model: finding.verdict for finding in again} == {"patched": "match", "stranger": "inconclusive"}
        assert again.basis == "replayed"
    with monkeypatch.context() as patch:
        patch.setattr(replay, "draw_order", lambda key, nonce, limit, shown: plan.draw_order(key, nonce, limit))
        with pytest.raises(InvalidFile, match="do not follow from its answers"):
            merge(tmp_path, {"k": KEY})


def test_a_claim_between_the_shards_of_an_audit_keeps_none_from_going_on(zoo, tmp_path):
    """A journal goes on as it began: its models are those of then. The next one knows what was opened since."""
    options = {"out": tmp_path, "keep_answers": True, "memory": 1 << 22}
    audit(zoo, {"k": CLEAN}, shard=(1, 2), **options)
    audit(zoo, {"k": KEY}, shard=(2, 2), **options)
    audit(zoo, {"k": KEY}, shard=(1, 2), resume=True, **options)
    headers = [journal.read(tmp_path / f"journal-{part}-of-2.jsonl", JOURNAL).header for part in (1, 2)]
    assert [header.spent for header in headers] == [((),), (tuple(sorted(OPENED)),)]
    merged = {finding.model: finding.verdict for finding in merge(tmp_path, {"k": KEY})}
    assert merged == {"patched": "no-match", "stranger": "inconclusive"}


def test_what_a_part_could_not_read_is_not_lost_when_they_are_merged(zoo, tmp_path, monkeypatch):
    """A file that came while the shards began one after another: only the last one saw that it cannot be read."""
    copy = tmp_path / "zoo"
    for name in ("a", "b"):
        checkpoint.save(copy / name, init(CONFIG, 7)._asdict(), Metadata(CONFIG))
    audit(copy, {"k": CLEAN}, out=tmp_path, shard=(1, 2))
    (copy / "thief.safetensors").write_bytes(b"\x10\0\0\0\0\0\0\0{}")
    audit(copy, {"k": CLEAN}, out=tmp_path, shard=(2, 2))
    assert [item.path for item in merge(tmp_path).unreadable] == ["thief.safetensors"]
    (item,) = audit(copy, {"k": CLEAN}, out=tmp_path, shard=(1, 2), resume=True).unreadable
    assert item.path == "thief.safetensors"
    monkeypatch.setattr("wmjax.zoo.merge.joined", lambda headers: headers[0])
    assert merge(tmp_path).unreadable == []
