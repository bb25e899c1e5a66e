"""The one convolution of wmjax: NHWC, fast on CPUs inside and outside loops, and for many models at once.

XLA's CPU compiler canonicalises convolutions only in a module's entry computation, so the kernel
gradient that autodiff writes (batch and feature axes swapped) runs 20-280 times slower inside `scan`,
`map` or `cond`, and slowly outside them too. Here the three convolutions are written out by hand:

* forward and input gradient in canonical NHWC/HWIO order, fast anywhere; on a CPU, those of large 3x3 layers by
  Winograd's filtering, and their kernel gradient too (`wmjax.kernels.winograd`: half the time of what follows);
* any other kernel gradient, on a CPU, in canonical order too, images and channels having changed places in memory; of
  strides, as one matrix product per chunk of images over their k*k shifted views, with chunks small enough for the
  cache (`experiments/training/conv_speed.py`); on an accelerator, as the convolution that its library knows best.

Under `vmap` over models, JAX's own rule makes a grouped convolution, several times slower than a loop on CPUs. `_many`
has rules of its own: models that see the same images share one convolution with all their kernels side by side; models
that see different ones run one after another on a CPU, and as one batched matrix product a position of the window on an
accelerator.
"""

from collections.abc import Callable
from functools import lru_cache, partial
from typing import Any

import jax
import jax.numpy as jnp
from jax import Array, lax
from jax.custom_batching import custom_vmap

from wmjax.devices import on_cpu
from wmjax.kernels import winograd
from wmjax.kernels.chunks import chunks

Padding = str | tuple[tuple[int, int], tuple[int, int]]  # SAME, VALID, or pixels before and after each axis

_ORDER = ("NHWC", "HWIO", "NHWC")
_CHUNK_BYTES = 4 << 20  # of shifted views at a time: 2-8 MB measured alike, more falls out of the cache
_WINOGRAD_PRODUCTS = 1 << 20  # of an image in one of the nine positions: from there it pays


def _winograd(x: Array, kernel: Array, strides: tuple[int, int], padding: Padding) -> bool:
    """Whether Winograd's form serves: with fewer channels it is slower, on small layers it only compiles longer."""
    channels, features = kernel.shape[2:]
    fits = on_cpu() and strides == (1, 1) and padding == "SAME" and kernel.shape[:2] == (3, 3)
    products = x.shape[1] * x.shape[2] * channels * features
    return fits and min(channels, features) >= 48 and products >= _WINOGRAD_PRODUCTS


def _one_product(x: Array, kernel: Array) -> bool:
    """Whether one matrix product serves.

    For images smaller than the kernel XLA swaps the two and runs naive loops (both gradients of 128 images of 2x2 with
    256 channels: 172 ms that way, 11 ms this way, `experiments/training/conv_speed.py`); for large windows on grey
    images its vectors stay empty.
    """
    smaller = x.shape[1] < kernel.shape[0] or x.shape[2] < kernel.shape[1]
    return on_cpu() and (smaller or (kernel.shape[2] == 1 and kernel.shape[0] * kernel.shape[1] >= 25))


def _forward(x: Array, kernel: Array, strides: tuple[int, int], padding: Padding) -> Array:
    if _one_product(x, kernel):
        return _product(x, kernel, strides, padding)
    if _winograd(x, kernel, strides, padding):
        return winograd.conv3x3(x, kernel)
    return lax.conv_general_dilated(x, kernel, strides, padding, dimension_numbers=_ORDER)


@lru_cache
def _many(strides: tuple[int, int], padding: Padding) -> Callable[[Array, Array], Array]:
    """`_forward` with its rules for many models."""

    @custom_vmap
    def one(x: Array, kernel: Array) -> Array:
        return _forward(x, kernel, strides, padding)

    @one.def_vmap
    def many(models: int, batched: list[bool], x: Array, kernel: Array) -> tuple[Array, bool]:
        if batched[0] and batched[1]:
            if on_cpu():
                return lax.map(lambda model: _forward(model[0], model[1], strides, padding), (x, kernel)), True
            return _shifted_products(x, kernel, strides, padding), True
        if batched[0]:
            out = _forward(x.reshape(-1, *x.shape[2:]), kernel, strides, padding)
            return out.reshape(models, -1, *out.shape[1:]), True
        side_by_side = jnp.moveaxis(kernel, 0, -2).reshape(*kernel.shape[1:4], -1)
        out = _forward(x, side_by_side, strides, padding)
        return jnp.moveaxis(out.reshape(*out.shape[:3], models, -1), -2, 0), True

    return one


@partial(jax.custom_vjp, nondiff_argnums=(2, 3))
def conv(x: Array, kernel: Array, strides: tuple[int, int] = (1, 1), padding: Padding = "SAME") -> Array:
    """Convolves images with a kernel; gradients equal those of `lax`.

    >>> conv(jnp.ones((1, 4, 4, 1)), jnp.ones((3, 3, 1, 2))).shape
    (1, 4, 4, 2)

    Args:
      x: images, float [N, H, W, C].
      kernel: float [kh, kw, C, O].
      strides: step along height and width.
      padding: `SAME`, `VALID`, or pixels added before and after height and width.

    Returns:
      float [N, H', W', O]; under SAME H' is ceil(H / strides[0]).
    """
    return _many(strides, padding)(x, kernel)


def _pads(size: tuple[int, int], window: tuple[int, int], strides: tuple[int, int], padding: Padding) -> list[Any]:
    if not isinstance(padding, str):
        return list(padding)
    return [(int(lo), int(hi)) for lo, hi in lax.padtype_to_pads(size, window, strides, padding)]


def _outputs(padded: Array, window: tuple[int, int], strides: tuple[int, int]) -> tuple[int, int]:
    """Height and width of what a convolution of padded images [..., H, W, C] gives."""
    height, width = padded.shape[-3:-1]
    return (height - window[0]) // strides[0] + 1, (width - window[1]) // strides[1] + 1


def _flipped(kernel: Array) -> Array:
    return kernel[::-1, ::-1].transpose(0, 1, 3, 2)


def _input_gradient(
    g: Array, kernel: Array, size: tuple[int, int], strides: tuple[int, int], padding: Padding
) -> Array:
    window = (kernel.shape[0], kernel.shape[1])
    low = [k - 1 - lo for k, (lo, _) in zip(window, _pads(size, window, strides, padding), strict=True)]
    spread = [(out - 1) * s + 1 for out, s in zip(g.shape[1:3], strides, strict=True)]
    high = [h + k - 1 - n - lo for h, k, n, lo in zip(size, window, spread, low, strict=True)]
    pads = list(zip(low, high, strict=True))
    return lax.conv_general_dilated(g, _flipped(kernel), (1, 1), pads, lhs_dilation=strides, dimension_numbers=_ORDER)


def _views(padded: Array, window: tuple[int, int], out: tuple[int, int], strides: tuple[int, int]) -> list[Array]:
    """What each position of the window sees of padded images [..., H, W, C]: kh * kw arrays [..., H', W', C]."""
    ends = [(n - 1) * s + 1 for n, s in zip(out, strides, strict=True)]
    return [
        padded[..., i : i + ends[0] : strides[0], j : j + ends[1] : strides[1], :]
        for i in range(window[0])
        for j in range(window[1])
    ]


def _columns(padded: Array, window: tuple[int, int], out: tuple[int, int], strides: tuple[int, int]) -> Array:
    """The views of padded images [N, H, W, C] side by side: [N * H' * W', kh * kw * C]."""
    views = _views(padded, window, out, strides)
    return jnp.concatenate(views, axis=-1).reshape(-1, window[0] * window[1] * padded.shape[-1])


def _pad(x: Array, window: tuple[int, int], strides: tuple[int, int], padding: Padding) -> Array:
    pads = _pads((x.shape[-3], x.shape[-2]), window, strides, padding)
    return jnp.pad(x, (*[(0, 0)] * (x.ndim - 3), *pads, (0, 0)))


def _kernel_gradient(x: Array, g: Array, window: tuple[int, int], strides: tuple[int, int], padding: Padding) -> Array:
    if strides == (1, 1):  # else the convolution would multiply with the zeros between the strides
        return _swapped(x, g, window, padding)
    channels = x.shape[3]
    out, features = (g.shape[1], g.shape[2]), g.shape[3]
    padded = _pad(x, window, strides, padding)
    rows = window[0] * window[1] * channels

    def product(part: Array, g_part: Array) -> Array:
        return _columns(part, window, out, strides).T @ g_part.reshape(-1, features)

    start = jnp.zeros((rows, features), x.dtype)
    parts = chunks((padded, g), out[0] * out[1] * rows * x.dtype.itemsize, _CHUNK_BYTES)
    total, _ = lax.scan(lambda acc, part: (acc + product(*part), None), start, parts)
    return total.reshape(*window, channels, features)


def _swapped(x: Array, g: Array, window: tuple[int, int], padding: Padding) -> Array:
    """The kernel gradient as a convolution: channels are its images, the images its channels, `g` is its kernel."""
    pads = _pads((x.shape[1], x.shape[2]), window, (1, 1), padding)
    images, kernel = x.transpose(3, 1, 2, 0), g.transpose(1, 2, 0, 3)
    return lax.conv_general_dilated(images, kernel, (1, 1), pads, dimension_numbers=_ORDER).transpose(1, 2, 0, 3)


def _product(x: Array, kernel: Array, strides: tuple[int, int], padding: Padding) -> Array:
    """A convolution as one matrix product; where one row or column comes out, of the weights that see a pixel."""
    pads = _pads((x.shape[1], x.shape[2]), (kernel.shape[0], kernel.shape[1]), strides, padding)
    for axis, (low, high) in enumerate(pads):
        side, size = x.shape[1 + axis], kernel.shape[axis]
        if (side + low + high - size) // strides[axis] == 0:  # the others see padding alone
            kernel = lax.slice_in_dim(kernel, low, min(size, low + side), axis=axis)
            x = lax.slice_in_dim(x, 0, kernel.shape[axis], axis=1 + axis)
            pads[axis] = (0, 0)
    window, features = (kernel.shape[0], kernel.shape[1]), kernel.shape[3]
    padded = jnp.pad(x, ((0, 0), *pads, (0, 0)))
    out = _outputs(padded, window, strides)
    return (_columns(padded, window, out, strides) @ kernel.reshape(-1, features)).reshape(-1, *out, features)


def _shifted_products(x: Array, kernel: Array, strides: tuple[int, int], padding: Padding) -> Array:
    """Convolutions of models [M, N, H, W, C] with their kernels [M, kh, kw, C, O], as kh * kw batched products."""
    models, window, features = kernel.shape[0], (kernel.shape[1], kernel.shape[2]), kernel.shape[4]
    padded = _pad(x, window, strides, padding)
    out = _outputs(padded, window, strides)
    views = _views(padded, window, out, strides)
    kernels = jnp.moveaxis(kernel.reshape(models, len(views), -1, features), 1, 0)
    total = sum(view.reshape(models, -1, x.shape[-1]) @ part for view, part in zip(views, kernels, strict=True))
    return jnp.asarray(total).reshape(models, -1, *out, features)


def _backward(
    strides: tuple[int, int], padding: Padding, residuals: tuple[Array, Array], g: Array
) -> tuple[Array, Array]:
    x, kernel = residuals
    size, window = (x.shape[1], x.shape[2]), (kernel.shape[0], kernel.shape[1])
    if not on_cpu() or size[0] < window[0] or size[1] < window[1]:
        _, pull = jax.vjp(lambda a, b: _forward(a, b, strides, padding), x, kernel)
        return pull(g)
    if _winograd(x, kernel, strides, padding):
        return winograd.conv3x3(g, _flipped(kernel)), winograd.kernel_gradient(x, g)
    return _input_gradient(g, kernel, size, strides, padding), _kernel_gradient(x, g, window, strides, padding)


def _with_residuals(x: Array, kernel: Array, strides: tuple[int, int], padding: Padding) -> tuple[Array, Any]:
    return _many(strides, padding)(x, kernel), (x, kernel)


conv.defvjp(_with_residuals, _backward)


def max_pool(x: Array) -> Array:
    """Halves height and width by the maximum of 2x2 blocks; an odd last row or column is dropped.

    Written with a reshape: the gradient of `lax.reduce_window` is a scatter, slow on CPUs.

    >>> max_pool(jnp.arange(16.0).reshape(1, 4, 4, 1)).ravel().tolist()
    [5.0, 7.0, 13.0, 15.0]
    """
    n, height, width, channels = x.shape
    x = x[:, : height // 2 * 2, : width // 2 * 2]
    return x.reshape(n, height // 2, 2, width // 2, 2, channels).max((2, 4))
