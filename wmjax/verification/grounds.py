"""What a verdict on a key rests on, as codes with values."""

from enum import StrEnum

from wmjax.grounds import Ground
from wmjax.keys import Commitment
from wmjax.stats import Rule

SEARCHED_BITS = 128  # no search for a fitting secret gains as much


class VerdictGround(StrEnum):
    """What a verdict may rest on; documents hold these codes.

    Of the triggers' origin, one of: SELF_DERIVED, NOT_REGENERATED, REGENERATED (`source`, `sha256`).
    Of the key: COMMITTED (`created`), NOT_SEARCHED (`bits`), RANDOM_LABELS or FIXED_LABELS, OTHER_ALPHA (`alpha`,
    `committed`). Of the asking: LABELS_ONLY or PROBABILITIES, REFUSED (`refused`, `asked`), STOPPED, PEAKED (`bits`,
    `query`). Of calibration: NOT_CALIBRATED, NULL_MODELS (`models`, `smallest_p`), DECOY_KEYS (`keys`, `classes`,
    `smallest_p`), TOO_FEW (`alpha`, `needed`).
    """

    SELF_DERIVED = "self-derived"
    NOT_REGENERATED = "not-regenerated"
    REGENERATED = "regenerated"
    COMMITTED = "committed"
    NOT_SEARCHED = "not-searched"
    RANDOM_LABELS = "random-labels"
    FIXED_LABELS = "fixed-labels"
    OTHER_ALPHA = "other-alpha"
    LABELS_ONLY = "labels-only"
    PROBABILITIES = "probabilities"
    REFUSED = "refused"
    STOPPED = "stopped"
    PEAKED = "peaked"
    NOT_CALIBRATED = "not-calibrated"
    NULL_MODELS = "null-models"
    DECOY_KEYS = "decoy-keys"
    TOO_FEW = "too-few"


def key_grounds(commitment: Commitment, rule: Rule, *, regenerated: bool) -> tuple[Ground, ...]:
    """What any verdict on a key rests on.

    Args:
      commitment: the key's.
      rule: by which the verdict is reached.
      regenerated: the triggers were made again from their source and are the key's.
    """
    spec = commitment.spec
    grounds = [
        _origin(commitment, regenerated=regenerated),
        Ground(VerdictGround.COMMITTED, {"created": commitment.created}),
        Ground(VerdictGround.NOT_SEARCHED, {"bits": SEARCHED_BITS}),
        Ground(VerdictGround.RANDOM_LABELS if spec.policy.exact else VerdictGround.FIXED_LABELS),
    ]
    if rule.alpha != commitment.rule.alpha:
        values = {"alpha": rule.alpha, "committed": commitment.rule.alpha}
        grounds.append(Ground(VerdictGround.OTHER_ALPHA, values))
    return tuple(grounds)


def _origin(commitment: Commitment, *, regenerated: bool) -> Ground:
    source = commitment.spec.source
    if source is None:
        return Ground(VerdictGround.SELF_DERIVED)
    code = VerdictGround.REGENERATED if regenerated else VerdictGround.NOT_REGENERATED
    return Ground(code, {"source": source.name, "sha256": source.sha256})
