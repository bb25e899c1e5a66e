"""Servers that change or refuse what they are asked."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from wmjax.attacks.features import features
from wmjax.models import Config, apply, init
from wmjax.models.predict import logits

CNN = Config("cnn", (8, 8, 1), 10, (4,), (8,))
NETWORKS = [CNN, Config("vgg", (8, 8, 3), 4, (4, 6)), Config("resnet18", (8, 8, 1), 3, (4, 6))]


def pictures(count: int, image: tuple[int, int, int] = (8, 8, 1)) -> np.ndarray:
    return np.random.default_rng(count).integers(0, 256, (count, *image), np.uint8)


@pytest.mark.parametrize("config", NETWORKS, ids=lambda config: config.name)
def test_the_head_maps_features_to_logits(config):
    variables = init(config, 0)
    bias = np.arange(config.classes, dtype=np.float32)
    variables.params["head"]["bias"] = bias
    images = pictures(7, config.image)
    found = features(config, variables, images)
    expected, _ = jax.jit(apply, static_argnums=0)(config, variables, jnp.asarray(images))
    kernel = variables.params["head"]["kernel"]
    assert found.shape == (7, len(kernel))
    assert found.dtype == np.float32
    np.testing.assert_allclose(found @ kernel + bias, expected, rtol=1e-5, atol=1e-5)
    np.testing.assert_allclose(logits(config, variables, images), expected, rtol=1e-5, atol=1e-5)
    assert features(config, variables, images[:0]).shape == (0, len(kernel))
    assert variables.params["head"]["bias"] is bias
