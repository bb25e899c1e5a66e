"""`abstract`: keyed cloudy pictures; needs no data set, so the secret alone regenerates every trigger.

Picture i is `contract.value_noise` read from `image/abstract` i, with `finest` = max(2, min(32, max(H, W) // 2)).
After the abstract images of Adi et al. 2018, which were drawn once and shared by all.
"""

from collections.abc import Sequence

import numpy as np

from wmjax.data.dataset import Dataset
from wmjax.keys.derive import Stream
from wmjax.keys.schemes.contract import Scheme, value_noise
from wmjax.keys.spec import Spec


def clouds(secret: bytes, image: tuple[int, int, int], at: Sequence[int]) -> np.ndarray:
    """The pictures of these numbers, uint8 [n, H, W, C]."""
    finest = max(2, min(32, max(image[:2]) // 2))
    return np.stack([value_noise(Stream(secret, "image/abstract", i), *image, finest) for i in at])


def _draw(secret: bytes, spec: Spec, source: Dataset | None, at: Sequence[int]) -> np.ndarray:
    return clouds(secret, spec.image, at)


SCHEME = Scheme("abstract", needs_source=False, own_shape=False, draw=_draw)
