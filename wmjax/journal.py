"""The journal of an audit or an attack suite: a line for each part that is done, so that a killed one goes on.

The first line says what is asked of whom; each later one holds a record. Lines are written whole and flushed to the
disk; what a kill left of a line is cut off when the audit is resumed.
"""

import fcntl
import json
import os
from pathlib import Path
from typing import Any, NamedTuple

from wmjax.errors import AccessError, InvalidFile, UsageError

Record = dict[str, Any]


class Kind(NamedTuple):
    """A kind of journal: its format, and the names of what its records hold."""

    format: str
    names: frozenset[str]


class Journal:
    """Records of one audit, of one shard of it, or of one attack suite; on disk where it has a path.

    Attributes:
      header: what the audit began with.
      records: what was found so far.
    """

    def __init__(self, path: Path | None, header: Record, records: list[Record], descriptor: int = -1):
        self.header, self.records = header, records
        self._path, self._descriptor = path, descriptor

    def add(self, record: Record) -> None:
        """Adds a record; it is on the disk when this returns.

        Raises:
          AccessError: the disk is full or gone; the journal still holds every record before.
        """
        if self._path:
            _append(self._path, self._descriptor, record)
        self.records.append(record)

    def close(self) -> None:
        """Lets another process write it."""
        if self._descriptor >= 0:
            os.close(self._descriptor)
            self._descriptor = -1


def _append(path: Path, descriptor: int, record: Record) -> None:
    line = json.dumps(record, separators=(",", ":"), allow_nan=False).encode() + b"\n"
    size = os.lseek(descriptor, 0, os.SEEK_END)
    try:
        written = 0
        while written < len(line):
            written += os.write(descriptor, line[written:])
        os.fsync(descriptor)
    except OSError as error:
        os.ftruncate(descriptor, size)
        raise AccessError(
            f"cannot write {path}: {error.strerror}; nothing done is lost, go on with --resume"
        ) from error


def begin(path: Path | None, kind: Kind, header: Record, *, resume: bool) -> Journal:
    """Opens a journal: a new one, or with `resume` the one that is there.

    Raises:
      UsageError: it is there and not to be resumed, another process writes it, or it began with something else.
      InvalidFile: it is damaged.
      AccessError: it cannot be written.
    """
    header = json.loads(json.dumps({"format": kind.format, **header}))  # as it is read back
    if path is None:
        return Journal(None, header, [])
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_APPEND, 0o644)
    except OSError as error:
        raise AccessError(f"cannot write {path}: {error.strerror}") from error
    try:
        return _held(path, kind, descriptor, header, resume)
    except BaseException:
        os.close(descriptor)
        raise


def _held(path: Path, kind: Kind, descriptor: int, header: Record, resume: bool) -> Journal:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        raise UsageError(f"{path} is being written by another process: wait for it, or choose another --out") from error
    began = read(path, kind, cut=descriptor)
    if began is None:
        _append(path, descriptor, header)
        return Journal(path, header, [], descriptor)
    if not resume:
        raise UsageError(f"{path} is there already: go on with --resume, or choose another --out")
    if other := difference(began.header, header):
        raise UsageError(f"{path} began with other {other}: resume with the same arguments")
    return Journal(path, began.header, began.records, descriptor)


def difference(one: Record, other: Record) -> str:
    """The first thing in which two audits are not the same; empty where they are.

    What could not be read may differ: its reasons name places that lie elsewhere on another host.
    """
    one, other = (json.loads(json.dumps(header)) for header in (one, other))  # tuples are lists in a journal
    return next((name for name in other if name not in ("format", "unreadable") and one.get(name) != other[name]), "")


def read(path: Path, kind: Kind, cut: int = -1) -> Journal | None:
    """A journal as it lies on the disk; None where not even its first line is whole.

    Args:
      path: the file.
      kind: what it must be.
      cut: descriptor through which the rest of an unfinished line is cut off.

    Raises:
      InvalidFile: a line that was written whole cannot be read.
      AccessError: the file cannot be read.
    """
    try:
        raw = path.read_bytes()
    except OSError as error:
        raise AccessError(f"cannot read {path}: {error.strerror}") from error
    whole = raw.rfind(b"\n") + 1
    if cut >= 0 and whole < len(raw):
        os.ftruncate(cut, whole)
    if not whole:
        return None
    try:
        header, *records = [json.loads(line) for line in raw[:whole].splitlines()]
        if header["format"] != kind.format:
            raise InvalidFile(f"{path}: format {header['format']!r:.50}, expected {kind.format}")
        if not all(isinstance(record, dict) and record.keys() == kind.names for record in records):
            raise ValueError
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        raise InvalidFile(f"{path} is damaged: start afresh in another folder") from error
    return Journal(None, header, records)
