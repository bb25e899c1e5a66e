"""The shards of an audit put together: what their journals say, without JAX and without a model."""

import functools
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path

from wmjax import journal
from wmjax.errors import InvalidFile, UsageError
from wmjax.keys import Key, open_keys
from wmjax.stores import place
from wmjax.zoo.book import JOURNAL, AuditJournal
from wmjax.zoo.chunk_record import ChunkRecord
from wmjax.zoo.conclude import conclude_audit
from wmjax.zoo.grounds import Basis
from wmjax.zoo.header import AuditHeader, joined
from wmjax.zoo.replay import follows, keys_of, secret_of
from wmjax.zoo.result import AuditResult


def merge(
    folders: str | os.PathLike[str] | Sequence[str | os.PathLike[str]],
    keys: str | os.PathLike[str] | Mapping[str, Key] | None = None,
) -> AuditResult:
    """The verdicts of an audit whose shards are all done; the bound holds over the whole zoo.

    Nothing is asked: `basis` of the result says what its figures rest on. With the keys, lines that were edited by
    somebody who does not hold them are refused; where the audit was told to `keep_answers`, all evidence is played
    again too, and figures that do not follow are refused whoever wrote them. A key holder can still invent answers;
    only asking again would show that.

    Example:

        result = wmjax.merge(["audit-of-host-1", "audit-of-host-2"])

    Args:
      folders: one or several, which hold their journals.
      keys: that were asked about, opened, by any names; or a folder of NAME.age with NAME.identity beside.

    Raises:
      UsageError: no folder is named, parts are missing, or a key is.
      InvalidFile: a journal is damaged, of another audit than the first one, about none of the keys that are given,
        contradicts another one, was written without the keys, or its figures do not follow from its answers.
    """
    if keys is not None and not isinstance(keys, Mapping):
        keys, _ = open_keys(keys)
    named = [folders] if isinstance(folders, str | os.PathLike) else folders
    if not named:
        raise UsageError("`folders` is empty: name those that hold the journals")
    written_by = None if keys is None else functools.partial(_secret, opened=keys)
    books = list(_journals([place(folder) for folder in named], written_by))
    if not books:
        raise UsageError(f"{named[0]}: no journal was begun: finish all shards with `resume` first")
    first = books[0][1].header
    records: dict[int, ChunkRecord] = {}
    basis = Basis.AS_WRITTEN
    for path, book in books:
        if journal.difference(book.header, first):
            raise InvalidFile(f"{path} is not of the audit that {books[0][0]} is of: merge the shards of one audit")
        for chunk, record in book.records.chunks.items():
            if chunk in records and not records[chunk].agrees(record):
                raise InvalidFile(f"{path} contradicts another journal about part {chunk + 1}: one of them was changed")
            if chunk not in records or records[chunk].again:  # what was found out is not lost to who could not
                records[chunk] = record
        basis = basis_of(path, book, keys)
    missing = len(first.chunks) - len(records)
    if missing:
        raise UsageError(f"{missing} of {len(first.chunks)} parts are not done: finish all shards with `resume` first")
    return conclude_audit(joined([book.header for _, book in books]), [records[i] for i in sorted(records)], basis)


def written(folder: Path) -> list[Path]:
    """The journals in a folder."""
    return sorted(folder.glob(journal.FILES[journal.AUDIT]))


def basis_of(path: Path | None, book: AuditJournal, keys: Mapping[str, Key] | None) -> Basis:
    """What figures from a journal rest on: played again where their answers are kept and the keys are there.

    Raises:
      UsageError: a key is missing.
      InvalidFile: all are, a line was written without the keys, or figures do not follow from the answers.
    """
    if keys is None:
        return Basis.AS_WRITTEN
    if not book.proved:
        raise InvalidFile(f"{path} was changed by somebody who did not hold the keys")
    asked = keys_of(book.header, keys)
    for record in book.records.chunks.values() if book.header.keep_answers else ():
        if not follows(record, book.header, asked):
            raise InvalidFile(f"{path}: the figures of part {record.chunk + 1} do not follow from its answers")
    return Basis.REPLAYED if book.header.keep_answers else Basis.WITH_KEYS


def _secret(header: AuditHeader, opened: Mapping[str, Key]) -> bytes:
    """The secret of the journal that begins so."""
    return secret_of(keys_of(header, opened))


def _journals(
    folders: Sequence[Path], written_by: Callable[[AuditHeader], bytes] | None
) -> Iterator[tuple[Path, AuditJournal]]:
    for folder in folders:
        paths = written(folder)
        if not paths:
            raise UsageError(f"{folder} holds no journal of an audit")
        for path in paths:
            if book := journal.read(path, JOURNAL, secret=written_by):
                yield path, book
