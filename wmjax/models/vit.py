"""A small vision transformer (Dosovitskiy et al. 2021) with pre-norm blocks and mean pooling (Beyer et al. 2022)."""

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx
from jax import Array

from wmjax.models.config import Config, Image
from wmjax.models.contract import Family, Training, small
from wmjax.models.layers import dropout


class Block(nnx.Module):
    """Attention between patches, then a dense layer on each; both read what is normed and add to what was there."""

    def __init__(self, width: int, hidden: int, heads: int, rngs: nnx.Rngs):
        self.norm1 = nnx.LayerNorm(width, rngs=rngs)
        self.attend = nnx.Linear(width, 3 * width, rngs=rngs)
        self.merge = nnx.Linear(width, width, rngs=rngs)
        self.norm2 = nnx.LayerNorm(width, rngs=rngs)
        self.widen = nnx.Linear(width, hidden, rngs=rngs)
        self.narrow = nnx.Linear(hidden, width, rngs=rngs)
        self.heads = heads

    def __call__(self, x: Array, keys: Array | None, rate: float, site: int) -> Array:
        count, patches, width = x.shape
        split = self.attend(self.norm1(x)).reshape(count, patches, 3, self.heads, width // self.heads)
        mixed = jax.nn.dot_product_attention(split[:, :, 0], split[:, :, 1], split[:, :, 2])
        x = x + dropout(self.merge(mixed.reshape(x.shape)), keys, rate, site)
        return x + dropout(self.narrow(nnx.gelu(self.widen(self.norm2(x)))), keys, rate, site + 1)


class ViT(nnx.Module):
    """Patches as vectors with learned positions, blocks, the mean over patches; ragged edges are filled with grey."""

    def __init__(self, config: Config, rngs: nnx.Rngs):
        if (len(config.widths), len(config.dense)) != (1, 1):
            raise ValueError(f"`widths` {config.widths} and `dense` {config.dense}: a vit has one of each")
        (width,), (hidden,) = config.widths, config.dense
        self.patch, heads = config.parameter("patch"), config.parameter("heads")
        if width % heads:
            raise ValueError(f"`parameters`: {heads} heads do not share {width} channels evenly")
        rows, columns = (-(-side // self.patch) for side in config.image[:2])
        self.embed = nnx.Linear(self.patch**2 * config.image[2], width, rngs=rngs)
        self.positions = nnx.Param(jnp.zeros((rows * columns, width)))
        self.blocks = nnx.List([Block(width, hidden, heads, rngs) for _ in range(config.parameter("depth"))])
        self.norm = nnx.LayerNorm(width, rngs=rngs)
        self.head = nnx.Linear(width, config.classes, rngs=rngs)
        self.rate = config.dropout

    def __call__(self, x: Array, keys: Array | None = None) -> Array:
        x = self.embed(_patches(x, self.patch))
        x = x + self.positions[...][None].astype(x.dtype)
        for i, block in enumerate(self.blocks):
            x = block(x, keys, self.rate, 2 * i)
        return self.head(self.norm(x).mean(1))


def _patches(images: Array, side: int) -> Array:
    """Images [n, H, W, C] as [n, patches, side * side * C], row by row."""
    count, height, width, channels = images.shape
    filled = jnp.pad(images, ((0, 0), (0, -height % side), (0, -width % side), (0, 0)))
    rows, columns = filled.shape[1] // side, filled.shape[2] // side
    cut = filled.reshape(count, rows, side, columns, side, channels).transpose(0, 1, 3, 2, 4, 5)
    return cut.reshape(count, rows * columns, side * side * channels)


def _draw(rng: np.random.Generator, path: tuple[str, ...], shape: tuple[int, ...]) -> np.ndarray:
    """Kernels of variance 1 / inputs (LeCun), positions of deviation 0.02, zero biases, unit scales."""
    if path[-1] == "kernel":
        return (rng.standard_normal(shape) / np.sqrt(shape[0])).astype(np.float32)
    if path[-1] == "positions":
        return (0.02 * rng.standard_normal(shape)).astype(np.float32)
    return np.full(shape, 1.0 if path[-1] == "scale" else 0.0, np.float32)


def _usual(image: Image, classes: int) -> Config:
    """Sixteen patches of 8x8 digits, 64 of 32x32 pictures, 196 of 224x224 ones."""
    patch = 2 if small(image) else 4 if max(image[:2]) <= 64 else 16
    depth, width = (3, 64) if small(image) else (4, 96)
    parameters = (("depth", depth), ("heads", 4), ("patch", patch))
    return Config("vit", image, classes, (width,), (2 * width,), parameters=parameters)


FAMILY = Family(
    "vit",
    module=ViT,
    usual=_usual,
    training=lambda image: Training(0.1),
    draw=_draw,
    parameters={"depth": range(1, 65), "heads": range(1, 65), "patch": range(1, 65)},
    unseen=("heads",),
)
