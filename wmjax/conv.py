"""The one convolution of wmjax: NHWC, SAME, fast on CPUs inside and outside loops.

XLA's CPU compiler canonicalises convolutions only in a module's entry computation, so the kernel
gradient that autodiff writes (batch and feature axes swapped) runs 20-280 times slower inside `scan`,
`map` or `cond`, and slowly outside them too. Here the three convolutions are written out by hand:

* forward and input gradient in canonical NHWC/HWIO order, fast anywhere; on a CPU, those of large 3x3 layers by
  Winograd's filtering, and their kernel gradient too (`wmjax.winograd`: half the time of what follows);
* any other kernel gradient, on a CPU, as one matrix product per chunk of images over their k*k shifted views,
  with chunks small enough for the cache (1.1 to 13 times faster than autodiff's for layers of 4 to 32 pixels a side,
  `experiments/conv_speed.py`); on an accelerator, as the convolution that its library knows best.
"""

from functools import partial

import jax
import jax.numpy as jnp
from jax import Array, lax

from wmjax import winograd
from wmjax.chunks import chunks

_ORDER = ("NHWC", "HWIO", "NHWC")
_CHUNK_BYTES = 4 << 20  # of shifted views at a time: 2-8 MB measured alike, more falls out of the cache
_WINOGRAD_PRODUCTS = 1 << 20  # of an image in one of the nine positions: from there it pays


def on_cpu() -> bool:
    """Whether programs run on the host's cores, where XLA needs help."""
    return jax.default_backend() == "cpu"


def _winograd(x: Array, kernel: Array, strides: tuple[int, int]) -> bool:
    """Whether Winograd's form serves: with fewer channels it is slower, on small layers it only compiles longer."""
    channels, features = kernel.shape[2:]
    fits = on_cpu() and strides == (1, 1) and kernel.shape[:2] == (3, 3) and min(channels, features) >= 48
    return fits and x.shape[1] * x.shape[2] * channels * features >= _WINOGRAD_PRODUCTS


def _forward(x: Array, kernel: Array, strides: tuple[int, int]) -> Array:
    if on_cpu() and (x.shape[1] < kernel.shape[0] or x.shape[2] < kernel.shape[1]):
        return _tiny(x, kernel, strides)
    if _winograd(x, kernel, strides):
        return winograd.conv3x3(x, kernel)
    return lax.conv_general_dilated(x, kernel, strides, "SAME", dimension_numbers=_ORDER)


@partial(jax.custom_vjp, nondiff_argnums=(2,))
def conv(x: Array, kernel: Array, strides: tuple[int, int] = (1, 1)) -> Array:
    """Convolves images with a kernel under SAME padding; gradients equal those of `lax`.

    >>> conv(jnp.ones((1, 4, 4, 1)), jnp.ones((3, 3, 1, 2))).shape
    (1, 4, 4, 2)

    Args:
      x: images, float [N, H, W, C].
      kernel: float [kh, kw, C, O].
      strides: step along height and width.

    Returns:
      float [N, ceil(H / strides[0]), ceil(W / strides[1]), O].
    """
    return _forward(x, kernel, strides)


def _pads(size: tuple[int, int], window: tuple[int, int], strides: tuple[int, int]) -> list[tuple[int, int]]:
    return [(int(lo), int(hi)) for lo, hi in lax.padtype_to_pads(size, window, strides, "SAME")]


def _flipped(kernel: Array) -> Array:
    return kernel[::-1, ::-1].transpose(0, 1, 3, 2)


def _input_gradient(g: Array, kernel: Array, size: tuple[int, int], strides: tuple[int, int]) -> Array:
    window = (kernel.shape[0], kernel.shape[1])
    low = [k - 1 - lo for k, (lo, _) in zip(window, _pads(size, window, strides), strict=True)]
    spread = [(out - 1) * s + 1 for out, s in zip(g.shape[1:3], strides, strict=True)]
    high = [h + k - 1 - n - lo for h, k, n, lo in zip(size, window, spread, low, strict=True)]
    pads = list(zip(low, high, strict=True))
    return lax.conv_general_dilated(g, _flipped(kernel), (1, 1), pads, lhs_dilation=strides, dimension_numbers=_ORDER)


def _columns(padded: Array, window: tuple[int, int], out: tuple[int, int], strides: tuple[int, int]) -> Array:
    """The shifted views of padded images side by side: [N * out height * out width, kh * kw * C]."""
    views = [
        padded[
            :, i : i + (out[0] - 1) * strides[0] + 1 : strides[0], j : j + (out[1] - 1) * strides[1] + 1 : strides[1]
        ]
        for i in range(window[0])
        for j in range(window[1])
    ]
    return jnp.concatenate(views, axis=-1).reshape(-1, window[0] * window[1] * padded.shape[-1])


def _pad(x: Array, window: tuple[int, int], strides: tuple[int, int]) -> Array:
    return jnp.pad(x, ((0, 0), *_pads((x.shape[1], x.shape[2]), window, strides), (0, 0)))


def _kernel_gradient(x: Array, g: Array, window: tuple[int, int], strides: tuple[int, int]) -> Array:
    channels = x.shape[3]
    out, features = (g.shape[1], g.shape[2]), g.shape[3]
    padded = _pad(x, window, strides)
    rows = window[0] * window[1] * channels

    def product(part: Array, g_part: Array) -> Array:
        return _columns(part, window, out, strides).T @ g_part.reshape(-1, features)

    start = jnp.zeros((rows, features), x.dtype)
    parts = chunks((padded, g), out[0] * out[1] * rows * x.dtype.itemsize, _CHUNK_BYTES)
    total, _ = lax.scan(lambda acc, part: (acc + product(*part), None), start, parts)
    return total.reshape(*window, channels, features)


def _tiny(x: Array, kernel: Array, strides: tuple[int, int]) -> Array:
    """A convolution as one matrix product, for images smaller than the kernel.

    XLA swaps image and kernel there and then runs naive loops on a CPU: both gradients of 128 images of 2x2 with 256
    channels take 172 ms that way, 11 ms this way (`experiments/conv_speed.py`).
    """
    window, features = (kernel.shape[0], kernel.shape[1]), kernel.shape[3]
    out = (-(-x.shape[1] // strides[0]), -(-x.shape[2] // strides[1]))
    product = _columns(_pad(x, window, strides), window, out, strides) @ kernel.reshape(-1, features)
    return product.reshape(x.shape[0], *out, features)


def _backward(strides: tuple[int, int], residuals: tuple[Array, Array], g: Array) -> tuple[Array, Array]:
    x, kernel = residuals
    size, window = (x.shape[1], x.shape[2]), (kernel.shape[0], kernel.shape[1])
    if not on_cpu() or size[0] < window[0] or size[1] < window[1]:
        _, pull = jax.vjp(lambda a, b: _forward(a, b, strides), x, kernel)
        return pull(g)
    if _winograd(x, kernel, strides):
        return winograd.conv3x3(g, _flipped(kernel)), winograd.kernel_gradient(x, g)
    return _input_gradient(g, kernel, size, strides), _kernel_gradient(x, g, window, strides)


conv.defvjp(lambda x, kernel, strides: (_forward(x, kernel, strides), (x, kernel)), _backward)


def max_pool(x: Array) -> Array:
    """Halves height and width by the maximum of 2x2 blocks; an odd last row or column is dropped.

    Written with a reshape: the gradient of `lax.reduce_window` is a scatter, slow on CPUs.

    >>> max_pool(jnp.arange(16.0).reshape(1, 4, 4, 1)).ravel().tolist()
    [5.0, 7.0, 13.0, 15.0]
    """
    n, height, width, channels = x.shape
    x = x[:, : height // 2 * 2, : width // 2 * 2]
    return x.reshape(n, height // 2, 2, width // 2, 2, channels).max((2, 4))
