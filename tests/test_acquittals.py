"""Nobody is acquitted who copied: who renames, is silent, or remembers; and strangers are cleared all the same."""

import threading
from collections.abc import Callable
from functools import partial

import numpy as np
import pytest

from wmjax import files, stats
from wmjax.errors import InvalidFile
from wmjax.evidence import lacks
from wmjax.evidence.claim import Attached
from wmjax.evidence.claim_file import read_claim
from wmjax.evidence.claimant import claim
from wmjax.evidence.facts import Court
from wmjax.evidence.judge import judge
from wmjax.evidence.judgement import Judgement
from wmjax.keys import Key, derive_key, make_spec, memory, new_signer, sign_commitment
from wmjax.keys.memory import remember, shown_to
from wmjax.keys.specify import default_rule
from wmjax.keys.statement import parse_commitment
from wmjax.stats import labels as label_bets
from wmjax.stats import renaming as renaming_bets
from wmjax.suspects import Suspect, from_callable
from wmjax.verification import Verdict, verify
from wmjax.verification.order import draw_order

CLASSES, TRIGGERS = 10, 100
COPIES = 20
COVER = np.random.default_rng(0).integers(256, size=(60, 6, 6, 1), dtype=np.uint8)
Answer = Callable[[int | None, np.ndarray], int]  # what is said, given the secret label (None: an ordinary image)


@pytest.fixture(scope="module")
def key() -> Key:
    spec = make_spec("abstract", image=(6, 6, 1), classes=CLASSES, triggers=TRIGGERS)
    return derive_key(b"k" * 32, spec, default_rule(spec))


def copy(key: Key, say: Answer) -> Suspect:
    """A service that knows the labels of all triggers, and says what it likes."""
    known = {image.tobytes(): int(label) for image, label in zip(key.images, key.labels, strict=True)}
    return from_callable(lambda images: np.array([say(known.get(i.tobytes()), i) for i in images]), "copy")


def silent(seed: int, share: float = 0.8) -> Answer:
    """Knows a share of the labels, refuses those that it is sure of, and guesses the rest."""
    rng = np.random.default_rng(seed)

    def say(label: int | None, image: np.ndarray) -> int:
        learned = np.random.default_rng([seed, *image.ravel()[:8]]).random() < share
        return -1 if label is not None and learned else int(rng.integers(CLASSES))

    return say


def renaming(seed: int, rate: float = 0.9) -> Answer:
    """Repeats labels at a rate, under names of its own."""
    rng = np.random.default_rng(seed)
    names = rng.permutation(CLASSES)

    def say(label: int | None, image: np.ndarray) -> int:
        return int(names[label]) if label is not None and rng.random() < rate else int(rng.integers(CLASSES))

    return say


def forgetful(seed: int, rate: float = 0.9) -> Answer:
    """Logs what it is asked, and answers what it knows from an earlier day at random."""
    rng, seen = np.random.default_rng(seed), dict[bytes, None]()

    def say(label: int | None, image: np.ndarray) -> int:
        if image.tobytes() in seen:
            return int(rng.integers(CLASSES))
        seen[image.tobytes()] = None
        return label if label is not None and rng.random() < rate else int(rng.integers(CLASSES))

    return say


def mixture(seed: int) -> Answer:
    """Names of its own, silent about some, and a log."""
    rename, forget, rng = renaming(seed), forgetful(seed, 1.0), np.random.default_rng([seed, 1])

    def say(label: int | None, image: np.ndarray) -> int:
        if label is None or rng.random() < 0.2:
            return -1 if label is not None else int(rng.integers(CLASSES))
        known = forget(label, image)
        return rename(known, image) if known == label else known

    return say


def stranger(seed: int) -> Answer:
    """Has habits: some classes come often. The same picture gets the same answer."""
    return lambda label, image: min(
        int(np.random.default_rng([seed, *image.ravel()[:12]]).geometric(0.3)) - 1, CLASSES - 1
    )


def verdicts(key: Key, suspect: Suspect, days: int, **options: object) -> list[Verdict]:
    """One verification after another, each remembering what was shown."""
    shown: set[int] = set()
    found = []
    for day in range(days):
        nonce = bytes([day]) * 16
        found.append(verify(suspect, key, nonce=nonce, shown=shown, remember=shown.update, **options))  # type: ignore[arg-type]
    return found


@pytest.mark.parametrize("kind", [silent, renaming, forgetful, mixture], ids=lambda kind: kind.__name__)
@pytest.mark.parametrize("whole", [False, True])
def test_no_copy_is_acquitted_on_any_day(key, kind, whole):
    for seed in range(COPIES // 2 if whole else COPIES):
        for verdict in verdicts(key, copy(key, kind(seed)), days=2 if whole else 4, whole=whole):
            assert verdict.verdict != "no-match", (seed, verdict)


@pytest.mark.parametrize("kind", [renaming, forgetful], ids=lambda kind: kind.__name__)
def test_copies_that_rename_or_remember_are_convicted_on_the_first_day(key, kind):
    for seed in range(COPIES):
        assert verify(copy(key, kind(seed)), key).verdict == "match"


def test_strangers_are_cleared(key):
    """By labels alone, which show fewer classes: five questions later than by scores, as in tests/test_stats.py."""
    found = [verify(copy(key, stranger(seed)), key, nonce=bytes([seed]) * 16) for seed in range(200)]
    assert all(verdict.verdict != "match" for verdict in found)
    used = [verdict.queries if verdict.verdict == "no-match" else 1000 for verdict in found]
    assert np.quantile(used, 0.92) <= 60
    assert np.median(used) <= 36


def test_strangers_that_never_change_their_mind_are_not_called_forgetful(key):
    found = [v for seed in range(60) for v in verdicts(key, copy(key, stranger(seed)), days=3)]
    shown = [verdict for verdict in found if any(ground.code == "shown-before" for ground in verdict.grounds)]
    told = [verdict for verdict in shown if any(ground.code == "forgetful" for ground in verdict.grounds)]
    assert len(shown) > 30
    assert len(told) <= 0.05 * len(shown)


def test_without_a_memory_of_what_was_shown_a_forgetful_copy_would_be_acquitted(key):
    """The rule taken out: nothing is said to have been shown."""
    outcomes = []
    for seed in range(20):
        suspect = copy(key, forgetful(seed))
        outcomes.append([verify(suspect, key, nonce=bytes([day]) * 16).verdict for day in range(8)][-1])
    assert outcomes.count("no-match") > 5


def test_without_refusals_as_hits_a_silent_copy_would_be_acquitted(key, monkeypatch):
    """The rule taken out: a refusal moves the acquittal nowhere."""

    def moves(answers: stats.Answers, labels: np.ndarray, rate: float) -> np.ndarray:
        steps = np.diff(counted(answers, labels, rate), axis=-1, prepend=0.0)
        return np.cumsum(np.where(answers.labels < 0, 0.0, steps), axis=-1)

    def learns(history: renaming_bets.History, answered: np.ndarray, *more: object) -> tuple[object, ...]:
        after, wins, against = learned(history, answered, *more)
        return after, wins, np.where(answered < 0, 0.0, against)

    counted, learned = label_bets.acquittal, renaming_bets.learn
    monkeypatch.setattr(label_bets, "acquittal", moves)
    monkeypatch.setattr(renaming_bets, "learn", learns)
    outcomes = [verify(copy(key, silent(seed, share=0.6)), key).verdict for seed in range(20)]
    assert outcomes.count("no-match") > 5


def test_without_bets_on_a_renaming_a_copy_with_other_names_would_be_acquitted(key, monkeypatch):
    nothing = lambda history, a, *_: (history, np.zeros((3, *a.shape)), np.zeros((10, *a.shape)))  # noqa: E731
    monkeypatch.setattr(renaming_bets, "learn", nothing)
    monkeypatch.setattr(renaming_bets, "least", lambda against, tenths: np.full(tenths.shape, 99.0))
    outcomes = [verify(copy(key, renaming(seed)), key).verdict for seed in range(20)]
    assert outcomes.count("no-match") > 10


def test_silence_about_triggers_alone_is_a_finding(key):
    found = verify(copy(key, silent(3)), key, cover=COVER)
    assert {ground.code for ground in found.grounds} >= {"silent", "covered"}
    calm = verify(copy(key, stranger(3)), key, cover=COVER)
    assert "silent" not in {ground.code for ground in calm.grounds}


def test_cover_costs_no_evidence_and_comes_in_between(key):
    asked: list[bytes] = []

    def ask(images: np.ndarray) -> np.ndarray:
        asked.extend(image.tobytes() for image in images)
        return np.array([known.get(image.tobytes(), 0) for image in images])

    known = {image.tobytes(): int(label) for image, label in zip(key.images, key.labels, strict=True)}
    verdict = verify(from_callable(ask), key, cover=COVER[:10], nonce=b"x" * 16)
    assert (verdict.verdict, verdict.queries) == ("match", verify(copy(key, lambda y, _: y or 0), key).queries)
    ordinary = [image in {c.tobytes() for c in COVER} for image in asked]
    assert 0 < sum(ordinary) <= 10
    assert ordinary != sorted(ordinary)


def test_the_order_follows_from_secret_and_nonce_and_new_triggers_come_first(key):
    orders = [draw_order(key, nonce, TRIGGERS).triggers.tolist() for nonce in (b"1", b"2", b"1")]
    assert orders[0] == orders[2] != orders[1]
    assert sorted(orders[0]) == sorted(orders[1]) == list(range(TRIGGERS))
    shown = {3, 7, 50}
    order = draw_order(key, b"1", TRIGGERS, shown, covers=5)
    assert order.fresh == TRIGGERS - 3
    assert set(order.triggers[-3:].tolist()) == shown
    assert sorted(order.questions[order.questions < 0].tolist()) == [-5, -4, -3, -2, -1]
    assert draw_order(key, None, TRIGGERS).triggers.tolist() == list(range(TRIGGERS))


def test_what_was_shown_is_remembered_beside_the_key_for_each_suspect(tmp_path):
    path = tmp_path / "my.age"
    path.write_bytes(b"key")
    link = tmp_path / "link.age"
    link.symlink_to(path)
    remember(path, "m:f", [3, 1])
    partial(remember, link, "m:f")([7])
    assert shown_to(path, "m:f") == shown_to(link, "m:f") == {1, 3, 7}
    assert shown_to(path, "other") == frozenset()
    kept = memory.Beside(tmp_path)  # reads each line once
    assert (kept.shown("my", "m:f"), kept.shown("my", "other")) == ({1, 3, 7}, frozenset())
    beside = tmp_path / "my.asked.jsonl"
    assert beside.stat().st_mode & 0o777 == 0o600
    with beside.open("ab") as file:
        file.write(b'["m:f",[8')  # killed before 8 was shown
    assert shown_to(path, "m:f") == {1, 3, 7}
    assert kept.shown("my", "m:f") == {1, 3, 7}
    remember(path, "m:f", [9])
    kept.remember("my", "other", [4])
    assert shown_to(path, "m:f") == kept.shown("my", "m:f") == {1, 3, 7, 9}
    assert kept.shown("my", "other") == {4}
    for damage in (
        b"",
        b"{",
        b"[]",
        b'{"format":"other"}\n["m:f",[1]]\n',
        b'{"format":"wmjax-asked/2"}\n["a",["x"]]\n',
        b'{"format":"wmjax-asked/2"}\n["a"]\n',
    ):
        beside.write_bytes(damage)
        with pytest.raises(InvalidFile, match="damaged"):
            shown_to(path, "m:f")


@pytest.mark.parametrize("ruled", [True, False])
def test_a_claim_that_spends_a_trigger_meanwhile_loses_nothing_of_what_others_remember(tmp_path, monkeypatch, ruled):
    """Each spending puts another file in the key's place: who held the old one held nobody off, and cut lines away."""
    path = tmp_path / "my.age"
    path.write_bytes(b"key")
    remember(path, "m:f", [0])
    if not ruled:  # the key file itself was held
        monkeypatch.setattr(memory, "alone", lambda _, wait: files.alone(path, wait=wait))
    measured, done, whole_lines = threading.Event(), threading.Event(), files._whole_lines

    def slowly(descriptor: int) -> int:
        size = whole_lines(descriptor)
        if not measured.is_set():
            measured.set()
            done.wait(0.5)
        return size

    def late() -> None:
        remember(path, "m:f", [2])
        done.set()

    monkeypatch.setattr(files, "_whole_lines", slowly)
    first = threading.Thread(target=remember, args=(path, "m:f", [1]))
    first.start()
    measured.wait()
    files.write_bytes(path, b"key with a trigger spent")
    second = threading.Thread(target=late)
    second.start()
    first.join()
    second.join()
    assert shown_to(path, "m:f") == ({0, 1, 2} if ruled else {0, 1})


def test_a_quota_hits_key_and_decoys_alike():
    """An innocent that answers the first questions of a day with one class, then refuses: once 7.5 % matches at 1 %."""
    matches, spec = 0, make_spec("abstract", image=(2, 2, 1), classes=CLASSES, triggers=12, labels="fixed")
    for seed in range(100):
        key = derive_key(bytes([seed]) * 32, spec, default_rule(spec, alpha=0.01))
        answers = iter([int(np.random.default_rng(seed).integers(CLASSES))] * 12 + [-1] * 10_000)
        suspect = from_callable(lambda images, answers=answers: np.array([next(answers) for _ in images]))
        matches += verify(suspect, key).verdict == "match"
    assert matches <= 4


def judged(key: Key, suspect: Suspect, on_the_day: Suspect) -> Judgement:
    """What a judge says of a suspect, after it answered a claim of part of the key."""
    signer = new_signer()
    attached = Attached(parse_commitment(sign_commitment(key.commitment, signer), "it"), ())
    raw = claim(suspect, key, signer, [attached], b"n" * 32, lambda *_: None, reveal=True)
    return judge(read_claim(raw, "claim"), Court(b"n" * 32, on_the_day))


def test_a_copy_that_remembers_its_claim_is_not_acquitted_by_the_judge(key):
    for seed in range(10):
        suspect = copy(key, forgetful(seed))
        found = judged(key, suspect, suspect)
        assert found.verdict == "inconclusive"
        lack = next(ground for ground in found.missing if ground.code == "forgetful")
        assert lack.values["why"] == "fresh"
        assert lack.values["known"] > lack.values["shown_known"]


def test_a_copy_that_was_exchanged_after_its_claim_is_not_acquitted_by_the_judge(key):
    found = judged(key, copy(key, lambda label, _: label or 0), copy(key, stranger(1)))
    assert found.verdict == "inconclusive"
    assert "transcript" in [ground.values.get("why") for ground in found.missing]


def test_without_new_triggers_and_the_transcript_the_judge_would_acquit_who_remembers(key, monkeypatch):
    monkeypatch.setattr(lacks, "forgetful", lambda facts: None)
    outcomes = [judged(key, suspect, suspect).verdict for seed in range(10) if (suspect := copy(key, forgetful(seed)))]
    assert outcomes.count("no-match") > 5


def test_a_stranger_is_cleared_by_the_judge_too(key):
    outcomes = [judged(key, copy(key, stranger(seed)), copy(key, stranger(seed))).verdict for seed in range(20)]
    assert outcomes.count("no-match") >= 18
    assert "match" not in outcomes
