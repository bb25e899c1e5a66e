"""What lies within the folders that a checkpoint's tensors are in, and is none of them."""

import os
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
        own = {*recognise.DOCUMENTS, *((AGGREGATE,) if orbax.ITEM in files else ())}
        yield from (here / name for name in sorted(files) if name not in own and _is_model(here / name))


def _is_model(path: Path) -> bool:
    try:
        return kind_of(path) not in _TENSORS
    except WmjaxError:  # whoever looks at it says why it cannot be read
        return True
