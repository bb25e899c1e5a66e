"""Data sets by name: scikit-learn's digits, shipped inside its wheel; TFDS sets; folders of pictures."""

import os
from importlib.util import find_spec
from pathlib import Path
from typing import Literal

import numpy as np

from wmjax.data.dataset import Dataset, Examples, Splits, read
from wmjax.data.encoded import Shape
from wmjax.data.folder import is_folder, open_folder
from wmjax.data.records import open_records
from wmjax.errors import AccessError, UsageError
from wmjax.files import expanded
from wmjax.text import by

DIGIT: Shape = (8, 8, 1)


def load(name: str, data_dir: str | os.PathLike[str] | None = None, image: Shape | None = None) -> Splits[Dataset]:
    """Loads a data set by name, whole in memory.

    >>> load("digits").train.images.shape
    (1437, 8, 8, 1)

    Args:
      name: as `open_splits` takes it.
      data_dir: TFDS folder; by default `$TFDS_DATA_DIR` or `~/tensorflow_datasets`.
      image: height, width and channels (1 or 3) to give all images; by default they must have one size.

    Returns:
      Training and test split: uint8 images [n, H, W, C] and int32 labels [n].

    Raises:
      UsageError, AccessError: as `open_splits`; an image that cannot be decoded is found now.
    """
    splits = open_splits(name, data_dir, image)
    return Splits(name, read(splits.train, f"reading {name} train"), read(splits.test, f"reading {name} test"))


def open_splits(
    name: str, data_dir: str | os.PathLike[str] | None = None, image: Shape | None = None
) -> Splits[Examples]:
    """Opens a data set by name; its pixels are read when they are asked for.

    >>> len(open_splits("digits").test)
    360

    Args:
      name: `digits`; the name of a TFDS image-classification set with splits `train` and `test` or `validation`
        (`cifar10`, `mnist`, ...), prepared as array_record; or a folder that holds `train/CLASS/*.png` and
        `test/CLASS/*.png` (or `val`; also jpg, jpeg, webp, bmp), by its path with a slash (`./pictures`) or its name
        in `data_dir`.
      data_dir: TFDS folder; by default `$TFDS_DATA_DIR` or `~/tensorflow_datasets`.
      image: height, width and channels (1 or 3) to give all images; by default they must have one size. `digits` are
        as they are.

    Raises:
      UsageError: no such set, or it is not image classification, its images are not uint8, or it is digits and `image`
        is another shape than theirs.
      AccessError: it is not prepared here, or is incomplete or corrupt.
    """
    splits = _open(name, data_dir, image)
    if missing := {"train", "test"} - set(splits):
        raise AccessError(f"{name} has no split {missing.pop()} here: prepare it whole")
    return Splits(name, splits["train"], splits["test"])


def load_source(
    name: str,
    data_dir: str | os.PathLike[str] | None = None,
    image: Shape | None = None,
    split: Literal["train", "test"] = "train",
) -> Dataset:
    """Loads the images that a key starts from: one split of a set, or the other where it has no such.

    Args and errors are those of `open_splits`, but only a folder's pictures are fitted to `image`.
    """
    chosen, examples = open_source(name, data_dir, image, split)
    return read(examples, f"reading {name} {chosen}")


def open_source(
    name: str,
    data_dir: str | os.PathLike[str] | None = None,
    image: Shape | None = None,
    split: Literal["train", "test"] = "train",
) -> tuple[str, Examples]:
    """The split that `load_source` reads, and what it is called; arguments and errors are the same."""
    splits = _open(name, data_dir, image if _folder(name, data_dir) else None)
    chosen = split if split in splits else next(iter(splits))
    return chosen, splits[chosen]


def data_folder(data_dir: str | os.PathLike[str] | None) -> Path:
    """The TFDS folder: `data_dir`, else `$TFDS_DATA_DIR`, else `~/tensorflow_datasets`."""
    return expanded(data_dir or os.environ.get("TFDS_DATA_DIR") or "~/tensorflow_datasets", "TFDS_DATA_DIR")


def _open(name: str, data_dir: str | os.PathLike[str] | None, image: Shape | None) -> dict[str, Examples]:
    """The splits that a set has, at least one."""
    if name == "digits":
        if image not in (None, DIGIT):
            raise UsageError(
                f"digits are {by(DIGIT)} and not fitted to {by(image)}: leave them so, or use other `data`"
            )
        return {**_digits()}
    folder = _folder(name, data_dir)
    splits = open_folder(folder, image) if folder else open_records(name, data_folder(data_dir), image)
    if not splits:
        raise AccessError(f"{name} has neither a train nor a test split")
    return {**splits}


def _folder(name: str, data_dir: str | os.PathLike[str] | None) -> Path | None:
    """The folder of pictures that a name means; None for other sets."""
    if name == "digits":  # which has none: a home folder need not be known
        return None
    path = Path(name) if is_path(name) else data_folder(data_dir) / name
    return path if is_path(name) or is_folder(path) else None


def is_path(name: str) -> bool:
    """Whether a data set is named by where it lies."""
    return name.startswith((".", "~")) or "/" in name or os.sep in name


def public_name(name: str) -> str:
    """A set's name as commitments give it: they are public, and say of a folder not where it lies.

    >>> public_name("digits"), public_name("/home/me/pictures")
    ('digits', 'pictures')
    """
    return Path(name).resolve().name if is_path(name) else name


def _digits() -> dict[str, Dataset]:
    """From the file of scikit-learn, which is not imported: that takes longer than all else that a command imports."""
    package = find_spec("sklearn")
    if package is None or package.origin is None:
        raise ModuleNotFoundError("no module named sklearn", name="sklearn")
    path = Path(package.origin).with_name("datasets") / "data/digits.csv.gz"
    try:
        table = np.loadtxt(path, np.int32, delimiter=",")
    except (OSError, EOFError, ValueError) as error:
        raise AccessError(f"cannot read {path}, a part of scikit-learn: install that again") from error
    images = np.rint(table[:, :-1] * (255 / 16)).astype(np.uint8).reshape(-1, *DIGIT)
    everything = Dataset(images, table[:, -1].copy(), 10)
    test = np.arange(len(images)) % 5 == 0  # writers come in runs: every fifth image mixes them
    return {"train": everything[~test], "test": everything[test]}
