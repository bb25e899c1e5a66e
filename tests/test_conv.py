"""The one convolution: equal to `lax` in value and gradient, inside and outside loops, under vmap."""

import importlib

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax import lax

from wmjax.kernels import winograd
from wmjax.kernels.chunks import chunks
from wmjax.kernels.conv import conv, max_pool

module = importlib.import_module("wmjax.kernels.conv")
SHAPES = [  # images [N, H, W, C], kernel [kh, kw], features
    ((4, 8, 8, 3), (3, 3), 5),
    ((3, 7, 9, 2), (3, 3), 4),
    ((2, 9, 6, 3), (1, 1), 4),
    ((2, 6, 7, 2), (5, 3), 3),
    ((2, 8, 8, 3), (2, 2), 4),
    ((3, 2, 2, 4), (3, 3), 5),  # images smaller than the kernel take a path of their own
    ((3, 1, 1, 4), (3, 3), 5),
    ((2, 1, 6, 3), (3, 3), 2),
]


def reference(x, kernel, strides, padding="SAME"):
    return lax.conv_general_dilated(x, kernel, strides, padding, dimension_numbers=("NHWC", "HWIO", "NHWC"))


def problem(shape, window, features):
    rng = np.random.default_rng(0)
    x = jnp.asarray(rng.standard_normal(shape), jnp.float32)
    return x, jnp.asarray(rng.standard_normal((*window, shape[-1], features)), jnp.float32)


def value_and_gradients(function, x, kernel, strides):
    @jax.jit
    def together(x, kernel):
        value, pull = jax.vjp(lambda a, b: function(a, b, strides), x, kernel)
        return value, *pull(jnp.cos(value) + value)

    return together(x, kernel)


CASES = [(*case, strides) for case in SHAPES for strides in ((1, 1), (2, 2))]
CASES += [(*case, (1, 2)) for case in SHAPES if case[0][1] != case[0][2]]  # where a mistaken axis shows


@pytest.mark.parametrize(("shape", "window", "features", "strides"), CASES)
def test_value_and_gradients_equal_lax(shape, window, features, strides):
    x, kernel = problem(shape, window, features)
    for ours, theirs in zip(
        value_and_gradients(conv, x, kernel, strides), value_and_gradients(reference, x, kernel, strides), strict=True
    ):
        np.testing.assert_allclose(ours, theirs, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("padding", ["VALID", ((2, 1), (0, 3))])
@pytest.mark.parametrize(("channels", "window"), [(3, (3, 3)), (1, (5, 5))])  # grey images have a path of their own
def test_any_padding_equals_lax(channels, window, padding):
    x, kernel = problem((2, 8, 9, channels), window, 4)
    padded = lambda function: lambda a, b, strides: function(a, b, strides, padding)  # noqa: E731
    for ours, theirs in zip(
        value_and_gradients(padded(conv), x, kernel, (2, 1)),
        value_and_gradients(padded(reference), x, kernel, (2, 1)),
        strict=True,
    ):
        np.testing.assert_allclose(ours, theirs, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("cpu", [True, False])
@pytest.mark.parametrize(
    ("axes", "strides", "padding"),
    [
        ((0, 0), (1, 1), "SAME"),
        ((0, 0), (2, 1), ((2, 1), (0, 3))),
        ((0, None), (1, 1), "VALID"),
        ((None, 0), (2, 1), "SAME"),
    ],
)
def test_many_models_equal_one_after_another(monkeypatch, cpu, axes, strides, padding):
    monkeypatch.setattr(module, "on_cpu", lambda: cpu)
    rng = np.random.default_rng(0)
    x, kernels = (jnp.asarray(rng.standard_normal(s), jnp.float32) for s in [(3, 2, 6, 7, 2), (3, 3, 3, 2, 4)])
    one = lambda a, b: conv(a, b, strides, padding)  # noqa: E731
    together = jax.jit(jax.vmap(one, axes))(x if axes[0] == 0 else x[0], kernels if axes[1] == 0 else kernels[0])
    for i, ours in enumerate(together):
        image, kernel = x[i if axes[0] == 0 else 0], kernels[i if axes[1] == 0 else 0]
        np.testing.assert_allclose(ours, reference(image, kernel, strides, padding), rtol=1e-4, atol=1e-4)


def test_many_models_on_a_cpu_need_no_grouped_convolution():
    x, kernels = jnp.zeros((3, 2, 6, 6, 2)), jnp.zeros((3, 3, 3, 2, 4))
    program = jax.jit(jax.vmap(conv)).lower(x, kernels).as_text()
    assert "feature_group_count = 3" not in program
    assert (
        "feature_group_count = 3"
        in jax.jit(jax.vmap(reference, (0, 0, None)), static_argnums=2).lower(x, kernels, (1, 1)).as_text()
    )


def test_chunks_change_nothing(monkeypatch):
    x, kernel = problem((12, 8, 8, 3), (3, 3), 5)
    whole = value_and_gradients(conv, x, kernel, (1, 1))[2]
    monkeypatch.setattr(module, "_CHUNK_BYTES", 4 * 8 * 8 * 27 * 4)  # four images at a time
    np.testing.assert_allclose(value_and_gradients(conv, x, kernel, (1, 1))[2], whole, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize(
    ("images", "room", "expected"), [(12, 5, (3, 4)), (12, 100, (1, 12)), (7, 3, (3, 3)), (2, 0, (2, 1))]
)
def test_chunks_fit_and_lose_nothing(images, room, expected):
    array = jnp.arange(1.0, images + 1)
    (cut,) = chunks((array,), 4, 4 * room)
    assert cut.shape == expected
    assert cut.ravel().tolist() == [*array.tolist(), *[0.0] * (cut.size - images)]


@pytest.fixture
def always_winograd(monkeypatch):
    monkeypatch.setattr(module, "_winograd", lambda x, kernel, strides, padding: True)


@pytest.mark.parametrize("shape", [(4, 7, 8, 3), (1, 3, 3, 1), (5, 4, 3, 4)])
def test_winograd_equals_lax(always_winograd, monkeypatch, shape):
    monkeypatch.setattr(winograd, "_CHUNK_BYTES", 3 * 16 * 4 * 4 * 5 * 4)  # three 8x8 images at a time
    x, kernel = problem(shape, (3, 3), 5)
    for ours, theirs in zip(
        value_and_gradients(conv, x, kernel, (1, 1)), value_and_gradients(reference, x, kernel, (1, 1)), strict=True
    ):
        np.testing.assert_allclose(ours, theirs, rtol=1e-4, atol=1e-4)


def test_winograd_keeps_float32_accuracy_over_many_channels():
    x, kernel = problem((2, 16, 16, 64), (3, 3), 64)
    plain, ours = reference(x, kernel, (1, 1)), winograd.conv3x3(x, kernel)
    assert float(jnp.abs(ours - plain).max() / jnp.abs(plain).max()) < 3e-6


@pytest.mark.parametrize(
    ("side", "channels", "features", "strides", "expected"),
    [(32, 64, 64, (1, 1), True), (32, 64, 64, (2, 2), False), (32, 3, 64, (1, 1), False), (8, 96, 96, (1, 1), False)],
)
def test_winograd_serves_large_layers(side, channels, features, strides, expected):
    x, kernel = jnp.zeros((1, side, side, channels)), jnp.zeros((3, 3, channels, features))
    assert module._winograd(x, kernel, strides, "SAME") is expected


@pytest.fixture(params=["plain", "winograd"])
def either_path(request, monkeypatch):
    monkeypatch.setattr(module, "_winograd", lambda x, kernel, strides, padding: request.param == "winograd")


def test_scan_equals_loop(either_path):
    x, kernel = problem((4, 8, 8, 3), (3, 3), 3)
    gradient = jax.grad(lambda k: jnp.sum(conv(x, k) ** 2))

    def step(k, _):
        return k - 1e-5 * gradient(k), None

    scanned, _ = jax.jit(lambda k: lax.scan(step, k, length=3))(kernel)
    looped, once = kernel, jax.jit(step)
    for _ in range(3):
        looped, _ = once(looped, None)
    np.testing.assert_allclose(scanned, looped, rtol=1e-5, atol=1e-6)


def test_vmap_over_kernels_equals_loop(either_path):
    x, kernel = problem((4, 8, 8, 3), (3, 3), 3)
    kernels = jnp.stack([kernel, 2 * kernel, -kernel])
    gradient = jax.grad(lambda k: jnp.sum(jnp.sin(conv(x, k))))
    together, one = jax.jit(jax.vmap(gradient))(kernels), jax.jit(gradient)
    np.testing.assert_allclose(together, [one(k) for k in kernels], rtol=1e-4, atol=1e-4)


def test_on_an_accelerator_the_gradients_are_lax_own(monkeypatch):
    monkeypatch.setattr(module, "on_cpu", lambda: False)
    x, kernel = problem((2, 2, 2, 3), (3, 3), 4)
    for ours, theirs in zip(
        value_and_gradients(conv, x, kernel, (1, 1)), value_and_gradients(reference, x, kernel, (1, 1)), strict=True
    ):
        np.testing.assert_allclose(ours, theirs, rtol=1e-5, atol=1e-5)


def test_max_pool_drops_an_odd_edge():
    x = jnp.arange(2 * 5 * 7 * 3, dtype=jnp.float32).reshape(2, 5, 7, 3)
    expected = lax.reduce_window(x, -jnp.inf, lax.max, (1, 2, 2, 1), (1, 2, 2, 1), "VALID")
    np.testing.assert_array_equal(max_pool(x), expected)
