"""Several keys about one suspect: each verdict as it is, and one for all of them."""

import dataclasses
from collections.abc import Sequence
from typing import Any

from wmjax import stats
from wmjax.errors import UsageError
from wmjax.grounds import Ground
from wmjax.keys import Key
from wmjax.keys.keyset import check_independent
from wmjax.stats.rule import SEARCH_BITS
from wmjax.verification.grounds import VerdictGround, peak_grounds
from wmjax.verification.verdict import Verdict
from wmjax.verification.wording import told


@dataclasses.dataclass(frozen=True)
class Combined:
    """What was found out about one suspect and several keys together.

    Attributes:
      verdict: `match` where the keys' evidence together convicts; `no-match` where every key alone is one; else
        `inconclusive`.
      evidence_bits: of all keys together.
      alpha: largest chance of a match with a model that has nothing to do with any of the keys: the strictest one's.
      suspect: its name.
      verdicts: of each key alone, in their order.
      grounds: what the combination rests on, beside what each verdict does.
    """

    verdict: stats.Outcome
    evidence_bits: float
    alpha: float
    suspect: str
    verdicts: tuple[Verdict, ...]
    grounds: tuple[Ground, ...]

    @property
    def needed_bits(self) -> float:
        """Evidence that makes a match."""
        return stats.bits_for(self.alpha)

    def to_json(self) -> dict[str, Any]:
        """The versioned JSON document: as of a verdict, with those of the single keys in it."""
        return {
            "version": 1,
            **{field.name: getattr(self, field.name) for field in dataclasses.fields(self)},
            "needed_bits": self.needed_bits,
            "verdicts": [verdict.to_json() for verdict in self.verdicts],
            "assumptions": [told(ground) for ground in self.grounds],
            "grounds": [ground.to_json() for ground in self.grounds],
        }


def check_combinable(keys: Sequence[Key]) -> None:
    """Raises `UsageError` where the evidence of keys does not multiply: before anything is asked."""
    check_independent(keys)
    for key in keys:
        if not key.spec.policy.exact:
            name, labels = key.commitment.id[:12], key.spec.labels
            raise UsageError(f"`keys` {name} has {labels} labels, without exact evidence: ask about it alone")


def stop_bits(keys: Sequence[Key], alpha: float | None = None) -> float | None:
    """Evidence at which asking about each of several keys may stop; None for one key alone: its rule says so.

    One key that gets there makes the combination a match, whatever the others say.

    Args:
      keys: that are to be combined.
      alpha: in place of the committed ones.
    """
    if len(keys) < 2:
        return None
    rules = [key.commitment.rule for key in keys]
    if alpha is not None:
        rules = [dataclasses.replace(rule, alpha=alpha) for rule in rules]
    return stats.cost(len(keys)) + max(rule.match_bits for rule in rules)


def combine(keys: Sequence[Key], verdicts: Sequence[Verdict]) -> Combined:
    """One verdict from those of several keys about one suspect, asked one after another in this order.

    Guarantee: whatever the suspect is, if it has nothing to do with any of the secrets, `match` comes with chance at
    most alpha, the strictest of the verdicts'; it needs log2(1/alpha) bits, of evidence that choosing among the keys
    has cost log2(keys + 1) bits at most.

    Example:

        verdicts = [wmjax.verify(suspect, key, whole=True) for key in keys]
        print(wmjax.combine(keys, verdicts).verdict)

    Args:
      keys: two or more.
      verdicts: of each key, in the same order; none may be left out for what it says.

    Raises:
      UsageError: two keys share a secret, a key has no exact evidence, or the verdicts are not theirs.
    """
    check_combinable(keys)
    asked = [(verdict.key_id, verdict.suspect) for verdict in verdicts]
    if len(keys) < 2 or not verdicts or asked != [(key.commitment.id, verdicts[0].suspect) for key in keys]:
        raise UsageError("`verdicts` must be of the same two or more `keys`, in their order, about one suspect")
    alpha = min(verdict.alpha for verdict in verdicts)
    path, needed = stats.multiplied([verdict.path for verdict in verdicts]), stats.bits_for(alpha)
    outcome: stats.Outcome = "inconclusive"
    if path.max() >= needed:
        outcome = "match"
    elif all(verdict.verdict == "no-match" for verdict in verdicts):
        outcome = "no-match"
    grounds = (
        Ground(VerdictGround.COMBINED, {"keys": len(keys), "cost": stats.cost(len(keys))}),
        Ground(VerdictGround.NOT_SEARCHED, {"bits": SEARCH_BITS * len(keys)}),
        *peak_grounds(path, outcome, needed),
    )
    bits = round(float(path[-1]), 3)
    return Combined(outcome, bits, alpha, verdicts[0].suspect, tuple(verdicts), grounds)
