"""Compiled programs, kept from run to run in a folder of the user's own: whatever lies there is run. No JAX at the top.

`wmjax` on the command line keeps them; a Python program of your own does as JAX is told to. Programs follow from the
shapes of networks and data: they hold no weights, no images and no secret.
"""

import contextlib
import hashlib
import os
import platform
import stat
from pathlib import Path

from wmjax import devices
from wmjax.errors import UsageError
from wmjax.files import own_folder

VARIABLE = "JAX_COMPILATION_CACHE_DIR"
OFF = "JAX_ENABLE_COMPILATION_CACHE"  # which JAX looks at, too
MOST = 1 << 30  # bytes; what was kept first goes first
_SHORTEST = "JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS"  # reading one takes 0.05 s
_SECONDS = "0.3"


def load_jax() -> None:
    """Imports JAX, which keeps compiled programs from now on.

    Raises:
      UsageError: the folder that the environment names is one in which others can write.
      ModuleNotFoundError: it is not installed.
    """
    keep()
    devices.load_jax()


def keep() -> None:
    """Tells JAX, which is not imported yet, where to keep compiled programs; raises as `load_jax` does.

    Where the usual folder cannot be had, or not by this user alone, nothing is kept.
    """
    if turned_off():
        return
    if named := os.environ.get(VARIABLE):
        if "://" not in named and (why := doubt(Path(named))):
            raise UsageError(f"{VARIABLE}: {why}: what lies there is run as code; make it yours alone, or leave it out")
        return
    with contextlib.suppress(OSError, UsageError):
        place = folder()
        place.mkdir(mode=0o700, parents=True, exist_ok=True)
        if not doubt(place):
            _tidy(place)
            os.environ[VARIABLE] = str(place)
            os.environ.setdefault(_SHORTEST, _SECONDS)


def turned_off() -> bool:
    """Whether the user wants none kept."""
    return os.environ.get(OFF, "").lower() in ("0", "false", "no", "off", "f", "n")


def folder() -> Path:
    """Where they are kept by default: of this kind of processor alone, since others may not know its instructions.

    Raises:
      UsageError: no home folder is known.
    """
    return own_folder("XDG_CACHE_HOME", "~/.cache") / "programs" / _processor()


def size(place: Path) -> int:
    """Bytes that a folder of programs has; 0 where it is not there."""
    try:
        with os.scandir(place) as entries:
            return sum(entry.stat(follow_symlinks=False).st_size for entry in entries)
    except OSError:
        return 0


def doubt(place: Path) -> str:
    """Who but this user could put a program into a folder, in words; empty where nobody could, or it is not there yet.

    Whoever can write in a folder above could put another one in its place; not where only owners may rename, as in
    /tmp. What somebody else put there before counts as well.
    """
    real = Path(os.path.realpath(place))
    for path in (real, *real.parents):
        try:
            found = path.stat()
        except FileNotFoundError:
            continue
        except OSError as error:
            return f"{path} cannot be looked at ({error.strerror})"
        if found.st_uid not in (os.geteuid(), 0):
            return f"{path} belongs to another user"
        others = found.st_mode & (stat.S_IWGRP | stat.S_IWOTH)
        if others and (path == real or not found.st_mode & stat.S_ISVTX):
            return f"others can write in {path}"
    try:
        with os.scandir(real) as entries:
            for entry in entries:
                if entry.stat(follow_symlinks=False).st_uid not in (os.geteuid(), 0) or entry.is_symlink():
                    return f"{entry.path} is of another user, or a link"
    except FileNotFoundError:
        return ""
    except OSError as error:  # a file, for one
        return f"{real} cannot be looked at ({error.strerror})"
    return ""


def _tidy(place: Path) -> None:
    """Takes out the oldest, until the rest is no larger than it may be."""
    with os.scandir(place) as entries:
        found = sorted((entry.stat(follow_symlinks=False).st_mtime_ns, entry.path) for entry in entries)
    left = size(place)
    for _, path in found:
        if left <= MOST:
            break
        with contextlib.suppress(OSError):  # another process may have
            left -= os.stat(path, follow_symlinks=False).st_size
            os.unlink(path)


def _processor() -> str:
    """A name for the kind of processor: what programs are compiled for."""
    told = [platform.machine(), platform.processor()]
    with contextlib.suppress(OSError):
        lines = Path("/proc/cpuinfo").read_text(errors="replace").splitlines()
        told += sorted({line for line in lines if line.split("\t")[0].strip() in ("model name", "flags", "Features")})
    return hashlib.sha256("\n".join(told).encode()).hexdigest()[:12]
