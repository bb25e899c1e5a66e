"""3x3 convolutions by Winograd's minimal filtering, F(2x2, 3x3) of Lavin & Gray 2016 (arXiv:1509.09308), for CPUs.

In another basis a 2x2 tile of the output takes 16 products for each pair of channels instead of 36: 16 matrix products
over all tiles, between cheap sums before and after. The basis is made of 0, 1, -1 and 1/2, so float32 loses nothing
that matters. What the sums read and write must stay in the cache, so images go through in chunks.
"""

import jax.numpy as jnp
import numpy as np
from jax import Array, lax

from wmjax.kernels.chunks import chunks

_CHUNK_BYTES = 8 << 20  # of transformed images at a time
# The paper's B^T, G and A^T, the last row of B^T and column of A^T negated: every sum then has a positive term.
_INPUT = np.array([[1, 0, -1, 0], [0, 1, 1, 0], [0, -1, 1, 0], [0, -1, 0, 1]])  # 4 pixels to 4 numbers
_KERNEL = np.array([[1, 0, 0], [0.5, 0.5, 0.5], [0.5, -0.5, 0.5], [0, 0, 1]], np.float32)  # 3 weights to 4 numbers
_OUTPUT = np.array([[1, 1, 1, 0], [0, 1, -1, 1]])  # 4 products to 2 pixels


def _combine(factors: np.ndarray, parts: list[list[Array]]) -> Array:
    """The sum of all factors[i, j] * parts[i][j]; the factors are 1, 0 and -1, at least one of them 1."""
    (i, j), *more = np.argwhere(factors > 0)
    total = parts[i][j]
    for i, j in more:
        total = total + parts[i][j]
    for i, j in np.argwhere(factors < 0):
        total = total - parts[i][j]
    return total


def _transform(matrix: np.ndarray, parts: list[list[Array]]) -> list[list[Array]]:
    """`matrix @ parts @ matrix.T`."""
    return [[_combine(np.outer(rows, columns), parts) for columns in matrix] for rows in matrix]


def _inputs(x: Array, height: int, width: int) -> list[list[Array]]:
    """Each overlapping 4x4 tile in the new basis: [4][4] matrices [N * height * width, C]."""
    h, w, channels = x.shape[1:]
    x = jnp.pad(x, ((0, 0), (1, 2 * height + 1 - h), (1, 2 * width + 1 - w), (0, 0)))
    pixels = [[x[:, i : i + 2 * height - 1 : 2, j : j + 2 * width - 1 : 2] for j in range(4)] for i in range(4)]
    return [[part.reshape(-1, channels) for part in row] for row in _transform(_INPUT, pixels)]


def _chunks(height: int, width: int, *arrays: Array) -> tuple[Array, ...]:
    numbers = 16 * height * width * max(array.shape[-1] for array in arrays)
    return chunks(arrays, numbers * arrays[0].dtype.itemsize, _CHUNK_BYTES)


def conv3x3(x: Array, kernel: Array) -> Array:
    """Convolves images with a 3x3 kernel under SAME padding, stride 1.

    >>> conv3x3(jnp.ones((1, 5, 4, 1)), jnp.ones((3, 3, 1, 2)))[0, :, :, 0].tolist()[0]
    [4.0, 6.0, 6.0, 4.0]

    Args:
      x: images, float [N, H, W, C].
      kernel: float [3, 3, C, O].

    Returns:
      float [N, H, W, O].
    """
    n, h, w, _ = x.shape
    height, width = -(-h // 2), -(-w // 2)  # in tiles
    weights = jnp.einsum("ai,bj,ijcf->abcf", _KERNEL, _KERNEL, kernel)

    def convolve(part: Array) -> Array:
        inputs = _inputs(part, height, width)
        products = [[inputs[a][b] @ weights[a, b] for b in range(4)] for a in range(4)]
        tiles = [[p.reshape(-1, height, width, p.shape[-1]) for p in row] for row in _transform(_OUTPUT, products)]
        return jnp.stack([jnp.stack(row, 3) for row in tiles], 2).reshape(-1, 2 * height, 2 * width, kernel.shape[-1])

    (parts,) = _chunks(height, width, x)
    return lax.map(convolve, parts).reshape(-1, 2 * height, 2 * width, kernel.shape[-1])[:n, :h, :w]


def kernel_gradient(x: Array, g: Array) -> Array:
    """The gradient of `conv3x3` with respect to its kernel.

    >>> kernel_gradient(jnp.ones((1, 4, 4, 1)), jnp.ones((1, 4, 4, 1)))[:, :, 0, 0].tolist()[1]
    [12.0, 16.0, 12.0]

    Args:
      x: images, float [N, H, W, C].
      g: gradient of the output, float [N, H, W, O].

    Returns:
      float [3, 3, C, O].
    """
    h, w, channels = x.shape[1:]
    height, width, features = -(-h // 2), -(-w // 2), g.shape[-1]

    def products(part: Array, g_part: Array) -> Array:
        g_part = jnp.pad(g_part, ((0, 0), (0, 2 * height - h), (0, 2 * width - w), (0, 0)))
        pixels = [[g_part[:, i::2, j::2].reshape(-1, features) for j in range(2)] for i in range(2)]
        inputs, outputs = _inputs(part, height, width), _transform(_OUTPUT.T, pixels)
        return jnp.stack([inputs[a][b].T @ outputs[a][b] for a in range(4) for b in range(4)])

    start = jnp.zeros((16, channels, features), x.dtype)
    total, _ = lax.scan(lambda acc, parts: (acc + products(*parts), None), start, _chunks(height, width, x, g))
    return jnp.einsum("ai,bj,abcf->ijcf", _KERNEL, _KERNEL, total.reshape(4, 4, channels, features))
