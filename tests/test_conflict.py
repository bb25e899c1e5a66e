"""Two claims on one model: who was first, by each other's originals, and by dates where there are none."""

import dataclasses
import datetime
from functools import partial

import numpy as np
import pytest
from tsa import LocalTsa

from wmjax.evidence.claim import Attached, Claim, read_claim
from wmjax.evidence.claimant import claim
from wmjax.evidence.conflict import settle
from wmjax.evidence.facts import Court
from wmjax.evidence.judge import judge
from wmjax.evidence.judgement import Settlement
from wmjax.evidence.timestamps import read_authority
from wmjax.grounds import Ground
from wmjax.keys import Key, Model, Signer, generate, make_spec, new_signer, sign_commitment
from wmjax.keys.statement import parse_commitment
from wmjax.suspects import Suspect, from_callable

NONCE, SINCE = b"n" * 32, datetime.datetime(2026, 6, 1, tzinfo=datetime.UTC)
Date = tuple[int, int] | None  # year and month of a time stamp


@pytest.fixture(scope="module")
def tsa(tmp_path_factory) -> LocalTsa:
    return LocalTsa(tmp_path_factory.mktemp("tsa"))


@pytest.fixture(scope="module")
def keys() -> tuple[Key, Key]:
    spec = make_spec("abstract", image=(6, 6, 1), classes=10, triggers=60)
    return generate(spec), generate(spec)


def knowing(*keys: Key, model: Model | None = None) -> Suspect:
    """A model that carries the marks of these keys."""
    known = {image.tobytes(): label for key in keys for image, label in zip(key.images, key.labels, strict=True)}
    suspect = from_callable(lambda images: np.array([known.get(image.tobytes(), 0) for image in images]), "model")
    return dataclasses.replace(suspect, describe=(lambda: model) if model else None)


def attached(tsa: LocalTsa, key: Key, signer: Signer, date: Date, model: Model | None = None) -> Attached:
    raw = sign_commitment(key.commitment, signer, model)
    at = date and datetime.datetime(*date, 1, tzinfo=datetime.UTC)
    return Attached(parse_commitment(raw, "it"), (tsa.stamp(raw, at),) if at else ())


def dispute(
    tsa: LocalTsa,
    keys: tuple[Key, Key],
    suspect: Suspect,
    dates: tuple[Date, Date],
    originals: tuple[Suspect, ...] = (),
    released: tuple[Date, Date] = (None, None),
) -> Settlement:
    """Both parties claim the suspect before a judge who trusts the authority."""
    claims: list[Claim] = []
    for key, date, release in zip(keys, dates, released, strict=True):
        signer = new_signer()
        commitments = [attached(tsa, key, signer, date)]
        if release:
            commitments.append(attached(tsa, key, signer, release, Model("step", "a" * 64, key.commitment.id)))
        ask = partial(claim, suspect, key, signer, commitments, NONCE, lambda asked: None)
        claims.append(read_claim(ask(whole=True, reveal=True), "claim"))
    court = Court(NONCE, suspect, authorities=[read_authority(tsa.authority)], since=SINCE, others=claims)
    return settle(claims, [judge(one, court) for one in claims], court, originals)


def test_the_thiefs_original_carries_the_owners_mark(tsa, keys):
    """Whatever the dates say: here the thief put an old key of his on the stolen model."""
    owner, thief = keys
    originals = (knowing(owner), knowing(owner, thief))
    settlement = dispute(tsa, keys, knowing(*keys), ((2025, 1), (2020, 1)), originals)
    assert settlement.first == 0
    assert settlement.grounds[-1] == Ground("descends", {"claim": 1, "other": 0})
    settlement = dispute(tsa, keys[::-1], knowing(*keys), ((2020, 1), (2025, 1)), originals[::-1])
    assert settlement.first == 1


@pytest.mark.parametrize(("theirs", "why"), [((0, 1), "neither-carries"), ((2, 2), "both-carry")])
def test_originals_that_carry_neither_or_both_marks_settle_nothing(tsa, keys, theirs, why):
    models = (knowing(keys[0]), knowing(keys[1]), knowing(*keys))
    settlement = dispute(tsa, keys, knowing(*keys), ((2020, 1), (2021, 1)), tuple(models[i] for i in theirs))
    assert settlement.first is None
    assert settlement.grounds[-1].code == why


def test_an_original_without_its_own_mark_is_none(tsa, keys):
    """A thief who hands over somebody else's network loses the test."""
    innocent = from_callable(lambda images: np.zeros(len(images), int))
    for originals, first in (((knowing(keys[0]), innocent), 0), ((innocent, knowing(keys[1])), 1)):
        settlement = dispute(tsa, keys, knowing(*keys), (None, None), originals)
        assert settlement.first == first
        assert settlement.grounds[0] == Ground("not-own-original", {"claim": 1 - first})


def test_a_mark_that_was_damaged_by_another_settles_nothing(tsa, keys):
    """The owner's claim is weak because the thief's mark went over it: that the thief's is proven says little."""
    known = {image.tobytes(): label for image, label in zip(keys[1].images, keys[1].labels, strict=True)}
    known |= {image.tobytes(): label for image, label in zip(keys[0].images[:22], keys[0].labels, strict=False)}
    suspect = from_callable(lambda images: np.array([known.get(image.tobytes(), 0) for image in images]))
    settlement = dispute(tsa, keys, suspect, ((2020, 1), (2025, 1)))
    assert settlement == Settlement(None, (Ground("one-proven", {"claim": 1}),))


def test_an_original_is_told_from_one_that_nobody_signed_for(tsa, keys):
    owner, thief = keys
    signed_for = knowing(owner, model=Model("step", "f" * 64, owner.commitment.id))
    unknown = knowing(owner, thief, model=Model("step", "f" * 64, "0" * 64))
    settlement = dispute(tsa, keys, knowing(*keys), (None, None), (signed_for, unknown), ((2025, 1), (2026, 1)))
    assert Ground("original-signed", {"claim": 0}) in settlement.grounds
    assert Ground("original-unsigned", {"claim": 1}) in settlement.grounds


@pytest.mark.parametrize(("dates", "first"), [(((2020, 1), (2025, 1)), 0), (((2025, 1), (2020, 1)), 1)])
def test_without_originals_the_earlier_date_goes_first_and_the_grounds_say_how_weak_that_is(tsa, keys, dates, first):
    settlement = dispute(tsa, keys, knowing(*keys), dates)
    assert settlement.first == first
    earlier, weakness = settlement.grounds
    assert (earlier.code, earlier.values["dated"][:10]) == ("key-earlier", "2020-01-01")
    assert weakness.code == "dates-alone"


def test_dates_of_released_models_count_before_dates_of_keys(tsa, keys):
    settlement = dispute(tsa, keys, knowing(*keys), ((2020, 1), (2019, 1)), released=((2021, 1), (2022, 1)))
    assert settlement.first == 0
    assert settlement.grounds[0].code == "model-earlier"


@pytest.mark.parametrize("dates", [(None, None), ((2020, 1), None), ((2020, 1), (2020, 1))])
def test_without_two_different_dates_it_stays_open(tsa, keys, dates):
    assert dispute(tsa, keys, knowing(*keys), dates).first is None


def test_that_only_one_claim_is_proven_does_not_make_it_the_first(tsa, keys):
    """A thief's mark may have wiped out the owner's: the thief does not win by that."""
    settlement = dispute(tsa, keys, knowing(keys[1]), ((2020, 1), (2025, 1)))
    assert settlement == Settlement(None, (Ground("one-proven", {"claim": 1}),))
    settlement = dispute(tsa, keys, from_callable(lambda images: np.zeros(len(images), int)), (None, None))
    assert settlement == Settlement(None, (Ground("neither-proven"),))
