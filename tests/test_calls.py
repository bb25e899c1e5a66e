"""Asking with patience: each image once, in order, at once as allowed, and nothing that hangs holds up the rest."""

import subprocess
import sys
import threading
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from processes import gone

from wmjax.errors import AccessError, AnswerError, GoneError
from wmjax.suspects.calls import ask_each
from wmjax.suspects.contract import Askable, Suspect
from wmjax.suspects.process import start

IMAGES = [np.full((2, 2, 1), i, np.uint8) for i in range(8)]


def askable(ask: Callable[[np.ndarray], Any], timeout: float = 60.0, concurrency: int = 1) -> Askable:
    return Askable(Suspect("it", ask, (2, 2, 1), 10), timeout, concurrency)


def number(images: np.ndarray) -> int:
    assert images.shape == (1, 2, 2, 1)
    return int(images[0, 0, 0, 0])


@pytest.mark.parametrize("concurrency", [1, 3, 100])
def test_each_image_is_asked_once_and_answers_are_in_their_order(concurrency):
    asked, lock = [], threading.Lock()

    def ask(images: np.ndarray) -> np.ndarray:
        with lock:
            asked.append(number(images))
        return np.array([number(images)])

    answers = ask_each(askable(ask, concurrency=concurrency), IMAGES, 10)
    assert [int(answer.labels[0]) for answer in answers] == list(range(8))
    assert sorted(asked) == list(range(8))


def test_the_order_is_the_images_even_where_the_first_answers_last():
    last = threading.Event()

    def ask(images: np.ndarray) -> np.ndarray:
        if number(images) == 0:
            assert last.wait(60)
        if number(images) == 7:
            last.set()
        return np.array([number(images)])

    answers = ask_each(askable(ask, concurrency=2), IMAGES, 10)
    assert [int(answer.labels[0]) for answer in answers] == list(range(8))


def test_a_failure_is_told_in_its_place():
    def ask(images: np.ndarray) -> np.ndarray:
        if number(images) == 3:
            raise SystemExit("no more")
        return np.eye(10)[[number(images)]]

    answers = ask_each(askable(ask), IMAGES, 10)
    assert [isinstance(answer, AccessError) for answer in answers] == [i == 3 for i in range(8)]
    assert str(answers[3]) == "suspect it failed to answer: SystemExit no more"


@pytest.mark.parametrize("first", [0, 5])
def test_a_call_that_hangs_ends_the_asking_and_no_other_is_made(first):
    """What came back before is told, and so is the call that failed."""
    forever, asked = threading.Event(), []

    def ask(images: np.ndarray) -> np.ndarray:
        asked.append(number(images))
        if number(images) >= first:
            forever.wait()
        return np.array([1])

    before, told = [], []
    with pytest.raises(GoneError, match="suspect it did not answer within 1 seconds"):
        ask_each(
            askable(ask, timeout=1.0),
            IMAGES,
            10,
            before=before.extend,
            told=lambda backs: told.extend((place, isinstance(back, GoneError)) for place, back in backs.items()),
        )
    assert asked == before == list(range(first + 1))
    assert told == [(place, place == first) for place in before]
    forever.set()


@pytest.mark.parametrize("answer", [np.zeros((1, 1)), np.zeros(3, int), "text", [[1], [1, 2]], None, {}])
def test_what_is_no_answer_is_told_in_its_place(answer):
    for back in ask_each(askable(lambda images: answer), IMAGES, 10):
        assert isinstance(back, AnswerError)
        assert str(back).startswith("suspect it")


def test_a_process_that_hangs_ends_the_asking_and_is_killed(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "shop.py").write_text(
        "import os, time\nfrom pathlib import Path\n"
        "def hangs(images): Path('pid').write_text(str(os.getpid())); time.sleep(3600)\n"
    )
    ask = start("shop:hangs", timeout=1.0, first=1.0)
    with pytest.raises(AccessError, match="did not answer within 1 seconds"):
        ask_each(askable(ask, timeout=1.0), IMAGES, 10)
    with pytest.raises(AccessError, match="did not answer within 1 seconds"):
        ask(IMAGES[0][None])
    assert gone(int((tmp_path / "pid").read_text()))


def test_what_it_prints_is_no_part_of_a_document(capsys):
    ask_each(askable(lambda images: print("words") or np.array([1]), concurrency=4), IMAGES, 10)
    said = capsys.readouterr()
    assert (said.out, said.err.count("words")) == ("", 8)


def test_no_jax_is_near():
    rooms = ("calls", "query", "contract", "listing", "process", "child", "open", "strangers", "adapt", "wording")
    imports = "; ".join(f"import wmjax.suspects.{room}" for room in rooms)
    program = f"{imports}; import sys; print('jax' in sys.modules)"
    assert (
        subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True).stdout == "False\n"
    )
