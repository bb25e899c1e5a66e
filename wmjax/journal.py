"""The journal of an audit, an attack suite or a claim: a line for each part that is done, so that a kill loses none.

The first line says what is asked of whom; each later one holds a record. Lines are written whole and flushed to the
disk; what a kill left of a line is cut off when the audit is resumed.

Each line is a JSON object whose last field chains it to all before: the SHA-256 over the `sha256` of the line before
(64 characters; none for the first line) and over the line itself up to the comma before that field. In a shell:

    before=
    while IFS= read -r line; do
        before=$(printf %s "$before${line%,*}" | sha256sum | cut -c1-64)
        [ "${line##*,}" = '"sha256":"'"$before"'"}' ] || echo "damaged: $line"
    done < journal-1-of-1.jsonl

So a line that was changed, moved, dropped or taken from another journal is noticed, but for the last ones: a journal
without them is that of an audit that was killed earlier. Whoever edits a journal can chain it anew: the chain shows
damage, not who wrote. Where the writer has a secret (an audit has its keys), each line therefore has a last field `mac`
before that, HMAC-SHA256 with the secret over the SHA-256, in 64 characters, of the `sha256` before and the line up to
the comma before `mac`: who does not hold the secret can change nothing that a reader who holds it would believe.
"""

import dataclasses
import fcntl
import hashlib
import hmac
import json
import os
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, BinaryIO, Generic, NamedTuple, Protocol, TypeVar

from wmjax.errors import AccessError, InvalidFile, UsageError
from wmjax.files import keep_name
from wmjax.stores import is_stored
from wmjax.stores.copies import Copy, journal_file

EXISTS = "{} already exists: use `resume` to continue, or choose another `out`"
_DAMAGE = (ValueError, KeyError, TypeError, AttributeError, OverflowError, RecursionError)
_MAC = re.compile(rb',"mac":"([0-9a-f]{64})"$')


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
        """Adds records; all of them are on the disk when this returns, for the time that one takes.

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


def chained(values: dict[str, Any], before: str, secret: bytes = b"") -> tuple[bytes, str]:
    """A line of a journal, and its `sha256`.

    >>> chained({"a": 1}, before="")[0][:30]
    b'{"a":1,"sha256":"8b0f0d75aabe0'

    Args:
      values: what it holds; at least one field.
      before: the `sha256` of the line before; empty for the first.
      secret: the writer's, for a `mac`; none without one.
    """
    content = json.dumps(values, separators=(",", ":"), allow_nan=False)[:-1]
    if secret:
        content += f',"mac":"{_mac(secret, _link(before, content.encode()))}"'
    link = _link(before, content.encode())
    return f'{content},"sha256":"{link}"}}\n'.encode(), link


def _link(before: str, content: bytes) -> str:
    return hashlib.sha256(before.encode() + content).hexdigest()


def _mac(secret: bytes, digest: str) -> str:
    return hmac.digest(secret, digest.encode(), "sha256").hex()


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
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        raise UsageError(f"{path} is being written by another process: wait for it, or choose another `out`") from error
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
    try:
        with open(journal_file(path) if cut < 0 else os.dup(cut), "rb") as file:
            file.seek(0)
            found, end = _read(file, kind, path, secret)
    except OSError as error:
        raise AccessError(f"cannot read {path}: {error.strerror}") from error
    except Repeated as error:
        raise InvalidFile(f"{path} is damaged: {error}") from error
    except _DAMAGE as error:
        raise InvalidFile(f"{path} is damaged: start afresh in another folder") from error
    if cut >= 0:
        os.ftruncate(cut, end)
    return found


def outline(path: Path) -> tuple[dict[str, Any], int]:
    """What the first line of a journal of any kind holds, and how many whole lines come after it.

    Raises:
      InvalidFile: a line is not the one that was written there.
      AccessError: the file cannot be read.
    """
    try:
        with open(journal_file(path), "rb") as file:
            lines = _unchained(file)
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
    for line in _unchained(file):
        if found is None:
            if (other := line.values.pop("format")) != kind.format:
                raise InvalidFile(f"{path}: format {other!r:.50}, expected {kind.format}")
            found = Journal(kind.header(line.values), kind.kept())
            found.proved, known = secret is not None, secret(found.header) if secret else b""
        else:
            found.records.append(kind.record(line.values, found.header))
        found.proved = found.proved and hmac.compare_digest(_mac(known, line.digest), line.mac)
        found.link, end = line.link, line.end
    return found, end


class _Line(NamedTuple):
    """A whole line.

    Attributes:
      values: what it holds.
      digest: SHA-256 of it and of what was before it, without its `mac`.
      mac: empty where it has none.
      link: its `sha256`.
      end: bytes up to its end.
    """

    values: dict[str, Any]
    digest: str
    mac: str
    link: str
    end: int


def _unchained(file: BinaryIO) -> Iterator[_Line]:
    """The whole lines of a file; raises ValueError where the chain is broken."""
    link, end = "", 0
    for raw in file:
        if not raw.endswith(b"\n"):
            return
        content, *tail = raw[:-1].rsplit(b",", 1)
        before, link, end = link, _link(link, content), end + len(raw)
        if tail != [f'"sha256":"{link}"}}'.encode()]:
            raise ValueError("a line is not the one that was written behind the line before")
        mac = _MAC.search(content)
        body = content[: mac.start()] if mac else content
        yield _Line(json.loads(body + b"}"), _link(before, body), mac[1].decode() if mac else "", link, end)
