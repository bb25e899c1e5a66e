"""Gradients in parts: equal to those of the whole batch, dropout included."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from wmjax.models import Config, Variables, apply, init
from wmjax.models.layers import dropout
from wmjax.train.microbatch import accumulate

TINY = Config("cnn", (8, 8, 1), 10, (4, 8), (16,), 0.5)


def problem(rows):
    rng = np.random.default_rng(0)
    images = jnp.asarray(rng.integers(0, 256, (rows, *TINY.image), dtype=np.uint8))
    labels = jax.nn.one_hot(jnp.asarray(rng.integers(0, 10, rows)), 10)
    return jax.tree.map(jnp.asarray, init(TINY, 0).params), (images, labels, jax.random.split(jax.random.key(1), rows))


def loss_of(params, batch):
    images, targets, keys = batch
    logits, _ = apply(TINY, Variables(params, {}), images, train=True, keys=keys)
    return optax.losses.softmax_cross_entropy(logits, targets).mean(), logits


def test_parts_equal_the_whole():
    params, batch = problem(12)
    gradient = jax.value_and_grad(loss_of, has_aux=True)
    whole = jax.jit(gradient)(params, batch)
    for size in (4, 12):
        parts = jax.jit(lambda params, batch, size=size: accumulate(gradient, params, batch, size))(params, batch)
        assert jax.tree.structure(whole) == jax.tree.structure(parts)
        for ours, theirs in zip(jax.tree.leaves(parts), jax.tree.leaves(whole), strict=True):
            np.testing.assert_allclose(ours, theirs, rtol=1e-4, atol=2e-6)


def test_a_row_drops_the_same_units_in_any_batch():
    keys, x = jax.random.split(jax.random.key(0), 6), jnp.ones((6, 5, 7))
    whole = dropout(x, keys, 0.3, 1)
    np.testing.assert_array_equal(dropout(x[2:4], keys[2:4], 0.3, 1), whole[2:4])
    assert not np.array_equal(whole, dropout(x, keys, 0.3, 2))


@pytest.mark.parametrize("rate", [0.1, 0.5])
def test_dropout_drops_its_share_and_keeps_the_mean(rate):
    x = dropout(jnp.ones((100, 1000)), jax.random.split(jax.random.key(0), 100), rate, 0)
    error = np.sqrt(rate * (1 - rate) / x.size)
    assert abs(float((x == 0).mean()) - rate) < 4 * error
    assert set(np.unique(x).tolist()) == {0.0, float(np.float32(1 / (1 - rate)))}
