"""Keys whose coins follow from what was fixed before them: made, sealed, opened, verified, and what cannot be."""

import dataclasses

import coined
import numpy as np
import pytest
from refusals import assert_one_line

from wmjax.errors import InvalidFile, UsageError
from wmjax.keys import Key, Unlock, derive_key, make_spec, open_key, write_key
from wmjax.keys.commitment import leaves
from wmjax.keys.keyset import derive_leaves
from wmjax.keys.material import Material
from wmjax.keys.specify import default_rule
from wmjax.stats.correlations import UNIT
from wmjax.stats.spread import perfect
from wmjax.suspects import from_callable
from wmjax.verification import verify

SECRET = bytes(range(32))
PROBES = 350


def material_of(scheme: str, data, n: int = PROBES, seed: int = 0) -> Material:
    rng = np.random.default_rng(seed)
    if scheme == "tie":
        first = rng.integers(10, size=n)
        pairs = np.stack([first, (first + rng.integers(1, 10, size=n)) % 10], axis=1).astype(np.uint16)
        return Material({"pairs": pairs, "rows": rng.permutation(len(data))[:n].astype(np.int32)})
    features = np.rint(40 * np.clip(rng.standard_normal((n, 16)), -3, 3)).astype(np.int8)
    references = coined.softmax(2 * rng.standard_normal((2, n, 10)))
    return Material({"features": features, "references": np.rint(UNIT * references).astype(np.uint16)})


def make(scheme: str, data, material: Material | None = None, secret: bytes = SECRET) -> Key:
    material = material or material_of(scheme, data)
    spec = make_spec(scheme, triggers=PROBES, source=("digits", data), material=material)
    return derive_key(secret, spec, default_rule(spec), data, material=material)


@pytest.fixture(params=["spread", "tie"])
def scheme(request) -> str:
    return request.param


def test_it_is_sealed_with_its_material_and_opened(scheme, digits, tmp_path):
    embedding = Material({"seen": np.ones((3, 2), np.float32)})
    key = dataclasses.replace(make(scheme, digits), embedding=embedding)
    write_key(key, tmp_path / "my")
    again = open_key(tmp_path / "my.age", Unlock(identity=(tmp_path / "my.identity").read_text()))
    assert again.commitment == key.commitment
    assert again.material.sha256 == key.commitment.spec.material
    assert again.embedding.sha256 == embedding.sha256
    np.testing.assert_array_equal(again.images, key.images)


def test_the_most_evidence_that_a_key_can_give(digits):
    few = make_spec("tie", triggers=15, source=("digits", digits), material=material_of("tie", digits, 15))
    assert (
        13 < derive_key(SECRET, few, default_rule(few), digits, material=material_of("tie", digits, 15)).most_bits < 15
    )
    assert make("tie", digits).most_bits > make("tie", digits).commitment.rule.match_bits
    assert make("spread", digits).most_bits > 20
    fixed = make_spec("noise", triggers=20, source=("digits", digits), labels="fixed")
    assert derive_key(SECRET, fixed, default_rule(fixed), digits).most_bits == 0.0


def test_a_changed_byte_of_the_material_gives_other_coins(scheme, digits):
    key = make(scheme, digits)
    name = "features" if scheme == "spread" else "pairs"
    changed = {name: array.copy() for name, array in key.material.arrays.items()}
    changed[name][0, 0] = (changed[name][0, 1] + 1) % 10 if scheme == "tie" else changed[name][0, 0] // 2 + 1
    other = make(scheme, digits, Material(changed))
    field = "coins"
    one, two = (getattr(each.truth(slice(None)), field) for each in (key, other))
    assert 0.3 < np.mean(one == two) < 0.7
    assert other.commitment.id != key.commitment.id


def test_its_leaves_are_made_again_from_the_secret(scheme, digits):
    key = make(scheme, digits)
    rows = [0, 7, PROBES - 1]
    made = derive_leaves(SECRET, key.spec, digits, rows, key.material)
    assert made == [leaves(SECRET, key.images, key.labels)[i] for i in rows]


@pytest.mark.parametrize("remembers", [False, True])
def test_whoever_knows_the_coins_matches_and_a_stranger_does_not(scheme, digits, remembers):
    key = make(scheme, digits)
    told = {image.tobytes(): i for i, image in enumerate(key.images)}
    if scheme == "spread":
        known = perfect(key.truth(slice(None)), 10).probabilities
    else:
        known = 0.05 + 0.5 * np.eye(10)[key.answers]
    stranger = np.random.default_rng(1).dirichlet(np.ones(10), size=PROBES)
    for table, outcomes in ((known, ["match"]), (stranger, ["inconclusive", "no-match"])):
        suspect = from_callable(lambda images, table=table: table[[told[image.tobytes()] for image in images]])
        suspect = dataclasses.replace(suspect, remembers=remembers)
        for whole in (False, True):
            assert verify(suspect, key, whole=whole, source=digits).verdict in outcomes


def test_what_a_marked_model_answers_is_one_of_the_pair(digits):
    key = make("tie", digits)
    assert ((key.material["pairs"] == key.answers[:, None]).sum(axis=1) == 1).all()
    assert make("spread", digits).answers is None


def test_what_cannot_be_is_refused_in_one_line(scheme, digits):
    material = material_of(scheme, digits)
    other = "tie" if scheme == "spread" else "spread"
    spec = make_spec(scheme, triggers=PROBES, source=("digits", digits), material=material)
    refused = [
        lambda: make_spec(scheme, triggers=PROBES, source=("digits", digits)),
        lambda: make_spec("blend", triggers=PROBES, source=("digits", digits), material=material),
        lambda: make_spec(scheme, triggers=PROBES, source=("digits", digits), material=material, labels="random"),
        lambda: make_spec("blend", triggers=PROBES, source=("digits", digits), labels=spec.labels),
        lambda: derive_key(SECRET, spec, default_rule(spec), digits),
        lambda: derive_key(SECRET, spec, default_rule(spec), digits, material=material_of(scheme, digits, seed=1)),
        lambda: make(scheme, digits, material_of(scheme, digits, n=PROBES - 1)),
        lambda: make(scheme, digits, material_of(other, digits)),
    ]
    for attempt in refused:
        with pytest.raises((UsageError, InvalidFile)) as caught:
            attempt()
        assert_one_line(caught.value)


@pytest.mark.parametrize(
    "change",
    [
        {"dtype": "object"},
        {"shape": [1 << 40, 1 << 40]},
        {"shape": [-1]},
        {"shape": ["a", 1 << 40]},
        {"shape": {"4": 2}},
        {"shape": [1 << 50] * 60_000},
        {"dtype": ["uint16"]},
        {"data": "eJw="},
        {"data": "not base64"},
        {"more": 1},
    ],
    ids=str,
)
def test_damaged_or_hostile_arrays_are_refused(change):
    values = Material({"pairs": np.zeros((4, 2), np.uint16)}).to_json()
    values["pairs"].update(change)
    with pytest.raises(InvalidFile) as caught:
        Material.from_json(values)
    assert_one_line(caught.value)
