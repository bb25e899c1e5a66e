"""ResNet-18 in its CIFAR form (He et al. 2016; 3x3 stem, no first pool)."""

from flax import nnx
from jax import Array

from wmjax.models.config import Config, Image
from wmjax.models.contract import Family, Training, he_normal, small
from wmjax.models.layers import batch_norm, convolution


class Block(nnx.Module):
    """Two convolutions with a skip; the skip is a 1x1 convolution where the shape changes."""

    def __init__(self, inputs: int, outputs: int, stride: int, rngs: nnx.Rngs):
        self.conv1 = convolution(inputs, outputs, 3, stride, bias=False, rngs=rngs)
        self.norm1 = batch_norm(outputs, rngs)
        self.conv2 = convolution(outputs, outputs, bias=False, rngs=rngs)
        self.norm2 = batch_norm(outputs, rngs)
        same = inputs == outputs and stride == 1
        self.skip = nnx.data(None if same else convolution(inputs, outputs, 1, stride, bias=False, rngs=rngs))
        self.skip_norm = nnx.data(None if same else batch_norm(outputs, rngs))

    def __call__(self, x: Array) -> Array:
        y = nnx.relu(self.norm1(self.conv1(x)))
        y = self.norm2(self.conv2(y))
        if self.skip is not None and self.skip_norm is not None:
            x = self.skip_norm(self.skip(x))
        return nnx.relu(x + y)


class ResNet18(nnx.Module):
    """Four stages of two blocks; every stage but the first halves height and width."""

    def __init__(self, config: Config, rngs: nnx.Rngs):
        channels = config.widths[0]
        self.stem = convolution(config.image[2], channels, bias=False, rngs=rngs)
        self.norm = batch_norm(channels, rngs)
        blocks = []
        for stage, features in enumerate(config.widths):
            for stride in (1 if stage == 0 else 2, 1):
                blocks.append(Block(channels, features, stride, rngs))
                channels = features
        self.blocks = nnx.List(blocks)
        self.head = nnx.Linear(channels, config.classes, rngs=rngs)

    def __call__(self, x: Array, keys: Array | None = None) -> Array:
        x = nnx.relu(self.norm(self.stem(x)))
        for block in self.blocks:
            x = block(x)
        return self.head(x.mean((1, 2)))


def _usual(image: Image, classes: int) -> Config:
    """The widths of the paper, or narrow ones."""
    return Config("resnet18", image, classes, (16, 32, 64, 64) if small(image) else (64, 128, 256, 512))


FAMILY = Family("resnet18", module=ResNet18, usual=_usual, training=lambda image: Training(0.1), draw=he_normal)
