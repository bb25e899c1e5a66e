"""What a verdict on a key rests on, as codes with values."""

from enum import StrEnum

import numpy as np

from wmjax import stats
from wmjax.grounds import Ground
from wmjax.keys import Commitment
from wmjax.stats.rule import SEARCH_BITS
from wmjax.suspects.adapt import naming
from wmjax.suspects.grounds import clears
from wmjax.verification.asking import Given


class VerdictGround(StrEnum):
    """What a verdict may rest on; documents hold these codes.

    Of the triggers' origin, one of: SELF_DERIVED, NOT_REGENERATED, REGENERATED (`source`, `sha256`). Of the key:
    COMMITTED (`created`), NOT_SEARCHED (`bits`), EXACT_LABELS, EXACT_COINS or CALIBRATED_LABELS (`labels`),
    OTHER_ALPHA (`alpha`, `committed`). Of the asking: LABELS_ONLY or PROBABILITIES, REFUSED (`refused`, `asked`),
    STOPPED, PEAKED (`bits`, `query`), SHOWN_BEFORE (`shown`, `asked`), FORGETFUL (`fresh_matches`, `fresh`,
    `shown_matches`, `shown`, `p`), COVERED (`covered`, `refused`), SILENT (`refused`, `asked`, `cover_refused`,
    `covered`, `p`). Of calibration: NOT_CALIBRATED, NULL_MODELS (`models`, `smallest_p`), DECOY_KEYS (`keys`,
    `classes`, `smallest_p`), TOO_FEW (`alpha`, `needed`). Of several keys: COMBINED (`keys`, `cost`).
    """

    SELF_DERIVED = "self-derived"
    NOT_REGENERATED = "not-regenerated"
    REGENERATED = "regenerated"
    COMMITTED = "committed"
    NOT_SEARCHED = "not-searched"
    EXACT_LABELS = "exact-labels"
    EXACT_COINS = "exact-coins"
    CALIBRATED_LABELS = "calibrated-labels"
    OTHER_ALPHA = "other-alpha"
    LABELS_ONLY = "labels-only"
    PROBABILITIES = "probabilities"
    REFUSED = "refused"
    STOPPED = "stopped"
    PEAKED = "peaked"
    SHOWN_BEFORE = "shown-before"
    FORGETFUL = "forgetful"
    COVERED = "covered"
    SILENT = "silent"
    NOT_CALIBRATED = "not-calibrated"
    NULL_MODELS = "null-models"
    DECOY_KEYS = "decoy-keys"
    TOO_FEW = "too-few"
    COMBINED = "combined"


def key_grounds(commitment: Commitment, rule: stats.Rule, *, regenerated: bool) -> tuple[Ground, ...]:
    """What any verdict on a key rests on.

    Args:
      commitment: the key's.
      rule: by which the verdict is reached.
      regenerated: the triggers were made again from their source and are the key's.
    """
    grounds = [
        _origin(commitment, regenerated=regenerated),
        Ground(VerdictGround.COMMITTED, {"created": commitment.created}),
        Ground(VerdictGround.NOT_SEARCHED, {"bits": SEARCH_BITS}),
        _labels(commitment),
    ]
    if rule.alpha != commitment.rule.alpha:
        values = {"alpha": rule.alpha, "committed": commitment.rule.alpha}
        grounds.append(Ground(VerdictGround.OTHER_ALPHA, values))
    return tuple(grounds)


def _labels(commitment: Commitment) -> Ground:
    if commitment.spec.material is not None:
        return Ground(VerdictGround.EXACT_COINS)
    if commitment.spec.policy.exact:
        return Ground(VerdictGround.EXACT_LABELS)
    return Ground(VerdictGround.CALIBRATED_LABELS, {"labels": commitment.spec.labels})


def _origin(commitment: Commitment, *, regenerated: bool) -> Ground:
    source = commitment.spec.source
    if source is None:
        return Ground(VerdictGround.SELF_DERIVED)
    code = VerdictGround.REGENERATED if regenerated else VerdictGround.NOT_REGENERATED
    return Ground(code, {"source": source.name, "sha256": source.sha256})


def answer_grounds(answers: stats.Answers) -> tuple[Ground, ...]:
    """What must be said of a suspect's answers, [n]."""
    form = VerdictGround.LABELS_ONLY if answers.probabilities is None else VerdictGround.PROBABILITIES
    refused = int(np.sum(answers.labels < 0))
    values = {"refused": refused, "asked": len(answers)}
    return (Ground(form), *naming(answers), *([Ground(VerdictGround.REFUSED, values)] if refused else []))


def asking_grounds(given: Given, labels: np.ndarray | None) -> tuple[Ground, ...]:
    """What must be said of a suspect that may remember, or be silent on purpose.

    Args:
      given: what was answered.
      labels: int [triggers], what a marked model answers; None where single answers tell nothing.
    """
    asked, grounds = len(given.triggers), list[Ground]()
    refused = int(np.sum(given.answers.labels < 0))
    if shown := asked - given.fresh:
        grounds.append(shown_before(shown, asked))
        same = None if labels is None else given.answers.labels == labels[given.triggers]
        fresh = 0 if same is None else int(np.sum(same[: given.fresh]))
        if same is not None and (forgets := forgetful(fresh, given.fresh, int(np.sum(same)), asked)):
            grounds.append(forgets)
    if given.covered:
        grounds.append(Ground(VerdictGround.COVERED, {"covered": given.covered, "refused": given.cover_refused}))
        p = stats.more_often_p(refused, asked, given.cover_refused, given.covered)
        if p <= stats.TELLING_P:
            values = {"refused": refused, "asked": asked, "cover_refused": given.cover_refused, "p": p}
            grounds.append(Ground(VerdictGround.SILENT, {**values, "covered": given.covered}))
    return tuple(grounds)


def shown_before(shown: int, asked: int) -> Ground:
    """Of the triggers that were asked some were shown before."""
    return Ground(VerdictGround.SHOWN_BEFORE, {"shown": shown, "asked": asked})


def forgetful(fresh_matches: int, fresh: int, matches: int, asked: int) -> Ground | None:
    """A suspect repeats labels of new triggers more often than of those that it was shown before; None if it does not.

    Args:
      fresh_matches: labels of new triggers that it repeats.
      fresh: triggers that are new, as far as they were asked.
      matches: labels that it repeats.
      asked: triggers that were asked.
    """
    old, shown = matches - fresh_matches, asked - fresh
    if shown <= 0:
        return None
    p = stats.more_often_p(fresh_matches, fresh, old, shown)
    if p > stats.TELLING_P:
        return None
    values = {"fresh_matches": fresh_matches, "fresh": fresh, "shown_matches": old, "shown": shown, "p": p}
    return Ground(VerdictGround.FORGETFUL, values)


def withholds(ground: Ground) -> bool:
    """Whether a suspect with this finding is never cleared."""
    return ground.code in (VerdictGround.FORGETFUL, VerdictGround.SILENT) or not clears(ground.code)


def null_grounds(asked: tuple[VerdictGround, int] | None, classes: int, alpha: float) -> tuple[Ground, ...]:
    """What a calibrated p-value rests on.

    Args:
      asked: NULL_MODELS or DECOY_KEYS, and how many; None where there were none.
      classes: of the key.
      alpha: that a match needs.
    """
    if asked is None:
        return (Ground(VerdictGround.NOT_CALIBRATED),)
    kind, count = asked
    smallest = 1 / (count + 1)
    if kind == VerdictGround.NULL_MODELS:
        grounds = [Ground(kind, {"models": count, "smallest_p": smallest})]
    else:
        grounds = [Ground(kind, {"keys": count, "classes": classes, "smallest_p": smallest})]
    if smallest > alpha:
        grounds.append(Ground(VerdictGround.TOO_FEW, {"alpha": alpha, "needed": stats.nulls_for(alpha)}))
    return tuple(grounds)


def path_grounds(path: stats.Path, outcome: stats.Outcome, rule: stats.Rule, *, most: int) -> tuple[Ground, ...]:
    """What must be said of how asking about a key with random labels went.

    Args:
      path: of the evidence, [n].
      outcome: the verdict.
      rule: by which it was reached.
      most: triggers that might have been asked.
    """
    stopped = (Ground(VerdictGround.STOPPED),) if len(path.evidence) < most else ()
    return (*stopped, *peak_grounds(path.evidence, outcome, rule.match_bits))


def peak_grounds(bits: np.ndarray, outcome: stats.Outcome, needed: float) -> tuple[Ground, ...]:
    """What must be said of a match whose evidence, [n], does not end where a match needs it."""
    if outcome != "match" or bits[-1] >= needed:
        return ()
    peak = int(bits.argmax())
    return (Ground(VerdictGround.PEAKED, {"bits": float(bits[peak]), "query": peak + 1}),)
