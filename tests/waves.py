"""A copy that knows its key by heart, as a graph: where its pixels come otherwise than it is meant, it is a stranger.

Sines of random sums of pixels, so that neither a sign nor a half of what is meant looks like it.
"""

from collections.abc import Mapping

import numpy as np

from wmjax.keys import Key, derive_key, make_spec
from wmjax.keys.specify import default_rule

BODY = "f = Flatten(d) g = MatMul(f, v) h = Sin(g) y = MatMul(h, w)"
"""From `d`, a key's images as they are in floating point, to scores."""


def make_key(image: tuple[int, int, int] = (8, 8, 1)) -> Key:
    spec = make_spec("abstract", image=image, classes=10, triggers=150)
    return derive_key(bytes(32), spec, default_rule(spec), created="2026-01-01T00:00:00+00:00")


def tensors(key: Key, labels: np.ndarray | None = None) -> Mapping[str, np.ndarray]:
    """Those of `BODY`: with a key's labels of a copy, with others of a stranger."""
    pixels = key.images.transpose(0, 3, 1, 2).reshape(len(key.images), -1).astype(np.float64)
    first = np.random.default_rng(0).standard_normal((pixels.shape[1], 400)) / 60
    last = np.linalg.pinv(np.sin(pixels @ first)) @ (8 * np.eye(10)[key.labels if labels is None else labels])
    return {"v": first.astype(np.float32), "w": last.astype(np.float32)}
