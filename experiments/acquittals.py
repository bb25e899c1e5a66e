"""Who is acquitted: thieves who rename, are silent, remember, merge classes, or all of it; and innocents.

Command   python experiments/acquittals.py [--verifications 1000] [--small]
Expected  no thief acquitted, of 1,000 verifications of each kind; of the innocent at least 95 % cleared within 60
          questions, the median below 30, and none a match
Time      about 15 minutes on 2 CPU cores

The stolen network is a digits CNN that was marked with 100 abstract triggers, then trained on by the thief for some
epochs without them. A thief serves it behind a function and does something to its answers. Where a thief remembers,
it is verified on one day after another, and what it was shown is remembered beside the key. Innocents are digits CNNs
that never saw a key; each is asked about keys of its own.
"""

import argparse
import dataclasses
import sys
from collections import Counter
from collections.abc import Callable
from typing import Any

import numpy as np
import record

from wmjax.data import load
from wmjax.keys import Key, generate, make_spec
from wmjax.models import Config, Variables, accuracy, predict
from wmjax.suspects import from_callable
from wmjax.train import Recipe, fit
from wmjax.train.loop import first_state
from wmjax.verification import Verdict, verify

CONFIG = Config("cnn", (8, 8, 1), 10, (16, 32), (64,))
MARKING = Recipe(epochs=20, batch=64, learning_rate=0.05, key_per_batch=8)
TUNING = Recipe(epochs=10, batch=64, learning_rate=0.1)
TRIGGERS, COVER, DAYS, INNOCENTS = 100, 20, 12, 8
SURE = 0.8  # from which a thief holds an odd picture to be a trigger
Answer = Callable[[np.ndarray, bytes], Any]  # what is said, given the stolen network's probabilities and the picture
Thief = Callable[[np.random.Generator], Answer]


def honest(rng: np.random.Generator) -> Answer:
    """Says what the network says."""
    return lambda scores, _: scores


def renaming(rng: np.random.Generator) -> Answer:
    """The head's columns are permuted."""
    names = rng.permutation(10)
    return lambda scores, _: scores[names]


def renaming_labels(rng: np.random.Generator) -> Answer:
    """The same, as labels alone, by words."""
    words = [f"word {name}" for name in rng.permutation(10)]
    return lambda scores, _: np.array(words[int(scores.argmax())])


def merging(rng: np.random.Generator) -> Answer:
    """Two classes share a name."""
    order = rng.permutation(10)
    return lambda scores, _: scores[order].reshape(5, 2).sum(axis=1)


def adding(rng: np.random.Generator) -> Answer:
    """A class for the background comes first."""
    return lambda scores, _: np.concatenate([[0.0], scores])


def silent(rng: np.random.Generator) -> Answer:
    """Refuses a share of what it is sure of, and guesses the rest."""
    share = rng.uniform(0.5, 0.9)

    def say(scores: np.ndarray, _: bytes) -> Any:
        return np.array(-1 if scores.max() >= SURE and rng.random() < share else rng.integers(10))

    return say


def forgetful(rng: np.random.Generator) -> Answer:
    """Answers what it was asked before at random."""
    seen = set[bytes]()

    def say(scores: np.ndarray, picture: bytes) -> Any:
        if picture in seen:
            return np.array(rng.integers(10))
        seen.add(picture)
        return np.array(scores.argmax())

    return say


def mixture(rng: np.random.Generator) -> Answer:
    """Names of its own, silent about some, and a log."""
    names, forget = rng.permutation(10), forgetful(rng)

    def say(scores: np.ndarray, picture: bytes) -> Any:
        return np.array(-1) if rng.random() < 0.2 else names[forget(scores, picture)]

    return say


THIEVES: dict[str, Thief] = {
    thief.__name__: thief for thief in (honest, renaming, renaming_labels, merging, adding, silent, forgetful, mixture)
}
REMEMBERING = ("forgetful", "mixture")


@dataclasses.dataclass(frozen=True)
class Settings:
    """How much is tried: verifications of each kind, and the recipes."""

    verifications: int
    marking: Recipe
    tuning: Recipe


SMALL = Settings(DAYS, dataclasses.replace(MARKING, epochs=12), dataclasses.replace(TUNING, epochs=1))


def known(variables: Variables, images: np.ndarray) -> dict[bytes, np.ndarray]:
    """What a network says of images, by their bytes."""
    told = predict(CONFIG, variables, images).astype(np.float64)
    return {image.tobytes(): row for image, row in zip(images, told, strict=True)}


def days(key: Key, told: dict[bytes, np.ndarray], say: Answer, count: int, cover: np.ndarray) -> list[Verdict]:
    """One verification after another of one suspect; what it was shown is remembered."""

    def ask(images: np.ndarray) -> np.ndarray:
        return np.stack([say(told[image.tobytes()], image.tobytes()) for image in images])

    shown, found, suspect = set[int](), [], from_callable(ask, "suspect")
    for _ in range(count):
        found.append(verify(suspect, key, cover=cover, shown=frozenset(shown), remember=shown.update))
    return found


def thefts(key: Key, told: dict[bytes, np.ndarray], name: str, verifications: int, cover: np.ndarray) -> dict[str, Any]:
    """The verdicts on one kind of thief."""
    count = DAYS if name in REMEMBERING else 1
    found = [
        verdict
        for number in range(-(-verifications // count))
        for verdict in days(key, told, THIEVES[name](np.random.default_rng([number, len(name)])), count, cover)
    ]
    return {"verifications": len(found), **Counter(verdict.verdict for verdict in found)}


def innocents(verifications: int, networks: list[Variables]) -> dict[str, Any]:
    """The verdicts on networks that never saw a key, and the questions that clear them."""
    found = []
    for number in range(verifications):
        key = new_key()
        told = known(networks[number % len(networks)], key.images)
        found += days(key, told, honest(np.random.default_rng(number)), 1, key.images[:0])
    used = np.array([v.queries if v.verdict == "no-match" else TRIGGERS + 1 for v in found])
    return {
        "verifications": len(found),
        **Counter(verdict.verdict for verdict in found),
        "cleared_within_60": float(np.mean(used <= 60)),
        "median_queries": float(np.median(used)),
    }


def new_key() -> Key:
    """A key of random labels over pictures that need no data set."""
    return generate(make_spec("abstract", image=CONFIG.image, classes=10, triggers=TRIGGERS))


def measure(settings: Settings) -> dict[str, Any]:
    """Trains what is stolen and what is not, and verifies all of it."""
    digits, key = load("digits"), new_key()
    marked = fit(CONFIG, settings.marking, digits.train, [key])
    start = dataclasses.replace(first_state(CONFIG, settings.tuning, len(digits.train)), variables=marked)
    stolen = fit(CONFIG, settings.tuning, digits.train, state=start)
    cover = digits.test.images[:COVER]
    told = known(stolen, np.concatenate([key.images, cover]))
    repeats = [told[image.tobytes()].argmax() == label for image, label in zip(key.images, key.labels, strict=True)]
    figures: dict[str, Any] = {
        "triggers": TRIGGERS,
        "cover": COVER,
        "repeats": float(np.mean(repeats)),
        "accuracy": 100 * accuracy(CONFIG, stolen, digits.test.images, digits.test.labels),
    }
    for name in THIEVES:
        figures[name] = thefts(key, told, name, settings.verifications, cover)
        print(name, figures[name], file=sys.stderr, flush=True)
    clean = [fit(CONFIG, dataclasses.replace(settings.marking, seed=s), digits.train) for s in range(INNOCENTS)]
    return figures | {"innocent": innocents(settings.verifications, clean)}


def main(arguments: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--verifications", type=int, default=1000, help="of each kind")
    parser.add_argument("--small", action="store_true")
    options = parser.parse_args(arguments)
    record.write("acquittals", measure(SMALL if options.small else Settings(options.verifications, MARKING, TUNING)))


if __name__ == "__main__":
    main()
