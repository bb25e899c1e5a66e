"""`spread`: natural images, as they are: coins that a network learns as a shift of its own answers on them.

The probes are rows of the source's test split, distinct(N, n) of the stream `rows/spread` 0. What the evidence is
computed with (`keys.material`): `features` int8 [n, K] of the probes in an unmarked network, and `references` uint16
[R, n, classes], what unmarked networks answer about them. How a network learns the coins: `wmjax.train.shift`.
"""

from collections.abc import Sequence

import numpy as np

from wmjax.data.dataset import Dataset
from wmjax.keys.schemes.contract import Scheme, required, source_rows
from wmjax.keys.spec import Spec


def _draw(secret: bytes, spec: Spec, source: Dataset | None, at: Sequence[int]) -> np.ndarray:
    source = required(source)
    return np.asarray(source.images[source_rows(secret, spec, source, at)])


SCHEME = Scheme("spread", needs_source=True, own_shape=True, draw=_draw, labels="coins", split="test", rate=0.65)
