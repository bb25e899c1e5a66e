"""The grid of attacks: what is measured, what a kill, a full memory and lost networks leave of it."""

import copy
import dataclasses
import json
import re
from collections.abc import Callable
from typing import Any

import jax
import journals
import numpy as np
import pytest
import test_material_keys
from fixtures import VGG, abstract_key

from wmjax import stats
from wmjax.attacks import inversion
from wmjax.attacks.case import Case, make_victim
from wmjax.attacks.contract import Attack, Attacked, Served, Stolen, Thief, untouched
from wmjax.attacks.grid import try_suite
from wmjax.attacks.measure import Victim, measure
from wmjax.attacks.result import AttackResult, Point
from wmjax.attacks.run import attack as run_attacks
from wmjax.attacks.suite import Suite
from wmjax.data import Dataset, load
from wmjax.errors import InvalidFile, UsageError
from wmjax.grounds import Ground
from wmjax.journal import Journal
from wmjax.keys import Key, Paper, derive_key, generate, make_spec
from wmjax.keys.specify import default_rule
from wmjax.models import Variables, init
from wmjax.stats.spread import perfect
from wmjax.train import Recipe


@pytest.fixture(scope="module")
def digits() -> Dataset:
    return load("digits").train[:60]


@pytest.fixture(scope="module")
def key() -> Key:
    return abstract_key(30)


@pytest.fixture(scope="module")
def case(digits, key) -> Case:
    thief = Thief(digits, None, Recipe(epochs=1, batch=20), 1)
    victims = [make_victim(f"net {i}", VGG, init(VGG, i), {"mine": key}, digits[:20]) for i in range(2)]
    return Case("digits", VGG, victims, thief, digits[:20], {}, 0)


def attack(name: str, run: Callable[[Stolen, Thief], Attacked] = untouched, **more: object) -> Attack:
    return Attack(name, "is made up", "nothing", (), (1.0,), frozenset(), run)._replace(**more)


def suite(*attacks: Attack, strengths: tuple[float, ...] = (1.0, 2.0)) -> Suite:
    return Suite("made up", tuple((one, strengths) for one in attacks), inversion=False)


def noisy(stolen: Stolen, thief: Thief) -> Attacked:
    """Moves every weight by its network's strength and seed."""

    def moved(leaf: np.ndarray) -> np.ndarray:
        by = [
            s * np.random.default_rng(seed).standard_normal()
            for s, seed in zip(stolen.strengths, stolen.seeds, strict=True)
        ]
        return leaf + np.array(by, np.float32).reshape(-1, *[1] * (leaf.ndim - 1))

    return Attacked(stolen.config, jax.tree.map(moved, stolen.variables))


def points(result: AttackResult, name: str) -> list[Point]:
    return [point for point in result.points if point.attack == name]


def without_times(result: AttackResult) -> str:
    return json.dumps(dataclasses.asdict(result) | {"seconds": 0})


def test_everything_is_tried_on_everyone(case):
    result = try_suite(suite(attack("a", noisy), attack("b")), case)
    tried = [(p.attack, p.strength, p.victim) for p in result.points]
    each = [(s, f"net {i}") for s in (1.0, 2.0) for i in range(2)]
    assert tried == [
        ("none", 0.0, "net 0"),
        ("none", 0.0, "net 1"),
        *(("a", *e) for e in each),
        *(("b", *e) for e in each),
    ]
    assert [p.lost for p in points(result, "b")] == [0.0] * 4
    stolen = points(result, "none")
    assert [dataclasses.replace(p, attack="none", strength=0.0) for p in points(result, "b")] == [*stolen, *stolen]
    assert len({p.bits for p in points(result, "a")}) > 1


def test_a_killed_grid_goes_on_and_ends_the_same(case, tmp_path, monkeypatch):
    wanted = suite(attack("a", noisy), attack("b", noisy), attack("c", noisy))
    told: list[str] = []
    whole = try_suite(wanted, case, say=told.append)
    assert re.fullmatch(r"b: .* s; 3 of 4 attacks, \d+:\d\d left", told[2])
    add, left = Journal.add, [3]

    def dies(self: Journal, record: dict[str, object]) -> None:
        if not left[0]:
            raise KeyboardInterrupt
        left[0] -= 1
        add(self, record)

    with monkeypatch.context() as patch:
        patch.setattr(Journal, "add", dies)
        with pytest.raises(KeyboardInterrupt):
            try_suite(wanted, case, out=tmp_path)
    journal = tmp_path / "journal.jsonl"
    assert len(journal.read_text().splitlines()) == 4  # a header and three records
    journal.write_bytes(journal.read_bytes() + b'{"attack": "c", "po')  # a kill in mid-write
    ran: list[str] = []
    resumed = try_suite(wanted, case, out=tmp_path, resume=True, say=ran.append)
    assert [(line.split(":")[0], line.split("; ")[1]) for line in ran] == [("c", "4 of 4 attacks")]
    assert without_times(resumed) == without_times(whole)


def test_another_grid_is_not_resumed(case, tmp_path):
    wanted = suite(attack("a"))
    try_suite(wanted, case, out=tmp_path)
    for other, given, what in (
        (suite(attack("b")), case, "suite"),
        (wanted, case._replace(seed=1), "seed"),
        (wanted, case._replace(victims=case.victims[:1]), "victims"),
        (wanted, case._replace(thief=dataclasses.replace(case.thief, images=None)), "images"),
    ):
        with pytest.raises(InvalidFile, match=f"began with other {what}"):
            try_suite(other, given, out=tmp_path, resume=True)
    with pytest.raises(UsageError, match="`resume`"):
        try_suite(wanted, case, out=tmp_path)


@pytest.mark.parametrize("error", [MemoryError(), jax.errors.JaxRuntimeError("RESOURCE_EXHAUSTED: Out of memory")])
def test_a_grid_too_large_for_memory_is_cut(case, error):
    sizes: list[int] = []

    def greedy(stolen: Stolen, thief: Thief) -> Attacked:
        sizes.append(len(stolen.seeds))
        if len(stolen.seeds) > 1:
            raise error
        return noisy(stolen, thief)

    result = try_suite(suite(attack("a", greedy)), case)
    assert sizes == [4, 2, 1, 1, 2, 1, 1]
    assert points(result, "a") == points(try_suite(suite(attack("a", noisy)), case), "a")
    assert result.notes[0] == Ground("cut", {"attack": "a", "networks": 4, "part": 2})
    assert result.to_json()["notes"][0] == "a: 4 networks at once did not fit in memory: tried by 2"


def test_a_grid_resumes_in_other_words(case, tmp_path, nonsense):
    def greedy(stolen: Stolen, thief: Thief) -> Attacked:
        if len(stolen.seeds) > 2:
            raise MemoryError
        return noisy(stolen, thief)

    wanted = suite(attack("a", greedy), attack("b", greedy))
    whole = try_suite(wanted, case, out=tmp_path)
    journal = tmp_path / "journal.jsonl"
    journal.write_bytes(b"".join(journal.read_bytes().splitlines(keepends=True)[:3]))
    told = whole.to_json()["notes"]
    nonsense()
    resumed = try_suite(wanted, case, out=tmp_path, resume=True)
    assert without_times(resumed) == without_times(whole)
    assert [note.values["attack"] for note in resumed.notes] == ["a", "b"]
    assert all(words != before for words, before in zip(resumed.to_json()["notes"], told, strict=True))


def test_not_even_one_fits(case):
    def greedy(stolen: Stolen, thief: Thief) -> Attacked:
        raise MemoryError

    result = try_suite(suite(attack("a", greedy), attack("b")), case)
    assert "`batch`" in result.skipped["a"]
    assert not points(result, "a")
    assert points(result, "b")


def test_other_errors_are_not_taken_for_full_memory(case):
    def broken(stolen: Stolen, thief: Thief) -> Attacked:
        raise jax.errors.JaxRuntimeError("INTERNAL: something else")

    with pytest.raises(jax.errors.JaxRuntimeError, match="something else"):
        try_suite(suite(attack("a", broken)), case)


def test_a_lost_network_is_no_removed_mark(case):
    def ruined(stolen: Stolen, thief: Thief) -> Attacked:
        variables = jax.tree.map(np.copy, stolen.variables)
        variables.params["head"]["bias"][0] = np.nan
        return Attacked(stolen.config, variables)

    lost, *others = points(try_suite(suite(attack("a", ruined)), case), "a")
    assert (lost.outcome, lost.accuracy, lost.bits, lost.removed) == ("diverged", None, None, False)
    assert all(p.outcome != "diverged" for p in others)


def silent(network: Served, thief: Thief, images: np.ndarray) -> np.ndarray:
    return np.full((len(images), 10), np.nan)


def test_a_server_that_never_answers_is_lost_too(case):
    result = try_suite(suite(attack("a", serve=silent)), case)
    assert {p.outcome for p in points(result, "a")} == {"diverged"}


def test_what_a_thief_lacks(case):
    bare = case._replace(thief=dataclasses.replace(case.thief, images=None))
    needing = attack("a", needs=frozenset({"images"})), attack("b", needs=frozenset({"queries"})), attack("c")
    result = try_suite(suite(*needing), bare)
    assert "needs labelled images" in result.skipped["a"]
    assert "`queries`" in result.skipped["b"]
    assert {p.attack for p in result.points} == {"none", "c"}


def test_no_key_is_refused_before_anything_is_tried():
    with pytest.raises(UsageError, match="`keys` is empty"):
        run_attacks("nowhere", {})


def test_keys_for_others(case, digits):
    for spec, words in (
        (make_spec("abstract", image=(8, 8, 1), classes=5, triggers=9), "classes 5"),
        (make_spec("abstract", image=(9, 8, 1), classes=10, triggers=9), r"images \(9, 8, 1\)"),
    ):
        with pytest.raises(UsageError, match=f"key other is for {words}"):
            make_victim("net", VGG, init(VGG, 0), {"other": generate(spec)}, digits)


def sure(labels: np.ndarray, classes: int, test: np.ndarray) -> Callable[..., np.ndarray]:
    """A server that answers test images and then triggers with these labels, without doubt."""

    def serve(network: Served, thief: Thief, images: np.ndarray) -> np.ndarray:
        said = np.concatenate([test, labels])
        assert len(images) == len(said)
        return np.eye(classes)[said]

    return serve


def measured(case: Case, serve: Callable[..., np.ndarray], kept: np.ndarray | None, classes: int, key: Key) -> Point:
    config = dataclasses.replace(VGG, classes=classes)
    victim = Victim("net", init(VGG, 0), np.eye(10)[case.test.labels], {"mine": key})  # it was always right
    network = Served(config, init(config, 0), 1.0, 0)
    (point,) = measure(attack("a", serve=serve), network, kept, victim, case.thief, case.test)
    return point


def test_exact_figures(case, key):
    wrong = (case.test.labels + (np.arange(20) < 5)) % 10
    point = measured(case, sure(key.labels, 10, wrong), None, 10, key)
    assert (point.accuracy, point.lost, point.matches, point.asked) == (0.75, 25.0, 30, 30)
    answers = stats.Answers(key.labels.astype(np.int64), np.eye(10)[key.labels], 10)
    assert point.bits == round(float(stats.evidence(answers, key.labels)[-1]), 3)
    assert point.label_bits == round(float(stats.evidence(stats.Answers(answers.labels, None, 10), key.labels)[-1]), 3)
    assert point.outcome == "match"
    assert not point.removed


def test_refusals_count_against_owner_and_thief(case, key):
    def serve(network: Served, thief: Thief, images: np.ndarray) -> np.ndarray:
        said = np.eye(10)[np.concatenate([case.test.labels, key.labels])]
        said[[0, 1, 20, 21, 22]] = np.nan
        return said

    point = measured(case, serve, None, 10, key)
    assert (point.accuracy, point.matches, point.asked) == (0.9, 27, 30)


def test_merged_classes(case, key):
    kept = np.arange(10) // 2
    point = measured(case, sure(kept[key.labels], 5, kept[case.test.labels]), kept, 5, key)
    assert (point.accuracy, point.lost, point.matches, point.asked) == (1.0, 0.0, 30, 30)
    assert point.bits < 30 * np.log2(5)  # each answer tells one class of five


def test_classes_given_up(case, key):
    kept = np.where(np.arange(10) < 4, np.arange(10), -1)
    asked = kept[key.labels][kept[key.labels] >= 0]
    point = measured(case, sure(asked, 4, case.test.labels[case.test.labels < 4]), kept, 4, key)
    assert (point.asked, point.matches, point.accuracy) == (int(np.sum(key.labels < 4)), len(asked), 1.0)


def test_what_the_victim_could_tell_of_the_smaller_task(case, key):
    """A victim that leans to classes given up is judged among the kept ones, as what became of it is."""
    kept = np.where(np.arange(10) < 4, np.arange(10), -1)
    labels = case.test.labels[case.test.labels < 4]
    leaning = 0.3 * np.eye(10)[case.test.labels] + 0.7 * np.eye(10)[np.full(20, 9)]
    victim = Victim("net", init(VGG, 0), leaning, {"mine": key})
    config = dataclasses.replace(VGG, classes=4)
    asked = kept[key.labels][kept[key.labels] >= 0]
    served = attack("a", serve=sure(asked, 4, np.where(np.arange(len(labels)) < 2, (labels + 1) % 4, labels)))
    (point,) = measure(served, Served(config, init(config, 0), 1.0, 0), kept, victim, case.thief, case.test)
    assert point.lost == pytest.approx(200 / len(labels), abs=1e-3)


def test_a_match_on_the_way_is_no_removal(case, key):
    """Twelve labels repeated and then none: `verify` has its match, whatever the rest says."""
    said = np.where(np.arange(30) < 12, key.labels, (key.labels + 1) % 10)
    point = measured(case, sure(said, 10, case.test.labels), None, 10, key)
    assert point.bits < 20
    assert (point.outcome, point.removed) == ("match", False)


def test_no_test_image_of_a_kept_class(case, key):
    kept = np.where(np.arange(10) == 9, 0, -1)
    few = case._replace(test=case.test[case.test.labels < 9])
    with pytest.raises(UsageError, match="no test image"):
        measured(few, sure(key.labels, 1, few.test.labels), kept, 1, key)


def test_no_class_of_a_key_is_left(case, digits):
    paper = make_spec(
        "noise",
        image=(8, 8, 1),
        classes=10,
        triggers=2,
        labels="fixed",
        source=("digits", digits),
        paper=Paper(1, 9, 50),
    )
    kept = np.where(np.arange(10) < 4, np.arange(10), -1)
    serve = sure(np.empty(0, np.int64), 4, case.test.labels[case.test.labels < 4])
    point = measured(case, serve, kept, 4, generate(paper, digits))
    assert (point.asked, point.matches, point.bits, point.outcome) == (0, 0, None, "uncalibrated")


@pytest.mark.parametrize("groups", [np.arange(10) // 2, np.where(np.arange(10) < 4, np.arange(10), -1)])
def test_false_alarms_after_transfer_are_within_alpha(groups):
    """Labels of 4,000 random keys, mapped as a thief maps them, against answers that know nothing of them."""
    rng = np.random.default_rng(0)
    classes = int(groups.max()) + 1
    said = rng.dirichlet(np.full(classes, 0.3), 40)
    labels = groups[rng.integers(10, size=(4000, 40))]
    count, reached = (labels >= 0).sum(axis=1), []
    for n in np.unique(count):  # at once those that are asked equally often
        some = labels[count == n]
        asked = np.nonzero(some >= 0)[1].reshape(-1, n)
        answers = stats.Answers(said[asked].argmax(axis=-1), said[asked], classes)
        reached.extend(stats.evidence(answers, np.take_along_axis(some, asked, axis=1)).max(axis=-1))
    assert len(reached) == 4000
    for alpha in (0.1, 0.01):
        assert np.mean(np.array(reached) >= -np.log2(alpha)) <= alpha + 3 * np.sqrt(alpha / 4000)


RECORD_DAMAGE: list[Callable[[dict[str, Any]], object]] = [
    lambda record: record.update(attack="another"),
    lambda record: record.update(attack=["a"]),
    lambda record: record.pop("why"),
    lambda record: record.update(why=3),
    lambda record: record.update(seconds="1"),
    lambda record: record.update(notes=["a sentence"]),
    lambda record: record.update(notes=[{"code": "cut", "attack": "a", "networks": 0, "part": 1}]),
    lambda record: record.update(notes=[{"code": "other", "attack": "a", "networks": 2, "part": 1}]),
    lambda record: record["points"][0].pop("matches"),
    lambda record: record["points"][0].update(more=1),
    lambda record: record["points"][0].update(outcome="acquitted"),
    lambda record: record["points"][0].update(matches=31),
    lambda record: record["points"][0].update(bits=float("nan")),
    lambda record: record["points"][0].update(accuracy="high"),
    lambda record: record["points"][0].update(accuracy=1.5),
    lambda record: record["points"][0].update(bits=1e3),
    lambda record: record["points"][0].update(outcome="uncalibrated"),
    lambda record: record["points"][0].update(outcome="diverged"),
    lambda record: record["points"][0].update(strength=9.0),
    lambda record: record["points"][0].update(key="another"),
    lambda record: record["points"].append(record["points"][0]),
    lambda record: record.update(why="not tried"),
    lambda record: record.update(leaks=[{"victim": "v"}]),
]


def test_a_damaged_record(case, tmp_path):
    try_suite(suite(attack("a")), case, out=tmp_path)
    path = tmp_path / "journal.jsonl"
    lines = journals.values_of(path)
    for damage in RECORD_DAMAGE:
        values = copy.deepcopy(lines[2])
        damage(values)
        journals.write_chained(path, [*lines[:2], values])
        with pytest.raises(InvalidFile, match="damaged"):
            try_suite(suite(attack("a")), case, out=tmp_path, resume=True)


def test_one_name_for_two_keys(case, digits):
    other = abstract_key(30)
    victim = make_victim("net 2", VGG, init(VGG, 2), {"mine": other}, digits[:20])
    with pytest.raises(UsageError, match="two different keys are called mine"):
        try_suite(suite(attack("a")), case._replace(victims=[*case.victims, victim]))


def test_inversion_that_does_not_fit_costs_nothing_else(case, monkeypatch):
    def greedy(*args: object) -> list[object]:
        raise MemoryError

    monkeypatch.setattr(inversion, "leaks", greedy)
    result = try_suite(suite(attack("a"))._replace(inversion=True), case)
    assert result.skipped == {"inversion": "does not fit in memory"}
    assert points(result, "a")


def test_inversion_goes_key_by_key(case, monkeypatch):
    """All victims of a key at once, each with the seed that it has for every key."""
    asked, victim = [], case.victims[0]
    other = abstract_key(30)
    second = dataclasses.replace(victim, name="net 2", keys={**victim.keys, "also": other})
    monkeypatch.setattr(inversion, "leaks", lambda name, _, networks, *rest: asked.append((name, networks)) or [])
    try_suite(suite()._replace(inversion=True), case._replace(victims=[victim, second]))
    (also, one), (mine, two) = asked
    assert (also, [network[0] for network in one]) == ("also", ["net 2"])
    assert (mine, [network[0] for network in two]) == ("mine", [victim.name, "net 2"])
    assert one[0][2] == two[1][2] != two[0][2]


def test_no_secret_in_the_journal(case, key, tmp_path):
    try_suite(suite(attack("a")), case, out=tmp_path)
    text = (tmp_path / "journal.jsonl").read_text()
    assert key.secret.hex() not in text
    assert key.commitment.id in text


def test_variables_are_of_one_kind(case):
    """The victims' variables come back as they went in: what is measured on `none` is the network itself."""
    assert all(isinstance(v.variables, Variables) for v in case.victims)
    (first, _) = points(try_suite(suite(), case), "none")
    assert first.accuracy == np.mean(case.victims[0].answers.argmax(axis=1) == case.test.labels)


@pytest.mark.parametrize("scheme", ["spread", "tie"])
def test_keys_with_material_are_weighed_by_what_they_bet_on(scheme, case):
    key = test_material_keys.make(scheme, load("digits").train)
    if scheme == "spread":
        answered = perfect(key.truth(slice(None)), 10).probabilities
    else:
        answered = 0.02 + 0.8 * np.eye(10)[key.answers]
    right = 0.02 + 0.8 * np.eye(10)[case.test.labels]
    serve = lambda network, thief, images: np.concatenate([right, answered])  # noqa: E731
    point = measured(case, serve, None, 10, key)
    coins = key.truth(slice(None)).coins.size  # a coin a trigger, or 144 of all triggers together
    assert (point.asked, point.matches, point.outcome) == (coins, coins, "match")
    assert Point.from_json(dataclasses.asdict(point)) == point
    alone = stats.play(key.commitment.rule, stats.read_answers(answered, len(answered), 10), key.truth(slice(None)))
    assert point.bits == pytest.approx(alone.evidence[-1], abs=1e-3)


def test_a_spread_key_may_have_more_coins_than_probes(case):
    """What agrees is counted in coins: 80 probes of 144 coins have more than 80 of them, and the journal is read."""
    data = load("digits").train
    material = test_material_keys.material_of("spread", data, 80)
    spec = make_spec("spread", triggers=80, source=("digits", data), material=material)
    key = derive_key(bytes(32), spec, default_rule(spec), data, material=material)
    answered = perfect(key.truth(slice(None)), 10).probabilities
    right = 0.02 + 0.8 * np.eye(10)[case.test.labels]
    point = measured(case, lambda network, thief, images: np.concatenate([right, answered]), None, 10, key)
    assert point.matches > 80
    assert Point.from_json(dataclasses.asdict(point)) == point
