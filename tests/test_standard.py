"""STANDARD.md says what the program does: font, numbers, rules, and what a search gains."""

import math
import re
from pathlib import Path

import numpy as np
import pytest
from sklearn.datasets import load_digits

import wmjax
from wmjax import stats
from wmjax.data import load_source
from wmjax.evidence import facts
from wmjax.keys.schemes.content import _FONT
from wmjax.stats import correlations, neighbours, renaming, spread, told, turned
from wmjax.stats import labels as label_bets
from wmjax.stats.rule import SEARCH_BITS

STANDARD = " ".join((Path(wmjax.__file__).parent / "evidence" / "STANDARD.md").read_text().split())


def numbers(before: str) -> tuple[float, ...]:
    """The numbers in the braces that follow some words."""
    (told,) = re.findall(re.escape(before) + r" in \{([^}]*)\}", STANDARD)[:1]
    return tuple(float(number) for number in told.split(","))


def test_the_font_is_the_schemes():
    told = dict(re.findall(r"\b([A-Z0-9]|space) ([0-7]{5})\b", STANDARD))
    assert {" " if letter == "space" else letter: rows for letter, rows in told.items()} == _FONT


def test_the_strategies_are_those_that_are_averaged():
    assert numbers("Six on the label, e") == label_bets.LABEL_HEDGES
    assert numbers("Sixteen on the probabilities, t") == label_bets.TEMPERATURES
    assert numbers("{0.5, 1, 2, 4}, e") == label_bets.PROBABILITY_HEDGES
    assert numbers("Three on a renaming, r") == renaming.RATES
    assert f"The sum of k has r = {renaming.CLEARED_RATE / 10:g} k:" in STANDARD
    assert f"less log(C / {renaming.EVEN_CLASSES}) where C > {renaming.EVEN_CLASSES} and" in STANDARD
    assert f"was above {told.SHOWN:g} / A and no other's in that answer" in STANDARD
    assert f"each k from 0 to {turned.MOST} that of the lowest one" in STANDARD
    assert f"C is at most {neighbours.FEW}, one more sum" in STANDARD
    assert f"2 ** {math.log2(neighbours._NEAREST):g} max(0, 1 - d) ** 4" in STANDARD
    assert f"r = C ** -{neighbours._ROOT:g}, or C ** -{neighbours._FEWER:g} where A < C;" in STANDARD
    for scores, count in ((0, 9), (4, 25), (3, 25), (5, 25 + 22)):
        answers = stats.Answers(np.array([1]), np.eye(scores)[[1]] if scores else None, 4)
        kind = stats.EVIDENCE["labels/1"]
        state, _ = kind.bet(kind.start(), answers, np.array([1]), stats.Rule(0.01, 0.01, 0.5, 1))
        assert state.totals.shape[-1] == count
    assert re.search(r"the 9 of labels, or, where the suspect answers with probabilities, 25", STANDARD)


def test_coins_that_all_answers_tell_are_read_as_it_says():
    stages = ", ".join(f"{stage:,}" for stage in spread.STAGES[:-1]) + f" and {spread.STAGES[-1]:,} rows"
    assert f"The evidence moves after {stages}" in STANDARD
    assert numbers("each form and each g") == spread.GAINS
    assert f"at least that of {correlations.LEAST} / {correlations.UNIT:,}, less" in STANDARD
    assert f"v = 1 + {correlations._STEPS} ({correlations._LOWEST} + e + f)" in STANDARD
    assert f"1 + {spread._SURE} s tanh(g T)" in STANDARD
    assert f"rounded to the nearest 1 / {correlations._FINEST:,};" in STANDARD
    assert re.search(rf"at least {spread.TELLING:,} different\sanswers \(rows of g", STANDARD)
    assert spread._WIDEST == 2**20
    assert "Where A C is above 2^20 only its label counts" in STANDARD


def test_digits_are_as_it_says():
    raw = load_digits()
    pixels = np.floor(raw.images * 255 / 16 + 0.5).astype(np.uint8)  # 127.5 is the only half, and goes up
    train = np.arange(1797) % 5 > 0
    source = load_source("digits", None, (8, 8, 1))
    np.testing.assert_array_equal(source.images[..., 0], pixels[train])
    np.testing.assert_array_equal(source.labels, raw.target[train])


@pytest.mark.parametrize("favourite", [1.0, 0.9, 0.5, 0.1])
def test_a_search_gains_no_more_than_the_logarithm_of_its_tries_whatever_the_suspect(favourite):
    """The margin counts tries: against a network of one answer they are cheaper, and not worth more."""
    rng = np.random.default_rng(0)
    tries, triggers = 1 << 16, 8
    answers = np.where(rng.random(triggers) < favourite, 0, rng.integers(10, size=triggers))
    told = stats.Answers(answers, None, 10)
    labels = rng.integers(10, size=(tries, triggers))
    best = np.max(stats.evidence(told, labels), axis=-1)  # each stopped at its own best moment
    counts = [np.mean(best >= bits) for bits in range(1, 16)]
    assert all(share <= 2.0**-bits + 4 * np.sqrt(2.0**-bits / tries) for bits, share in enumerate(counts, 1))
    assert 5 < best.max() < np.log2(tries) + 7  # and a search is worth something: it is not the check that is empty


def test_the_bits_in_the_table_are_the_judges():
    needed = -np.log2(1e-6) + np.array([facts.DATED_BITS, SEARCH_BITS])
    assert "83.9 bits with a date and 147.9 without" in STANDARD
    np.testing.assert_allclose(needed, [83.9, 147.9], atol=0.05)
    assert pytest.approx(140e6, rel=0.03) == 2.0**52 / (365.25 * 86400)
