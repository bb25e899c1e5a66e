"""The kinds of evidence that exist. Another one is a file of its own and its line here."""

from wmjax.stats import labels, pairs, ranked, spread
from wmjax.stats.answers import Answers
from wmjax.stats.contract import Evidence, Path, Truth
from wmjax.stats.rule import Rule

EVIDENCE: dict[str, Evidence] = {
    kind.name: kind for kind in (labels.EVIDENCE, pairs.EVIDENCE, ranked.EVIDENCE, spread.EVIDENCE)
}


def kind_of(rule: Rule) -> Evidence:
    """The kind of evidence that a rule names."""
    return EVIDENCE[rule.evidence]


def play(rule: Rule, answers: Answers, truth: Truth) -> Path:
    """The path over all answers at once, from the first one on, by the kind of evidence that the rule names.

    >>> rule = Rule(alpha=1e-6, beta=1e-3, rate=0.4, max_queries=2)
    >>> import numpy as np
    >>> play(rule, Answers(np.array([3, 1]), None, 10), np.array([3, 1])).evidence.round(2).tolist()
    [2.17, 5.06]
    """
    kind = kind_of(rule)
    return kind.bet(kind.start(answers.labels.shape[:-1]), answers, truth, rule)[1]
