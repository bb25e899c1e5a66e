"""The keyed shift: directions, how far the logits move, what is learned of it, and that it costs devices nothing."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from fixtures import IMAGE
from hypothesis import given, settings
from hypothesis import strategies as st

from wmjax.data import Dataset
from wmjax.data.batches import batch_indices
from wmjax.errors import UsageError
from wmjax.models import FAMILIES, Config, Variables, default_config, init, predict
from wmjax.models.functional import features
from wmjax.models.predict import logits
from wmjax.train import Batch, Inputs, Recipe, Teacher, all_devices, fit, make_program, plan_of, schedule_of
from wmjax.train.memory import step_bytes
from wmjax.train.rehearse import reference_answers
from wmjax.train.shift import (
    Directions,
    Shift,
    changed,
    fit_directions,
    look,
    looked,
    move,
    probe_features,
    shifted,
    shifted_targets,
)
from wmjax.train.step import first_state

NET = Config("cnn", IMAGE, 10, (8,), (64,))
RECIPE = Recipe(epochs=12, batch=32, seed=2, learning_rate=0.05, label_smoothing=0.2)
FEATURES = 12


def contrasts(classes: int) -> np.ndarray:
    """Orthonormal directions among classes that leave their mean, [C - 1, C]."""
    square, _ = np.linalg.qr(np.column_stack([np.ones(classes), np.eye(classes)[:, 1:]]))
    return square[:, 1:].T


COINS = np.random.default_rng(1).choice([-1.0, 1.0], size=(9, FEATURES))


@pytest.fixture(scope="module")
def images() -> Dataset:
    from wmjax.data import load

    return load("digits").train[:640]


@pytest.fixture(scope="module")
def probes() -> np.ndarray:
    from wmjax.data import load

    return load("digits").test.images


@pytest.fixture(scope="module")
def base(images) -> Variables:
    return jax.device_get(fit(NET, RECIPE, images))


@pytest.fixture(scope="module")
def directions(base, images) -> Directions:
    return fit_directions(NET, base, images.images, np.random.default_rng(4), FEATURES)


@pytest.fixture(scope="module")
def shift(base, directions) -> Shift:
    return Shift(base, directions, move(COINS, contrasts(10), 1.5), np.float32(0.25))


@pytest.mark.parametrize("name", FAMILIES)
def test_features_and_head_are_the_network(name):
    usual = default_config(name, (8, 8, 1), 10)
    config = dataclasses.replace(usual, widths=tuple(width // 4 for width in usual.widths))
    variables = init(config, 1)
    images = np.random.default_rng(0).integers(0, 256, (5, 8, 8, 1), np.uint8)
    hidden, z = map(np.asarray, jax.jit(features, static_argnums=0)(config, variables, images))
    head = variables.params["head"]
    np.testing.assert_allclose(z, logits(config, variables, images), rtol=1e-5, atol=1e-5)
    np.testing.assert_allclose(hidden @ head["kernel"] + head["bias"], z, rtol=1e-4, atol=1e-5)


def test_directions_are_white_and_tell_nothing_that_the_answers_tell(base, directions, images):
    seen, z = (part.astype(float) for part in looked(NET, base, images.images))
    exp = np.exp(z - z.max(1, keepdims=True))
    p = exp / exp.sum(1, keepdims=True)
    read = seen @ directions.seen + z @ directions.logits + p @ directions.probabilities + directions.bias
    np.testing.assert_allclose(read.std(0), 1, rtol=1e-3)
    for told in (z, p, np.ones((len(z), 1))):
        assert np.abs(told.T @ read / len(z)).max() < 1e-2
    assert np.abs(np.corrcoef(read.T) - np.eye(FEATURES)).max() < 0.5
    other = fit_directions(NET, base, images.images, np.random.default_rng(5), FEATURES)
    assert np.abs(other.seen - directions.seen).max() > 0.1
    kept = probe_features(NET, base, directions, images.images)
    assert kept.dtype == np.int8
    np.testing.assert_allclose(kept / 40, np.clip(read, -3, 3), atol=0.0126)


def test_a_base_with_few_components_gives_fewer_features(base, images):
    """Sixty-four units less ten logits, less what is dead, and eight colours: two thirds of those."""
    most = fit_directions(NET, base, images.images, np.random.default_rng(4), 50)
    kept = probe_features(NET, base, most, images.images)
    assert FEATURES < kept.shape[1] < 36 + 6
    assert np.linalg.matrix_rank(kept.astype(float)) == kept.shape[1]


def naive_shifted(z: np.ndarray, added: np.ndarray, band: float) -> np.ndarray:
    """The same, one image at a time, by trying every other class."""
    moved = []
    for own, delta in zip(z.astype(float), added.astype(float), strict=True):
        best, far = int(own.argmax()), 1.0
        own = own * min(1.0, np.log(41) / (own[best] - np.sort(own)[-2]))  # what smoothing of .2 teaches: .82 and .02s
        if own[best] - np.sort(own)[-2] >= band:
            for other in range(len(own)):
                if other != best and delta[other] > delta[best]:
                    far = min(far, 0.97 * (own[best] - own[other]) / (delta[other] - delta[best]))
        moved.append(own + far * delta)
    return np.array(moved)


@settings(max_examples=30)
@given(seed=st.integers(0, 2**31), band=st.sampled_from([0.0, 0.25, 2.0]), sigma=st.sampled_from([0.1, 1.0, 30.0]))
def test_outside_the_band_the_answer_stays(seed, band, sigma):
    rng = np.random.default_rng(seed)
    shapes = {"seen": (16, FEATURES), "logits": (10, FEATURES), "probabilities": (10, FEATURES), "bias": (FEATURES,)}
    directions = Directions(**{name: rng.standard_normal(shape).astype(np.float32) for name, shape in shapes.items()})
    by = move(rng.choice([-1.0, 1.0], size=(9, FEATURES)), contrasts(10), sigma)
    seen, z = ((4 * rng.standard_normal((40, n))).astype(np.float32) for n in (16, 10))
    p = np.exp(z) / np.exp(z).sum(1, keepdims=True)
    read = seen @ directions.seen + z @ directions.logits + p @ directions.probabilities + directions.bias
    own = Shift(Variables({}, {}), directions, by, np.float32(band))
    moved = np.asarray(jax.jit(shifted)(own, seen, z))
    np.testing.assert_allclose(moved, naive_shifted(z, np.clip(read, -3, 3) @ by, band), rtol=1e-3, atol=1e-3 * sigma)
    two = np.sort(z, axis=1)[:, -2:]
    outside = two[:, 1] - two[:, 0] > band + 1e-4
    assert (moved.argmax(1) == z.argmax(1))[outside].all()
    if sigma == 30 and band == 2:
        assert (moved.argmax(1) != z.argmax(1)).any()


def test_a_base_that_is_sure_of_its_answers_is_moved_all_the_same(shift, images, monkeypatch):
    """What is learned depends on the coins; with its logits left as they are next to nothing would."""
    sure = jax.tree.map(np.copy, shift.base)
    for leaf in ("kernel", "bias"):
        sure.params["head"][leaf] *= 20
    some, labels = images.images[:100], jax.nn.one_hot(images.labels[:100], 10)

    def depends() -> float:
        one, other = (shifted_targets(NET, shift._replace(base=sure, move=by), some, labels) for by in MOVES)
        return float(np.abs(one - other).sum(axis=1).mean())

    assert depends() > 0.1
    monkeypatch.setattr("wmjax.train.shift.UNSURE", 1e-30)
    assert depends() < 0.02


MOVES = [move(coins, contrasts(10), 1.5) for coins in (COINS, -COINS)]


def test_move_has_the_power_that_is_asked_for():
    by = move(COINS, contrasts(10), 1.5)
    read = np.random.default_rng(0).standard_normal((20000, FEATURES))
    assert (read @ by).std() == pytest.approx(1.5, rel=0.02)
    np.testing.assert_allclose(by.sum(axis=1), 0, atol=1e-6)


def test_targets_are_half_the_moved_answers_and_half_the_labels(shift, images):
    some = jnp.asarray(images.images[:9])
    labels = jax.nn.one_hot(jnp.asarray(images.labels[:9]), 10)
    targets = np.asarray(shifted_targets(NET, shift, some, labels))
    moved = np.asarray(jax.nn.softmax(shifted(shift, *look(NET, shift.base, some))))
    np.testing.assert_allclose(targets, (moved + np.asarray(labels)) / 2, rtol=1e-5, atol=1e-7)
    np.testing.assert_allclose(targets.sum(axis=1), 1, rtol=1e-5)


def test_what_changes_is_counted_beforehand(shift, base, images):
    seen, z = looked(NET, base, images.images)
    for band in (0.0, 0.25, 50.0):
        own = shift._replace(band=np.float32(band))
        moved = np.asarray(shifted(own, jnp.asarray(seen), jnp.asarray(z)))
        assert changed(NET, own, images.images) == np.mean(moved.argmax(1) != z.argmax(1))
    assert changed(NET, shift._replace(band=np.float32(0)), images.images) == 0
    assert changed(NET, shift._replace(band=np.float32(50)), images.images) > 0


@pytest.fixture(scope="module")
def tuned(base, shift, images) -> dict[str, np.ndarray]:
    """Logits on the probes, of the base tuned with the shift and without."""
    recipe = dataclasses.replace(RECIPE, epochs=12, learning_rate=0.05)
    return {
        name: fit(NET, recipe, images, state=first_state(base), shift=own)
        for name, own in (("marked", shift), ("control", None))
    }


def test_a_real_training_learns_the_shift(base, directions, shift, tuned, probes):
    """The coins are read off natural images by a plain projection; without the shift there is nothing to read."""
    seen, z = looked(NET, base, probes)
    wanted = np.asarray(shifted(shift, jnp.asarray(seen), jnp.asarray(z))) - z
    read = probe_features(NET, base, directions, probes) / 40
    agree, alike = {}, {}
    for name, variables in tuned.items():
        moved = logits(NET, variables, probes) - z
        moved -= moved.mean(axis=1, keepdims=True)
        alike[name] = np.corrcoef(moved.ravel(), wanted.ravel())[0, 1]
        agree[name] = np.mean(np.sign(contrasts(10) @ moved.T @ read) == COINS)
    assert alike["marked"] > 0.3 > 0.1 > abs(alike["control"])
    assert agree["marked"] > 0.75
    assert agree["control"] < 0.62


def test_the_shift_is_not_a_teacher(base, shift, images):
    with pytest.raises(UsageError, match="`teacher` and `shift`"):
        fit(NET, RECIPE, images, shift=shift, teacher=Teacher(NET, base))


def one_chunk(shift: Shift, images: Dataset):
    """A program for two steps with the shift, what it takes beside the state, and the state."""
    mapping, recipe = all_devices(), dataclasses.replace(RECIPE, epochs=40, crop=1, flip=True)
    rows = np.stack([batch_indices(2, step, recipe.batch, len(images)) for step in range(2)])
    state = first_state(shift.base)
    whole, schedule = Batch(images.images, images.labels), schedule_of(recipe, recipe.batch)
    seed, schedule, whole, shift, state = mapping.replicate((np.int32(2), schedule, whole, shift, state))
    program = make_program(plan_of(NET, recipe, mapping))
    return program, Inputs(seed, schedule, whole, mapping.divide(rows), shift=shift), state


def test_golden_steps_and_another_key_compiles_nothing(shift, images):
    """Two steps from the base; then with other coins and band, without a copy from or to the host.

    If a change of the step is meant, write the new values here.
    """
    rng = np.random.default_rng(0)
    data = Dataset(rng.integers(0, 256, (64, 8, 8, 1), np.uint8), rng.integers(0, 10, 64).astype(np.int32), 10)
    known = _known_shift(rng)
    program, inputs, state = one_chunk(known, data)
    state, metrics = program(state, inputs)
    head = np.asarray(state.variables.params["head"]["kernel"]) - known.base.params["head"]["kernel"]
    np.testing.assert_allclose([*metrics.loss, np.linalg.norm(head)], GOLDEN, rtol=1e-3)
    before = program._cache_size()
    other = all_devices().replicate(known._replace(move=-known.move, band=np.float32(0)))
    with jax.transfer_guard("disallow"):
        state, metrics = program(state, inputs._replace(shift=other))
    assert program._cache_size() == before
    assert np.isfinite(np.asarray(metrics.loss)).all()


def _known_shift(rng: np.random.Generator) -> Shift:
    shapes = ((72, FEATURES), (10, FEATURES), (10, FEATURES), (FEATURES,))
    directions = Directions(*(rng.standard_normal(shape).astype(np.float32) for shape in shapes))
    return Shift(init(NET, 0), directions, move(COINS, contrasts(10), 1.5), np.float32(0.25))


GOLDEN = [2.388228, 2.234946, 0.056642]  # the two losses, and how far the head moved


def test_memory_is_asked_for_with_the_base(shift, images):
    """The base is resident beside the marked network."""
    plan = plan_of(NET, RECIPE, all_devices())
    sizes = [step_bytes(plan, images, 8, own) for own in (shift, None)]
    assert sizes[0] > sizes[1] + sum(leaf.nbytes for leaf in jax.tree.leaves(shift.base))


def test_a_marked_run_begun_again_in_its_middle_ends_the_same_bit_for_bit(shift, images):
    recipe, states = dataclasses.replace(RECIPE, epochs=2, crop=1), {}
    begin = first_state(shift.base)

    def keep(state, step):
        states[step] = jax.device_get(state)

    whole = fit(NET, recipe, images, state=begin, shift=shift, save=keep)
    again = fit(NET, recipe, images, state=states[20], shift=shift)
    plain = fit(NET, recipe, images, state=states[20])
    leaves = [[np.asarray(leaf) for leaf in jax.tree.leaves(each)] for each in (whole, again, plain)]
    assert all(map(np.array_equal, leaves[0], leaves[1]))
    assert not all(map(np.array_equal, leaves[0], leaves[2]))


def test_references_are_the_base_and_the_means_of_its_students(base, images, probes):
    recipe = dataclasses.replace(RECIPE, epochs=2)
    some = images[:320]
    found = reference_answers(NET, base, recipe, some, probes, [5, 6]) / 65535
    assert found.shape == (3, len(probes), 10)
    np.testing.assert_allclose(found[0], predict(NET, base, probes), atol=1e-5)
    answered = dataclasses.replace(some, labels=predict(NET, base, some.images).argmax(1).astype(np.int32))
    softly = dataclasses.replace(recipe, temperature=1.0)
    for number, (data, how, teacher) in enumerate(
        [(answered, recipe, None), (some, softly, Teacher(NET, base))], start=1
    ):
        students = [fit(NET, dataclasses.replace(how, seed=seed), data, teacher=teacher) for seed in (5, 6)]
        mean = np.mean([predict(NET, student, probes) for student in students], axis=0)
        np.testing.assert_allclose(found[number], mean, atol=1e-4)
    alone = reference_answers(NET, base, recipe, some, probes, [])
    assert alone.dtype == np.uint16
    assert alone.shape == (1, len(probes), 10)


def test_a_base_without_numbers_is_no_reference(base, images, probes):
    broken = jax.tree.map(lambda leaf: leaf * np.float32(np.nan), base)
    with pytest.raises(UsageError, match="the base's answers contain NaN"):
        reference_answers(NET, broken, RECIPE, images, probes, [5])
