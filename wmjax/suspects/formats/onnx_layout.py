"""ONNX's operators that move numbers without computing: shapes, slices, joins, and picking by index.

They take NumPy arrays, where all of their inputs follow from the graph alone, and JAX's. Those that give more numbers
than they take refuse to make many of them in NumPy (`TooManyNumbers`), before anything is allocated.
"""

import math
from collections.abc import Callable, Mapping
from typing import Any

import jax.numpy as jnp
import numpy as np

from wmjax.suspects.formats.onnx_graph import Node

MOST_KNOWN = 1 << 16  # numbers in a value that is computed while tracing


class TooManyNumbers(ValueError):
    """A value that follows from the graph alone has more numbers than sizes need."""


def module_of(*values: Any) -> Any:
    """NumPy where all of the values follow from the graph alone, else `jax.numpy`."""
    return np if all(isinstance(value, np.ndarray) for value in values) else jnp


def check_known(count: int) -> None:
    """Raises `TooManyNumbers` where a known value would have more than `MOST_KNOWN`."""
    if count > MOST_KNOWN:
        raise TooManyNumbers("sizes of tensors that are themselves too large")


def integers(value: np.ndarray) -> tuple[int, ...]:
    """A known value's whole numbers."""
    check_known(value.size)
    return tuple(int(n) for n in value.reshape(-1))


def axes_of(node: Node, axes: np.ndarray | None, rank: int) -> tuple[int, ...] | None:
    """Axes from an attribute or, in later versions, an input; None where there is neither."""
    given = node.attributes.get("axes") if axes is None else integers(axes)
    if given is None:
        return None
    if not all(-rank <= axis < rank for axis in given):
        raise ValueError(f"axes {list(given)[:8]} of a value with {rank}")
    return tuple(axis % rank for axis in given)


def axis_of(node: Node, default: int, rank: int) -> int:
    """The attribute `axis`, counted from the front; `rank` itself is one."""
    axis: int = node.attributes.get("axis", default)
    if not -rank <= axis <= rank:
        raise ValueError(f"axis {axis} of a value with {rank}")
    return axis + rank if axis < 0 else axis


def aligned(*values: Any) -> list[Any]:
    """Values of one rank, for broadcasting, which JAX may be set to refuse between different ones."""
    rank = max(value.ndim for value in values)
    return [value.reshape((1,) * (rank - value.ndim) + value.shape) for value in values]


def _flatten(node: Node, x: Any) -> Any:
    axis = axis_of(node, 1, x.ndim)
    return x.reshape(math.prod(x.shape[:axis]), math.prod(x.shape[axis:]))


def _reshape(node: Node, x: Any, shape: np.ndarray) -> Any:
    sizes = list(integers(shape))
    if not node.attributes.get("allowzero", 0):
        sizes = [x.shape[i] if size == 0 else size for i, size in enumerate(sizes)]
    return x.reshape(sizes)


def _transpose(node: Node, x: Any) -> Any:
    return x.transpose(node.attributes.get("perm", range(x.ndim)[::-1]))


def _squeeze(node: Node, x: Any, axes: np.ndarray | None = None) -> Any:
    return x.squeeze(axes_of(node, axes, x.ndim))


def _unsqueeze(node: Node, x: Any, axes: np.ndarray | None = None) -> Any:
    given = node.attributes.get("axes", ()) if axes is None else integers(axes)
    found = axes_of(node, np.asarray(given, np.int64), x.ndim + len(given)) or ()
    rest = iter(x.shape)
    return x.reshape([1 if axis in found else next(rest) for axis in range(x.ndim + len(given))])


def _concat(node: Node, *parts: Any) -> Any:
    module = module_of(*parts)
    if module is np:
        check_known(sum(part.size for part in parts))
    return module.concatenate(parts, axis=node.attributes["axis"])


def _split(node: Node, x: Any, sizes: np.ndarray | None = None) -> tuple[Any, ...]:
    axis = node.attributes.get("axis", 0)
    given = node.attributes.get("split") if sizes is None else integers(sizes)
    if given is None:
        parts = node.attributes.get("num_outputs", len(node.outputs))
        each = -(-x.shape[axis] // parts)
        given = (*(each,) * (parts - 1), x.shape[axis] - each * (parts - 1))
    if len(given) != len(node.outputs) or sum(given) != x.shape[axis] or min(given) < 0:
        raise ValueError(f"parts {list(given)[:8]} of {x.shape[axis]}")
    ends = np.cumsum(given).tolist()
    return tuple(_cut(x, {axis % x.ndim: slice(end - size, end)}) for size, end in zip(given, ends, strict=True))


def _cut(x: Any, cuts: Mapping[int, slice]) -> Any:
    return x[tuple(cuts.get(axis, slice(None)) for axis in range(x.ndim))]


def _slice(node: Node, x: Any, starts: Any = None, ends: Any = None, axes: Any = None, steps: Any = None) -> Any:
    first = node.attributes.get("starts", ()) if starts is None else integers(starts)
    last = node.attributes.get("ends", ()) if ends is None else integers(ends)
    along = axes_of(node, axes, x.ndim) or tuple(range(len(first)))
    by = (1,) * len(first) if steps is None else integers(steps)
    return _cut(x, {axis: slice(*cut) for axis, *cut in zip(along, first, last, by, strict=True)})


def _shape(node: Node, x: Any) -> np.ndarray:
    return np.asarray(x.shape[node.attributes.get("start", 0) : node.attributes.get("end")], np.int64)


def _expand(node: Node, x: Any, shape: np.ndarray) -> Any:
    sizes = np.broadcast_shapes(x.shape, integers(shape))
    module = module_of(x)
    if module is np:
        check_known(math.prod(sizes))
    return module.broadcast_to(x, sizes)


def _tile(node: Node, x: Any, repeats: np.ndarray) -> Any:
    times = integers(repeats)
    if len(times) != x.ndim or min(times, default=1) < 0:
        raise ValueError(f"repeats {list(times)[:8]} of a value with {x.ndim} axes")
    module = module_of(x)
    if module is np:
        check_known(math.prod(times) * x.size)
    return module.tile(x, times)


def _where(node: Node, condition: Any, a: Any, b: Any) -> Any:
    condition, a, b = aligned(condition, a, b)
    module = module_of(condition, a, b)
    if module is np:
        check_known(math.prod(np.broadcast_shapes(condition.shape, a.shape, b.shape)))
    return module.where(condition, a, b)


def _gather(node: Node, x: Any, indices: Any) -> Any:
    axis = node.attributes.get("axis", 0)
    if isinstance(indices, np.ndarray) and not ((-x.shape[axis] <= indices) & (indices < x.shape[axis])).all():
        raise ValueError(f"indices beyond the {x.shape[axis]} that there are")
    if module_of(x, indices) is np:
        check_known(x.size // max(1, x.shape[axis]) * indices.size)
        return np.take(x, indices, axis)
    return jnp.take(x, indices, axis)


def _elements(node: Node, x: Any, indices: Any) -> tuple[Any, ...]:
    """Where the elements of `x` lie that indices along one axis name: each elsewhere at its own place."""
    axis = range(x.ndim)[node.attributes.get("axis", 0)]
    return tuple(
        indices if i == axis else np.arange(n).reshape([-1 if i == j else 1 for j in range(x.ndim)])
        for i, n in enumerate(indices.shape)
    )


def _gather_elements(node: Node, x: Any, indices: Any) -> Any:
    return module_of(x, indices).asarray(x)[_elements(node, x, indices)]


def _gather_nd(node: Node, x: Any, indices: Any) -> Any:
    module, batch, width = module_of(x, indices), node.attributes.get("batch_dims", 0), indices.shape[-1]
    if not 0 <= batch < indices.ndim or batch + width > x.ndim:
        raise ValueError(f"places of {width} numbers in a value with {x.ndim} axes")
    if module is np:
        check_known(indices.size * math.prod(x.shape[batch + width :]))
    grid = indices.shape[:-1]
    rows = [np.arange(n).reshape([-1 if i == j else 1 for j in range(len(grid))]) for i, n in enumerate(grid[:batch])]
    return module.asarray(x)[(*rows, *(indices[..., i] for i in range(width)))]


_INTO = {"none": "set", "add": "add", "mul": "multiply", "max": "max", "min": "min"}


def _scattered(node: Node, x: Any, places: tuple[Any, ...], updates: Any) -> Any:
    """`x` with `updates` at `places`; NumPy's way keeps the last of several, and needs no other one."""
    reduction = node.attributes.get("reduction", "none")
    if module_of(x, updates, *places) is np and reduction == "none":
        out = x.copy()
        out[places] = updates
        return out
    return getattr(jnp.asarray(x).at[places], _INTO[reduction])(updates)


def _scatter_nd(node: Node, x: Any, indices: Any, updates: Any) -> Any:
    if indices.shape[-1] > x.ndim:
        raise ValueError(f"places of {indices.shape[-1]} numbers in a value with {x.ndim} axes")
    return _scattered(node, x, tuple(indices[..., i] for i in range(indices.shape[-1])), updates)


def _scatter_elements(node: Node, x: Any, indices: Any, updates: Any) -> Any:
    return _scattered(node, x, _elements(node, x, indices), updates)


def _depth_to_space(node: Node, x: Any) -> Any:
    side, (n, c, h, w) = node.attributes["blocksize"], x.shape
    if node.attributes.get("mode", "DCR") == "DCR":
        parts = x.reshape(n, side, side, c // side**2, h, w).transpose(0, 3, 4, 1, 5, 2)
    else:
        parts = x.reshape(n, c // side**2, side, side, h, w).transpose(0, 1, 4, 2, 5, 3)
    return parts.reshape(n, c // side**2, h * side, w * side)


def _space_to_depth(node: Node, x: Any) -> Any:
    side, (n, c, h, w) = node.attributes["blocksize"], x.shape
    parts = x.reshape(n, c, h // side, side, w // side, side)
    parts = parts.transpose((0, 1, 3, 5, 2, 4) if node.attributes.get("mode") == "CRD" else (0, 3, 5, 1, 2, 4))
    return parts.reshape(n, c * side**2, h // side, w // side)


def _trilu(node: Node, x: Any, k: np.ndarray | None = None) -> Any:
    (shift,) = (0,) if k is None else integers(k)
    module = module_of(x)
    return module.triu(x, shift) if node.attributes.get("upper", 1) else module.tril(x, shift)


def _cumsum(node: Node, x: Any, axis: np.ndarray) -> Any:
    (along,) = integers(axis)
    module, reverse = module_of(x), node.attributes.get("reverse", 0)
    values = module.flip(x, along) if reverse else x
    sums = module.cumsum(values, along, dtype=x.dtype)
    sums = sums - values if node.attributes.get("exclusive", 0) else sums
    return module.flip(sums, along) if reverse else sums


LAYOUT: Mapping[str, Callable[..., Any]] = {
    "Concat": _concat,
    "CumSum": _cumsum,
    "Expand": _expand,
    "Flatten": _flatten,
    "Gather": _gather,
    "GatherElements": _gather_elements,
    "GatherND": _gather_nd,
    "Identity": lambda node, x: x,
    "Reshape": _reshape,
    "ScatterElements": _scatter_elements,
    "ScatterND": _scatter_nd,
    "Shape": _shape,
    "Size": lambda node, x: np.asarray(x.size, np.int64),
    "Slice": _slice,
    "Split": _split,
    "Squeeze": _squeeze,
    "Tile": _tile,
    "Transpose": _transpose,
    "Trilu": _trilu,
    "Unsqueeze": _unsqueeze,
    "Where": _where,
    "DepthToSpace": _depth_to_space,
    "SpaceToDepth": _space_to_depth,
}
