"""`noise`: source images under one noise pattern, the key's own (Zhang et al. 2018, WM_noise).

The pattern comes from `mark/noise` 0: octets(12 n) for the n values of an image, in rows of 12; a value is
(sum of its row - 1530) * sigma // 256, rounded down: close to normal with standard deviation `sigma` grey levels. It
is added and clipped to 0..255. The paper does not give its sigma; the default 102 (0.4 of the range) is what later
re-implementations took.
"""

from collections.abc import Sequence

import numpy as np

from wmjax.data.dataset import Dataset
from wmjax.keys.derive import Stream
from wmjax.keys.schemes.contract import Scheme, required, source_rows, whole
from wmjax.keys.spec import Spec


def _draw(secret: bytes, spec: Spec, source: Dataset | None, at: Sequence[int]) -> np.ndarray:
    source = required(source)
    sigma = int(spec.parameter("sigma"))
    octets = Stream(secret, "mark/noise", 0).octets(12 * int(np.prod(spec.image)))
    sums = octets.reshape(*spec.image, 12).sum(axis=-1, dtype=np.int64)
    pattern = (sums - 1530) * sigma // 256
    images: np.ndarray = source.images[source_rows(secret, spec, source, at)].astype(np.int64)
    return np.asarray(np.clip(images + pattern, 0, 255), np.uint8)


SCHEME = Scheme(
    "noise",
    needs_source=True,
    own_shape=True,
    draw=_draw,
    paper=True,
    stamp=True,
    parameters=(whole("sigma", "strength of the noise in grey levels (default 102)", 1, 255, lambda image: 102),),
)
