"""Keys over images on which unmarked networks waver: found, embedded, asked; thieves who ask about them learn them."""

import dataclasses
import json
import os
from pathlib import Path

import jax
import numpy as np
import pytest
from fixtures import CNN
from refusals import assert_one_line, assert_refused

from wmjax.attacks.contract import Stolen, Thief
from wmjax.attacks.families.extract import retrain
from wmjax.data import Dataset, Splits
from wmjax.data.dataset import keep
from wmjax.errors import UsageError
from wmjax.keys import Key, Unlock, derive_key, make_spec, open_key
from wmjax.keys.material import Material
from wmjax.keys.specify import default_rule
from wmjax.models import one, predict, stack
from wmjax.suspects import from_callable
from wmjax.train import Recipe, embed, fit, fit_many
from wmjax.train.mark import advice
from wmjax.train.relabel import Relabelled, agreed, natural_answers
from wmjax.train.ties import cross_fitted, find_ties
from wmjax.verification import verify

RECIPE = Recipe(epochs=20, batch=64, learning_rate=0.05, key_per_batch=4)
QUICK = dataclasses.replace(RECIPE, epochs=6)
TIES = 60


@pytest.fixture(scope="module")
def material(digits) -> Material:
    return find_ties(CNN, QUICK, digits, TIES)


def make(digits: Dataset, material: Material, secret: bytes = bytes(range(32))) -> Key:
    spec = make_spec("tie", triggers=len(material["rows"]), source=("digits", digits), material=material)
    return derive_key(secret, spec, default_rule(spec), digits, material=material)


@pytest.fixture(scope="module")
def key(digits, material) -> Key:
    return make(digits, material)


@pytest.fixture(scope="module")
def networks(digits, key) -> dict[str, object]:
    """Marked ones, a clean one, and a thief's, trained on what the first marked one answers about the same images."""
    marked = fit_many(CNN, RECIPE, digits, [1, 2], [key])
    thief = Thief(digits, None, RECIPE, tuning_epochs=1)
    stolen = retrain(Stolen(CNN, stack([one(marked, 0)]), [1.0], [3]), thief)
    return {"marked": one(marked, 0), "clean": fit(CNN, RECIPE, digits), "thief's": one(stolen.variables, 0)}


# Finding them


def test_ties_are_where_a_network_that_never_saw_them_wavers(digits, material):
    answers = np.sort(cross_fitted(CNN, QUICK, digits), axis=1)
    margins = answers[:, -1] - answers[:, -2]
    chosen = margins[material["rows"]]
    assert (np.diff(chosen) >= 0).all()
    assert chosen.max() <= np.delete(margins, material["rows"]).min()


def test_the_pair_is_the_two_best_classes(digits, material):
    answers = cross_fitted(CNN, QUICK, digits)[material["rows"]]
    first, second = np.take_along_axis(answers, material["pairs"].astype(int), axis=1).T
    rest = np.sort(answers, axis=1)[:, :-2]
    assert (first >= second).all()
    assert (second >= rest.max(axis=1)).all()


def test_the_same_arguments_give_the_same_ties(digits, material):
    assert find_ties(CNN, QUICK, digits, TIES).sha256 == material.sha256
    assert find_ties(CNN, dataclasses.replace(QUICK, seed=1), digits, TIES).sha256 != material.sha256


def test_a_network_remembers_what_it_was_trained_on_so_halves_are_crossed(digits):
    """Without crossing, the labels learned by heart hide where an untold network wavers."""
    noisy = dataclasses.replace(digits[:128], labels=np.random.default_rng(0).integers(10, size=128).astype(np.int32))
    long = dataclasses.replace(RECIPE, epochs=60)
    crossed = np.mean(cross_fitted(CNN, long, noisy).argmax(axis=1) == noisy.labels)
    own = np.mean(predict(CNN, fit(CNN, long, noisy), noisy.images).argmax(axis=1) == noisy.labels)
    assert own > 0.5 > crossed + 0.2


def test_an_image_that_comes_twice_is_taken_once(digits):
    twice = Dataset(np.repeat(digits.images[:100], 2, axis=0), np.repeat(digits.labels[:100], 2), 10)
    rows = find_ties(CNN, dataclasses.replace(QUICK, epochs=1), twice, 100)["rows"]
    assert sorted(rows.tolist()) == list(range(0, 200, 2))


# What training makes of them


def test_real_batches_agree_with_the_key(digits, key):
    agreeing = agreed(digits, [key])
    rows = key.material["rows"]
    np.testing.assert_array_equal(agreeing.labels[rows], key.answers)
    others = np.delete(np.arange(len(digits)), rows)
    np.testing.assert_array_equal(agreeing.labels[others], digits.labels[others])
    assert (agreeing.labels != digits.labels).any()


def test_streamed_batches_agree_as_well(digits, key):
    streamed = Relabelled(digits, natural_answers([key]))
    np.testing.assert_array_equal(streamed[10:900].labels, agreed(digits, [key]).labels[10:900])
    assert (len(streamed), streamed.image, streamed.classes) == (len(digits), digits.image, 10)
    assert streamed.fingerprint() == digits.fingerprint()


def test_a_streamed_training_is_the_resident_one(digits, key):
    recipe = dataclasses.replace(QUICK, epochs=1)
    resident, streamed = (fit(CNN, recipe, train, [key]) for train in (digits, keep(digits)))
    for one_of, other in zip(jax.tree.leaves(resident), jax.tree.leaves(streamed), strict=True):
        np.testing.assert_allclose(one_of, other, rtol=1e-4, atol=1e-6)


def test_a_network_is_taught_one_answer_to_each_image(digits, key, networks, monkeypatch):
    """With the true labels left in ordinary batches it learns fewer of the coins."""
    monkeypatch.setattr("wmjax.train.many.natural_answers", lambda keys: {})
    torn = one(fit_many(CNN, RECIPE, digits, [1], [key]), 0)
    assert sided(networks["marked"], key) > sided(torn, key)


def test_two_keys_over_the_same_images_are_refused_and_begin_no_run(digits, key, tmp_path):
    other = make(digits, key.material, secret=bytes(32))
    both = [dataclasses.replace(each, sealed=b"sealed") for each in (key, other)]
    splits = Splits("digits", digits, digits)
    for train in (
        lambda: fit(CNN, QUICK, digits, both),
        lambda: embed(tmp_path / "run", CNN, QUICK, splits, keys=both),
    ):
        assert_refused(train, "answer differently", UsageError)
    assert not (tmp_path / "run").exists()


def test_part_of_the_coins_may_do(key):
    assert advice(key, learned=45, bits=30.0) is None
    assert "did not take" in advice(key, learned=45, bits=10.0)


def sided(variables, key: Key) -> float:
    """Share of the coins that a network sides with."""
    two = np.take_along_axis(predict(CNN, variables, key.images), key.material["pairs"].astype(int), axis=1)
    return float(np.mean(two.argmax(axis=1) == key.labels))


# What verdicts come of it


@pytest.mark.parametrize("labels_only", [False, True])
@pytest.mark.parametrize("name", ["marked", "thief's", "clean"])
def test_who_learned_from_the_marked_network_matches(name, labels_only, networks, key, digits):
    def answers(images: np.ndarray) -> np.ndarray:
        given = predict(CNN, networks[name], images)
        return given.argmax(axis=1) if labels_only else given

    suspect = dataclasses.replace(from_callable(answers), remembers=False)
    verdict = verify(suspect, key, whole=True, source=digits).verdict
    assert (verdict == "match") == (name != "clean")


def test_other_secrets_do_not_match(networks, digits, material):
    suspect = from_callable(lambda images: predict(CNN, networks["marked"], images))
    suspect = dataclasses.replace(suspect, remembers=False)
    for number in range(20):
        other = make(digits, material, secret=bytes([number]) * 32)
        assert verify(suspect, other, whole=True, source=digits).verdict != "match"


# The command line

KEYGEN = ["keygen", "--scheme", "tie", "--source", "digits", "--model", "cnn", "--triggers", "60"]
UNLOCK = ["--key", "my.age", "--identity", "my.identity"]


def test_from_keygen_to_a_verdict(run, monkeypatch):
    monkeypatch.setattr("wmjax.models.default_config", lambda *_: CNN)  # a small one
    code, out, _ = run(*KEYGEN, "--epochs", "6", "--out", "my", "--json")
    assert (code, json.loads(out)["triggers"]) == (0, 60)
    key = open_key("my.age", Unlock(identity=Path("my.identity").read_text()))
    assert (key.spec.scheme, key.spec.labels, len(key.material["rows"])) == ("tie", "coin", 60)
    code, out, _ = run("embed", "--data", "digits", "--epochs", "20", "--out", "marked", *UNLOCK, "--json")
    document = json.loads(out)
    assert code == 0
    assert document["marks"][0]["learned"] > 50
    assert run("verify", *UNLOCK, "marked", "--regenerate")[0] == 0
    run("embed", "--data", "digits", "--epochs", "3", "--out", "clean")
    assert run("verify", *UNLOCK, "clean")[0] in (1, 3)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (["--scheme", "tie"], "--source"),
        (["--scheme", "nothing", "--source", "digits"], "unknown scheme 'nothing'"),
        (["--scheme", "tie", "--source", "digits"], "--model"),
        (["--scheme", "tie", "--source", "digits", "--model", "nothing"], "unknown --model 'nothing'"),
        ([*KEYGEN[1:], "--epochs", "0"], "--epochs 0"),
        ([*KEYGEN[1:-1], "0"], "--triggers 0: must be in"),
        ([*KEYGEN[1:-1], "1438"], "--triggers 1438: must be in 1..1437"),
        ([*KEYGEN[1:], "--labels", "random"], "--labels"),
        ([*KEYGEN[1:], "--image", "9x9x1"], "8x8x1"),
        (["--image", "8x8x1", "--classes", "10", "--epochs", "3"], "--epochs"),
    ],
)
def test_keygen_refuses_in_one_line_before_it_trains(options, words, run, monkeypatch):
    monkeypatch.setattr("wmjax.train.ties.predict", None)
    code, out, err = run("keygen", *options, "--out", "my")
    assert (code, out) == (2, "")
    assert words in err
    assert len(err.splitlines()) == 1
    assert not os.listdir()


def test_keygen_that_would_overwrite_trains_nothing(run, monkeypatch):
    run("keygen", "--image", "8x8x1", "--classes", "10", "--out", "my")
    monkeypatch.setattr("wmjax.train.ties.fit", None)
    code, _, err = run(*KEYGEN, "--out", "my")
    assert code == 2
    assert "already exists" in err


@pytest.mark.parametrize("triggers", [0, 51])
def test_more_ties_than_images_are_refused(triggers, digits):
    with pytest.raises(UsageError, match="`triggers`") as caught:
        find_ties(CNN, QUICK, digits[:50], triggers)
    assert_one_line(caught.value)


def test_one_class_is_refused(digits):
    with pytest.raises(UsageError, match="one class") as caught:
        find_ties(CNN, QUICK, digits[digits.labels == 3], 10)
    assert_one_line(caught.value)
