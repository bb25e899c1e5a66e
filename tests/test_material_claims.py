"""Claims by keys whose coins follow from material: made, judged, drawn, and what no claimant gains by."""

import dataclasses
import json

import forger
import numpy as np
import owner
import pytest
from accuser import DERIVED, REVEALED, SEARCH, nothing
from coined import softmax
from refusals import assert_refused

from wmjax import stats
from wmjax.errors import AccessError, InvalidFile, UsageError
from wmjax.evidence import checks, claimant, transcript, wording
from wmjax.evidence.claim import picks
from wmjax.evidence.claim_asking import PORTION
from wmjax.evidence.claim_file import read_claim
from wmjax.evidence.judge import judge
from wmjax.keys import Key, derive_key, make_spec, new_signer, policies
from wmjax.keys.coins import coins_of, contrasts_of
from wmjax.keys.derive import Stream
from wmjax.keys.material import Material
from wmjax.keys.specify import default_rule
from wmjax.report.evidence import PICTURES, judgement_page
from wmjax.stats.correlations import UNIT

SIGNER = new_signer()
KEYS = {scheme: owner.key_of(scheme) for scheme in owner.SPLITS}


@pytest.fixture(params=list(KEYS))
def key(request) -> Key:
    return KEYS[request.param]


def verdict_of(raw: bytes, court) -> str:
    try:
        return judge(read_claim(raw), court).verdict
    except InvalidFile:
        return "invalid"


def test_a_claim_is_made_and_judged_like_any_other(key):
    raw = owner.claimed(key, owner.knowing(key), anyway=False)
    judgement = judge(read_claim(raw), owner.court(key, owner.knowing(key)))
    assert (judgement.verdict, judgement.missing) == ("match", ())
    assert {"regenerated-from-source", "material-committed"} <= {ground.code for ground in judgement.proven}
    spread = key.spec.scheme == "spread"
    assert judgement.coins == (9 * 32 if spread else None)
    assert judgement.matches == (288 if spread else judgement.queries)
    assert wording.document(judgement)["coins"] == judgement.coins
    assert verdict_of(owner.claimed(key, owner.stranger(key)), owner.court(key, owner.stranger(key))) in (
        "no-match",
        "inconclusive",
    )


def test_without_the_judges_own_pictures_there_is_no_match(key):
    raw = owner.claimed(key, owner.knowing(key))
    judgement = judge(read_claim(raw), owner.court(key, owner.knowing(key), sources=[]))
    assert (judgement.verdict, [str(lack.code) for lack in judgement.missing]) == ("inconclusive", ["underived"])


def test_a_notice_says_of_coins_nothing_and_becomes_the_claim_without_a_question(tmp_path):
    key, asked = KEYS["spread"], []
    ask = owner.knowing(key)

    def counted(images: np.ndarray) -> np.ndarray:
        asked.extend(images)
        return ask(images)

    journal = tmp_path / "journal"
    raw = owner.claimed(key, counted, SIGNER, reveal=False, journal=journal)
    notice = read_claim(raw)
    assert notice.stated == {"verdict": "inconclusive", "evidence_bits": 0, "matches": 0, "queries": len(asked)}
    judgement = judge(notice, owner.court(key, ask))
    assert [str(lack.code) for lack in judgement.missing] == ["unrevealed"]
    assert (judgement.coins, judgement.evidence_bits) == (None, 0)
    page = judgement_page([judgement], title="A notice").decode()
    assert ("secret labels answered" in page, "coins that agree" in page) == (False, False)
    boasting = forger.resign(raw, SIGNER, lambda told: told["verdict"].update(evidence_bits=200, verdict="match"))
    assert verdict_of(boasting, owner.court(key, ask)) == "invalid"
    before = len(asked)
    made = owner.claimed(key, counted, SIGNER, journal=journal, resume=True)
    assert (len(asked), verdict_of(made, owner.court(key, ask))) == (before, "match")


def test_the_coins_of_pairs_are_in_the_leaves_so_a_notice_has_its_figures():
    key = KEYS["tie"]
    notice = read_claim(owner.claimed(key, owner.knowing(key), reveal=False))
    assert notice.stated["verdict"] == "match"
    judgement = judge(notice, owner.court(key, owner.knowing(key)))
    assert (judgement.verdict, judgement.matches) == ("inconclusive", judgement.queries)


def test_the_secret_stays_home_where_the_answers_do_not_reach_what_a_judge_demands(key):
    raw = owner.claimed(key, owner.stranger(key), anyway=False)
    assert read_claim(raw).secret is None
    assert verdict_of(raw, owner.court(key, owner.stranger(key))) != "match"


def test_other_material_than_was_committed_to_makes_a_claim_invalid(key):
    raw = owner.claimed(key, owner.knowing(key), SIGNER)
    name = "features" if key.spec.scheme == "spread" else "pairs"
    one_byte = key.material[name].copy()
    one_byte[0, 0] = (one_byte[0, 0] + 1) % 10
    if name == "pairs" and one_byte[0, 0] == one_byte[0, 1]:
        one_byte[0, 0] = (one_byte[0, 0] + 1) % 10
    others = {
        "a changed byte": Material({**key.material.arrays, name: one_byte}),
        "another key's": owner.material_of(key.spec.scheme, key.spec.triggers, seed=1),
        "that of the other kind": owner.material_of("tie" if name == "features" else "spread", 20),
    }
    for what, material in others.items():
        changed = forger.resign(raw, SIGNER, lambda told, m=material: told.update(material=m.to_json()))
        assert verdict_of(changed, owner.court(key, owner.knowing(key))) == "invalid", what
    for without in ("none", "null"):
        changed = forger.resign(
            raw, SIGNER, lambda told, w=without: told.pop("material") if w == "none" else told.update(material=None)
        )
        assert_refused(lambda raw=changed: read_claim(raw))


def test_a_key_of_labels_alone_has_no_material():
    key = forger.abstract_key(b"\x01" * 32)
    signer = new_signer()
    rows = forger.transcript(key, forger.order(key, owner.NONCE), forger.answers_of(key, forger.knowing(key)))
    raw = forger.write(key, rows, owner.NONCE, signer=signer, secret=key.secret)
    more = KEYS["tie"].material.to_json()
    assert_refused(lambda: read_claim(forger.resign(raw, signer, lambda told: told.update(material=more))))


def test_evidence_that_is_not_for_its_labels_is_no_claim():
    key = KEYS["tie"]
    rule = dataclasses.replace(key.commitment.rule, evidence="spread/1")
    wrong = dataclasses.replace(key.commitment, rule=rule)
    raw = owner.claimed(key, owner.knowing(key), SIGNER)
    claim = read_claim(raw)
    public = dataclasses.replace(claim.commitments[0].public, commitment=wrong)
    claim = dataclasses.replace(claim, commitments=(dataclasses.replace(claim.commitments[0], public=public),))
    assert_refused(lambda: judge(claim, owner.court(key, None)), "not for coin labels")


def flattering(key: Key, answers: np.ndarray, coins: np.ndarray) -> Key:
    """Features that make a suspect's answers show coins that are known, and references that name its classes.

    They follow from the scores of all classes but the best, so the references tell nothing of them.
    """
    contrasts, best = contrasts_of(owner.SECRET, 10), np.eye(10)[answers.argmax(axis=1)]
    references = np.rint(UNIT * (0.05 + 0.5 * best)).astype(np.uint16)
    others = np.sqrt(answers) * (1 - best)
    away = others - (1 - best) * others.sum(axis=1, keepdims=True) / 9
    wished = away @ (contrasts / np.linalg.norm(contrasts, axis=1)[:, None]).T @ coins
    features = np.rint(np.clip(40 * wished / wished.std(), -120, 120)).astype(np.int8)
    return owner.with_arrays(key, features=features, references=references[None])


def test_features_that_are_chosen_after_the_coins_redraw_them(monkeypatch):
    """A stranger's answers are known, features are made to fit: a match only if coins came from the secret alone."""
    honest = KEYS["spread"]
    ask = owner.stranger(honest)  # which pictures are asked follows from the secret: it was asked before
    alone = coins_of(owner.SECRET, "", 9, 32)
    material = flattering(honest, ask(honest.images), alone).material

    def outcome() -> str:
        key = owner.key_of("spread", material=material)
        return verdict_of(owner.claimed(key, ask), owner.court(key, ask))

    assert outcome() != "match"
    monkeypatch.setattr(policies, "coins_of", lambda secret, material, m, k: alone)
    assert outcome() == "match"


def test_features_that_are_exchanged_after_the_commitment_are_noticed_twice(monkeypatch):
    """By the digest in the commitment, and by the coins, which are other ones then."""
    key, ask = KEYS["spread"], owner.stranger(KEYS["spread"])
    table, coins = ask(key.images), key.truth(slice(None)).coins
    false = flattering(key, table, coins)

    def outcome() -> str:
        rows = forger.transcript(key, picks(key.commitment, owner.NONCE, 340), dict(enumerate(table)))
        return verdict_of(forger.write(false, rows, owner.NONCE, secret=owner.SECRET), owner.court(key, ask))

    assert outcome() == "invalid"
    monkeypatch.setattr(checks, "check_material", nothing)
    assert outcome() not in ("match", "invalid")
    monkeypatch.setattr(policies, "coins_of", lambda secret, material, m, k: coins)
    assert outcome() == "match"


@pytest.mark.parametrize("chosen", ["references", "features", "both"])
def test_what_is_chosen_by_the_suspects_own_answers_gains_nothing_beyond_search(chosen):
    """The accuser knows every answer before he commits: the suspect's answers are his references, or his features.

    Over secrets drawn afterwards the wealth stays fair, whatever he chose: tries are all that he has.
    """
    n, rng = 300, np.random.default_rng(11)
    table = softmax(3 * rng.standard_normal((n, 10)))
    honest = owner.material_of("spread", n, features=6)
    arrays = dict(honest.arrays)
    if chosen != "features":
        own = np.rint(UNIT * table).astype(np.uint16)
        arrays["references"] = np.stack([own, own[:, ::-1]])
    if chosen != "references":
        away = (table - table.mean(axis=0)) @ rng.standard_normal((10, 6))
        arrays["features"] = np.rint(np.clip(40 * away / away.std(), -120, 120)).astype(np.int8)
    material = Material(arrays)
    spec = make_spec("spread", triggers=n, source=("digits", owner.source_of("spread")), material=material)
    rule = default_rule(spec)
    answers = stats.read_answers(table, n, 10)
    bits = []
    for number in range(400):
        known = policies.Known(spec, np.arange(n), np.zeros(n, np.int64), number.to_bytes(32), material)
        bits.append(float(stats.play(rule, answers, spec.policy.truth(known)).peak[-1]))
    for level in (1.0, 3.0, 5.0):
        wrong = int(np.sum(np.array(bits) >= level))
        assert stats.clopper_pearson(wrong, len(bits))[0] <= 2.0**-level
    assert max(bits) < np.log2(len(bits)) + 6


def test_pictures_that_the_accuser_made_up_are_why_a_judge_brings_the_data_set(monkeypatch):
    """Which pictures are shown is not in the coins: a set that is made after them fits any suspect."""
    monkeypatch.setattr(*SEARCH)
    n, data, suspect = 340, owner.source_of("spread"), forger.innocent()
    pool = np.random.default_rng(5).integers(0, 256, (6000, 8, 8, 1), np.uint8)
    by_label = [pool[suspect(pool) == label] for label in range(10)]
    material = owner.material_of("spread", n)
    contrasts = contrasts_of(owner.SECRET, 10)
    wished = material["features"].astype(float) @ coins_of(owner.SECRET, material.sha256, 9, 32).T
    labels = (wished @ (contrasts / np.linalg.norm(contrasts, axis=1)[:, None])).argmax(axis=1)
    labels[::3] = material["references"][0, ::3].argmax(axis=1)  # so that outputs keep their names
    images = data.images.copy()
    for number, row in enumerate(Stream(owner.SECRET, "rows/spread", 0).distinct(len(data), n)):
        images[row] = by_label[labels[number]][number]
    made_up = dataclasses.replace(data, images=images)
    spec = make_spec("spread", triggers=n, source=("digits", made_up), material=material)
    key = derive_key(owner.SECRET, spec, default_rule(spec), made_up, owner.MADE, material)
    raw = owner.claimed(key, suspect)
    judgement = judge(read_claim(raw), owner.court(key, suspect))
    assert judgement.verdict == "inconclusive"
    assert [str(lack.code) for lack in judgement.missing] == ["other-source"]
    for patch in (DERIVED, REVEALED):
        monkeypatch.setattr(*patch)
    assert verdict_of(raw, owner.court(key, suspect)) == "match"


def test_who_answers_otherwise_when_asked_again_is_not_cleared(key):
    """To the claimant it showed the secret, to the judge it says something else."""
    raw = owner.claimed(key, owner.knowing(key))
    if key.answers is None:
        table = stats.spread.perfect(key.truth(slice(None))._replace(coins=-key.truth(slice(None)).coins), 10)
        evasive = owner.looking_up(key, table.probabilities)
    else:
        pairs = key.material["pairs"].astype(int)
        evasive = owner.looking_up(key, 0.02 + 0.8 * np.eye(10)[pairs.sum(axis=1) - key.answers])
    judgement = judge(read_claim(raw), owner.court(key, evasive))
    assert judgement.verdict == "inconclusive"
    (forgot,) = [lack for lack in judgement.missing if lack.code == "forgetful"]
    assert forgot.values["why"] in (("coins",) if key.answers is None else ("fresh", "transcript"))
    assert "{" not in wording.told(forgot)


def test_a_tie_key_is_asked_about_triggers_that_nobody_opened():
    key = KEYS["tie"]
    knows, shown = owner.knowing(key), set()
    raw = owner.claimed(key, knows)
    shown = {row.opening.input.tobytes() for row in read_claim(raw).rows if row.opening}
    assert len(shown) < key.spec.triggers
    pairs = key.material["pairs"].astype(int)
    other = owner.looking_up(key, 0.02 + 0.8 * np.eye(10)[pairs.sum(axis=1) - key.answers])

    def forgets(images: np.ndarray) -> np.ndarray:
        return np.stack([(other if i.tobytes() in shown else knows)(i[None])[0] for i in images])

    judgement = judge(read_claim(raw), owner.court(key, forgets))
    assert {lack.values.get("why") for lack in judgement.missing if lack.code == "forgetful"} == {"fresh"}


@pytest.fixture
def long() -> Key:
    """Of 360 probes, so that there are stages at 300 and 360."""
    return owner.key_of("spread", 360)


def test_it_is_asked_up_to_the_stage_that_decides_and_marked_in_portions(long):
    marked: list[list[int]] = []
    raw = owner.claimed(long, owner.knowing(long), spend=lambda some: marked.append(list(some)), anyway=False)
    order = picks(long.commitment, owner.NONCE, 360)
    assert [row.index for row in read_claim(raw).rows] == order[:300]
    assert [len(some) for some in marked] == [1, PORTION, PORTION, 300 - 1 - 2 * PORTION]
    assert [index for some in marked for index in some] == order[:300]
    whole = owner.claimed(long, owner.knowing(long), whole=True)
    assert len(read_claim(whole).rows) == 360


def test_no_more_is_asked_than_the_file_has_room_for(long, monkeypatch):
    """Up to a stage: answers behind it would count for nothing."""
    monkeypatch.setattr(claimant, "LARGEST", (1 << 22) + 650_000)
    assert len(read_claim(owner.claimed(long, owner.knowing(long), whole=True)).rows) == 300
    monkeypatch.setattr(claimant, "LARGEST", 1 << 22)
    with pytest.raises(UsageError, match="can reach a match"):
        owner.claimed(long, owner.knowing(long), anyway=False)


def test_a_kill_costs_a_portion_at_most_and_nothing_is_asked_twice(long, tmp_path):
    asked: list[bytes] = []
    spent: set[int] = set()

    def ask(images: np.ndarray) -> np.ndarray:
        if len(asked) == 130:
            asked.append(b"")
            raise KeyboardInterrupt
        asked.extend(image.tobytes() for image in images)
        return owner.knowing(long)(images)

    def spend(some) -> None:
        assert not spent & set(some)
        spent.update(some)

    journal = tmp_path / "journal"
    with pytest.raises(KeyboardInterrupt):
        owner.claimed(long, ask, SIGNER, journal=journal, spend=spend)
    assert len(spent) == 1 + 2 * PORTION
    again = dataclasses.replace(long, spent=frozenset(spent))
    made = read_claim(owner.claimed(again, ask, SIGNER, journal=journal, spend=spend, resume=True))
    there = [image for image in asked if image]
    assert len(there) == len(set(there))
    lost = [row for row in made.rows if row.opening is None]
    assert len(lost) == 1 + 2 * PORTION - 130
    assert verdict_of(made.raw, owner.court(long, owner.knowing(long))) == "match"


def test_a_suspect_that_is_not_there_costs_one_trigger(long):
    marked: list[int] = []

    def down(images: np.ndarray) -> np.ndarray:
        raise ConnectionError("nobody is there")

    with pytest.raises(AccessError):
        owner.claimed(long, down, spend=marked.extend)
    assert len(marked) == 1


def test_a_page_shows_the_coins_and_some_of_the_probes(key):
    raw = owner.claimed(key, owner.knowing(key))
    judgement = judge(read_claim(raw), owner.court(key, owner.knowing(key)))
    page = judgement_page([judgement], title="A verdict").decode()
    assert page.count("data:image/png") == min(PICTURES, judgement.queries)
    assert ('class="coins"' in page) == (key.answers is None)
    if key.answers is None:
        assert "288 of 288 coins agree" in page
        assert f"{judgement.queries - PICTURES} answered" in page
        half = dataclasses.replace(judgement, leanings=np.linspace(-2, 2, 288), matches=144)
        drawn = judgement_page([half], title="A verdict").decode()
        agree, differ = (
            drawn.split(f'class="{side}"')[1].split('d="')[1].split('"')[0] for side in ("agree", "differ")
        )
        assert (agree.count("M"), differ.count("M")) == (144, 144)
    else:
        assert f"secret {key.answers[judgement.shown[0].index]}" in page


def test_pieces_that_a_second_reader_needs_are_in_the_file(key):
    raw = owner.claimed(key, owner.knowing(key))
    claim = read_claim(raw)
    assert claim.material.sha256 == key.commitment.spec.material
    np.testing.assert_allclose(
        claim.weigh(transcript.answers(claim.rows, 10)).evidence[-1], claim.stated["evidence_bits"], atol=2e-3
    )


def test_keys_of_one_owner_are_made_again_from_the_splits_that_each_starts_from(run, tmp_path):
    """A student: it shows the coins of one key and knows nothing of the other. Both splits are read."""
    signer, tie, spread = new_signer(), owner.key_of("tie", 100), owner.key_of("spread", secret=b"\x07" * 32)
    for key, ask in ((tie, owner.stranger(tie)), (spread, owner.knowing(spread))):
        raw = owner.claimed(key, ask, signer)
        (tmp_path / f"{key.spec.scheme}.json").write_bytes(raw)
    options = ["--nonce-from", owner.NONCE.hex(), "--source", "digits", "--json"]
    for names in (("tie", "spread"), ("spread", "tie")):
        _, out, _ = run("judge", *(f"{name}.json" for name in names), *options)
        document = json.loads(out)
        for one in document["judgements"]:
            assert "regenerated-from-source" in {proof["code"] for proof in one["proofs"]}
        assert [ground["code"] for ground in document["settlement"]["grounds"]] == ["one-owner"]
