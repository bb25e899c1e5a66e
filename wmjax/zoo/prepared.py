"""A family made ready, and its chunks asked: what stays on the devices from chunk to chunk."""

import dataclasses
from collections.abc import Mapping
from typing import Any

import jax
import numpy as np

from wmjax.digest import digest
from wmjax.suspects.contract import Network
from wmjax.text import first_line
from wmjax.zoo.chunk_record import ChunkRecord
from wmjax.zoo.load import Chunk
from wmjax.zoo.panel import Loaded
from wmjax.zoo.plan import AuditPlan
from wmjax.zoo.result import MATCH
from wmjax.zoo.rounds import NOTABLE_BITS, Questions, Verdicts, ask_all
from wmjax.zoo.score import Scorer, mesh_for
from wmjax.zoo.width import choose_width

_ALTERED = "its weights are not those that were packed: their digests differ"


@dataclasses.dataclass(frozen=True, eq=False)
class Prepared:
    """What the models of a family are asked, and with what.

    Attributes:
      network: the family's.
      places: for each key that applies its place among all keys.
      questions: what to ask.
      bank: `questions.images` on the devices.
      bars: float64 [keys that apply], evidence from which a pair may become a match, if others do.
      scorer: the network on the devices; its width is not chosen yet.
      models: of the family in the zoo.
      share: models of a chunk that lie on one device.
    """

    network: Network
    places: tuple[int, ...]
    questions: Questions
    bank: Any
    bars: np.ndarray
    scorer: Scorer
    models: int
    share: int

    def side_by_side(self, width: int) -> Scorer:
        """The scorer at a width, or at less where a journal's was measured with fewer devices, or on wider chunks."""
        return dataclasses.replace(self.scorer, width=min(width, self.share))

    def width(self, weights: dict[str, Any]) -> int:
        """Models that a device runs side by side fastest, tried on a chunk's weights as from `Scorer.place`."""
        return choose_width(self.scorer, weights, self.bank, self.questions.block, self.models)


def prepare(plan: AuditPlan, network: Network, null: bool) -> Prepared:
    """Makes a family ready.

    Args:
      plan: of the audit.
      network: the family's.
      null: its null models, which are asked about keys with fixed labels alone.
    """
    scorer = Scorer(network, mesh_for(plan.rows(network)))
    places, questions = plan.questions(network, null=null)
    fixed = -np.inf if plan.calibrated and not null else np.inf  # their rank is not known yet
    bars = [key.commitment.rule.match_bits if key.spec.policy.exact else fixed for key in questions.keys]
    bank = scorer.replicate(questions.images)
    share = plan.rows(network) // scorer.mesh.size
    return Prepared(network, tuple(places), questions, bank, np.array(bars), scorer, plan.counts[network], share)


def ask_chunk(prepared: Prepared, chunk: Chunk, place: int, width: int | None) -> ChunkRecord:
    """Asks the models of a chunk; the record of it, but for the seconds that it took.

    Args:
      prepared: its family, made ready.
      chunk: its models and their weights.
      place: of the chunk in the plan.
      width: models that a device runs side by side; measured where it is None.
    """
    family, failures = prepared.network.fingerprint, dict(chunk.failures)
    rows = np.array([row for row in range(len(chunk.entries)) if row not in failures], np.int64)
    if not prepared.places or not len(rows):
        return ChunkRecord.unasked(place, family, rows, failures)
    try:
        weights = prepared.scorer.place(chunk.weights)
        width = width or prepared.width(weights)
        panel = Loaded(prepared.side_by_side(width), weights, prepared.bank)
        verdicts = ask_all(panel, prepared.questions, rows)
    except (jax.errors.JaxRuntimeError, MemoryError) as error:  # a hostile network may take more than there is
        why = f"cannot be asked: {first_line(error)}; `resume` tries again"
        return ChunkRecord.unasked(place, family, rows[:0], failures | dict.fromkeys(rows.tolist(), why), again=True)
    mute = {int(rows[model]): why for model, why in verdicts.failures.items()}
    digests = _digests(chunk, rows[(verdicts.bits >= prepared.bars).any(axis=1)], but=mute)
    altered = {row: _ALTERED for row, found in digests.items() if chunk.entries[row].digest not in ("", found)}
    failures |= mute | altered
    return dataclasses.replace(
        ChunkRecord.unasked(place, family, rows[~np.isin(rows, list(failures))], failures),
        width=width,
        keys=prepared.places,
        digests={row: found for row, found in digests.items() if row not in failures},
        **_tables(rows, verdicts, failures),
    )


def _digests(chunk: Chunk, rows: np.ndarray, but: Mapping[int, str]) -> dict[int, str]:
    """Digests of the weights in some rows of a chunk."""
    return {
        int(row): digest({name: leaf[row] for name, leaf in chunk.weights.items()}) for row in rows if row not in but
    }


def _tables(rows: np.ndarray, verdicts: Verdicts, failures: Mapping[int, str]) -> dict[str, Any]:
    """The figures and curves of the models that did not fail, as a record holds them."""
    kept = [model for model, row in enumerate(rows) if row not in failures]
    at = {model: row for row, model in enumerate(kept)}
    notable = (verdicts.outcomes == MATCH) | (verdicts.bits >= NOTABLE_BITS)
    curves = {
        (at[model], key): [round(bits, 3) for bits in path]
        for (model, key), path in verdicts.paths.items()
        if model in at and notable[model, key]
    }
    figures = {name: getattr(verdicts, name)[kept] for name in ("outcomes", "bits", "queries", "matches")}
    return {**figures, "curves": curves}
