"""The audit: which models of a zoo answer to which keys, with one bound on false matches over all of them."""

import contextlib
import os
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import jax
import numpy as np

from wmjax import journal
from wmjax.devices import host_bytes
from wmjax.digest import digest
from wmjax.errors import UsageError
from wmjax.keys import Key, open_keys
from wmjax.progress import progress
from wmjax.suspects.contract import Network
from wmjax.text import first_line
from wmjax.zoo import conclude
from wmjax.zoo.discover import discover
from wmjax.zoo.load import Chunk, read_ahead
from wmjax.zoo.plan import Level, Plan, make_plan
from wmjax.zoo.records import Unreadable, Zoo
from wmjax.zoo.result import MATCH, Result
from wmjax.zoo.rounds import NOTABLE_BITS, Questions, Verdicts, judge
from wmjax.zoo.score import Scorer, mesh_for
from wmjax.zoo.width import choose_width

_JOURNALS = "journal-*-of-*.jsonl"
_FIGURES = {"outcomes", "bits", "queries", "matches", "curves"}
_NOTES = {"chunk", "family", "width", "keys", "failures", "digests", "rows", "again", "seconds"}
JOURNAL = journal.Kind("wmjax-audit/1", frozenset(_FIGURES | _NOTES))
_MEMORY = 0.25  # share of the host's memory that models may take where nothing else is said


def audit(
    zoo: str | os.PathLike[str],
    keys: str | os.PathLike[str] | Mapping[str, Key],
    *,
    closed: Sequence[Unreadable] = (),
    models: Sequence[str] = (),
    fdr: float | None = None,
    fwer: float | None = None,
    nulls: str | os.PathLike[str] | None = None,
    memory: int | None = None,
    out: str | os.PathLike[str] | None = None,
    resume: bool = False,
    shard: tuple[int, int] = (1, 1),
) -> Result:
    """Asks every model of a zoo about every key, in one pass.

    Guarantee, for keys with random labels: with `fdr`, the expected share of false ones among the matches is at most
    that; with `fwer`, the chance of any false match is. Each match also meets the alpha that its key committed to.

    Args:
      zoo: folder of checkpoints, or one checkpoint or file.
      keys: opened keys by name, or a folder of NAME.age with NAME.identity beside.
      closed: keys that could not be opened, for the list of what was not asked.
      models: architectures of bare parameter trees: `cnn`, `vgg`, `resnet18` or `module:factory`.
      fdr: bound on the false discovery rate; 0.01 where neither is given.
      fwer: bound on the family-wise error rate, instead.
      nulls: folder of models known to be innocent, which calibrate keys with fixed labels.
      memory: bytes that models may take; a quarter of the host's by default.
      out: folder of the journal; none is written by default.
      resume: go on with the journal in `out`.
      shard: (i, n): judge the i-th of n parts, from 1; `merge` puts them together.

    It runs on all devices of this process. On a CPU `jax.config.update("jax_num_cpu_devices", CORES)`, before anything
    else, makes one of each core, which is faster for small networks; the command line does that.

    Returns:
      Verdicts of this shard; iterating gives one `Finding` a pair, strongest evidence first.

    Raises:
      UsageError: there is nothing to ask, or the options contradict each other or the journal.
      AccessError: the zoo or the journal cannot be read or written.
    """
    began = time.monotonic()
    path = Path(out) / f"journal-{shard[0]}-of-{shard[1]}.jsonl" if out else None
    if path and path.exists() and not resume:  # said before the walk, which may take long
        raise UsageError(f"{path} is there already: go on with --resume, or choose another --out")
    if fdr is not None and fwer is not None:
        raise UsageError("--fdr and --fwer: choose one bound")
    level = Level("fdr", 0.01 if fdr is None else fdr) if fwer is None else Level("fwer", fwer)
    if not 1 <= shard[0] <= shard[1]:
        raise UsageError(f"--shard {shard[0]}/{shard[1]}: the first number goes from 1 to the second")
    if not isinstance(keys, Mapping):
        keys, sealed = open_keys(Path(keys))
        closed = [Unreadable(path, why) for path, why in sealed.items()]
    shapes = tuple(dict.fromkeys(key.spec.image for key in keys.values()))
    found = discover(Path(zoo), models, shapes)
    found.unreadable.extend(closed)
    innocent = discover(Path(nulls), models, shapes) if nulls else Zoo([], [])
    found.unreadable.extend(Unreadable(f"{nulls}/{item.path}", item.why) for item in innocent.unreadable)
    plan = make_plan(found, keys, level, int(_MEMORY * host_bytes()) if memory is None else memory, innocent.entries)
    header = plan.header()
    for sibling in sorted(path.parent.glob(_JOURNALS)) if path else ():
        other = journal.read(sibling, JOURNAL) if sibling != path else None
        if other and (differing := journal.difference(other.header, header)):
            raise UsageError(f"{sibling} is of an audit with other {differing}: choose another --out")
    book = journal.begin(path, JOURNAL, header, resume=resume)
    try:
        _carry_out(plan, book, shard, began)
    finally:
        book.close()
    return conclude.conclude(book.header, book.records)


def _carry_out(plan: Plan, book: journal.Journal, shard: tuple[int, int], began: float) -> None:
    """Judges the chunks of this shard that the journal does not hold."""
    chunks = plan.chunks()
    done = {record["chunk"] for record in book.records if not record["again"]}
    todo = [i for i in range(shard[0] - 1, len(chunks), shard[1]) if i not in done]
    ends = np.cumsum([len(chunk) for chunk in chunks])
    bench = _Bench(plan, {record["family"]: record["width"] for record in book.records if record["width"]})
    matches, models, start = sum(map(_matches, book.records)), 0, time.monotonic()
    with (
        progress("auditing", sum(len(chunks[i]) for i in todo)) as advance,
        contextlib.closing(read_ahead([chunks[i] for i in todo], plan.rows)) as read,
    ):
        for i, chunk in zip(todo, read, strict=True):
            record = bench.judge(chunk, null=ends[i] > plan.suspects)
            now = time.monotonic()
            book.add({"chunk": i, **record, "seconds": round(now - began, 3)})
            began = now
            matches, models = matches + _matches(record), models + len(chunk.entries)
            advance(len(chunk.entries), f"{models / (now - start):.1f} models/s, {matches} matches")


def _matches(record: journal.Record) -> int:
    """Pairs of a chunk that are matches already."""
    return sum(row.count(MATCH) for row in record["outcomes"])


class _Bench:
    """What stays on the devices from chunk to chunk: a family's questions and its program."""

    def __init__(self, plan: Plan, widths: dict[str, int]):
        self._plan, self._widths = plan, widths
        self._at: tuple[Network, bool] | None = None
        self._places: list[int] = []
        self._questions: Questions | None = None
        self._bank: Any = None
        self._bars = np.empty(0)  # evidence from which a pair may become a match, if others do
        self._scorer: Scorer | None = None

    def judge(self, chunk: Chunk, *, null: bool) -> journal.Record:
        """Judges a chunk; the record of it."""
        network = chunk.entries[0].network
        if self._at != (network, null):
            self._change(network, null=null)
        scorer, questions = self._scorer, self._questions
        assert scorer is not None
        assert questions is not None
        width, failures = self._widths.get(network.fingerprint), dict(chunk.failures)
        rows = np.array([row for row in range(len(chunk.entries)) if row not in failures], np.int64)
        if not len(questions.keys) or not len(rows):
            return _record(network, width, [], rows, None, failures, {})
        try:
            verdicts = self._ask(chunk, questions, scorer, rows)
        except (jax.errors.JaxRuntimeError, MemoryError) as error:  # a hostile network may take more than there is
            reason = f"cannot be asked: {first_line(error)}; --resume tries again"
            failures |= dict.fromkeys(map(int, rows), reason)
            return _record(network, width, [], rows[:0], None, failures, {}) | {"again": True}
        width, digests = self._widths[network.fingerprint], {}
        for model, row in enumerate(rows):
            if (verdicts.bits[model] >= self._bars).any() and model not in verdicts.failures:
                digests[int(row)] = digest({name: leaf[row] for name, leaf in chunk.weights.items()})
                if (packed := chunk.entries[row].digest) and packed != digests[int(row)]:
                    verdicts.failures[model] = "its weights are not those that were packed: their digests differ"
        failures |= {int(rows[model]): why for model, why in verdicts.failures.items()}
        return _record(network, width, self._places, rows, verdicts, failures, digests)

    def _ask(self, chunk: Chunk, questions: Questions, scorer: Scorer, rows: np.ndarray) -> Verdicts:
        network, weights = scorer.network, scorer.place(chunk.weights)
        if network.fingerprint not in self._widths:
            models = self._plan.counts[network]
            self._widths[network.fingerprint] = choose_width(scorer, weights, self._bank, questions.block, models)
        share = self._plan.rows(network) // scorer.mesh.size  # on fewer devices when a journal's width was measured
        scorer = Scorer(network, scorer.mesh, min(self._widths[network.fingerprint], share))
        return judge(scorer, weights, self._bank, questions, rows)

    def _change(self, network: Network, *, null: bool) -> None:
        scorer = Scorer(network, mesh_for(self._plan.rows(network)))
        self._places, self._questions = self._plan.questions(network, null=null)
        self._bank = scorer.replicate(self._questions.images)
        fixed = -np.inf if self._plan.calibrated and not null else np.inf  # their rank is not known yet
        rules = [(key.spec.labels, key.commitment.rule) for key in self._questions.keys]
        self._bars = np.array([rule.match_bits if labels == "random" else fixed for labels, rule in rules])
        self._scorer, self._at = scorer, (network, null)


def _record(
    network: Network,
    width: int | None,
    places: list[int],
    rows: np.ndarray,
    verdicts: Verdicts | None,
    failures: dict[int, str],
    digests: dict[int, str],
) -> journal.Record:
    """What a chunk's line of the journal holds: for each model judged a row of figures, a column for each key."""
    record: journal.Record = {
        "family": network.fingerprint,
        "width": width,
        "again": False,
        "keys": places,
        "failures": {str(row): why for row, why in failures.items()},
        "digests": {str(row): sha256 for row, sha256 in digests.items() if row not in failures},
    }
    if verdicts is None:
        return record | {"rows": rows.tolist(), "outcomes": [], "bits": [], "queries": [], "matches": [], "curves": []}
    kept = [model for model in range(len(rows)) if int(rows[model]) not in failures]
    place = {model: at for at, model in enumerate(kept)}
    notable = (verdicts.outcomes == MATCH) | (verdicts.bits >= NOTABLE_BITS)
    curves = [
        [place[model], key, [round(bits, 3) for bits in path]]
        for (model, key), path in verdicts.paths.items()
        if model in place and notable[model, key]
    ]
    return record | {
        "rows": [int(rows[model]) for model in kept],
        "outcomes": verdicts.outcomes[kept].tolist(),
        "bits": verdicts.bits[kept].tolist(),  # not rounded: they are judged again, over all pairs
        "queries": verdicts.queries[kept].tolist(),
        "matches": verdicts.matches[kept].tolist(),
        "curves": curves,
    }


def merge(folders: Sequence[str | os.PathLike[str]]) -> Result:
    """The verdicts of an audit whose shards are all done; the bound holds over the whole zoo.

    Args:
      folders: that hold their journals.

    Raises:
      UsageError: they are not of one audit, or parts are missing.
      InvalidFile: a journal is damaged.
    """
    books = list(_journals([Path(folder) for folder in folders]))
    if not books:
        raise UsageError(f"{folders[0]}: no journal is begun: finish all shards with --resume first")
    first = books[0][1].header
    records: dict[int, journal.Record] = {}
    for path, book in books:
        if journal.difference(book.header, first):
            raise UsageError(f"{path} is not of the audit that {books[0][0]} is of: merge the shards of one audit")
        records |= {record["chunk"]: record for record in book.records}
    missing = len(first["chunks"]) - len(records)
    if missing:
        raise UsageError(
            f"{missing} of {len(first['chunks'])} parts are not done: finish all shards with --resume first"
        )
    return conclude.conclude(first, [records[i] for i in sorted(records)])


def _journals(folders: Sequence[Path]) -> Iterator[tuple[Path, journal.Journal]]:
    for folder in folders:
        paths = sorted(folder.glob(_JOURNALS))
        if not paths:
            raise UsageError(f"{folder} holds no journal of an audit")
        for path in paths:
            if book := journal.read(path, JOURNAL):
                yield path, book
