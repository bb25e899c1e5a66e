"""Servers that change every image before the network sees it, in the hope that a mark does not survive the change.

The weights stay as they were stolen. Each image is changed by itself, and random changes follow from a seed and its own
bytes: the same question gets the same answer, whatever else is asked. Lukas et al. 2022 try the same kinds.
"""

import hashlib
import io
from collections.abc import Callable
from functools import partial

import numpy as np
from PIL import Image
from scipy import ndimage

from wmjax.attacks.contract import Attack, Served, Thief, untouched
from wmjax.attacks.families.queries import grey_levels
from wmjax.models import predict

Change = Callable[[np.ndarray, float, int], np.ndarray]  # of images uint8 [..., H, W, C], by strength and seed

_COPIES = 8  # that vote; a server pays for each
_SHIFT = 16  # they are shifted by up to this part of the smaller side: 2 pixels of 32, none of 8


def randomness(seed: int, image: np.ndarray, copy: int = 0) -> np.random.Generator:
    """A generator that follows from a seed, an image's bytes and the number of its copy."""
    digest = hashlib.sha256(np.ascontiguousarray(image).data).digest()
    return np.random.default_rng([seed, copy, *np.frombuffer(digest, "<u4").tolist()])


def each(change: Change, images: np.ndarray, strength: float, seed: int) -> np.ndarray:
    """Changes uint8 images [n, H, W, C] one by one, by a change that takes one image [H, W, C]."""
    changed = np.empty_like(images)
    for row, image in zip(changed, images, strict=True):
        row[:] = change(image, strength, seed)
    return changed


def _as_pictures(image: np.ndarray, change: Callable[[Image.Image], Image.Image]) -> np.ndarray:
    """Changes one image as a picture where it has three channels, else each channel as a grey one."""
    if image.shape[2] == 3:
        return np.asarray(change(Image.fromarray(image)))
    return np.stack([np.asarray(change(Image.fromarray(channel))) for channel in np.moveaxis(image, 2, 0)], axis=2)


def jpeg(image: np.ndarray, quality: float, seed: int) -> np.ndarray:
    """Compresses and decompresses (Das et al. 2017)."""

    def change(picture: Image.Image) -> Image.Image:
        file = io.BytesIO()
        picture.save(file, "JPEG", quality=round(quality))
        return Image.open(file)

    return _as_pictures(image, change)


def noise(image: np.ndarray, deviation: float, seed: int) -> np.ndarray:
    """Adds Gaussian noise of a standard deviation in grey levels."""
    return grey_levels(image + deviation * randomness(seed, image).standard_normal(image.shape, np.float32))


def smooth_gaussian(image: np.ndarray, sigma: float, seed: int) -> np.ndarray:
    """Blurs with a Gaussian of `sigma` pixels."""
    return grey_levels(ndimage.gaussian_filter(image.astype(np.float32), (sigma, sigma, 0)))


def smooth_median(image: np.ndarray, window: float, seed: int) -> np.ndarray:
    """Takes the median of square windows (Xu et al. 2018)."""
    return ndimage.median_filter(image, (round(window), round(window), 1))


def flip(image: np.ndarray, strength: float, seed: int) -> np.ndarray:
    """Mirrors left and right, one image or many [..., H, W, C]."""
    return image[..., ::-1, :]


def squeeze(image: np.ndarray, bits: float, seed: int) -> np.ndarray:
    """Leaves so many bits a channel, evenly spread levels from 0 to 255 (Xu et al. 2018), in one image or many."""
    step = 255 / (2 ** round(bits) - 1)
    return grey_levels(np.rint(np.arange(256) / step) * step)[image]


def resize(image: np.ndarray, factor: float, seed: int) -> np.ndarray:
    """Makes it smaller by `factor`, then as large as it was, both bilinear and with antialiasing."""
    height, width, _ = image.shape
    small = (max(1, round(width / factor)), max(1, round(height / factor)))
    bilinear = Image.Resampling.BILINEAR
    return _as_pictures(image, lambda picture: picture.resize(small, bilinear).resize((width, height), bilinear))


def jitter(image: np.ndarray, deviation: float, seed: int, copy: int) -> np.ndarray:
    """A copy that is shifted at random, its border repeated, with Gaussian noise."""
    height, width, _ = image.shape
    rng = randomness(seed, image, copy)
    reach = min(height, width) // _SHIFT
    top, left = rng.integers(2 * reach + 1, size=2)
    wide = np.pad(image, ((reach, reach), (reach, reach), (0, 0)), "edge")
    shifted = wide[top : top + height, left : left + width]
    return grey_levels(shifted + deviation * rng.standard_normal(image.shape, np.float32))


def _vote(network: Served, thief: Thief, images: np.ndarray) -> np.ndarray:
    """The mean of what the network says of each image's copies (randomised smoothing, Cohen et al. 2019)."""
    total = np.zeros((len(images), network.config.classes), np.float32)
    for copy in range(_COPIES):
        copies = each(partial(jitter, copy=copy), images, network.strength, network.seed)
        total += predict(network.config, network.variables, copies)
    return total / _COPIES


def _answering(change: Change) -> Callable[[Served, Thief, np.ndarray], np.ndarray]:
    """The server that answers for changed images [n, H, W, C]."""

    def serve(network: Served, thief: Thief, images: np.ndarray) -> np.ndarray:
        return predict(network.config, network.variables, change(images, network.strength, network.seed))

    return serve


def _attack(
    name: str,
    strength: str,
    quick: tuple[float, ...],
    full: tuple[float, ...],
    serve: Callable[[Served, Thief, np.ndarray], np.ndarray],
) -> Attack:
    attacker = "runs the server that the networks answer through; owns no data and leaves the weights as they are"
    return Attack(name, attacker, strength, quick, full, frozenset(), untouched, serve)


ATTACKS: tuple[Attack, ...] = (
    _attack("jpeg", "JPEG quality, 95 down to 1", (75, 25), (90, 75, 50, 25, 10), _answering(partial(each, jpeg))),
    _attack("input-noise", "standard deviation, grey levels", (16,), (4, 8, 16, 32), _answering(partial(each, noise))),
    _attack(
        "smooth-gaussian", "sigma, pixels", (0.5,), (0.3, 0.4, 0.5, 0.75, 1), _answering(partial(each, smooth_gaussian))
    ),
    _attack("smooth-median", "window, pixels a side", (2,), (2, 3, 5), _answering(partial(each, smooth_median))),
    _attack("flip", "1: every image is mirrored", (1,), (1,), _answering(flip)),
    _attack("squeeze", "bits left a channel", (3,), (5, 4, 3, 2), _answering(squeeze)),
    _attack(
        "resize", "times smaller, then enlarged again", (1.5,), (1.25, 1.5, 2, 3), _answering(partial(each, resize))
    ),
    _attack("vote", "standard deviation of the copies' noise, grey levels", (8,), (4, 8, 16, 32), _vote),
)
