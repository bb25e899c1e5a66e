"""CIFAR-10 prepared from the network without TensorFlow: the original archive in, a TFDS array_record folder out."""

import contextlib
import gzip
import hashlib
import http.client
import io
import logging
import os
import tarfile
import tempfile
import urllib.request
import zlib
from collections.abc import Generator, Iterator
from pathlib import Path, PurePosixPath
from typing import IO, Any

import numpy as np
from PIL import Image

from wmjax.data.dataset import Dataset
from wmjax.errors import AccessError, InvalidFile
from wmjax.files import expanded
from wmjax.progress import progress
from wmjax.text import first_line

URL = "https://www.cs.toronto.edu/~kriz/cifar-10-binary.tar.gz"
SHA256 = "c4a38c50a1bc5f3a1c5537f2155ab9d68f9f25eb1ed8d9ddda3db29a59bca1dd"  # as in TFDS's own list of checksums

_VERSION = "3.0.2"  # of TFDS's cifar10
_CLASSES = ["airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck"]
_FILES = {"train": [f"data_batch_{i}.bin" for i in range(1, 6)], "test": ["test_batch.bin"]}
_RECORD = 1 + 3 * 32 * 32
_CHUNK = 1 << 20
_HINT = "use the original cifar-10-binary.tar.gz"


def prepare_cifar10(data_dir: str | os.PathLike[str], url: str = URL, sha256: str = SHA256) -> Path:
    """Downloads CIFAR-10 once and writes it where `load` and `tfds.data_source` find it.

    Args:
      data_dir: TFDS folder; the set goes to `cifar10/3.0.2` under it, and one that is there is left alone.
      url: of the archive in the original binary format.
      sha256: hex digest that the archive must have.

    Returns:
      The folder of the prepared set.

    Raises:
      AccessError: the network failed, or the folder cannot be written.
      InvalidFile: the archive has another digest or is not in the format.
    """
    try:
        root = expanded(data_dir)
        folder = root / "cifar10" / _VERSION
        if (folder / "dataset_info.json").exists():
            return folder
        if folder.exists():
            raise AccessError(f"{folder} exists but is not a prepared data set: remove it and run again")
        root.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=root) as archive:  # nameless: nothing remains of it even after a kill
            _download(url, sha256, archive)
            batches = _read_batches(archive)
        splits = {split: _parse([(name, batches[name]) for name in names]) for split, names in _FILES.items()}
        with tempfile.TemporaryDirectory(dir=root, prefix="incomplete.") as staging:
            written = _write(Path(staging), splits)
            folder.parent.mkdir(exist_ok=True)
            written.rename(folder)
    except (OSError, RuntimeError) as error:  # array_record reports a full disk as RuntimeError
        hint = "free space or choose another folder"
        raise AccessError(f"cannot write under {data_dir}: {first_line(error)}: {hint}") from error
    return folder


def _download(url: str, sha256: str, archive: IO[bytes]) -> None:
    """Fills `archive` from `url` and checks its digest."""
    sha = hashlib.sha256()
    with contextlib.closing(_chunks(url)) as chunks:  # closed at once, and its bar too, where the disk is full
        for chunk in chunks:
            sha.update(chunk)
            archive.write(chunk)
    if sha.hexdigest() != sha256:
        raise InvalidFile(f"{url} has SHA-256 {sha.hexdigest()}, not {sha256}: {_HINT}")


def _chunks(url: str) -> Generator[bytes, None, None]:
    """Yields the body of `url`; its failures are the network's, so the caller's own are the disk's."""
    try:
        with urllib.request.urlopen(url, timeout=30) as reply:
            missing = total = int(reply.headers.get("Content-Length") or 0)
            with progress("downloading CIFAR-10", total) as advance:
                while chunk := reply.read(_CHUNK):
                    missing -= len(chunk)
                    advance(len(chunk))
                    yield chunk
    except (OSError, http.client.HTTPException, ValueError) as error:
        raise AccessError(f"cannot download {url}: {first_line(error)}: check the network and run again") from error
    if missing > 0:  # a short body ends like a whole one
        raise AccessError(f"{url} ended {missing} bytes before its {total}: check the network and run again")


def _read_batches(archive: IO[bytes]) -> dict[str, bytes]:
    """The six batch files by base name, read in place: nothing is extracted to disk."""
    wanted, found = {name for names in _FILES.values() for name in names}, {}
    archive.seek(0)
    try:
        with tarfile.open(fileobj=archive, mode="r:gz") as tar:
            for member in tar:
                name = PurePosixPath(member.name).name
                if name not in wanted:
                    continue
                file = tar.extractfile(member) if member.isreg() else None  # extractfile alone follows links
                if file is None:
                    raise InvalidFile(f"{name} in the archive is not a regular file: {_HINT}")
                found[name] = file.read()
    except (tarfile.TarError, gzip.BadGzipFile, zlib.error, EOFError) as error:
        raise InvalidFile(f"the archive is truncated or corrupt ({first_line(error)}): {_HINT}") from error
    if lacking := wanted - found.keys():
        raise InvalidFile(f"the archive lacks {', '.join(sorted(lacking))}: {_HINT}")
    return found


def _parse(batches: list[tuple[str, bytes]]) -> Dataset:
    """One split from its named batch files: a record is a label, then the red, green and blue planes."""
    for name, raw in batches:
        if not raw or len(raw) % _RECORD:
            raise InvalidFile(
                f"{name} has {len(raw)} bytes, which is not a whole number of {_RECORD}-byte records: {_HINT}"
            )
        if (highest := max(raw[::_RECORD])) >= len(_CLASSES):
            raise InvalidFile(f"{name} has a label {highest}, above {len(_CLASSES) - 1}: {_HINT}")
    records = np.concatenate([np.frombuffer(raw, np.uint8).reshape(-1, _RECORD) for _, raw in batches])
    images = records[:, 1:].reshape(-1, 3, 32, 32).transpose(0, 2, 3, 1)
    return Dataset(images, records[:, 0].astype(np.int32), len(_CLASSES))


def _write(data_dir: Path, splits: dict[str, Dataset]) -> Path:
    """Writes the set with TFDS under `data_dir`, where it also leaves empty folders of its own; returns its folder."""
    logging.getLogger("absl").setLevel(logging.ERROR)  # absl warns of every optional image decoder
    import tensorflow_datasets as tfds

    tfds.disable_progress_bar()  # ours is shown
    stock: Any = tfds.builder_cls("cifar10")

    # Only the source of the examples differs from the stock builder: it needs TensorFlow to read and encode them.
    class Cifar10(stock, skip_registration=True):  # type: ignore[call-arg, misc]
        VERSION = tfds.core.Version(_VERSION)

        def _split_generators(self, dl_manager: object) -> dict[str, Iterator[tuple[int, dict[str, Any]]]]:
            self.info.features["label"].names = _CLASSES
            return {split: _examples(split, data) for split, data in splits.items()}

    with contextlib.redirect_stdout(io.StringIO()):  # TFDS announces "unknown size" there
        Cifar10(data_dir=data_dir, file_format="array_record").download_and_prepare()
    return data_dir / "cifar10" / _VERSION


def _examples(split: str, data: Dataset) -> Iterator[tuple[int, dict[str, Any]]]:
    """Examples under the stock builder's keys, by which TFDS orders them; a PIL image it encodes without TensorFlow."""
    with progress(f"writing CIFAR-10 {split}", len(data)) as advance:
        for i, (image, label) in enumerate(zip(data.images, data.labels, strict=True)):
            yield i, {"id": f"{split}_{i:05d}", "image": Image.fromarray(image), "label": int(label)}
            advance(1)
