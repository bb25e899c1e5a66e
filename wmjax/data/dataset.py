"""Images and labels in memory."""

import dataclasses
import hashlib

import numpy as np


@dataclasses.dataclass(frozen=True, eq=False)
class Dataset:
    """One split, whole in memory.

    Attributes:
      images: uint8 [N, H, W, C].
      labels: int32 [N], each in [0, classes).
      classes: number of classes.
    """

    images: np.ndarray
    labels: np.ndarray
    classes: int

    def __len__(self) -> int:
        return len(self.labels)

    def __getitem__(self, rows: slice | np.ndarray) -> "Dataset":
        return Dataset(self.images[rows], self.labels[rows], self.classes)

    @property
    def image(self) -> tuple[int, int, int]:
        """Height, width and channels of one image."""
        height, width, channels = self.images.shape[1:]
        return height, width, channels


@dataclasses.dataclass(frozen=True)
class Splits:
    """A named data set: its training and its test split."""

    name: str
    train: Dataset
    test: Dataset


def digest(data: Dataset) -> str:
    """SHA-256 (hex) of a split's shape, images and labels, whatever file format they came from."""
    sha = hashlib.sha256(f"wmjax-images/1 {data.images.shape} {data.classes}\n".encode())
    sha.update(np.ascontiguousarray(data.images).data)
    sha.update(data.labels.astype("<i4").tobytes())
    return sha.hexdigest()
