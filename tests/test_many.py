"""Many networks trained at once are those that are trained alone."""

import dataclasses
import json
import os
import subprocess
import sys

import jax
import numpy as np
import pytest
from fixtures import DROPPING, VGG, abstract_key

from wmjax.data import Dataset, load
from wmjax.errors import UsageError
from wmjax.models import Variables, init, one, stack
from wmjax.train import DeviceMapping, Recipe, Teacher, fit, fit_many, plan_of
from wmjax.train.many import make_models_program
from wmjax.train.mapping import over
from wmjax.train.step import first_state

RECIPE = Recipe(epochs=2, batch=16, learning_rate=0.05, key_per_batch=2)
SEEDS = [3, 7]


@pytest.fixture(scope="module")
def digits() -> Dataset:
    return load("digits").train[:96]


@pytest.fixture(scope="module")
def rows() -> np.ndarray:
    """Forty-eight of the images for each network, others each time."""
    return np.stack([np.random.default_rng(seed).permutation(96)[:48] for seed in SEEDS]).astype(np.int32)


@pytest.fixture(scope="module")
def key():
    return abstract_key(10)


@pytest.fixture(scope="module")
def marked(digits, rows, key) -> Variables:
    return fit_many(DROPPING, RECIPE, digits, SEEDS, [key], rows=rows)


def one_device() -> DeviceMapping:
    return over(jax.local_devices()[:1])


def assert_close(a: Variables, b: Variables) -> None:
    for x, y in zip(jax.tree.leaves(a), jax.tree.leaves(b), strict=True):
        np.testing.assert_allclose(x, y, rtol=1e-4, atol=1e-6)


def test_each_is_the_one_that_fit_trains(marked, digits, rows, key):
    """Marked, each on its own images: weights, order and dropout follow from each one's own seed."""
    for number, seed in enumerate(SEEDS):
        recipe = dataclasses.replace(RECIPE, seed=seed)
        assert_close(one(marked, number), fit(DROPPING, recipe, digits[rows[number]], [key], mapping=one_device()))
    heads = marked.params["head"]["kernel"]
    assert np.abs(heads[0] - heads[1]).max() > 0.01


def test_other_seeds_epochs_and_rates_are_one_program(marked, digits, rows, key):
    plan = plan_of(DROPPING, RECIPE, one_device())
    program = make_models_program(plan, over(jax.local_devices()))
    assert program._cache_size() == 1
    other = dataclasses.replace(RECIPE, seed=5, epochs=RECIPE.epochs + 1, learning_rate=0.01)
    fit_many(DROPPING, other, digits, [11, 12], [key], rows=rows)
    assert program._cache_size() == 1


def test_two_devices_distil_and_begin_with_given_weights(digits):
    """Three models, with batch norm, on two devices: one of them trains a spare copy, which nobody sees."""
    recipe = Recipe(epochs=1, batch=24, learning_rate=0.05)
    script = f"""
import json, jax, numpy as np
from wmjax.data import load
from wmjax.models import Config, init, stack
from wmjax.train import Recipe, Teacher, fit_many
config = {VGG!r}
began = stack([init(config, seed) for seed in (50, 51, 52)])
teacher = Teacher(config, stack([init(config, 9)] * 3))
many = fit_many(config, {recipe!r}, load("digits").train[:96], [3, 7, 0], variables=began, teacher=teacher)
print(json.dumps([len(jax.devices()), [leaf.tolist() for leaf in jax.tree.leaves(many)]]))
"""
    environment = {**os.environ, "JAX_NUM_CPU_DEVICES": "2"}
    done = subprocess.run([sys.executable, "-c", script], env=environment, stdout=subprocess.PIPE, check=True)
    devices, leaves = json.loads(done.stdout)
    assert devices == 2
    for number, seed in ((0, 3), (2, 0)):
        alone = dataclasses.replace(recipe, seed=seed)
        state = first_state(init(VGG, 50 + number))
        expected = fit(VGG, alone, digits, state=state, teacher=Teacher(VGG, init(VGG, 9)), mapping=one_device())
        for many, leaf in zip(leaves, jax.tree.leaves(expected), strict=True):
            assert len(many) == 3
            np.testing.assert_allclose(many[number], leaf, rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize(
    ("seeds", "change", "words"),
    [([], {}, "no seeds"), ([1, -1], {}, "`seed` -1"), ([1], {"batch": 97}, "`batch` 97")],
)
def test_impossible_trainings(digits, seeds, change, words):
    with pytest.raises(UsageError, match=words):
        fit_many(DROPPING, dataclasses.replace(RECIPE, **change), digits, seeds)


def test_the_one_that_diverges_is_named(digits, rows, key):
    """Weights that are no numbers: the second network's."""
    began = stack([init(DROPPING, 0), init(DROPPING, 1)])
    began.params["head"]["bias"][1] = np.nan
    with pytest.raises(UsageError, match="the model with seed 7 diverged"):
        fit_many(DROPPING, RECIPE, digits, SEEDS, [key], rows=rows, variables=began)


def test_all_at_once_is_the_same_as_one_after_another(marked, digits, rows, key, monkeypatch):
    """Under `vmap`, as on an accelerator."""
    make_models_program.cache_clear()
    monkeypatch.setattr("wmjax.train.mapping.on_cpu", lambda: False)
    assert_close(marked, fit_many(DROPPING, RECIPE, digits, SEEDS, [key], rows=rows))
    make_models_program.cache_clear()
