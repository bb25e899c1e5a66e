"""Batches in pieces small enough for a CPU's cache."""

import jax.numpy as jnp
from jax import Array


def chunks(arrays: tuple[Array, ...], bytes_per_image: int, budget: int) -> tuple[Array, ...]:
    """Cuts arrays of the same N images into equal chunks, the last filled up with zeros where need be.

    >>> chunks((jnp.arange(1.0, 6.0),), bytes_per_image=4, budget=8)[0].tolist()
    [[1.0, 2.0], [3.0, 4.0], [5.0, 0.0]]

    Args:
      arrays: each [N, ...].
      bytes_per_image: what the work on one image reads and writes.
      budget: bytes that a chunk may take; one image is the least.

    Returns:
      each array as [chunks, images in a chunk, ...].
    """
    images = arrays[0].shape[0]
    limit = min(images, max(1, budget // bytes_per_image))
    size = max(n for n in range(1, limit + 1) if images % n == 0)
    if 2 * size <= limit < images:  # no good divisor: better some zeros than many small chunks
        size = -(-images // -(-images // limit))
    count = -(-images // size)
    fill = count * size - images

    def cut(array: Array) -> Array:
        filled = jnp.pad(array, ((0, fill), *[(0, 0)] * (array.ndim - 1)))
        return filled.reshape(count, size, *array.shape[1:])

    return tuple(cut(array) for array in arrays)
