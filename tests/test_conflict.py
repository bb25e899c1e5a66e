"""Two claims on one model: who was first, by each other's originals, and by dates where there are none."""

import dataclasses
import datetime
from functools import partial
from typing import Any

import numpy as np
import pytest
from tsa import LocalTsa

from wmjax.evidence import conflict
from wmjax.evidence.authority import read_authority
from wmjax.evidence.claim import Attached, Claim
from wmjax.evidence.claim_file import read_claim
from wmjax.evidence.claimant import claim
from wmjax.evidence.conflict import settle
from wmjax.evidence.facts import Court
from wmjax.evidence.judge import judge
from wmjax.evidence.judgement import Settlement
from wmjax.evidence.release import Release
from wmjax.evidence.timestamps import Stamp
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


@dataclasses.dataclass(frozen=True)
class Party:
    """Who claims: a key, when it was dated, the original (by the keys in it), and when that was dated.

    Attributes:
      key: number of the key.
      dated: of the key's commitment.
      original: numbers of the keys that the original carries; None for no original.
      released: of the original's commitment; None where nobody signed for it.
    """

    key: int
    dated: Date
    original: tuple[int, ...] | None = None
    released: Date = None


OWNER, THIEF = Party(0, (2024, 1), (0,), (2024, 2)), Party(1, (2025, 1), (0, 1), (2025, 2))


def dispute(
    tsa: LocalTsa, keys: tuple[Key, Key], suspect: Suspect, *parties: Party, since: datetime.datetime | None = SINCE
) -> Settlement:
    """Both parties claim the suspect before a judge who trusts the authority."""
    claims: list[Claim] = []
    originals: list[Suspect] = []
    for place, party in enumerate(parties):
        key, signer, model = keys[party.key], new_signer(), Model("step", "a" * 64, f"{place}" * 64)
        commitments = [attached(tsa, key, signer, party.dated)]
        if party.released:
            commitments.append(attached(tsa, key, signer, party.released, model))
        if party.original is not None:
            originals.append(knowing(*(keys[i] for i in party.original), model=model))
        ask = partial(claim, suspect, key, signer, commitments, NONCE, lambda asked: None)
        claims.append(read_claim(ask(whole=True, reveal=True), "claim"))
    court = Court(NONCE, suspect, authorities=[read_authority(tsa.authority)], since=since, others=claims)
    return settle(claims, [judge(one, court) for one in claims], court, originals)


def codes(settlement: Settlement) -> list[str]:
    return [ground.code for ground in settlement.grounds]


@pytest.mark.parametrize("swapped", [False, True])
@pytest.mark.parametrize("thiefs_key", [(2025, 1), (2020, 1), (2023, 12), None])
def test_the_thiefs_original_carries_the_owners_mark_and_is_younger(tsa, keys, thiefs_key, swapped):
    """Whatever the date of the thief's key: it may have lain about since 2020."""
    thief = dataclasses.replace(THIEF, dated=thiefs_key)
    parties = (thief, OWNER) if swapped else (OWNER, thief)
    settlement = dispute(tsa, keys, knowing(*keys), *parties)
    assert settlement.first == int(swapped)
    assert codes(settlement)[-3:] == ["model-earlier", "descends", "secret-until-dated"]
    carried = {(g.values["claim"], g.values["original"]): g.code for g in settlement.grounds if "original" in g.values}
    first = settlement.first
    assert carried.pop((1 - first, first)) == "carries-not"
    assert set(carried.values()) == {"carries"}


def test_an_undated_original_is_no_older_than_its_key(tsa, keys):
    """A thief does not keep it open by signing for nothing."""
    settlement = dispute(tsa, keys, knowing(*keys), OWNER, changed(THIEF, released=None))
    assert (settlement.first, settlement.grounds[-3].code) == (0, "before-key")


def changed(party: Party, **fields: Any) -> Party:
    return dataclasses.replace(party, **fields)


@pytest.mark.parametrize(
    ("owner", "thief", "why"),
    [
        # A junk model, stamped long ago, that carries nobody's mark, or that nobody shows.
        (OWNER, changed(THIEF, original=(), released=(2020, 1)), ["not-own-original", "neither-carries"]),
        (
            OWNER,
            changed(THIEF, original=(), released=None),
            ["not-own-original", "neither-carries"],
        ),
        # A clean network with the thief's key alone.
        (OWNER, changed(THIEF, original=(1,)), ["neither-carries"]),
        (OWNER, changed(THIEF, original=(1,), released=(2020, 1)), ["neither-carries"]),
        # The owner's original learned the thief's published triggers; the thief shows a clean network.
        (changed(OWNER, original=(0, 1)), changed(THIEF, original=(1,)), ["clean-later"]),
        (changed(OWNER, original=(0, 1)), changed(THIEF, original=(1,), released=None), ["original-undated"]),
        (changed(OWNER, original=(0, 1), released=None), changed(THIEF, original=(1,)), ["clean-later"]),
        (changed(OWNER, original=(0, 1)), THIEF, ["both-carry"]),
        # The thief's own copy, presented as somebody's original.
        (changed(OWNER, original=(1,)), changed(THIEF, original=(0,)), ["not-own-original"] * 2 + ["both-carry"]),
        # Dates that do not fit.
        (changed(OWNER, released=(2025, 3)), THIEF, ["clean-later"]),
        (changed(OWNER, released=None), THIEF, ["original-undated"]),
        (OWNER, changed(THIEF, dated=None, released=None), ["original-undated"]),
        (OWNER, changed(THIEF, dated=(2020, 1), released=None), ["clean-later"]),
        (changed(OWNER, released=(2026, 7)), changed(THIEF, released=(2026, 8)), ["original-late"]),
    ],
)
def test_originals_that_do_not_tell_leave_it_open_and_say_why(tsa, keys, owner, thief, why):
    for parties in ((owner, thief), (thief, owner)):
        settlement = dispute(tsa, keys, knowing(*keys), *parties)
        assert settlement.first is None
        assert codes(settlement)[4:] == why


@pytest.mark.parametrize(("forged", "first"), [(False, 0), (True, None)])
def test_a_released_folder_dates_an_original_that_no_claim_names(tsa, keys, monkeypatch, forged, first):
    """As a statement in the claim would, if it is by the same owner and about the same key and weights."""
    owner, date = changed(OWNER, released=None), datetime.datetime(2024, 2, 1, tzinfo=datetime.UTC)
    plain, model = conflict._released, Model("step", "a" * 64, "0" * 64)

    def with_a_release(claim: Claim, original: Suspect, court: Court) -> datetime.datetime | None:
        public = claim.commitments[0].public
        if forged:
            public = dataclasses.replace(public, owner="f" * 64)
        here = Release("release", public, model, "c" * 64, (Stamp(date, "it", True, "d" * 64),))
        mine = claim.commitment == keys[0].commitment
        return plain(claim, original, dataclasses.replace(court, releases=[here] if mine else []))

    monkeypatch.setattr(conflict, "_released", with_a_release)
    settlement = dispute(tsa, keys, knowing(*keys), owner, THIEF)
    assert settlement.first == first
    assert (codes(settlement)[-1] == "original-undated") == forged


def test_an_original_is_older_than_the_suspect_which_somebody_has_to_date(tsa, keys):
    settlement = dispute(tsa, keys, knowing(*keys), OWNER, THIEF, since=None)
    assert (settlement.first, codes(settlement)[-1]) == (None, "since-unknown")


@pytest.mark.parametrize("check", ["_released", "_doubts_of_dates"])
def test_without_the_check_of_dates_a_thief_with_a_clean_network_would_be_first(tsa, keys, check, monkeypatch):
    """The owner's original learned the thief's triggers; whether a model was there first, only its date shows."""
    early, late = datetime.datetime(2020, 1, 1, tzinfo=datetime.UTC), datetime.datetime(2021, 1, 1, tzinfo=datetime.UTC)
    parties = (changed(OWNER, original=(0, 1)), changed(THIEF, original=(1,)))
    if check == "_released":
        clean = lambda claim, original, court: early if claim.commitment == keys[1].commitment else late  # noqa: E731
        monkeypatch.setattr(conflict, "_released", clean)
    else:
        monkeypatch.setattr(conflict, "_doubts_of_dates", lambda first, shown, since: ())
    assert dispute(tsa, keys, knowing(*keys), *parties).first == 1


def test_a_mark_that_was_damaged_by_another_settles_nothing(tsa, keys):
    """The owner's claim is weak because the thief's mark went over it: that the thief's is proven says little."""
    known = {image.tobytes(): label for image, label in zip(keys[1].images, keys[1].labels, strict=True)}
    known |= {image.tobytes(): label for image, label in zip(keys[0].images[:22], keys[0].labels, strict=False)}
    suspect = from_callable(lambda images: np.array([known.get(image.tobytes(), 0) for image in images]))
    settlement = dispute(tsa, keys, suspect, Party(0, (2020, 1)), Party(1, (2025, 1)))
    assert settlement == Settlement(None, (Ground("one-proven", {"claim": 1}),))


@pytest.mark.parametrize(
    ("dates", "told"), [(((2020, 1), (2025, 1)), 0), (((2025, 1), (2020, 1)), 1), (((2020, 1), None), None)]
)
@pytest.mark.parametrize("released", [None, (2020, 1)])
def test_without_originals_two_keys_stay_open_whatever_is_dated(tsa, keys, dates, told, released):
    """A spare key is older than the model that it is put on, and a released model that nobody asks is any model."""
    parties = (Party(0, dates[0]), Party(1, dates[1], released=released if dates[1] else None))
    settlement = dispute(tsa, keys, knowing(*keys), *parties)
    assert settlement.first is None
    assert codes(settlement)[-1] == "ask-originals"
    if told is not None and not released:
        assert settlement.grounds[0].values["claim"] == told


def test_two_signers_of_one_key_are_told_apart_by_dates_alone(tsa, keys):
    """Anybody who saw the secret can sign it; where a date is missing the order is unknown."""
    unknown = Settlement(None, (Ground("two-signers-open"),))
    for dates in ((None, None), (None, (2026, 7))):
        assert dispute(tsa, keys, knowing(*keys), Party(0, dates[0]), Party(0, dates[1])) == unknown
        assert dispute(tsa, keys, knowing(*keys), Party(0, dates[1]), Party(0, dates[0])) == unknown


def test_that_only_one_claim_is_proven_does_not_make_it_the_first(tsa, keys):
    """A thief's mark may have wiped out the owner's: the thief does not win by that."""
    settlement = dispute(tsa, keys, knowing(keys[1]), Party(0, (2020, 1)), Party(1, (2025, 1)))
    assert settlement == Settlement(None, (Ground("one-proven", {"claim": 1}),))
    nobody = from_callable(lambda images: np.zeros(len(images), int))
    settlement = dispute(tsa, keys, nobody, Party(0, None), Party(1, None))
    assert settlement == Settlement(None, (Ground("neither-proven"),))
