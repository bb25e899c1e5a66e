"""The digest of a model's weights: the same wherever and in whatever format they lie."""

import hashlib
from collections.abc import Mapping
from typing import Any

import numpy as np
import rfc8785


def digest(weights: Mapping[str, Any]) -> str:
    """SHA-256 (hex) of one model's weights.

    For each tensor, in the order of their names: be32 of the length of, and then, the RFC 8785 JSON of
    `[name, dtype, shape]`; then its elements in C order, little-endian. This may never change.

    >>> digest({"kernel": np.zeros((2, 3), np.float32)})[:16]
    'e115e006111e8723'

    Args:
      weights: arrays by name.
    """
    sha = hashlib.sha256()
    for name in sorted(weights):
        tensor = np.ascontiguousarray(weights[name])
        head = rfc8785.dumps([name, tensor.dtype.name, list(np.shape(weights[name]))])
        sha.update(len(head).to_bytes(4) + head)
        little = tensor.astype(tensor.dtype.newbyteorder("<"), copy=False)
        sha.update(little.reshape(-1).view(np.uint8).data)
    return sha.hexdigest()
