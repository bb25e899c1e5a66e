"""In whatever form a copy answers, what it says of triggers of one label is alike: it is not cleared."""

import itertools

import numpy as np
import pytest
from doubts import without
from scipy.stats import rankdata

import wmjax
from experiments.evidence import answer_forms
from experiments.evidence.answer_forms import logits
from wmjax import stats
from wmjax.keys import derive_key, make_spec
from wmjax.keys.specify import default_rate
from wmjax.stats import Answers, Rule, neighbours, turned
from wmjax.stats import answers as answers_module

COPIES, ASKED = 200, 100
CONSTANT = "cumulated"  # whose highest is always at one place: `told` holds it, too
SUMMARY = "number, sure, margin, open"
FORMS = ("grades, logits", "grades, sigmoids", CONSTANT, "a class left out, the best one's number", SUMMARY)


def rule(classes: int) -> Rule:
    return Rule(1e-6, 1e-3, default_rate(classes), ASKED)


def knowing(rng: np.random.Generator, truth: np.ndarray, classes: int, share: float) -> np.ndarray:
    """What somebody takes for best who knows that share of the labels, and is wrong about all others."""
    wrong = (truth + rng.integers(1, classes, size=truth.shape)) % classes
    return np.where(rng.random(truth.shape) < share, truth, wrong)


@pytest.mark.parametrize("classes", [4, 10])
@pytest.mark.parametrize("form", FORMS)
def test_a_copy_is_not_cleared_in_whatever_form_it_answers(form: str, classes: int, monkeypatch) -> None:
    """One that knows nine of ten labels; strangers are cleared in most forms; and the rules taken out.

    Numbers of classes among shares are refusals by themselves: that rule is taken out from the start.
    """
    monkeypatch.setattr(answers_module, "_name_classes", lambda scores, classes: np.zeros(scores.shape[:-1], bool))
    rng = np.random.default_rng([classes, 1])
    truth = rng.integers(classes, size=(COPIES, ASKED))

    def share(best: np.ndarray) -> float:
        raw = answer_forms.FORMS[form](rng, logits(rng, best, classes))
        answers = stats.read_answers(raw, truth.shape, classes)
        return float(stats.decide(stats.play(rule(classes), answers, truth), rule(classes), stop=True).cleared.mean())

    copies, strangers = knowing(rng, truth, classes, 0.9), rng.integers(classes, size=truth.shape)
    assert share(copies) <= 0.02
    if form != CONSTANT:
        assert share(strangers) > (0.4 if form != SUMMARY else 0.0)
        without(monkeypatch, neighbours, turned)
        assert share(copies) > 0.02


@pytest.mark.parametrize("classes", [2, 3, 10])
def test_plain_scores_of_strangers_are_cleared_nearly_as_soon(classes: int, monkeypatch) -> None:
    """With and without the rule; and plain copies are a match, whatever their scale."""
    rng = np.random.default_rng([classes, 2])
    truth = rng.integers(classes, size=(COPIES, ASKED))
    asked = rule(classes)
    strangers = logits(rng, rng.integers(classes, size=truth.shape), classes)

    def decided() -> stats.Decision:
        answers = stats.read_answers(strangers, truth.shape, classes)
        return stats.decide(stats.play(asked, answers, truth), asked, stop=True)

    now = decided()
    for scale in (1.0, 1e-20):
        copies = stats.read_answers(scale * logits(rng, truth, classes), truth.shape, classes)
        assert stats.decide(stats.play(asked, copies, truth), asked, stop=True).matched.all()
    without(monkeypatch, neighbours)
    before = decided()
    assert now.cleared.mean() > before.cleared.mean() - 0.1 > 0.2
    assert np.median(now.used) <= 1.4 * np.median(before.used)


@pytest.mark.parametrize("scale", [1.0, 1e-10, 1e-20])
def test_scores_too_near_for_probabilities_keep_their_order(scale: float, monkeypatch) -> None:
    """A copy is a match, one whose lowest is best not cleared; as audits keep them, too; and the rule taken out."""
    rng = np.random.default_rng(3)
    truth = rng.integers(10, size=(COPIES, ASKED))
    raw, asked = scale * logits(rng, truth, 10), rule(10)

    def kept(raw: np.ndarray) -> Answers:
        given = stats.read_answers(raw, truth.shape, 10)
        assert given.probabilities is not None
        scores = given.probabilities.astype(np.float32).astype(np.float64)
        return stats.read_answers(scores, truth.shape, 10)

    assert (kept(raw).labels == truth).all()
    assert not stats.decide(stats.play(asked, kept(-raw), truth), asked, stop=True).cleared.any()
    monkeypatch.setattr("wmjax.stats.answers._in_order", lambda found, scores: found)
    assert (kept(raw).labels == truth).all() == (scale == 1.0)


def test_a_real_network_for_grades_is_not_cleared(monkeypatch) -> None:
    """It learned digits as nine questions "is it more?", and a key; its grade is a match, its sigmoids are none."""
    spec = make_spec("abstract", image=(8, 8, 1), classes=10, triggers=ASKED)
    key = derive_key(bytes(32), spec, rule(10))
    sigmoids = answer_forms.network(key, 10, 0, 20)
    grade = wmjax.from_callable(lambda images: (sigmoids(images) > 0.5).sum(axis=1))
    assert wmjax.verify(grade, key).verdict == "match"
    assert wmjax.verify(wmjax.from_callable(sigmoids), key).verdict == "inconclusive"
    without(monkeypatch, neighbours, turned)
    assert wmjax.verify(wmjax.from_callable(sigmoids), key).verdict == "no-match"


# What is counted


def by_hand(given: np.ndarray, usable: np.ndarray, labels: np.ndarray, classes: int, two: np.ndarray | None) -> list:
    """Answer by answer, with ranks from the ground up: 2 for a hit, 0 for none, 1 for nothing."""
    found = []
    for i in range(len(labels)):
        rows = [j for j in range(i) if usable[j]]
        if not usable[i] or not rows:
            found.append(1 if usable[i] else 2)
            continue
        ranks = np.array([2 * rankdata(column) for column in given[[*rows, i]].T]).T
        apart = np.abs(ranks[:-1] - ranks[-1]).sum(axis=1)
        mean = apart.mean()
        votes = np.zeros(classes)
        for j, far in zip(rows, apart, strict=True):
            votes[labels[j]] += np.rint(2.0**20 * max(0.0, 1.0 - (far / mean if mean else 0.0)) ** 4)
        if two is None:
            found.append(1 if not votes.any() else 2 * int(votes.argmax() == labels[i]))
        else:
            own, other = votes[labels[i]], votes[two[i]].sum() - votes[labels[i]]
            found.append(1 + int(np.sign(own - other)))
    return found


@pytest.mark.parametrize("between", [False, True])
def test_it_is_what_a_count_by_hand_gives_in_any_portions(between: bool) -> None:
    """With refusals, equal scores and answers that are all alike."""
    rng = np.random.default_rng(5)
    for seed in range(4):
        two = np.argsort(rng.random((40, 4)), axis=1)[:, :2] if between else None
        labels = rng.integers(4, size=40) if two is None else two[np.arange(40), rng.integers(2, size=40)]
        scores = rng.dirichlet(np.ones(3), size=40).round(1 if seed else 9)
        scores = np.full_like(scores, 0.5) if seed == 3 else scores
        usable = rng.random(40) > 0.2
        expected = by_hand(scores.astype(np.float32), usable, labels, 4, two)
        answers = Answers(np.where(usable, scores.argmax(axis=1), -1), scores, 4)
        chance = 0.5 if between else 0.25
        rate = chance**0.6  # of three scores about four classes
        bits = np.log2([(1 - chance) / (1 - rate), 1.0, chance / rate])
        for portions in ([0, 40], [0, 1, 2, 17, 40], [*range(41)]):
            state, paths = neighbours.nothing(()), []
            for start, end in itertools.pairwise(portions):
                among = None if two is None else two[start:end]
                part = answers[start:end]
                state, path = neighbours.doubt(state, labels[:start], part, labels[start:end], among)
                paths.append(path)
            np.testing.assert_allclose(np.concatenate(paths), np.cumsum(bits[expected]), atol=1e-9)


def test_ranks_outgrow_small_numbers() -> None:
    """Of 128 outputs those of 100 answers fit into 16 bits each, those of 200 do not."""
    rng = np.random.default_rng(7)
    labels = rng.integers(128, size=200)
    answers = Answers(labels, rng.dirichlet(np.ones(128), size=200), 128)
    _, whole = neighbours.doubt(neighbours.nothing(()), labels[:0], answers, labels)
    first, start = neighbours.doubt(neighbours.nothing(()), labels[:0], answers[:100], labels[:100])
    last, end = neighbours.doubt(first, labels[:100], answers[100:], labels[100:])
    assert (first.ranks.dtype, last.ranks.dtype) == (np.int16, np.int32)
    np.testing.assert_allclose(np.concatenate([start, end]), whole, atol=1e-9)


def test_labels_alone_and_many_classes_are_not_looked_at() -> None:
    truth = np.arange(4)
    for answers in (Answers(truth, None, 4), Answers(truth, np.eye(129)[truth], 129)):
        state, path = neighbours.doubt(neighbours.nothing(()), truth[:0], answers, truth)
        assert np.isinf(path).all()
        assert state.given.size == 0


def test_whole_numbers_of_the_best_few_classes_are_refusals() -> None:
    """Fewer than the key's, all different; of two, 0 and 1 may be scores, and votes may be equal or larger."""
    for numbers, refused in (
        ([7.0, 2.0, 1.0], True),
        ([0.0, 10.0], True),
        ([0.0, 1.0], False),
        ([7.0, 7.0, 1.0], False),
        ([7.0, 11.0, 1.0], False),
        ([7.0, 2.5, 1.0], False),
    ):
        answers = stats.read_answers(np.array([numbers]), 1, 10)
        assert (answers.labels.tolist() == [-1]) == refused, numbers
    assert stats.read_answers(np.array([[7.0, 2.0, 1.0]]), 1, 3).labels.tolist() == [0]
