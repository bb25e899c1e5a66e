"""From answers to a verdict: one trigger after another, until the evidence decides."""

import dataclasses
import secrets
from collections.abc import Collection, Sequence

import numpy as np

from wmjax import stats
from wmjax.data.dataset import Dataset
from wmjax.errors import InvalidFile, UsageError
from wmjax.grounds import Ground
from wmjax.keys.derive import Stream
from wmjax.keys.keyset import Key, derive_key, limit
from wmjax.suspects.contract import Suspect
from wmjax.suspects.grounds import readings
from wmjax.suspects.query import check_fits
from wmjax.verification.asking import Given, Question, Remember, ask
from wmjax.verification.calibrated import ask_ranked
from wmjax.verification.grounds import (
    answer_grounds,
    asking_grounds,
    key_grounds,
    null_grounds,
    path_grounds,
    withholds,
)
from wmjax.verification.order import NONCE_BYTES, draw_order
from wmjax.verification.verdict import Verdict


def verify(
    suspect: Suspect,
    key: Key,
    *,
    alpha: float | None = None,
    whole: bool = False,
    stop_bits: float | None = None,
    nulls: Sequence[Suspect] = (),
    decoys: int = 99,
    source: Dataset | None = None,
    cover: np.ndarray | None = None,
    nonce: bytes | None = None,
    shown: Collection[int] = (),
    remember: Remember | None = None,
    max_queries: int | None = None,
) -> Verdict:
    """Asks a suspect about a key's triggers and reaches the three-way verdict.

    Guarantee, for labels that exact evidence exists for: whatever the suspect is, if it has nothing to do with the
    secret, `match` comes with chance at most alpha. A copy that repeats at least the committed rate of the labels, or
    at least `stats.renaming.CLEARED_RATE` under any renaming of its outputs, is a `no-match` with chance at most beta:
    also if it is silent about some triggers, or answers otherwise about those that it was shown before. For other
    labels no exact test exists: the whole key is asked, and the matches are ranked among those of null models, or of
    decoy keys if the scheme can make them.

    Example:

        suspect = wmjax.from_callable(lambda images: service.predict(images))
        verdict = wmjax.verify(suspect, key)
        print(verdict.verdict, verdict.evidence_bits)

    Args:
      suspect: whom to ask.
      key: the opened key.
      alpha: in place of the committed one; the verdict says so.
      whole: ask about the whole key instead of stopping at the first decisive answer.
      stop_bits: evidence at which asking stops, where that is more than a match needs: what a key that is combined with
        others must have (`wmjax.verification.several.stop_bits`).
      nulls: models trained independently of the key, which calibrate keys without exact evidence.
      decoys: decoy keys, which calibrate them without `nulls`.
      source: the key's source images: the triggers are made from them again and compared; decoys need them too.
      cover: uint8 [covers, H, W, C] of the key's shape: ordinary images to be asked in between.
      nonce: from which and the secret the order of the questions follows; drawn anew by default. A suspect that cannot
        remember is asked in the key's own order without one.
      shown: triggers that the suspect was shown before, as `wmjax.keys.memory` remembers them: they clear nobody. Nor
        do those that a claim has opened, as the key says.
      remember: told the triggers that are about to be shown.
      max_queries: triggers to ask at most, where that is fewer than the committed rule allows.

    Raises:
      UsageError: no picture can be made an image for the suspect.
      NoAnswerError: it failed to answer, or no answer is usable; `GoneError` where it is not there any more.
      AnswerError: its answers have the wrong form.
      InvalidFile: the source does not give the triggers.
    """
    for model in (suspect, *nulls):
        check_fits(model, key.spec)
    rule = key.commitment.rule if alpha is None else dataclasses.replace(key.commitment.rule, alpha=alpha)
    if nulls and key.spec.policy.exact:
        raise UsageError(f"null models calibrate keys without exact evidence: {key.spec.labels} labels need none")
    if source is not None:
        _check_source(key, source)
    if nonce is None and suspect.remembers:
        nonce = secrets.token_bytes(NONCE_BYTES)
    cover = _checked(cover, key)
    order = draw_order(key, nonce, limit(key, max_queries), key.spent.union(shown), len(cover))
    stop_bits = max(rule.match_bits, stop_bits or 0.0)
    question = Question(suspect, key, rule, stop_bits, order, cover, remember or (lambda triggers: None), {})
    found_by = _exact(question, whole) if question.exact else _ranked(question, nulls, decoys, source)
    given, outcome, p_calibrated, grounds = found_by
    found, asked = asking_grounds(given, key.answers), suspect.grounds(key.spec.image)
    if outcome == "no-match" and any(map(withholds, (*asked, *found))):
        outcome = "inconclusive"
    grounds = (
        *key_grounds(key.commitment, rule, regenerated=source is not None),
        *asked,
        *readings([each.reading for each in suspect.asked], given.reading),
        *answer_grounds(given.answers),
        *found,
        *grounds,
    )
    return _verdict(question, given, outcome, p_calibrated, grounds, nonce)


def _checked(cover: np.ndarray | None, key: Key) -> np.ndarray:
    if cover is None:
        return np.empty((0, *key.spec.image), np.uint8)
    if cover.dtype != np.uint8 or cover.shape[1:] != key.spec.image:
        raise UsageError(f"`cover` has images {cover.dtype} {list(cover.shape[1:])}, not uint8 {list(key.spec.image)}")
    return cover


def _check_source(key: Key, source: Dataset) -> None:
    """Makes the triggers again from the key's source images; `InvalidFile` where they are not the key's."""
    if key.spec.source is None:
        return
    again = derive_key(key.secret, key.spec, key.commitment.rule, source, key.commitment.created, key.material)
    if again.commitment != key.commitment:
        name = key.spec.source.name
        raise InvalidFile(f"the triggers are not those that the secret and {name} give: the key was tampered with")


_Found = tuple[Given, stats.Outcome, float | None, tuple[Ground, ...]]


def _exact(question: Question, whole: bool) -> _Found:
    """Verdict of a key that exact evidence exists for; the p-value among new secrets if the whole key was asked."""
    given, rule = ask(question, stop=not whole), question.rule
    outcome = stats.decide(given.path, rule, stop=not whole).outcome
    limit = len(question.order.triggers)
    p_calibrated = None
    if len(given.answers) == limit:  # of the best of several readings
        p_calibrated = min(1.0, len(question.suspect.asked) * _redrawn(question.key, given))
    return given, outcome, p_calibrated, path_grounds(given.path, outcome, rule, most=limit)


def _redrawn(key: Key, given: Given) -> float:
    """The p-value among secrets drawn anew, with a seed from the secret: the same for a judge, unknown to a thief."""
    seed = Stream(key.secret, "redraw", 0).integers(2**32, 4)
    kind = stats.kind_of(key.commitment.rule)
    return kind.redraw(given.answers, key.truth(given.triggers), np.random.default_rng(seed))


def _ranked(question: Question, nulls: Sequence[Suspect], decoys: int, source: Dataset | None) -> _Found:
    """Verdict and p-value of any other key, from the rank of its matches among the null's."""
    given, null = ask_ranked(question, nulls, decoys, source)
    p = stats.calibrated_p(int(given.path.matches[-1]), null.matches) if null else None
    outcome: stats.Outcome = "match"
    if p is None or p > question.rule.alpha:
        outcome = stats.decide(given.path, question.rule, stop=False, exact=False).outcome
    asked = null and (null.kind, len(null.matches))
    return given, outcome, p, null_grounds(asked, question.key.spec.classes, question.rule.alpha)


def _verdict(
    question: Question,
    given: Given,
    outcome: stats.Outcome,
    p_calibrated: float | None,
    grounds: tuple[Ground, ...],
    nonce: bytes | None,
) -> Verdict:
    """Puts the figures together; those that hold for a number of queries fixed before only where it was."""
    key, rule = question.key, question.rule
    n, bits, matches, kind = len(given.answers), given.path.evidence, int(given.path.matches[-1]), stats.kind_of(rule)
    coins = kind.coins(key.truth(given.triggers)) if kind.coins else None
    whole = n == len(question.order.triggers)
    binomial = question.exact and kind.independent  # matches are independent under the null
    ways = len(question.suspect.asked)  # the figures are the best one's
    return Verdict(
        verdict=outcome,
        evidence_bits=round(float(bits[-1]), 3) if question.exact else None,
        alpha=rule.alpha,
        queries=n,
        matches=matches,
        coins=coins,
        triggers=key.spec.triggers,
        match_rate=stats.clopper_pearson(matches, n) if whole and coins is None else None,
        p_binomial=min(1.0, ways * stats.binomial_p(matches, n, key.spec.classes)) if whole and binomial else None,
        p_calibrated=p_calibrated,
        grounds=grounds,
        key_id=key.commitment.id,
        suspect=question.suspect.name,
        class_names=question.suspect.class_names,
        nonce=nonce.hex() if nonce else None,
        path=bits,
    )
