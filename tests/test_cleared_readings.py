"""Readings that are cleared are asked no further: the bounds hold, and nothing depends on what they would answer."""

import dataclasses
import itertools
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from graphs import build

import wmjax
from wmjax import stats
from wmjax.keys import Key, derive_key, make_spec
from wmjax.keys.specify import default_rule
from wmjax.stats import Answers, Rule
from wmjax.suspects import Wanted, open_suspect
from wmjax.suspects.contract import Suspect
from wmjax.verification import asking
from wmjax.zoo.panel import Loaded, Seats
from wmjax.zoo.result import INCONCLUSIVE

CLASSES, ASKED, READINGS = 10, 60, 5


def rule(**changes: Any) -> Rule:
    return dataclasses.replace(Rule(1e-6, 1e-3, 0.65, ASKED, "labels/1"), **changes)


def given(rng: np.random.Generator, shape: tuple[int, ...], form: str, classes: int = CLASSES) -> Answers:
    """What strangers answer who do not tell all classes apart at once: from few favourites to many."""
    labels = np.minimum(rng.geometric(0.25, size=shape) - 1, classes - 1)
    if form == "labels":
        return Answers(labels, None, classes)
    odds = rng.exponential(size=(*shape, classes)) + 4.0 * np.eye(classes)[labels]
    table = odds / odds.sum(axis=-1, keepdims=True)
    return Answers(table.argmax(axis=-1), table, classes)


def silenced(answers: Answers, at: int, open_: np.ndarray) -> Answers:
    """One answer of each reading, [readings, 1]; of those that are cleared, none."""
    one = answers[at : at + 1]
    scores = one.probabilities
    if scores is not None:
        scores = np.where(open_[:, None, None], scores, 1 / answers.scores)
    return Answers(np.where(open_[:, None], one.labels, -1), scores, answers.classes)


def one_by_one(answers: Answers, truth: np.ndarray, rule: Rule) -> tuple[np.ndarray, np.ndarray]:
    """By hand, answer by answer: evidence and acquittal of the suspect after each, and which readings stayed open."""
    kind = stats.kind_of(rule)
    state, stood = kind.start((READINGS,)), np.zeros((2, READINGS))
    open_, found = np.ones(READINGS, bool), []
    for at in range(len(answers)):
        state, path = kind.bet(state, silenced(answers, at, open_), truth[at : at + 1], rule, outputs=1)
        for reading in np.flatnonzero(open_):
            stood[:, reading] = path.evidence[reading, 0], path.acquittal[reading, 0]
            if (
                stood[1, reading] >= rule.clear_bits
                and stood[0, reading] < 0
                and path.peak[reading, 0] < rule.match_bits
            ):
                open_[reading] = False
        found.append((np.log2(np.mean(2.0 ** stood[0])), stood[1].min()))
    return np.array(found).T, open_


@pytest.mark.parametrize("form", ["labels", "probabilities"])
def test_it_is_what_a_count_by_hand_gives_in_any_portions(form: str) -> None:
    rng, ended = np.random.default_rng(1), 0
    for _ in range(12):
        truth, answers = rng.integers(CLASSES, size=ASKED), given(rng, (READINGS, ASKED), form)
        expected, open_ = one_by_one(answers, truth, rule())
        for portions in ([0, ASKED], [0, 16, 32, 48, ASKED], [*range(ASKED + 1)]):
            state, paths = stats.begin(rule(), (READINGS,)), []
            for start, end in itertools.pairwise(portions):
                part = answers[start:end]
                if end - start == 1:
                    part = silenced(answers, start, state.open)
                state, path = stats.bet_each(state, part, truth[start:end], rule(), stop=True)
                paths.append(path)
            whole = stats.join(paths)
            np.testing.assert_allclose([whole.evidence, whole.acquittal], expected, atol=1e-9)
            assert state.open.tolist() == open_.tolist()
        ended += int(np.sum(~open_))
    assert ended > 12  # of 60 readings


def test_nothing_depends_on_what_cleared_readings_would_answer() -> None:
    """Not even how many classes the others are taken to tell apart, and so when those are cleared."""
    rng, differing = np.random.default_rng(2), 0
    for _ in range(40):
        truth = rng.integers(CLASSES, size=ASKED)
        answers = given(rng, (READINGS, ASKED), "labels", 8)
        answers = dataclasses.replace(answers, classes=CLASSES)
        told = stats.play_each(rule(), answers, truth, stop=True)
        cut = np.where(np.arange(ASKED) >= 30, -1, answers.labels)
        state, first = stats.bet_each(stats.begin(rule(), (READINGS,)), answers[:30], truth[:30], rule(), stop=True)
        late = np.where(state.open[:, None], answers.labels, cut)[:, 30:]
        second = stats.bet_each(state, Answers(late, None, CLASSES), truth[30:], rule(), stop=True)[1]
        np.testing.assert_allclose(told.acquittal, stats.join([first, second]).acquittal, atol=1e-9)
        without = stats.play_each(rule(), answers, truth).acquittal
        differing += int(not np.allclose(without, told.acquittal))
    assert differing > 20


@pytest.mark.parametrize("form", ["labels", "probabilities"])
def test_copies_are_cleared_as_seldom_as_beta_says(form: str) -> None:
    """Those that repeat just as many labels as the rule asks for, by one reading of 14; strangers mostly are."""
    rng, keys, loose = np.random.default_rng(3), 250, rule(beta=0.1)
    truth = rng.integers(CLASSES, size=(keys, 1, ASKED))
    labels = rng.integers(CLASSES, size=(keys, 14, ASKED))
    right = rng.random((keys, 1, ASKED)) < loose.rate
    labels[:, :1] = np.where(right, truth, (truth + rng.integers(1, CLASSES, size=truth.shape)) % CLASSES)
    shares = {}
    for who, those in (("copies", labels), ("strangers", labels[:, 1:])):
        table = None
        if form == "probabilities":
            table = 0.5 * np.eye(CLASSES)[those] + 0.5 * rng.dirichlet(np.ones(CLASSES), those.shape)
            those = table.argmax(axis=-1)
        path = stats.play_each(loose, Answers(those, table, CLASSES), truth, stop=True)
        shares[who] = float((path.acquittal >= loose.clear_bits).any(axis=-1).mean())
    assert shares["copies"] <= 0.1
    assert shares["strangers"] > 0.5


def test_strangers_match_no_more_often_than_alpha() -> None:
    """Readings that are cleared early keep what they lost; those that are left bet on."""
    rng, keys = np.random.default_rng(4), 1000
    bold = rule(alpha=0.05, beta=0.3)
    truth = rng.integers(CLASSES, size=(keys, 1, ASKED))
    answers = Answers(rng.integers(CLASSES, size=(keys, 7, ASKED)), None, CLASSES)
    path = stats.play_each(bold, answers, truth, stop=True)
    share = float((path.evidence.max(axis=-1) >= bold.match_bits).mean())
    assert share <= 0.05 + 4 * np.sqrt(0.05 / keys)
    each = stats.play(bold, answers, np.broadcast_to(truth, answers.labels.shape))
    assert (each.evidence.max(axis=(1, 2)) >= bold.match_bits).mean() > 0.05  # the best of seven


# Asked no further


@pytest.fixture(scope="module")
def key() -> Key:
    spec = make_spec("abstract", image=(8, 8, 3), classes=CLASSES, triggers=100)
    return derive_key(bytes(range(32)), spec, default_rule(spec))


NETWORK = "f = Flatten(p) g = MatMul(f, v) h = Relu(g) y = MatMul(h, w)"


def written(tmp_path: Path, body: str, **more: np.floating) -> Path:
    """A stranger's graph that does not say how its pixels are prepared."""
    rng = np.random.default_rng(3)
    weights = {
        "v": rng.standard_normal((192, 64)).astype(np.float32),
        "w": rng.standard_normal((64, 10)).astype(np.float32),
    }
    model = build(f"{body} {NETWORK}", {**weights, **more}, image="float[n,8,8,3] x")
    (tmp_path / "zoo").mkdir()
    path = tmp_path / "zoo" / "m.onnx"
    path.write_bytes(model.SerializeToString())
    return path


@pytest.fixture
def stranger(tmp_path: Path) -> Path:
    return written(tmp_path, "p = Identity(x)")


def counted(suspect: Suspect, calls: list[int]) -> Suspect:
    """The suspect, each of whose readings counts how often it is asked."""

    def watched(place: int, each: Suspect) -> Suspect:
        def ask(images: np.ndarray) -> Any:
            calls[place] += len(images)
            return each.ask(images)

        return dataclasses.replace(each, ask=ask)

    calls[:] = [0] * len(suspect.asked)
    readings = tuple(watched(place, each) for place, each in enumerate(suspect.readings))
    return dataclasses.replace(suspect, readings=readings)


def test_verify_asks_on_only_what_is_open_and_says_the_same(stranger: Path, key: Key, monkeypatch: Any) -> None:
    calls: list[int] = []
    suspect = counted(open_suspect(stranger, Wanted.by([key.spec])), calls)
    verdict = wmjax.verify(suspect, key)
    assert (verdict.verdict, max(calls), len(calls)) == ("no-match", verdict.queries, 14)
    assert sum(calls) < 0.9 * 14 * verdict.queries
    put = asking.Question.put
    monkeypatch.setattr(asking.Question, "put", lambda self, images, of=None: put(self, images))
    all_ = wmjax.verify(suspect, key)
    assert calls == [sum(calls) // 14] * 14 or min(calls) >= all_.queries
    assert dataclasses.replace(all_, path=verdict.path) == verdict


def test_an_audit_asks_on_only_what_is_open_and_says_the_same(stranger: Path, key: Key, monkeypatch: Any) -> None:
    """With two keys, of which other readings are open; figures are those of `verify`, and follow when played again."""
    seats: list[int] = []
    answers = Loaded.answers

    def watched(self: Loaded, asked: Seats, picks: np.ndarray) -> Answers:
        seats.append(len(asked.rows))
        return answers(self, asked, picks)

    monkeypatch.setattr(Loaded, "answers", watched)
    other = derive_key(bytes(32), key.spec, key.commitment.rule)
    keys, out = {"one": key, "other": other}, stranger.parent.parent / "out"
    result = wmjax.audit(stranger.parent, keys, keep_answers=True, out=out)
    assert (max(seats), min(seats[1:]) < 14, sum(seats) < 0.9 * 14 * len(seats)) == (14, True, True)
    suspect = open_suspect(stranger, Wanted.by([key.spec]))
    for column, each in enumerate(keys.values()):
        verdict = wmjax.verify(suspect, each)
        assert (verdict.verdict, verdict.queries) == ("no-match", result.queries[0, column])
        assert verdict.evidence_bits == pytest.approx(float(result.bits[0, column]), abs=2e-3)
        assert verdict.matches == result.matches[0, column]
    again = wmjax.merge(out, keys)  # played again from what was kept
    np.testing.assert_array_equal(again.queries, result.queries)


@pytest.mark.parametrize("whole", [False, True])
def test_one_way_without_an_answer_leaves_the_verdict_open(tmp_path: Path, key: Key, whole: bool) -> None:
    """A root of centred pixels is no number. That way is never cleared, so it alone is asked up to the last trigger."""
    path = written(tmp_path, "s = Sqrt(x) p = Sub(s, half)", half=np.float32(0.5))
    verdict = wmjax.verify(open_suspect(path, Wanted.by([key.spec])), key, whole=whole)
    assert (verdict.verdict, verdict.queries) == ("inconclusive", 100)
    if not whole:
        result = wmjax.audit(path.parent, {"one": key})
        assert (result.outcomes.tolist(), result.queries.tolist()) == ([[INCONCLUSIVE]], [[100]])
        assert verdict.evidence_bits == pytest.approx(float(result.bits[0, 0]), abs=2e-3)
