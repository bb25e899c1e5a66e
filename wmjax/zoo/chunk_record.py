"""What an audit's journal holds of one chunk: a row of figures for each model that answered, a column for each key."""

import dataclasses
from itertools import accumulate, chain, pairwise
from typing import Any

import numpy as np

from wmjax import forms
from wmjax.grounds import Ground
from wmjax.text import is_sha256
from wmjax.verification.grounds import forgetful
from wmjax.zoo.grounds import AuditGround
from wmjax.zoo.header import AuditHeader
from wmjax.zoo.kept import KeptAnswers
from wmjax.zoo.result import MATCH, NO_MATCH
from wmjax.zoo.scope import may_clear
from wmjax.zoo.turns import Asking

TABLES = {"outcomes": np.int8, "bits": np.float64, "queries": np.int32, "matches": np.int32, "readings": np.int32}
_RUN = (AuditGround.RUNTIME, AuditGround.GIVEN_UP)
ROUNDED = 1e-3  # bits, more than curves lose by rounding
NOTABLE_BITS = 3.0  # evidence from which a pair's curve is kept, whatever the verdict


def notable(outcomes: np.ndarray, bits: np.ndarray) -> np.ndarray:
    """The pairs whose curve is kept, bool [rows, columns]."""
    return np.asarray((outcomes == MATCH) | (bits >= NOTABLE_BITS))


@dataclasses.dataclass(frozen=True, eq=False)
class ChunkRecord:
    """What was found in one chunk. Rows and columns are those of its tables.

    Attributes:
      chunk: its place in the plan.
      family: fingerprint of its network.
      width: models that a device ran side by side; None where that was never measured.
      again: nothing could be found out, and a resumed audit tries again.
      rows: for each row the model's place in the chunk.
      keys: for each column the key's place in the header.
      outcomes: int8 [rows, columns], places in `OUTCOMES`.
      bits: float64 [rows, columns], evidence where asking stopped; not rounded, for it is judged again over all pairs.
      queries: int32 [rows, columns], triggers asked.
      matches: int32 [rows, columns], answers equal to the secret label.
      readings: int32 [rows, columns], which of the family's readings shows the most evidence.
      curves: evidence after each query of the pairs worth a look, by (row, column).
      failures: why a model could not be used, by its place in the chunk.
      digests: SHA-256 of weights that may carry a match, by the model's place in the chunk.
      answers: what was answered to every question; None where nothing was, or answers are not kept.
      asking: what the order of the questions follows from; None for weights, which are asked in the keys' own.
      known: with `asking`, for each column the matches among triggers that were not shown before.
      run: RUNTIME or GIVEN_UP, why another program ran its models, in the place of one compiled of them; else None.
      seconds: that the chunk took.
    """

    chunk: int
    family: str
    width: int | None
    again: bool
    rows: tuple[int, ...]
    keys: tuple[int, ...]
    outcomes: np.ndarray
    bits: np.ndarray
    queries: np.ndarray
    matches: np.ndarray
    readings: np.ndarray
    curves: dict[tuple[int, int], list[float]]
    failures: dict[int, str]
    digests: dict[int, str]
    answers: KeptAnswers | None
    asking: Asking | None
    known: tuple[int, ...]
    run: AuditGround | None
    seconds: float

    @classmethod
    def unasked(
        cls, chunk: int, family: str, rows: np.ndarray, failures: dict[int, str], *, again: bool = False
    ) -> "ChunkRecord":
        """The record of a chunk whose models were asked about no key."""
        empty = {name: np.empty((len(rows), 0), dtype) for name, dtype in TABLES.items()}
        return cls(
            chunk=chunk,
            family=family,
            width=None,
            again=again,
            rows=tuple(rows.tolist()),
            keys=(),
            curves={},
            failures=failures,
            digests={},
            answers=None,
            asking=None,
            known=(),
            run=None,
            seconds=0.0,
            **empty,
        )

    @property
    def found(self) -> int:
        """Pairs that are matches so far, by their own key's alpha and the bound."""
        return int(np.sum(self.outcomes == MATCH))

    def fresh(self, column: int, header: AuditHeader) -> int:
        """How many triggers of a key nobody was shown before, of those that may be asked."""
        if not self.asking:
            return header.fresh(self.keys[column])
        bounds = header.bounds[self.chunk]
        triggers = header.keys[self.keys[column]].spec.triggers
        return min(int(bounds.limits[column]), triggers - len(self.asking.shown[column]))

    def forgetful(self, column: int, header: AuditHeader) -> Ground | None:
        """What withholds an acquittal from a member that may remember what it was shown."""
        if not self.asking or header.keys[self.keys[column]].spec.policy.answers is None:
            return None
        figures = int(self.matches[0, column]), int(self.queries[0, column])
        return forgetful(self.known[column], self.fresh(column, header), *figures)

    def withholds(self, column: int, header: AuditHeader) -> bool:
        """Whether who was asked about a key is not cleared, whatever it answers."""
        key = header.keys[self.keys[column]]
        return not may_clear(key.spec, header.family_of(self.chunk)) or self.forgetful(column, header) is not None

    def agrees(self, other: "ChunkRecord") -> bool:
        """Whether another record of the chunk says the same, or one of them has to be asked again."""
        mine, theirs = (
            dataclasses.replace(record, seconds=0.0, width=None, run=None).to_json() for record in (self, other)
        )
        return mine == theirs or self.again or other.again

    def to_json(self) -> dict[str, Any]:
        """The record as JSON values."""
        values = {field.name: getattr(self, field.name) for field in dataclasses.fields(self)}
        return {
            **values,
            **{name: values[name].tolist() for name in TABLES},
            "curves": [[row, column, path] for (row, column), path in self.curves.items()],
            "failures": {str(place): why for place, why in self.failures.items()},
            "digests": {str(place): sha256 for place, sha256 in self.digests.items()},
            "answers": None if self.answers is None else self.answers.to_json(),
            "asking": None if self.asking is None else self.asking.to_json(),
        }

    @classmethod
    def from_json(cls, values: dict[str, Any], header: AuditHeader) -> "ChunkRecord":
        """Reads `to_json` back; raises ValueError where form or range of anything cannot be in such an audit."""
        found = forms.fields(values, [field.name for field in dataclasses.fields(cls)])
        chunk = forms.whole(found["chunk"], 0, len(header.chunks) - 1)
        size, family = header.chunks[chunk], header.family_of(chunk)
        if found["family"] != family.fingerprint:
            raise ValueError("the chunk is of another family")
        rows = _places(found["rows"], size)
        keys = _places(found["keys"], len(header.keys))
        if keys != header.bounds[chunk].keys if rows else keys not in ((), header.bounds[chunk].keys):
            raise ValueError("the chunk was asked about other keys")
        failures, digests = (_by_place(found[name], size) for name in ("failures", "digests"))
        if sorted([*failures, *rows]) != list(range(size)) or not all(map(is_sha256, digests.values())):
            raise ValueError("a model neither answered nor failed, or both, or has a digest that is none")
        record = cls(
            chunk=chunk,
            family=family.fingerprint,
            width=None if found["width"] is None else forms.whole(found["width"], 1, 1 << 16),
            again=forms.flag(found["again"]),
            rows=rows,
            keys=keys,
            curves=_curves(found["curves"], len(rows), len(keys)),
            failures=failures,
            digests=digests,
            answers=None,
            asking=None if found["asking"] is None else Asking.from_json(found["asking"], header, chunk),
            known=forms.items(found["known"], forms.whole),
            run=None if found["run"] is None else _run(found["run"]),
            seconds=forms.number(found["seconds"], 0.0, 1e9),
            **_tables(found, (len(rows), len(keys)), len(family.readings)),
        )
        if len(record.known) != (len(keys) if record.asking else 0) or (record.asking and not rows):
            raise ValueError("a member is asked in an order of its own, and nobody else")
        if keys:
            _check_figures(record, header)
        return dataclasses.replace(record, answers=_answers(found["answers"], record, header))


def _check_figures(record: ChunkRecord, header: AuditHeader) -> None:
    """Raises ValueError where figures contradict each other, or what was asked of the chunk."""
    bounds = header.bounds[record.chunk]
    withheld = np.array([record.withholds(column, header) for column in range(len(record.keys))])
    matched, cleared = record.outcomes == MATCH, record.outcomes == NO_MATCH
    used_up = record.queries == bounds.limits
    wrong = (
        ((record.matches > record.queries) & np.isfinite(bounds.most_bits))  # of coins there may be more than answers
        | (record.queries > bounds.limits)
        | (matched != (record.bits >= bounds.bars))
        | (record.bits > record.queries * bounds.most_bits)
        | np.where(bounds.exact, cleared & (record.bits >= 0), record.bits != 0)
        | (~used_up & ~(bounds.exact & (matched | cleared | withheld)))
        | (cleared & withheld)
        | (np.array(record.known or 0) > record.matches)
    )
    weighed = np.array(record.rows, np.int64)[(record.bits >= bounds.weighed).any(axis=1)]
    if wrong.any() or set(record.digests) != set(weighed.tolist()):
        raise ValueError("figures contradict each other")
    rows, columns = np.nonzero(notable(record.outcomes, record.bits))
    if sorted(record.curves) != list(zip(rows.tolist(), columns.tolist(), strict=True)):
        raise ValueError("curves of other pairs than those worth a look")
    for (row, column), path in record.curves.items():
        ends = len(path) == record.queries[row, column] and abs(path[-1] - record.bits[row, column]) < ROUNDED
        if not ends or max(path[:-1], default=0.0) > bounds.bars[column] + ROUNDED:
            raise ValueError("a curve contradicts the evidence")


def _tables(found: dict[str, Any], shape: tuple[int, int], readings: int) -> dict[str, np.ndarray]:
    """The figures of each row and column, each in its range."""
    counts = 2**31 - 1
    limits = {
        "outcomes": (NO_MATCH, MATCH),
        "queries": (1, counts),
        "matches": (0, counts),
        "readings": (0, readings - 1),
    }
    return {name: forms.table(found[name], shape, dtype, *limits.get(name, ())) for name, dtype in TABLES.items()}


def _answers(value: Any, record: ChunkRecord, header: AuditHeader) -> KeptAnswers | None:
    """What was answered to each question of a record; None where nothing was asked, or answers are not kept."""
    if (value is not None) != (header.keep_answers and bool(record.keys)):
        raise ValueError("answers are missing, or are there without need")
    if value is None:
        return None
    family, total = header.family_of(record.chunk), int(record.queries.sum(dtype=np.int64))
    return KeptAnswers.from_json(value, len(family.readings), total, family.classes)


def _run(value: Any) -> AuditGround:
    if value not in _RUN:
        raise ValueError("another program does not run models for such a reason")
    return AuditGround(value)


def _places(value: Any, count: int) -> tuple[int, ...]:
    """Different places below `count`."""
    places = forms.items(value, lambda place: forms.whole(place, 0, count - 1))
    if len(set(places)) < len(places):
        raise ValueError("a place is named twice")
    return places


def _by_place(value: Any, count: int) -> dict[int, str]:
    """Text by places below `count`, which are strings in JSON."""
    if not isinstance(value, dict):
        raise ValueError("an object was expected")
    return {forms.whole(int(place), 0, count - 1): forms.text(told) for place, told in value.items()}


def _curves(value: Any, rows: int, columns: int) -> dict[tuple[int, int], list[float]]:
    """Evidence by row and column; its numbers are checked all at once, for there are many."""
    listed = forms.items(value, lambda curve: forms.items(curve, lambda part: part))
    places = [(forms.whole(row, 0, rows - 1), forms.whole(column, 0, columns - 1)) for row, column, _ in listed]
    ends = list(accumulate((len(path) for _, _, path in listed), initial=0))
    every = forms.table(list(chain.from_iterable(path for _, _, path in listed)), (ends[-1],), np.float64).tolist()
    return {place: every[start:end] for place, (start, end) in zip(places, pairwise(ends), strict=True)}
