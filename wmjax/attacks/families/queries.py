"""What thieves ask about: images of the task, distorted, and pictures that they make up."""

import numpy as np

from wmjax.keys.derive import SECRET_BYTES
from wmjax.keys.schemes.abstract import clouds

AT_ONCE = 1000  # images that are worked on at a time: as float32 they take several times what they do as bytes


def shifted(images: np.ndarray, strength: float, rng: np.random.Generator) -> np.ndarray:
    """Mixes each image with another, turns it and changes its colours, up to inverting them.

    Args:
      images: uint8 [n, H, W, C].
      strength: in [0, 1]; 0 leaves the images as they are. At 1 half of them are mirrored, half turned upside down,
        the other image has up to half the weight, and each channel's contrast is multiplied by -1.5 to 1.
      rng: of all choices.
    """
    count, channels = len(images), images.shape[3]
    each, colours = (count, 1, 1, 1), (count, 1, 1, channels)
    weights, others = 0.5 * strength * rng.random(each, np.float32), rng.permutation(count)
    mirrored, upturned = rng.random(each) < strength / 2, rng.random(each) < strength / 2
    contrasts = 1.0 - 2.5 * strength * rng.random(colours, np.float32)
    brightness = 128.0 * strength * (rng.random(colours, np.float32) - 0.5)
    result = np.empty_like(images)
    for part in _parts(count):
        own = images[part].astype(np.float32)
        mixed = own + weights[part] * (images[others[part]].astype(np.float32) - own)
        mixed = np.where(mirrored[part], mixed[:, :, ::-1], mixed)
        mixed = np.where(upturned[part], mixed[:, ::-1], mixed)
        result[part] = grey_levels(127.5 + contrasts[part] * (mixed - 127.5) + brightness[part])
    return result


def noised(images: np.ndarray, deviation: float, shift: int, rng: np.random.Generator) -> np.ndarray:
    """Moves each image and adds Gaussian noise.

    Args:
      images: uint8 [n, H, W, C].
      deviation: of the noise, in grey levels.
      shift: pixels by which an image is moved at most, along each side; the border is repeated.
      rng: of all choices.
    """
    height, width = images.shape[1:3]
    top, left = rng.integers(2 * shift + 1, size=(2, len(images), 1, 1))
    result = np.empty_like(images)
    for part in _parts(len(images)):
        padded = np.pad(images[part], ((0, 0), (shift, shift), (shift, shift), (0, 0)), mode="edge")
        y, x = top[part] + np.arange(height)[:, None], left[part] + np.arange(width)
        moved = padded[np.arange(len(padded))[:, None, None], y, x]
        noise = rng.standard_normal(moved.shape, np.float32)
        result[part] = grey_levels(moved + np.float32(deviation) * noise)
    return result


def made_up(shape: tuple[int, int, int], count: int, seed: int) -> np.ndarray:
    """Pictures of nothing: the first half cloudy, the others uniform noise.

    The cloudy ones are triggers of an `abstract` key of one's own: the scheme is public, and no picture is the owner's.

    Args:
      shape: height, width and channels.
      count: of all pictures, at least 2.
      seed: of all choices, below 2**256.

    Returns:
      uint8 [count, *shape].
    """
    cloudy = clouds(int(seed).to_bytes(SECRET_BYTES), shape, range(count // 2))
    noise = np.random.default_rng([seed, 0xC10D]).integers(256, size=(count - len(cloudy), *shape), dtype=np.uint8)
    return np.concatenate([cloudy, noise])


def _parts(count: int) -> list[slice]:
    return [slice(first, first + AT_ONCE) for first in range(0, count, AT_ONCE)]


def grey_levels(images: np.ndarray) -> np.ndarray:
    """Rounded and clipped to uint8."""
    return np.clip(np.rint(images), 0, 255).astype(np.uint8)
