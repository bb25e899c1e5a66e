"""The plain convolutional network of Zhang et al. 2018 (App. A)."""

from itertools import pairwise

from flax import nnx
from jax import Array

from wmjax.errors import UsageError
from wmjax.kernels.conv import max_pool
from wmjax.models.config import Config, Image
from wmjax.models.contract import Family, Training, he_normal, small
from wmjax.models.layers import convolution, dropout
from wmjax.text import by


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
        if not height * width:
            raise ValueError(f"`widths` {config.widths}: so many pools leave nothing of {config.image} pixels")
        units = [height * width * channels, *config.dense]
        self.convs = nnx.List(convs)
        self.dense = nnx.List([nnx.Linear(a, b, rngs=rngs) for a, b in pairwise(units)])
        self.head = nnx.Linear(units[-1], config.classes, rngs=rngs)
        self.rate = config.dropout

    def __call__(self, x: Array, keys: Array | None = None) -> Array:
        for i, convolve in enumerate(self.convs):
            x = nnx.relu(convolve(x))
            if i % 2:
                x = dropout(max_pool(x), keys, self.rate, i)
        x = x.reshape(x.shape[0], -1)
        for i, layer in enumerate(self.dense, len(self.convs)):
            x = dropout(nnx.relu(layer(x)), keys, self.rate, i)
        return self.head(x)


def _usual(image: Image, classes: int) -> Config:
    """The paper's network for CIFAR-10, or a small one."""
    if min(image[:2]) < 4:
        raise UsageError(f"images of {by(image)} are too small for a cnn, which halves them twice: a vgg takes them")
    if small(image):
        return Config("cnn", image, classes, (32, 64), (128,), 0.1)
    return Config("cnn", image, classes, (64, 128), (256, 256), 0.5)


FAMILY = Family(
    "cnn",
    module=CNN,
    usual=_usual,
    training=lambda image: Training(0.05 if small(image) else 0.02),  # small steps without batch norm
    draw=he_normal,
)
