"""Evidence of kind `ranked/1`: none, for keys whose labels are not a fair draw: matches are ranked among the null's.

What can be told exactly is an acquittal: even if each label had the name that its triggers were most often answered
with, a copy would repeat more of them. The key may have one label for all, and a copy may have dropped this very class:
so nobody is cleared who was not seen to tell nearly all classes apart, `NEARLY_ALL` tenths of them (`told`). Nor is
anybody by words: a copy may have as many for that one class as a stranger has for all.
"""

from typing import NamedTuple

import numpy as np

from wmjax.stats import naming, renaming, told
from wmjax.stats.answers import NAMES, Answers
from wmjax.stats.contract import Evidence, Path
from wmjax.stats.labels import perfect, redraw_p
from wmjax.stats.rule import Rule

NEARLY_ALL = 9


class Counts(NamedTuple):
    """The state; arrays that begin with the leading axes.

    Attributes:
      answered: int64 [..., t], -1 for refusals.
      truth: int64 [..., t], the labels.
      best: int64 [..., t], after each answer, how often its label got its most frequent answer.
      seen: as `told` keeps it.
      hits: int64 [...], the sum of that over the labels, and refusals.
      matches: int64 [...], labels repeated so far.
    """

    answered: np.ndarray
    truth: np.ndarray
    best: np.ndarray
    seen: told.Told
    hits: np.ndarray
    matches: np.ndarray


def start(shape: tuple[int, ...] = ()) -> Counts:
    """Nothing asked yet, of suspects in an array of this shape."""
    none, zero = np.zeros((*shape, 0), np.int64), np.zeros(shape, np.int64)
    return Counts(none, none, none, told.nothing(shape), zero, zero)


def bet(state: Counts, answers: Answers, truth: np.ndarray, rule: Rule, *, outputs: int = 0) -> tuple[Counts, Path]:
    """Counts n more answers; arguments as of `labels.bet`.

    The acquittal is the likelihood ratio of a hit by chance (1/C) over one at `rule.rate`, under the naming of the
    labels that has most hits: it is larger under any other. A refusal is a hit, and so is one of `renaming.aliases`.
    """
    shape = np.broadcast_shapes(answers.labels.shape, truth.shape)
    fresh, before = np.broadcast_to(answers.labels, shape), state.answered.shape[-1]
    answered = np.concatenate([state.answered, fresh], axis=-1)
    labels = np.concatenate([state.truth, np.broadcast_to(truth, shape)], axis=-1)
    hit = (answered < 0) | renaming.aliases(told.first_times(answered[..., :0], answered), answers.classes)
    best, gains = naming.most(labels, answered * answers.classes + labels, state.best, ~hit)
    hits = state.hits[..., None] + np.cumsum(np.where(hit[..., before:], 1, gains), axis=-1)
    misses = np.arange(before + 1, answered.shape[-1] + 1) - hits
    seen, tenths = told.tell(state.seen, state.answered, answers, shape)
    tenths = told.of_any(tenths, outputs)
    chance = 1.0 / answers.classes
    cleared = hits * np.log2(chance / rule.rate) + misses * np.log2((1.0 - chance) / (1.0 - rule.rate))
    in_words = np.maximum.accumulate(answered, axis=-1)[..., before:] >= NAMES
    cleared = told.withheld(cleared, (tenths >= NEARLY_ALL) & ~in_words & (not answers.may_hide))
    matches = state.matches[..., None] + np.cumsum(fresh == truth, axis=-1)
    none = np.zeros(shape)
    after = Counts(answered, labels, best, seen, hits[..., -1], matches[..., -1])
    return after, Path(none, cleared, none, matches, np.zeros_like(matches))


EVIDENCE = Evidence("ranked/1", start, bet, perfect, redraw_p, exact=False, independent=False)
