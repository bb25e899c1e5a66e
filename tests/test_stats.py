"""Evidence tested three ways: against naive references, by simulation under the null, on exact constructed data."""

import dataclasses
import itertools
import json
import math
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from refusals import assert_one_line
from scipy.stats import binom, binomtest

from wmjax import stats
from wmjax.errors import UsageError
from wmjax.stats import Answers, Path, Rule, mixture, renaming
from wmjax.stats import labels as label_bets

RULE = Rule(alpha=1e-6, beta=1e-3, rate=0.55, max_queries=100)
KEYS = 20_000
KINDS = ("labels", "probabilities", "top-k", "one-hot", "with refusals", "fewer", "one more", "more", "other symbols")


def naive_evidence(answers: Answers, labels: np.ndarray) -> float:
    """The module docstring's formula, strategy by strategy, in plain floats."""
    wealths = []
    strategies = [(0, None, eps) for eps in label_bets.LABEL_HEDGES]
    if answers.probabilities is not None:
        strategies += [(0, t, eps) for t in label_bets.TEMPERATURES for eps in label_bets.PROBABILITY_HEDGES]
    if answers.scores == answers.classes + 1:
        strategies += [(1, temperature, eps) for _, temperature, eps in strategies]  # a background class first
    for first, temperature, eps in strategies:
        wealth = 1.0
        for i, label in enumerate(labels):
            if answers.labels[i] < 0:
                wealth *= eps
                continue
            if temperature is None:
                q = [float(c + first == answers.labels[i]) for c in range(answers.classes)]
            else:
                shared = [float(p) for p in answers.probabilities[i][first : first + answers.classes]]
                shared += [0.0] * (answers.classes - len(shared))
                spread = max(0.0, 1 - sum(shared)) / answers.classes if answers.scores != answers.classes else 0.0
                powers = [(p + spread) ** (1 / temperature) for p in shared]
                q = [p / sum(powers) for p in powers]
            wealth *= answers.classes * ((1 - eps) * q[label] + eps / answers.classes)
        wealths.append(wealth)
    wealths += [naive_renaming(answers.labels, labels, answers.classes, rate) for rate in renaming.RATES]
    return math.log2(sum(wealths) / len(wealths))


def naive_renaming(answered: np.ndarray, labels: np.ndarray, classes: int, rate: float) -> float:
    """The mean over all functions from answers to labels, each played out by itself."""
    right, wrong = rate * classes, (1 - rate) * classes / (classes - 1)
    said = sorted({int(a) for a in answered if a >= 0})
    wealths = []
    for meant in itertools.product(range(classes), repeat=len(said)):
        pi = dict(zip(said, meant, strict=True))
        wealths.append(
            math.prod(right if pi.get(int(a)) == y else wrong for a, y in zip(answered, labels, strict=True))
        )
    return sum(wealths) / len(wealths)


def suspect_answers(kind: str, rng: np.random.Generator, n: int, classes: int) -> Answers:
    """Answers of a model with strong habits: some classes come often, some answers are certain."""
    logits = rng.normal(size=(n, classes)) * rng.exponential(3.0, size=(n, 1)) + np.linspace(0, 2, classes)
    probabilities = np.exp(logits - logits.max(1, keepdims=True))
    probabilities /= probabilities.sum(1, keepdims=True)
    labels = probabilities.argmax(1)
    if kind in ("fewer", "one more", "more"):  # scores for other classes than the key's
        told = {"fewer": max(2, classes // 2), "one more": classes + 1, "more": 2 * classes}[kind]
        other = suspect_answers("with refusals", rng, n, told)
        return dataclasses.replace(other, classes=classes)
    if kind == "other symbols":
        return Answers(np.where(rng.random(n) < 0.3, labels + 2**20, labels), None, classes)
    if kind == "labels":
        return Answers(labels, None, classes)
    if kind == "top-k":
        best = np.argsort(-probabilities, axis=1)[:, : min(3, classes - 1)]
        spread = stats.spread_top_k(best, np.take_along_axis(probabilities, best, 1), classes)
        return Answers(spread.argmax(1), spread, classes)
    if kind == "one-hot":
        return Answers(labels, np.eye(classes)[labels], classes)
    if kind == "with refusals":
        return Answers(np.where(rng.random(n) < 0.2, -1, labels), probabilities, classes)
    return Answers(labels, probabilities, classes)


@pytest.mark.parametrize("kind", KINDS)
def test_evidence_is_the_naive_formula(kind):
    rng = np.random.default_rng(1)
    classes = 5 if kind in KINDS[:5] else 3
    for _ in range(20):
        answers = suspect_answers(kind, rng, 12, classes)
        labels = rng.integers(classes, size=12)
        path = stats.evidence(answers, labels)
        np.testing.assert_array_equal(path, stats.play(RULE, answers, labels).evidence)
        for t in (1, 5, 12):
            assert path[t - 1] == pytest.approx(naive_evidence(answers[:t], labels[:t]), rel=1e-9, abs=1e-9)


@pytest.mark.parametrize("kind", KINDS)
def test_expected_payoff_is_never_above_one(kind):
    """The whole guarantee: summed over the labels that a fair draw may give, no strategy wins on average.

    Those of a renaming, which looks back, after any labels that came before.
    """
    answers = suspect_answers(kind, np.random.default_rng(2), 50, 7)
    means = np.exp2(label_bets.log2_payoffs(answers)).mean(axis=2)
    assert (means <= 1 + 1e-12).all()
    if not (answers.labels < 0).any() and kind != "other symbols":
        np.testing.assert_allclose(means, 1.0, rtol=1e-12)
    given, drawn = answers.labels, np.random.default_rng(3).integers(7, size=50)
    for t in range(50):
        history, *_ = renaming.learn(renaming.begin(()), given[:t], drawn[:t], 7)
        moves = [renaming.learn(history, given[t : t + 1], np.array([y]), 7)[1][:, 0] for y in range(7)]
        means = np.exp2(moves).mean(axis=0)
        assert (means <= 1 + 1e-12).all()
        if given[t] >= 0:
            np.testing.assert_allclose(means, 1.0, rtol=1e-12)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("classes", [2, 10])
def test_false_matches_under_the_null_stay_below_alpha(kind, classes):
    """20,000 keys against one model: the share whose evidence *ever* reaches 1/alpha is within 4 standard errors."""
    rng = np.random.default_rng([3, classes])
    answers = suspect_answers(kind, rng, 40, classes)
    keys = np.split(rng.integers(classes, size=(KEYS, 40)), 40)  # all at once would take gigabytes
    peaks = np.concatenate([stats.evidence(answers, part).max(axis=1) for part in keys])
    for alpha in (0.1, 0.01, 1e-3):
        share = np.mean(peaks >= -np.log2(alpha))
        assert share <= alpha + 4 * math.sqrt(alpha / KEYS)
    if not (answers.labels < 0).any():  # a bound that nothing ever comes near would be no test
        assert np.mean(peaks >= 1.0) > 0.01


def test_evidence_of_many_keys_is_that_of_each():
    rng = np.random.default_rng(4)
    answers = suspect_answers("probabilities", rng, 15, 10)
    labels = rng.integers(10, size=(6, 15))
    np.testing.assert_allclose(stats.evidence(answers, labels), [stats.evidence(answers, row) for row in labels])


def test_an_intact_mark_is_a_match_within_nine_queries():
    labels = np.arange(100) % 10
    for answers in (Answers(labels, None, 10), Answers(labels, np.eye(10)[labels], 10)):
        path = stats.play(RULE, answers, labels)
        decision = stats.decide(path, RULE, stop=True)
        assert (decision.outcome, decision.used <= 9) == ("match", True)
        assert path.evidence[-1] > 300


def test_probabilities_carry_more_than_labels():
    """A copy that never repeats a label but leans towards it is seen through its probabilities alone."""
    labels, other = np.arange(200) % 10, np.random.default_rng(8).integers(1, 10, size=200)
    probabilities = np.full((200, 10), 0.45 / 8)
    probabilities[np.arange(200), labels] = 0.25
    probabilities[np.arange(200), (labels + other) % 10] = 0.30
    tops = probabilities.argmax(1)
    assert stats.evidence(Answers(tops, None, 10), labels)[-1] < 0
    assert stats.evidence(Answers(tops, probabilities, 10), labels)[-1] > 100


def test_refusals_count_against_the_owner_and_acquit_nobody():
    labels = np.arange(20) % 10
    silent = Answers(np.full(20, -1), None, 10)
    path = stats.play(RULE, silent, labels)
    assert (np.diff(path.evidence) < 0).all()
    assert (np.diff(path.acquittal) < 0).all()


@pytest.mark.parametrize("classes", [2, 10, 100])
def test_an_intact_mark_pays_under_a_bit_for_all_bets_on_renamings(classes):
    labels = np.random.default_rng(9).integers(classes, size=100)
    for answers in (Answers(labels, None, classes), Answers(labels, np.eye(classes)[labels], classes)):
        without = mixture.mixed(np.cumsum(label_bets.log2_payoffs(answers, labels), axis=-1))
        assert (without - stats.evidence(answers, labels)).max() < 1.0


def renamed(rng: np.random.Generator, rate: float, keys: int, n: int, classes: int) -> tuple[np.ndarray, np.ndarray]:
    """Answers of copies that repeat each label with this chance, under a renaming of their own each; and the labels."""
    labels = rng.integers(classes, size=(keys, n))
    names = rng.permuted(np.tile(np.arange(classes), (keys, 1)), axis=1)
    known = np.take_along_axis(names, labels, axis=1)
    other = (known + rng.integers(1, classes, size=known.shape)) % classes
    return np.where(rng.random((keys, n)) < rate, known, other), labels


@pytest.mark.parametrize(("share", "bits"), [(1.0, (55, 150, 280)), (0.7, (15, 55, 110))])
def test_a_renamed_copy_is_known_by_its_answers(share, bits):
    answered, labels = renamed(np.random.default_rng(10), share, 300, 100, 10)
    path = stats.play(RULE, Answers(answered, None, 10), labels)
    assert (np.median(path.evidence[:, [29, 59, 99]], axis=0) >= bits).all()


def test_classes_that_were_merged_or_added_are_a_renaming_too():
    labels = np.random.default_rng(11).integers(10, size=100)
    for answered in (labels // 2, labels + 1, labels + 991, 9 - labels):
        assert stats.decide(stats.play(RULE, Answers(answered, None, 10), labels), RULE, stop=True).outcome == "match"


@pytest.mark.parametrize("rate", [renaming.CLEARED_RATE, 0.9, 1.0])
def test_renamed_copies_are_acquitted_no_more_often_than_beta(rate):
    answered, labels = renamed(np.random.default_rng(12), rate, KEYS // 2, 60, 10)
    path = stats.play(RULE, Answers(answered, None, 10), labels)
    for beta in (0.05, 0.01, 1e-3):
        share = np.mean(path.acquittal.max(axis=1) >= -np.log2(beta))
        assert share <= beta + 4 * math.sqrt(beta / len(labels))
    assert rate > renaming.CLEARED_RATE or np.mean(path.acquittal.max(axis=1) >= 1.0) > 0.001


def test_acquittal_never_gains_on_average_against_a_copy():
    for rate in (0.3, 0.55, 0.9):
        for truth in np.linspace(rate, 1.0, 8):
            moves = [label_bets.acquittal(Answers(np.array([a]), None, 10), np.array([3]), rate)[0] for a in (3, 4)]
            assert truth * 2 ** moves[0] + (1 - truth) * 2 ** moves[1] <= 1 + 1e-12


def test_copies_are_acquitted_no_more_often_than_beta():
    rng = np.random.default_rng(5)
    labels = np.zeros(100, np.int64)
    answers = np.where(rng.random((KEYS, 100)) < RULE.rate, 0, 1)
    paths = np.array([label_bets.acquittal(Answers(row, None, 10), labels, RULE.rate) for row in answers[:5000]])
    for beta in (0.05, 0.01, 1e-3):
        share = np.mean(paths.max(axis=1) >= -np.log2(beta))
        assert share <= beta + 4 * math.sqrt(beta / len(paths))


def test_clean_models_are_acquitted_within_the_key():
    """95 of 100 within 70 questions, the median by about 35; RULE's rate is .55."""
    rng = np.random.default_rng(6)
    used = []
    for _ in range(400):
        answers, labels = suspect_answers("probabilities", rng, 100, 10), rng.integers(10, size=100)
        decision = stats.decide(stats.play(RULE, answers, labels), RULE, stop=True)
        assert not decision.matched
        used.append(int(decision.used) if decision.cleared else 1000)
    assert np.quantile(used, 0.95) <= 70
    assert np.median(used) < 36


@pytest.mark.parametrize(
    ("evidence", "acquittal", "stop", "expected"),
    [
        ([5.0, 20.0, 25.0], [0.0, 0.0, 0.0], True, ("match", 2)),
        ([5.0, 20.0, 25.0], [0.0, 0.0, 0.0], False, ("match", 3)),
        ([-1.0, -2.0, -3.0], [5.0, 10.0, 11.0], True, ("no-match", 2)),
        ([-1.0, -2.0, -3.0], [5.0, 10.0, 11.0], False, ("no-match", 3)),
        ([1.0, 2.0, 3.0], [5.0, 10.0, 11.0], True, ("inconclusive", 3)),  # leaning towards the key: asked on
        ([-1.0, 2.0, 20.0], [10.0, 0.0, 0.0], False, ("match", 3)),  # a match outweighs an acquittal
        ([-1.0, 2.0, 20.0], [10.0, 0.0, 0.0], True, ("no-match", 1)),
        ([1.0, 1.0, 1.0], [0.0, 0.0, 0.0], True, ("inconclusive", 3)),
        ([-1.0, 5.0, 9.0], [10.0, 3.0, 0.0], False, ("inconclusive", 3)),  # an acquittal must stand at the end
    ],
)
def test_decisions_on_constructed_paths(evidence, acquittal, stop, expected):
    bits = np.array(evidence)
    path = Path(bits, np.array(acquittal), np.maximum.accumulate(bits), *np.zeros((2, 3), np.int64))
    decision = stats.decide(path, RULE, stop=stop)
    assert (decision.outcome, decision.used) == expected
    many = stats.decide(Path(*(np.stack([part, part]) for part in path)), RULE, stop=stop)
    assert many.used.tolist() == [expected[1]] * 2
    assert many.matched.tolist() == [expected[0] == "match"] * 2
    assert many.cleared.tolist() == [expected[0] == "no-match"] * 2


@given(st.integers(1, 400), st.integers(2, 1000), st.data())
def test_binomial_p_is_scipys(n, classes, data):
    matches = data.draw(st.integers(0, n))
    expected = binomtest(matches, n, 1 / classes, alternative="greater").pvalue
    assert stats.binomial_p(matches, n, classes) == pytest.approx(expected, rel=1e-6, abs=1e-300)


@given(st.integers(1, 300), st.sampled_from([0.9, 0.95, 0.99]), st.data())
def test_clopper_pearson_is_scipys(n, confidence, data):
    matches = data.draw(st.integers(0, n))
    expected = binomtest(matches, n).proportion_ci(confidence, method="exact")
    np.testing.assert_allclose(stats.clopper_pearson(matches, n, confidence), expected, rtol=1e-7, atol=1e-9)


@pytest.mark.parametrize("rate", [0.02, 0.1, 0.5, 0.9])
def test_clopper_pearson_covers_at_least_as_promised(rate):
    """Exact coverage: the sum over all outcomes of their chance, where the interval holds the truth."""
    for n in (10, 60):
        intervals = [stats.clopper_pearson(k, n) for k in range(n + 1)]
        covered = sum(binom.pmf(k, n, rate) for k, (low, high) in enumerate(intervals) if low <= rate <= high)
        assert covered >= 0.95


def test_calibrated_p_is_a_rank():
    assert stats.calibrated_p(5.0, np.array([1, 2, 5, 7])) == 3 / 5
    assert stats.calibrated_p(9.0, np.arange(9)) == 1 / 10


def test_so_many_null_scores_suffice_and_no_fewer():
    for level in (0.03, 1e-6, 1e-9, 0.4, 0.99, *(1 / n for n in range(2, 300))):
        needed = stats.nulls_for(level)
        assert 1 / (needed + 1) <= level, level
        assert needed == 0 or 1 / needed > level, level


@pytest.mark.parametrize("kind", ["labels", "probabilities"])
def test_redrawn_p_is_valid_under_the_null(kind):
    """One percent fails one percent of the time, fewer where labels tie: 1,000 keys, each ranked among 199 redraws."""
    rng = np.random.default_rng(7)
    answers = suspect_answers(kind, rng, 30, 10)
    ps = [stats.redraw_p(answers, rng.integers(10, size=30), rng, redraws=199) for _ in range(1000)]
    for alpha in (0.01, 0.05, 0.25, 0.5):
        share = np.mean(np.array(ps) <= alpha)
        error = 4 * math.sqrt(alpha * (1 - alpha) / len(ps))
        assert share <= alpha + error
        assert kind == "labels" or share >= alpha - error


def test_redrawn_ties_count_against_the_owner():
    """One match of one answer: a tenth of all redraws tie with it, whatever the rounding."""
    answers = Answers(np.arange(40) % 10, None, 10)
    labels = (np.arange(40) + 1) % 10
    labels[5] = answers.labels[5]
    matches = np.random.default_rng(0).integers(10, size=(2000, 40)) == answers.labels
    expected = (1 + np.sum(matches.sum(1) >= 1)) / 2001
    assert stats.redraw_p(answers, labels, np.random.default_rng(0), redraws=2000) == pytest.approx(expected)


def test_redrawn_p_of_a_mark_is_the_smallest_there_is():
    labels = np.arange(30) % 10
    assert stats.redraw_p(Answers(labels, None, 10), labels, np.random.default_rng(0), redraws=999) == 1 / 1000


def test_top_k_rest_is_spread_evenly():
    spread = stats.spread_top_k(np.array([[1, 4]]), np.array([[0.5, 0.2]]), 5)
    np.testing.assert_allclose(spread, [[0.1, 0.5, 0.1, 0.1, 0.2]])
    with pytest.raises(UsageError, match="as they are"):
        stats.spread_top_k(np.array([[1, 0]]), np.array([[0.5, 0.5]]), 2)


@pytest.mark.parametrize(("named", "told"), [([0, -1], "0..4"), ([5, 0], "0..4"), ([3, 3], "different within a row")])
def test_top_k_of_classes_that_cannot_be_is_refused(named, told):
    with pytest.raises(UsageError, match=f"`classes_named` must be.* {told}$"):
        stats.spread_top_k(np.array([[1, 2], named]), np.full((2, 2), 0.3), 5)


def naive_e_bh(bits, tests, fdr):
    """Every number of rejections is tried; sets, not arrays."""
    order = sorted(range(len(bits)), key=lambda i: -bits[i])
    best: set[int] = set()
    for k in range(1, len(bits) + 1):
        if all(2 ** bits[i] >= tests / (k * fdr) * (1 - 1e-12) for i in order[:k]):
            best = set(order[:k])
    return [i in best for i in range(len(bits))]


def test_e_bh_is_the_naive_rule():
    rng = np.random.default_rng(11)
    for _ in range(200):
        bits = np.round(rng.normal(4, 5, size=8), 2)
        assert stats.e_bh(bits, 8, 0.1).tolist() == naive_e_bh(bits, 8, 0.1)


def test_e_bh_on_constructed_data():
    assert stats.e_bh(np.log2([39.0, 21.0, 11.0]), 3, 0.1).tolist() == [True, True, True]  # 10 is enough for three
    assert stats.e_bh(np.log2([19.9, 9.9]), 2, 0.1).tolist() == [False, False]
    assert stats.e_bh(np.full((2, 2), np.nan), 4, 0.1).tolist() == [[False, False], [False, False]]
    assert stats.e_bh(np.empty(0), 0, 0.1).tolist() == []


def test_e_bh_keeps_its_rate_of_false_discoveries():
    """Null e-values that spend all they may (1/a with chance a, dependent in pairs) beside a few true discoveries."""
    rng = np.random.default_rng(12)
    proportions = []
    for _ in range(2000):
        shared = rng.random(20).repeat(2)
        null = np.where(shared < 0.005, -np.log2(0.005), -np.inf)
        rejected = stats.e_bh(np.concatenate([null, np.full(4, 30.0)]), 44, 0.1)
        proportions.append(rejected[:40].sum() / max(1, rejected.sum()))
    assert 0 < np.mean(proportions) <= 0.1 + 4 * np.std(proportions) / math.sqrt(len(proportions))


def test_scores_whose_sum_overflows_are_answers() -> None:
    scores = np.full((2, 200), 1e307)
    scores[:, 3] = 2e307
    answers = stats.read_answers(scores, 2, 200)
    assert answers.labels.tolist() == [3, 3]
    assert np.isfinite(answers.probabilities).all()


@pytest.mark.parametrize("number", [np.float64(0.25), np.float32(0.25), Fraction(1, 4)])
def test_a_rule_takes_any_real_number_and_keeps_a_float(number):
    rule = stats.Rule(number, number, number, 4)
    assert rule == stats.Rule(0.25, 0.25, 0.25, 4)
    assert json.dumps(dataclasses.asdict(rule)) == json.dumps(dataclasses.asdict(stats.Rule(0.25, 0.25, 0.25, 4)))


@pytest.mark.parametrize("number", ["0.1", None, True, 1, 0, -0.5, np.nan, 0.5j, Fraction(1, 10**400)])
def test_a_rule_refuses_what_is_not_between_0_and_1(number):
    for name in ("alpha", "beta", "rate"):
        with pytest.raises(UsageError, match=f"`{name}` .*: must be a number between 0 and 1") as caught:
            stats.Rule(**{"alpha": 0.1, "beta": 0.1, "rate": 0.1, "max_queries": 4, name: number})
        assert_one_line(caught.value)
