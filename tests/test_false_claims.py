"""False claims fail: a table of attacks by accusers with signing keys of their own, each with the check that stops it.

Every attack makes a claim file and brings it before a court (nonce, suspect, authorities, since when the suspect is
there). It must not be a match; and with its own check taken out the same file must be one, so that a test fails where a
check is lost. After Liu et al. (USENIX Security 2024), and stronger.
"""

import dataclasses
import datetime
from collections.abc import Callable

import false_forms
import false_pledges
import false_signers
import forger
import numpy as np
import pytest
from accuser import (
    AFTER,
    BEFORE,
    INNOCENT,
    NONCE,
    SEARCHED,
    SEARCHED_ALPHA,
    SECRET,
    SINCE,
    Attack,
    World,
    outcome,
    transferable,
)
from false_keys import (
    adversarial_kept_secret,
    adversarial_with_some_secret,
    crafted_source,
    crafted_source_beside_the_genuine_one,
    crafted_source_not_at_hand,
    dated_back_by_his_own_clock,
    images_after_labels,
    labels_after_images,
    older_commitment_beside,
    one_label_for_all,
    other_openings,
    searched_and_dated_too_late,
    searched_before_the_date,
    searched_live,
    searched_where_nobody_says_since_when,
    searched_without_a_date,
    stamp_by_an_unknown_authority,
    stamp_forged_with_its_own_root,
    stamp_of_an_older_commitment,
)
from false_transcripts import (
    anothers_commitment,
    asked_until_it_matches,
    asked_until_it_matches_and_not_told,
    claim_for_an_older_nonce,
    generous_rule,
    losing_rows_left_out,
    marked,
    own_nonce_before_a_judge_with_his,
    own_nonce_before_a_judge_with_none,
    own_order_of_the_whole_key,
    replayed_answers,
    replayed_answers_to_a_judge_who_does_not_ask,
    replayed_answers_under_the_suspects_name,
    spent_triggers_again,
    spent_triggers_under_another_name,
    winning_rows_first,
)
from forger import abstract_key, answers_of, day, knowing, order, to_peak, transcript, write
from hypothesis import given
from hypothesis import strategies as st
from tsa import LocalTsa

from wmjax import stats
from wmjax.data.dataset import Dataset
from wmjax.errors import InvalidFile
from wmjax.evidence import judge as judging
from wmjax.evidence import judge_asking, timestamps
from wmjax.evidence import lacks as lacking
from wmjax.evidence import transcript as rows_of
from wmjax.evidence.authority import read_authority
from wmjax.evidence.claim import Attached
from wmjax.evidence.claim_file import read_claim
from wmjax.evidence.conflict import settle
from wmjax.evidence.facts import Facts
from wmjax.evidence.judge import judge
from wmjax.grounds import Ground
from wmjax.keys import derive_key, make_spec
from wmjax.stats import labels as label_bets


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> World:
    folder = tmp_path_factory.mktemp("tsa")
    tsa = LocalTsa(folder / "one")
    forged = LocalTsa(folder / "two", serial=tsa.certificate.serial_number)  # same names, same number
    return World(tsa, read_authority(tsa.authority), forged, forger.dated(tsa, BEFORE), forger.dated(tsa, AFTER))


ATTACKS: tuple[Callable[[World], Attack], ...] = (
    adversarial_kept_secret,
    adversarial_with_some_secret,
    images_after_labels,
    labels_after_images,
    other_openings,
    one_label_for_all,
    crafted_source_not_at_hand,
    crafted_source_beside_the_genuine_one,
    searched_without_a_date,
    searched_and_dated_too_late,
    searched_where_nobody_says_since_when,
    searched_before_the_date,
    searched_live,
    dated_back_by_his_own_clock,
    stamp_of_an_older_commitment,
    older_commitment_beside,
    stamp_by_an_unknown_authority,
    stamp_forged_with_its_own_root,
    replayed_answers,
    replayed_answers_to_a_judge_who_does_not_ask,
    replayed_answers_under_the_suspects_name,
    claim_for_an_older_nonce,
    losing_rows_left_out,
    winning_rows_first,
    own_nonce_before_a_judge_with_his,
    own_nonce_before_a_judge_with_none,
    own_order_of_the_whole_key,
    spent_triggers_again,
    spent_triggers_under_another_name,
    asked_until_it_matches,
    asked_until_it_matches_and_not_told,
    generous_rule,
    anothers_commitment,
    *false_signers.ATTACKS,
    *false_forms.ATTACKS,
    *false_pledges.ATTACKS,
)


@pytest.fixture(scope="module", params=ATTACKS, ids=lambda make: make.__name__)
def attack(request: pytest.FixtureRequest, world: World) -> Attack:
    return request.param(world)


def in_force(margin: float, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("DATED_BITS", "PLEDGED_BITS"):
        monkeypatch.setattr(lacking, name, margin)


@pytest.fixture
def without_margin(monkeypatch: pytest.MonkeyPatch) -> None:
    """The committed alpha alone decides."""
    monkeypatch.setattr(lacking, "DATED_BITS", 0.0)


def test_a_false_claim_fails(attack, monkeypatch):
    in_force(attack.margin, monkeypatch)
    verdict, said = outcome(attack)
    assert (verdict, attack.says in said, "\n" in said) == (attack.verdict, True, False), said


def test_without_its_check_it_would_not(attack, monkeypatch):
    in_force(attack.margin, monkeypatch)
    for number, (where, name, instead) in enumerate(attack.without):
        if number:
            assert outcome(attack)[0] != "match"  # the others still stop it
        monkeypatch.setattr(where, name, instead)
    assert outcome(attack)[0] == "match"


# The other way round.


@pytest.mark.parametrize("probabilities", [False, True])
def test_an_honest_claim_before_the_same_court_is_a_match(world, probabilities):
    key = abstract_key(SECRET)
    ask = knowing(key, probabilities=probabilities)
    claim = forger.honest_claim(key, ask, NONCE, stamp=world.before)
    judgement = judge(claim, world.court(ask))
    assert (judgement.verdict, judgement.missing) == ("match", ())


def test_nobody_spoils_an_undated_claim_by_signing_it_again(world):
    """A thief who saw the revealed secret: the judgement says that another signer claims the same triggers."""
    key = abstract_key(SECRET, 60)
    claim, again = (forger.honest_claim(key, knowing(key), NONCE) for _ in range(2))
    assert claim.owner != again.owner
    judgement = judge(claim, world.court(knowing(key), others=[claim, again]))
    assert judgement.verdict == "match"
    assert "order-unknown" in [ground.code for ground in judgement.assumed]


@pytest.mark.parametrize("stamped", [SINCE, AFTER])
def test_nobody_spoils_an_undated_claim_by_having_its_secret_stamped(world, stamped):
    """The copycat's stamp is from after the suspect and shows nothing: the judgement says that the order is open."""
    key = abstract_key(SECRET, 60)
    claim = forger.honest_claim(key, knowing(key), NONCE)
    copy = forger.honest_claim(key, knowing(key), NONCE, stamp=forger.dated(world.tsa, stamped))
    judgement = judge(claim, world.court(knowing(key), others=[claim, copy]))
    assert judgement.verdict == "match"
    assert "order-unknown" in [ground.code for ground in judgement.assumed]


def test_without_a_date_an_honest_claim_needs_128_bits_more(world):
    key = abstract_key(SECRET, 60)
    judgement = judge(forger.honest_claim(key, knowing(key), NONCE), world.court(knowing(key), since=None))
    assert judgement.verdict == "match"
    assert judgement.needed_bits == pytest.approx(128 - np.log2(1e-6), abs=1e-3)


@pytest.mark.parametrize("scheme", ["blend", "content", "noise", "unrelated"])
def test_a_source_from_the_accuser_proves_nothing(scheme, world, without_margin):
    """Who takes the data set from the accuser is deceived: so the judgement rests on where the copy comes from."""
    spec, source = crafted_source(SECRET, scheme)
    key = derive_key(SECRET, spec, forger.rule(spec), source, "2024-01-01T00:00:00+00:00")
    judgement = judge(
        forger.honest_claim(key, INNOCENT, NONCE, stamp=world.before), world.court(INNOCENT, sources=[source])
    )
    assert judgement.verdict == "match"
    assert "source-independent" in [ground.code for ground in judgement.assumed]


def test_enough_adversarial_labels_transfer():
    """37 of 50 on a model of other data: the attack is a real one."""
    images, targets, victim = transferable()
    assert np.sum(victim(images) == targets) >= 30


def test_to_stop_at_the_peak_is_honest(world, without_margin):
    """By Ville's inequality: what comes after the best moment may be left out, and adds nothing before it."""
    key, _ = marked()
    first = order(key, NONCE, 20)
    ask = knowing(dataclasses.replace(key, images=key.images[first], labels=key.labels[first]))
    rows = transcript(key, order(key, NONCE), answers_of(key, ask))
    verdicts = []
    for kept in (rows, to_peak(key, rows)):
        raw = write(key, kept, NONCE, stamp=world.before, secret=key.secret)
        verdicts.append(judge(read_claim(raw, "claim"), world.court(ask)))
    assert [one.verdict for one in verdicts] == ["match", "match"]
    assert [len(one.path) for one in verdicts] == [40, 20]
    assert verdicts[0].evidence_bits == verdicts[1].evidence_bits


@given(spent=st.sets(st.integers(0, 39)), share=st.integers(0, 40), probabilities=st.booleans())
def test_to_call_losing_triggers_spent_gains_nothing(spent, share, probabilities):
    """Any triggers, of any suspect: the evidence is nowhere above that of the honest transcript."""
    key = abstract_key(SECRET)
    part = dataclasses.replace(key, images=key.images[:share], labels=key.labels[:share])
    answers = answers_of(key, knowing(part, probabilities=probabilities))
    honest, lying = (
        transcript(key, order(key, NONCE), {i: a for i, a in answers.items() if i not in left_out})
        for left_out in (set(), spent)
    )
    paths = [
        stats.evidence(rows_of.answers(rows, 10), rows_of.truth(rows, key.spec, None, None)) for rows in (honest, lying)
    ]
    assert np.all(paths[1] <= paths[0] + 1e-9)


@pytest.mark.parametrize("answer", range(-1, 10))
@pytest.mark.parametrize("classes", [2, 3, 10, 1000])
def test_classes_that_the_suspect_has_not_gain_nothing(classes, answer):
    """No check stops such a claim, the bound does: over the secret label the stake never grows on average."""
    told = stats.read_answers(np.array([answer]), 1, classes)
    wealth = np.exp2(label_bets.log2_payoffs(told)[:, 0]).mean(axis=-1)
    assert np.all(wealth <= 1 + 1e-12)


def test_a_suspect_of_other_classes_is_no_match(world):
    key = abstract_key(SECRET, classes=2)
    claim = forger.honest_claim(key, knowing(key), NONCE, stamp=world.before)
    court = world.court(INNOCENT)
    scored = dataclasses.replace(court.suspect, ask=lambda images: np.eye(10)[np.full(len(images), 7)])
    found = judge(claim, dataclasses.replace(court, suspect=scored))
    assert found.verdict != "match"
    assert Ground("more-classes", {"theirs": 10, "ours": 2}) in found.assumed
    assert judge(claim, world.court(INNOCENT)).verdict != "match"


@pytest.mark.parametrize("both_at_once", [False, True])
def test_who_signs_anothers_commitment_as_his_own_comes_later(both_at_once, world):
    """B learned A's secret from a claim and dates it anew: both know the key, and the dates decide for A."""
    key, own_model = marked()
    of_a = forger.honest_claim(key, own_model, NONCE, stamp=world.before)
    of_b = forger.honest_claim(key, own_model, NONCE, stamp=forger.dated(world.tsa, day(2024, 3)))
    court = world.court(own_model, others=[of_a, of_b] if both_at_once else [])
    judgement = judge(of_a, court)
    assert judgement.verdict == "match"
    if both_at_once:
        with pytest.raises(InvalidFile, match="opened in another claim"):
            judge(of_b, court)
    else:
        settlement = settle([of_b, of_a], [judge(of_b, court), judgement], court)
        assert settlement.first == 1


def test_the_chance_of_a_false_match_is_what_it_is_said_to_be(world, without_margin):
    """2,000 honest keys against innocents at 5 %: no more matches than 5 % and three standard errors."""
    rng = np.random.default_rng(4)
    source = Dataset(rng.integers(256, size=(32, 8, 8, 1), dtype=np.uint8), np.zeros(32, np.int32), 10)
    spec = make_spec("unrelated", image=(8, 8, 1), classes=10, triggers=6, source=("any", source))
    court = world.court(INNOCENT, sources=[source], alpha=0.05)
    template = forger.honest_claim(abstract_key(SECRET), INNOCENT, NONCE)
    stamps = ((0, timestamps.Stamp(BEFORE, "an authority", True, "00" * 32)),)
    matches = 0
    for number in range(2000):
        key = derive_key(number.to_bytes(32), spec, forger.rule(spec, 0.05), source, "2024-01-01T00:00:00+00:00")
        rows = transcript(key, order(key, NONCE), answers_of(key, INNOCENT))
        public = dataclasses.replace(template.commitments[0].public, commitment=key.commitment)
        claim = dataclasses.replace(template, commitments=(Attached(public, ()),), rows=tuple(rows), secret=key.secret)
        facts = Facts(claim, court, stamps, True, judge_asking.ask(claim, court.suspect), 0, None)
        matches += judging.conclude(facts).verdict == "match"
    assert 0 < matches / 2000 <= 0.05 + 3 * np.sqrt(0.05 * 0.95 / 2000)


def test_the_searched_secret_is_what_it_is_said_to_be():
    key = abstract_key(SEARCHED, 6, SEARCHED_ALPHA)
    bits = stats.evidence(stats.Answers(np.zeros(6, np.int64), None, 10), key.labels)[-1]
    assert -np.log2(SEARCHED_ALPHA) < bits < 20  # 2**20 tries gain no more than 20 bits


def test_dates_of_the_table_are_in_order():
    assert BEFORE < SINCE < AFTER < datetime.datetime.now(datetime.UTC)
