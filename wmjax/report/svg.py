"""Pictures for reports: trigger galleries as PNG, evidence curves as inline SVG."""

import base64
import io
from typing import NamedTuple

import numpy as np
from PIL import Image

WIDTH, HEIGHT, LEFT, BOTTOM, TOP, RIGHT = 720, 320, 52, 36, 12, 150


class Curve(NamedTuple):
    """Evidence of one suspect.

    Attributes:
      name: its label.
      bits: after each query.
      stolen: whether it is drawn as a theft or as an innocent.
    """

    name: str
    bits: np.ndarray
    stolen: bool


def png(image: np.ndarray, scale: int) -> str:
    """A uint8 image [H, W, C] as a data URL, each pixel `scale` pixels a side; grey unless it has three channels."""
    seen = image if image.shape[2] == 3 else image.mean(axis=2).round().astype(np.uint8)
    picture = Image.fromarray(seen.repeat(scale, axis=0).repeat(scale, axis=1))
    buffer = io.BytesIO()
    picture.save(buffer, "PNG")
    return "data:image/png;base64," + base64.b64encode(buffer.getvalue()).decode()


def ticks(low: float, high: float) -> list[int]:
    """About five round numbers between two ends."""
    raw = max(1.0, (high - low) / 5)
    power = 10 ** int(np.floor(np.log10(raw)))
    step = next(power * m for m in (1, 2, 5, 10) if power * m >= raw)
    return list(range(int(np.ceil(low / step)) * step, int(high) + 1, int(step)))


def layout(curves: list[Curve], threshold: float) -> dict[str, object]:
    """Everything that the template draws, in pixels.

    Args:
      curves: to draw.
      threshold: bits at which evidence decides.
    """
    queries = max(len(curve.bits) for curve in curves)
    top = max(threshold * 1.5, *(float(curve.bits.max()) for curve in curves))
    low = max(-threshold, min(0.0, *(float(curve.bits.min()) for curve in curves)))  # innocents sink without end

    def x(query: float) -> float:
        return round(LEFT + query / queries * (WIDTH - LEFT - RIGHT), 1)

    def y(bits: float) -> float:
        return round(TOP + (top - max(bits, low)) / (top - low) * (HEIGHT - TOP - BOTTOM), 1)

    lines = [
        {
            "name": curve.name,
            "stolen": curve.stolen,
            "points": " ".join(f"{x(i + 1)},{y(float(bits))}" for i, bits in enumerate(curve.bits)),
            "end": y(float(curve.bits[-1])),
        }
        for curve in curves
    ]
    _spread(lines)
    return {
        "width": WIDTH,
        "height": HEIGHT,
        "left": LEFT,
        "right": WIDTH - RIGHT,
        "floor": HEIGHT - BOTTOM,
        "threshold": y(threshold),
        "lines": lines,
        "x_ticks": [(x(tick), tick) for tick in ticks(0, queries)],
        "y_ticks": [(y(tick), tick) for tick in ticks(low, top)],
    }


def _spread(lines: list[dict[str, object]], gap: float = 13.0) -> None:
    """Moves the names beside the curves' ends apart, so that none covers another."""
    lowest = HEIGHT - 4.0
    for line in sorted(lines, key=lambda line: -float(str(line["end"]))):
        lowest = min(float(str(line["end"])) + 4, lowest)
        line["label"] = round(lowest, 1)
        lowest -= gap
