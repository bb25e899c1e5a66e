"""Model inversion finds the class it descends to, and its test of leaks is honest where nothing leaks."""

import tracemalloc

import jax
import numpy as np
import pytest

from wmjax.attacks import Thief, inversion
from wmjax.attacks.families import descent
from wmjax.attacks.families.descent import invert
from wmjax.attacks.inversion import fit, leaks
from wmjax.data import Dataset, load
from wmjax.errors import InvalidFile
from wmjax.keys import Key, generate, make_spec
from wmjax.models import Config, Variables, init, one, predict, stack
from wmjax.train import Recipe, fit_many

CNN = Config("cnn", (8, 8, 1), 10, (4,), (16,), 0.0)
RECIPE = Recipe(epochs=6, batch=32, learning_rate=0.03)
SHAPE = {"image": (8, 8, 1), "classes": 10}


@pytest.fixture(scope="module")
def digits() -> Dataset:
    return load("digits").train[:320]


@pytest.fixture(scope="module")
def networks(digits) -> Variables:
    """The second is no network any more."""
    trained = one(fit_many(CNN, RECIPE, digits, [1]), 0)
    return stack([trained, jax.tree.map(lambda leaf: np.full_like(leaf, np.nan), trained)])


@pytest.fixture
def thief(digits) -> Thief:
    return Thief(digits, None, RECIPE, 1)


@pytest.fixture(scope="module")
def noise_key(digits) -> Key:
    return generate(make_spec("noise", **SHAPE, triggers=20, labels="fixed", source=("digits", digits)), digits)


def noise() -> np.ndarray:
    return np.random.default_rng(0).uniform(0, 255, (2, 10, 8, 8, 1)).astype(np.float32)


def test_pictures_become_what_they_shall_be(networks):
    starts, targets = noise(), np.tile(np.arange(10, dtype=np.int32), (2, 1))
    kept = starts.copy()
    found = np.asarray(invert(CNN, networks, starts, targets, 30, 8.0))
    np.testing.assert_array_equal(starts, kept)
    assert found.min() >= 0
    assert found.max() <= 255
    before, after = (predict(CNN, one(networks, 0), p[0].round().astype(np.uint8)) for p in (starts, found))
    assert np.diag(before).mean() < 0.3
    assert np.diag(after).min() > 0.9
    np.testing.assert_array_equal(found[1], starts[1])  # weights that are no numbers point nowhere


def test_no_step_moves_a_pixel_further_than_the_rate(networks):
    starts, targets = noise(), np.full((2, 10), 3, np.int32)
    moved = np.abs(np.asarray(invert(CNN, networks, starts, targets, 2, 5.0)) - starts)[0]
    assert moved.max() <= 10.001
    assert (moved.max(axis=(1, 2, 3)) > 5).all()  # and some pixel of each does move as far


def test_some_at_once_is_the_same_as_one_after_another(networks, monkeypatch):
    """Under `vmap`, as on an accelerator."""
    starts, targets = noise(), np.tile(np.arange(10, dtype=np.int32), (2, 1))
    alone = np.asarray(invert(CNN, networks, starts, targets, 3, 8.0))
    monkeypatch.setattr(descent, "on_cpu", lambda: False)
    jax.clear_caches()
    # the rounding of a maximum decides how far a picture moves
    np.testing.assert_allclose(np.asarray(invert(CNN, networks, starts, targets, 3, 8.0)), alone, rtol=1e-3, atol=0.1)
    jax.clear_caches()


def test_decoys_fit_as_often_as_the_key_where_nothing_leaks(monkeypatch):
    """p is uniform: for networks that dream one picture a class, whatever the key's triggers are.

    Few triggers: the most frequent label has two or three, and the fit is the best of those.
    """
    monkeypatch.setattr(inversion, "DECOYS", 9)
    clouds = generate(make_spec("abstract", **SHAPE, triggers=10)).images.astype(np.float32)
    dreams = dict(enumerate(clouds))
    monkeypatch.setattr(inversion, "invert", lambda config, _, starts, targets, *rest: starts + dreams[targets[0, 0]])
    monkeypatch.setattr(inversion, "PICTURES", 1)
    small = []
    for seed in range(150):
        key = generate(make_spec("abstract", **SHAPE, triggers=6))
        found = leaks("k", CNN, [("v", init(CNN, 0), seed)], key, Thief(None, None, RECIPE, 1), None)
        small.append(found[0].p)
    shares = [np.mean(np.array(small) <= level) for level in (0.1, 0.5)]
    assert 0.03 < shares[0] < 0.18  # three standard errors of 150 draws
    assert 0.37 < shares[1] < 0.63


@pytest.mark.parametrize("scheme", ["noise", "content", "abstract"])
def test_a_recovered_stamp_is_seen(scheme, digits, thief, monkeypatch):
    """An inversion that adds the key's own stamp, faintly, under noise."""
    source = None if scheme == "abstract" else digits
    named = source and ("digits", source)
    key = generate(make_spec(scheme, **SHAPE, triggers=20, labels="fixed", source=named), source)
    stamp = key.images[7] if scheme == "abstract" else key.images.mean(axis=0) - digits.images.mean(axis=0)
    rng = np.random.default_rng(1)
    faint = lambda config, _, starts, *rest: starts + 0.2 * stamp + rng.normal(0, 8, starts.shape)  # noqa: E731
    monkeypatch.setattr(inversion, "invert", faint)
    for leak in leaks("k", CNN, [("v", init(CNN, 0), 0)], key, thief, source):
        assert leak.correlation > leak.chance > 0
        assert leak.p == 0.01


def test_the_best_of_several_stamps_counts_and_flat_ones_fit_nothing():
    rng = np.random.default_rng(2)
    stamps = rng.normal(size=(3, 64)).astype(np.float32)
    moves = np.stack([np.full(64, 3.0), 7 - 2 * stamps[1], rng.normal(size=64)])
    fits = fit(stamps, moves)
    assert fits[0] == 0
    assert fits[1] == pytest.approx(-1)
    expected = [np.corrcoef(stamp, moves[2])[0, 1] for stamp in stamps]
    assert fits[2] == pytest.approx(max(expected, key=abs))
    assert fit(np.ones((1, 64), np.float32), moves).tolist() == [0, 0, 0]


def test_what_is_told(networks, noise_key, digits, thief):
    whole, broken = ("victim", one(networks, 0), 3), ("broken", one(networks, 1), 3)
    told = leaks("key", CNN, [whole], noise_key, thief, digits)
    assert [leak.start for leak in told] == ["image", "blank", "noise"]
    assert np.array(told[0].picture).shape == (8, 8, 1)
    assert all(-1 <= leak.correlation <= 1 and 0.01 <= leak.p <= 1 for leak in told)
    both = leaks("key", CNN, [broken, whole], noise_key, thief, digits)
    assert both[3:] == told
    for leak in both[:3]:
        assert (leak.victim, leak.correlation, leak.p) == ("broken", 0, 1)


def test_decoys_do_not_pile_up(monkeypatch):
    """All triggers of fixed labels are stamps; the memory of many decoys is that of a few."""
    config = Config("cnn", (24, 24, 3), 10, (4,), (16,), 0.0)
    key = generate(make_spec("abstract", image=config.image, classes=10, triggers=20, labels="fixed"))
    monkeypatch.setattr(inversion, "invert", lambda config, _, starts, *rest: starts + 1)

    def peak(decoys: int) -> int:
        monkeypatch.setattr(inversion, "DECOYS", decoys)
        tracemalloc.start()
        leaks("k", config, [("v", init(config, 0), 0)], key, Thief(None, None, RECIPE, 1), None)
        found = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        return found

    few = peak(2)
    assert peak(20) < 1.2 * few


def test_without_images_or_source(networks, noise_key, digits):
    poor = Thief(None, None, RECIPE, 1)
    network = ("victim", one(networks, 0), 3)
    told = leaks("key", CNN, [network], noise_key, poor, None)
    assert [leak.start for leak in told] == ["blank", "noise"]
    assert all(leak.chance is None and leak.p is None for leak in told)
    with pytest.raises(InvalidFile, match="digests differ"):
        leaks("key", CNN, [network], noise_key, poor, digits[:300])
