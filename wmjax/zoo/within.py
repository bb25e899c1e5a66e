"""What lies within the folders that a checkpoint's tensors are in, and is none of them."""

import contextlib
import os
import stat
from collections.abc import Iterator
from pathlib import Path

from wmjax import orbax
from wmjax.errors import WmjaxError
from wmjax.suspects import recognise
from wmjax.suspects.formats.orbax_items import AGGREGATE
from wmjax.suspects.sniff import Format, kind_of

_TENSORS = {  # what pieces of tensors may be by their first bytes: packed, or of no known form
    *(Format.ARCHIVE, Format.OTHER, Format.UNKNOWN, Format.EMPTY, Format.TEXT, Format.ARRAY, Format.LFS, Format.PAGE),
    *(Format.UNFINISHED, Format.CUT_ZIP),
}
_SMALL = 1 << 10  # bytes: no file holds a network in fewer; most pieces of a tree of tensors have fewer
_DOCUMENT = 1 << 16  # bytes up to which Orbax's documents are believed by their names
_CHECKPOINTS = {recognise.CHECKPOINT, orbax.ITEM}


def strangers(folder: Path, *, checkpoints: bool) -> Iterator[Path]:
    """Files that are models by their content, and folders that are checkpoints, wherever they lie in a folder.

    Args:
      folder: of a checkpoint's own; its documents and its aggregate file are the checkpoint's.
      checkpoints: whether those in it are looked for; what lies in one is not looked at here.
    """
    for at, folders, files in os.walk(folder):
        here = Path(at)
        if checkpoints and here != folder and _CHECKPOINTS & set(files):
            yield here
            folders.clear()
            continue
        folders.sort()
        own = {AGGREGATE} if orbax.ITEM in files else set()
        yield from (here / name for name in sorted(files) if name not in own and _is_model(here / name))


def is_small(path: Path, most: int = _SMALL) -> bool:
    """Whether a file has less than so many bytes, so that it is not looked at: by default too few for a model."""
    with contextlib.suppress(OSError):
        status = path.stat()
        return stat.S_ISREG(status.st_mode) and status.st_size < most
    return False


def _is_model(path: Path) -> bool:
    if is_small(path, _DOCUMENT if path.name in recognise.DOCUMENTS else _SMALL):
        return False
    try:
        return kind_of(path) not in _TENSORS
    except WmjaxError:  # whoever looks at it says why it cannot be read
        return True
