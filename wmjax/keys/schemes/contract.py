"""What a trigger scheme is, and the pieces that several share."""

import dataclasses
from collections.abc import Callable, Sequence
from typing import Any, Literal, NamedTuple

import numpy as np

from wmjax.data.dataset import Dataset
from wmjax.errors import UsageError
from wmjax.keys.derive import Stream
from wmjax.keys.spec import Spec


@dataclasses.dataclass(frozen=True)
class Parameter:
    """One thing that users choose about a scheme; the command line makes an option of it.

    Attributes:
      name: what users type.
      kind: `int` or `str`.
      words: what it means, and its default, in a few words.
      default: `default(image)` gives its value for images of that height, width and channels.
      fits: whether a value of its kind can be.
      limits: which values can be, in a few words.
    """

    name: str
    kind: type[int] | type[str]
    words: str
    default: Callable[[tuple[int, int, int]], int | str]
    fits: Callable[[Any], bool]
    limits: str

    def check(self, value: Any) -> None:
        """Raises `UsageError` on a value that cannot be."""
        if type(value) is not self.kind or not self.fits(value):
            raise UsageError(f"`{self.name}` {value!r:.100}: must be {self.limits}")

    def read(self, text: str) -> int | str:
        """The value that a user typed; raises `UsageError` on one that cannot be."""
        value = int(text) if self.kind is int and text.removeprefix("-").isdecimal() else text
        self.check(value)
        return value


def whole(name: str, words: str, low: int, high: int, default: Callable[[tuple[int, int, int]], int]) -> Parameter:
    """A parameter that is a whole number from `low` to `high`."""
    limits = f"a whole number in {low}..{high}"
    return Parameter(name, int, words, default, lambda value: low <= value <= high, limits)


class Scheme(NamedTuple):
    """A way to make trigger images.

    Attributes:
      name: what users type.
      needs_source: whether it starts from the images of a data set.
      own_shape: whether those images must already have the key's shape.
      draw: `draw(secret, spec, source, at)` gives the triggers of these numbers, uint8 [len(at), H, W, C], each the
        same whatever else is asked for; pure, the same bytes anywhere.
      paper: whether it is one of Zhang et al. 2018 and so has a paper-exact variant.
      stamp: whether all triggers of a key carry one and the same mark.
      parameters: what users choose about it.
      labels: the policy that it goes with, where that is one of its own with material; None: any other.
      split: of the source, whose images it starts from.
      rate: what a copy is held to, for `Rule.rate`; None: a third of what chance leaves.
      mirrored: whether a training that mirrors real images mirrors its triggers too; where not, the answers are about
        the very images.
    """

    name: str
    needs_source: bool
    own_shape: bool
    draw: Callable[[bytes, Spec, Dataset | None, Sequence[int]], np.ndarray]
    paper: bool = False
    stamp: bool = False
    parameters: tuple[Parameter, ...] = ()
    labels: str | None = None
    split: Literal["train", "test"] = "train"
    rate: float | None = None
    mirrored: bool = True


def required(source: Dataset | None) -> Dataset:
    """The source of a scheme that cannot do without one."""
    if source is None:
        raise UsageError("this scheme starts from the images of a data set: name one in `source`")
    return source


def source_rows(secret: bytes, spec: Spec, source: Dataset, at: Sequence[int]) -> np.ndarray:
    """Rows of the source images that become these triggers: of all classes, or one in the paper's variant; int64."""
    candidates = np.arange(len(source))
    if spec.paper is not None:
        candidates = candidates[source.labels == spec.paper.source_class]
    if len(candidates) < spec.triggers:
        raise UsageError(f"the source has {len(candidates)} usable images, too few for {spec.triggers} triggers")
    chosen = Stream(secret, f"rows/{spec.scheme}", 0).distinct(len(candidates), spec.triggers)
    return np.asarray(candidates[chosen[list(at)]])


def value_noise(stream: Stream, height: int, width: int, channels: int, finest: int) -> np.ndarray:
    """A cloudy picture in integer arithmetic, uint8 [height, width, channels], stretched to the full range 0..255.

    Octaves o = 0, 1, ... have 2**(o+1) cells a side, up to `finest`. Each reads octets((cells + 1)**2 * channels) as
    a lattice [cells + 1, cells + 1, channels] (C order, y first) and interpolates it bilinearly at
    p = (2 y + 1) * cells * 128 // side (in 256ths of a cell; likewise x), rounding down once, after both. Octave o
    counts 2**(last - o) times. At last (v - min) * 255 // (max - min), over the whole picture; a flat one becomes 0.
    """
    octaves = []
    cells = 2
    while cells <= finest:
        lattice = stream.octets((cells + 1) ** 2 * channels).astype(np.int64).reshape(cells + 1, cells + 1, channels)
        octaves.append(_bilinear(lattice, cells, height, width))
        cells *= 2
    total: np.ndarray = np.sum([picture << (len(octaves) - 1 - o) for o, picture in enumerate(octaves)], axis=0)
    low, high = total.min(), total.max()
    return np.asarray((total - low) * 255 // max(1, high - low), np.uint8)


def _bilinear(lattice: np.ndarray, cells: int, height: int, width: int) -> np.ndarray:
    y, x = ((2 * np.arange(side) + 1) * cells * 128 // side for side in (height, width))
    (top, down), (left, right) = (y >> 8, y & 255), (x >> 8, x & 255)
    down, right = down[:, None, None], right[None, :, None]
    upper = lattice[top][:, left] * (256 - right) + lattice[top][:, left + 1] * right
    lower = lattice[top + 1][:, left] * (256 - right) + lattice[top + 1][:, left + 1] * right
    return np.asarray((upper * (256 - down) + lower * down) >> 16)
