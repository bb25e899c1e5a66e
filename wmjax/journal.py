"""The journal of an audit, an attack suite or a claim: a line for each part that is done, so that a kill loses none.

The first line says what is asked of whom; each later one holds a record. Lines are written whole and flushed to the
disk; what a kill left of a line is cut off when the audit is resumed. Lines are chained (`chain`).
"""

import contextlib
import dataclasses
import hmac
import json
import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, BinaryIO, Generic, Protocol, TypeVar

from wmjax.chain import chained, mac_of, unchained
from wmjax.errors import AccessError, InvalidFile, UsageError
from wmjax.files import hold, keep_name, opened
from wmjax.stores import is_stored
from wmjax.stores.copies import Copy, journal_file

AUDIT, ATTACK, CLAIM = "wmjax-audit/1", "wmjax-attack/1", "wmjax-claim-journal/1"  # formats
FILES = {AUDIT: "journal-*-of-*.jsonl", ATTACK: "journal.jsonl"}  # in OUT, beside the `report.html` of the verb
EXISTS = "{} already exists: use `resume` to continue, or choose another `out`"
_DAMAGE = (ValueError, KeyError, TypeError, AttributeError, OverflowError, RecursionError)


class Written(Protocol):
    """What a line of a journal holds."""

    def to_json(self) -> dict[str, Any]:
        """Its JSON values; no NaN, no infinity."""


class Gathered(Protocol):
    """What is kept of a journal's records: a list of them, or less."""

    def append(self, record: Any, /) -> None:
        """Takes the next one; raises `Repeated` where it cannot come behind those before."""


class Repeated(ValueError):
    """A record is there twice."""


Head = TypeVar("Head", bound=Written)
Record = TypeVar("Record", bound=Written)
Kept = TypeVar("Kept", bound=Gathered)


@dataclasses.dataclass(frozen=True)
class Kind(Generic[Head, Record, Kept]):
    """A kind of journal.

    Attributes:
      format: its name and version.
      header: reads a header from its JSON values; raises ValueError, TypeError or KeyError where they cannot be one.
      record: the same for a record, which must fit the header.
      kept: what its records are kept in, empty.
      mode: permissions of its file.
    """

    format: str
    header: Callable[[dict[str, Any]], Head]
    record: Callable[[dict[str, Any], Head], Record]
    kept: Callable[[], Kept]
    mode: int = 0o644


class Journal(Generic[Head, Record, Kept]):
    """Records of one audit or a shard of it, of one attack suite or claim; on disk where it has a path.

    Attributes:
      header: what the audit began with.
      records: what was found so far, as far as it is kept.
      link: `sha256` of the last line that was read.
      proved: whether it was read with a secret, and whoever wrote each line held that.
      out: where it is written; None where it is not.
    """

    def __init__(self, header: Head, records: Kept):
        self.header, self.records = header, records
        self.link, self.proved = "", False
        self.out: _Out | None = None

    def add(self, *records: Record) -> None:
        """Adds records; all are on the disk on return, and this takes as long as writing one.

        Raises:
          AccessError: the disk is full or gone; the journal still holds every record before.
        """
        if self.out:
            self.out.append(*(record.to_json() for record in records))
        for record in records:
            self.records.append(record)

    def close(self) -> None:
        """Lets another process write it; raises `AccessError` where it cannot be copied into its bucket."""
        if self.out:
            os.close(self.out.descriptor)
            copy, self.out = self.out.copy, None
            if copy:
                copy.end()


@dataclasses.dataclass
class _Out:
    """A journal that is being written: where, with what secret, the `sha256` of its last line, its copy in a bucket."""

    path: Path
    descriptor: int
    secret: bytes
    link: str
    copy: Copy | None = None

    def append(self, *values: dict[str, Any]) -> None:
        """Writes lines; they are on the disk when this returns, or nothing of them is."""
        lines, link = b"", self.link
        for each in values:
            line, link = chained(each, link, self.secret)
            lines += line
        size = os.lseek(self.descriptor, 0, os.SEEK_END)
        try:
            written = 0
            while written < len(lines):
                written += os.write(self.descriptor, lines[written:])
            os.fsync(self.descriptor)
        except OSError as error:
            os.ftruncate(self.descriptor, size)
            raise AccessError(
                f"cannot write {self.path}: {error.strerror}; nothing done is lost, use `resume` to continue"
            ) from error
        self.link = link
        if self.copy:
            self.copy.line()


def begin(
    path: Path | None, kind: Kind[Head, Record, Kept], header: Head, *, resume: bool, secret: bytes = b""
) -> Journal[Head, Record, Kept]:
    """Opens a journal: a new one, or with `resume` the one that is there.

    Args:
      path: of the file; None for a journal that is on no disk.
      kind: what it is.
      header: what it begins with.
      resume: continue with the one that is there.
      secret: with which each line gets its `mac`, and must have it; none by default.

    Raises:
      UsageError: it is there and not to be resumed, or another process writes it.
      InvalidFile: it is damaged, began with something else, or was not written with the secret.
      AccessError: it cannot be written.
    """
    if path is None:
        return Journal(header, kind.kept())
    try:
        own = journal_file(path)
        own.parent.mkdir(parents=True, exist_ok=True)
        descriptor = os.open(own, os.O_RDWR | os.O_CREAT | os.O_APPEND, kind.mode)
    except OSError as error:
        raise AccessError(f"cannot write {path}: {error.strerror}") from error
    try:
        return _held(path, own, kind, header, resume, descriptor, secret)
    except BaseException:
        os.close(descriptor)
        raise


def _held(
    path: Path, own: Path, kind: Kind[Head, Record, Kept], header: Head, resume: bool, descriptor: int, secret: bytes
) -> Journal[Head, Record, Kept]:
    hold(descriptor, path, "is being written by another process: wait for it, or choose another `out`")
    copy = Copy(own, path) if is_stored(path) else None
    began = read(path, kind, cut=descriptor, secret=(lambda header: secret) if secret else None)
    out = _Out(path, descriptor, secret, "", copy)
    if began is None:
        began = Journal(header, kind.kept())
        out.append({"format": kind.format, **header.to_json()})
        keep_name(own)
        began.out = out
        return began
    if not resume:
        raise UsageError(EXISTS.format(path))
    if other := difference(began.header, header):
        raise InvalidFile(f"{path} began with other {other}: resume with the same arguments, or in another folder")
    if secret and not began.proved:
        raise InvalidFile(f"{path} was changed by somebody who did not hold the keys: start afresh in another folder")
    out.link = began.link
    began.out = out
    return began


def check_out(out: Path, format: str | None) -> None:
    """Raises `UsageError` where a folder has a journal of another format than this: its page would be written over."""
    for other, pattern in FILES.items():
        if other != format and (found := sorted(out.glob(pattern))):
            verb = other.partition("-")[2].partition("/")[0]
            raise UsageError(f"{found[0]} is of `wmjax {verb}`, whose report would be lost: choose another `out`")


def difference(one: Written, other: Written) -> str:
    """The first thing in which two audits are not the same; empty where they are.

    What could not be read may differ: its reasons name places that lie elsewhere on another host. So may other files,
    and what was spent: a claim may be made while an audit goes on.
    """
    mine, theirs = (json.loads(json.dumps(header.to_json())) for header in (one, other))  # tuples are lists in JSON
    free = ("unreadable", "others", "spent")
    return next((name for name in theirs if name not in free and mine.get(name) != theirs[name]), "")


def read(
    path: Path, kind: Kind[Head, Record, Kept], cut: int = -1, secret: Callable[[Head], bytes] | None = None
) -> Journal[Head, Record, Kept] | None:
    """A journal as it lies on the disk, line by line; None where not even its first line is whole.

    Args:
      path: the file.
      kind: what it must be.
      cut: descriptor of it, where it is to be written: the rest of an unfinished line is cut off.
      secret: that whoever wrote it must have held, by its header; see `Journal.proved`.

    Raises:
      InvalidFile: a line that was written whole cannot be read, or is not the one that was written there.
      AccessError: the file cannot be read.
    """
    with _reading(path), opened(journal_file(path) if cut < 0 else os.dup(cut)) as file:
        file.seek(0)
        found, end = _read(file, kind, path, secret)
    if cut >= 0:
        os.ftruncate(cut, end)
    return found


def read_header(path: Path, kind: Kind[Head, Record, Kept]) -> Head | None:
    """What a journal begins with; no later line is looked at. None where its first line is not whole.

    Raises:
      InvalidFile: the first line cannot be read, or is not the one that was written.
      AccessError: the file cannot be read.
    """
    with _reading(path), opened(journal_file(path)) as file:
        return next((_header(line.values, kind, path) for line in unchained(file)), None)


@contextlib.contextmanager
def _reading(path: Path) -> Iterator[None]:
    """Has whatever goes wrong in a block said of the journal that is read there."""
    try:
        yield
    except OSError as error:
        raise AccessError(f"cannot read {path}: {error.strerror}") from error
    except Repeated as error:
        raise InvalidFile(f"{path} is damaged: {error}") from error
    except _DAMAGE as error:
        raise InvalidFile(f"{path} is damaged: start afresh in another folder") from error


def outline(path: Path) -> tuple[dict[str, Any], int]:
    """What the first line of a journal of any kind holds, and how many whole lines come after it.

    Raises:
      InvalidFile: a line is not the one that was written there.
      AccessError: the file cannot be read.
    """
    try:
        with opened(journal_file(path)) as file:
            lines = unchained(file)
            return next(lines).values, sum(1 for _ in lines)
    except OSError as error:
        raise AccessError(f"cannot read {path}: {error.strerror}") from error
    except (*_DAMAGE, StopIteration) as error:
        raise InvalidFile(f"{path} is damaged: its lines are not those that were written") from error


def _read(
    file: BinaryIO, kind: Kind[Head, Record, Kept], path: Path, secret: Callable[[Head], bytes] | None
) -> tuple[Journal[Head, Record, Kept] | None, int]:
    """A journal, and the bytes of its whole lines."""
    found: Journal[Head, Record, Kept] | None = None
    known, end = b"", 0
    for line in unchained(file):
        if found is None:
            found = Journal(_header(line.values, kind, path), kind.kept())
            found.proved, known = secret is not None, secret(found.header) if secret else b""
        else:
            found.records.append(kind.record(line.values, found.header))
        found.proved = found.proved and hmac.compare_digest(mac_of(known, line.digest), line.mac)
        found.link, end = line.link, line.end
    return found, end


def _header(values: dict[str, Any], kind: Kind[Head, Record, Kept], path: Path) -> Head:
    """What a first line says."""
    if (other := values.pop("format")) != kind.format:
        raise InvalidFile(f"{path}: format {other!r:.50}, expected {kind.format}")
    return kind.header(values)
