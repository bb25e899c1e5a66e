"""`unrelated`: images of another data set, such as MNIST's ones for CIFAR-10 (Zhang et al. 2018, WM_unrelated).

Each is brought to the key's shape by nearest neighbours (row y of H from row y h // H of h); one channel is repeated,
several become one by their integer mean.
"""

from collections.abc import Sequence

import numpy as np

from wmjax.data.dataset import Dataset
from wmjax.errors import UsageError
from wmjax.keys.schemes.contract import Scheme, required, source_rows
from wmjax.keys.spec import Spec


def _draw(secret: bytes, spec: Spec, source: Dataset | None, at: Sequence[int]) -> np.ndarray:
    source = required(source)
    images: np.ndarray = source.images[source_rows(secret, spec, source, at)]
    height, width, channels = spec.image
    rows = np.arange(height) * images.shape[1] // height
    columns = np.arange(width) * images.shape[2] // width
    images = images[:, rows][:, :, columns]
    if images.shape[3] == channels:
        return images
    if channels == 1:
        return np.asarray(images.sum(axis=3, dtype=np.int64, keepdims=True) // images.shape[3], np.uint8)
    if images.shape[3] == 1:
        return np.repeat(images, channels, axis=3)
    raise UsageError(f"cannot turn images of {images.shape[3]} channels into {channels}")


SCHEME = Scheme("unrelated", needs_source=True, own_shape=False, paper=True, draw=_draw)
