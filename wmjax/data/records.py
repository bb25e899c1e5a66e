"""TFDS image-classification sets in array_record form, read without TensorFlow."""

import hashlib
import logging
from pathlib import Path
from typing import Any

from wmjax.data.encoded import Encoded, Picture, Shape, open_encoded, readable
from wmjax.errors import AccessError, UsageError

_AGAIN = "prepare it again"


def open_records(name: str, root: Path, image: Shape | None) -> dict[str, Encoded]:
    """The splits `train` and `test` of a prepared set, those that exist; `validation` stands in for `test`.

    Args:
      name: of the set.
      root: TFDS folder.
      image: height, width and channels to give all images; None where they have one size.
    """
    folder = _find(name, root)
    with readable(f"{name} under {folder}", _AGAIN):
        import tensorflow_datasets as tfds

        builder = tfds.builder_from_directory(folder)
        _check_features(name, builder.info.features)
        if builder.info.file_format.value != "array_record":
            raise AccessError(
                f"{name} under {folder} is in {builder.info.file_format.value} form: "
                "prepare it with TFDS's file_format='array_record'"
            )
        named = {"train": "train", "test": "test" if "test" in builder.info.splits else "validation"}
        return {
            role: _open_split(builder, folder, split, image)
            for role, split in named.items()
            if split in builder.info.splits
        }


def _find(name: str, root: Path) -> Path:
    """The folder of the newest prepared version."""
    logging.getLogger("absl").setLevel(logging.ERROR)  # absl warns of every optional image decoder
    import tensorflow_datasets as tfds

    plain = name.replace("_", "").isalnum()
    versions = sorted((root / name).glob("[0-9]*")) if plain else []
    if versions:
        return versions[-1]
    if name == "cifar10":
        raise AccessError(f"cifar10 is not prepared under {root}: run `wmjax prepare cifar10` once")
    if plain and name in tfds.list_builders(with_community_datasets=False):
        hint = "prepare it with TFDS as array_record, or set `data_dir`"
        raise AccessError(f"{name} is not prepared under {root}: {hint}")
    hint = "use digits, cifar10, mnist or another TFDS name, or an image folder's path with a slash (./pictures)"
    raise UsageError(f"unknown data set {name!r}: {hint}")


def _check_features(name: str, features: Any) -> None:
    import tensorflow_datasets as tfds

    no = f"{name} is not an image-classification set:"
    if {"image", "label"} - set(features or ()):
        raise UsageError(f"{no} it has no features 'image' and 'label'")
    if not isinstance(features["label"], tfds.features.ClassLabel) or not features["label"].num_classes:
        raise UsageError(f"{no} its feature 'label' is not a ClassLabel with a number of classes")
    if not isinstance(features["image"], tfds.features.Image):
        raise UsageError(f"{no} its feature 'image' is not an Image")
    if features["image"].np_dtype != "uint8":
        raise UsageError(f"{no} its images are {features['image'].np_dtype}, not uint8")


def _open_split(builder: Any, folder: Path, split: str, image: Shape | None) -> Encoded:
    import tensorflow_datasets as tfds

    info, what = builder.info.splits[split], f"{builder.info.name} {split}"
    sha = hashlib.sha256((folder / "dataset_info.json").read_bytes())
    for path, promised in zip(map(Path, info.filepaths), info.shard_lengths, strict=True):
        _check_shard(path, promised)
        sha.update(f"{path.name} {path.stat().st_size}\n".encode())
    if not info.num_examples:
        raise AccessError(f"{what} under {folder} is empty: {_AGAIN}")
    # PIL alone is several times faster than TFDS's features, and decodes alike on every machine.
    records = builder.as_data_source(split, deserialize_method=tfds.decode.DeserializeMethod.RAW_BYTES)

    def fetch(rows: list[int]) -> list[Picture]:
        with readable(f"{what} under {folder}", _AGAIN):
            return [_parse(what, row, raw) for row, raw in zip(rows, records.__getitems__(rows), strict=True)]

    classes = builder.info.features["label"].num_classes
    return open_encoded(classes, info.num_examples, fetch, sha.hexdigest(), image)


def _parse(what: str, row: int, record: bytes) -> Picture:
    from tensorflow_datasets.proto import tf_example_pb2

    features = tf_example_pb2.Example.FromString(record).features.feature
    return Picture(f"{what} record {row}", features["image"].bytes_list.value[0], features["label"].int64_list.value[0])


def _check_shard(path: Path, promised: int) -> None:
    """Raises `AccessError` where a file is not what dataset_info.json says: TFDS would read it short, or too far."""
    from array_record.python.array_record_module import ArrayRecordReader

    if not path.exists():
        raise AccessError(f"{path} is missing: {_AGAIN}, or fetch this file")
    reader = ArrayRecordReader(str(path))
    whole, found = reader.ok(), reader.num_records()
    if not whole:  # and close() would raise
        raise AccessError(f"{path} is truncated or corrupt: {_AGAIN}, or fetch this file")
    reader.close()
    if found != promised:
        raise AccessError(f"{path} holds {found} records, but dataset_info.json says {promised}: {_AGAIN}")
