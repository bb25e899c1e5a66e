"""The derivation standard: frozen vectors, an independent re-implementation, and uniformity."""

import hashlib
import json
import re
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import chisquare

import wmjax
from wmjax.keys import derive
from wmjax.keys.derive import Stream

ZERO, COUNT = bytes(32), bytes(range(32))

# Never to change: every key ever made depends on them.
VECTORS = json.loads((Path(wmjax.__file__).parent / "evidence" / "vectors" / "keys.v1.json").read_text())


def reference(secret: bytes, purpose: str, index: int, count: int) -> bytes:
    """The docstring's words, written anew."""
    message = (8).to_bytes(4, "big") + b"wmjax/v1" + len(purpose).to_bytes(4, "big") + purpose.encode()
    message += index.to_bytes(8, "big") + (32).to_bytes(4, "big") + secret
    return hashlib.shake_256(message).digest(count)


def stream_of(vector: dict) -> Stream:
    return Stream(bytes.fromhex(vector["secret"]), vector["purpose"], vector["index"])


@pytest.mark.parametrize("vector", VECTORS["octets"], ids=lambda vector: vector["purpose"])
def test_octets_are_frozen(vector):
    expected = bytes.fromhex(vector["octets"])
    assert stream_of(vector).octets(len(expected)).tobytes() == expected


@pytest.mark.parametrize("vector", VECTORS["integers"], ids=lambda vector: str(vector["bound"]))
def test_integers_are_frozen(vector):
    assert stream_of(vector).integers(vector["bound"], 5).tolist() == vector["numbers"]


@pytest.mark.parametrize("vector", VECTORS["distinct"], ids=lambda vector: vector["purpose"])
def test_distinct_is_frozen(vector):
    assert stream_of(vector).distinct(vector["bound"], 8).tolist() == vector["numbers"]


@given(st.binary(min_size=32, max_size=32), st.integers(0, 2**64 - 1), st.lists(st.integers(0, 300), max_size=5))
def test_octets_in_pieces_are_the_reference_in_one(secret, index, pieces):
    stream = Stream(secret, "any", index)
    read = b"".join(stream.octets(n).tobytes() for n in pieces)
    assert read == reference(secret, "any", index, sum(pieces))


@given(st.integers(1, 2**32), st.integers(0, 40))
def test_integers_are_the_naive_rejection(bound, count):
    words = reference(COUNT, "n", 3, 8 * 200)
    naive = []
    for at in range(0, len(words), 8):
        word = int.from_bytes(words[at : at + 8], "big")
        if word < 2**64 - 2**64 % bound:
            naive.append(word % bound)
    assert Stream(COUNT, "n", 3).integers(bound, count).tolist() == naive[:count]


def test_integers_one_by_one_are_integers_at_once():
    one_by_one = Stream(ZERO, "n", 0)
    assert [one_by_one.integers(7, 1)[0] for _ in range(50)] == Stream(ZERO, "n", 0).integers(7, 50).tolist()


def test_rejected_words_are_skipped(monkeypatch):
    # A real rejection needs 2**32 tries: feed the stream a word above the limit by hand.
    words = [2**64 - 1, 12, 5]
    stream = Stream(ZERO, "n", 0)
    monkeypatch.setattr(stream, "_squeezed", b"".join(word.to_bytes(8, "big") for word in words))
    assert stream.integers(10, 2).tolist() == [2, 5]  # 2**64 - 1 >= 2**64 - 6


def test_integers_are_uniform():
    counts = np.bincount(Stream(COUNT, "uniform", 0).integers(10, 100_000), minlength=10)
    assert chisquare(counts).pvalue > 1e-4


@settings(max_examples=30)
@given(st.integers(1, 60).flatmap(lambda n: st.tuples(st.just(n), st.integers(0, n))))
def test_distinct_numbers_are_distinct_and_prefix_stable(case):
    bound, count = case
    numbers = Stream(ZERO, "d", 0).distinct(bound, count).tolist()
    assert len(set(numbers)) == count
    assert all(0 <= n < bound for n in numbers)
    assert Stream(ZERO, "d", 0).distinct(bound, bound).tolist()[:count] == numbers


def test_streams_of_different_names_differ():
    streams = {Stream(s, p, i).octets(32).tobytes() for s in (ZERO, COUNT) for p in ("a", "ab", "b") for i in (0, 1)}
    assert len(streams) == 12


def test_wrong_sizes_are_refused():
    with pytest.raises(ValueError, match="32 bytes"):
        Stream(b"short", "x", 0)
    with pytest.raises(ValueError, match="bound"):
        Stream(ZERO, "x", 0).integers(0, 1)
    with pytest.raises(ValueError, match="different"):
        Stream(ZERO, "x", 0).distinct(3, 4)


def test_every_stream_is_in_the_table():
    root = Path(wmjax.__file__).parent
    named = re.compile(r'\bStream\(\w[\w.]*, f?"([a-z]+)[/"]')
    used = {name for path in root.rglob("*.py") for name in named.findall(path.read_text())}
    calls = sum(len(re.findall(r"(?<!class )\bStream\(", path.read_text())) for path in root.rglob("*.py"))
    assert calls == sum(len(named.findall(path.read_text())) for path in root.rglob("*.py")) + 1  # an example's
    assert used == set(re.findall(r"^\| `([a-z]+)[/`]", derive.__doc__, re.M))
