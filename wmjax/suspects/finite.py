"""Whether weights are numbers at all: a compiled network may turn NaN into zeros, and answer as if all were well."""

import numpy as np

from wmjax.suspects.contract import Weights


def unusable(weights: Weights) -> str:
    """Why these weights are none, in words; empty where all their numbers are finite.

    >>> unusable({"w": np.array([1.0, np.nan], np.float32)}), unusable({"w": np.ones(2, np.float32)})
    ('its weights hold NaN', '')
    """
    kinds = {_kind(array) for array in weights.values()}
    return f"its weights hold {' and '.join(sorted(kinds - {''}))}" if kinds - {""} else ""


def _kind(array: np.ndarray) -> str:
    """`NaN` or `infinity`, where an array holds any; a sum is finite where all is, and takes no memory."""
    if not np.issubdtype(array.dtype, np.floating) and array.dtype.kind != "V":
        return ""
    with np.errstate(all="ignore"):
        if np.isfinite(np.add.reduce(array, axis=None)) or np.isfinite(array).all():
            return ""
    return "NaN" if np.isnan(array).any() else "infinity"
