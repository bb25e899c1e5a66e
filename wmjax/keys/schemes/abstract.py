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


def _draw(secret: bytes, spec: Spec, source: Dataset | None, at: Sequence[int]) -> np.ndarray:
    finest = max(2, min(32, max(spec.image[:2]) // 2))
    pictures = [value_noise(Stream(secret, "image/abstract", i), *spec.image, finest) for i in at]
    return np.stack(pictures)


SCHEME = Scheme("abstract", needs_source=False, own_shape=False, draw=_draw)
