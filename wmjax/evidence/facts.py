"""What a judge has from elsewhere, what the checks brought to light, and what a claim may lack: records alone."""

import dataclasses
import datetime
import enum
from collections.abc import Mapping, Sequence
from functools import cached_property

from wmjax import stats
from wmjax.data.dataset import Dataset
from wmjax.evidence import transcript
from wmjax.evidence.authority import Authority
from wmjax.evidence.claim import Claim
from wmjax.evidence.release import Release
from wmjax.evidence.timestamps import Stamp
from wmjax.grounds import Ground
from wmjax.keys import Spec
from wmjax.suspects.contract import Suspect

DATED_BITS = 64.0  # with a date: before it, a search may be made against models that the suspect resembles
PLEDGED_BITS = 48.0  # where the secret follows from a time stamp: each try costs one, of an authority that is believed


class Lack(enum.StrEnum):
    """What a match may lack: the codes in `Judgement.missing`, with their values.

    Attributes:
      UNREVEALED: the secret is not revealed.
      UNDERIVED: it is, but the data set that the images start from is not at hand. Values: `source`.
      OTHER_SOURCE: the data set of that name which the judge has is another one, e.g. another version. Values:
        `source`.
      TWO_SIGNERS: this claim is undated, and another signer's commitment to the same triggers is from before the
        suspect appeared, or nobody says when that was. Values: `dated`, the other's.
      UNPICKED: the claimant may have picked the questions, or which of them the evidence's first stages weigh.
      UNASKED: the judge did not ask the suspect.
      WEAK: there is not enough evidence. Values: `bits`, `needed`; where the suspect's answers differ from the
        transcript, `why` is `changed` and `differing` says how many do.
      UNDATED: there is enough for a key from before the suspect, which this one is not shown to be. Values: `bits`,
        `needed` without a date; `why` is `unstamped`, `unbelieved` (with `authority`, as the stamp calls it), `unknown`
        (when the suspect appeared; with `dated`) or `late` (with `dated` and `since`).
      FORGETFUL: the suspect repeats fewer labels of what it was shown than of what it was not (`why` is `fresh`), or
        than it did to the claimant (`transcript`), or shows fewer coins than it did then (`coins`), so this is not
        a `no-match` either. Values: `known` of `asked` there, `shown_known` of `shown`, `p` by Fisher's exact test.
    """

    UNREVEALED = "unrevealed"
    UNDERIVED = "underived"
    OTHER_SOURCE = "other-source"
    TWO_SIGNERS = "two-signers"
    UNPICKED = "unpicked"
    UNASKED = "unasked"
    WEAK = "weak"
    UNDATED = "undated"
    FORGETFUL = "forgetful"


@dataclasses.dataclass(frozen=True)
class Court:
    """What a judge has from elsewhere than the claimant. All of it may be left out; the judgement says what that costs.

    >>> Court(alpha=1e-9).nonce is None
    True

    Attributes:
      nonce: 16 to 64 bytes that the judge drew for this claim, after seeing the commitment.
      suspect: the model to ask.
      sources: data sets that keys start from, from a place that the claimants could not write to.
      authorities: those whose time stamps the judge trusts (`wmjax.evidence.authority.read_authority`).
      since: when the suspect first appeared, with an offset from UTC.
      alpha: the largest chance of a false match that the judge accepts, between 0 and 1; the claimant may have
        committed to a smaller one.
      others: other claims that the judge knows of; triggers that they opened count no more.
      releases: folders that the judge has, with a `model.sig` that holds (`wmjax.read_release`).
      spoilt: of folders with one that does not hold: why, by their names.
    """

    nonce: bytes | None = None
    suspect: Suspect | None = None
    sources: Sequence[Dataset] = ()
    authorities: Sequence[Authority] = ()
    since: datetime.datetime | None = None
    alpha: float = 1e-6
    others: Sequence[Claim] = ()
    releases: Sequence[Release] = ()
    spoilt: Mapping[str, str] = dataclasses.field(default_factory=dict)

    def source_of(self, spec: Spec) -> Dataset | None:
        """The one that a spec names; None if it is not among them, or it names none."""
        return self._by_digest.get(spec.source.sha256) if spec.source else None

    def named(self, spec: Spec) -> str | None:
        """The source's name, as a spec calls it, where the judge has it."""
        return spec.source.name if spec.source and self.source_of(spec) else None

    @cached_property
    def _by_digest(self) -> dict[str, Dataset]:
        return {source.fingerprint(): source for source in self.sources}


@dataclasses.dataclass(frozen=True, eq=False)
class Facts:
    """What the checks brought to light.

    Attributes:
      claim: the one that is judged.
      court: what its judge has.
      stamps: the time stamps of all its commitments, each with the commitment's number.
      regenerated: whether the revealed secret gave every opened trigger again; None if it is not revealed, or the
        source is not at hand.
      own: the suspect's answers to the judge; None if the judge did not ask.
      differing: how many of those answers are not the transcript's.
      same_weights: whether the judge's suspect has the weights that the claim names; None if that is not known.
      others: when other signers' commitments to the same triggers are dated; None for each undated one.
      fresh: labels repeated, of how many triggers that nobody had opened and the judge asked beside the others.
      names: that the suspect has for its classes, with the numbers that stand for them in answers.
      pledge: the time stamp that the revealed secret follows from; None where it follows from none.
      released: the claimant's release whose weights the suspect has, of those that the judge has.
      copied: whether the suspect has all other files of it too.
      chosen: whether the claim chose in which of several ways the suspect is asked, and the judge does not say which is
        meant: a copy may look like a stranger in it.
      mixed: whether the suspect answered the judge in several forms: what scores would show of a copy is not seen.
    """

    claim: Claim
    court: Court
    stamps: tuple[tuple[int, Stamp], ...]
    regenerated: bool | None
    own: stats.Answers | None
    differing: int
    same_weights: bool | None
    others: tuple[datetime.datetime | None, ...] = ()
    fresh: tuple[int, int] = (0, 0)
    names: Mapping[str, int] = dataclasses.field(default_factory=dict)
    pledge: Stamp | None = None
    released: Release | None = None
    copied: bool = False
    chosen: bool = False
    mixed: bool = False

    @property
    def dated(self) -> datetime.datetime | None:
        """The earliest moment by which the key was committed to, by an authority that the judge trusts."""
        return min((stamp.time for _, stamp in self.stamps if stamp.trusted), default=None)

    @property
    def is_before_suspect(self) -> bool:
        """Whether the key was committed to before the suspect appeared."""
        return self.dated is not None and self.court.since is not None and self.dated < self.court.since

    @property
    def pledged(self) -> bool:
        """Whether each secret that the claimant could try cost a time stamp by an authority that the judge trusts."""
        return self.pledge is not None and self.pledge.trusted

    @property
    def asked(self) -> tuple[Ground, ...]:
        """How the suspect was asked for the answers that count, by the judge or by the claimant's word."""
        if self.own is not None and self.court.suspect is not None:
            return self.court.suspect.grounds(self.claim.commitment.spec.image)
        return self.claim.asked

    @property
    def answers(self) -> stats.Answers:
        """Those that count: the judge's own, else the transcript's."""
        if self.own is not None:
            return self.own
        return transcript.answers(self.claim.rows, self.claim.commitment.spec.classes)

    @cached_property
    def path(self) -> stats.Path:
        """What the answers that count come to."""
        return self.claim.weigh(self.answers)

    @cached_property
    def told(self) -> stats.Path:
        """What the transcript's answers come to."""
        return self.claim.weigh(transcript.answers(self.claim.rows, self.claim.commitment.spec.classes))

    @property
    def whole(self) -> bool:
        """Whether all triggers are in the transcript: then nobody chose among them."""
        return len(self.claim.rows) == self.claim.commitment.spec.triggers
