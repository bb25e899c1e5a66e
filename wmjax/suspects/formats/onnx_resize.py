"""ONNX's Resize and Upsample: each axis is resized by a matrix that follows from the graph alone.

The coordinates are those of the operators' definition; the matrices are made in float64 by NumPy.
"""

import math
from collections.abc import Callable, Mapping
from typing import Any

import jax.numpy as jnp
import numpy as np
from jax import Array

from wmjax.suspects.formats.onnx_graph import Node
from wmjax.suspects.formats.onnx_layout import axes_of, integers

_LARGEST = 1 << 22  # numbers in a matrix

# Where in the input a place of the output lies: of (place, scale, sizes of output and input).
_COORDINATES: Mapping[str, Callable[[np.ndarray, float, int, int], np.ndarray]] = {
    "half_pixel": lambda at, scale, out, size: (at + 0.5) / scale - 0.5,
    "asymmetric": lambda at, scale, out, size: at / scale,
    "align_corners": lambda at, scale, out, size: at * (size - 1) / max(1, out - 1),
    "pytorch_half_pixel": lambda at, scale, out, size: (at + 0.5) / scale - 0.5 if out > 1 else at * 0.0,
    "half_pixel_symmetric": lambda at, scale, out, size: (
        size / 2 * (1 - out / (scale * size)) + (at + 0.5) / scale - 0.5
    ),
}
_NEAREST: Mapping[str, Callable[[np.ndarray], np.ndarray]] = {
    "round_prefer_floor": lambda x: np.ceil(x - 0.5),
    "round_prefer_ceil": lambda x: np.floor(x + 0.5),
    "floor": np.floor,
    "ceil": np.ceil,
}


def resize(node: Node, x: Array, roi: Any = None, scales: Any = None, sizes: Any = None) -> Array:
    """Resize; in version 10 its second input has the scales."""
    scales = roi if node.opset < 11 else scales
    if node.attributes.get("keep_aspect_ratio_policy", "stretch") != "stretch":
        raise NotImplementedError("keep_aspect_ratio_policy is not read")
    along = axes_of(node, None, x.ndim) or tuple(range(x.ndim))
    if sizes is not None and sizes.size:
        wanted = integers(sizes)
        factors = [size / x.shape[axis] for axis, size in zip(along, wanted, strict=True)]
    else:
        factors = [float(scale) for scale in scales.reshape(-1)]
        wanted = tuple(math.floor(x.shape[axis] * scale) for axis, scale in zip(along, factors, strict=True))
    default = "half_pixel" if node.opset >= 11 else "asymmetric"
    return _resized(node, x, dict(zip(along, zip(wanted, factors, strict=True), strict=True)), default)


def upsample(node: Node, x: Array, scales: Any = None) -> Array:
    """Upsample, which came before Resize."""
    factors = node.attributes["scales"] if scales is None else [float(scale) for scale in scales.reshape(-1)]
    wanted = {axis: (math.floor(x.shape[axis] * scale), scale) for axis, scale in enumerate(factors)}
    return _resized(node, x, wanted, "asymmetric")


def _resized(node: Node, x: Array, wanted: Mapping[int, tuple[int, float]], default: str) -> Array:
    kind = node.attributes.get("coordinate_transformation_mode", default)
    mode = node.attributes.get("mode", "nearest")
    if kind not in _COORDINATES or mode not in ("nearest", "linear", "cubic"):
        raise NotImplementedError(f"mode {mode[:20]!r} of coordinates {kind[:20]!r} is not read")
    for axis, (out, scale) in wanted.items():
        size = x.shape[axis]
        if out == size and scale == 1.0:
            continue
        if not (0 < scale < math.inf) or out < 1 or out * size > _LARGEST:
            raise ValueError(f"a size of {out} from {size}")
        places = _COORDINATES[kind](np.arange(out, dtype=np.float64), scale, out, size)
        if mode == "nearest":
            rounding = node.attributes.get("nearest_mode", "round_prefer_floor" if node.opset >= 11 else "floor")
            x = jnp.take(x, np.clip(_NEAREST[rounding](places), 0, size - 1).astype(np.int32), axis)
        else:
            matrix = _matrix(node, mode, places, min(1.0, scale), size).astype(np.float32)
            x = jnp.moveaxis(jnp.tensordot(x, matrix, ((axis,), (1,))), -1, axis)
    return x


def _matrix(node: Node, mode: str, places: np.ndarray, scale: float, size: int) -> np.ndarray:
    """Weights [out, size] of the inputs in each output."""
    stretch = scale if node.attributes.get("antialias", 0) else 1.0  # its kernel is wider where images get smaller
    kernel = _cubic(node.attributes.get("cubic_coeff_a", -0.75)) if mode == "cubic" else _linear
    reach = math.ceil((2 if mode == "cubic" else 1) / stretch)
    if len(places) * 2 * reach > _LARGEST:
        raise ValueError("its windows are too large")
    near = np.floor(places)[:, None].astype(np.int64) + np.arange(1 - reach, reach + 1)
    weights = kernel((places[:, None] - near) * stretch)
    if node.attributes.get("exclude_outside", 0):
        weights = np.where((near >= 0) & (near < size), weights, 0.0)
    weights /= weights.sum(1, keepdims=True)
    matrix = np.zeros((len(places), size))
    np.add.at(matrix, (np.arange(len(places))[:, None], np.clip(near, 0, size - 1)), weights)
    return matrix


def _linear(distance: np.ndarray) -> Any:
    return np.maximum(0.0, 1.0 - np.abs(distance))


def _cubic(a: float) -> Callable[[np.ndarray], Any]:
    def kernel(distance: np.ndarray) -> Any:
        x = np.abs(distance)
        inner = (a + 2) * x**3 - (a + 3) * x**2 + 1
        outer = a * x**3 - 5 * a * x**2 + 8 * a * x - 4 * a
        return np.where(x <= 1, inner, np.where(x < 2, outer, 0.0))

    return kernel
