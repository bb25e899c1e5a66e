"""Copies that serve a part of the classes, or favour an answer, under any names: cleared as seldom as beta says."""

import math

import numpy as np
import pytest
from doubts import without
from marked import CONFIG, make_key, marked
from scipy import special

from wmjax import stats
from wmjax.errors import AnswerError
from wmjax.keys import make_spec
from wmjax.keys.specify import default_rule
from wmjax.models.predict import logits
from wmjax.stats import Answers, Rule, neighbours, pairs, ranked, renaming, told, turned
from wmjax.suspects import from_callable
from wmjax.suspects.contract import Suspect
from wmjax.suspects.query import answered as asked
from wmjax.verification import verify

KEYS, ASKED = 2000, 80
PORTIONS = 10  # of the copies, one after another: all at once take five times the memory
BETAS = (0.05, 0.01, 1e-3)
FORMS = ("labels", "probabilities", "masked", "cut")
PARTS = [
    (2, 2),
    (3, 2),
    (3, 3),
    (10, 2),
    (10, 3),
    (10, 5),
    (10, 7),
    (10, 9),
    (10, 10),
    (100, 30),
    (100, 60),
    (100, 100),
]


def rule(classes: int, kind: str = "labels/1") -> Rule:
    found = default_rule(make_spec("abstract", image=(4, 4, 1), classes=classes, triggers=ASKED))
    return Rule(1e-6, 1e-3, found.rate, ASKED, kind)


def copies(rng: np.random.Generator, classes: int, served: int, favourites: int) -> tuple[np.ndarray, np.ndarray]:
    """Answers of copies that know 80 % of the labels of some classes, and the labels.

    The served classes have other names; whatever else is asked gets one of so many favourite answers.
    """
    truth = rng.integers(classes, size=(KEYS, ASKED))
    known = (truth < served) & (rng.random(truth.shape) < renaming.CLEARED_RATE)
    return np.where(known, (truth + 1) % served, rng.integers(favourites, size=truth.shape)), truth


def said(answered: np.ndarray, form: str, classes: int, served: int) -> Answers:
    """The answers as labels; with scores of the key's classes, in which the others are low or 0; or of fewer."""
    if form == "labels":
        return Answers(answered, None, classes)
    shown = np.eye(served)[answered] * 0.5 + 0.5 / served
    if form != "cut":
        shown = np.pad(shown, ((0, 0), (0, 0), (0, classes - served)))
    return Answers(answered, shown * 0.8 + 0.2 / classes if form == "masked" else shown, classes)


def cleared(path: stats.Path, beta: float) -> float:
    """Share of copies against which the acquittal ever reaches 1/beta."""
    return reached(path.acquittal.max(axis=-1), beta)


def reached(peaks: np.ndarray, beta: float) -> float:
    return float(np.mean(peaks >= -np.log2(beta)))


@pytest.mark.parametrize(
    ("classes", "served", "form"),
    [(*part, form) for part in PARTS for form in (("labels", "cut") if part[0] == 100 else FORMS)],
)
def test_a_copy_of_some_classes_is_cleared_at_most_as_often_as_beta(classes: int, served: int, form: str) -> None:
    rng = np.random.default_rng([classes, served])
    for favourites in {1, served}:
        answered, truth = copies(rng, classes, served, favourites)
        peaks = []
        for part, labels in zip(np.split(answered, PORTIONS), np.split(truth, PORTIONS), strict=True):
            peaks.append(stats.play(rule(classes), said(part, form, classes, served), labels).acquittal.max(axis=-1))
        for beta in BETAS:
            assert reached(np.concatenate(peaks), beta) <= beta + 4 * math.sqrt(beta / KEYS), (favourites, beta)


def of_one_label(rng: np.random.Generator, served: int) -> tuple[Answers, np.ndarray]:
    """What copies say that dropped the one class of a key without exact evidence, and its labels."""
    truth = np.full((KEYS, ASKED), 9)
    return Answers(rng.integers(served, size=truth.shape), None, 10), truth


@pytest.mark.parametrize("served", [2, 5, 8])
def test_without_exact_evidence_a_copy_without_the_one_class_is_not_cleared(served: int, monkeypatch) -> None:
    """Nor is any other without a tenth of the classes; and the rule taken out."""
    answers, truth = of_one_label(np.random.default_rng(served), served)
    assert cleared(stats.play(rule(10, "ranked/1"), answers, truth), 1e-3) == 0.0
    monkeypatch.setattr(ranked, "NEARLY_ALL", 0)
    assert (cleared(stats.play(rule(10, "ranked/1"), answers, truth), 0.05) > 0.1) == (served == 8)


def test_held_to_the_rate_of_a_whole_copy_those_of_half_of_the_classes_would_be_cleared(monkeypatch) -> None:
    """The rule taken out."""
    monkeypatch.setattr(renaming, "least", lambda against, tenths: against[-1])
    answered, truth = copies(np.random.default_rng(1), 10, 5, 5)
    path = stats.play(rule(10), Answers(answered, None, 10), truth)
    assert cleared(path, 1e-3) > 0.2


def test_if_a_new_answer_cost_nothing_copies_with_a_favourite_would_be_cleared(monkeypatch) -> None:
    """The rule taken out: wrong answers of a copy of 100 classes all go to one; it is known that it has them all."""
    monkeypatch.setattr(renaming, "least", lambda against, tenths: against[-1])
    answered, truth = copies(np.random.default_rng(2), 100, 100, 1)
    answers = Answers(answered, None, 100)
    assert cleared(stats.play(rule(100), answers, truth), 1e-3) <= 1e-3 + 4 * math.sqrt(1e-3 / KEYS)
    monkeypatch.setattr(renaming, "EVEN_CLASSES", 100)
    assert cleared(stats.play(rule(100), answers, truth), 1e-3) > 0.05


@pytest.mark.parametrize("served", [2, 3])
def test_a_copy_of_some_classes_is_not_cleared_for_what_an_output_beside_it_tells_apart(
    served: int, monkeypatch
) -> None:
    """A decoy that answers in all classes; and the rule taken out, by which both are one output's readings."""
    rng = np.random.default_rng(8)
    answered, truth = copies(rng, 10, served, served)
    part = said(answered, "masked", 10, served)
    decoy = said(rng.integers(10, size=truth.shape), "probabilities", 10, 10)
    beside = Answers(
        np.stack([part.labels, decoy.labels], axis=1), np.stack([part.probabilities, decoy.probabilities], axis=1), 10
    )
    assert cleared(stats.play_each(rule(10), beside, truth[:, None], 2), 1e-3) <= 0.01
    without(monkeypatch, neighbours)
    assert cleared(stats.play_each(rule(10), beside, truth[:, None]), 1e-3) > 0.5


def turned_round(answered: np.ndarray, rng: np.random.Generator) -> Answers:
    """Scores of which the lowest is the answer's, the others in any order."""
    scores = rng.dirichlet(np.full(10, 3.0), size=answered.shape) + 0.2
    np.put_along_axis(scores, answered[..., None], 0.05, axis=-1)
    return Answers(scores.argmax(axis=-1), scores / scores.sum(axis=-1, keepdims=True), 10)


def test_a_copy_of_whose_scores_the_lowest_is_best_is_not_cleared(monkeypatch) -> None:
    """One that knows 80 %, under any names; strangers are cleared as before; and the rule taken out."""
    rng = np.random.default_rng(6)
    answered, truth = copies(rng, 10, 10, 10)
    copy, stranger = turned_round(answered, rng), turned_round(rng.integers(10, size=truth.shape), rng)
    assert cleared(stats.play(rule(10), copy, truth), 1e-3) < 0.01  # an intact one never
    assert cleared(stats.play(rule(10), turned_round((truth + 1) % 10, rng), truth), 1e-3) == 0.0
    now = cleared(stats.play(rule(10), stranger, truth), 1e-3)
    coins, classes = rng.integers(2, size=ASKED), np.argsort(rng.random((ASKED, 10)), axis=1)[:, :2]
    sides, two_sided = pairs.Pairs(coins, classes), Rule(1e-6, 1e-3, 0.8, ASKED, "pairs/1")
    tied = turned_round(np.broadcast_to(classes[np.arange(ASKED), coins], truth.shape), rng)
    assert cleared(stats.play(two_sided, tied, sides), 1e-3) == 0.0
    monkeypatch.setattr(told, "withheld", lambda acquittal, counts: acquittal)
    without(monkeypatch, turned, neighbours)
    assert cleared(stats.play(rule(10), copy, truth), 1e-3) > 0.9
    assert now >= cleared(stats.play(rule(10), stranger, truth), 1e-3) - 0.02
    assert cleared(stats.play(two_sided, tied, sides), 1e-3) == 1.0


def test_a_copy_beside_another_networks_larger_scores_is_not_cleared(monkeypatch) -> None:
    """Two tasks in one row, of which the highest is always the other's; and the rule taken out."""
    rng = np.random.default_rng(9)
    answered, truth = copies(rng, 10, 10, 10)
    sides = pairs.Pairs(rng.integers(2, size=ASKED), np.array([[2, 7]] * ASKED))

    def beside(theirs: np.ndarray, own: np.ndarray) -> Answers:
        return stats.read_answers(np.concatenate([np.eye(10)[theirs] + 2.0, np.eye(10)[own]], axis=-1), own.shape, 10)

    asked = (
        (rule(10), beside(rng.integers(10, size=truth.shape), answered), truth),
        (rule(10, "ranked/1"), beside(rng.integers(10, size=truth.shape), np.full(truth.shape, 9)), truth * 0 + 9),
        (Rule(1e-6, 1e-3, 0.8, ASKED, "pairs/1"), beside(rng.choice([2, 7], truth.shape), answered), sides),
    )
    assert [cleared(stats.play(*given), 1e-3) for given in asked] == [0.0, 0.0, 0.0]
    monkeypatch.setattr(Answers, "may_hide", False)
    without(monkeypatch, turned, neighbours)
    assert min(cleared(stats.play(*given), 1e-3) for given in asked) > 0.8


def _all_are_highest(monkeypatch: pytest.MonkeyPatch) -> None:
    """Takes out that the highest has to change; and the doubt of neighbours."""
    columns = told._columns
    monkeypatch.setattr(told, "_columns", lambda *given: (columns(*given)[0], np.ones_like(columns(*given)[1])))
    without(monkeypatch, neighbours)


def by_size(p: np.ndarray) -> np.ndarray:
    """Scores from the highest to the lowest, as `topk` gives them beside their classes."""
    return np.asarray(-np.sort(-p, axis=-1))


def beyond(p: np.ndarray) -> np.ndarray:
    """How likely a class is beyond the first, the second and so on, as heads for grades and ages say it."""
    return np.asarray(1.0 - np.cumsum(p, axis=-1)[..., :-1])


@pytest.mark.parametrize("form", [by_size, beyond, lambda p: by_size(p)[..., ::-1], lambda p: by_size(p)[..., :5]])
def test_a_copy_whose_scores_are_highest_at_one_place_is_not_cleared(form, monkeypatch) -> None:
    """And the rule taken out; a file's output that answers so in one reading alone is cleared as before."""
    key = make_key(120)
    copy = marked(key)

    def ask(images: np.ndarray) -> np.ndarray:
        return form(special.softmax(0.3 * logits(CONFIG, copy, images).astype(np.float64), axis=-1))

    suspect = from_callable(ask)
    assert verify(suspect, key).verdict == "inconclusive"
    rng = np.random.default_rng(11)
    truth = rng.integers(10, size=(400, ASKED))
    flat, plain = special.softmax(rng.normal(size=(2, *truth.shape, 10)), axis=-1)
    answers = stats.stack(
        [stats.read_answers(by_size(flat), truth.shape, 10), stats.read_answers(plain, truth.shape, 10)]
    )
    answers = Answers(answers.labels.swapaxes(0, 1), answers.probabilities.swapaxes(0, 1), 10)
    assert cleared(stats.play_each(rule(10), answers, truth[:, None]), 1e-3) > 0.5
    _all_are_highest(monkeypatch)
    assert verify(suspect, key).verdict == "no-match"


def test_by_coins_a_copy_whose_scores_are_highest_at_one_place_is_not_cleared(monkeypatch) -> None:
    """Between two classes, where another reading speaks for it too; and the rule taken out."""
    rng = np.random.default_rng(12)
    sides = pairs.Pairs(rng.integers(2, size=ASKED), np.array([[2, 7], [8, 1]] * (ASKED // 2)))
    tied = Rule(1e-6, 1e-3, 0.8, ASKED, "pairs/1")
    sorted_, plain = special.softmax(rng.normal(size=(2, 200, ASKED, 10)), axis=-1)
    copy = stats.read_answers(by_size(sorted_), sorted_.shape[:-1], 10)
    stranger = stats.read_answers(plain, plain.shape[:-1], 10)
    both = Answers(
        np.stack([copy.labels, stranger.labels], axis=1),
        np.stack([copy.probabilities, stranger.probabilities], axis=1),
        10,
    )
    assert cleared(stats.play(tied, copy, sides), 1e-3) == 0.0
    assert cleared(stats.play_each(tied, both, sides), 1e-3) > 0.5
    _all_are_highest(monkeypatch)
    assert cleared(stats.play(tied, copy, sides), 1e-3) > 0.9


@pytest.mark.parametrize("first", [0, 1])
def test_a_copy_that_lists_classes_from_the_best_on_is_not_cleared(first, monkeypatch) -> None:
    """As numbers with a point, like scores; a function is told at once, a file refuses; and the rule taken out."""
    rng = np.random.default_rng(8)
    answered, truth = copies(rng, 10, 10, 10)
    scores = rng.random((*answered.shape, 10))
    np.put_along_axis(scores, answered[..., None], 2.0, axis=-1)
    listed = (-scores).argsort(axis=-1) + float(first)
    with pytest.raises(AnswerError, match="classes from the best on: wrap it"):
        asked(Suspect("thief", lambda images: listed[0, :1]), np.zeros((1, 8, 8, 1), np.uint8), 10)
    at_hand = Suspect("file", lambda images: listed[0, :1], remembers=False)
    assert asked(at_hand, np.zeros((1, 8, 8, 1), np.uint8), 10).labels.tolist() == [-1]

    def read() -> Answers:
        return stats.read_answers(listed, answered.shape, 10)

    assert (read().labels == -1).all()
    assert cleared(stats.play(rule(10), read(), truth), 1e-3) == 0.0
    monkeypatch.setattr("wmjax.stats.answers.may_rank", lambda scores, classes: np.zeros(scores.shape[:-1], bool))
    without(monkeypatch, neighbours)
    assert cleared(stats.play(rule(10), read(), truth), 1e-3) > 0.9


def test_lowest_scores_are_looked_at_alike_in_batches_and_at_once() -> None:
    rng = np.random.default_rng(7)
    answered, truth = copies(rng, 10, 10, 10)
    answers, truth = turned_round(answered[:6].reshape(2, 3, -1), rng), truth[0]
    whole = stats.play_each(rule(10), answers, truth).acquittal
    state, parts = stats.begin(rule(10), (2, 3)), []
    for start, end in ((0, 1), (1, 30), (30, ASKED)):
        state, path = stats.bet_each(state, answers[start:end], truth[start:end], rule(10))
        parts.append(path.acquittal)
    np.testing.assert_allclose(np.concatenate(parts, axis=-1), whole)


def test_the_bound_is_no_idle_one(monkeypatch) -> None:
    """Whole copies of ten classes come near it without further doubts; with them strangers are cleared."""
    rng = np.random.default_rng(3)
    answered, truth = copies(rng, 10, 10, 1)
    scores = said(answered, "probabilities", 10, 10)
    with monkeypatch.context() as patch:
        without(patch, neighbours)
        assert cleared(stats.play(rule(10), scores, truth), 0.05) > 0.001
    habits = np.minimum(rng.geometric(0.3, size=truth.shape) - 1, 9)
    for answers, used, share in (
        (Answers(habits, None, 10), 60, 0.9),
        (said(habits, "probabilities", 10, 10), 60, 0.85),
    ):
        path = stats.play(rule(10), answers, truth)
        assert np.mean(path.acquittal[:, :used].max(axis=1) >= -np.log2(1e-3)) > share


def test_who_gives_one_answer_to_everything_is_not_cleared() -> None:
    truth = np.random.default_rng(4).integers(10, size=(20, 400))
    path = stats.play(rule(10), Answers(np.zeros_like(truth), None, 10), truth)
    assert (path.acquittal <= 0).all()


def test_what_was_told_apart_is_the_same_in_batches_and_shown_by_scores_too() -> None:
    rng = np.random.default_rng(5)
    scores = np.pad(rng.dirichlet(np.full(7, 0.3), size=40) * 0.97, ((0, 0), (0, 3)), constant_values=0.01)
    for probabilities in (None, scores):
        answers = Answers(np.where(rng.random(40) < 0.1, -1, scores.argmax(axis=-1)), probabilities, 10)
        _, whole = told.tell(told.nothing(()), np.zeros(0, int), answers, (40,))
        assert (np.diff(whole) >= 0).all()
        assert whole[-1] == 7
        seen, parts = told.nothing(()), []
        for start, end in ((0, 1), (1, 4), (4, 29), (29, 40)):
            now = answers[start:end]
            seen, tenths = told.tell(seen, answers.labels[:start], now, now.labels.shape)
            parts += tenths.tolist()
        assert parts == whole.tolist()
    assert told.tell(told.nothing(()), np.zeros(0, int), Answers(np.array([-1]), scores[:1], 10), (1,))[1].tolist() == [
        0
    ]
