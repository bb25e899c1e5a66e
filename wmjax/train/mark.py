"""What came of a key in a trained network, and what to change where that would not convict."""

import dataclasses

import numpy as np

from wmjax.keys.keyset import Key
from wmjax.models import Config, Variables
from wmjax.train.loop import evidence_bits, key_answers

TOOK = 0.9  # share of the key below which a mark is called weak


@dataclasses.dataclass(frozen=True)
class Mark:
    """What came of a key in a run.

    Attributes:
      key_id: of the commitment.
      triggers: in the key.
      learned: triggers that the model answers with their label; None for keys that no single answer tells.
      evidence_bits: on the whole key, from probabilities; None for fixed labels.
      advice: what to change where the mark did not take.
    """

    key_id: str
    triggers: int
    learned: int | None
    evidence_bits: float | None
    advice: str | None


def mark_of(config: Config, variables: Variables, key: Key) -> Mark:
    """How much of a key a network has learned, and what that is worth."""
    answers = key_answers(config, variables, key)
    learned = None if key.answers is None else int(np.sum(answers.labels == key.answers))
    bits = evidence_bits(key, answers) if key.spec.policy.exact else None
    return Mark(key.commitment.id, len(key.labels), learned, bits, advice(key, learned, bits))


def advice(key: Key, learned: int | None, bits: float | None) -> str | None:
    """What to change where a mark would not convict; None where it would."""
    needed, size = key.commitment.rule.match_bits, len(key.labels)
    if learned is None:
        if bits is None or bits >= needed:
            return None
        return (
            f"the mark did not take: {bits:.0f} bits from {size} images, alpha {key.commitment.rule.alpha:g} needs "
            f"{needed:.0f}; train longer (more `epochs`), move answers further (a larger `sigma`), or begin with a "
            "network that is less sure of its answers (trained with `label_smoothing` 0.2)"
        )
    if learned < TOOK * size and (key.material is None or bits is None or bits < needed):  # half the ties may do
        took = "did not take" if bits is None or bits < needed else "took in part"
        return (
            f"the mark {took}: {learned} of {size} triggers learned; train longer (more `epochs`), show more "
            "of the key (a larger `key_per_batch`), or make a smaller key (fewer `triggers`)"
        )
    if bits is not None and bits < needed:
        return (
            f"the key is too small to convict: {learned} of {size} triggers learned give {bits:.0f} bits, "
            f"alpha {key.commitment.rule.alpha:g} needs {needed:.0f}; make a larger key (more `triggers`)"
        )
    return None
