"""From a journal to verdicts: the bound over all pairs, and what each match rests on. Host only, NumPy float64."""

from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np

from wmjax import stats
from wmjax.grounds import Ground
from wmjax.suspects.grounds import asked_as, readings
from wmjax.verification.grounds import key_grounds, shown_before
from wmjax.zoo.chunk_record import TABLES, ChunkRecord
from wmjax.zoo.grounds import AuditGround, Basis
from wmjax.zoo.header import AuditHeader
from wmjax.zoo.records import Unreadable
from wmjax.zoo.result import INCONCLUSIVE, MATCH, NOT_APPLICABLE, AuditResult
from wmjax.zoo.scope import Asked, AskedFamily, adapted, why_not


class Rank(NamedTuple):
    """The calibrated p-value of a pair, and the number of null models behind it."""

    p: float
    nulls: int


Ranks = dict[tuple[int, int], Rank]


def conclude_audit(header: AuditHeader, records: Sequence[ChunkRecord], basis: Basis) -> AuditResult:
    """The verdicts that the records of an audit give; the same for a judge who has nothing but its journals.

    Args:
      header: of the journal.
      records: of chunks; of one that was asked again the last counts.
      basis: what their figures rest on.
    """
    tables = _Tables(len(header.models), len(header.keys))
    for record in {record.chunk: record for record in records}.values():  # the last of each
        tables.fill(record, header)
    seen = np.flatnonzero(tables.seen[: header.suspects]).tolist()
    ranks = _ranks(tables, header)
    held = _held(_evidence(tables, header, ranks), header)
    tables.outcomes[(tables.outcomes == MATCH) & ~held] = INCONCLUSIVE
    tables.outcomes[held] = MATCH
    inexact = [not key.spec.policy.exact for key in header.keys]
    tables.bits[:, inexact] = np.nan
    place = {i: at for at, i in enumerate(seen)}
    run = sorted({(header.family[i], why) for i, why in tables.run.items()})
    curves = {(place[i], k): path for (i, k), path in tables.curves.items() if i in place and not inexact[k]}
    open_to_doubt = np.where(inexact, INCONCLUSIVE, MATCH)  # their figures say little by themselves
    rows, columns = np.nonzero(tables.outcomes[seen] >= open_to_doubt)
    withheld = {(place[i], k) for i, k in tables.asked if i in place}
    noted = curves.keys() | withheld | set(zip(rows.tolist(), columns.tolist(), strict=True))
    return AuditResult(
        models=[header.models[i] for i in seen],
        families=[header.families[header.family[i]].name for i in seen],
        keys=list(header.keys),
        outcomes=tables.outcomes[seen],
        bits=tables.bits[seen],
        queries=tables.queries[seen],
        matches=tables.matches[seen],
        curves=curves,
        grounds=_grounds(header, tables, ranks, [(i, seen[i], k) for i, k in sorted(noted)]),
        remarks={
            family.name: tuple(_remarks(family, header.keys, [why for at, why in run if at == place]))
            for place, family in enumerate(header.families)
        },
        unreadable=[*header.unreadable, *tables.unreadable],
        others=header.others,
        alpha=header.level.value,
        procedure=header.level.procedure,
        basis=basis,
        match_bits=_needed(tables.outcomes[seen], header),
        seconds=sum(record.seconds for record in records),
    )


class _Tables:
    """Figures of all models, by their places in the header."""

    def __init__(self, models: int, keys: int):
        self.outcomes = np.zeros((models, keys), np.int8)
        self.bits = np.full((models, keys), np.nan)
        self.queries = np.zeros((models, keys), np.int32)
        self.matches = np.zeros((models, keys), np.int32)
        self.readings = np.zeros((models, keys), np.int32)
        self.seen = np.zeros(models, bool)
        self.curves: dict[tuple[int, int], list[float]] = {}
        self.digests: dict[int, str] = {}
        self.asked: dict[tuple[int, int], list[Ground]] = {}
        self.run: dict[int, AuditGround] = {}
        self.unreadable: list[Unreadable] = []

    def fill(self, record: ChunkRecord, header: AuditHeader) -> None:
        """Adds what was found in a chunk."""
        start = header.starts[record.chunk]
        self.unreadable += [Unreadable(header.models[start + row], why) for row, why in record.failures.items()]
        self.digests |= {start + row: sha256 for row, sha256 in record.digests.items()}
        rows, columns = start + np.array(record.rows, np.int64), np.array(record.keys, np.int64)
        self.seen[rows] = True
        self.run |= dict.fromkeys(rows.tolist(), record.run) if record.run else {}
        for table in TABLES:
            getattr(self, table)[np.ix_(rows, columns)] = getattr(record, table)
        for column, k in enumerate(record.keys if record.asking else ()):
            if found := list(_shown_before(record, column, header)):
                self.asked[start + record.rows[0], k] = found
        self.curves |= {(int(rows[row]), record.keys[column]): path for (row, column), path in record.curves.items()}


def _shown_before(record: ChunkRecord, column: int, header: AuditHeader) -> Iterator[Ground]:
    """What must be said of a member that was asked about triggers that it was shown before."""
    asked, fresh = int(record.queries[0, column]), record.fresh(column, header)
    if asked > fresh:
        yield shown_before(asked - fresh, asked)
    if forgetful := record.forgetful(column, header):
        yield forgetful


def _ranks(tables: _Tables, header: AuditHeader) -> Ranks:
    """For keys without exact evidence the rank of each model among null models.

    They are those of its own family: others are asked otherwise and answer otherwise.
    """
    found, family = {}, np.array(header.family)
    for k in (k for k, key in enumerate(header.keys) if not key.spec.policy.exact):
        asked = np.flatnonzero((tables.outcomes[:, k] != NOT_APPLICABLE) & tables.seen)
        nulls = asked[asked >= header.suspects]
        for i in asked[asked < header.suspects]:
            alike = tables.matches[nulls[family[nulls] == family[i]], k]
            if len(alike):
                found[int(i), k] = Rank(stats.calibrated_p(int(tables.matches[i, k]), alike), len(alike))
    return found


def _evidence(tables: _Tables, header: AuditHeader, ranks: Ranks) -> np.ndarray:
    """Evidence in bits of every pair, NaN where it cannot become a match.

    A calibrated p-value is worth 1 / alpha where it is at most the alpha that the key committed to, else nothing: under
    the null that is 1 on average, at most.
    """
    bits = np.where(tables.outcomes == NOT_APPLICABLE, np.nan, tables.bits)
    bits[~tables.seen] = np.nan
    bits[header.suspects :] = np.nan
    bits[:, [not key.spec.policy.exact for key in header.keys]] = np.nan
    for (i, k), rank in ranks.items():
        rule = header.keys[k].rule
        bits[i, k] = rule.match_bits if rank.p <= rule.alpha else -np.inf
    return bits


def _held(bits: np.ndarray, header: AuditHeader) -> np.ndarray:
    """Which pairs are matches: by the alpha of their own key, and by the bound over all of them.

    Evidence short of its own key's alpha counts as none before e-BH looks at it: what is discarded afterwards would
    have made room for others.
    """
    own = bits >= np.array([key.rule.match_bits for key in header.keys])
    counted = np.where(own | np.isnan(bits), bits, -np.inf)
    if header.level.name == "fdr":
        return own & stats.e_bh(counted, header.tests, header.level.value)
    return own & (counted >= np.log2(max(header.tests, 1) / header.level.value))


def _needed(outcomes: np.ndarray, header: AuditHeader) -> float:
    """Evidence in bits that made a match here: what the bound and the least strict key ask."""
    found = max(1, int(np.sum(outcomes == MATCH))) if header.level.name == "fdr" else 1
    own = min(key.rule.match_bits for key in header.keys)
    return float(max(own, np.log2(max(header.tests, 1) / (header.level.value * found))))


def _remarks(family: AskedFamily, keys: Sequence[Asked], run: Sequence[AuditGround]) -> Iterator[tuple[str, Ground]]:
    """How a family was asked, where not with the keys' own triggers as they are, or not all of it here."""
    yield from (("", Ground(why)) for why in run)
    yield from (("", ground) for ground in asked_as(family.note, family.readings))
    for key in keys:
        yield from ((key.name, ground) for ground in adapted(key.spec, family) or why_not(key.spec, family))


def _grounds(
    header: AuditHeader, tables: _Tables, ranks: Ranks, pairs: Sequence[tuple[int, int, int]]
) -> dict[tuple[int, int], tuple[Ground, ...]]:
    """What the verdicts on some pairs rest on.

    Args:
      header: of the journal.
      tables: what was found.
      ranks: of keys without exact evidence.
      pairs: a model's place in the result, its place in the header, and a key's place.
    """
    bound = Ground(AuditGround(header.level.procedure), {"level": header.level.value, "tests": header.tests})
    shared: dict[tuple[int, int], tuple[Ground, ...]] = {}  # by family and key: many models need no more memory
    found = {}
    for place, i, k in pairs:
        key, at = header.keys[k], (header.family[i], k)
        if at not in shared:
            shared[at] = (
                *key_grounds(key.commitment, key.rule, regenerated=False),
                *_asked(header.families[at[0]], key),
            )
        own = [] if key.spec.policy.exact else [_ranked(header, tables, ranks, i, k)]
        weights = [Ground(AuditGround.WEIGHTS, {"sha256": tables.digests[i]})] if i in tables.digests else []
        read = readings(header.families[at[0]].readings, int(tables.readings[i, k]))
        run = [Ground(tables.run[i])] if i in tables.run else []
        spent = [] if (i, k) in tables.asked else list(_spent(header, k, int(tables.queries[i, k])))
        found[place, k] = (*shared[at], *run, *read, *spent, *tables.asked.get((i, k), ()), *own, bound, *weights)
    return found


def _spent(header: AuditHeader, k: int, asked: int) -> Iterator[Ground]:
    """What must be said where more triggers of a key were asked than were never shown to anybody."""
    if asked > header.fresh(k):
        yield shown_before(asked - header.fresh(k), asked)


def _asked(family: AskedFamily, key: Asked) -> Iterator[Ground]:
    """How a family was asked about a key, where not with the key's own triggers as they are."""
    yield from asked_as(family.note, family.readings)
    yield from adapted(key.spec, family) or ()


def _ranked(header: AuditHeader, tables: _Tables, ranks: Ranks, i: int, k: int) -> Ground:
    """What a model's rank among null models says."""
    if (i, k) not in ranks:
        return Ground(AuditGround.NO_NULLS)
    alpha = header.keys[k].rule.alpha
    needed = min(alpha, header.level.value / header.tests)
    figures = {"matches": int(tables.matches[i, k]), "queries": int(tables.queries[i, k]), **ranks[i, k]._asdict()}
    bar = {"alpha": alpha, "needed": needed, "suffice": stats.nulls_for(needed)}
    return Ground(AuditGround.RANKED, figures | bar)
