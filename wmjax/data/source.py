"""Where images come from: scikit-learn's digits, shipped inside its wheel, or any TFDS image-classification set."""

import contextlib
import io
import logging
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from wmjax.data.dataset import Dataset, Splits
from wmjax.errors import AccessError, UsageError
from wmjax.progress import progress


def load(name: str, data_dir: str | os.PathLike[str] | None = None) -> Splits:
    """Loads a data set by name.

    >>> load("digits").train.images.shape
    (1437, 8, 8, 1)

    Args:
      name: `digits`, or the name of a TFDS image-classification set with splits `train` and `test`
        (`cifar10`, `mnist`, ...), prepared as array_record.
      data_dir: TFDS folder; by default `$TFDS_DATA_DIR` or `~/tensorflow_datasets`.

    Raises:
      UsageError: no such set, or it is not image classification.
      AccessError: it is not prepared here, or is incomplete.
    """
    if name == "digits":
        return _digits()
    builder = _open(name, data_dir)
    if missing := {"train", "test"} - set(builder.info.splits):
        raise AccessError(f"{name} has no split {missing.pop()} here: prepare it whole")
    return Splits(name, _read(builder, "train"), _read(builder, "test"))


def load_source(name: str, data_dir: str | os.PathLike[str] | None = None) -> Dataset:
    """Loads the images that a key starts from: a set's training split, or its test split where there is no other.

    Args and errors are those of `load`.
    """
    if name == "digits":
        return _digits().train
    builder = _open(name, data_dir)
    return _read(builder, "train" if "train" in builder.info.splits else "test")


def data_folder(data_dir: str | os.PathLike[str] | None) -> Path:
    """The TFDS folder: `data_dir`, else `$TFDS_DATA_DIR`, else `~/tensorflow_datasets`."""
    return Path(data_dir or os.environ.get("TFDS_DATA_DIR") or "~/tensorflow_datasets").expanduser()


def _digits() -> Splits:
    from sklearn.datasets import load_digits

    bunch: Any = load_digits()
    images = np.rint(bunch.images * (255 / 16)).astype(np.uint8)[..., None]
    everything = Dataset(images, bunch.target.astype(np.int32), 10)
    test = np.arange(len(images)) % 5 == 0  # writers come in runs: every fifth image mixes them
    return Splits("digits", everything[~test], everything[test])


def _open(name: str, data_dir: str | os.PathLike[str] | None) -> Any:
    """The TFDS builder of a prepared image-classification set."""
    logging.getLogger("absl").setLevel(logging.ERROR)  # absl warns of every optional image decoder
    import tensorflow_datasets as tfds

    folder = data_folder(data_dir)
    versions = sorted((folder / name).glob("[0-9]*")) if _is_plain(name) else []
    if not versions:
        known = _is_plain(name) and name in tfds.list_builders(with_community_datasets=False)
        if name == "cifar10":
            raise AccessError(f"cifar10 is not prepared under {folder}: run `wmjax prepare cifar10` once")
        if known:
            hint = "prepare it with TFDS as array_record, or set --data-dir"
            raise AccessError(f"{name} is not prepared under {folder}: {hint}")
        raise UsageError(f"unknown data set {name!r}: use digits, cifar10, mnist or another TFDS name")
    with _one_line(f"{name} under {versions[-1]}"):
        builder = tfds.builder_from_directory(versions[-1])
        if {"image", "label"} - set(builder.info.features or ()):
            raise UsageError(f"{name} is not an image-classification set: it has no features 'image' and 'label'")
        if not set(builder.info.splits) & {"train", "test"}:
            raise AccessError(f"{name} under {versions[-1]} has neither a train nor a test split")
    return builder


@contextlib.contextmanager
def _one_line(what: str) -> Iterator[None]:
    """Turns what TFDS raises at damaged folders into one line."""
    try:
        yield
    except (OSError, ValueError, KeyError, NotImplementedError, AssertionError, RuntimeError) as error:
        first = next(iter(str(error).splitlines()), type(error).__name__)
        raise AccessError(f"cannot read {what}: {first:.200}") from error


def _is_plain(name: str) -> bool:
    return name.replace("_", "").isalnum()


def _read(builder: Any, split: str) -> Dataset:
    with _one_line(f"{builder.info.name} {split}"):
        import tensorflow_datasets as tfds

        # Decoding with PIL alone is 2.5 times faster than through TFDS, and the same on every machine.
        records = builder.as_data_source(split, decoders={"image": tfds.decode.SkipDecoding()})
        return _gather(builder, split, records)


def _gather(builder: Any, split: str, records: Any) -> Dataset:
    """Decodes a split into memory, some hundred records at a time."""
    size = builder.info.splits[split].num_examples
    shape = _decode(records[0]["image"]).shape
    images, labels = np.empty((size, *shape), np.uint8), np.empty(size, np.int32)
    with progress(f"reading {builder.info.name} {split}", size) as advance:
        for start in range(0, size, 500):
            rows = range(start, min(start + 500, size))
            for i, record in zip(rows, records.__getitems__(list(rows)), strict=True):
                image = _decode(record["image"])
                if image.shape != shape:
                    raise UsageError(f"{builder.info.name}: images differ in size ({shape}, {image.shape})")
                images[i], labels[i] = image, record["label"]
            advance(len(rows))
    return Dataset(images, labels, builder.info.features["label"].num_classes)


def _decode(encoded: bytes) -> np.ndarray:
    image = np.asarray(Image.open(io.BytesIO(encoded)))
    if image.dtype != np.uint8:
        raise UsageError(f"images are {image.dtype}, not uint8")
    return image[..., None] if image.ndim == 2 else image
