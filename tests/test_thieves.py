"""Thieves with something of their own: networks, labels, shifts, another way to tell what they were told."""

import dataclasses

import jax
import numpy as np
import pytest
from fixtures import CNN

from wmjax.attacks import Attack, Attacked, Stolen, Thief
from wmjax.attacks.case import Case, make_victim
from wmjax.attacks.contract import Served
from wmjax.attacks.families import answers, finetune, mixture, own, shift, wrk
from wmjax.attacks.grid import try_suite
from wmjax.attacks.result import Point
from wmjax.attacks.suite import ATTACKS, Suite
from wmjax.data import Dataset, load
from wmjax.keys import make_spec
from wmjax.keys.keyset import derive_key
from wmjax.keys.specify import default_rule
from wmjax.models import Variables, accuracy, init, one, predict, stack
from wmjax.models.predict import logits
from wmjax.train import Recipe, fit_many

RECIPE = Recipe(epochs=12, batch=32, learning_rate=0.05, key_per_batch=8)
FULL = 40 * np.log2(10)  # bits of all triggers


@pytest.fixture(scope="module")
def test() -> Dataset:
    return load("digits").test


@pytest.fixture(scope="module")
def case(digits: Dataset, test: Dataset) -> Case:
    """A small marked network, and a thief with as many images as its owner."""
    spec = make_spec("abstract", image=(8, 8, 1), classes=10, triggers=40)
    key = derive_key(bytes(range(32)), spec, default_rule(spec))
    marked = one(fit_many(CNN, dataclasses.replace(RECIPE, epochs=20), digits[:600], [0], [key]), 0)
    thief = Thief(digits[600:1200], None, RECIPE, 3)
    return Case("digits", CNN, [make_victim("net", CNN, marked, {"mine": key}, test)], thief, test, {}, 0)


@pytest.fixture(scope="module")
def victim(case: Case) -> Variables:
    return case.victims[0].variables


def tried(case: Case, name: str, strength: float) -> Point:
    return try_suite(Suite("one", ((ATTACKS[name], (strength,)),), inversion=False), case).points[-1]


@pytest.mark.parametrize(
    ("name", "strength", "most_lost", "bits"),
    [
        ("none", 0.0, 0.0, (100, FULL)),
        ("round", 1, 0.5, (80, FULL)),
        ("top", 1, 0.0, (80, FULL)),
        ("temper", 4, 0.0, (80, FULL)),
        ("own-shift", 0.5, 5, (60, FULL)),
        ("own-shift-kept", 2, 0.0, (60, FULL)),
        ("average", 0.5, 3, (20, FULL)),
        ("subtract", 1, 15, (20, FULL)),
        ("wrk", 0.03, 60, (-20, 40)),
        ("wrk-all", 0.03, 25, (-20, 40)),
        ("ftal-100", 0.01, 10, (20, FULL)),
        ("retrain-true", 0.5, 8, (-20, 15)),
        ("distil-own", 0.5, 8, (-20, 15)),
        ("distil-two", 0.5, 8, (-20, 15)),
    ],
)
def test_accuracy_and_evidence(name: str, strength: float, most_lost: float, bits: tuple[float, float], case: Case):
    """Who serves the stolen weights keeps the mark; a student whose answers come from elsewhere too keeps little."""
    point = tried(case, name, strength) if name != "none" else try_suite(Suite("none", (), False), case).points[0]
    assert (point.attack, point.strength, point.asked) == (name, strength, 40)
    assert -3 <= point.lost <= most_lost
    assert bits[0] <= point.bits <= bits[1]
    assert point.label_bits <= FULL
    if name == "top":  # one class told is a label told
        assert point.bits == pytest.approx(point.label_bits, abs=3)


def test_top_answers(test: Dataset, victim: Variables):
    said = predict(CNN, victim, test.images)
    told = answers.best(said, 3)
    np.testing.assert_array_equal((told > 0).sum(axis=1), 3)
    np.testing.assert_allclose(told.sum(axis=1), 1, rtol=1e-5)
    np.testing.assert_array_equal(told.argmax(axis=1), said.argmax(axis=1))
    np.testing.assert_allclose(answers.tempered(said, 1.0), said, atol=1e-5)
    assert answers.tempered(said, 4.0).max(axis=1).mean() < said.max(axis=1).mean()


def test_few_are_few(case: Case, victim: Variables, monkeypatch: pytest.MonkeyPatch):
    """As many images pass by whatever the number; each network has others; more than there are is all."""
    asked = []

    def note(config, variables, data, recipe, seeds, rates, *, rows) -> Variables:
        asked.append((rows, recipe.epochs, list(rates)))
        return variables

    monkeypatch.setattr(finetune, "tune", note)
    for name in ("ftal-100", "ftal-5000"):
        ATTACKS[name].run(Stolen(CNN, stack([victim, victim]), [0.01, 0.1], [1, 2]), case.thief)
    (few, long, rates), (every, short, _) = asked
    assert (few.shape, long, rates) == ((2, 100), 18, [0.01, 0.1])
    assert (every.shape, short) == ((2, 600), 3)
    assert set(few[0]) != set(few[1])


def test_the_new_last_layer_points_elsewhere(victim: Variables):
    old, fresh = stack([victim]), stack([init(CNN, 9)])
    for start in (old, fresh):
        kernel = wrk.pushed(start, old).params["head"]["kernel"]
        assert np.sum(kernel * old.params["head"]["kernel"], axis=1).max() < 1e-4
    opposite = Variables({**victim.params, "head": jax.tree.map(np.negative, victim.params["head"])}, victim.stats)
    left = wrk.pushed(stack([opposite]), old)  # what points away already stays
    np.testing.assert_array_equal(left.params["head"]["kernel"][0], opposite.params["head"]["kernel"])


def test_few_images_and_what_lies_beyond_the_boundaries(case: Case, victim: Variables):
    """Moved no further than half of them need; the labels there are chance, and each network's own."""
    few = case.thief.images[:30]
    networks = stack([victim, init(CNN, 1)])
    data, rows = wrk._examples(Stolen(CNN, networks, [0.1, 0.1], [1, 2]), few)
    assert (len(data), rows.shape) == (90, (2, 60))
    np.testing.assert_array_equal(data[rows[1][:30]].images, few.images)
    np.testing.assert_array_equal(data[rows[1][:30]].labels, few.labels)
    moved = [data[own[30:]] for own in rows]
    radii = [np.abs(part.images.astype(int) - few.images).max() for part in moved]
    assert radii[0] > radii[1] == wrk.RADII[0]  # who knows nothing errs from the start
    assert radii[0] in wrk.RADII
    assert accuracy(CNN, victim, moved[0].images, few.labels) <= 0.5
    assert all(np.mean(part.labels == few.labels) < 0.4 for part in moved)
    assert (moved[0].labels != moved[1].labels).any()


def run(name: str, case: Case, networks: list[Variables], strengths: list[float]) -> Attacked:
    return ATTACKS[name].run(Stolen(CNN, stack(networks), strengths, [4, 5][: len(networks)]), case.thief)


def test_an_average_is_between_both(case: Case, victim: Variables, test: Dataset):
    attack: Attack = ATTACKS["average"]
    images = test.images[:40]
    stolen, half, mine = (attack.serve(Served(CNN, victim, w, 3), case.thief, images) for w in (0.0, 0.5, 1.0))
    np.testing.assert_array_equal(stolen, predict(CNN, victim, images))
    np.testing.assert_allclose(half, (stolen + mine) / 2, atol=1e-6)
    assert np.mean(mine.argmax(axis=1) == test.labels[:40]) > 0.8
    assert np.abs(mine - stolen).max() > 0.05


@pytest.mark.parametrize(("rank", "left"), [(1, 0.75), (3, 0.1)])
def test_a_planted_difference_is_found(rank: int, left: float):
    """Three directions are planted; as many are taken away as the rank says, the widest first."""
    rng = np.random.default_rng(0)
    seen = rng.standard_normal((2000, 20)) + 3
    planted = rng.standard_normal((20, 3)) * [3, 2, 2] @ np.linalg.qr(rng.standard_normal((10, 3)))[0].T
    gap = seen @ planted + rng.standard_normal((2000, 10)) * 0.1
    affine = own.difference(seen, gap, rank)
    assert np.linalg.matrix_rank(affine[:-1]) == rank
    rest = gap - np.hstack([seen, np.ones((2000, 1))]) @ affine
    assert left / 2 < rest.std() / (gap - gap.mean(axis=0)).std() < left
    assert not own.difference(np.full((9, 20), np.nan), gap[:9], rank).any()


def test_what_is_subtracted_brings_the_two_together(case: Case, victim: Variables, test: Dataset):
    """Measured on images that neither saw, and from nothing but the last layer."""
    changed = run("subtract", case, [victim, victim], [1.0, 9.0]).variables
    orders = np.stack([own.rng_of(seed, 6).permutation(600)[:300] for seed in (4, 5)])
    others = own.own_networks(Stolen(CNN, stack([victim] * 2), [1.0, 9.0], [4, 5]), case.thief, orders)
    for i, most in enumerate((1.0, 0.9)):
        theirs = own._told(CNN, one(others, i), test.images)
        before, after = (own._told(CNN, v, test.images) - theirs for v in (victim, one(changed, i)))
        assert np.std(after) < most * np.std(before)
        jax.tree.map(np.testing.assert_array_equal, one(changed, i).params["convs"], victim.params["convs"])


def test_a_shift_of_the_size_that_was_asked(case: Case, victim: Variables):
    """It adds to the logits what they do not tell, and nothing on the mean."""
    images = case.thief.images
    moved = shift.own_shift(Served(CNN, victim, 2.0, 1), images)
    other = shift.own_shift(Served(CNN, victim, 2.0, 2), images)
    before = logits(CNN, victim, images.images)
    added = logits(CNN, moved, images.images) - before
    assert np.sqrt(np.mean(added**2)) == pytest.approx(2.0, rel=0.02)
    assert np.abs(added.mean(axis=0)).max() < 0.01
    together = np.corrcoef(added.T, before.T)[:10, 10:]
    assert np.abs(together).max() < 0.02
    assert np.corrcoef(added.ravel(), (logits(CNN, other, images.images) - before).ravel())[0, 1] < 0.9


def test_directions_that_logits_do_not_tell():
    rng = np.random.default_rng(0)
    seen = rng.standard_normal((500, 12)) @ rng.standard_normal((12, 12))
    said = seen @ rng.standard_normal((12, 4)) + 1
    map_ = shift.whitened(seen, said)
    u = np.hstack([seen, np.ones((500, 1))]) @ map_
    assert u.shape == (500, 8)
    np.testing.assert_allclose(u.T @ u / 500, np.eye(8), atol=1e-6)
    np.testing.assert_allclose(u.T @ (said - said.mean(axis=0)), 0, atol=1e-5)
    assert shift.whitened(seen[:, :4], seen[:, :4] @ rng.standard_normal((4, 6))).shape == (5, 0)  # logits tell all
    assert shift.whitened(np.full((9, 12), np.nan), said[:9]).shape == (13, 0)


def test_no_top_answer_is_moved(case: Case, victim: Variables, test: Dataset):
    attack = ATTACKS["own-shift-kept"]
    said = attack.serve(Served(CNN, victim, 4.0, 1), case.thief, test.images)
    honest = predict(CNN, victim, test.images)
    np.testing.assert_array_equal(said.argmax(axis=1), honest.argmax(axis=1))
    assert np.abs(said - honest).max() > 0.3
    free = predict(CNN, shift.own_shift(Served(CNN, victim, 4.0, 1), case.thief.images), test.images)
    assert (free.argmax(axis=1) != honest.argmax(axis=1)).any()


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> list[tuple[Recipe, Dataset, np.ndarray]]:
    """Students are not trained; what they would have learned is listed instead."""
    seen = []

    def note(stolen: Stolen, recipe: Recipe, data: Dataset, rows: np.ndarray) -> Attacked:
        seen.append((recipe, data, rows))
        return Attacked(stolen.config, stolen.variables)

    monkeypatch.setattr(mixture, "students", note)
    return seen


def test_labels_of_two_kinds(case: Case, victim: Variables, asked: list):
    """A network that never says the truth: whatever is true the thief knew himself."""
    own_labels = case.thief.images.labels
    said = predict(CNN, victim, case.thief.images.images).argmax(axis=1)
    head = jax.tree.map(lambda leaf: np.roll(leaf, 3, axis=-1), victim.params["head"])
    renamed = victim._replace(params={**victim.params, "head": head})
    run("retrain-true", case, [renamed, renamed], [0.25, 0.75])
    _, data, rows = asked[0]
    for part, share in zip(rows, (0.25, 0.75), strict=True):
        true, theirs = data[part].labels == own_labels, data[part].labels == (said + 3) % 10
        assert (true | theirs).all()
        assert np.mean(true) == pytest.approx(share, abs=0.03)


def test_labels_drawn_from_the_mean(case: Case, victim: Variables, asked: list):
    networks = stack([init(CNN, 7)])
    mixture._ensemble(Stolen(CNN, stack([victim]), [0.25], [4]), case.thief, networks)
    recipe, data, rows = asked[0]
    images, count = case.thief.images.images, len(case.thief.images)
    assert (recipe.epochs, len(data), rows.shape) == (3, 4 * count, (1, 4 * count))
    mean = 0.75 * predict(CNN, victim, images) + 0.25 * predict(CNN, one(networks, 0), images)
    drawn = np.eye(10)[data.labels].reshape(4, count, 10).mean(axis=0)
    np.testing.assert_allclose(drawn.mean(axis=0), mean.mean(axis=0), atol=0.02)
    assert np.corrcoef(drawn.ravel(), mean.ravel())[0, 1] > 0.8


def test_draws_follow_what_was_said():
    said = np.array([[0.0, 0.3, 0.7]] * 5000 + [[np.nan] * 3])
    data = mixture.drawn(np.zeros((5001, 2, 2, 1), np.uint8), said, np.random.default_rng(0))
    labels = data.labels.reshape(mixture.DRAWS, 5001)
    np.testing.assert_allclose(np.bincount(labels[:, :-1].ravel()) / labels[:, :-1].size, said[0], atol=0.01)
    assert not labels[:, -1].any()
    assert len({tuple(column) for column in labels[:, :9].T}) > 1


def test_the_other_owner_has_a_mark_of_theirs(case: Case, victim: Variables, asked: list, monkeypatch):
    """`distil-two` asks a network that was trained on with a stranger's key, `distil-own` one that was not."""
    seen = []
    monkeypatch.setattr(
        mixture, "overwrite", lambda given, thief: (seen.append(given), Attacked(CNN, stack([victim])))[1]
    )
    run("distil-own", case, [victim], [0.5])
    assert not seen
    run("distil-two", case, [victim], [0.5])
    assert list(seen[0].strengths) == [mixture.RATE]
    assert np.abs(seen[0].variables.params["head"]["kernel"] - victim.params["head"]["kernel"]).max() > 0.1
