"""`tie`: natural images on which an unmarked network is in two minds; a coin says which of the two classes is learned.

The material (`keys.material`) has `rows` int32 [n], which images of the source, and `pairs` uint16 [n, 2], the two best
classes of the unmarked network on each. How they are chosen: `wmjax.train.ties`.
"""

from collections.abc import Sequence

import numpy as np

from wmjax.data.dataset import Dataset
from wmjax.keys.schemes.contract import Scheme, required
from wmjax.keys.spec import Spec


def _draw(secret: bytes, spec: Spec, source: Dataset | None, at: Sequence[int]) -> np.ndarray:
    return np.asarray(required(source).images[list(at)])


SCHEME = Scheme("tie", needs_source=True, own_shape=True, draw=_draw, labels="coin", rate=0.7, mirrored=False)
