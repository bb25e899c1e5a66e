"""From answers to a verdict: one trigger after another, until the evidence decides."""

import dataclasses
from collections.abc import Sequence
from typing import Any

import numpy as np

from wmjax import stats
from wmjax.data.dataset import Dataset
from wmjax.errors import AccessError, InvalidFile, UsageError
from wmjax.keys.derive import SECRET_BYTES, Stream
from wmjax.keys.keyset import Key, derive_key, is_self_derived
from wmjax.progress import progress
from wmjax.suspects.contract import Suspect, check_fits, query


@dataclasses.dataclass(frozen=True)
class Verdict:
    """What was found out about one suspect and one key.

    Attributes:
      verdict: `match`, `no-match` or `inconclusive` (which never means "not stolen").
      evidence_bits: log2 of the wealth won by betting on the secret labels; None for `fixed` labels.
      alpha: largest chance of a match with a model that has nothing to do with the key.
      queries: triggers asked.
      matches: answers equal to the secret label.
      triggers: in the whole key.
      match_rate: 95 % interval (Clopper & Pearson) of the match rate; None where asking stopped early.
      p_binomial: exact chance of so many matches; None where asking stopped early or labels are `fixed`.
      p_calibrated: rank among decoys or null models; None where asking stopped early or there are none.
      assumptions: what the verdict rests on, in words.
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
    assumptions: list[str]
    key_id: str
    suspect: str
    path: np.ndarray = dataclasses.field(repr=False)

    def to_json(self) -> dict[str, Any]:
        """The verdict as the versioned JSON document."""
        values = {field.name: getattr(self, field.name) for field in dataclasses.fields(self) if field.name != "path"}
        return {"version": 1, **values, "match_rate": self.match_rate and list(self.match_rate)}


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

    Args:
      suspect: whom to ask.
      key: the opened key.
      alpha: in place of the committed one; the verdict says so.
      whole: ask about the whole key instead of stopping at the first decisive answer.
      nulls: models trained independently of the key, for `fixed` labels.
      decoys: decoy keys, for `fixed` labels without `nulls`.
      source: the key's source images: the triggers are made from them again and compared; decoys need them too.

    Raises:
      UsageError: the suspect takes other images or classes than the key.
      AccessError: it failed to answer.
      InvalidFile: its answers have the wrong form or none is usable, or the source does not give the triggers.
    """
    for model in (suspect, *nulls):
        check_fits(model, key.spec)
    fixed = not key.spec.policy.exact
    if nulls and not fixed:
        raise UsageError("null models calibrate keys with fixed labels; this key's random labels need none")
    rule = key.commitment.rule if alpha is None else dataclasses.replace(key.commitment.rule, alpha=alpha)
    grounds = assumptions(key, rule, source)
    limit = min(rule.max_queries, key.spec.triggers)
    answers, path = _ask(suspect, key, rule, limit, stop=not (whole or fixed))
    _check_usable(answers, suspect, grounds)
    if fixed:
        scores = _null_matches(suspect, key, limit, nulls, decoys, source, rule, grounds)
        outcome, p_calibrated = _ranked(path, scores, rule)
    else:
        outcome = stats.decide(path, rule, stop=not whole).outcome
        p_calibrated = _redrawn(key, answers) if len(answers) == limit else None
    if len(answers) < limit:
        grounds.append("stopped at the first decisive answer, so fixed-sample figures do not apply: --all gives them")
    return _verdict(outcome, suspect, key, rule, answers, path, grounds, p_calibrated)


def _ranked(path: stats.Path, null_matches: np.ndarray, rule: stats.Rule) -> tuple[stats.Outcome, float | None]:
    """Verdict and p-value of a key with fixed labels, from the rank of its matches among the null's."""
    p = stats.calibrated_p(int(path.matches[-1]), null_matches) if len(null_matches) else None
    if p is not None and p <= rule.alpha:
        return "match", p
    return stats.decide(path, rule, stop=False, exact=False).outcome, p


def _redrawn(key: Key, answers: stats.Answers) -> float:
    """The p-value among secrets drawn anew, with a seed from the secret: the same for a judge, unknown to a thief."""
    seed = Stream(key.secret, "redraw", 0).integers(2**32, 4)
    kind = stats.kind_of(key.commitment.rule)
    return kind.redraw(answers, key.truth(slice(len(answers))), np.random.default_rng(seed))


def _verdict(
    outcome: stats.Outcome,
    suspect: Suspect,
    key: Key,
    rule: stats.Rule,
    answers: stats.Answers,
    path: stats.Path,
    assumptions: list[str],
    p_calibrated: float | None,
) -> Verdict:
    """Puts the figures together; those that hold for a number of queries fixed before only where it was."""
    n, fixed = len(answers), not key.spec.policy.exact
    bits, matches = path.evidence, int(path.matches[-1])
    whole = n == min(rule.max_queries, key.spec.triggers)
    if outcome == "match" and not fixed and bits[-1] < rule.match_bits:
        peak = int(bits.argmax())
        assumptions.append(
            f"the evidence had reached {bits[peak]:.1f} bits at query {peak + 1}; a later fall voids nothing"
        )
    return Verdict(
        verdict=outcome,
        evidence_bits=None if fixed else round(float(bits[-1]), 3),
        alpha=rule.alpha,
        queries=n,
        matches=matches,
        triggers=key.spec.triggers,
        match_rate=stats.clopper_pearson(matches, n) if whole else None,
        p_binomial=stats.binomial_p(matches, n, key.spec.classes) if whole and _is_binomial(key) else None,
        p_calibrated=p_calibrated,
        assumptions=assumptions,
        key_id=key.commitment.id,
        suspect=suspect.name,
        path=bits,
    )


def _is_binomial(key: Key) -> bool:
    """Whether matches are independent trials under the null."""
    return key.spec.policy.exact and stats.kind_of(key.commitment.rule).independent


def _ask(suspect: Suspect, key: Key, rule: stats.Rule, limit: int, *, stop: bool) -> tuple[stats.Answers, stats.Path]:
    """Answers about the first `limit` triggers, and what they come to.

    Where `stop` is set they are asked one by one, up to the first that decides.
    """
    kind = stats.kind_of(rule)
    if not stop:
        answers = query(suspect, key.images[:limit], key.spec.classes)
        return answers, stats.play(rule, answers, key.truth(slice(limit)))
    gathered: list[stats.Answers] = []
    paths: list[stats.Path] = []
    state = kind.start(())
    with progress(f"asking {suspect.name}", limit) as advance:
        for i in range(limit):
            try:
                answer = query(suspect, key.images[i : i + 1], key.spec.classes)
            except AccessError:
                if not gathered:  # it never answered at all
                    raise
                answer = _refusal(gathered[0])  # one outcome a trigger: nothing is asked again
            if gathered and (answer.probabilities is None) != (gathered[0].probabilities is None):
                raise InvalidFile("the suspect answers now with labels, now with scores: it must keep to one form")
            gathered.append(answer)
            state, path = kind.bet(state, answer, key.truth(slice(i, i + 1)), rule)
            paths.append(path)
            advance(1, f"{path.evidence[-1]:.1f} bits")
            if stats.decide(path, rule, stop=True).decided:
                break
    return stats.concatenate(gathered), stats.join(paths)


def _refusal(like: stats.Answers) -> stats.Answers:
    """A failed query as an answer of the suspect's own form."""
    probabilities = None if like.probabilities is None else np.full((1, like.classes), 1 / like.classes)
    return stats.Answers(np.array([-1]), probabilities, like.classes)


def _check_usable(answers: stats.Answers, suspect: Suspect, assumptions: list[str]) -> None:
    refused = int(np.sum(answers.labels < 0))
    if refused == len(answers):
        raise InvalidFile(f"suspect {suspect.name} gave no usable answer: all {refused} are NaN or outside the classes")
    form = "labels alone" if answers.probabilities is None else "probabilities"
    assumptions.append(f"the suspect answered with {form}")
    if refused:
        assumptions.append(
            f"{refused} of {len(answers)} answers were unusable; they count against the owner and were not asked again"
        )


def _null_matches(
    suspect: Suspect,
    key: Key,
    limit: int,
    nulls: Sequence[Suspect],
    decoys: int,
    source: Dataset | None,
    rule: stats.Rule,
    assumptions: list[str],
) -> np.ndarray:
    """Matches of null models on the key, or of the suspect on decoy keys with secrets of their own."""
    if decoys < 1:
        raise UsageError(f"--decoys {decoys}: must be at least 1")
    if not nulls and source is None and not is_self_derived(key.spec):
        assumptions.append(
            "no calibration: name null models (--null), or have the key's source data at hand (--data-dir)"
        )
        return np.empty(0)
    if nulls:
        asked = [(null, key) for null in nulls]
        kind = f"{len(nulls)} null models, assumed independent of the key and trained like the suspect"
    else:
        # Their secrets follow from the key's: a judge gets the same ones, a thief cannot prepare for them.
        drawn = [Stream(key.secret, "decoy", i).octets(SECRET_BYTES).tobytes() for i in range(decoys)]
        asked = [(suspect, derive_key(secret, key.spec, rule, source)) for secret in drawn]
        kind = f"{decoys} decoy keys, asked of the suspect too; about one in {key.spec.classes} has the key's own label"
    answers = [(query(model, k.images[:limit], k.spec.classes), k.labels[:limit]) for model, k in asked]
    smallest = 1 / (len(asked) + 1)
    assumptions.append(f"calibrated against {kind}: no p-value below {smallest:.2g} can be supported")
    if smallest > rule.alpha:
        assumptions.append(
            f"so no match is possible at alpha {rule.alpha:g}: that needs {round(1 / rule.alpha) - 1} of them"
        )
    return np.array([int(np.sum(given.labels == labels)) for given, labels in answers])


def assumptions(key: Key, rule: stats.Rule, source: Dataset | None) -> list[str]:
    """What any verdict on this key rests on; checks the triggers against their source where that is at hand."""
    spec, commitment = key.spec, key.commitment
    lines = [
        _origin(key, source),
        f"committed {commitment.created} by the owner's own clock: time stamps are for claims and their judge",
        "the secret was not searched for against this suspect: with no date before the suspect, only evidence beyond "
        "128 bits excludes that (--all asks on)",
    ]
    if spec.policy.exact:
        lines.append("labels are uniform and independent of images and models: the bound then holds for any suspect")
    else:
        lines.append("labels are one fixed class: no exact test exists, only calibration")
    if rule.alpha != commitment.rule.alpha:
        lines.append(f"alpha {rule.alpha:g} was chosen now; {commitment.rule.alpha:g} was committed")
    return lines


def _origin(key: Key, source: Dataset | None) -> str:
    if key.spec.source is None:
        return "self-derived: secret and spec alone regenerate every trigger"
    name, sha256 = key.spec.source.name, key.spec.source.sha256[:16]
    if source is None:
        return (
            f"the triggers came with the key and were not made again from {name} (sha256 {sha256}...): until they are "
            "(--regenerate), the commitment must be dated before the suspect"
        )
    again = derive_key(key.secret, key.spec, key.commitment.rule, source, key.commitment.created)
    if again.commitment != key.commitment:
        raise InvalidFile(f"the triggers are not those that the secret and {name} give: the key was tampered with")
    return (
        f"made again here from {name} (sha256 {sha256}...): self-derived for a judge who has that data set from "
        "elsewhere; otherwise the commitment must be dated before the suspect"
    )
