"""Which images a step sees, and how they are varied: pure functions of the seed and the step."""

from functools import lru_cache

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array, lax


def batch_indices(seed: int, step: int, batch: int, size: int) -> np.ndarray:
    """Rows of the batch at `step`: each epoch is a fresh permutation, its ragged end is left out.

    >>> sorted(int(i) for s in range(2) for i in batch_indices(0, s, 2, 4))
    [0, 1, 2, 3]

    Args:
      seed: of the run.
      step: global step, from 0; nothing else is needed to resume.
      batch: rows in a batch, at most `size`.
      size: images in the training split.

    Returns:
      int32 [batch].
    """
    epoch, position = divmod(step, size // batch)
    return _permutation(seed, epoch, size)[position * batch : (position + 1) * batch]


@lru_cache(maxsize=2)
def _permutation(seed: int, epoch: int, size: int) -> np.ndarray:
    rng = np.random.default_rng([seed, epoch, 0xDA7A])
    return rng.permutation(size).astype(np.int32)


def augment(images: Array, keys: Array, *, flip: bool, crop: int) -> Array:
    """Varies each image on the device: a random flip, and a random crop after reflecting the border.

    Args:
      images: uint8 [N, H, W, C].
      keys: typed PRNG keys [N], one an image.
      flip: mirror left and right with probability one half.
      crop: pixels of padding on each side before the crop; 0 for none.

    Returns:
      uint8 [N, H, W, C].
    """
    shape = images.shape[1:]
    flip_keys, crop_keys = jax.vmap(jax.random.split, out_axes=1)(keys)
    if flip:
        mirrored = jax.vmap(jax.random.bernoulli)(flip_keys)
        images = jnp.where(mirrored[:, None, None, None], images[:, :, ::-1], images)
    if crop:
        padded = jnp.pad(images, ((0, 0), (crop, crop), (crop, crop), (0, 0)), mode="reflect")
        corners = jax.vmap(lambda key: jax.random.randint(key, (2,), 0, 2 * crop + 1))(crop_keys)

        def cut(image: Array, at: Array) -> Array:
            return lax.dynamic_slice(image, (at[0], at[1], jnp.int32(0)), shape)

        images = jax.vmap(cut)(padded, corners)
    return images
