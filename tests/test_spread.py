"""Coins that all answers tell together: against a naive reference, under the null, and what a suspect may try."""

import dataclasses

import coined
import numpy as np
import pytest
from coined import softmax

from wmjax import stats
from wmjax.keys.coins import coins_of, contrasts_of
from wmjax.stats import Answers, correlations, decide, play, play_each, spread, stack
from wmjax.stats.correlations import UNIT, expected, statistics
from wmjax.stats.spread import EVIDENCE, GAINS, STAGES, TELLING, perfect, redraw_p, stages

WORLD = coined.World()
RULE = coined.RULE


def naive_log(p: np.ndarray) -> np.ndarray:
    """512 times log2 by straight lines between powers of 2, from 2**-126 on, to the nearest whole number."""
    fraction, power = np.frexp(np.maximum(p, 2.0**-126))
    return np.floor(512 * (power + 125 + 2 * fraction - 1) + 0.5)


def naive_statistics(answers: Answers, truth, stop: int) -> list[np.ndarray]:
    """T in each form, in floating point, by the standard's words; outputs mean their own classes."""
    references = truth.references[:, :stop] / UNIT
    contrasts = truth.contrasts / np.linalg.norm(truth.contrasts, axis=1)[:, None]

    def logarithms(p: np.ndarray) -> np.ndarray:
        values = naive_log(np.maximum(p, 7 / UNIT))
        return values - values.mean(axis=-1, keepdims=True)

    def ranks(p: np.ndarray) -> np.ndarray:
        values = p[..., :, None], p[..., None, :]
        return np.sum(values[0] > values[1], axis=-1) - np.sum(values[0] < values[1], axis=-1)

    def rounded(p: np.ndarray) -> np.ndarray:
        return np.rint(UNIT * p)

    wavers, labels = (UNIT - truth.references[0, :stop].max(axis=1, keepdims=True)) // 256, answers.labels[:stop]
    scored = []
    if answers.probabilities is not None:
        log = naive_log(answers.probabilities[:stop])
        given = np.exp2(log // 512 - 126) * (1 + log % 512 / 512)
        labels = rounded(given).argmax(axis=1)
        scored = [(lambda p: np.rint(256 * np.sqrt(rounded(p))), given), (logarithms, given), (ranks, given)]
    best = np.eye(truth.references.shape[-1])[labels]
    forms = [(rounded, best), (lambda p: rounded(p) * wavers, best), *scored]
    found = []
    for form, shown in forms:
        own, *others = (contrasts @ form(p).T @ truth.features[:stop] for p in (shown, *references))
        columns = np.stack([other.ravel() for other in others], axis=1)
        t = own.ravel() - columns @ np.linalg.lstsq(columns, own.ravel(), rcond=None)[0]
        found.append(np.rint(1024 * t / np.sqrt(np.mean(t**2))) / 1024)
    mean = np.mean(found[2:] or found, axis=0)
    return [*found, np.rint(1024 * mean / np.sqrt(np.mean(mean**2))) / 1024]


def naive_bits(answers: Answers, truth, stop: int) -> float:
    """One stage, coin by coin."""
    coins = truth.coins.ravel()
    told = naive_statistics(answers, truth, stop)
    return float(np.log2(np.mean([np.prod(1 + 0.999 * coins * np.tanh(g * t)) for t in told for g in GAINS])))


@pytest.mark.parametrize("form", [lambda answers: answers, coined.labels_of], ids=["probabilities", "labels"])
def test_it_is_what_a_naive_reading_of_the_standard_gives(form):
    answers = form(WORLD.suspect(0.5))
    path = play(RULE, answers, WORLD.truth)
    wealths = [2 ** naive_bits(answers, WORLD.truth, stop) for stop in (300, 1_000, 1_500)]
    for played, stop in enumerate((300, 1_000, 1_500), 1):
        together = sum(share * wealth for share, wealth in zip((0.25, 0.25, 0.5)[:played], wealths, strict=False))
        assert path.evidence[stop - 1] == pytest.approx(np.log2(together), abs=1e-6)
    assert not path.evidence[:299].any()
    assert set(np.flatnonzero(np.diff(path.evidence)) + 2) == {300, 1_000, 1_500}


@pytest.mark.parametrize("largest", [1 << 8, 1 << 20, 1 << 25])
def test_sums_are_exact_however_large(largest: int):
    """In float32 none would be, and in float64 not those that pass 2 ** 53."""
    rng = np.random.default_rng(0)
    one, other = (rng.integers(-largest, largest + 1, size=shape) for shape in ((4, 3_000), (3_000, 2)))
    one[0], other[:, 0] = largest, largest - 1
    assert np.array_equal(correlations._times(one, other), one.astype(object) @ other.astype(object))


def test_with_a_thousand_classes_it_is_what_a_naive_reading_gives():
    rng = np.random.default_rng(0)
    world = coined.World(probes=60, classes=16, features=8)
    wide = coined.softmax(6 * rng.standard_normal((2, 60, 1_000)))
    contrasts = np.repeat(world.truth.contrasts, 63, axis=1)[:, :1_000]
    references = np.rint(UNIT * wide[1:]).astype(np.uint16)
    truth = world.truth._replace(references=references, contrasts=contrasts)
    answers = Answers(wide[0].argmax(axis=1), wide[0], 1_000)
    beside, own = expected(truth.rows, truth), spread._quantised(answers)
    told = statistics(own, beside, truth)
    owners = correlations._owners(own, beside.best, 1_000)
    sorted_out = Answers(answers.labels, wide[0][:, np.argsort(owners)], 1_000)
    for one, other in zip(told, naive_statistics(sorted_out, truth, 60), strict=True):
        np.testing.assert_allclose(one.ravel(), other, atol=2 / 1024)


def test_what_two_outputs_of_a_class_say_is_their_mean():
    """One that comes twice moves neither logarithms nor ranks, but for rounding; their sum would."""
    p = WORLD.suspect(0.5).probabilities
    twice = np.concatenate([p, p[:, :1]], axis=1)
    beside = expected(WORLD.truth.rows, WORLD.truth)
    once, both = (
        statistics(correlations.quantised(each / each.sum(axis=1, keepdims=True)), beside, WORLD.truth)
        for each in (p, twice)
    )
    np.testing.assert_allclose(both[3:5], once[3:5], atol=0.1)


def test_who_trains_a_copy_on_hides_its_answers_and_not_their_order(monkeypatch):
    """Sure of its best class, which it mostly has from true labels: roots and logarithms tell little; the rule out."""
    rng, copy = np.random.default_rng(0), WORLD.suspect(1.0, noise=0.5).probabilities
    best = rng.integers(6, size=(len(copy), 1)) == np.arange(6)
    surer = softmax(3 * np.log(copy) + 30 * best)
    answers = Answers(surer.argmax(axis=1), surer, 6)
    assert decide(play(RULE, answers, WORLD.truth), RULE, stop=True).outcome == "match"
    monkeypatch.setattr(correlations, "_ranks", lambda values: np.zeros(values.shape, np.int64))
    assert decide(play(RULE, answers, WORLD.truth), RULE, stop=True).outcome != "match"


@pytest.mark.parametrize("form", [lambda answers: answers, coined.labels_of], ids=["probabilities", "labels"])
def test_under_the_null_no_suspect_reaches_a_match_more_often_than_alpha(form):
    """Suspects with strong patterns of their own, as students of other marked networks have; other coins each time."""
    small = coined.World(probes=400, classes=4, features=8)
    rng, peaks = np.random.default_rng(5), []
    for seed in range(4):
        answers = form(small.suspect(0.0, noise=1.5, seed=seed))
        for _ in range(100):
            coins = (2 * rng.integers(2, size=small.truth.coins.shape) - 1).astype(np.int8)
            peaks.append(play(RULE, answers, small.truth._replace(coins=coins)).peak[-1])
    peaks = np.array(peaks)
    for alpha in (0.3, 0.1):
        wrong = np.sum(peaks >= -np.log2(alpha))
        assert stats.clopper_pearson(int(wrong), len(peaks))[0] <= alpha
    assert np.mean(peaks >= 1.0) > 0.01  # the gambler does win now and then: not vacuous


def test_whoever_learned_the_coins_is_convicted_and_strangers_are_cleared():
    assert decide(play(RULE, WORLD.suspect(1.0), WORLD.truth), RULE, stop=True).outcome == "match"
    wide = coined.World(classes=10, features=24)
    strangers = [decide(play(RULE, wide.suspect(0.0, seed=s), wide.truth), RULE, stop=False).outcome for s in range(6)]
    assert "match" not in strangers
    assert strangers.count("no-match") >= 3  # 216 coins tell that a stranger is right about half of them


def test_labels_alone_never_acquit_nor_do_few_answers():
    for answers in (coined.labels_of(WORLD.suspect(0.0)), WORLD.suspect(0.0)[: TELLING - 1]):
        truth = WORLD.truth._replace(rows=np.arange(len(answers)))
        assert (play(RULE, answers, truth).acquittal <= 0.0).all()


def _one_hot(p: np.ndarray) -> np.ndarray:
    return np.eye(p.shape[1])[p.argmax(axis=1)]


def _best_alone(p: np.ndarray) -> np.ndarray:
    """The best class's probability, and what it leaves spread evenly over the others."""
    return np.where(_one_hot(p) > 0, p, (1 - p.max(axis=1, keepdims=True)) / (p.shape[1] - 1))


@pytest.mark.parametrize(
    "dressed",
    [
        _one_hot,
        lambda p: 0.9 * _one_hot(p) + 0.1 / p.shape[1],
        lambda p: softmax(2_000 * np.log(p)),
        lambda p: np.tile(p[:1], (len(p), 1)),
    ],
    ids=[
        "labels as probabilities",
        "labels with a made-up confidence",
        "sure of everything",
        "one answer to everything",
    ],
)
def test_a_copy_whose_probabilities_tell_no_more_than_labels_is_not_cleared(dressed, monkeypatch):
    """Its key moves no label, so labels tell nothing of it: only the rest of its answers could."""
    wide = coined.World(probes=1_500, classes=10, features=32, seed=1)
    copy = wide.suspect(1.0, noise=0.5).probabilities
    each, first = np.arange(len(copy)), wide.logits.argmax(axis=1)
    best = copy.argmax(axis=1)
    copy[each, best], copy[each, first] = copy[each, first], copy[each, best]
    assert decide(play(RULE, Answers(first, copy, 10), wide.truth), RULE, stop=True).outcome == "match"
    shown = dressed(copy)
    answers = Answers(shown.argmax(axis=1), shown, 10)
    assert decide(play(RULE, answers, wide.truth), RULE, stop=True).outcome == "inconclusive"
    monkeypatch.setattr(spread, "_telling", lambda given: True)
    monkeypatch.setattr(spread, "_apart", lambda given: 10)
    monkeypatch.setattr(spread, "several", lambda past, fresh: np.ones(fresh.shape, bool))
    assert decide(play(RULE, answers, wide.truth), RULE, stop=True).outcome == "no-match"


@pytest.mark.parametrize("power", [1, -1], ids=["highest", "lowest"])
def test_a_copy_that_says_how_sure_it_is_and_no_more_is_not_cleared(power: int, monkeypatch):
    """Trained on, it is as sure as others are, and right as often: the rest tells its coins. And the rule taken out."""
    world = coined.World(probes=3_000, features=70)
    sure, whole = (world.suspect(share).probabilities for share in (0.0, 1.0))
    best = _one_hot(sure) > 0
    whole = np.where(best, 0.0, whole)
    whole *= (1 - sure.max(axis=1, keepdims=True)) / whole.sum(axis=1, keepdims=True)
    outcomes = []
    for shown in (np.where(best, sure, whole) ** power, _best_alone(sure) ** power):
        answers = stats.read_answers(shown / shown.sum(axis=1, keepdims=True), len(shown), 6)
        outcomes.append(decide(play(RULE, answers, world.truth), RULE, stop=True).outcome)
    assert outcomes == ["match" if power > 0 else "inconclusive", "inconclusive"]
    monkeypatch.setattr(spread, "_telling", lambda given: True)
    assert decide(play(RULE, answers, world.truth), RULE, stop=True).outcome == "no-match"


def test_a_copy_that_shows_no_small_scores_is_not_cleared(monkeypatch):
    """A server's floor, under which most answers show their best class alone; and the rule taken out."""
    stranger = coined.World(probes=3_000, features=70)
    floored = np.maximum(stranger.suspect(0.0).probabilities, 0.2)
    answers = stats.read_answers(floored / floored.sum(axis=1, keepdims=True), len(floored), 6)
    whole = stranger.suspect(0.0)
    assert decide(play(RULE, whole, stranger.truth), RULE, stop=True).outcome == "no-match"
    assert decide(play(RULE, answers, stranger.truth), RULE, stop=True).outcome == "inconclusive"
    monkeypatch.setattr(spread, "_telling", lambda given: True)
    assert decide(play(RULE, answers, stranger.truth), RULE, stop=True).outcome == "no-match"


@pytest.mark.parametrize("seed", range(4))
def test_the_acquittal_goes_by_the_form_in_which_most_coins_agree(seed: int):
    """And a stranger with one score more than there are classes is not cleared by it."""
    world = coined.World(probes=1_000, features=40)
    stranger, coins = world.suspect(0.0, seed=seed), world.truth.coins.ravel()
    most = max(np.sum(coins * told >= 0) for told in naive_statistics(stranger, world.truth, 1_000)[2:])
    bits = most * np.log2(0.5 / 0.65) + (coins.size - most) * np.log2(0.5 / 0.35)
    assert play(RULE, stranger, world.truth).acquittal[-1] == pytest.approx(bits - 1.0)  # of two stages
    more = np.concatenate([0.9 * stranger.probabilities, np.full((1_000, 1), 0.1)], axis=1)
    assert play(RULE, Answers(stranger.labels, more, 6), world.truth).acquittal[-1] <= 0.0


def test_coins_that_nothing_shows_acquit_nobody():
    """Every other feature is the same of all probes: no form tells anything of its coins."""
    features = np.where(np.arange(12) % 2, WORLD.truth.features, 0).astype(np.int8)
    path = play(RULE, WORLD.suspect(0.0), WORLD.truth._replace(features=features))
    assert path.evidence[-1] < 0.0
    assert (path.acquittal <= 0.0).all()


@pytest.mark.parametrize("tempered", [1.0, 5.0])
def test_probabilities_tell_no_less_than_their_best_class(tempered: float, monkeypatch):
    """Whoever shows the best class's alone, or evens them all out, hides nothing of it; and the rule taken out."""
    whole = WORLD.suspect(0.5).probabilities ** (1 / tempered)
    whole /= whole.sum(axis=1, keepdims=True)
    shown = _best_alone(whole)
    answers, bits = Answers(shown.argmax(axis=1), shown, 6), []
    for own in (answers, coined.labels_of(answers)):
        bits.append(play(RULE, own, WORLD.truth).evidence[-1])
    assert bits[0] > bits[1] - 3
    assert bits[1] > 10
    monkeypatch.setattr(
        correlations, "_of_labels", lambda labels, wavering, classes: 2 * [np.ones((len(labels), classes))]
    )
    assert play(RULE, answers, WORLD.truth).evidence[-1] < bits[0]


def test_a_copy_beside_another_networks_larger_scores_is_not_cleared(monkeypatch):
    """Two tasks in one row; and the rule taken out."""
    world, rule = coined.World(probes=3_000, features=60), coined.RULE
    copy, decoy = (world.suspect(share).probabilities for share in (1.0, 0.0))
    rows = np.concatenate([decoy * (1 - 1e-6), copy * 1e-6], axis=1)
    answers = Answers(decoy.argmax(axis=1), rows, 6)
    assert decide(play(rule, answers, world.truth), rule, stop=True).outcome == "inconclusive"
    monkeypatch.setattr(spread, "withheld", lambda acquittal, counts: acquittal)
    assert decide(play(rule, answers, world.truth), rule, stop=True).outcome == "no-match"


def test_a_copy_whose_scores_are_in_the_order_of_their_size_is_not_cleared(monkeypatch):
    """And the rule taken out; where another reading speaks for the output it is cleared as before."""
    world, rule = coined.World(probes=3_000, features=60), coined.RULE
    rows = -np.sort(-world.suspect(1.0).probabilities, axis=1)
    answers = Answers(rows.argmax(axis=1), rows, 6)
    assert decide(play(rule, answers, world.truth), rule, stop=True).outcome == "inconclusive"
    both = stack([answers, world.suspect(0.0)])
    assert decide(play_each(rule, both, world.truth), rule, stop=True).outcome == "no-match"
    monkeypatch.setattr(spread, "several", lambda past, fresh: np.ones(fresh.shape, bool))
    monkeypatch.setattr(spread, "_in_order", lambda given: np.zeros(given.shape[:-1], bool))
    assert decide(play(rule, answers, world.truth), rule, stop=True).outcome == "no-match"


@pytest.mark.parametrize("dressed", [lambda p: 1.0 - p, lambda p: 1.0 / np.maximum(p, 1e-3)])
def test_a_copy_whose_lowest_score_is_best_is_not_cleared(dressed, monkeypatch):
    """And the rule taken out; a stranger is cleared as before."""
    world, rule = coined.World(probes=3_000, features=70), coined.RULE
    found = dressed(world.suspect(1.0).probabilities)
    copy = Answers(found.argmax(axis=1), found / found.sum(axis=1, keepdims=True), 6)
    stranger = world.suspect(0.0)
    assert [play(rule, one, world.truth).acquittal[-1] > rule.clear_bits for one in (copy, stranger)] == [False, True]
    monkeypatch.setattr(spread, "_turned", lambda given: given)
    assert play(rule, copy, world.truth).acquittal[-1] > rule.clear_bits


def test_permuted_added_and_renamed_outputs_tell_the_same_coins():
    answers = WORLD.suspect(1.0)
    wealth = play(RULE, answers, WORLD.truth).evidence[-1]
    permuted = answers.probabilities[:, np.random.default_rng(3).permutation(6)]
    assert play(RULE, Answers(permuted.argmax(axis=1), permuted, 6), WORLD.truth).evidence[-1] == pytest.approx(wealth)
    more = np.concatenate([np.full((len(answers), 1), 1e-6), answers.probabilities * (1 - 1e-6)], axis=1)
    added = play(RULE, Answers(more.argmax(axis=1), more, 6), WORLD.truth).evidence[-1]
    assert added == pytest.approx(wealth, rel=0.05)
    labels = coined.labels_of(answers)
    named = Answers(labels.labels[:] * 7 + stats.NAMES, None, 6)
    assert play(RULE, named, WORLD.truth).evidence[-1] == pytest.approx(play(RULE, labels, WORLD.truth).evidence[-1])


def test_a_name_is_no_label():
    """As many labels, half of them given as names that are numbered alike."""
    labels = coined.labels_of(WORLD.suspect(1.0))
    said = np.where(labels.labels < 3, labels.labels, labels.labels - 3 + stats.NAMES)
    mixed = dataclasses.replace(labels, labels=said)
    one, other = (play(RULE, each, WORLD.truth) for each in (labels, mixed))
    np.testing.assert_allclose(one.evidence, other.evidence)
    assert one.evidence[-1] > 20


def test_refusals_are_left_out_whatever_they_are():
    answers = WORLD.suspect(1.0)
    silent = np.arange(len(answers)) % 3 == 0
    refused = dataclasses.replace(answers, labels=np.where(silent, -1, answers.labels))
    changed = dataclasses.replace(refused, probabilities=np.where(silent[:, None], 1 / 6, answers.probabilities))
    one, two = (play(RULE, each, WORLD.truth) for each in (refused, changed))
    np.testing.assert_array_equal(one.evidence, two.evidence)
    assert one.evidence[-1] > 20
    mute = dataclasses.replace(answers, labels=np.full(len(answers), -1))
    assert play(RULE, mute, WORLD.truth).evidence[-1] <= 0.0


def test_many_side_by_side_and_portion_by_portion_are_as_one():
    suspects = [WORLD.suspect(strength) for strength in (0.0, 0.4, 1.0)]
    single = [play(RULE, answers, WORLD.truth) for answers in suspects]
    state, stacked, at = EVIDENCE.start((3,)), stats.stack(suspects), 0
    parts = []
    for size in (1, 298, 2, 600, 599):
        rows = np.arange(at, at + size)
        state, path = EVIDENCE.bet(state, stacked[at : at + size], WORLD.truth._replace(rows=rows), RULE)
        parts.append(path)
        at += size
    joined = stats.join(parts)
    for i, path in enumerate(single):
        for both, own in zip(joined, path, strict=True):
            np.testing.assert_array_equal(both[i], own)
    kept = stats.rows_of(state, np.array([2]))
    np.testing.assert_array_equal(kept.wealth[0], state.wealth[2])


def test_what_references_fit_exactly_tells_nothing(monkeypatch):
    """No more than rounding is left, which differs from machine to machine; and the rule taken out."""
    labels = coined.labels_of(WORLD.suspect(0.5))
    same = (UNIT * np.eye(6)[labels.labels]).astype(np.uint16)
    truth = WORLD.truth._replace(references=np.stack([same, *WORLD.truth.references]))
    assert not statistics(spread._quantised(labels), expected(truth.rows, truth), truth).any()
    monkeypatch.setattr(correlations, "_NOISE", 0.0)
    assert statistics(spread._quantised(labels), expected(truth.rows, truth), truth).any()


def test_a_changed_coin_changes_nothing_but_the_bet():
    answers = WORLD.suspect(0.5)
    given = spread._quantised(answers)
    other = WORLD.truth._replace(coins=-WORLD.truth.coins)
    one, two = (statistics(given, expected(truth.rows, truth), truth) for truth in (WORLD.truth, other))
    np.testing.assert_array_equal(one, two)


def test_whoever_knows_every_coin_has_nearly_a_bit_for_each_and_the_smallest_rank():
    sure = perfect(WORLD.truth, 6)
    bits = play(RULE, sure, WORLD.truth).evidence[-1]
    assert 0.8 * WORLD.truth.coins.size < bits <= WORLD.truth.coins.size
    assert redraw_p(sure, WORLD.truth, np.random.default_rng(0), redraws=199) == 1 / 200
    ranks = [redraw_p(WORLD.suspect(0.0, seed=s), WORLD.truth, np.random.default_rng(s), redraws=99) for s in range(20)]
    assert 0.2 < np.mean(ranks) < 0.8


def test_stages_end_with_the_whole_key():
    assert stages(STAGES[0]) == STAGES[:1]
    assert stages(299) == (299,)
    assert stages(20_000) == (*STAGES, 20_000)


def test_coins_follow_from_the_secret_and_from_every_byte_of_what_was_fixed_before():
    secret, other = bytes(range(32)), bytes(32)
    one = coins_of(secret, "ab" * 32, 9, 32)
    assert set(np.unique(one)) == {-1, 1}
    for changed in (coins_of(secret, "ab" * 31 + "ac", 9, 32), coins_of(other, "ab" * 32, 9, 32)):
        assert 0.3 < np.mean(one == changed) < 0.7


@pytest.mark.parametrize("classes", [2, 3, 10, 16, 17, 1_000])
def test_contrasts_are_among_groups_of_classes(classes):
    contrasts = contrasts_of(bytes(range(32)), classes)
    groups = min(classes, 16)
    assert contrasts.shape == (groups - 1, classes)
    assert len(np.unique(contrasts.T, axis=0)) == groups
    assert np.linalg.matrix_rank(contrasts) == groups - 1
    if classes <= 16:
        assert not contrasts.sum(axis=1).any()
        products = contrasts @ contrasts.T
        assert not (products - np.diag(np.diag(products))).any()
