"""Pictures as services take them: files, or numbers prepared as a network wants them. No JAX."""

import functools
import io

import numpy as np
from PIL import Image

from wmjax.suspects.pixels import AS_BYTES, PIXELS

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
    options = {"quality": _QUALITY, "subsampling": 0} if kind == "jpeg" else {"compress_level": 1}  # 3 ms, not 14
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


def written(image: np.ndarray, way: str, order: str) -> bytes:
    """Prepared pixels as a JSON array. Each level is written once, then looked up: `json` takes thirty times as long.

    >>> written(np.array([[[7], [255]]], np.uint8), "0..255", "HWC").replace(b" ", b"")
    b'[[[7],[255]]]'
    >>> written(np.array([[[0], [255]]], np.uint8), "0..1", "flat").replace(b" ", b"")
    b'[0.0,1.0]'

    Args:
      image: uint8 [H, W, C], C is 1 or 3.
      way: how pixels are prepared, a name of `PIXELS`; those of `AS_BYTES` are whole numbers.
      order: of a picture's axes, `HWC` or `CHW`, in nested arrays; `flat` or `flat CHW` for a single array of all.
    """
    if PIXELS[way].each:
        texts = _texts(prepared(image[None], way)[0])
    else:
        channels = image.shape[-1]
        picked = image[..., ::-1] if PIXELS[way].reverse else image
        texts = _levels(way, channels)[picked, np.arange(channels)]
    if order.endswith("CHW"):
        texts = np.moveaxis(texts, 2, 0)
    shape = (texts.size,) if order.startswith("flat") else texts.shape
    cells = np.ascontiguousarray(texts).view(np.uint8).reshape(*shape, texts.itemsize)
    for _ in shape:
        cells = _joined(cells)
    return cells.tobytes()


@functools.cache
def _levels(way: str, channels: int) -> np.ndarray:
    """The text of each level of a pixel, for each channel as it comes out, bytes [256, C]."""
    levels = np.broadcast_to(np.arange(256, dtype=np.uint8)[:, None, None, None], (256, 1, 1, channels))
    numbers = prepared(levels, way)[:, 0, 0]
    return _texts(numbers.astype(np.uint8) if way in AS_BYTES else numbers)


def _texts(numbers: np.ndarray) -> np.ndarray:
    """The shortest text of each number, with blanks before it up to one length: JSON does not mind them."""
    texts = [str(number) for number in numbers.ravel()]
    most = max(map(len, texts))
    return np.array([text.rjust(most) for text in texts], f"S{most}").reshape(numbers.shape)


def _joined(cells: np.ndarray) -> np.ndarray:
    """Arrays of the texts of the last axis but one: uint8 [..., n, length] to [..., n * (length + 1) + 1]."""
    *outer, n, length = cells.shape
    held = np.full((*outer, n, length + 1), ord(","), np.uint8)
    held[..., :length] = cells
    held[..., -1, -1] = ord("]")
    begin = np.full((*outer, 1), ord("["), np.uint8)
    return np.concatenate([begin, held.reshape(*outer, n * (length + 1))], axis=-1)
