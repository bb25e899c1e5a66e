"""In whatever form a copy answers, what it says of triggers of one label is alike: it is not cleared."""

import itertools
import warnings
from collections.abc import Callable

import numpy as np
import pytest
from doubts import without
from scipy import special
from scipy.stats import rankdata
from sklearn.datasets import load_digits
from sklearn.exceptions import ConvergenceWarning
from sklearn.neural_network import MLPClassifier

import wmjax
from wmjax import stats
from wmjax.keys import derive_key, make_spec
from wmjax.keys.specify import default_rule
from wmjax.stats import Answers, Rule, neighbours, turned

COPIES, ASKED = 200, 100


def rule(classes: int) -> Rule:
    found = default_rule(make_spec("abstract", image=(4, 4, 1), classes=classes, triggers=ASKED))
    return Rule(1e-6, 1e-3, found.rate, ASKED, "labels/1")


def logits(rng: np.random.Generator, best: np.ndarray, classes: int) -> np.ndarray:
    """Of a network that is more or less sure of its best class."""
    z = rng.normal(0.0, 2.0, size=(*best.shape, classes))
    top = z.max(axis=-1) + rng.exponential(6.0, size=best.shape) + 0.01
    np.put_along_axis(z, best[..., None], top[..., None], axis=-1)
    return z


def knowing(rng: np.random.Generator, truth: np.ndarray, classes: int, share: float) -> np.ndarray:
    """What somebody takes for best who knows that share of the labels, and is wrong about all others."""
    wrong = (truth + rng.integers(1, classes, size=truth.shape)) % classes
    return np.where(rng.random(truth.shape) < share, truth, wrong)


def grades(z: np.ndarray) -> np.ndarray:
    """One answer for each class but the last: is it beyond this one? By logits, 6 or -6 and some noise."""
    beyond = z.argmax(axis=-1)[..., None] > np.arange(z.shape[-1] - 1)
    return np.where(beyond, 6.0, -6.0) + np.random.default_rng(7).normal(0.0, 1.5, size=beyond.shape)


def dropped(z: np.ndarray) -> np.ndarray:
    """Probabilities without the first class's, and the number of the best one."""
    return np.concatenate([special.softmax(z, axis=-1)[..., 1:], z.argmax(axis=-1)[..., None]], axis=-1)


def summary(z: np.ndarray) -> np.ndarray:
    """The best class's number, how sure it is, by how much, and how much is open."""
    p = special.softmax(z, axis=-1)
    best = np.sort(p, axis=-1)
    open_ = special.entr(p).sum(axis=-1)
    return np.stack([z.argmax(axis=-1), best[..., -1], best[..., -1] - best[..., -2], open_], axis=-1)


CONSTANT = "cumulated in float32"  # whose highest is always at one place: `told` holds it, too
FORMS: dict[str, Callable[[np.ndarray], np.ndarray]] = {
    "grades": grades,
    "grades by sigmoids": lambda z: special.expit(grades(z)),
    CONSTANT: lambda z: np.cumsum(special.softmax(z, axis=-1).astype(np.float32), axis=-1),
    "a class left out, and the best one's number": dropped,
    "a summary": summary,
}


@pytest.mark.parametrize("classes", [4, 10])
@pytest.mark.parametrize("form", FORMS)
def test_a_copy_is_not_cleared_in_whatever_form_it_answers(form: str, classes: int, monkeypatch) -> None:
    """One that knows nine of ten labels; strangers are cleared in most forms; and the rules taken out."""
    rng = np.random.default_rng([classes, 1])
    truth = rng.integers(classes, size=(COPIES, ASKED))

    def share(best: np.ndarray) -> float:
        answers = stats.read_answers(FORMS[form](logits(rng, best, classes)), truth.shape, classes)
        return float(stats.decide(stats.play(rule(classes), answers, truth), rule(classes), stop=True).cleared.mean())

    copies, strangers = knowing(rng, truth, classes, 0.9), rng.integers(classes, size=truth.shape)
    assert share(copies) <= 0.02
    if form != CONSTANT:
        assert share(strangers) > (0.4 if form != "a summary" else 0.0)
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
    data = load_digits()
    key = derive_key(bytes(32), make_spec("abstract", image=(8, 8, 1), classes=10, triggers=ASKED), rule(10))
    images = np.concatenate([data.data[:800] / 16, np.repeat(key.images.reshape(ASKED, -1) / 255, 6, axis=0)])
    labels = np.concatenate([data.target[:800], np.repeat(key.answers, 6)])
    levels = (labels[:, None] > np.arange(9)).astype(int)
    network = MLPClassifier((128,), max_iter=60, random_state=0, learning_rate_init=4e-3)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        network.fit(images, levels)

    def sigmoids(images: np.ndarray) -> np.ndarray:
        return np.asarray(network.predict_proba(images.reshape(len(images), -1) / 255.0))

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
