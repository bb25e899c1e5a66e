"""Whether a file may be half a download: by its name, its folder's, and by the files at its side.

Programs that fetch may make a file as large as it will be at once, with zeros where nothing has come. Read as a whole
one it is another network. So it may be convicted and is never cleared.
"""

import itertools
import os
import re
from pathlib import Path

from wmjax.suspects.kinds import UNFINISHED, WEIGHTS

_ALSO = frozenset((".tmp", ".temp", ".lock", ".td", ".dl", ".idm"))  # of such programs, and of others
_CONTROLS = (".aria2", ".st", ".lftp-pget-status")  # of a file that is called as it will be: what has come of it
_KNOWN = re.compile(rf"\.({WEIGHTS}|xml|json|jaxexport)(?![^\W_])", re.IGNORECASE)
_WORDS = (
    "backup|bak|old|original|orig|copy|previous|prev|saved|save|best|last|latest|final|ema|fp16|bf16|int8|uint8"
    "|quantized|optimized|simplified|z|lz4|gzip|lzma"
)
_ASIDE = re.compile(  # what may stand behind these, one or more, where somebody put a whole file aside
    rf"[-_]\d+|[-._ ]+(({_WORDS})\d{{0,3}}|(v|epoch|step|seed|fold|rc)?[-_=]?(20\d{{6}}|\d{{1,7}}))"
    r"|\.?~(\d+~)?| ?\((copy|\d+)\)",
    re.IGNORECASE,
)
# folders of rsync and others
_UNTIL_WHOLE = re.compile(r"\.(.*\W)?_*(te?mp|temporary|partial)(?![^\W_])", re.IGNORECASE)
_IN_NAME = re.compile(  # before an ending, as of m.tmp.onnx, or behind a digest, as Ollama has it
    rf"\.(te?mp|partial|download|incomplete)\.({WEIGHTS})$|-partial(-\d+)?$", re.IGNORECASE
)
_ABOVE = 3  # folders that may be called so, or have a control file beside them


def unfinished(path: Path, *parts: Path) -> str:
    """That a model's files may be half a download, in words; empty where nothing says so.

    Args:
      path: of the model: who fetches it gives it a name until it is whole, which no other file tells.
      parts: that hold some of its weights: it tells how they are called.
    """
    files = dict.fromkeys(name for file in (path, *parts) for name in _names(file))
    above = dict.fromkeys(folder for file in files for folder in list(file.parents)[:_ABOVE] if folder.name)
    marked = (one.name for one in (*files, *above) if _is_marked(one))
    until = (folder.name for folder in above if _UNTIL_WHOLE.match(folder.name))
    if told := next(itertools.chain(marked, until), ""):
        return f"the download of {told} was not finished: zeros may stand in it for what has not come"
    odd = "" if path.is_dir() else next((name.name for name in _names(path) if _is_odd(name.name)), "")
    return odd and f"{odd} is called as half a download may be, and zeros may stand in it: if it is whole, rename it"


def _names(file: Path) -> tuple[Path, ...]:
    """Its own, and that of what it points to, where it is a link."""
    return tuple(dict.fromkeys((file.absolute(), Path(os.path.realpath(file)))))


def _is_marked(one: Path) -> bool:
    """Whether the name of a file or folder, or what keeps count of it, says that it was not finished."""
    return one.suffix.lower() in UNFINISHED or any(one.with_name(one.name + end).exists() for end in _CONTROLS)


def _is_odd(name: str) -> bool:
    """Whether a file is hidden, or something follows a known ending that does not say that somebody put it aside.

    >>> [_is_odd(name) for name in ("m.onnx.Xa1b2C", ".m.onnx", "m.onnx.tmp", "m.onnx.bak", "m.onnx.1", "m.v2.onnx")]
    [True, True, True, False, False, False]
    """
    if name.startswith(".") or Path(name).suffix.lower() in _ALSO or _IN_NAME.search(name):
        return True
    end = max((known.end() for known in _KNOWN.finditer(name)), default=len(name))
    while aside := _ASIDE.match(name, end):
        end = aside.end()
    return end < len(name)
