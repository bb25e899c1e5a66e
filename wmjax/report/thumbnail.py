"""Small pictures within a page."""

import base64
import io

import numpy as np
from PIL import Image


def thumbnail(image: np.ndarray, scale: int) -> str:
    """A uint8 image [H, W, C] as a data URL, each pixel `scale` pixels a side; grey unless it has three channels."""
    seen = image if image.shape[2] == 3 else image.mean(axis=2).round().astype(np.uint8)
    picture = Image.fromarray(seen.repeat(scale, axis=0).repeat(scale, axis=1))
    buffer = io.BytesIO()
    picture.save(buffer, "PNG")
    return "data:image/png;base64," + base64.b64encode(buffer.getvalue()).decode()
