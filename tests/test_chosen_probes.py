"""Which probes of a `spread` key count is nobody's choice: what an accuser of an innocent gains by leaving some out."""

import dataclasses

import forger
import numpy as np
import owner
import pytest
from accuser import SEARCH
from coined import softmax

from wmjax import stats
from wmjax.data import Dataset
from wmjax.errors import UsageError
from wmjax.evidence import lacks as lacking
from wmjax.evidence.claim import picks
from wmjax.evidence.claim_file import read_claim
from wmjax.evidence.facts import Court
from wmjax.evidence.judge import judge
from wmjax.evidence.judgement import Judgement
from wmjax.keys import Key, derive_key, make_spec
from wmjax.keys.derive import Stream
from wmjax.keys.material import Material
from wmjax.keys.specify import default_rule
from wmjax.stats.correlations import UNIT
from wmjax.suspects import from_callable


class Accused:
    """A key for a network, and an innocent one of the same task, which the accuser may ask as often as he likes."""

    def __init__(self, n: int, features: int, alpha: float = 1e-6):
        rng = np.random.default_rng(3)
        self.source = Dataset(rng.integers(0, 256, (n, 8, 8, 1)).astype(np.uint8), np.zeros(n, np.int32), 10)
        base = 2 * rng.standard_normal((n, 10))
        drawn = np.rint(40 * np.clip(rng.standard_normal((n, features)), -3, 3)).astype(np.int8)
        references = np.rint(UNIT * softmax(base)).astype(np.uint16)[None]
        material = Material({"features": drawn, "references": references})
        spec = make_spec("spread", triggers=n, source=("pictures", self.source), material=material)
        rule = default_rule(spec, alpha)
        self.key: Key = derive_key(owner.SECRET, spec, rule, self.source, owner.MADE, material)
        self.answers = softmax(base + rng.standard_normal((n, 10)))
        rows = Stream(owner.SECRET, "rows/spread", 0).distinct(n, n)
        assert np.array_equal(self.key.images, self.source.images[rows])
        self.ask = owner.looking_up(self.key, self.answers)

    def claim(self, kept: np.ndarray, nonce: bytes = owner.NONCE) -> bytes:
        order = picks(self.key.commitment, nonce, len(kept))
        rows = forger.transcript(self.key, order, {i: self.answers[i] for i in np.flatnonzero(kept).tolist()})
        return forger.write(self.key, rows, nonce, secret=self.key.secret)

    def judged(self, raw: bytes, nonce: bytes | None = owner.NONCE, alpha: float = 1e-6) -> Judgement:
        suspect = from_callable(self.ask, "suspect")
        return judge(read_claim(raw), Court(nonce=nonce, suspect=suspect, sources=[self.source], alpha=alpha))

    def flattering(self) -> np.ndarray:
        """The probes by which the innocent's answers show nearly every coin, bool [n]: found by gradient ascent."""
        truth = self.key.truth(slice(None))
        shown, expected = np.sqrt(self.answers), np.sqrt(truth.references[0] / UNIT)
        away = shown - expected * np.sum(shown * expected) / np.sum(expected**2)
        away = away @ (truth.contrasts / truth.norms).T
        each = np.einsum("im,ik,mk->imk", away, truth.features.astype(float), truth.coins).reshape(len(away), -1)
        weights = np.zeros(len(each))
        for _ in range(300):
            sums = each.T @ (1 / (1 + np.exp(-weights)))
            slope = each @ (1 / (1 + np.exp(np.clip(3 * sums / sums.std() - 2, -30, 30))))
            weights += 0.5 * slope / np.abs(slope).max()
        return weights > 0


@pytest.fixture(scope="module")
def accused() -> Accused:
    return Accused(1_000, features=24)


def test_triggers_that_are_called_spent_by_the_answers_to_them_accuse_nobody(accused, monkeypatch):
    """He knows every answer, and calls spent what speaks for the innocent: undated, with all margins in force."""
    whole = np.ones(1_000, bool)
    assert accused.judged(accused.claim(whole)).verdict != "match"
    raw = accused.claim(accused.flattering())
    judgement = accused.judged(raw)
    assert (judgement.verdict, [str(lack.code) for lack in judgement.missing]) == ("inconclusive", ["weak"])
    assert judgement.evidence_bits > 148
    monkeypatch.setattr(lacking, "chosen_bits", lambda rule, closed: 0.0)
    assert accused.judged(raw).verdict == "match"


def test_each_run_of_spent_triggers_costs_what_choosing_it_can_gain():
    accused = Accused(320, features=4)
    plain = accused.judged(accused.claim(np.ones(320, bool))).needed_bits
    order = picks(accused.key.commitment, owner.NONCE, 320)
    for places, runs in (([0, 1, 2], 1), ([0, 2, 319], 3), (range(40, 140), 1)):
        kept = np.ones(320, bool)
        kept[[order[place] for place in places]] = False
        needed = accused.judged(accused.claim(kept)).needed_bits
        assert needed - plain == pytest.approx(2 * runs * np.log2(321), abs=2e-3)
    labels = dataclasses.replace(
        accused.key.commitment.rule, evidence="labels/1"
    )  # there a spent trigger counts as a wrong answer
    assert lacking.chosen_bits(labels, [True, False, True]) == 0.0


def test_the_ways_to_leave_out_are_no_more_than_they_cost():
    """Over all subsets of n rows 2 ** -cost adds up to less than 1: so they gain less than a bit together."""
    n, total = 12, 0.0
    rule = Accused(12, features=2).key.commitment.rule
    for subset in range(1, 1 << n):
        total += 2.0 ** -lacking.chosen_bits(rule, [bool(subset >> i & 1) for i in range(n)])
    assert 0.3 < total < 1.0


def test_an_order_of_ones_own_is_a_choice_where_the_evidence_moves_at_stages(monkeypatch):
    """The whole key is asked, but the nonce says which probes the first stage weighs."""
    monkeypatch.setattr(*SEARCH)
    accused = Accused(1_000, features=4, alpha=0.1)
    answers, rule = stats.read_answers(accused.answers, 1_000, 10), accused.key.commitment.rule
    for number in range(1_000):
        nonce = number.to_bytes(32)
        order = np.array(picks(accused.key.commitment, nonce, 300))
        if stats.play(rule, answers[order], accused.key.truth(order)).evidence[-1] > 3.5:
            break
    raw = accused.claim(np.ones(1_000, bool), nonce)
    judgement = accused.judged(raw, nonce=None, alpha=0.1)
    assert (judgement.verdict, [str(lack.code) for lack in judgement.missing]) == ("inconclusive", ["unpicked"])
    monkeypatch.setattr(lacking, "unpicked", lambda facts: None)
    assert accused.judged(raw, nonce=None, alpha=0.1).verdict == "match"


def test_a_key_of_one_stage_may_be_asked_as_a_whole_in_any_order():
    key = owner.key_of("spread", 300)
    raw = owner.claimed(key, owner.knowing(key), whole=True)
    assert judge(read_claim(raw), owner.court(key, owner.knowing(key), nonce=None)).verdict == "match"


def test_no_claim_is_begun_with_a_key_that_lacks_triggers_here_and_there():
    key = owner.key_of("spread", 340)
    begun = dataclasses.replace(key, spent=frozenset(range(40)))
    with pytest.raises(UsageError, match="40 of its 340 triggers are spent"):
        owner.claimed(begun, owner.knowing(begun), anyway=False)
    one_run = dataclasses.replace(key, spent=frozenset(picks(key.commitment, owner.NONCE, 340)[100:150]))
    raw = owner.claimed(one_run, owner.knowing(one_run), anyway=False)
    judgement = judge(read_claim(raw), owner.court(key, owner.knowing(key)))
    assert (judgement.verdict, read_claim(raw).secret) == ("match", key.secret)
