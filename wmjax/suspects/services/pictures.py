"""Pictures as services take them: files, or numbers prepared as a network wants them. No JAX."""

import io

import numpy as np
from PIL import Image

from wmjax.suspects.pixels import PIXELS

_QUALITY = 95  # of JPEG; less costs an owner more bits


def encoded(image: np.ndarray, kind: str) -> bytes:
    """A picture file of uint8 [H, W, C]; a PNG holds every pixel as it is, a JPEG nearly.

    >>> encoded(np.zeros((2, 2, 1), np.uint8), "png")[1:4]
    b'PNG'

    Args:
      image: C is 1 or 3.
      kind: `png` or `jpeg`.
    """
    file = io.BytesIO()
    picture = Image.fromarray(image[..., 0] if image.shape[-1] == 1 else image)
    options = {"quality": _QUALITY, "subsampling": 0} if kind == "jpeg" else {}
    picture.save(file, kind, **options)
    return file.getvalue()


def prepared(images: np.ndarray, way: str) -> np.ndarray:
    """Pixels as a network takes them, as `pixels.prepare` has it: float32 [n, H, W, C] of uint8.

    >>> prepared(np.full((1, 1, 1, 1), 255, np.uint8), "0..1").tolist()
    [[[[1.0]]]]
    """
    pixels, channels, x = PIXELS[way], images.shape[-1], images.astype(np.float32)
    if pixels.each:
        least = 1 / np.sqrt(np.prod(x.shape[1:]))
        mean, deviation = (f(x, axis=(1, 2, 3), keepdims=True) for f in (np.mean, np.std))
        return np.asarray((x - mean) / np.maximum(deviation, least), np.float32)
    shift, scale = pixels.levels(channels)
    x = (x - np.array(shift, np.float32)) * np.array(scale, np.float32)
    return np.asarray(x[..., ::-1] if pixels.reverse and channels == 3 else x)
