"""Extraction and transfer learning: surrogates answer as the network that was asked, heads are new."""

import dataclasses
import tracemalloc
from collections.abc import Callable

import jax
import numpy as np
import pytest
from fixtures import CNN
from refusals import assert_refused

from wmjax.attacks.contract import Attacked, Stolen, Thief
from wmjax.attacks.families import extract, queries, transfer
from wmjax.attacks.families.queries import made_up, noised, shifted
from wmjax.data import Dataset, load
from wmjax.errors import UsageError
from wmjax.models import Config, Variables, init, one, predict, stack
from wmjax.train import Recipe, fit_many

RECIPE = Recipe(epochs=12, batch=32, learning_rate=0.05, temperature=1.0)
ATTACKS = {attack.name: attack for attack in (*extract.ATTACKS, *transfer.ATTACKS)}


@pytest.fixture(scope="module")
def test() -> Dataset:
    return load("digits").test


@pytest.fixture(scope="module")
def victims(digits) -> Variables:
    """A network, and the same with all classes renamed: who learns from it does not learn the truth."""
    variables = one(fit_many(CNN, RECIPE, digits[:512], [0]), 0)
    head = jax.tree.map(lambda leaf: np.roll(leaf, 3, axis=-1), variables.params["head"])
    return stack([variables, variables._replace(params={**variables.params, "head": head})])


@pytest.fixture(scope="module")
def thief(digits) -> Thief:
    return Thief(digits[512:1024], digits[900:1412].images[:, ::-1], RECIPE, tuning_epochs=6)


@pytest.fixture
def untrained(monkeypatch) -> list[tuple]:
    """Surrogates are not trained; what they would have been trained on is listed instead."""
    seen = []

    def note(config, recipe, train, seeds, *, rows, teacher, diverging, title) -> Variables:
        seen.append((config, recipe, train, rows if rows is not None else np.arange(len(train))[None]))
        return stack([init(config, seed) for seed in seeds])

    monkeypatch.setattr(extract, "fit_many", note)
    return seen


def attack(name: str, victims: Variables, thief: Thief, strengths: list[float]) -> Attacked:
    return ATTACKS[name].run(Stolen(CNN, victims, strengths, [4, 5][: len(strengths)]), thief)


def agreement(attacked: Attacked, victims: Variables, images: np.ndarray) -> list[float]:
    """Share of images that each surrogate answers as its own victim does."""
    answers = [predict(attacked.config, one(attacked.variables, i), images).argmax(axis=1) for i in range(2)]
    own = [predict(CNN, one(victims, i), images).argmax(axis=1) for i in range(2)]
    return [float(np.mean(a == b)) for a, b in zip(answers, own, strict=True)]


def small(name: str, image: tuple[int, int, int], classes: int) -> Config:
    return Config("cnn", image, classes, (8,), (24,))


@pytest.mark.parametrize(
    ("name", "strength", "least"),
    [
        ("retrain", 1.0, 0.85),
        ("retrain-smooth", 16.0, 0.85),
        ("distil", 1.0, 0.85),
        ("distil-shifted", 0.25, 0.8),
        ("cross", 1.0, 0.8),
    ],
)
def test_surrogates_answer_as_their_own_victim(name, strength, least, victims, thief, test, monkeypatch):
    """Not as the other victim, and not the truth, whatever the labels of the thief's images."""
    monkeypatch.setattr(extract, "default_config", small)
    attacked = attack(name, victims, thief, [strength, strength])
    shares = agreement(attacked, victims, test.images)
    assert min(shares) > least
    assert (attacked.config == CNN) == (name != "cross")


@pytest.mark.parametrize("name", ["knockoff", "distil-noise"])
def test_surrogates_agree_on_what_was_asked_without_images_of_the_task(name, victims, thief, monkeypatch):
    """The queries are all that such thieves have: upside-down digits, or pictures that they made up."""
    blind = dataclasses.replace(thief, images=None)
    attacked = attack(name, victims, blind, [1.0, 1.0] if name == "knockoff" else [0.512, 0.512])
    new = thief.queries if name == "knockoff" else made_up(CNN.image, 200, 99)
    shares = agreement(attacked, victims, new)
    assert min(shares) > 0.6
    crossed = agreement(attacked, jax.tree.map(lambda leaf: leaf[::-1], victims), new)
    assert max(crossed) < 0.3


@pytest.mark.parametrize(("name", "needed"), [(name, set(a.needs)) for name, a in ATTACKS.items() if a.needs])
def test_what_a_thief_must_have(name, needed, victims, thief):
    empty = Thief(None, None, RECIPE, 1)
    with pytest.raises(UsageError, match="and the thief has none"):
        attack(name, victims, empty, [1.0, 1.0])
    assert len(needed) == 1


def test_a_surrogate_begins_where_no_victim_began(victims, thief, untrained):
    """From scratch, and not from the weights that `fit` draws for the same seed."""
    scratch = attack("distil", victims, thief, [1.0, 1.0]).variables.params["head"]["kernel"]
    for number, (seed, fresh) in enumerate(zip([4, 5], extract.fresh_seeds([4, 5]), strict=True)):
        np.testing.assert_array_equal(scratch[number], init(CNN, fresh).params["head"]["kernel"])
        assert np.abs(scratch[number] - init(CNN, seed).params["head"]["kernel"]).max() > 0.1


def test_shares_are_of_other_images_for_each_network(victims, thief, untrained):
    """Both attacks with shares; a batch is never larger than what there is."""
    attack("retrain", victims, thief, [0.03, 0.5])
    attack("knockoff", victims, thief, [0.1, 0.1])
    (_, recipe, few, _), (_, whole, half, _), (_, asked, queries, rows) = untrained
    assert (len(few), recipe.batch, len(half), whole.batch) == (15, 15, 256, 32)
    assert rows.shape == (2, round(0.1 * len(thief.queries)))
    assert len(set(rows[0]) & set(rows[1])) < len(rows[0])
    assert asked.temperature == 1.0
    np.testing.assert_array_equal(queries.images, thief.queries)
    assert len(np.unique(few.images, axis=0)) > 13


def test_hard_labels_are_the_top_answers(victims, thief, untrained):
    attack("retrain", victims, thief, [1.0, 1.0])
    _, _, data, rows = untrained[0]
    for number in range(2):
        own = data[rows[number]]
        np.testing.assert_array_equal(own.labels, predict(CNN, one(victims, number), own.images).argmax(axis=1))
        assert sorted(own.images.sum(axis=(1, 2, 3))) == sorted(thief.images.images.sum(axis=(1, 2, 3)))


def test_smooth_labels_are_those_of_the_mean_answer(victims, thief, untrained, monkeypatch):
    """Three sure copies outweigh five that lean the other way: no majority vote. The images themselves stay clean."""
    sure, leaning = np.eye(10)[0] * 0.9, np.eye(10)[0] * 0.45 + np.eye(10)[1] * 0.55
    asked = []

    def answer(config, variables, images) -> np.ndarray:
        asked.append(images)
        return np.tile(sure if len(asked) % extract.COPIES < 3 else leaning, (len(images), 1))

    monkeypatch.setattr(extract, "predict", answer)
    attack("retrain-smooth", victims, thief, [0.0, 20.0])
    _, _, data, rows = untrained[0]
    assert set(data.labels) == {0}
    np.testing.assert_array_equal(data[rows[1]].images, thief.images.images)
    np.testing.assert_array_equal(asked[: extract.COPIES], [thief.images.images] * extract.COPIES)
    noise = asked[-1].astype(float) - asked[-2]
    grey = (asked[-1] > 100) & (asked[-1] < 156)  # neither end of the scale cuts it off
    assert 24 < noise[grey].std() < 32  # of a difference: 20 * sqrt(2)


def test_noised_copies_are_moved(thief):
    images = thief.images.images
    copies = noised(images, 0.0, 1, np.random.default_rng(0))
    inner = np.s_[:, 1:-1, 1:-1]
    moves = [np.roll(images, (y, x), axis=(1, 2)) for y in (-1, 0, 1) for x in (-1, 0, 1)]
    fits = np.array([(copies[inner] == move[inner]).all(axis=(1, 2, 3)) for move in moves])
    assert fits.any(axis=0).all()
    assert fits.mean(axis=1).min() > 0.05


def test_shifted_images_grow_unlike_the_task(thief):
    images = thief.images.images.repeat(3, axis=3)
    at = lambda strength: shifted(images, strength, np.random.default_rng(0)).astype(float)  # noqa: E731
    np.testing.assert_array_equal(at(0.0), images)
    distances = [np.abs(at(strength) - images).mean() for strength in (0.1, 0.25, 0.5, 1.0)]
    assert np.all(np.diff(distances) > 5)
    far = at(1.0)
    inverted = [np.corrcoef(a.ravel(), b.ravel())[0, 1] < 0 for a, b in zip(far[..., 0], images[..., 0], strict=True)]
    assert 0.3 < np.mean(inverted) < 0.8
    assert np.mean(np.abs(far[..., 0] - far[..., 1]) > 20) > 0.5


@pytest.mark.parametrize(
    "distort",
    [lambda images, rng: shifted(images, 0.7, rng), lambda images, rng: noised(images, 9.0, 1, rng)],
    ids=["shifted", "noised"],
)
def test_images_are_distorted_in_parts(distort, monkeypatch):
    """The parts change nothing, and temporaries are those of a part."""
    images = np.random.default_rng(1).integers(0, 256, (10_000, 12, 11, 3), dtype=np.uint8)
    tracemalloc.start()
    found = distort(images, np.random.default_rng(2))
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 4 * images.nbytes
    monkeypatch.setattr(queries, "AT_ONCE", len(images))
    np.testing.assert_array_equal(distort(images, np.random.default_rng(2)), found)


def test_pictures_are_made_up_for_each_network(victims, untrained):
    """As many as were asked for, half of them cloudy, none shared."""
    attack("distil-noise", victims, Thief(None, None, RECIPE, 1), [0.1, 0.1])
    _, _, data, rows = untrained[0]
    first, second = data[rows[0]].images, data[rows[1]].images
    assert first.shape == second.shape == (100, 8, 8, 1)
    assert len(np.unique(np.concatenate([first, second]), axis=0)) == 200
    steps = np.abs(np.diff(first.astype(float), axis=1)).mean(axis=(1, 2, 3))
    assert steps[:50].mean() < 0.7 * steps[50:].mean()


def test_hot_answers_are_learnt_slowly():
    slow = [extract.soft_recipe(RECIPE, CNN, temperature) for temperature in (1.0, 2.0, 4.0, 16.0)]
    np.testing.assert_allclose([recipe.learning_rate for recipe in slow], [0.05, 0.05, 0.025, 0.00625])
    assert [recipe.crop for recipe in slow] == [1] * 4
    assert extract.soft_recipe(dataclasses.replace(RECIPE, crop=3), CNN, 1.0).crop == 3


@pytest.mark.parametrize(("name", "other"), [("cnn", "vgg"), ("vgg", "cnn"), ("resnet18", "cnn")])
def test_another_architecture(name, other, thief, untrained):
    config = Config(name, (8, 8, 1), 10, (4, 4) if name == "resnet18" else (4,))
    attacked = ATTACKS["cross"].run(Stolen(config, stack([init(config, 0)]), [4.0], [0]), thief)
    assert attacked.config.name == other
    assert (untrained[0][1].epochs, untrained[0][1].temperature) == (RECIPE.epochs, 4.0)


@pytest.mark.parametrize(
    ("name", "strengths", "kept"),
    [
        ("transfer-fewer", [0.5, 0.5], [0, 1, 2, 3, 4, -1, -1, -1, -1, -1]),
        ("transfer-merged", [0.02, 0.02], [0, 0, 1, 1, 2, 2, 3, 3, 4, 4]),
    ],
)
def test_the_new_task_is_learnt(name, strengths, kept, victims, thief, test):
    attacked = attack(name, victims, thief, strengths)
    assert attacked.kept.tolist() == kept
    assert attacked.config == dataclasses.replace(CNN, classes=5)
    new = attacked.kept[test.labels]
    for number in range(2):
        answers = predict(attacked.config, one(attacked.variables, number), test.images[new >= 0])
        assert np.mean(answers.argmax(axis=1) == new[new >= 0]) > 0.8


def test_only_the_head_is_new(victims, thief):
    """Without a rate to speak of: all else is the victim's, the head nobody's. Rates are each network's own."""
    attacked = attack("transfer-merged", victims, thief, [1e-12, 0.02])
    untouched, moved = one(attacked.variables, 0).params, one(attacked.variables, 1).params
    before = one(victims, 0).params
    for part in before.keys() - {"head"}:
        for now, then in zip(jax.tree.leaves(untouched[part]), jax.tree.leaves(before[part]), strict=True):
            np.testing.assert_allclose(now, then, rtol=1e-5, atol=1e-7)
    fresh = init(attacked.config, extract.fresh_seeds([4])[0]).params["head"]["kernel"]
    np.testing.assert_allclose(untouched["head"]["kernel"], fresh, rtol=1e-5, atol=1e-7)
    assert np.abs(moved["convs"][0]["kernel"] - before["convs"][0]["kernel"]).max() > 1e-3


@pytest.mark.parametrize("classes", [4, 5, 7, 10])
@pytest.mark.parametrize("name", ["transfer-fewer", "transfer-merged"])
def test_uniform_labels_stay_uniform(name: str, classes: int, thief: Thief, monkeypatch: pytest.MonkeyPatch):
    """Every new class is made of equally many old ones."""
    monkeypatch.setattr(transfer, "tuned", lambda stolen, thief, kept, rates: Attacked(stolen.config, {}, kept))
    config = dataclasses.replace(CNN, classes=classes)
    kept = ATTACKS[name].run(Stolen(config, stack([init(config, 0)]), [0.5], [0]), thief).kept
    counts = np.bincount(kept[kept >= 0])
    assert len(kept) == classes
    assert len(counts) >= 2
    assert set(counts) == {2 if name == "transfer-merged" else 1}


@pytest.mark.parametrize(
    ("run", "classes", "strengths", "words"),
    [
        (transfer.transfer_fewer, 10, [0.5, 0.3], "one by one"),
        (transfer.transfer_merged, 3, [0.1, 0.1], "two classes must be left"),
    ],
)
def test_transfers_that_cannot_be(run: Callable, classes: int, strengths: list[float], words: str, thief: Thief):
    config = dataclasses.replace(CNN, classes=classes)
    with pytest.raises(UsageError, match=words):
        run(Stolen(config, stack([init(config, 0)] * 2), strengths, [0, 1]), thief)


def test_a_thief_without_images_of_the_kept_classes(victims, thief, digits):
    late = dataclasses.replace(thief, images=digits[digits.labels > 6])
    with pytest.raises(UsageError, match="no image of the classes that are kept"):
        attack("transfer-fewer", victims, late, [0.5, 0.5])


def test_a_network_for_images_too_small_for_the_other_architecture_is_not_crossed():
    """An error that the grid knows: it passes over this attack, and goes on to the next one."""
    config = Config("vgg", (3, 3, 1), 10, (4,))
    owned = Dataset(np.zeros((8, 3, 3, 1), np.uint8), np.zeros(8, np.int32), 10)
    stolen = Stolen(config, stack([init(config, 0)]), [4.0], [0])
    assert_refused(lambda: ATTACKS["cross"].run(stolen, Thief(owned, None, RECIPE, 1)), "too small", UsageError)
