"""What a judge found: a verdict, in plain words what it rests on, and the figures."""

import dataclasses
from typing import Any

import numpy as np

from wmjax import stats

SPENT, REFUSED = -2, -1


@dataclasses.dataclass(frozen=True, eq=False)
class Shown:
    """One opened trigger, for people to look at.

    Attributes:
      index: of the trigger.
      image: uint8 [H, W, C]; None where it was spent before and is not shown.
      label: the secret one.
      answer: the suspect's class, REFUSED or SPENT.
    """

    index: int
    image: np.ndarray | None
    label: int
    answer: int


@dataclasses.dataclass(frozen=True, eq=False)
class Judgement:
    """A claim, judged.

    Attributes:
      verdict: `match`, `no-match` or `inconclusive` (which never means "not stolen"). `match`: nothing is missing.
      headline: the verdict in one plain sentence.
      proven: what this program checked itself, a sentence each.
      assumed: what is taken on somebody's word, a sentence each.
      missing: what a match would still need and how to supply it; not proven by anybody.
      suspect: its name, by the claimant.
      key_id: of the commitment.
      owner: public key of the claimant, hex.
      evidence_bits: from the answers that count; log2 of the wealth.
      needed_bits: for a match.
      alpha: chance of a match with a model that has nothing to do with the key, at most.
      asked_by: whose questions the evidence comes from: `judge` or `claimant`.
      queries: triggers that were asked.
      matches: answers equal to the secret label.
      triggers: in the whole key.
      path: evidence in bits after each query, float64.
      shown: the triggers in the order of asking.
      dates: what happened when: words and UTC time, in the order of time; the claimant's own clock is named as such.
      digests: SHA-256 (hex) of what was judged, by its name.
      command: what a shell is told to judge the claim again; `claim.json` and `MODEL` stand for its file and suspect.
    """

    verdict: stats.Outcome
    headline: str
    proven: tuple[str, ...]
    assumed: tuple[str, ...]
    missing: tuple[str, ...]
    suspect: str
    key_id: str
    owner: str
    evidence_bits: float
    needed_bits: float
    alpha: float
    asked_by: str
    queries: int
    matches: int
    triggers: int
    path: np.ndarray = dataclasses.field(repr=False)
    shown: tuple[Shown, ...] = dataclasses.field(repr=False)
    dates: tuple[tuple[str, str], ...]
    digests: dict[str, str]
    command: str

    def to_json(self) -> dict[str, Any]:
        """The judgement as the versioned JSON document, without pictures and path."""
        left_out = {"path", "shown"}
        fields = [field.name for field in dataclasses.fields(self) if field.name not in left_out]
        return {"version": 1, **{name: getattr(self, name) for name in fields}}


@dataclasses.dataclass(frozen=True)
class Settlement:
    """Who marked a model first, of two whose claims on it both hold.

    Attributes:
      first: 0 or 1: the number of the claim; None where that stays open.
      words: how that follows, a sentence each.
    """

    first: int | None
    words: tuple[str, ...]

    def to_json(self) -> dict[str, Any]:
        """The settlement as JSON values."""
        return dataclasses.asdict(self)
