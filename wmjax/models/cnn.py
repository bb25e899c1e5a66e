"""The plain convolutional network of Zhang et al. 2018 (App. A)."""

from itertools import pairwise

from flax import nnx
from jax import Array

from wmjax.conv import max_pool
from wmjax.models.config import Config
from wmjax.models.layers import convolution


class CNN(nnx.Module):
    """Stages of two convolutions and a pool, then dense layers; dropout after each."""

    def __init__(self, config: Config, rngs: nnx.Rngs):
        height, width, channels = config.image
        convs = []
        for features in config.widths:
            convs += [
                convolution(channels, features, bias=True, rngs=rngs),
                convolution(features, features, bias=True, rngs=rngs),
            ]
            channels, height, width = features, height // 2, width // 2
        units = [height * width * channels, *config.dense]
        self.convs = nnx.List(convs)
        self.dense = nnx.List([nnx.Linear(a, b, rngs=rngs) for a, b in pairwise(units)])
        self.head = nnx.Linear(units[-1], config.classes, rngs=rngs)
        self.dropout = nnx.Dropout(config.dropout)

    def __call__(self, x: Array, rngs: nnx.Rngs | None = None) -> Array:
        for i, convolve in enumerate(self.convs):
            x = nnx.relu(convolve(x))
            if i % 2:
                x = self.dropout(max_pool(x), rngs=rngs)
        x = x.reshape(x.shape[0], -1)
        for layer in self.dense:
            x = self.dropout(nnx.relu(layer(x)), rngs=rngs)
        return self.head(x)
