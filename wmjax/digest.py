"""Digests of a model: of its weights, the same wherever and in whatever format they lie; of a folder's files."""

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import rfc8785

from wmjax import stores
from wmjax.errors import AccessError
from wmjax.progress import progress

BUNDLE = "model.sig"  # these three lie in a released folder and are about its files (`wmjax.evidence.release`)
STATEMENT = "watermark.commitment.json"
PUBLIC = "watermark.pub.pem"
_PIECE = 1 << 24  # bytes between two looks at the clock
_ABOUT = (BUNDLE, STATEMENT, PUBLIC)


def digest(weights: Mapping[str, Any]) -> str:
    """SHA-256 (hex) of one model's weights.

    For each tensor, in the order of their names: be32 of the length of, and then, the RFC 8785 JSON of
    `[name, dtype, shape]`; then its elements in C order, little-endian. This may never change.

    >>> digest({"kernel": np.zeros((2, 3), np.float32)})[:16]
    'e115e006111e8723'

    Args:
      weights: arrays by name.
    """
    sha = hashlib.sha256()
    for name in sorted(weights):
        tensor = np.ascontiguousarray(weights[name])
        head = rfc8785.dumps([name, tensor.dtype.name, list(np.shape(weights[name]))])
        sha.update(len(head).to_bytes(4) + head)
        little = tensor.astype(tensor.dtype.newbyteorder("<"), copy=False)
        sha.update(little.reshape(-1).view(np.uint8).data)
    return sha.hexdigest()


def files_digest(folder: Path, *parts: Path) -> str:
    """SHA-256 (hex) of a copy's files: in-toto's `dirHash`, without the "h1:" and in hex.

    It is that of the lines "SHA-256, two spaces, path", sorted by path: in the folder, what
    `find . -type f | cut -c3- | LC_ALL=C sort | xargs sha256sum | sha256sum` says. A file counts as the only one of a
    folder: `sha256sum NAME | sha256sum`; with `parts`, other files of its folder, as one of those alone. What a
    release says about the files is none of them: `model.sig`, `watermark.commitment.json`, `watermark.pub.pem`.

    Raises:
      AccessError: a file cannot be read.
    """
    lines = []
    try:
        single = folder.is_file()
        about = {folder / name for name in _ABOUT}
        paths = [folder, *parts] if single else [path for path in folder.rglob("*") if path.is_file()]
        for path, sha256 in sha256_each(sorted(set(paths) - about)):
            name = path.relative_to(folder.parent if single else folder).as_posix()
            lines.append((name.encode(), sha256.encode()))
    except OSError as error:
        raise AccessError(f"cannot read {error.filename or folder}: {error.strerror}") from error
    return hashlib.sha256(b"".join(sha256 + b"  " + path + b"\n" for path, sha256 in sorted(lines))).hexdigest()


def sha256_each(paths: Sequence[Path]) -> Iterator[tuple[Path, str]]:
    """Each file with its SHA-256 (hex); raises `OSError` where one cannot be read."""
    with progress("reading files", sum(path.stat().st_size for path in paths)) as advance:
        for path in paths:
            sha = hashlib.sha256()
            with stores.present(path), path.open("rb") as file:
                while piece := file.read(_PIECE):
                    sha.update(piece)
                    advance(len(piece))
            yield path, sha.hexdigest()
