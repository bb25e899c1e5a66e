"""What lies in a folder of a model's, or within those that its tensors are in, and may be another model. No JAX."""

import contextlib
import math
import os
import re
import stat
from collections.abc import Iterator, Sequence
from pathlib import Path

from wmjax import orbax
from wmjax.errors import WmjaxError
from wmjax.suspects.formats.orbax_items import AGGREGATE
from wmjax.suspects.kinds import Format
from wmjax.suspects.sniff import kind_of

_TENSORS = {  # what pieces of tensors may be by their first bytes: packed, or of no known form
    *(Format.ARCHIVE, Format.OTHER, Format.UNKNOWN, Format.EMPTY, Format.TEXT, Format.ARRAY, Format.LFS, Format.PAGE),
    *(Format.UNFINISHED, Format.CUT_ZIP),
}
DOCUMENTS = frozenset(  # of Orbax's, in the folders of checkpoints and their items
    (
        *(orbax.CHECKPOINT, orbax.ITEM, "orbax.checkpoint", "manifest.ocdbt"),
        *("_sharding", "_strings.json", "commit_success.txt"),
    )
)
_SMALL = 1 << 10  # bytes: a network takes more; most of OCDBT's files, which only say where others lie, take less
_DOCUMENT = 1 << 15  # bytes up to which Orbax's documents are believed by their names
_HASHED = re.compile("[0-9a-f]{32}")  # how OCDBT calls its files
_PIECE = re.compile(rf"{_HASHED.pattern}|\d+(\.\d+)*|c")  # and Zarr its own
_CHECKPOINTS = {orbax.CHECKPOINT, orbax.ITEM}


def strangers(folder: Path, *, checkpoints: bool, pieces: bool = True) -> Iterator[Path]:
    """Files that are models by content, folders that are checkpoints or closed, links to folders, wherever in a folder.

    Args:
      folder: of a checkpoint's own; its documents and its aggregate file are the checkpoint's.
      checkpoints: whether those in it are looked for; what lies in one is not looked at here.
      pieces: whether pieces of tensors lie there, which may be packed as archives of models are.
    """
    closed: list[Path] = []  # else the walk would pass over them in silence
    for at, folders, files in os.walk(folder, onerror=lambda error: closed.append(Path(error.filename))):
        here = Path(at)
        if checkpoints and here != folder and _CHECKPOINTS & set(files):
            yield here
            folders.clear()
            continue
        folders.sort()
        yield from (here / name for name in folders if (here / name).is_symlink())
        own = {name for name in DOCUMENTS.intersection(files) if _size(here / name) < _DOCUMENT}
        own |= {AGGREGATE} if orbax.ITEM in files else set()
        yield from (here / name for name in sorted(files) if name not in own and _is_model(here / name, pieces))
    yield from closed


def beside(folder: Path, checkpoints: Sequence[Path]) -> Iterator[Path]:
    """What else a folder holds that may be a model, wherever it lies in it, or within one of its checkpoints.

    Args:
      folder: whose name is given.
      checkpoints: of a run, in it; itself, where it is one; none where its model lies in files.
    """
    own = {item for path in checkpoints for item in (path, *orbax.items(path))} - {folder}
    for place in (folder, *sorted(own)):
        pieces = place in checkpoints or place in own
        there = (path for path in strangers(place, checkpoints=True, pieces=pieces) if path not in own)
        yield from (path for path in there if path.is_dir() or path.is_file())  # no pipe, nor a link to nothing


def is_small(path: Path) -> bool:
    """Whether a file is called as a checkpoint's own, and too small to be a model: such a one is not looked at."""
    if path.name not in DOCUMENTS and not _HASHED.fullmatch(path.name):
        return False
    return _size(path) < _SMALL


def _size(path: Path) -> float:
    """Bytes of a regular file; infinite of anything else."""
    with contextlib.suppress(OSError):
        status = path.stat()
        return status.st_size if stat.S_ISREG(status.st_mode) else math.inf
    return math.inf


def _is_model(path: Path, pieces: bool) -> bool:
    if is_small(path):
        return False
    try:
        kind = kind_of(path)
        if pieces and not _PIECE.fullmatch(path.name):  # nothing of a tensor's: looked at as in any folder
            return kind is not Format.OTHER
        return kind not in _TENSORS or (kind is Format.ARCHIVE and not pieces)
    except WmjaxError:  # whoever looks at it says why it cannot be read
        return True
