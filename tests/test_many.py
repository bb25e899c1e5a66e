"""Many networks trained at once are those that are trained alone."""

import dataclasses
import json
import os
import subprocess
import sys

import jax
import numpy as np
import pytest

from wmjax.data import Dataset, load
from wmjax.errors import UsageError
from wmjax.keys import generate, make_spec
from wmjax.models import Config, Variables, init
from wmjax.train import Mapping, Plan, Recipe, Teacher, fit, fit_many
from wmjax.train.loop import first_state
from wmjax.train.many import make_models_program
from wmjax.train.mapping import over

CNN = Config("cnn", (8, 8, 1), 10, (4,), (8,), 0.25)
VGG = Config("vgg", (8, 8, 1), 10, (4, 8))
RECIPE = Recipe(epochs=2, batch=16, learning_rate=0.05, crop=1, flip=True, key_per_batch=2)
SEEDS = [3, 7, 0]


@pytest.fixture(scope="module")
def digits() -> Dataset:
    return load("digits").train[:96]


@pytest.fixture(scope="module")
def rows() -> np.ndarray:
    """Sixty-four of the images for each network, others each time."""
    return np.stack([np.random.default_rng(seed).permutation(96)[:64] for seed in SEEDS]).astype(np.int32)


@pytest.fixture(scope="module")
def key():
    return generate(make_spec("abstract", image=(8, 8, 1), classes=10, triggers=10))


def one_device() -> Mapping:
    return over(jax.local_devices()[:1])


def of(variables: Variables, number: int) -> Variables:
    return jax.tree.map(lambda leaf: leaf[number], variables)


def assert_close(a: Variables, b: Variables) -> None:
    for x, y in zip(jax.tree.leaves(a), jax.tree.leaves(b), strict=True):
        np.testing.assert_allclose(x, y, rtol=1e-4, atol=1e-6)


def distance(a: Variables, b: Variables) -> float:
    return max(float(np.abs(x - y).max()) for x, y in zip(jax.tree.leaves(a), jax.tree.leaves(b), strict=True))


@pytest.mark.parametrize("config", [CNN, VGG], ids=lambda config: config.name)
def test_each_is_the_one_that_fit_trains(config, digits, rows, key):
    """Marked, each on its own images: weights, order, augmentation and dropout follow from each one's own seed."""
    many = fit_many(config, RECIPE, digits, SEEDS, key, rows=rows)
    for number, seed in enumerate(SEEDS):
        alone = fit(config, dataclasses.replace(RECIPE, seed=seed), digits[rows[number]], key, mapping=one_device())
        assert_close(of(many, number), alone)
    assert distance(of(many, 0), of(many, 1)) > 1e-2


def test_distilling_and_beginning_with_given_weights(digits):
    began = jax.tree.map(lambda *leaves: np.stack(leaves), *(init(CNN, seed) for seed in (50, 51)))
    teacher = Teacher(VGG, init(VGG, 9))
    many = fit_many(CNN, RECIPE, digits, SEEDS[:2], variables=began, teacher=teacher)
    recipe = dataclasses.replace(RECIPE, seed=SEEDS[1])
    state = first_state(CNN, recipe, len(digits), of(began, 1))
    assert_close(of(many, 1), fit(CNN, recipe, digits, state=state, teacher=teacher, mapping=one_device()))


def test_all_epochs_and_other_seeds_are_one_program(digits, key):
    fit_many(CNN, RECIPE, digits, SEEDS, key)
    program = make_models_program(
        Plan(CNN, dataclasses.replace(RECIPE, seed=0), 12, one_device()), over(jax.local_devices())
    )
    before = program._cache_size()
    fit_many(CNN, dataclasses.replace(RECIPE, seed=5), digits, [11, 12, 13], key)
    assert before == program._cache_size() == 1


def test_an_accelerator_s_way_gives_the_same(digits, rows, monkeypatch):
    """All at once under `vmap`, as on an accelerator, with the library's own convolutions."""
    in_turn = fit_many(VGG, RECIPE, digits, SEEDS, rows=rows)
    make_models_program.cache_clear()
    for module in ("wmjax.train.mapping", "wmjax.conv", "wmjax.train.step"):
        monkeypatch.setattr(f"{module}.on_cpu", lambda: False)
    at_once = fit_many(VGG, RECIPE, digits, SEEDS, rows=rows)
    make_models_program.cache_clear()
    for a, b in zip(jax.tree.leaves(in_turn), jax.tree.leaves(at_once), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-3, atol=1e-4)


def test_models_are_dealt_to_the_devices(digits):
    """Three models on two devices: one of them trains a spare copy, which nobody sees."""
    script = f"""
import json, jax, numpy as np
from wmjax.data import load
from wmjax.models import Config
from wmjax.train import Recipe, fit_many
many = fit_many({CNN!r}, {RECIPE!r}, load("digits").train[:96], {SEEDS!r})
print(json.dumps([len(jax.devices()), many.params["head"]["kernel"].tolist()]))
"""
    environment = {**os.environ, "JAX_NUM_CPU_DEVICES": "2"}
    done = subprocess.run([sys.executable, "-c", script], env=environment, stdout=subprocess.PIPE, check=True)
    devices, kernels = json.loads(done.stdout)
    assert devices == 2
    expected = fit_many(CNN, RECIPE, digits, SEEDS, mapping=one_device()).params["head"]["kernel"]
    np.testing.assert_allclose(kernels, expected, rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize(
    ("seeds", "change", "words"),
    [
        ([], {}, "no seeds"),
        ([1, -1], {}, "--seed -1"),
        ([1], {"batch": 65}, "--batch 65"),
        ([1, 2], {"learning_rate": 1e9, "epochs": 5}, "the model with seed 1 diverged"),
    ],
)
def test_impossible_trainings(digits, rows, seeds, change, words):
    with pytest.raises(UsageError, match=words):
        fit_many(CNN, dataclasses.replace(RECIPE, **change), digits, seeds, rows=rows[: len(seeds)])
