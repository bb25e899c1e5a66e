"""The judge from Python: what a court may hold, and what a judgement gives to programs."""

import dataclasses
import datetime
import hashlib
import json
from typing import Any

import forger
import pytest
from forger import abstract_key, knowing
from tsa import LocalTsa

import wmjax
from wmjax.errors import InvalidFile, UsageError
from wmjax.evidence import wording
from wmjax.evidence.authority import read_authority
from wmjax.evidence.claim import Claim
from wmjax.evidence.facts import Lack
from wmjax.keys import Model, new_signer, sign_commitment
from wmjax.keys.statement import parse_commitment
from wmjax.suspects import grounds

KEY, NONCE = abstract_key(b"\x01" * 32), b"n" * 32
MODELS = [Model("step", "a" * 64, "b" * 64), Model("step", "c" * 64, "d" * 64)]  # two of one name


@pytest.fixture(scope="module")
def claim() -> Claim:
    """A claim with two released models."""
    signer = new_signer()
    released = [parse_commitment(sign_commitment(KEY.commitment, signer, model), "it") for model in MODELS]
    commitments = [forger.commit(KEY, signer), *(wmjax.evidence.claim.Attached(one, ()) for one in released)]
    return forger.honest_claim(KEY, knowing(KEY), NONCE, signer=signer, commitments=commitments)


@pytest.mark.parametrize(
    ("wrong", "words"),
    [
        ({"alpha": 0.0}, "alpha"),
        ({"alpha": 1.5}, "alpha"),
        ({"since": datetime.datetime(2024, 1, 1)}, "offset"),
    ],
)
def test_a_court_that_cannot_be_is_refused(wrong: dict[str, Any], words: str, claim: Claim) -> None:
    with pytest.raises(UsageError, match=words):
        wmjax.judge(claim, wmjax.Court(**wrong))


@pytest.mark.parametrize(("nonce", "count", "words"), [(b"short", 1, "nonce"), (NONCE, 0, "commitments")])
def test_a_claim_that_nobody_could_read_is_not_made(nonce: bytes, count: int, words: str) -> None:
    """And no trigger is spent on it."""
    signer, spent = new_signer(), []
    commitments = [forger.commit(KEY, signer)][:count]
    with pytest.raises(UsageError, match=words):
        wmjax.claim(forger.suspect(knowing(KEY)), KEY, signer, commitments, nonce, lambda *some: spent.append(some))
    assert spent == []


def test_a_dispute_is_between_two(claim: Claim) -> None:
    judgement, original = wmjax.judge(claim), forger.suspect(knowing(KEY))
    for claims, judgements, originals in ((1, 1, 0), (2, 1, 0), (2, 2, 1), (3, 3, 0)):
        with pytest.raises(UsageError, match="two claims"):
            wmjax.settle([claim] * claims, [judgement] * judgements, wmjax.Court(), [original] * originals)


def test_digests_are_those_of_the_files_that_were_judged(claim: Claim) -> None:
    digests = wmjax.judge(claim).digests
    assert digests.claim == hashlib.sha256(claim.raw).hexdigest()
    assert digests.commitment_files == tuple(hashlib.sha256(one.public.raw).hexdigest() for one in claim.commitments)
    assert digests.released == tuple(MODELS)  # none hides another of its name
    assert (digests.root, digests.nonce) == (KEY.commitment.root, NONCE.hex())


def test_the_document_has_a_code_beside_each_sentence(claim: Claim) -> None:
    document = json.loads(json.dumps(wording.document(wmjax.judge(claim))))
    assert document["version"] == 2
    assert [lack["code"] for lack in document["lacks"]] == [Lack.UNASKED, Lack.UNDATED]
    for sentences, codes in (("proven", "proofs"), ("assumed", "grounds"), ("missing", "lacks"), ("dates", "events")):
        assert document[codes]
        assert len(document[sentences]) == len(document[codes])
        assert all(ground["code"] in wording.WORDS for ground in document[codes])


def test_whoever_brings_what_was_brought_gets_the_same_judgement(tmp_path) -> None:
    tsa = LocalTsa(tmp_path)
    claim = forger.honest_claim(KEY, knowing(KEY), NONCE, stamp=forger.dated(tsa, forger.day(2024)))
    since = datetime.datetime(2024, 6, 1, tzinfo=datetime.timezone(datetime.timedelta(hours=2)))
    suspect = forger.suspect(knowing(KEY))
    court = wmjax.Court(NONCE, suspect, authorities=[read_authority(tsa.authority)], since=since, alpha=1.23456789e-7)
    first = wmjax.judge(claim, court)
    brought = first.brought
    again = wmjax.Court(
        nonce=bytes.fromhex(brought.nonce or ""),
        suspect=suspect,
        authorities=[read_authority(name) for name in brought.authorities],
        since=datetime.datetime.fromisoformat(brought.since or ""),
        alpha=brought.alpha,
    )
    assert first.verdict == "match"
    assert wmjax.judge(claim, again).to_json() == first.to_json()
    assert wmjax.judge(claim, dataclasses.replace(again, alpha=1e-9)).to_json() != first.to_json()


def of_altered_pictures(code: str, told: list[dict[str, str]] | None = None) -> bytes:
    """A claim on a copy that shows nothing of what it knows by pictures that were altered on the way."""
    signer, image = new_signer(), (4, 4, 1) if code == "adapted" else (8, 8, 1)
    copy = wmjax.Suspect(
        "copy", lambda images: images.sum((1, 2, 3)) % 10, image, note="" if code == "adapted" else code
    )
    raw = wmjax.claim(
        copy, KEY, signer, [forger.commit(KEY, signer)], NONCE, lambda some: None, reveal=True, anyway=True
    )
    if told is None:
        return raw
    return forger.resign(raw, signer, lambda predicate: predicate.update(asked=told))


@pytest.mark.parametrize("code", ["adapted", "served-jpeg", "weights-alone", "in-part", "run-in-part", "open-size"])
def test_nobody_is_cleared_by_a_claim_who_was_not_asked_to_the_pixel(code: str, monkeypatch: pytest.MonkeyPatch):
    """Neither by its claimant nor by a judge who asks nobody; and the rule taken out."""
    claim = wmjax.read_claim(of_altered_pictures(code))
    judgement = wmjax.judge(claim)
    assert (claim.stated["verdict"], judgement.verdict) == ("inconclusive", "inconclusive")
    assert code in [ground.code for ground in judgement.assumed]
    monkeypatch.setattr(grounds, "clears", lambda code: True)
    claim = wmjax.read_claim(of_altered_pictures(code))
    assert (claim.stated["verdict"], wmjax.judge(claim).verdict) == ("no-match", "no-match")


def test_a_claim_that_clears_whom_it_may_not_is_false() -> None:
    raw = of_altered_pictures("served", [{"code": "served-jpeg"}])
    with pytest.raises(InvalidFile, match="states verdict 'no-match'"):
        wmjax.judge(wmjax.read_claim(raw))


@pytest.mark.parametrize(
    "told",
    [
        [],
        [{"code": "new"}],
        [{"code": "served", "by": "me"}],
        [{"code": "read-as"}],
        [{"code": "read-as", "reading": "\u202e"}],
        [{"code": "served"}, {"code": "served"}],
        [["served"]],
        {"code": "served"},
    ],
)
def test_how_a_suspect_was_asked_has_one_form(told: Any) -> None:
    with pytest.raises(InvalidFile):
        wmjax.read_claim(of_altered_pictures("served", told))
