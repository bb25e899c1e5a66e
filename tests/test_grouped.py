"""Convolutions in groups: equal to `lax` in each form, and without its grouped convolution where channels are few."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax import lax

from wmjax.kernels.grouped import grouped

CASES = [  # images [H, W, C], window, groups, features, strides, pads, dilations
    ((8, 8, 6), (3, 3), 6, 6, (1, 1), ((1, 1), (1, 1)), (1, 1)),
    ((7, 9, 6), (3, 5), 6, 12, (2, 1), ((0, 1), (2, 2)), (1, 1)),
    ((9, 8, 4), (3, 3), 4, 4, (1, 2), ((2, 2), (2, 2)), (2, 2)),
    ((8, 8, 6), (3, 3), 3, 9, (2, 2), ((1, 1), (1, 1)), (1, 1)),  # two channels a group
    ((6, 6, 8), (3, 3), 2, 4, (1, 1), ((1, 1), (1, 1)), (1, 2)),  # four
    ((6, 6, 3), (3, 3), 1, 4, (1, 1), ((2, 2), (2, 2)), (2, 2)),
]


@pytest.mark.parametrize(("shape", "window", "groups", "features", "strides", "pads", "dilations"), CASES)
def test_equal_to_lax(shape, window, groups, features, strides, pads, dilations):
    rng = np.random.default_rng(0)
    x = jnp.asarray(rng.standard_normal((3, *shape)), jnp.float32)
    kernel = jnp.asarray(rng.standard_normal((*window, shape[-1] // groups, features)), jnp.float32)
    theirs = lax.conv_general_dilated(
        x,
        kernel,
        strides,
        pads,
        rhs_dilation=dilations,
        dimension_numbers=("NHWC", "HWIO", "NHWC"),
        feature_group_count=groups,
    )
    ours = jax.jit(lambda a, b: grouped(a, b, strides, pads, dilations, groups))(x, kernel)
    np.testing.assert_allclose(ours, theirs, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize(("channels", "window", "own"), [(1, 7, True), (2, 3, True), (4, 3, False), (1, 9, False)])
def test_many_channels_or_positions_are_left_to_the_compiler(channels, window, own):
    x, kernel = jnp.zeros((1, 32, 32, 4 * channels)), jnp.zeros((window, window, channels, 4))
    pads = ((window // 2, window // 2),) * 2
    program = jax.jit(lambda a, b: grouped(a, b, (1, 1), pads, (1, 1), 4)).lower(x, kernel).as_text()
    assert ("stablehlo.convolution" not in program) == own
