"""Folders of pictures: FOLDER/train/CLASS/*.png and FOLDER/test/CLASS/*.png."""

import hashlib
import os
from collections.abc import Iterator
from pathlib import Path

from wmjax.data.encoded import Encoded, Picture, Shape, open_encoded
from wmjax.errors import AccessError
from wmjax.files import expanded

SUFFIXES = (".png", ".jpg", ".jpeg", ".webp", ".bmp")

_LAYOUT = "make it FOLDER/train/CLASS/*.png and FOLDER/test/CLASS/*.png"


def is_folder(path: Path) -> bool:
    """Whether there is a folder of pictures, and not a TFDS set."""
    return any((path / split).is_dir() for split in ("train", "test", "val"))


def open_folder(path: Path, image: Shape | None) -> dict[str, Encoded]:
    """The splits `train` and `test` of a folder, those that exist; `val` stands in for `test`.

    Args:
      path: of the folder.
      image: height, width and channels to give all images; None where they have one size.
    """
    root = expanded(path)
    try:
        if not root.is_dir():
            raise AccessError(f"{root} is not a folder: {_LAYOUT}")
        named = {"train": "train", "test": "test" if (root / "test").is_dir() else "val"}
        found = {role: root / folder for role, folder in named.items() if (root / folder).is_dir()}
        if not found:
            raise AccessError(f"{root} has neither a folder train nor a folder test: {_LAYOUT}")
        classes = _classes(found.get("train") or found["test"])
        return {role: _open_split(split, classes, image) for role, split in found.items()}
    except OSError as error:
        raise AccessError(f"cannot read {error.filename}: {error.strerror}: check the folder's permissions") from error


def _classes(split: Path) -> list[str]:
    """Names of the classes, in the order of their labels."""
    names = sorted(entry.name for entry in _visible(split) if entry.is_dir())
    if not names:
        raise AccessError(f"{split} has no folders of classes: {_LAYOUT}")
    return names


def _open_split(split: Path, classes: list[str], image: Shape | None) -> Encoded:
    """A split in the order of its paths."""
    sha, paths, labels = hashlib.sha256(), list[str](), list[int]()
    for name in _classes(split):
        if name not in classes:
            raise AccessError(f"{split / name} is a class that the training split lacks: move it or add it there")
        files = sorted((entry.name, entry.stat().st_size) for entry in _pictures(split / name))
        if not files:
            raise AccessError(f"{split / name} has no pictures: add some or remove the class")
        for file, size in files:
            path = f"{split.name}/{name}/{file}"
            sha.update(os.fsencode(f"{path} {size}\n"))
            paths.append(path)
        labels += [classes.index(name)] * len(files)

    def fetch(rows: list[int]) -> list[Picture]:
        return [Picture(str(split.parent / paths[row]), _read(split.parent / paths[row]), labels[row]) for row in rows]

    return open_encoded(len(classes), len(paths), fetch, sha.hexdigest(), image)


def _visible(folder: Path) -> Iterator[os.DirEntry[str]]:
    """What a folder holds, but for the files that desktops hide in it."""
    with os.scandir(folder) as entries:
        yield from (entry for entry in entries if not entry.name.startswith("."))


def _pictures(folder: Path) -> Iterator[os.DirEntry[str]]:
    for entry in _visible(folder):
        if not entry.name.lower().endswith(SUFFIXES) or not entry.is_file():
            raise AccessError(f"{entry.path} is not a picture ({', '.join(SUFFIXES)}): move it elsewhere")
        yield entry


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise AccessError(f"cannot read {path}: {error.strerror}: check the file") from error
