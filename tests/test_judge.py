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
from wmjax.errors import UsageError
from wmjax.evidence import wording
from wmjax.evidence.claim import Claim
from wmjax.evidence.facts import Lack
from wmjax.evidence.timestamps import read_authority
from wmjax.keys import Model, new_signer, sign_commitment
from wmjax.keys.statement import parse_commitment

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
