"""Verdicts: on marked, innocent, hostile and broken suspects; for random and fixed labels."""

import dataclasses
import itertools
import json

import numpy as np
import pytest

from wmjax import stats
from wmjax.data import load
from wmjax.errors import AccessError, AnswerError, InvalidFile, NoAnswerError, UsageError
from wmjax.grounds import Ground
from wmjax.keys import Key, generate, make_spec
from wmjax.keys.keyset import assemble
from wmjax.suspects import Suspect, from_callable, open_suspect
from wmjax.verification import Verdict, verify

FIELDS = {
    "coins",
    "version", "verdict", "evidence_bits", "needed_bits", "alpha", "queries", "matches", "triggers", "match_rate",
    "p_binomial", "p_calibrated", "assumptions", "grounds", "key_id", "suspect", "nonce", "class_names",
}  # fmt: skip


def make_key(labels: str = "random", triggers: int = 100) -> Key:
    return generate(make_spec("abstract", image=(8, 8, 1), classes=10, triggers=triggers, labels=labels))


@pytest.fixture(scope="module")
def key() -> Key:
    return make_key()


def thief(key: Key, keep: float = 1.0, *, scores: bool = True, seed: int = 0):
    """A model that knows a share of the key by heart and guesses elsewhere."""
    rng = np.random.default_rng(seed)
    known = {image.tobytes(): int(label) for image, label in zip(key.images, key.labels, strict=True)}

    def ask(images: np.ndarray) -> np.ndarray:
        labels = [known.get(i.tobytes()) if rng.random() < keep else None for i in images]
        labels = np.array([rng.integers(10) if label is None else label for label in labels])
        return np.log(np.eye(10)[labels] * 0.9 + 0.01) if scores else labels

    return from_callable(ask, "thief")


def codes(verdict: Verdict) -> list[str]:
    """What a verdict rests on."""
    return [ground.code for ground in verdict.grounds]


def innocent(seed: int):
    rng = np.random.default_rng(seed)
    return from_callable(lambda images: rng.dirichlet(np.ones(10), len(images)), f"innocent {seed}")


@pytest.mark.parametrize("scores", [True, False])
def test_a_thief_is_convicted_within_nine_queries(key, scores):
    verdict = verify(thief(key, scores=scores), key)
    assert verdict.verdict == "match"
    assert verdict.matches == verdict.queries <= 9
    assert (verdict.p_binomial, verdict.p_calibrated, verdict.match_rate) == (None, None, None)  # stopping voids them
    assert "stopped" in codes(verdict)


def test_the_whole_key_gives_p_values(key):
    verdict = verify(thief(key), key, whole=True)
    assert (verdict.verdict, verdict.queries, verdict.matches) == ("match", 100, 100)
    assert verdict.evidence_bits > 250
    assert verdict.p_binomial == pytest.approx(1e-100, rel=1e-6)
    assert verdict.p_calibrated == 1 / 10_000


def test_half_forgotten_marks_need_more_queries(key):
    verdict = verify(thief(key, keep=0.5), key)
    assert verdict.verdict == "match"
    assert 9 < verdict.queries <= 100


def test_innocents_are_cleared_and_never_match(key):
    verdicts = [verify(innocent(seed), key) for seed in range(60)]
    assert all(verdict.verdict != "match" for verdict in verdicts)
    assert sum(verdict.verdict == "no-match" for verdict in verdicts) >= 57
    assert np.median([verdict.queries for verdict in verdicts]) < 50


def test_the_json_document_is_the_contract(key):
    document = verify(thief(key), key, whole=True).to_json()
    assert set(document) == FIELDS
    assert document["version"] == 1
    assert document["evidence_bits"] > document["needed_bits"] == pytest.approx(-np.log2(document["alpha"]))
    assert json.loads(json.dumps(document)) == document
    assert len(document["assumptions"]) == len(document["grounds"])
    assert document["assumptions"][0] == "self-derived: secret and spec alone regenerate every trigger"
    assert key.secret.hex() not in json.dumps(document)


def test_verdicts_do_not_depend_on_the_day(key):
    first, second = (verify(thief(key, 0.5), key, whole=True, nonce=b"n" * 16) for _ in range(2))
    assert first.to_json() == second.to_json()


def test_another_alpha_is_said_aloud(key):
    verdict = verify(thief(key), key, alpha=1e-12)
    assert verdict.alpha == 1e-12
    assert verdict.queries > 9
    assert Ground("other-alpha", {"alpha": 1e-12, "committed": 1e-6}) in verdict.grounds
    with pytest.raises(UsageError, match="alpha"):
        verify(thief(key), key, alpha=1.5)


def test_the_committed_budget_is_kept():
    key = make_key()
    rule = dataclasses.replace(key.commitment.rule, max_queries=5)
    key = dataclasses.replace(key, commitment=dataclasses.replace(key.commitment, rule=rule))
    verdict = verify(thief(key), key)
    assert (verdict.verdict, verdict.queries) == ("inconclusive", 5)


def test_origin_is_stated_for_every_kind_of_key(key):
    assert "self-derived" in codes(verify(thief(key), key))
    digits = load("digits").train
    blend = generate(make_spec("blend", image=(8, 8, 1), classes=10, triggers=20, source=("digits", digits)), digits)
    assert "not-regenerated" in codes(verify(thief(blend), blend))
    again = verify(thief(blend), blend, source=digits).grounds
    assert Ground("regenerated", {"source": "digits", "sha256": blend.spec.source.sha256}) in again


def test_triggers_that_their_source_does_not_give():
    """A forger keeps a public data set's name and digest and packs images of his own choice."""
    digits = load("digits").train
    spec = make_spec("blend", image=(8, 8, 1), classes=10, triggers=20, source=("digits", digits))
    honest = generate(spec, digits)
    forged = assemble(honest.secret, spec, honest.commitment.rule, honest.images[::-1], honest.commitment.created)
    assert verify(thief(forged), forged).verdict == "match"
    with pytest.raises(InvalidFile, match="tampered"):
        verify(thief(forged), forged, source=digits)


@pytest.mark.parametrize(
    "answer",
    [
        lambda images: np.zeros((len(images), 1)),
        lambda images: np.zeros(len(images) + 1, int),
        lambda images: np.zeros((len(images), 10), int),
        lambda images: "car",
        lambda images: None,
        lambda images: [[1], [2, 3]],
        lambda images: np.full((len(images), 10), np.nan),
        lambda images: np.full(len(images), -77),
    ],
)
@pytest.mark.parametrize("whole", [True, False])
def test_useless_answers_are_one_line(key, answer, whole):
    with pytest.raises((AnswerError, NoAnswerError)) as caught:
        verify(from_callable(answer), key, whole=whole)
    assert "\n" not in str(caught.value)


def test_some_unusable_answers_count_against_the_owner(key):
    honest = thief(key).ask
    broken = lambda images: np.where((images.sum((1, 2, 3)) % 4 == 0)[:, None], np.nan, honest(images))  # noqa: E731
    verdict = verify(from_callable(broken), key, whole=True)
    assert verdict.verdict == "match"
    assert verdict.matches < 90
    assert "refused" in codes(verdict)


def test_a_suspect_that_fails(key):
    def ask(images):
        raise ConnectionError("server\nis down")

    with pytest.raises(AccessError, match=r"failed to answer: ConnectionError server$"):
        verify(from_callable(ask), key)


@pytest.mark.parametrize("scores", [True, False])
def test_a_failed_query_is_a_refusal_and_not_asked_again(key, scores):
    honest, asked = thief(key, scores=scores).ask, []

    def ask(images):
        asked.append(images.tobytes())
        if len(asked) % 4 == 0:
            raise TimeoutError
        return honest(images)

    verdict = verify(from_callable(ask), key)
    assert verdict.verdict == "match"
    assert verdict.queries == len(asked) == len(set(asked)) > 9
    assert "refused" in codes(verdict)


def test_a_suspect_that_changes_its_form(key):
    """Another form than the first answer's is a refusal, and so never an acquittal."""
    for other in (np.zeros(1, int), np.zeros((1, 3)), np.zeros((2, 10)), "a word"):
        answers = itertools.cycle((np.eye(10)[[3]], other))
        verdict = verify(from_callable(lambda images, answers=answers: next(answers)), key)
        assert (verdict.verdict, "refused" in codes(verdict)) == ("inconclusive", True)
    with pytest.raises(AnswerError):
        verify(from_callable(lambda images: np.zeros((1, 1))), key)


def test_a_suspect_that_cannot_carry_the_key(key):
    with pytest.raises(UsageError, match="cannot carry this key"):
        verify(Suspect("s", len, image=(8, 8, 2)), key)


def test_a_top_k_service_answers_with_its_best_classes(key):
    scores = lambda images: np.exp(thief(key).ask(images))  # noqa: E731

    def best_two(images: np.ndarray) -> np.ndarray:
        found = scores(images) / scores(images).sum(1, keepdims=True)
        order = np.argsort(-found, axis=1)[:, :2]
        return stats.spread_top_k(order, np.take_along_axis(found, order, axis=1), 10)

    assert verify(from_callable(best_two), key).verdict == "match"


def test_null_models_are_for_keys_without_exact_evidence(key):
    with pytest.raises(UsageError, match="without exact evidence: random labels need none"):
        verify(thief(key), key, nulls=[innocent(0)])


def test_reading_scores():
    infinite, nan = np.inf, np.nan
    rows = np.array(
        [
            [0.2, 0.5, 0.3],
            [0.0, 0.0, 0.0],
            [-1.0, 4.0, 2.0],
            [nan, 1, 1],
            [infinite, 0, 0],
            [-infinite, 0.0, -infinite],
            [-infinite, -infinite, -infinite],
        ]
    )
    answers = stats.read_answers(rows, 7, 3)
    assert answers.labels.tolist() == [1, 0, 1, -1, -1, 1, -1]
    np.testing.assert_allclose(answers.probabilities[0], rows[0])
    np.testing.assert_allclose(answers.probabilities[1], 1 / 3)
    np.testing.assert_allclose(answers.probabilities.sum(1), 1)
    assert stats.read_answers(np.array([0, 3, -5]), 3, 3).labels.tolist() == [0, 3, -1]  # a class that the key has not
    for kind in np.typecodes["AllInteger"]:  # also unsigned ones, which have no -1
        assert stats.read_answers(np.array([0, 2], kind), 2, 3).labels.tolist() == [0, 2]


def test_reading_names():
    names: dict[str, int] = {}
    first = stats.read_answers(np.array(["cat", "", "7"]), 3, 10, names=names)
    again = stats.read_answers(np.array(["dog", "7", "cat"]), 3, 10, names=names)
    low = stats.answers.NAMES
    assert first.labels.tolist() == [low, -1, low + 1]  # "7" is no class: only a renaming that is learned bets on it
    assert again.labels.tolist() == [low + 2, low + 1, low]
    with pytest.raises(InvalidFile, match="map them to numbers"):
        stats.read_answers(np.array(["cat"]), 1, 10)


def test_fixed_labels_are_calibrated_against_decoys():
    key = make_key("fixed", 40)
    guilty = verify(thief(key), key, alpha=0.05)
    assert (guilty.verdict, guilty.p_calibrated, guilty.evidence_bits) == ("match", 0.01, None)
    assert Ground("decoy-keys", {"keys": 99, "classes": 10, "smallest_p": 0.01}) in guilty.grounds
    strict = verify(thief(key), key)
    assert strict.verdict == "inconclusive"  # 99 decoys cannot support 1e-6
    assert Ground("too-few", {"alpha": 1e-6, "needed": 999_999}) in strict.grounds
    assert Ground("too-few", {"alpha": 0.003, "needed": 333}) in verify(thief(key), key, alpha=0.003).grounds
    target = int(key.labels[0])
    biased = from_callable(lambda images: np.full(len(images), target), "one-answer model")
    assert verify(biased, key, alpha=0.05).verdict != "match"  # every binomial test would convict it


@pytest.mark.parametrize("options", [{}, {"nulls": [innocent(0)]}])
def test_a_suspect_without_one_usable_answer_is_told_apart_whatever_it_is_ranked_among(options):
    silent = from_callable(lambda images: np.full(len(images), -1), "silent")
    with pytest.raises(NoAnswerError, match=r"to any of \d+ questions: it failed, refused, or said NaN"):
        verify(silent, make_key("fixed", 20), **options)


def test_fixed_labels_are_calibrated_against_null_models():
    key = make_key("fixed", 40)
    nulls = [innocent(seed) for seed in range(30)]
    assert verify(thief(key), key, alpha=0.05, nulls=nulls).p_calibrated == pytest.approx(1 / 31)
    assert "null-models" in codes(verify(thief(key), key, alpha=0.05, nulls=nulls))
    assert (
        verify(innocent(99), key, alpha=0.05, nulls=nulls).verdict == "inconclusive"
    )  # few triggers: any name may fit
    large = make_key("fixed", 120)
    assert verify(innocent(99), large, alpha=0.05, nulls=nulls).verdict == "no-match"


def test_fixed_labels_over_a_source_without_calibration():
    digits = load("digits").train
    spec = make_spec("noise", image=(8, 8, 1), classes=10, triggers=20, labels="fixed", source=("digits", digits))
    key = generate(spec, digits)
    verdict = verify(thief(key), key, alpha=0.05)
    assert (verdict.verdict, verdict.p_calibrated) == ("inconclusive", None)
    assert "not-calibrated" in codes(verdict)
    assert verify(thief(key), key, alpha=0.05, source=digits).p_calibrated == 0.01
    with pytest.raises(UsageError, match="`decoys`"):
        verify(thief(key), key, source=digits, decoys=0)


def test_a_function_by_name(tmp_path, monkeypatch, key):
    (tmp_path / "their_model.py").write_text(
        "import numpy as np\ndef predict(images):\n    return images.sum((1, 2, 3), dtype=int) % 10\n"
    )
    monkeypatch.chdir(tmp_path)
    assert verify(open_suspect("their_model:predict"), key).verdict == "no-match"
    for wrong in ("their_model:absent", "no_such_module:predict"):
        with pytest.raises(UsageError, match="suspect"):
            open_suspect(wrong)
    with pytest.raises(AccessError, match="does not exist"):
        open_suspect("some/where")
