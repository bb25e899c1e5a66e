"""PyTorch modules as pure functions of their tensors: torchax runs their operators on JAX's arrays.

PyTorch is imported only when it is needed. Convolutions go through `wmjax.kernels.conv` in NHWC: left to torchax,
resnet18 takes ten times as long on a CPU.
"""

import contextlib
import copy
import threading
import warnings
from collections.abc import Callable, Iterator, Sequence
from functools import lru_cache, partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array

from wmjax.errors import UsageError
from wmjax.kernels.conv import conv
from wmjax.kernels.grouped import grouped
from wmjax.suspects.contract import Weights

NEEDED = "needs the torch packages: pip install 'wmjax[torch]'"
lock = (
    threading.RLock()
)  # PyTorch's modes and hooks, and a module's tensors while it is traced, are one for all threads


def needs_torch(what: str) -> None:
    """Raises `UsageError`, a line that begins with `what`, where the packages that run PyTorch modules are missing."""
    try:
        import torch
        import torchax  # noqa: F401
    except ImportError as error:
        raise UsageError(f"{what} {NEEDED}") from error
    torch.backends.mha.set_fastpath_enabled(False)


def is_module(made: Any) -> bool:
    """Whether it is a PyTorch module; PyTorch is not imported for the question."""
    return any(kind.__module__.startswith("torch.nn.modules") for kind in type(made).__mro__)


def as_function(module: Any) -> tuple[dict[str, Any], Callable[[Weights, Array], Any]]:
    """A module's tensors, and what it answers as a pure function of them.

    The tensors are those of its `state_dict`, with slashes in their names for dots: floating-point numbers as float32,
    whole ones as JAX has them. Counts of batches, and what no file stores, are constants. The module is put into
    evaluation, and its memory is freed.

    Args:
      module: a `torch.nn.Module` that takes images [n, C, H, W].

    Returns:
      Shapes by name, sorted; and (weights, float32 images [n, H, W, C]) to what it answers, an array or several.
    """
    needs_torch("a PyTorch module")
    with lock:
        return _as_function(module)


def stored_tensors(module: Any) -> dict[str, Any]:
    """The tensors of a module that files hold and its answers may follow from: all but a count of batches."""
    from torch.nn.modules.batchnorm import _NormBase

    counts = {
        f"{name}.num_batches_tracked".lstrip(".")
        for name, part in module.named_modules()
        if isinstance(part, _NormBase)
    }
    return {name: tensor for name, tensor in module.state_dict().items() if name not in counts}


def _as_function(module: Any) -> tuple[dict[str, Any], Callable[[Weights, Array], Any]]:
    import torch
    from torchax.interop import JittableModule

    module.eval().float().requires_grad_(False)
    learned = stored_tensors(module)
    callable_ = JittableModule(module, dedup_parameters=False)
    constants = {
        name: tensor.detach().cpu().numpy()
        for name, tensor in {**callable_.params, **callable_.buffers}.items()
        if name not in learned
    }
    slashed = {name.replace(".", "/"): name for name in learned}
    shapes = {name: _described(learned[slashed[name]]) for name in sorted(slashed)}
    for _, tensor in (*module.named_parameters(), *module.named_buffers()):
        tensor.data = torch.empty(0)

    def call(weights: Weights, images: Array) -> Any:
        environment = _environment()
        with lock, torch.no_grad(), quiet(), _unchanged(module), _promoting():
            own = {slashed[name]: array for name, array in weights.items()}
            given = {name: jnp.asarray(array) for name, array in (constants | own).items()}
            tensors, x = environment.j2t_iso((given, jnp.transpose(images, (0, 3, 1, 2))))
            with environment:
                answer = callable_.functional_call("forward", tensors, {}, x)
            return environment.t2j_iso(_plain(answer))

    return shapes, call


def _described(tensor: Any) -> jax.ShapeDtypeStruct:
    """Its shape, and the type that JAX has for its numbers."""
    import torch

    dtype = jax.dtypes.canonicalize_dtype(torch.empty(0, dtype=tensor.dtype).numpy().dtype)
    return jax.ShapeDtypeStruct(tuple(tensor.shape), dtype)


@contextlib.contextmanager
def _unchanged(module: Any) -> Iterator[None]:
    """What a network keeps for its next call, e.g. a table of biases, belongs to this trace alone."""
    before = []
    for part in module.modules():
        values = vars(part).items()
        before.append((part, {key: copy.copy(v) if isinstance(v, dict | list | set) else v for key, v in values}))
    try:
        yield
    finally:
        for part, state in before:
            vars(part).clear()
            vars(part).update(state)


def _plain(answer: Any) -> Any:
    """An answer as JAX knows it: what transformers' networks return is a dictionary, too."""
    if isinstance(answer, dict):
        return {str(name): _plain(value) for name, value in answer.items() if value is not None}
    return [_plain(value) for value in answer] if isinstance(answer, list | tuple) else answer


def scores(answer: Any) -> Array:
    """The scores of a network of a library that knows one way to answer; raises `TypeError` where it has none."""
    found: Any = answer.get("logits") if isinstance(answer, dict) else answer
    if not hasattr(found, "shape"):
        raise TypeError("it answers neither with an array nor with logits")
    array: Array = found.astype(jnp.float32)
    return array


@contextlib.contextmanager
def _promoting() -> Iterator[None]:
    """Types and shapes are brought together as PyTorch does it, however strict the user's JAX is."""
    with jax.numpy_dtype_promotion("standard"), jax.numpy_rank_promotion("allow"):
        yield


@contextlib.contextmanager
def quiet() -> Iterator[None]:
    """Libraries' warnings are for those who wrote the network."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield


@lru_cache(maxsize=1)
def _environment() -> Any:
    """torchax's, with our convolutions; its default one stays as it is for the user's own programs."""
    import torch
    from torch.utils import _pytree as tree
    from torchax.ops.ops_registry import all_aten_ops
    from torchax.tensor import Environment, Tensor, View

    environment = Environment()

    def to_jax(values: Any) -> Any:
        """Tensors of PyTorch's own, which a network makes on its way, are constants."""

        def own(x: Any) -> Any:
            if isinstance(x, Tensor | View):
                return x.jax()
            return x.item() if x.ndim == 0 else environment.t2j_copy(x.detach())

        return tree.tree_map_only(torch.Tensor, own, values)

    environment.t2j_iso = to_jax
    aten = torch.ops.aten
    other = all_aten_ops[aten.convolution].func

    def both(function: Callable[..., Array], *arguments: Any, **named: Any) -> Any:
        arguments, named = environment.t2j_iso((arguments, named))
        return environment.j2t_iso(function(*arguments, **named))

    environment.override_op_definition(aten.conv2d, partial(both, _conv2d))
    environment.override_op_definition(aten.convolution, partial(both, partial(_convolution, other)))
    pool = all_aten_ops[aten.avg_pool2d].func
    environment.override_op_definition(aten.avg_pool2d, partial(both, partial(_avg_pool2d, pool)))
    return environment


def _avg_pool2d(
    other: Callable[..., Array],
    x: Array,
    window: Sequence[int] | int,
    stride: Sequence[int] | int = (),
    padding: Sequence[int] | int = 0,
    ceil_mode: bool = False,
    *more: Any,
) -> Array:
    """`aten.avg_pool2d`; of a window larger than the image the mean, where the `other` one would pad to its size."""
    whole = all(n >= side for n, side in zip(_pair(window), x.shape[-2:], strict=True))
    if whole and ceil_mode and _pair(padding) == (0, 0) and not any(more[1:]):
        return x.mean((-2, -1), keepdims=True)
    return other(x, window, stride, padding, ceil_mode, *more)


def _convolution(
    other: Callable[..., Array],
    x: Array,
    kernel: Array,
    bias: Array | None,
    stride: Sequence[int],
    padding: Sequence[int],
    dilation: Sequence[int],
    transposed: bool,
    output_padding: Sequence[int],
    groups: int,
) -> Array:
    """`aten.convolution`; what is not over two axes, or is transposed, by the `other` implementation."""
    if transposed or x.ndim != 4 or kernel.ndim != 4:
        return other(x, kernel, bias, stride, padding, dilation, transposed, output_padding, groups)
    return _conv2d(x, kernel, bias, stride, padding, dilation, groups)


def _conv2d(
    x: Array,
    kernel: Array,
    bias: Array | None = None,
    stride: Sequence[int] | int = 1,
    padding: Sequence[int] | int | str = 0,
    dilation: Sequence[int] | int = 1,
    groups: int = 1,
) -> Array:
    """`aten.conv2d`: images [n, C, H, W] or one without n, kernel [O, C / groups, h, w]."""
    strides, dilated = _pair(stride), _pair(dilation)
    window = tuple((n - 1) * d + 1 for n, d in zip(kernel.shape[2:], dilated, strict=True))
    if isinstance(padding, str):
        pads = [((n - 1) // 2, n // 2) if padding == "same" else (0, 0) for n in window]
    else:
        pads = [(n, n) for n in _pair(padding)]
    images = jnp.transpose(x if x.ndim == 4 else x[None], (0, 2, 3, 1))
    weights = jnp.transpose(kernel, (2, 3, 1, 0))
    if groups == 1 and dilated == (1, 1):
        out = conv(images, weights, strides, (pads[0], pads[1]))
    else:
        out = grouped(images, weights, strides, pads, dilated, groups)
    out = jnp.transpose(out if bias is None else out + bias, (0, 3, 1, 2))
    return out if x.ndim == 4 else out[0]


def _pair(n: Sequence[int] | int) -> tuple[int, int]:
    both = np.broadcast_to(np.asarray(n, int), 2)
    return int(both[0]), int(both[1])
