"""A split of encoded pictures, decoded as it is read: PNG, JPEG and the like become uint8 arrays of one shape."""

import contextlib
import dataclasses
import hashlib
import io
from collections.abc import Callable, Iterator
from typing import NamedTuple

import numpy as np
from PIL import Image, ImageOps

from wmjax.data.dataset import Dataset
from wmjax.errors import AccessError, UsageError, WmjaxError
from wmjax.text import by, first_line

Shape = tuple[int, int, int]

_FORMATS = ("PNG", "JPEG", "WEBP", "BMP", "GIF")  # the usual ones: PIL's rarer decoders are a stranger's way in
_MODES = {1: "L", 3: "RGB"}
_LIKE = {"L": "L", "1": "L", "LA": "L", "RGBA": "RGBA"}  # what a picture's own mode becomes; RGB for all others
_REPLACE = "replace or remove it"


class Picture(NamedTuple):
    """One example before it is decoded.

    Attributes:
      where: its place, for messages.
      encoded: a picture file's bytes.
      label: of its class, not yet checked.
    """

    where: str
    encoded: bytes
    label: int


@dataclasses.dataclass(frozen=True, eq=False)
class Encoded:
    """A split on disk; indexing reads and decodes.

    Attributes:
      classes: number of classes.
      image: height, width and channels of one image.
      size: number of pictures.
      fetch: reads the pictures of some rows; from any thread.
      files: SHA-256 (hex) of what identifies the files.
      resize: whether pictures are fitted to `image`; else they must have that shape.
    """

    classes: int
    image: Shape
    size: int
    fetch: Callable[[list[int]], list[Picture]] = dataclasses.field(repr=False)
    files: str
    resize: bool

    def __len__(self) -> int:
        return self.size

    def __getitem__(self, rows: slice | np.ndarray) -> Dataset:
        """Reads and decodes rows.

        Raises:
          AccessError: a file or record is missing or corrupt, or a label is none of the classes'.
          UsageError: an image's shape or type is not that of the others.
        """
        chosen = np.arange(self.size)[rows].tolist()
        images, labels = np.empty((len(chosen), *self.image), np.uint8), np.empty(len(chosen), np.int32)
        for i, picture in enumerate(self.fetch(chosen)):
            pixels = decode(picture, self.image if self.resize else None)
            if pixels.shape != self.image:
                raise UsageError(
                    f"images differ in size: {picture.where} is {by(pixels.shape)}, the first {by(self.image)}: "
                    "give all one size with `image` (height, width, channels)"
                )
            if not 0 <= picture.label < self.classes:
                highest = self.classes - 1
                raise AccessError(
                    f"{picture.where} has the label {picture.label}, outside 0..{highest}: prepare the set again"
                )
            images[i], labels[i] = pixels, picture.label
        return Dataset(images, labels, self.classes)

    def fingerprint(self) -> str:
        """SHA-256 (hex) of the image's shape and of what identifies the files; their pixels are not read."""
        return hashlib.sha256(f"wmjax-files/1 {self.image} {self.classes} {self.files}\n".encode()).hexdigest()


def open_encoded(
    classes: int, size: int, fetch: Callable[[list[int]], list[Picture]], files: str, image: Shape | None
) -> Encoded:
    """A split whose images get the shape `image`, or where that is None have the shape of the first."""
    if image is None:
        height, width, channels = decode(fetch([0])[0], None).shape
        return Encoded(classes, (height, width, channels), size, fetch, files, resize=False)
    if image[2] not in _MODES or min(image) < 1:
        raise UsageError(f"`image` {by(image)}: sizes must be at least 1, channels 1 or 3")
    return Encoded(classes, image, size, fetch, files, resize=True)


def decode(picture: Picture, image: Shape | None) -> np.ndarray:
    """The pixels of a picture, uint8 [H, W, C].

    Args:
      picture: to decode.
      image: height, width and channels to give it: the shorter side is scaled, the longer one cut at both ends; None
        leaves it as it is.

    Raises:
      AccessError: it is not a picture, or corrupt, or absurdly large.
      UsageError: its pixels are not bytes.
    """
    with (
        readable(picture.where, _REPLACE),
        Image.open(io.BytesIO(picture.encoded), formats=_FORMATS) as opened,
    ):
        if opened.mode[0] in "IF":  # 16 or 32 bits
            raise UsageError(f"{picture.where} has pixels of {opened.mode}, not uint8: convert the set to 8 bits")
        if image is None:
            pixels = np.asarray(_convert(opened, _LIKE.get(opened.mode, "RGB")))
        else:
            height, width, channels = image
            opened.draft(_MODES[channels], (width, height))  # a large JPEG is decoded at a fraction of its size
            pixels = np.asarray(
                ImageOps.fit(_convert(opened, _MODES[channels]), (width, height), Image.Resampling.BILINEAR)
            )
    return pixels[..., None] if pixels.ndim == 2 else pixels


def _convert(picture: Image.Image, mode: str) -> Image.Image:
    if picture.mode == mode:
        return picture
    if "transparency" in picture.info:  # PIL warns where it has to drop a palette's
        picture = picture.convert("RGBA")
    return picture.convert(mode)


@contextlib.contextmanager
def readable(what: str, hint: str) -> Iterator[None]:
    """Turns what PIL, array_record and TFDS raise at damaged files, which is anything, into one line."""
    try:
        yield
    except WmjaxError:
        raise
    except Exception as error:
        raise AccessError(f"cannot read {what}: {first_line(error)}: {hint}") from error
