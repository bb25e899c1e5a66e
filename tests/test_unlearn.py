"""Unlearning and adversarial training do to tiny networks what they say."""

import numpy as np
import pytest

from wmjax.attacks import Stolen, Thief
from wmjax.attacks.families import adversarial, unlearn
from wmjax.attacks.families.adversarial import adversaries
from wmjax.attacks.families.unlearn import find_stamps, stamped, suspected
from wmjax.data import Dataset, load
from wmjax.models import Config, Variables, accuracy, init, one, predict, stack
from wmjax.train import Recipe, fit_many

CNN = Config("cnn", (8, 8, 1), 10, (8,), (16,), 0.0)
TARGET = 3


def cornered(images: np.ndarray) -> np.ndarray:
    """Images with a white corner."""
    marked = images.copy()
    marked[:, :2, :2] = 255
    return marked


def hits(config: Config, variables: Variables, images: np.ndarray) -> float:
    """Share of cornered images that are answered as the target class."""
    return accuracy(config, variables, cornered(images), np.full(len(images), TARGET))


@pytest.fixture(scope="module")
def held_out() -> Dataset:
    return load("digits").test


@pytest.fixture(scope="module")
def marked(digits) -> Variables:
    """One network that takes everything with a white corner for the target class, [1, ...]."""
    part = digits[:800]
    images = np.concatenate([part.images, cornered(part.images[:120])])
    labels = np.concatenate([part.labels, np.full(120, TARGET, np.int32)])
    return fit_many(CNN, Recipe(epochs=10, batch=32, learning_rate=0.03), Dataset(images, labels, 10), [1])


@pytest.fixture(scope="module")
def thief(digits) -> Thief:
    return Thief(digits[800:1100], None, Recipe(epochs=10, batch=30, learning_rate=0.03), 4)


def stolen(marked: Variables, strengths: list[float]) -> Stolen:
    return Stolen(CNN, stack([one(marked, 0)] * len(strengths)), strengths, [5] * len(strengths))


def test_the_stamp_is_found_where_it_was_put(marked, thief, held_out):
    stamps = find_stamps(CNN, marked, thief.images.images)
    sizes = np.asarray(stamps.masks).sum(axis=(2, 3, 4))
    assert sizes[0].argmin() == TARGET
    assert TARGET in suspected(sizes[0])
    mask, pattern = stamps.masks[0, TARGET], stamps.patterns[0, TARGET]
    assert mask[:2, :2].sum() > 0.5 * mask.sum()
    for target in range(10):
        images = np.asarray(stamped(held_out.images, stamps.masks[0, target], stamps.patterns[0, target]))
        answers = predict(CNN, one(marked, 0), images.round().astype(np.uint8)).argmax(axis=1)
        assert np.mean(answers == target) > 0.7
    np.testing.assert_allclose(stamped(np.zeros((1, 8, 8, 1), np.uint8), mask, pattern)[0], mask * pattern)


@pytest.mark.parametrize("attack", unlearn.ATTACKS, ids=lambda attack: attack.name)
def test_the_mark_is_unlearned(attack, marked, thief, held_out):
    """At a rate that moves; the other network of the stack, at one that does not, stays as it was."""
    attacked = attack.run(stolen(marked, [1e-6, 0.03]), thief)
    idle, tuned = one(attacked.variables, 0), one(attacked.variables, 1)
    assert hits(CNN, one(marked, 0), held_out.images) > 0.9
    assert hits(CNN, idle, held_out.images) > 0.9
    assert hits(CNN, tuned, held_out.images) < 0.6
    assert accuracy(CNN, tuned, held_out.images, held_out.labels) > 0.7


def test_dreams_come_in_parts(marked, thief, monkeypatch):
    """However many classes: a network dreams of a bounded number of pictures at a time, the same in any parts."""
    asked, tuned = [], []

    def invert(config, variables, starts, targets, steps, rate):
        asked.append(targets)
        return starts * 0.5 + targets[..., None, None, None]

    monkeypatch.setattr(unlearn, "invert", invert)
    monkeypatch.setattr(unlearn, "_tune", lambda *given: tuned.append(given))
    attack = {attack.name: attack for attack in unlearn.ATTACKS}["dehydra"]
    for size in (unlearn.DREAMT_AT_ONCE, 33):
        monkeypatch.setattr(unlearn, "DREAMT_AT_ONCE", size)
        attack.run(stolen(marked, [0.1, 0.2]), thief)
    assert [targets.shape for targets in asked] == [(2, 100), (2, 33), (2, 33), (2, 33), (2, 1)]
    np.testing.assert_array_equal(np.concatenate(asked[1:], axis=1), asked[0])
    for data, rows in ((given[2], given[3]) for given in tuned[1:]):
        np.testing.assert_array_equal(data.images, tuned[0][2].images)
        np.testing.assert_array_equal(data.labels, tuned[0][2].labels)
        np.testing.assert_array_equal(rows, tuned[0][3])


def test_stamps_are_looked_for_once_a_network(marked, thief, monkeypatch):
    counted = []

    def find(config, variables, images):
        counted.append(len(variables.params["head"]["bias"]))
        return unlearn.Stamps(np.zeros((2, 10, 8, 8, 1), np.float32), np.zeros((2, 10, 8, 8, 1), np.float32))

    monkeypatch.setattr(unlearn, "find_stamps", find)
    monkeypatch.setattr(unlearn, "_tune", lambda *given: None)
    several = stack([one(marked, 0), init(CNN, 0), one(marked, 0)])
    unlearn.ATTACKS[0].run(Stolen(CNN, several, [1e-3] * 3, [1, 2, 3]), thief)
    assert counted == [2]


def test_stamps_go_to_the_networks_they_were_found_for():
    several = stack([init(CNN, seed) for seed in (4, 0, 4, 9, 0)])
    firsts, same = unlearn._distinct(several, 5)
    assert firsts[same].tolist() == [0, 1, 0, 3, 1]


def test_adversaries_stay_near_and_fool(marked, held_out):
    part = held_out[:130]  # no whole number of batches
    both = stack([one(marked, 0)] * 2)
    radii = np.array([0, 32], np.float32)
    found = np.asarray(adversaries(CNN, both, part.images, part.labels, radii, np.array([1, 2], np.int32)))
    np.testing.assert_array_equal(found[0], part.images)
    moved = np.abs(found[1].astype(int) - part.images)
    assert moved.max() == 32
    clean = accuracy(CNN, one(marked, 0), part.images, part.labels)
    random = np.random.default_rng(0).integers(-32, 33, part.images.shape)
    shaken = accuracy(CNN, one(marked, 0), np.clip(part.images + random, 0, 255).astype(np.uint8), part.labels)
    assert clean > 0.9
    assert accuracy(CNN, one(marked, 0), found[1], part.labels) < shaken - 0.2
    assert accuracy(CNN, one(marked, 0), found[1][120:], part.labels[120:]) < 0.9  # the ragged end too


def test_adversarial_training_makes_robust(marked, digits, held_out):
    thief = Thief(digits[800:1400], None, Recipe(epochs=1, batch=30, learning_rate=0.1), 5)
    attacked = adversarial.ATTACKS[0].run(stolen(marked, [1.0, 24.0]), thief)
    part, networks = held_out[:130], stack([one(marked, 0), one(attacked.variables, 0), one(attacked.variables, 1)])
    radii, seeds = np.full(3, 24, np.float32), np.array([1, 2, 3], np.int32)
    found = np.asarray(adversaries(CNN, networks, part.images, part.labels, radii, seeds))
    before, little, much = (accuracy(CNN, one(networks, i), found[i], part.labels) for i in range(3))
    assert much > before + 0.05
    assert much > little + 0.05
    assert accuracy(CNN, one(networks, 2), part.images, part.labels) > 0.85


def test_colour_pictures_batch_norm_and_broken_weights(monkeypatch):
    """Networks with running averages and images of any shape; weights that are no numbers spoil nothing."""
    monkeypatch.setattr(unlearn, "STEPS", 2)
    config = Config("vgg", (6, 5, 3), 4, (4,))
    networks = stack([init(config, 0), init(config, 1)])
    networks.params["head"]["bias"][1] = np.nan
    rng = np.random.default_rng(0)
    images, labels = rng.integers(256, size=(7, 6, 5, 3), dtype=np.uint8), np.arange(7, dtype=np.int32) % 4
    stamps = find_stamps(config, networks, images)
    assert (stamps.masks.shape, stamps.patterns.shape) == ((2, 4, 6, 5, 1), (2, 4, 6, 5, 3))
    assert np.isfinite(stamps.masks).all()
    assert np.isfinite(stamps.patterns).all()
    assert np.min(stamps.masks[0]) > 0
    assert not np.any(stamps.masks[1])
    radii, seeds = np.array([4, 4], np.float32), np.array([1, 2], np.int32)
    moved = np.asarray(adversaries(config, networks, images, labels, radii, seeds)).astype(int) - images
    assert np.abs(moved).max(axis=(1, 2, 3, 4)).tolist() == [4, 4]  # the second at random
