"""A VGG with batch norm that is cheap on CPUs: one convolution at full resolution, the work where channels are many."""

import jax.numpy as jnp
from flax import nnx
from jax import Array

from wmjax.kernels.conv import max_pool
from wmjax.models.config import Config, Image
from wmjax.models.contract import Family, Training, he_normal, small
from wmjax.models.layers import batch_norm, convolution


class VGG(nnx.Module):
    """Stem convolution and pool, then stages of two convolutions with a pool between, then mean plus maximum."""

    def __init__(self, config: Config, rngs: nnx.Rngs):
        channels = config.image[2]
        convs, norms = [], []
        for stage, features in enumerate(config.widths):
            for _ in range(1 if stage == 0 else 2):
                convs.append(convolution(channels, features, bias=False, rngs=rngs))
                norms.append(batch_norm(features, rngs))
                channels = features
        self.convs, self.norms = nnx.List(convs), nnx.List(norms)
        self.head = nnx.Linear(channels, config.classes, rngs=rngs)

    def __call__(self, x: Array, keys: Array | None = None) -> Array:
        for i, (layer, norm) in enumerate(zip(self.convs, self.norms, strict=True)):
            # The stem and the first convolution of each stage are pooled, before the norm: a quarter of its work.
            x = layer(x)
            if (i == 0 or i % 2) and min(x.shape[1:3]) > 1:
                x = max_pool(x)
            x = nnx.relu(norm(x))
        return self.head(x.mean((1, 2)) + jnp.max(x, (1, 2)))


def _usual(image: Image, classes: int) -> Config:
    """Few channels at full resolution."""
    return Config("vgg", image, classes, (16, 32) if small(image) else (16, 48, 96, 192))


FAMILY = Family("vgg", module=VGG, usual=_usual, training=lambda image: Training(0.1), draw=he_normal)
