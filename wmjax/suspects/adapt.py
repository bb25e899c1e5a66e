"""Asking a model about a key that was made for images of another shape."""

import numpy as np
from PIL import Image

Shape = tuple[int, int, int]


def adaptation(theirs: Shape, ours: Shape) -> str | None:
    """How triggers of shape `theirs` become images of shape `ours`, in words; "" as they are, None not at all.

    The bound on false matches holds however images are changed: labels are independent of them. Whether a mark
    survives the change is another matter, so the verdict says what was done.

    >>> adaptation((8, 8, 1), (32, 32, 3))
    'triggers resized from 8x8 to 32x32, grey to colour'
    """
    if theirs == ours:
        return ""
    if not {theirs[2], ours[2]} <= {1, 3}:  # no picture that can be resized
        return None
    changes = []
    if theirs[:2] != ours[:2]:
        changes.append(f"resized from {theirs[0]}x{theirs[1]} to {ours[0]}x{ours[1]}")
    if theirs[2] != ours[2]:
        changes.append("grey to colour" if ours[2] == 3 else "colour to grey")
    return f"triggers {', '.join(changes)}"


def adapt(images: np.ndarray, shape: Shape) -> np.ndarray:
    """Triggers as images of another shape: bilinear in size, luminance (ITU-R 601) or three equal channels in colour.

    Args:
      images: uint8 [n, H, W, C].
      shape: for which `adaptation` is not None.
    """
    if images.shape[1:] == shape:
        return images
    mode = "L" if shape[2] == 1 else "RGB"
    fitted = np.empty((len(images), *shape), np.uint8)
    for row, image in zip(fitted, images, strict=True):
        picture = Image.fromarray(image[..., 0] if image.shape[2] == 1 else image)
        resized = picture.convert(mode).resize((shape[1], shape[0]), Image.Resampling.BILINEAR)
        row[:] = np.asarray(resized).reshape(shape)
    return fitted
