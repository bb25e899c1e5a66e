"""Judging a chunk of models: 16 triggers of every key, then more, until each pair is decided.

Every pair of a model and a key goes through the sequence that `wmjax.verify` goes through, in the same order, and is
cleared at the same trigger; a match is asked on where the bound over all pairs needs more evidence than its own key.
What `verify` would have called a match is never cleared. Asking goes on in blocks of one shape, about the models that
still have an undecided key.
"""

import dataclasses
from collections.abc import Sequence
from typing import Any

import numpy as np

from wmjax import stats
from wmjax.devices import on_cpu
from wmjax.keys import Key
from wmjax.zoo.result import INCONCLUSIVE, MATCH, NO_MATCH
from wmjax.zoo.score import Scorer

FIRST = 16  # triggers in the first round; later ones on a CPU ask as many, on an accelerator as many as all before
NOTABLE_BITS = 3.0  # evidence from which a pair's curve is kept, whatever the verdict


@dataclasses.dataclass(frozen=True, eq=False)
class Questions:
    """What a family is asked.

    Attributes:
      keys: that apply to it.
      images: uint8 [B, H, W, C], all their triggers as the family takes them, key after key.
      starts: int [K], where each key's triggers begin.
      limits: int [K], triggers that may be asked of each.
      match_bits: evidence at which asking about a key stops: enough for its own alpha and for the whole audit.
    """

    keys: Sequence[Key]
    images: np.ndarray
    starts: np.ndarray
    limits: np.ndarray
    match_bits: np.ndarray

    @property
    def block(self) -> int:
        """Images in one call: what up to four keys ask in a round."""
        return FIRST * min(4, len(self.keys))


@dataclasses.dataclass(eq=False)
class Verdicts:
    """What is known so far of n models and K keys; arrays [n, K].

    `outcomes`, `bits`, `queries` and `matches` are as in `wmjax.zoo.result.AuditResult`; `totals` [strategies, n, K] is
    the log2 wealth of each strategy, `acquittal` the evidence against copying, `peaks` the most
    evidence at any query, `open` which pairs are undecided.
    """

    outcomes: np.ndarray
    bits: np.ndarray
    queries: np.ndarray
    matches: np.ndarray
    totals: np.ndarray
    acquittal: np.ndarray
    peaks: np.ndarray
    open: np.ndarray
    paths: dict[tuple[int, int], list[float]]
    failures: dict[int, str]


def begin(models: int, keys: int) -> Verdicts:
    """Nothing asked yet."""
    shape = (models, keys)
    strategies = len(stats.LABEL_HEDGES) + len(stats.TEMPERATURES) * len(stats.PROBABILITY_HEDGES)
    return Verdicts(
        np.full(shape, INCONCLUSIVE, np.int8),
        np.zeros(shape),
        np.zeros(shape, np.int32),
        np.zeros(shape, np.int32),
        np.zeros((strategies, *shape)),
        np.zeros(shape),
        np.zeros(shape),
        np.ones(shape, bool),
        {},
        {},
    )


def ask_all(scorer: Scorer, weights: Any, bank: Any, questions: Questions, rows: np.ndarray) -> Verdicts:
    """Asks the models in the given rows of a chunk until every pair is decided or out of triggers.

    Args:
      scorer: of the family.
      weights: the chunk's, as from `Scorer.place`.
      bank: `questions.images`, as from `Scorer.replicate`.
      questions: what to ask.
      rows: int [n], the models that could be read.
    """
    verdicts = begin(len(rows), len(questions.keys))
    asked = 0
    while verdicts.open.any():
        until = asked + FIRST if on_cpu() else max(FIRST, 2 * asked)  # fewer, larger calls where calls are what costs
        answers = _round(scorer, weights, bank, questions, rows, verdicts.open, (asked, until))
        for k, (models, logits) in answers.items():
            _weigh(verdicts, questions, k, models, logits, asked)
        if asked == 0:
            _drop_mute(verdicts, answers)
        asked = until
    return verdicts


def _round(
    scorer: Scorer,
    weights: Any,
    bank: Any,
    questions: Questions,
    rows: np.ndarray,
    undecided: np.ndarray,
    span: tuple[int, int],
) -> dict[int, tuple[np.ndarray, np.ndarray]]:
    """For each key the models with which it is undecided, and their scores of its triggers in `span` [n, r, C]."""
    models = np.flatnonzero(undecided.any(axis=1))
    ranges = [np.arange(span[0], min(span[1], limit)) for limit in questions.limits]
    alike = bool((undecided[models] == undecided[models[0]]).all())
    wanted = [
        np.concatenate([questions.starts[k] + ranges[k] for k in np.flatnonzero(undecided[i])])
        for i in (models[:1] if alike else models)
    ]
    if alike:
        logits = _ask_alike(scorer, weights, bank, questions.block, rows[models], wanted[0])
    else:
        logits = _ask_each(scorer, weights, bank, questions.block, rows[models], wanted)
    found: dict[int, tuple[np.ndarray, np.ndarray]] = {}
    lengths = np.where(undecided[models], [len(r) for r in ranges], 0)
    ends = np.cumsum(lengths, axis=1)
    for k in np.flatnonzero(undecided.any(axis=0)):
        has = np.flatnonzero(undecided[models, k])
        found[int(k)] = models[has], np.stack([logits[i][ends[i, k] - lengths[i, k] : ends[i, k]] for i in has])
    return found


def _ask_alike(
    scorer: Scorer, weights: Any, bank: Any, block: int, rows: np.ndarray, wanted: np.ndarray
) -> list[np.ndarray]:
    """Scores of the same images by all models, block by block."""
    parts = []
    for at in range(0, len(wanted), block):
        part = wanted[at : at + block]
        picks = np.pad(part, (0, block - len(part)), mode="edge").astype(np.int32)
        parts.append(scorer.answers(weights, rows, bank, picks)[:, : len(part)])
    return list(np.concatenate(parts, axis=1))


def _ask_each(
    scorer: Scorer, weights: Any, bank: Any, block: int, rows: np.ndarray, wanted: list[np.ndarray]
) -> list[np.ndarray]:
    """Scores of images of its own by each model; a model takes part in as many blocks as it needs."""
    parts: list[list[np.ndarray]] = [[] for _ in wanted]
    for at in range(0, max(map(len, wanted)), block):
        asked = [i for i, images in enumerate(wanted) if len(images) > at]
        slices = [wanted[i][at : at + block] for i in asked]
        picks = np.stack([np.pad(part, (0, block - len(part)), mode="edge") for part in slices]).astype(np.int32)
        for i, part, scores in zip(asked, slices, scorer.answers(weights, rows[asked], bank, picks), strict=True):
            parts[i].append(scores[: len(part)])
    return [np.concatenate(own) for own in parts]


def _weigh(
    verdicts: Verdicts, questions: Questions, k: int, models: np.ndarray, logits: np.ndarray, asked: int
) -> None:
    """Adds the answers of some models on the triggers of key k, and decides what they decide."""
    key, (n, r, _) = questions.keys[k], logits.shape
    rule = key.commitment.rule
    answers = _answers(logits)
    labels = np.tile(key.labels[asked : asked + r], n)
    won = stats.log2_payoffs(answers, labels).reshape(-1, n, r)
    totals = verdicts.totals[:, models, k, None] + np.cumsum(won, axis=-1)
    moves = stats.acquittal_moves(answers, labels, rule.rate).reshape(n, r)
    acquittal = verdicts.acquittal[models, k, None] + np.cumsum(moves, axis=-1)
    path = stats.mixed_bits(totals)
    peaks = np.maximum.accumulate(np.maximum(verdicts.peaks[models, k, None], path), axis=-1)
    matched = path >= questions.match_bits[k]
    cleared = (acquittal >= rule.clear_bits) & (path < 0.0) & (peaks < rule.match_bits)
    last = asked + r == questions.limits[k]
    if key.spec.labels == "fixed":  # its bits mean nothing: the whole key is asked, then ranked
        matched[:] = False
        cleared = (acquittal >= rule.clear_bits) & (np.arange(r) == r - 1) & last
    decided = (matched | cleared).any(axis=1)
    used = np.where(decided, np.argmax(matched | cleared, axis=1), r - 1)
    each = np.arange(n)
    verdicts.outcomes[models[matched[each, used]], k] = MATCH
    verdicts.outcomes[models[cleared[each, used] & ~matched[each, used]], k] = NO_MATCH
    verdicts.bits[models, k] = path[each, used]
    verdicts.queries[models, k] += (used + 1).astype(np.int32)
    same = np.cumsum((answers.labels == labels).reshape(n, r), axis=1)
    verdicts.matches[models, k] += same[each, used].astype(np.int32)
    verdicts.totals[:, models, k] = totals[:, each, used]
    verdicts.acquittal[models, k] = acquittal[each, used]
    verdicts.peaks[models, k] = peaks[each, used]
    verdicts.open[models, k] = ~decided & (not last)
    for i, model in enumerate(models):
        verdicts.paths.setdefault((int(model), k), []).extend(path[i, : used[i] + 1].tolist())


def _answers(logits: np.ndarray) -> stats.Answers:
    """Scores [n, r, C] of n models, one row after another."""
    n, r, classes = logits.shape
    return stats.read_answers(logits.reshape(n * r, classes), n * r, classes)


def _drop_mute(verdicts: Verdicts, answers: dict[int, tuple[np.ndarray, np.ndarray]]) -> None:
    """A model without one usable answer in its first round is broken, not innocent."""
    usable = np.zeros(len(verdicts.open), bool)
    for models, logits in answers.values():
        usable[models] |= (_answers(logits).labels >= 0).reshape(len(models), -1).any(axis=1)
    for model in np.flatnonzero(~usable):
        verdicts.failures[int(model)] = "gives no usable answer: its weights hold NaN or overflow"
        verdicts.open[model] = False
