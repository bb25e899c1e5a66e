"""From answers to a verdict: one trigger after another, until the evidence decides."""

import dataclasses
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

from wmjax import stats
from wmjax.data.dataset import Dataset
from wmjax.errors import AccessError, InvalidFile, UsageError
from wmjax.grounds import Ground
from wmjax.keys.derive import SECRET_BYTES, Stream
from wmjax.keys.keyset import Key, derive_key, is_self_derived
from wmjax.progress import progress
from wmjax.suspects.contract import Suspect, check_fits, query
from wmjax.verification.grounds import VerdictGround, answer_grounds, key_grounds, null_grounds, path_grounds
from wmjax.verification.wording import told


@dataclasses.dataclass(frozen=True)
class Verdict:
    """What was found out about one suspect and one key.

    Attributes:
      verdict: `match`, `no-match` or `inconclusive` (which never means "not stolen").
      evidence_bits: log2 of the wealth won by betting on the secret labels; None if no exact evidence exists.
      alpha: largest chance of a match with a model that has nothing to do with the key.
      queries: triggers asked.
      matches: answers equal to the secret label.
      triggers: in the whole key.
      match_rate: 95 % interval (Clopper & Pearson) of the match rate; None where asking stopped early.
      p_binomial: exact chance of so many matches; None if asking stopped early or no exact evidence exists.
      p_calibrated: rank among decoys or null models; None where asking stopped early or there are none.
      grounds: what the verdict rests on.
      key_id: of the commitment.
      suspect: its name.
      path: evidence in bits after each query; not part of the JSON document.
    """

    verdict: stats.Outcome
    evidence_bits: float | None
    alpha: float
    queries: int
    matches: int
    triggers: int
    match_rate: tuple[float, float] | None
    p_binomial: float | None
    p_calibrated: float | None
    grounds: tuple[Ground, ...]
    key_id: str
    suspect: str
    path: np.ndarray = dataclasses.field(repr=False)

    def to_json(self) -> dict[str, Any]:
        """The verdict as the versioned JSON document: its grounds as codes, and in words as `assumptions`."""
        values = {field.name: getattr(self, field.name) for field in dataclasses.fields(self) if field.name != "path"}
        return {
            "version": 1,
            **values,
            "match_rate": self.match_rate and list(self.match_rate),
            "assumptions": [told(ground) for ground in self.grounds],
            "grounds": [ground.to_json() for ground in self.grounds],
        }


def verify(
    suspect: Suspect,
    key: Key,
    *,
    alpha: float | None = None,
    whole: bool = False,
    nulls: Sequence[Suspect] = (),
    decoys: int = 99,
    source: Dataset | None = None,
) -> Verdict:
    """Asks a suspect about a key's triggers and reaches the three-way verdict.

    Guarantee, for `random` labels: whatever the suspect is, if it has nothing to do with the secret, `match` comes
    with chance at most alpha. For `fixed` labels no exact test exists: the whole key is asked, and the matches are
    ranked among those of null models, or of decoy keys where the scheme can make them.

    Example:

        suspect = wmjax.from_callable(lambda images: service.predict(images))
        verdict = wmjax.verify(suspect, key)
        print(verdict.verdict, verdict.evidence_bits)

    Args:
      suspect: whom to ask.
      key: the opened key.
      alpha: in place of the committed one; the verdict says so.
      whole: ask about the whole key instead of stopping at the first decisive answer.
      nulls: models trained independently of the key, which calibrate keys without exact evidence.
      decoys: decoy keys, which calibrate them without `nulls`.
      source: the key's source images: the triggers are made from them again and compared; decoys need them too.

    Raises:
      UsageError: the suspect tells other classes apart than the key's, or no picture can be made an image for it.
      AccessError: it failed to answer.
      InvalidFile: its answers have the wrong form or none is usable, or the source does not give the triggers.
    """
    for model in (suspect, *nulls):
        check_fits(model, key.spec)
    rule = key.commitment.rule if alpha is None else dataclasses.replace(key.commitment.rule, alpha=alpha)
    question = _Question(suspect, key, rule)
    if nulls and question.exact:
        raise UsageError(f"null models calibrate keys without exact evidence: {key.spec.labels} labels need none")
    if source is not None:
        _check_source(key, source)
    given = _ask(question, stop=question.exact and not whole)
    if question.exact:
        outcome, p_calibrated = _exact(question, given, stop=not whole)
        ranked: tuple[Ground, ...] = ()
    else:
        null = _null(question, nulls, decoys, source)
        outcome, p_calibrated = _ranked(question, given, null)
        ranked = null_grounds(null and (null.kind, len(null.matches)), key.spec.classes, rule.alpha)
    grounds = (
        *key_grounds(key.commitment, rule, regenerated=source is not None),
        *suspect.grounds(key.spec.image),
        *answer_grounds(given.answers),
        *ranked,
        *(path_grounds(given.path, outcome, rule, most=question.limit) if question.exact else ()),
    )
    return _verdict(question, given, outcome, p_calibrated, grounds)


class _Question(NamedTuple):
    """Who is asked about what, and by which rule that is judged."""

    suspect: Suspect
    key: Key
    rule: stats.Rule

    @property
    def limit(self) -> int:
        """Triggers that may be asked."""
        return min(self.rule.max_queries, self.key.spec.triggers)

    @property
    def exact(self) -> bool:
        """Whether exact evidence exists for the key's labels."""
        return self.key.spec.policy.exact


class _Given(NamedTuple):
    """What was answered, and what it comes to."""

    answers: stats.Answers
    path: stats.Path


class _Null(NamedTuple):
    """What a suspect's matches are ranked among."""

    kind: VerdictGround
    matches: np.ndarray


def _check_source(key: Key, source: Dataset) -> None:
    """Makes the triggers again from the key's source images; `InvalidFile` where they are not the key's."""
    if key.spec.source is None:
        return
    again = derive_key(key.secret, key.spec, key.commitment.rule, source, key.commitment.created)
    if again.commitment != key.commitment:
        name = key.spec.source.name
        raise InvalidFile(f"the triggers are not those that the secret and {name} give: the key was tampered with")


def _exact(question: _Question, given: _Given, *, stop: bool) -> tuple[stats.Outcome, float | None]:
    """Verdict of a key that exact evidence exists for; the p-value among new secrets if the whole key was asked."""
    outcome = stats.decide(given.path, question.rule, stop=stop).outcome
    return outcome, _redrawn(question.key, given.answers) if len(given.answers) == question.limit else None


def _redrawn(key: Key, answers: stats.Answers) -> float:
    """The p-value among secrets drawn anew, with a seed from the secret: the same for a judge, unknown to a thief."""
    seed = Stream(key.secret, "redraw", 0).integers(2**32, 4)
    kind = stats.kind_of(key.commitment.rule)
    return kind.redraw(answers, key.truth(slice(len(answers))), np.random.default_rng(seed))


def _ranked(question: _Question, given: _Given, null: _Null | None) -> tuple[stats.Outcome, float | None]:
    """Verdict and p-value of any other key, from the rank of its matches among the null's."""
    p = stats.calibrated_p(int(given.path.matches[-1]), null.matches) if null else None
    if p is not None and p <= question.rule.alpha:
        return "match", p
    return stats.decide(given.path, question.rule, stop=False, exact=False).outcome, p


def _verdict(
    question: _Question,
    given: _Given,
    outcome: stats.Outcome,
    p_calibrated: float | None,
    grounds: tuple[Ground, ...],
) -> Verdict:
    """Puts the figures together; those that hold for a number of queries fixed before only where it was."""
    suspect, key, rule = question
    n, bits, matches = len(given.answers), given.path.evidence, int(given.path.matches[-1])
    whole = n == question.limit
    binomial = question.exact and stats.kind_of(rule).independent  # matches are independent under the null
    return Verdict(
        verdict=outcome,
        evidence_bits=round(float(bits[-1]), 3) if question.exact else None,
        alpha=rule.alpha,
        queries=n,
        matches=matches,
        triggers=key.spec.triggers,
        match_rate=stats.clopper_pearson(matches, n) if whole else None,
        p_binomial=stats.binomial_p(matches, n, key.spec.classes) if whole and binomial else None,
        p_calibrated=p_calibrated,
        grounds=grounds,
        key_id=key.commitment.id,
        suspect=suspect.name,
        path=bits,
    )


def _ask(question: _Question, *, stop: bool) -> _Given:
    """What the suspect answers about the triggers, and what that comes to.

    Where `stop` is set they are asked one by one, up to the first answer that decides.

    Raises:
      AccessError: it failed to answer.
      InvalidFile: no answer is usable, or their form changes.
    """
    suspect, key, rule = question
    if stop:
        given = _ask_one_by_one(question)
    else:
        answers = query(suspect, key.images[: question.limit], key.spec.classes)
        given = _Given(answers, stats.play(rule, answers, key.truth(slice(question.limit))))
    if not (given.answers.labels >= 0).any():
        refused = len(given.answers)
        raise InvalidFile(f"suspect {suspect.name} gave no usable answer: all {refused} are NaN or outside the classes")
    return given


def _ask_one_by_one(question: _Question) -> _Given:
    suspect, key, rule = question
    kind, gathered, paths = stats.kind_of(rule), list[stats.Answers](), list[stats.Path]()
    state = kind.start(())
    with progress(f"asking {suspect.name}", question.limit) as advance:
        for i in range(question.limit):
            answer = _answer(question, i, gathered[0] if gathered else None)
            gathered.append(answer)
            state, path = kind.bet(state, answer, key.truth(slice(i, i + 1)), rule)
            paths.append(path)
            advance(1, f"{path.evidence[-1]:.1f} bits")
            if stats.decide(path, rule, stop=True).decided:
                break
    return _Given(stats.concatenate(gathered), stats.join(paths))


def _answer(question: _Question, i: int, like: stats.Answers | None) -> stats.Answers:
    """What the suspect answers about trigger i: in the form of its first answer, and a failure is a refusal."""
    suspect, key, _ = question
    try:
        answer = query(suspect, key.images[i : i + 1], key.spec.classes)
    except AccessError:
        if like is None:  # it never answered at all
            raise
        return stats.refusal(like)  # one outcome a trigger: nothing is asked again
    if like is not None and (answer.probabilities is None) != (like.probabilities is None):
        raise InvalidFile("the suspect answers now with labels, now with scores: it must keep to one form")
    return answer


def _null(question: _Question, nulls: Sequence[Suspect], decoys: int, source: Dataset | None) -> _Null | None:
    """Matches of null models on the key, or of the suspect on decoy keys with secrets of their own.

    None where there are no null models, and no decoys can be made without the key's source images.
    """
    suspect, key, rule = question
    if decoys < 1:
        raise UsageError(f"`decoys` {decoys}: must be at least 1")
    if nulls:
        return _Null(VerdictGround.NULL_MODELS, np.array([_matches(model, key, question.limit) for model in nulls]))
    if source is None and not is_self_derived(key.spec):
        return None
    # Their secrets follow from the key's: a judge gets the same ones, a thief cannot prepare for them.
    drawn = [Stream(key.secret, "decoy", i).octets(SECRET_BYTES).tobytes() for i in range(decoys)]
    made = (derive_key(secret, key.spec, rule, source) for secret in drawn)
    return _Null(VerdictGround.DECOY_KEYS, np.array([_matches(suspect, decoy, question.limit) for decoy in made]))


def _matches(suspect: Suspect, key: Key, limit: int) -> int:
    """Labels of a key that a suspect repeats."""
    answers = query(suspect, key.images[:limit], key.spec.classes)
    return int(np.sum(answers.labels == key.labels[:limit]))
