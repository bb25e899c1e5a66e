"""The journal of an audit, and what of it is kept in memory: no more than is still needed, however long it is."""

from typing import Any

from wmjax import journal
from wmjax.zoo.chunk_record import ChunkRecord
from wmjax.zoo.header import AuditHeader
from wmjax.zoo.turns import Begun, Replied, Spoken

Line = ChunkRecord | Begun | Replied


class Lines:
    """What an audit's lines come to.

    Attributes:
      chunks: the record of each chunk that was asked; the last where it was asked again.
    """

    def __init__(self) -> None:
        """No line yet."""
        self.chunks: dict[int, ChunkRecord] = {}
        self._spoken: dict[int, Spoken] = {}

    def append(self, line: Line) -> None:
        """Takes the next one. Single answers of a member that is done stay on the disk alone.

        Raises:
          Repeated: a chunk that was done was done once more, or a question was asked once more, which no audit does.
        """
        before = self.chunks.get(line.chunk)
        if before and not before.again:
            raise journal.Repeated(f"part {line.chunk + 1} is there twice")
        if isinstance(line, ChunkRecord):
            self.chunks[line.chunk] = line
            if not line.again:
                self._spoken.pop(line.chunk, None)
        elif not self.spoken(line.chunk).add(line):
            raise journal.Repeated(f"an answer of part {line.chunk + 1} is there twice")

    def spoken(self, chunk: int) -> Spoken:
        """What a member that is not done was asked and said so far; it grows with the lines to come."""
        return self._spoken.setdefault(chunk, Spoken())

    def __bool__(self) -> bool:
        """Whether there was a line."""
        return bool(self.chunks or self._spoken)


def _line(values: dict[str, Any], header: AuditHeader) -> Line:
    """A line of an audit's journal."""
    if "asked" in values:
        return Begun.from_json(values, header)
    return Replied.from_json(values, header) if "said" in values else ChunkRecord.from_json(values, header)


JOURNAL = journal.Kind(journal.AUDIT, AuditHeader.from_json, _line, Lines)
AuditJournal = journal.Journal[AuditHeader, Line, Lines]
