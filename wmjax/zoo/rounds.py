"""Judging a chunk of models: 16 triggers of every key, then more, until each pair is decided.

Every pair of a model and a key goes through the sequence that `wmjax.verify` goes through, in the same order, and is
cleared at the same trigger; a match is asked on where the bound over all pairs needs more evidence than its own key.
What `verify` would have called a match is never cleared. Asking goes on in blocks of one shape, about the models that
still have an undecided key.

A suspect that may remember is asked in an order of its own, as by `wmjax.verify`: what it was shown before comes last,
and clears nobody. Triggers that a claim has opened also come last, for every suspect, and clear nobody.
"""

import dataclasses
from collections.abc import Collection, Sequence

import numpy as np

from wmjax import stats
from wmjax.devices import on_cpu
from wmjax.keys import Key
from wmjax.verification.grounds import forgetful as forgets
from wmjax.verification.order import Order
from wmjax.zoo.kept import as_kept
from wmjax.zoo.panel import Panel, Seats
from wmjax.zoo.result import INCONCLUSIVE, MATCH, NO_MATCH

FIRST = 16  # triggers in the first round; later ones on a CPU ask as many, on an accelerator as many as all before;
# where the evidence moves at stages, a round is a stage


@dataclasses.dataclass(frozen=True, eq=False)
class Questions:
    """What a family is asked.

    Attributes:
      keys: that apply to it.
      images: uint8 [B, H, W, C], all their triggers as the family takes them, key after key.
      starts: int [K], where each key's triggers begin.
      limits: int [K], triggers that may be asked of each.
      match_bits: evidence at which asking about a key stops: enough for its own alpha and for the whole audit.
      readings: in which the family is asked.
      outputs: of how many these are.
      keep: whether all answers are kept.
      orders: for each key in which order it is asked; its own where there are none.
      withheld: places of keys that no model of it is cleared of.
      spoken: whether it is a suspect that can only be asked.
    """

    keys: Sequence[Key]
    images: np.ndarray
    starts: np.ndarray
    limits: np.ndarray
    match_bits: np.ndarray
    readings: int = 1
    outputs: int = 1
    keep: bool = False
    orders: Sequence[Order] = ()
    withheld: Collection[int] = ()
    spoken: bool = False

    def triggers(self, k: int, start: int, stop: int) -> np.ndarray:
        """Which triggers of a key are asked from place `start` to `stop` of its order."""
        places = np.arange(start, min(stop, self.limits[k]))
        return self.orders[k].triggers[places] if self.orders else places

    def fresh(self, k: int) -> int:
        """How many of a key's first triggers were not shown before."""
        return self.orders[k].fresh if self.orders else int(self.limits[k])

    def until(self, asked: np.ndarray) -> np.ndarray:
        """How many triggers of each key will have been asked after the next round, int [K].

        Args:
          asked: int [K], before it.
        """
        kinds = [stats.kind_of(key.commitment.rule) for key in self.keys]
        evenly = asked + FIRST if on_cpu() else np.maximum(FIRST, 2 * asked)  # fewer, larger calls where calls cost
        ends = [
            stats.next_stage(kind, at, key.spec.triggers) if kind.stages(key.spec.triggers) else end
            for kind, key, at, end in zip(kinds, self.keys, asked.tolist(), evenly.tolist(), strict=True)
        ]
        return np.minimum(ends, self.limits)

    @property
    def block(self) -> int:
        """Images in one call: what up to four keys ask in a round; for suspects without weights, what all keys ask."""
        return FIRST * (len(self.keys) if self.spoken else min(4, len(self.keys)))


@dataclasses.dataclass(eq=False)
class Verdicts:
    """What is known so far of n models and K keys; arrays [n, K].

    `outcomes`, `bits`, `queries` and `matches` are as in `wmjax.zoo.result.AuditResult`, `open` says which pairs are
    undecided, and `readings` which reading shows the most evidence. `known` are the matches from triggers that were not
    shown before. `states` holds for each key the models that it is open with, and the bets on their readings. By
    (model, key), round by round, `paths` has the evidence after each answer, and `kept` all that was answered, where
    that is kept.
    """

    outcomes: np.ndarray
    bits: np.ndarray
    queries: np.ndarray
    matches: np.ndarray
    readings: np.ndarray
    known: np.ndarray
    open: np.ndarray
    states: dict[int, tuple[np.ndarray, stats.Bets]]
    paths: dict[tuple[int, int], list[np.ndarray]]
    failures: dict[int, str]
    kept: dict[tuple[int, int], list[stats.Answers]]

    def undecided(self, readings: int) -> np.ndarray:
        """What is still to be asked: bool [n, readings, K]."""
        open_ = np.zeros((len(self.open), readings, self.open.shape[1]), bool)
        for k, (models, bets) in self.states.items():
            open_[models, :, k] = bets.open
        return open_ & self.open[:, None]


def nothing_asked(models: int, questions: Questions) -> Verdicts:
    """Nothing asked yet."""
    keys, shape, each = questions.keys, (models, len(questions.keys)), (models, questions.readings)
    return Verdicts(
        np.full(shape, INCONCLUSIVE, np.int8),
        np.zeros(shape),
        np.zeros(shape, np.int32),
        np.zeros(shape, np.int32),
        np.zeros(shape, np.int32),
        np.zeros(shape, np.int32),
        np.ones(shape, bool),
        {k: (np.arange(models), stats.begin(key.commitment.rule, each)) for k, key in enumerate(keys)},
        {},
        {},
        {},
    )


def ask_all(panel: Panel, questions: Questions, rows: np.ndarray) -> Verdicts:
    """Asks the models in the given rows of a panel until every pair is decided or out of triggers.

    Args:
      panel: whom to ask.
      questions: what to ask; its picks are rows of `questions.images`.
      rows: int [n], the models that could be read.
    """
    verdicts = nothing_asked(len(rows), questions)
    asked = np.zeros(len(questions.keys), np.int64)
    while verdicts.open.any():
        until = questions.until(asked)
        spans = list(zip(asked.tolist(), until.tolist(), strict=True))
        answers = _round(panel, questions, rows, verdicts.undecided(questions.readings), spans)
        for k, (models, given) in answers.items():
            given = as_kept(given) if questions.keep else given
            _weigh(verdicts, questions, k, models, given, int(asked[k]))
        if not asked.any():
            _drop_mute(verdicts, answers)
        asked = until
    return verdicts


def _round(
    panel: Panel, questions: Questions, rows: np.ndarray, undecided: np.ndarray, spans: Sequence[tuple[int, int]]
) -> dict[int, tuple[np.ndarray, stats.Answers]]:
    """For each key the models with which it is undecided, and their answers, [n, readings, r], in its span.

    Args:
      panel: whom to ask.
      questions: what to ask.
      rows: int [n], the models.
      undecided: bool [n, readings, K], as from `Verdicts.undecided`.
      spans: from and up to which number of its triggers each key asks.
    """
    models, readings = np.nonzero(undecided.any(axis=2))  # each reading of each model is asked by itself
    own, seats = undecided[models, readings], Seats(rows[models], readings)
    ranges = [questions.triggers(k, *span) for k, span in enumerate(spans)]
    alike = bool((own == own[0]).all())
    wanted = [
        np.concatenate([questions.starts[k] + ranges[k] for k in np.flatnonzero(those)])
        for those in (own[:1] if alike else own)
    ]
    if alike:
        answers = _ask_alike(panel, questions.block, seats, wanted[0])
    else:
        answers = _ask_each(panel, questions.block, seats, wanted)
    found: dict[int, tuple[np.ndarray, stats.Answers]] = {}
    lengths = np.where(own, [len(r) for r in ranges], 0)
    ends = np.cumsum(lengths, axis=1)
    for k in np.flatnonzero(own.any(axis=0)):
        has = np.flatnonzero(own[:, k])
        parts = stats.stack([answers[i][ends[i, k] - lengths[i, k] : ends[i, k]] for i in has])
        found[int(k)] = _laid_out(parts, models[has], readings[has], undecided.shape[1])
    return found


def _laid_out(
    parts: stats.Answers, models: np.ndarray, readings: np.ndarray, count: int
) -> tuple[np.ndarray, stats.Answers]:
    """The models that were asked, and the answers [pairs, r] of their readings as [n, readings, r].

    Those of readings that were not asked are refusals, which count for nothing (`stats.bet_each`).
    """
    asked, places = np.unique(models, return_inverse=True)
    labels, scores = np.full((len(asked), count, len(parts)), -1), None
    labels[places, readings] = parts.labels
    if parts.probabilities is not None:
        scores = np.full((*labels.shape, parts.scores), 1.0 / parts.scores)
        scores[places, readings] = parts.probabilities
    return asked, stats.Answers(labels, scores, parts.classes)


def _ask_alike(panel: Panel, block: int, seats: Seats, wanted: np.ndarray) -> list[stats.Answers]:
    """What each answers about the same images, block by block."""
    parts = []
    for at in range(0, len(wanted), block):
        part = wanted[at : at + block]
        parts.append(panel.answers(seats, _padded(part, block))[: len(part)])
    answers = stats.concatenate(parts)
    return [answers.of(i) for i in range(len(seats.rows))]


def _ask_each(panel: Panel, block: int, seats: Seats, wanted: list[np.ndarray]) -> list[stats.Answers]:
    """What each answers about images of its own; it takes part in as many blocks as it needs."""
    parts: list[list[stats.Answers]] = [[] for _ in wanted]
    for at in range(0, max(map(len, wanted)), block):
        asked = np.flatnonzero([len(images) > at for images in wanted])
        slices = [wanted[i][at : at + block] for i in asked]
        answers = panel.answers(stats.rows_of(seats, asked), np.stack([_padded(part, block) for part in slices]))
        for place, (i, part) in enumerate(zip(asked, slices, strict=True)):
            parts[i].append(answers.of(place)[: len(part)])
    return [stats.concatenate(own) for own in parts]


def _padded(picks: np.ndarray, block: int) -> np.ndarray:
    """Picks of one length, so that nothing is compiled twice: the last is repeated."""
    return np.pad(picks, (0, block - len(picks)), mode="edge").astype(np.int32)


def _weigh(
    verdicts: Verdicts, questions: Questions, k: int, models: np.ndarray, answers: stats.Answers, asked: int
) -> None:
    """Bets on what some models answer, [n, readings, r], to the triggers of key k from number `asked`, and decides."""
    key, r = questions.keys[k], len(answers)
    rule, last = key.commitment.rule, asked + r == questions.limits[k]
    answers = dataclasses.replace(answers, classes=key.spec.classes)
    before, state = verdicts.states[k]
    state = stats.rows_of(state, np.searchsorted(before, models))
    truth = key.truth(questions.triggers(k, asked, asked + r))
    fresh, exact = questions.fresh(k) - asked, key.spec.policy.exact  # else the whole key is asked, then ranked
    state, path = stats.bet_each(state, answers, truth, rule, outputs=questions.outputs, fresh=fresh, stop=exact)
    decision = stats.decide(path, rule, stop=exact, match_bits=questions.match_bits[k], exact=exact)
    decided = decision.decided & (exact or last)
    verdicts.outcomes[models[decided & decision.matched], k] = MATCH
    verdicts.outcomes[models[decided & decision.cleared], k] = INCONCLUSIVE if k in questions.withheld else NO_MATCH
    each, used = np.arange(len(models)), decision.used - 1
    if fresh > 0:
        verdicts.known[models, k] = path.matches[each, np.minimum(used, fresh - 1)]
    verdicts.bits[models, k] = path.evidence[each, used]
    verdicts.queries[models, k] += decision.used.astype(np.int32)
    verdicts.matches[models, k] = path.matches[each, used]
    verdicts.readings[models, k] = path.reading[each, used]
    remembers = questions.spoken and fresh < r and key.spec.policy.answers
    for model in models[decided & decision.cleared] if remembers else ():
        at = int(model), k
        if forgets(int(verdicts.known[at]), questions.fresh(k), int(verdicts.matches[at]), int(verdicts.queries[at])):
            verdicts.outcomes[at] = INCONCLUSIVE  # as `wmjax.verify` withholds it
    still = ~decided & (not last)
    verdicts.open[models, k] = still
    verdicts.states[k] = models[still], stats.rows_of(state, still)
    for i, model in enumerate(models):
        verdicts.paths.setdefault((int(model), k), []).append(path.evidence[i, : decision.used[i]].copy())
        if questions.keep:
            verdicts.kept.setdefault((int(model), k), []).append(answers.of(i)[: decision.used[i]])


def _drop_mute(verdicts: Verdicts, answers: dict[int, tuple[np.ndarray, stats.Answers]]) -> None:
    """A model without one usable answer in its first round is broken, not innocent."""
    usable = np.zeros(len(verdicts.open), bool)
    for models, given in answers.values():
        usable[models] |= (given.labels >= 0).any(axis=(1, 2))
    for model in np.flatnonzero(~usable):
        verdicts.failures[int(model)] = "gives no usable answer: NaN, an overflow, or nothing within the classes"
        verdicts.open[model] = False
