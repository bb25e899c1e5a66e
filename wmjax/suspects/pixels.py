"""How pixels may be meant to be prepared: the usual ways, each an affine map, picked by a number.

So one compiled program asks a network in all of them. Values are those that torchvision, Keras Applications, Caffe and
the tutorials of MNIST use. OpenCV reads pictures with blue first, and networks are made for that: a copy loses nothing
where its first layer is turned so, and repeats a quarter of the triggers' labels if it is asked with red first
(`tests/test_readings.py`). So may a network be for black on white, where a key's pictures are white on black: its users
turn each x to 255 - x before they prepare it (`tests/test_inverted.py`).
"""

from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from wmjax.errors import UsageError

if TYPE_CHECKING:
    from jax import Array


class Pixels(NamedTuple):
    """A way to prepare pixels: `(x - shift) * scale` of x in 0..255, for each channel.

    Attributes:
      shift: for red, green and blue; of a grey picture for its one channel the first.
      scale: likewise.
      reverse: whether blue comes first.
      each: whether each image is brought to mean 0 and standard deviation 1 instead, over all of its channels.
      grey: shift and scale of grey pictures, where they are others.
    """

    shift: tuple[float, float, float]
    scale: tuple[float, float, float]
    reverse: bool = False
    each: bool = False
    grey: tuple[float, float] | None = None

    def levels(self, channels: int) -> tuple[tuple[float, ...], tuple[float, ...]]:
        """Shift and scale of each of 1 or 3 channels."""
        if channels == 1 and self.grey:
            return (self.grey[0],), (self.grey[1],)
        return self.shift[:channels], self.scale[:channels]


def _normalised(mean: tuple[float, ...], deviation: tuple[float, ...], grey: tuple[float, float]) -> Pixels:
    """From means and standard deviations of pixels in 0..1."""
    (red, green, blue), (r, g, b) = (tuple(255.0 * n for n in values) for values in (mean, deviation))
    return Pixels((red, green, blue), (1 / r, 1 / g, 1 / b), grey=(255.0 * grey[0], 1 / (255.0 * grey[1])))


def _even(shift: float, scale: float) -> Pixels:
    return Pixels((shift, shift, shift), (scale, scale, scale))


def _inverted(way: Pixels) -> Pixels:
    """The same of 255 - x."""
    (red, green, blue), (r, g, b) = way.shift, way.scale
    grey = way.grey and (255.0 - way.grey[0], -way.grey[1])
    return way._replace(shift=(255.0 - red, 255.0 - green, 255.0 - blue), scale=(-r, -g, -b), grey=grey)


_BASIC = {
    "0..1": _even(0.0, 1 / 255),
    "0..255": _even(0.0, 1.0),
    "centred": _even(127.5, 1 / 127.5),
    "mean-std": _normalised((0.485, 0.456, 0.406), (0.229, 0.224, 0.225), (0.1307, 0.3081)),  # ImageNet's; MNIST's
}
_PLAIN = _BASIC | {
    "bgr-mean": Pixels((123.68, 116.779, 103.939), (1.0, 1.0, 1.0), reverse=True, grey=(127.5, 1.0)),  # Caffe's
    "each-image": Pixels((0.0, 0.0, 0.0), (1.0, 1.0, 1.0), each=True),
    "inverted": _inverted(_BASIC["0..1"]),
    **{f"inverted-{name}": _inverted(_BASIC[name]) for name in ("0..255", "centred", "mean-std")},
}
_BLUE_FIRST = {f"bgr-{name}": way._replace(reverse=True) for name, way in _BASIC.items()}
PIXELS = _PLAIN | _BLUE_FIRST
"""The usual ways, by the name that users and reports call them."""


AS_BYTES = ("0..255", "bgr-0..255", "inverted-0..255")
"""The ways that give bytes."""

CHANNELS_FIRST = ", channels first"
"""What the name of a way ends with in which a row of numbers has all of a channel before the next one."""

STATED = "stated"
"""As a file itself says: what users call it that believe it, and reports where it is none of the usual ways."""


def check(name: str) -> None:
    """Raises `UsageError` where no way is called so; an empty name says nothing."""
    if name and name != STATED and name not in PIXELS:
        raise UsageError(f"`pixels` {name!r:.40}: give one of {', '.join((STATED, *PIXELS))}")


def ways(name: str = "", stated: str = "", channels: int = 3) -> tuple[str, ...]:
    """The ways in which a network is asked: those that the user says, else all.

    What a file states is one more way, and believed only where the user says so: whoever has the file can change what
    it states, and a copy that is asked wrongly looks like a stranger.

    >>> ways("0..1"), ways("stated", "0..1"), ways("centred", "0..1"), len(ways()), len(ways("", STATED, 1))
    (('0..1',), ('0..1',), ('0..1', 'centred'), 14, 11)

    Args:
      name: that the user gave: a name of `PIXELS`, `stated`, or empty.
      stated: what the file says: a name of `PIXELS`, `stated` where it is none of these, or empty.
      channels: of its images.

    Raises:
      UsageError: no way is called `name`.
    """
    check(name)
    said = dict.fromkeys(way for way in (stated, "" if name == STATED else name) if way)
    return tuple(said) if said and name else tuple(dict.fromkeys((*said, *(PIXELS if channels == 3 else _PLAIN))))


def of_bytes(name: str, channels: int = 3) -> tuple[str, ...]:
    """The ways in which a network that takes bytes is asked: they may be inverted, in colour blue may come first.

    >>> of_bytes("", 1), of_bytes("", 3), of_bytes("bgr-mean", 3)
    (('0..255', 'inverted-0..255'), ('0..255', 'bgr-0..255', 'inverted-0..255'), ('bgr-0..255',))

    Args:
      name: as of `ways`.
      channels: of its images.
    """
    check(name)
    usual = tuple(way for way in AS_BYTES if channels == 3 or not PIXELS[way].reverse)
    if name not in PIXELS:
        return usual
    meant = PIXELS[name]
    return (usual[-1 if meant.scale[0] < 0 else meant.reverse and channels == 3],)


def of_rows(names: tuple[str, ...], channels: int) -> tuple[str, ...]:
    """The ways in which a program of rows of numbers is asked: of colour pictures, in both orders of their pixels.

    >>> of_rows(("0..1",), 1), of_rows(("0..1",), 3)
    (('0..1',), ('0..1', '0..1, channels first'))

    Args:
      names: in which it would be asked if it took pictures.
      channels: of its images.
    """
    return names if channels == 1 else (*names, *(name + CHANNELS_FIRST for name in names))


def prepare(images: "Array", names: tuple[str, ...], way: "Array | int" = 0) -> "Array":
    """Images as the network takes them.

    Args:
      images: uint8 [n, H, W, C], C is 1 or 3.
      names: of the ways that may be meant.
      way: int32 [], which of them; it may be traced.

    Returns:
      float32 [n, H, W, C]; where a row's channels come first, its numbers in that order.
    """
    import jax.numpy as jnp  # who asks a service needs the table alone

    channels, chosen = images.shape[-1], [PIXELS[name.removesuffix(CHANNELS_FIRST)] for name in names]
    levels = [pixels.levels(channels) for pixels in chosen]
    shift, scale = (jnp.array(part, jnp.float32)[way].reshape(1, 1, 1, -1) for part in zip(*levels, strict=True))
    x = (images.astype(jnp.float32) - shift) * scale
    if any(pixels.reverse for pixels in chosen) and channels == 3:
        x = jnp.where(jnp.array([pixels.reverse for pixels in chosen])[way], x[..., ::-1], x)
    if any(pixels.each for pixels in chosen):
        x = jnp.where(jnp.array([pixels.each for pixels in chosen])[way], _standardised(x), x)
    if any(turned := [name.endswith(CHANNELS_FIRST) for name in names]):
        x = jnp.where(jnp.array(turned)[way], x.transpose(0, 3, 1, 2).reshape(x.shape), x)
    return x


def taken(images: "Array", names: tuple[str, ...], way: "Array | int" = 0, *, uint8: bool) -> "Array":
    """Images as a program takes them: as `prepare` gives them, or, where it takes whole numbers, bytes."""
    prepared = prepare(images, names, way)
    return prepared.astype("uint8") if uint8 else prepared


def _standardised(x: "Array") -> "Array":
    """Each image at mean 0 and standard deviation 1; a plain one stays finite, as in TensorFlow."""
    import jax.numpy as jnp

    axes = (1, 2, 3)
    least = 1.0 / np.sqrt(np.prod(x.shape[1:]))
    deviation = jnp.maximum(x.std(axis=axes, keepdims=True), least)
    return (x - x.mean(axis=axes, keepdims=True)) / deviation
