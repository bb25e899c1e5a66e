"""A family made ready, and its chunks asked: what stays on the devices from chunk to chunk."""

import contextlib
import dataclasses
import functools
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

import jax
import numpy as np

from wmjax.digest import digest
from wmjax.errors import WmjaxError
from wmjax.keys import Key
from wmjax.suspects.contract import Network, Runs, Weights
from wmjax.text import first_line
from wmjax.zoo.chunk_record import TABLES, ChunkRecord, notable
from wmjax.zoo.compiling import Compiling
from wmjax.zoo.kept import KeptAnswers
from wmjax.zoo.load import Chunk
from wmjax.zoo.panel import AtHand, Loaded, Panel, Questioned, Seats
from wmjax.zoo.plan import AuditPlan
from wmjax.zoo.records import Entry
from wmjax.zoo.rounds import Questions, Verdicts, ask_all
from wmjax.zoo.route import Run, by_runtime
from wmjax.zoo.score import Scorer, mesh_for
from wmjax.zoo.turns import Begin, Turns
from wmjax.zoo.width import choose_width

_ALTERED = "its weights are not those that were packed: their digests differ"


@dataclasses.dataclass(frozen=True, eq=False)
class Stacked:
    """On this process's devices, which hold their weights.

    Attributes:
      bank: images of all questions, on the devices.
      scorer: the network on the devices; its width is not chosen yet.
      block: images in a call.
      models: of the family in the zoo.
      share: models of a chunk that lie on one device.
    """

    bank: Any
    scorer: Scorer
    block: int
    models: int
    share: int

    @functools.cached_property
    def program(self) -> Compiling:
        """Its program, compiled when that is wanted, for models whose weights are not at hand yet."""
        return Compiling(functools.partial(self.compile, None))

    def panel(self, weights: Weights, width: int | None) -> tuple[Panel, int | None]:
        """A width is measured on the first chunk's weights."""
        self.program.finish()
        return self._panel(weights, width)

    def _panel(self, weights: Weights, width: int | None) -> tuple[Panel, int | None]:
        placed = self.scorer.place(weights)
        width = width or choose_width(self.scorer, placed, self.bank, self.block, self.models)
        fitting = min(width, self.share)  # a journal's may have been measured with fewer devices, or on wider chunks
        return Loaded(dataclasses.replace(self.scorer, width=fitting), placed, self.bank), width

    def compile(self, width: int | None) -> int | None:
        """Has the program compiled, as the first chunk would; the width."""
        rows, shapes = self.share * self.scorer.mesh.size, self.scorer.network.shapes.items()
        zeros = {name: np.zeros((rows, *leaf.shape), leaf.dtype) for name, leaf in shapes}
        panel, width = self._panel(zeros, width)
        first = np.zeros(1, np.int64)
        panel.answers(Seats(first, first), np.arange(self.block, dtype=np.int32) % len(self.bank))
        return width


@dataclasses.dataclass(frozen=True, eq=False)
class Prepared:
    """What the models of a family are asked, and where.

    Attributes:
      network: the family's.
      places: for each key that applies its place among all keys.
      keys: those that apply, with their names.
      questions: what to ask.
      bars: float64 [keys that apply], evidence from which a pair may become a match, if others do.
      bench: where; None for a member at the other end of a call.
    """

    network: Network
    places: tuple[int, ...]
    keys: tuple[tuple[str, Key], ...]
    questions: Questions
    bars: np.ndarray
    bench: Stacked | None


def prepare(plan: AuditPlan, network: Network, null: bool) -> Prepared:
    """Makes a family ready.

    Args:
      plan: of the audit.
      network: the family's.
      null: its null models, which are asked about keys without exact evidence alone.
    """
    places, questions = plan.questions(network, null=null)
    ranked = -np.inf if plan.calibrated and not null else np.inf  # their rank is not known yet
    bars = [key.commitment.rule.match_bits if key.spec.policy.exact else ranked for key in questions.keys]
    named = list(plan.keys.items())
    keys = tuple(named[place] for place in places)
    bench = None if network.askable else _bench(plan, network, questions)
    return Prepared(network, tuple(places), keys, questions, np.array(bars), bench)


def _bench(plan: AuditPlan, network: Network, questions: Questions) -> Stacked:
    scorer = Scorer(network, mesh_for(plan.rows(network)))
    bank, share = scorer.replicate(questions.images), plan.rows(network) // scorer.mesh.size
    return Stacked(bank, scorer, questions.block, plan.counts[network], share)


def compile_ahead(prepared: Prepared, entries: Sequence[Entry], width: int | None) -> int | None:
    """Compiles a family's program while its first chunk is being read; the width, measured where it was None."""
    if not prepared.places or not isinstance(prepared.bench, Stacked):
        return width
    if any(isinstance(entry.source, Runs) for entry in entries):  # which may be asked by a runtime
        return width
    try:
        return prepared.bench.compile(width)
    except (jax.errors.JaxRuntimeError, MemoryError, WmjaxError):  # who asks the chunk says so
        return width


def ask_chunk(
    prepared: Prepared,
    chunk: Chunk,
    place: int,
    width: int | None,
    begin: Begin | None = None,
    *,
    compiled: bool = False,
) -> ChunkRecord:
    """Asks the models of a chunk; the record of it, but for the seconds that it took.

    Args:
      prepared: its family, made ready.
      chunk: its models and their weights.
      place: of the chunk in the plan.
      width: models that a device runs side by side; measured where it is None.
      begin: the turns of a member that can only be asked.
      compiled: never by a runtime.
    """
    family, failures = prepared.network.fingerprint, dict(chunk.failures)
    rows = np.array([row for row in range(len(chunk.entries)) if row not in failures], np.int64)
    if not prepared.places or not len(rows):
        return ChunkRecord.unasked(place, family, rows, failures)
    run = None if compiled else _run(prepared, chunk)
    try:
        panel, questions, turns, width = _seated(prepared, chunk, width, begin, run)
        with _resting(prepared.network):
            verdicts = ask_all(panel, questions, rows)
    except (jax.errors.JaxRuntimeError, MemoryError, WmjaxError) as error:
        ours = isinstance(error, WmjaxError)
        if ours and run:
            return ask_chunk(prepared, chunk, place, width, begin, compiled=True)
        # Of ours: a suspect that is asked. What it answered is in the journal, and is not asked again.
        # Of others: a hostile network may take more than there is.
        why = f"{error if ours else f'cannot be asked: {first_line(error)}'}; `resume` tries again"
        return ChunkRecord.unasked(place, family, rows[:0], failures | dict.fromkeys(rows.tolist(), why), again=True)
    mute = {int(rows[model]): why for model, why in verdicts.failures.items()}
    digests = _digests(prepared.network, chunk, rows[(verdicts.bits >= prepared.bars).any(axis=1)], but=mute)
    altered = {row: _ALTERED for row, found in digests.items() if chunk.entries[row].digest not in ("", found)}
    failures |= mute | altered
    tables = _tables(rows, verdicts, failures)
    if prepared.questions.keep:
        tables["answers"] = _kept(rows, verdicts, failures, prepared.network)
    if turns and turns.asking and not mute:
        tables |= {"asking": turns.asking, "known": tuple(verdicts.known[0].tolist())}
    return dataclasses.replace(
        ChunkRecord.unasked(place, family, rows[~np.isin(rows, list(failures))], failures),
        width=width,
        keys=prepared.places,
        run=run.why if run else None,
        digests={row: found for row, found in digests.items() if row not in failures},
        **tables,
    )


@contextlib.contextmanager
def _resting(network: Network) -> Iterator[None]:
    """A service keeps no connection of ours once it was asked: there may be hundreds more to ask."""
    try:
        yield
    finally:
        if network.askable and network.askable.suspect.wire:
            network.askable.suspect.wire.rest()


Seated = tuple[Panel, Questions, Turns | None, int | None]


def _run(prepared: Prepared, chunk: Chunk) -> Run | None:
    """Whom to ask about a chunk's models, where another program runs them sooner than one is compiled."""
    bench = prepared.bench
    if not isinstance(bench, Stacked):
        return None
    return by_runtime(prepared.network, chunk.entries, bench.models, prepared.questions, bench.program.within)


def _seated(prepared: Prepared, chunk: Chunk, width: int | None, begin: Begin | None, run: Run | None) -> Seated:
    """A chunk's models as a panel, what it is asked, the turns of a member that may remember, and the width."""
    network, questions = prepared.network, prepared.questions
    if run:
        return AtHand(run.askables, questions.images, network.classes), questions, None, None
    if prepared.bench:
        panel, width = prepared.bench.panel(chunk.weights, width)
        return panel, questions, None, width
    assert network.askable is not None
    if not network.askable.suspect.remembers:
        at_hand = dict.fromkeys(range(len(chunk.entries)), network.askable)
        return AtHand(at_hand, questions.images, network.classes), questions, None, width
    assert begin is not None
    turns = begin(network.askable, prepared.keys)
    if asking := turns.asking:
        limits = zip(questions.keys, questions.limits.tolist(), strict=True)
        orders = [asking.order(column, key, limit) for column, (key, limit) in enumerate(limits)]
        questions = dataclasses.replace(questions, orders=orders, spoken=True)
    asked = Questioned(network.askable, questions.images, questions.starts, network.classes, turns)
    return asked, questions, turns, width


def _digests(network: Network, chunk: Chunk, rows: Iterable[int], but: Mapping[int, str]) -> dict[int, str]:
    """Digests of the weights in some rows of a chunk; none of a member that shows none."""
    if network.askable:
        describe = network.askable.suspect.describe
        return {int(row): describe().tensors for row in rows if row not in but} if describe else {}
    return {
        int(row): digest({name: leaf[row] for name, leaf in chunk.weights.items()}) for row in rows if row not in but
    }


def _tables(rows: np.ndarray, verdicts: Verdicts, failures: Mapping[int, str]) -> dict[str, Any]:
    """The figures and curves of the models that did not fail, as a record holds them."""
    kept = [model for model, row in enumerate(rows) if row not in failures]
    at = {model: row for row, model in enumerate(kept)}
    looked_at = notable(verdicts.outcomes, verdicts.bits)
    curves = {
        (at[model], key): [round(bits, 3) for bits in np.concatenate(parts).tolist()]
        for (model, key), parts in verdicts.paths.items()
        if model in at and looked_at[model, key]
    }
    figures = {name: getattr(verdicts, name)[kept] for name in TABLES}
    return {**figures, "curves": curves}


def _kept(rows: np.ndarray, verdicts: Verdicts, failures: Mapping[int, str], network: Network) -> KeptAnswers:
    """All answers of the models that did not fail."""
    kept = [model for model, row in enumerate(rows) if row not in failures]
    columns = range(verdicts.bits.shape[1])
    parts = [part for model in kept for k in columns for part in verdicts.kept[model, k]]
    return KeptAnswers.of(parts, network.classes, len(network.readings))
