"""From answers to a verdict: one trigger after another, until the evidence decides."""

import dataclasses
from collections.abc import Sequence
from typing import Any

import numpy as np

from wmjax import stats
from wmjax.data.dataset import Dataset
from wmjax.errors import InvalidFile, UsageError
from wmjax.keys.keyset import Key, derive_key, is_self_derived
from wmjax.progress import progress
from wmjax.verification.suspects import Suspect, query

REDRAW_SEED = 0x5EED  # of decoy labels: a verdict is the same each time it is reached


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
      match_rate: 95 % interval (Clopper & Pearson) of the match rate.
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
    match_rate: tuple[float, float]
    p_binomial: float | None
    p_calibrated: float | None
    assumptions: list[str]
    key_id: str
    suspect: str
    path: np.ndarray = dataclasses.field(repr=False)

    def to_json(self) -> dict[str, Any]:
        """The verdict as the versioned JSON document."""
        values = {field.name: getattr(self, field.name) for field in dataclasses.fields(self) if field.name != "path"}
        return {"version": 1, **values, "match_rate": list(self.match_rate)}


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
      source: the key's source images, from which decoys of schemes that need them are made.

    Raises:
      UsageError: the suspect takes other images or classes than the key.
      AccessError: it failed to answer.
      InvalidFile: its answers have the wrong form, or none is usable.
    """
    for model in (suspect, *nulls):
        _check(model, key)
    rule = key.commitment.rule if alpha is None else dataclasses.replace(key.commitment.rule, alpha=alpha)
    if not 0 < rule.alpha < 1:
        raise UsageError(f"alpha {rule.alpha}: must be between 0 and 1")
    assumptions = _assumptions(key, rule)
    fixed = key.spec.labels == "fixed"
    if nulls and not fixed:
        raise UsageError("null models calibrate keys with fixed labels; this key's random labels need none")
    limit = min(rule.max_queries, key.spec.triggers)
    answers = _ask(suspect, key, rule, limit, stop=not (whole or fixed))
    _check_usable(answers, suspect, assumptions)
    labels = key.labels[: len(answers)]
    matches = int(np.sum(answers.labels == labels))
    path = stats.evidence(answers, labels)
    acquittal = stats.acquittal(answers, labels, rule.rate)
    p_binomial = p_calibrated = None
    if fixed:
        null_matches = _null_matches(suspect, key, nulls, decoys, source, assumptions)
        p_calibrated = stats.calibrated_p(matches, null_matches) if len(null_matches) else None
        outcome = _fixed_outcome(p_calibrated, acquittal, rule)
    else:
        outcome, _ = stats.decide(path, acquittal, rule, stop=not whole)
        if len(answers) == limit:
            p_binomial = stats.binomial_p(matches, limit, key.spec.classes)
            p_calibrated = stats.redraw_p(answers, labels, np.random.default_rng(REDRAW_SEED))
        else:
            assumptions.append(
                "stopped at the first decisive answer, so fixed-sample p-values do not apply: --all gives them"
            )
    return Verdict(
        outcome,
        None if fixed else round(float(path[-1]), 3),
        rule.alpha,
        len(answers),
        matches,
        key.spec.triggers,
        stats.clopper_pearson(matches, len(answers)),
        p_binomial,
        p_calibrated,
        assumptions,
        key.commitment.id,
        suspect.name,
        path,
    )


def _check(suspect: Suspect, key: Key) -> None:
    for what, theirs, ours in (
        ("images", suspect.image, key.spec.image),
        ("classes", suspect.classes, key.spec.classes),
    ):
        if theirs is not None and theirs != ours:
            raise UsageError(f"suspect {suspect.name} has {what} {theirs}, the key {ours}: it cannot carry this key")


def _ask(suspect: Suspect, key: Key, rule: stats.Rule, limit: int, *, stop: bool) -> stats.Answers:
    """Answers about the first `limit` triggers; one by one, up to the first that decides, where `stop` is set."""
    if not stop:
        return query(suspect, key.images[:limit], key.spec.classes)
    gathered: list[stats.Answers] = []
    totals, cleared = np.zeros(1), np.zeros(1)  # log2 wealth of each strategy; bits of acquittal
    with progress(f"asking {suspect.name}", limit) as advance:
        for i in range(limit):
            answer, label = query(suspect, key.images[i : i + 1], key.spec.classes), key.labels[i : i + 1]
            if gathered and (answer.probabilities is None) != (gathered[0].probabilities is None):
                raise InvalidFile("the suspect answers now with labels, now with scores: it must keep to one form")
            gathered.append(answer)
            totals = totals + stats.won(stats.log2_payoffs(answer), label)[:, 0]
            cleared = cleared + stats.acquittal(answer, label, rule.rate)
            bits = np.atleast_1d(stats.mixed_bits(totals))
            advance(1, f"{bits[0]:.1f} bits")
            if stats.decide(bits, cleared, rule, stop=True)[0] != "inconclusive":
                break
    return _joined(gathered)


def _joined(parts: list[stats.Answers]) -> stats.Answers:
    probabilities = [part.probabilities for part in parts if part.probabilities is not None]
    labels = np.concatenate([part.labels for part in parts])
    return stats.Answers(labels, np.concatenate(probabilities) if probabilities else None, parts[0].classes)


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


def _fixed_outcome(p: float | None, acquittal: np.ndarray, rule: stats.Rule) -> stats.Outcome:
    if p is not None and p <= rule.alpha:
        return "match"
    return "no-match" if (acquittal >= rule.clear_bits).any() else "inconclusive"


def _null_matches(
    suspect: Suspect, key: Key, nulls: Sequence[Suspect], decoys: int, source: Dataset | None, assumptions: list[str]
) -> np.ndarray:
    """Matches of null models on the key, or of the suspect on decoy keys with secrets of their own."""
    classes = key.spec.classes
    if nulls:
        counts = [int(np.sum(query(null, key.images, classes).labels == key.labels)) for null in nulls]
        kind = f"{len(nulls)} null models, assumed independent of the key and trained like the suspect"
    elif is_self_derived(key.spec) or source is not None:
        rng = np.random.default_rng(REDRAW_SEED)
        drawn = (derive_key(rng.bytes(32), key.spec, key.commitment.rule, source) for _ in range(decoys))
        counts = [int(np.sum(query(suspect, decoy.images, classes).labels == decoy.labels)) for decoy in drawn]
        kind = f"{decoys} decoy keys of the same spec, asked of the suspect too"
    else:
        assumptions.append(
            "no calibration: name null models (--null) or the key's source data (--data-dir) to get a p-value"
        )
        return np.empty(0)
    assumptions.append(f"calibrated against {kind}: no p-value below {1 / (len(counts) + 1):.2g} can be supported")
    return np.array(counts)


def _assumptions(key: Key, rule: stats.Rule) -> list[str]:
    """What any verdict on this key rests on."""
    spec, commitment = key.spec, key.commitment
    origin = "self-derived: secret and spec alone regenerate every trigger"
    if source := spec.source:
        origin = (
            f"derived from {source.name}: self-derived only for a judge who has that data set (sha256 "
            f"{source.sha256[:16]}...) from elsewhere; otherwise the commitment must be dated before the suspect"
        )
    lines = [origin, f"committed {commitment.created} by the owner's own clock; no time stamp proves it"]
    if spec.labels == "random":
        lines.append("labels are uniform and independent of images and models: the bound holds for any suspect")
    else:
        lines.append("labels are one fixed class: no exact test exists, only calibration")
    if rule.alpha != commitment.rule.alpha:
        lines.append(f"alpha {rule.alpha:g} was chosen now; {commitment.rule.alpha:g} was committed")
    return lines
