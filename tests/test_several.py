"""Several keys about one suspect: exact together, whichever of them it carries; each alone as ever."""

import dataclasses
import json
import math
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from fixtures import abstract_key
from refusals import one_line

from wmjax import stats
from wmjax.cli import verify as verify_verb
from wmjax.errors import UsageError
from wmjax.keys import Key, Unlock, generate, make_spec, open_key
from wmjax.suspects import Suspect, from_callable
from wmjax.verification import Combined, combine, verify
from wmjax.verification.several import stop_bits

ALPHA, DRAWS = 1e-2, 20_000
Game = Callable[[np.random.Generator], list[np.ndarray]]


def wager(rng: np.random.Generator, wealth: float, aim: float) -> float:
    """A fair game in bits: `wealth` becomes `aim` with the chance that keeps its mean, else next to nothing."""
    return math.log2(aim) if rng.random() < wealth / aim else -40.0


def spender(rng: np.random.Generator) -> list[np.ndarray]:
    """A suspect whose answers win all that may be won by luck, and stake on the second key what the first one left."""
    first = wager(rng, 1.0, 2.0)
    have = 2.0**first  # the mean of the three terms is (second * (have + 1) + have) / 3
    second = wager(rng, 1.0, (3 / ALPHA - have) / (have + 1) + 1e-6)
    return [np.array([first]), np.array([0.0, second])]


def chaser(rng: np.random.Generator) -> list[np.ndarray]:
    """One who tries to win with the first key alone, and where that fails with the second alone."""
    return [np.array([wager(rng, 1.0, 1 / ALPHA)]), np.array([wager(rng, 1.0, 1 / ALPHA)])]


def share(game: Game, rule: Callable[[list[np.ndarray]], float]) -> float:
    """How often a game that is fair ends in a match."""
    rng = np.random.default_rng(7)
    return float(np.mean([rule(game(rng)) >= -math.log2(ALPHA) for _ in range(DRAWS)]))


def together(paths: list[np.ndarray]) -> float:
    return float(stats.multiplied(paths).max())


@pytest.mark.parametrize(("game", "floor"), [(spender, 0.4), (chaser, 0.0)])
def test_false_matches_under_the_null_stay_below_alpha_and_come_near_it(game: Game, floor: float) -> None:
    found = share(game, together)
    assert floor * ALPHA <= found <= ALPHA + 4 * math.sqrt(ALPHA / DRAWS)


def test_real_evidence_stays_below_alpha_too_and_comes_near_it() -> None:
    """Labels of two classes, each of two keys asked until it suffices by itself; all games are played at once."""
    draws = 5000
    answers, labels = np.random.default_rng(7).integers(2, size=(2, draws, 2, 40))
    games = stats.evidence(stats.Answers(answers, None, 2), labels)

    def until_enough(path: np.ndarray) -> np.ndarray:
        enough = path >= stats.cost(2) - math.log2(ALPHA)
        return path[: int(enough.argmax()) + 1] if enough.any() else path

    found = np.mean([together(list(map(until_enough, game))) >= -math.log2(ALPHA) for game in games])
    assert 0.02 * ALPHA <= found <= ALPHA + 4 * math.sqrt(ALPHA / draws)


def test_without_the_mean_choosing_the_best_key_would_break_the_bound() -> None:
    """Taken out: the larger of product and single wealths, for nothing; whoever tries each key in turn gets away."""

    def best(paths: list[np.ndarray]) -> float:
        return max(sum(path[-1] for path in paths), *(path[-1] for path in paths))

    assert share(chaser, best) > ALPHA + 4 * math.sqrt(ALPHA / DRAWS)


def test_a_key_beside_itself_would_break_the_bound() -> None:
    """Taken out: keys that share a secret; what an innocent won by luck would count twice."""

    def twice(rng: np.random.Generator) -> list[np.ndarray]:
        return [np.array([wager(rng, 1.0, 18.0)])] * 2

    assert share(twice, together) > 4 * ALPHA


def test_together_is_the_mean_of_the_product_and_of_each_alone() -> None:
    rng = np.random.default_rng(0)
    paths = [rng.normal(0, 3, size=n) for n in (4, 1, 3)]
    expected = []
    for number, path in enumerate(paths):
        for value in path:
            wealths = [2 ** p[-1] for p in paths[:number]] + [2**value] + [1.0] * (2 - number)
            expected.append(math.log2((math.prod(wealths) + sum(wealths)) / 4))
    np.testing.assert_allclose(stats.multiplied(paths), expected)
    for path in paths:
        np.testing.assert_allclose(stats.multiplied([path]), path)


def test_one_key_that_reaches_the_threshold_and_the_cost_suffices_whatever_the_others_say() -> None:
    enough = np.array([stats.cost(3) - math.log2(ALPHA) + 1e-9])
    for place in range(3):
        paths = [np.array([-50.0])] * 3
        paths[place] = enough
        assert stats.multiplied(paths)[-1] >= -math.log2(ALPHA)
        paths[place] = enough - 0.01
        assert stats.multiplied(paths)[-1] < -math.log2(ALPHA)


# Verdicts


@pytest.fixture(scope="module")
def keys() -> list[Key]:
    return [abstract_key(100), abstract_key(100)]


def knows(keys: list[Key], hits: tuple[int, ...]) -> Suspect:
    """One that answers so many of each key's first triggers with their label, and all others with another class."""
    told, rng = {}, np.random.default_rng(5)
    for key, count in zip(keys, hits, strict=True):
        for place, (image, label) in enumerate(zip(key.images, key.labels, strict=True)):
            told[image.tobytes()] = int(label + (place >= count) * rng.integers(1, 10)) % 10
    return from_callable(lambda images: np.array([told[image.tobytes()] for image in images]), "knower")


def asked(suspect: Suspect, keys: list[Key], *, enough: bool = True, whole: bool = False) -> Combined:
    bits = stop_bits(keys) if enough else None
    return combine(keys, [verify(suspect, key, whole=whole, stop_bits=bits, nonce=bytes(16)) for key in keys])


def test_two_weak_marks_convict_together(keys: list[Key]) -> None:
    found = asked(knows(keys, (27, 27)), keys, whole=True)
    assert [verdict.verdict for verdict in found.verdicts] == ["inconclusive"] * 2
    assert found.verdict == "match"
    assert found.evidence_bits > found.needed_bits > max(verdict.evidence_bits or 0 for verdict in found.verdicts)
    assert [ground.code for ground in found.grounds] == ["combined", "not-searched"]


@pytest.mark.parametrize("order", [(0, 1), (1, 0)])
def test_a_mark_beside_a_key_that_is_not_there_convicts(keys: list[Key], order: tuple[int, int]) -> None:
    """Taken out: asking that stops where the one key alone would suffice leaves the combination short of it."""
    suspect, ordered = knows(keys, (100, 0)), [keys[number] for number in order]
    found = asked(suspect, ordered)
    assert (found.verdict, [v.verdict for v in found.verdicts][order.index(0)]) == ("match", "match")
    assert found.needed_bits + stats.cost(2) <= (found.verdicts[order.index(0)].evidence_bits or 0)
    if order == (1, 0):
        assert asked(suspect, ordered, enough=False).verdict == "inconclusive"


def test_each_verdict_is_what_it_is_alone(keys: list[Key]) -> None:
    for hits in ((100, 0), (0, 0), (29, 10)):
        suspect = knows(keys, hits)
        found = asked(suspect, keys)
        assert [v.verdict for v in found.verdicts] == [verify(suspect, key, nonce=bytes(16)).verdict for key in keys]


def test_no_match_needs_that_of_every_key(keys: list[Key]) -> None:
    cleared = asked(knows(keys, (0, 0)), keys)
    assert (cleared.verdict, [v.verdict for v in cleared.verdicts]) == ("no-match", ["no-match"] * 2)
    assert cleared.evidence_bits < 0
    open_ = asked(knows(keys, (27, 0)), keys, whole=True)
    assert (open_.verdict, {v.verdict for v in open_.verdicts}) == ("inconclusive", {"no-match", "inconclusive"})


def test_evidence_that_peaked_while_asking_stays_a_match(keys: list[Key]) -> None:
    verdicts = [verify(knows(keys, (100, 0)), key, whole=True, nonce=bytes(16)) for key in keys]
    fallen = [dataclasses.replace(v, path=np.append(v.path, -30.0)) for v in verdicts]
    found = combine(keys, fallen)
    assert (found.verdict, found.evidence_bits < found.needed_bits) == ("match", True)
    assert "peaked" in {ground.code for ground in found.grounds}


def test_the_strictest_alpha_holds() -> None:
    spec = make_spec("abstract", image=(8, 8, 1), classes=10, triggers=100)
    keys = [generate(spec, alpha=alpha) for alpha in (1e-2, 1e-9)]
    found = asked(knows(keys, (100, 0)), keys)
    assert (found.alpha, found.verdict) == (1e-9, "match")


def test_the_document_holds_each_verdict_and_words(keys: list[Key]) -> None:
    document = json.loads(json.dumps(asked(knows(keys, (100, 0)), keys).to_json()))
    assert list(document) == [
        "version", "verdict", "evidence_bits", "alpha", "suspect", "verdicts", "grounds", "needed_bits", "assumptions",
    ]  # fmt: skip
    assert document["needed_bits"] == pytest.approx(-np.log2(document["alpha"]))
    assert [one["key_id"] for one in document["verdicts"]] == [key.commitment.id for key in keys]
    assert "costs 1.6 bits" in document["assumptions"][0]
    assert "only more than 256 bits" in document["assumptions"][1]  # each key may have been searched for by itself


def test_what_does_not_multiply_is_refused(keys: list[Key]) -> None:
    suspect = knows(keys, (0, 0))
    one, two = (verify(suspect, key) for key in keys)
    fixed = generate(make_spec("abstract", image=(8, 8, 1), classes=10, triggers=20, labels="fixed"))
    dated = dataclasses.replace(keys[0].commitment, created="2020-01-01T00:00:00+00:00")
    again = dataclasses.replace(keys[0], commitment=dated)
    for chosen, verdicts, words in (
        ([keys[0], keys[0]], [one, one], "share a secret"),
        ([keys[0], again], [one, verify(suspect, again)], "share a secret"),
        ([keys[0], fixed], [one, one], "fixed labels"),
        (keys, [two, one], "in their order"),
        (keys, [one], "in their order"),
        (keys, [], "`verdicts`"),
        (keys[:1], [one], "two or more"),
        (keys, [one, dataclasses.replace(two, suspect="another")], "about one suspect"),
    ):
        with pytest.raises(UsageError, match=words):
            combine(chosen, verdicts)


# The command


@pytest.fixture
def home(run, tmp_path: Path):
    """Two keys with their identities beside them, and functions that know of each so many triggers."""
    for name in ("a", "b"):
        assert run("keygen", "--image", "8x8x1", "--classes", "10", "--triggers", "60", "--out", name)[0] == 0
    keys = [open_key(f"{name}.age", Unlock(identity=Path(f"{name}.identity").read_text())) for name in "ab"]
    np.savez("known.npz", images=np.stack([key.images for key in keys]), labels=np.stack([key.labels for key in keys]))
    Path("theirs.py").write_text(
        "import numpy as np\n"
        "known = np.load('known.npz')\n"
        "rng = np.random.default_rng(5)\n"
        "def told(hits):\n"
        "    table = {image.tobytes(): (label + (place >= count) * rng.integers(1, 10)) % 10\n"
        "             for images, labels, count in zip(known['images'], known['labels'], hits)\n"
        "             for place, (image, label) in enumerate(zip(images, labels))}\n"
        "    return lambda images: np.array([table[image.tobytes()] for image in images])\n"
        "stolen, innocent, unclear = told((60, 0)), told((0, 0)), told((16, 0))\n"
    )
    return run


@pytest.mark.parametrize(("name", "code", "verdict"), [
    ("stolen", 0, "match"), ("innocent", 1, "no-match"), ("unclear", 3, "inconclusive"),
])  # fmt: skip
def test_the_exit_code_is_that_of_the_keys_together(home, name: str, code: int, verdict: str) -> None:
    both = ["--key", "a.age", "--key", "b.age"]
    got, out, _ = home("verify", *both, f"theirs:{name}", "--json", "--all")
    document = json.loads(out)
    assert (got, document["verdict"], len(document["verdicts"])) == (code, verdict, 2)
    for name_of_key in "ab":
        Path(f"{name_of_key}.asked.jsonl").unlink()  # else nobody would be cleared: all has been shown
    got, out, _ = home("verify", *both, f"theirs:{name}", "--all")
    assert (got, f"{verdict}: theirs:{name} and the 2 keys together" in out) == (code, True)
    if name == "stolen":  # alone, each says what it says
        assert [one["verdict"] for one in document["verdicts"]] == ["match", "no-match"]
        assert home("verify", "--key", "b.age", "theirs:stolen")[0] in (1, 3)


def test_one_key_given_twice_is_refused_before_anything_is_asked(home) -> None:
    code, out, err = home("verify", "--key", "a.age", "--key", "a.age", "theirs:stolen")
    assert (code, out, "share a secret" in one_line(err)) == (2, "", True)
    assert not Path("a.asked.jsonl").exists()


def test_a_suspect_that_ends_at_a_later_key_does_not_take_the_first_ones_verdict_along(home, monkeypatch) -> None:
    """A match was found and its triggers shown: whoever is asked must not undo that by going away."""
    Path("quits.py").write_text(
        "import os\nimport theirs\n"
        "def stolen(images):\n"
        "    with open('asked', 'a') as file:\n"
        "        if file.write('.') and file.tell() > 12:\n"
        "            os._exit(1)\n"
        "    return theirs.stolen(images)\n"
    )
    both = ["--key", "a.age", "--key", "b.age"]
    code, out, err = home("verify", *both, "quits:stolen")
    first, second = err.splitlines()[-2:]
    assert (code, out, "answers no more" in second) == (5, "", True)
    assert first.startswith("wmjax: before it ended: match: quits:stolen and key")
    Path("asked").unlink()
    monkeypatch.setattr(verify_verb, "warn", lambda line: None)
    assert "match: quits:stolen" not in home("verify", *both, "quits:stolen")[2]


def test_a_suspect_is_opened_once_for_all_keys(home) -> None:
    """A service would be shown its plain picture, and a file read, as often as there are keys."""
    Path("counted.py").write_text(
        "import theirs\nopen('opened', 'a').write('.')\n\n\ndef stolen(images):\n    return theirs.stolen(images)\n"
    )
    assert home("verify", "--key", "a.age", "--key", "b.age", "counted:stolen")[0] == 0
    assert Path("opened").read_text() == "."
