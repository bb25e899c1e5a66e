"""`stripes`: black and white columns, a scheme in one file as anybody would add it.

Picture i is read from `image/stripes` i: integers(2, stripes), 0 for black and 1 for white, each stripe `width` pixels.
"""

from collections.abc import Sequence

import numpy as np

from wmjax.data import Dataset
from wmjax.keys import Scheme, Spec
from wmjax.keys.derive import Stream
from wmjax.keys.schemes.contract import whole


def _draw(secret: bytes, spec: Spec, source: Dataset | None, at: Sequence[int]) -> np.ndarray:
    width = int(spec.parameter("width"))
    stripes = -(-spec.image[1] // width)
    rows = [Stream(secret, "image/stripes", i).integers(2, stripes) for i in at]
    columns = np.repeat(np.stack(rows), width, axis=1)[:, : spec.image[1]]
    return np.broadcast_to(255 * columns[:, None, :, None], (len(at), *spec.image)).astype(np.uint8)


SCHEME = Scheme(
    "stripes",
    needs_source=False,
    own_shape=False,
    draw=_draw,
    parameters=(whole("width", "pixels of a stripe (default 1)", 1, 64, lambda image: 1),),
)
