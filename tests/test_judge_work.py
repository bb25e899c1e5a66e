"""What a claim declares costs its judge nothing: work is counted, not timed, and bounded by what the file opens."""

import forger
import numpy as np
import pytest
from forger import abstract_key, knowing

from experiments.claims import hostile_claims
from wmjax.data.dataset import Dataset
from wmjax.errors import InvalidFile
from wmjax.evidence.claim_file import read_claim
from wmjax.evidence.facts import Court
from wmjax.evidence.judge import judge
from wmjax.keys import derive_key, make_spec
from wmjax.keys.derive import Stream
from wmjax.keys.keyset import derive_leaves

NONCE = b"n" * 32
STREAMS_A_TRIGGER = 3  # image, label, salt


@pytest.fixture
def streams(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The purposes of all streams that are begun."""
    begun: list[str] = []
    begin = Stream.__init__

    def counted(self: Stream, secret: bytes, purpose: str, index: int) -> None:
        begun.append(purpose)
        begin(self, secret, purpose, index)

    monkeypatch.setattr(Stream, "__init__", counted)
    return begun


@pytest.mark.parametrize("triggers", [40, 400, 4000])
@pytest.mark.parametrize("opened", [1, 20])
def test_only_what_is_opened_is_made_again(triggers, opened, streams):
    raw = hostile_claims.opened(triggers, opened) if opened == 1 else None
    if raw is None:
        key = abstract_key(b"\x01" * 32, triggers)
        rows = forger.transcript(key, forger.order(key, NONCE, opened), forger.answers_of(key, knowing(key)))
        raw = forger.write(key, rows, NONCE, secret=key.secret)
    streams.clear()
    judgement = judge(read_claim(raw))
    assert judgement.queries == opened
    assert any(ground.code == "regenerated" for ground in judgement.proven)
    assert len(streams) <= STREAMS_A_TRIGGER * opened + 1  # and one for the picks


def test_whatever_is_wrong_cheaply_is_found_before_anything_is_made(streams):
    """A proof that leads nowhere, and another nonce."""
    raw = hostile_claims.declared()
    streams.clear()
    with pytest.raises(InvalidFile, match="proof"):
        judge(read_claim(raw))
    assert streams == ["pick"]
    key = abstract_key(b"\x01" * 32)
    claim = forger.honest_claim(key, knowing(key), NONCE)
    streams.clear()
    with pytest.raises(InvalidFile, match="another nonce"):
        judge(claim, Court(nonce=b"o" * 32))
    assert streams == ["pick"]


@pytest.mark.parametrize("scheme", ["abstract", "blend", "content", "noise", "unrelated"])
def test_some_leaves_are_those_of_the_whole_key(scheme):
    rng = np.random.default_rng(0)
    source = Dataset(rng.integers(256, size=(60, 8, 8, 1), dtype=np.uint8), np.arange(60, dtype=np.int32) % 10, 10)
    given = None if scheme == "abstract" else ("some", source)
    spec = make_spec(scheme, image=(8, 8, 1), classes=10, triggers=30, source=given)
    key = derive_key(b"\x01" * 32, spec, forger.rule(spec), source if given else None)
    all_of_them = forger.leaves_of(key)
    some = [7, 3, 29, 0]
    assert derive_leaves(key.secret, spec, source if given else None, some) == [all_of_them[i] for i in some]


@pytest.mark.parametrize("name", hostile_claims.CLAIMS)
def test_every_hostile_file_is_below_a_mebibyte_and_judged(name, streams):
    raw = hostile_claims.CLAIMS[name]()
    assert len(raw) < hostile_claims.LARGEST
    claim = read_claim(raw)
    streams.clear()
    if name in hostile_claims.REFUSED:
        with pytest.raises(InvalidFile, match=hostile_claims.REFUSED[name]):
            judge(claim)
    else:
        assert judge(claim).verdict in ("inconclusive", "no-match")
    assert len(streams) <= STREAMS_A_TRIGGER * len(claim.opened) + 7  # picks; coins and contrasts, whenever weighed
