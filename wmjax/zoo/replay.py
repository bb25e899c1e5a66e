"""What keys tell about an audit's journal: who wrote it, and whether figures follow from the answers that it keeps."""

import dataclasses
import hashlib
from collections.abc import Mapping, Sequence

import numpy as np

from wmjax import stats
from wmjax.errors import InvalidFile, UsageError
from wmjax.keys import Key
from wmjax.keys.derive import SECRET_BYTES, Stream
from wmjax.suspects.ways import outputs_of
from wmjax.verification.order import draw_order
from wmjax.zoo.chunk_record import ROUNDED, ChunkRecord
from wmjax.zoo.header import AuditHeader
from wmjax.zoo.result import INCONCLUSIVE, MATCH, NO_MATCH

_CLOSE = 1e-6  # bits, more than sums lose by their order


def keys_of(header: AuditHeader, opened: Mapping[str, Key]) -> list[Key]:
    """The keys that an audit asked about, in its order, whatever their names are here.

    Raises:
      UsageError: one is not among them.
      InvalidFile: none is: the journal is of another audit.
    """
    by_id = {key.commitment.id: key for key in opened.values()}
    if opened and by_id.keys().isdisjoint(asked.id for asked in header.keys):
        raise InvalidFile(
            f"the audit asked about none of the {len(by_id)} keys in `keys`: its journal is another one's"
        )
    for asked in header.keys:
        if asked.id not in by_id:
            raise UsageError(f"`keys`: {asked.name}, which the audit asked about, is not among them or not opened")
    return [by_id[asked.id] for asked in header.keys]


def secret_of(keys: Sequence[Key]) -> bytes:
    """The secret of an audit's journal, 32 bytes: SHA-256 over the stream `journal` of each of its keys."""
    parts = [Stream(key.secret, "journal", 0).octets(SECRET_BYTES).tobytes() for key in keys]
    return hashlib.sha256(b"".join(parts)).digest()


def follows(record: ChunkRecord, header: AuditHeader, keys: Sequence[Key]) -> bool:
    """Whether the figures of a record follow from its answers.

    Args:
      record: of a journal that keeps answers.
      header: of that journal.
      keys: all of its keys, as from `keys_of`.
    """
    if record.answers is None:  # nothing was asked
        return not record.keys or not record.rows
    return all(_column_follows(record, header, column, keys[place]) for column, place in enumerate(record.keys))


def _column_follows(record: ChunkRecord, header: AuditHeader, column: int, key: Key) -> bool:
    """The same for all models and one key; those with as many questions at once."""
    assert record.answers is not None
    counts, bounds, rule = record.queries, header.bounds[record.chunk], key.commitment.rule
    most = int(bounds.limits[column])
    order = draw_order(key, None, most, header.spent[record.keys[column]])
    if record.asking:
        order = record.asking.order(column, key, most)
    outputs = outputs_of(header.family_of(record.chunk).readings)
    starts = (np.cumsum(counts) - counts.ravel()).reshape(counts.shape)
    for count in np.unique(counts[:, column]).tolist():
        rows = np.flatnonzero(counts[:, column] == count)
        given = record.answers.pairs(starts[rows, column], count)
        answers = dataclasses.replace(given, classes=key.spec.classes)
        truth = key.truth(order.triggers[:count])
        exact, bar = bool(bounds.exact[column]), float(bounds.bars[column])
        path = stats.play_each(rule, answers, truth, outputs, fresh=order.fresh, stop=exact)
        decision = stats.decide(path, rule, stop=exact, match_bits=bar, exact=exact)
        cleared = decision.cleared & (not record.withholds(column, header))
        outcomes = np.where(decision.matched, MATCH, np.where(cleared, NO_MATCH, INCONCLUSIVE))
        fresh = min(count, order.fresh)
        same = (
            (outcomes == record.outcomes[rows, column])
            & (decision.used == count)
            & (path.matches[:, -1] == record.matches[rows, column])
            & (not record.asking or (int(path.matches[0, fresh - 1]) if fresh else 0) == record.known[column])
            & (path.reading[:, -1] == record.readings[rows, column])
            & (np.abs(path.evidence[:, -1] - record.bits[rows, column]) < _CLOSE)
        )
        if not same.all() or not all(
            (np.abs(evidence - record.curves[int(row), column]) < ROUNDED).all()
            for row, evidence in zip(rows, path.evidence, strict=True)
            if (int(row), column) in record.curves
        ):
            return False
    return True
