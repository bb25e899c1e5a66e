"""`blend`: two source images of different classes merged under a keyed mask.

From `image/blend` i: a = integers(N, 1); b = integers(N, 1), again until its class differs from a's; then a
one-channel `contract.value_noise` m with cells of 2 and 4 a side. Pixel: (m a + (255 - m) b + 127) // 255. In
distribution, therefore the scheme that survives distillation best.
"""

from collections.abc import Sequence

import numpy as np

from wmjax.data.dataset import Dataset
from wmjax.errors import UsageError
from wmjax.keys.derive import Stream
from wmjax.keys.schemes.contract import Scheme, required, value_noise
from wmjax.keys.spec import Spec


def _draw(secret: bytes, spec: Spec, source: Dataset | None, at: Sequence[int]) -> np.ndarray:
    source = required(source)
    if len(np.unique(source.labels)) < 2:
        raise UsageError("blend merges images of different classes: the source has only one class")
    return np.stack([_one(Stream(secret, "image/blend", i), spec, source) for i in at])


def _one(stream: Stream, spec: Spec, source: Dataset) -> np.ndarray:
    first = second = stream.integers(len(source), 1)[0]
    while source.labels[second] == source.labels[first]:
        second = stream.integers(len(source), 1)[0]
    mask = value_noise(stream, spec.image[0], spec.image[1], 1, finest=4).astype(np.int64)
    merged: np.ndarray = mask * source.images[first] + (255 - mask) * source.images[second]
    return ((merged + 127) // 255).astype(np.uint8)


SCHEME = Scheme("blend", needs_source=True, own_shape=True, draw=_draw)
