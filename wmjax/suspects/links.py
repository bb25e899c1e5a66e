"""Symbolic links among models: whoever wrote a folder does not decide what else is read on this machine.

A Hugging Face cache is made of links: `models--x/snapshots/REV/model.onnx` points to `models--x/blobs/SHA256`.
"""

import errno
import os
from pathlib import Path


def absolute(path: Path) -> Path:
    """Its absolute path under its own name, which tells more than that of a blob to which it may point.

    >>> absolute(Path("/proc/self/../self/exe")).name
    'exe'
    """
    return path.resolve() if path.name in ("", "..") else path.parent.resolve() / path.name


def bounds(folder: Path) -> Path:
    """Where links in a folder may lead: into the folder; out of a cache's snapshot also into its repository.

    >>> bounds(Path("/cache/models--x/snapshots/r1/onnx"))
    PosixPath('/cache/models--x')
    """
    for inner in (folder, *folder.parents):
        repository = inner.parent.parent
        if inner.parent.name == "snapshots" and repository.name.startswith("models--"):
            return repository
    return folder


def leads_into(path: Path, folder: Path) -> bool:
    """Whether a path, links followed, lies in a folder."""
    return Path(os.path.realpath(path)).is_relative_to(folder)


def target(link: Path) -> Path:
    """What a link points to in the end; raises OSError, in words, where that is nothing."""
    try:
        return Path(os.path.realpath(link, strict=True))
    except OSError as error:
        circle = error.errno == errno.ELOOP
        raise OSError(error.errno, "a link in a circle" if circle else "a link to nothing") from error
