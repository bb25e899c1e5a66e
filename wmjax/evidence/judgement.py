"""What a judge found: a verdict, in codes what it rests on, and the figures."""

import dataclasses
from typing import Any

import numpy as np

from wmjax import stats
from wmjax.errors import InvalidFile, MisfitError, UsageError, WmjaxError
from wmjax.grounds import Ground
from wmjax.keys import Model

SPENT, REFUSED = -2, -1


@dataclasses.dataclass(frozen=True, eq=False)
class Shown:
    """One opened trigger, for people to look at.

    Attributes:
      index: the trigger's number in the key.
      image: uint8 [H, W, C]; None if it was spent before and is not shown.
      label: the secret one; None where it is not told, or single answers tell nothing.
      answer: the suspect's class, REFUSED or SPENT.
      name: the suspect's word in place of a number; empty where it answers with numbers.
      called: as the suspect's own files call that class; empty where they do not, or the judge has not seen them.
    """

    index: int
    image: np.ndarray | None
    label: int | None
    answer: int
    name: str = ""
    called: str = ""


@dataclasses.dataclass(frozen=True)
class Digests:
    """What was judged, by SHA-256 in hex.

    Attributes:
      claim: the claim's file.
      commitment: the id of the key's commitment.
      root: the commitment's Merkle root.
      commitment_files: the files of all commitments in the claim, in its order.
      released: the models that these commitments name.
      suspect: the model that the claim names; None for a service.
      nonce: what picked the questions, hex; not a digest.
    """

    claim: str
    commitment: str
    root: str
    commitment_files: tuple[str, ...]
    released: tuple[Model, ...]
    suspect: Model | None
    nonce: str


@dataclasses.dataclass(frozen=True)
class Brought:
    """What the judge brought beside the suspect, by name: whoever has the same can judge the claim again.

    Attributes:
      nonce: hex; None if the judge drew none.
      since: when the suspect first appeared, ISO 8601; None if nobody said so.
      authorities: the files of the time-stamping authorities.
      source: the data set that the key's images start from, as the key calls it; None if there is none, or the judge
        had another or none.
      alpha: the largest chance of a false match that the judge accepts.
    """

    nonce: str | None
    since: str | None
    authorities: tuple[str, ...]
    source: str | None
    alpha: float


@dataclasses.dataclass(frozen=True, eq=False)
class Judgement:
    """A claim, judged. `wmjax.evidence.wording` says its codes in words.

    Attributes:
      verdict: `match`, `no-match` or `inconclusive` (which never means "not stolen"). `match`: nothing is missing.
      proven: what this program checked itself.
      assumed: what is taken on trust.
      missing: what a match would still need, not proven by anybody: codes are `wmjax.evidence.facts.Lack`.
      suspect: its name, by the claimant.
      key_id: id of the key's commitment.
      owner: public key of the claimant, hex.
      evidence_bits: from the answers that count; log2 of the wealth.
      needed_bits: for a match.
      alpha: chance of a match with a model that has nothing to do with the key, at most.
      asked_by: whose questions the evidence comes from: `judge` or `claimant`.
      queries: triggers that were asked.
      matches: answers equal to the secret label; of keys that are read off all answers together, coins that agree.
      triggers: in the whole key.
      path: evidence in bits after each query, float64.
      shown: the triggers in the order of asking.
      dates: what happened when, in the order of time, each with its `time` in UTC; the claimant's own clock is named
        as such.
      digests: what was judged.
      brought: what the judge brought.
      leanings: how far each coin shows, float64 [coins], above 0 where it agrees; None where there are none.
    """

    verdict: stats.Outcome
    proven: tuple[Ground, ...]
    assumed: tuple[Ground, ...]
    missing: tuple[Ground, ...]
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
    dates: tuple[Ground, ...]
    digests: Digests
    brought: Brought
    leanings: np.ndarray | None = dataclasses.field(default=None, repr=False)

    @property
    def coins(self) -> int | None:
        """How many coins matches are out of; None where it is the answers, or the coins are not told."""
        return None if self.leanings is None else len(self.leanings)

    def to_json(self) -> dict[str, Any]:
        """The judgement as JSON values: codes and figures, without pictures, path and leanings.

        The words are not here: `wmjax.evidence.wording.document` adds them.
        """
        grounds = {"proofs": self.proven, "grounds": self.assumed, "lacks": self.missing, "events": self.dates}
        left_out = {"proven", "assumed", "missing", "dates", "digests", "brought", "path", "leanings", "shown"}
        figures = [field.name for field in dataclasses.fields(self) if field.name not in left_out]
        return {
            "version": 2,
            **{name: getattr(self, name) for name in figures},
            "coins": self.coins,
            **{name: [ground.to_json() for ground in some] for name, some in grounds.items()},
            "digests": dataclasses.asdict(self.digests),
            "brought": dataclasses.asdict(self.brought),
        }


@dataclasses.dataclass(frozen=True)
class Refused:
    """A claim that was not judged.

    Attributes:
      code: `invalid` where something in it is false, `misfit` where the suspect cannot be asked about its key, `usage`
        where the judge lacks something for it, e.g. a package; else the suspect's failure.
      reason: in one line.
      exit_code: of a judge who has nothing but this claim.
      source: that the judge had for it, as its key calls it.
      unasked: whether the suspect gave no answer or could not be opened: the claim may be as good as any.
    """

    code: str
    reason: str
    exit_code: int
    source: str | None = None
    unasked: bool = False

    def error(self, name: str) -> WmjaxError:
        """It as the error of a judge who has nothing but this claim."""
        if self.code == InvalidFile.code:
            return InvalidFile(self.reason if self.reason.startswith(name) else f"{name}: {self.reason}")
        return MisfitError(self.reason) if self.code == MisfitError.code else UsageError(self.reason)

    def to_json(self) -> dict[str, Any]:
        """As JSON values."""
        return {"verdict": self.code, "reason": self.reason}


@dataclasses.dataclass(frozen=True)
class Settlement:
    """Who marked a model first, of those who claim it.

    Attributes:
      first: the number of the claim, from 0; None if that stays open.
      grounds: how that follows; in their values, too, claims are numbered from 0.
      originals: how many models the parties named as their originals.
    """

    first: int | None
    grounds: tuple[Ground, ...]
    originals: int = 0

    @property
    def verdict(self) -> stats.Outcome:
        """What the claims come to: that of whoever was first; where nobody disputes it, what the grounds say."""
        return (self._undisputed or "inconclusive") if self.first is None else "match"

    @property
    def headline(self) -> Ground:
        """How it ended."""
        if self.first is not None:
            return Ground("settled", {"claim": self.first})
        return Ground("undisputed", {"verdict": self._undisputed}) if self._undisputed else Ground("unsettled")

    @property
    def _undisputed(self) -> stats.Outcome | None:
        """What the claims come to where nobody disputes it."""
        return self.grounds[0].values.get("verdict") if self.grounds else None

    def to_json(self) -> dict[str, Any]:
        """The settlement as JSON values: codes, without words (`wording.settlement_document` adds them)."""
        return {"first": self.first, "grounds": [ground.to_json() for ground in self.grounds]}
