"""False alarms on made-up innocents of every kind against the alpha that keys promise, with all strategies on.

Command   python experiments/evidence/null_pairs.py [--pairs 2000000] [--small]
Expected  of all pairs at most a share alpha ever reaches log2(1/alpha) bits, for 0.01 and 0.001, and of no design more,
          by the exact 99.9 % interval of each (whose lower end must not lie above alpha)
Time      about 10 minutes on 2 CPU cores

A pair is a key with uniform labels and a suspect that never saw it; a design is a kind of suspect, a number of classes
and a number of questions. Suspects answer with labels or scores, for the key's classes or others: one class or two all
the time, another each time, in a circle, with habits, sure of themselves, silent about some, about all after the first
few or about what resembles something, in names that no key has, and the same few names over and over as one would who
hopes to be taken for a renamed copy. All keys of a block ask one sequence of answers, so that pairs of a block depend
on each other through it; their labels do not.
"""

import argparse
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[2]))  # the checkout

import numpy as np

from experiments import fragment, record
from wmjax import stats
from wmjax.keys.specify import default_rate
from wmjax.stats import Answers, Rule

ALPHAS = (1e-2, 1e-3)
CLASSES = (2, 10, 1000)
LENGTHS = (3, 10, 30)
BLOCK = 4000  # keys that ask the same answers
CONFIDENCE = 0.999
Rng = np.random.Generator
Design = Callable[[Rng, int, int], Answers]


def scored(rng: Rng, n: int, classes: int, told: int, sharpness: float) -> Answers:
    """Scores of a network with habits for `told` classes, some answers certain."""
    logits = sharpness * rng.exponential(1.0, (n, 1)) * rng.normal(size=(n, told)) + np.linspace(0.0, 2.0, told)
    return stats.read_answers(logits, n, classes)


def labelled(rng: Rng, n: int, classes: int, said: np.ndarray) -> Answers:
    """Labels alone."""
    return Answers(said.astype(np.int64), None, classes)


def refusing(answers: Answers, silent: np.ndarray) -> Answers:
    """The answers, but for those that are refused."""
    return Answers(np.where(silent, -1, answers.labels), answers.probabilities, answers.classes)


DESIGNS: dict[str, Design] = {
    "one class": lambda rng, n, c: labelled(rng, n, c, np.full(n, rng.integers(c))),
    "two classes": lambda rng, n, c: labelled(rng, n, c, rng.integers(2, size=n)),
    "any class": lambda rng, n, c: labelled(rng, n, c, rng.integers(c, size=n)),
    "classes in a circle": lambda rng, n, c: labelled(rng, n, c, np.arange(n) % c),
    "habits": lambda rng, n, c: labelled(rng, n, c, np.minimum(rng.geometric(0.3, n) - 1, c - 1)),
    "adaptive": lambda rng, n, c: labelled(rng, n, c, np.maximum.accumulate(rng.integers(c, size=n))),
    "names of no key, each once": lambda rng, n, c: labelled(rng, n, c, stats.NAMES + np.arange(n)),
    "one name of no key": lambda rng, n, c: labelled(rng, n, c, np.full(n, stats.NAMES)),
    "three names of no key": lambda rng, n, c: labelled(rng, n, c, stats.NAMES + np.arange(n) % 3),
    "names and classes": lambda rng, n, c: labelled(rng, n, c, rng.integers(2 * c, size=n)),
    "scores": lambda rng, n, c: scored(rng, n, c, c, 1.0),
    "sure scores": lambda rng, n, c: scored(rng, n, c, c, 30.0),
    "one class, sure": lambda rng, n, c: Answers(np.zeros(n, np.int64), np.eye(c)[np.zeros(n, np.int64)], c),
    "two classes, even": lambda rng, n, c: Answers(np.zeros(n, np.int64), np.tile((np.arange(c) < 2) / 2.0, (n, 1)), c),
    "scores, half the classes": lambda rng, n, c: scored(rng, n, c, max(2, c // 2), 2.0),
    "scores, a class more": lambda rng, n, c: scored(rng, n, c, c + 1, 2.0),
    "sure scores, a class more": lambda rng, n, c: scored(rng, n, c, c + 1, 30.0),
    "scores, twice the classes": lambda rng, n, c: scored(rng, n, c, 2 * c, 2.0),
    "scores, some refused": lambda rng, n, c: refusing(scored(rng, n, c, c, 2.0), rng.random(n) < 0.3),
    "habits, silent after the first": lambda rng, n, c: refusing(
        labelled(rng, n, c, np.minimum(rng.geometric(0.3, n) - 1, c - 1)), np.arange(n) >= 5
    ),
    "silent where unsure": lambda rng, n, c: (
        lambda said: refusing(said, said.probabilities is None or said.probabilities.max(axis=-1) < 0.5)
    )(scored(rng, n, c, c, 5.0)),
}


def peaks(design: str, classes: int, length: int, seed: int) -> np.ndarray:
    """The most evidence that each key of a block ever had, float64 [BLOCK]."""
    rng = np.random.default_rng([seed, classes, length, list(DESIGNS).index(design)])
    answers = DESIGNS[design](rng, length, classes)
    labels = rng.integers(classes, size=(BLOCK, length))
    rule = Rule(min(ALPHAS), 1e-3, default_rate(classes), length)
    kind = stats.kind_of(rule)
    return np.asarray(kind.bet(kind.start((BLOCK,)), answers, labels, rule)[1].peak[:, -1])


def rates(alarms: int, pairs: int, alpha: float) -> dict[str, Any]:
    """The share with its exact interval, and whether it is within alpha."""
    low, high = stats.clopper_pearson(alarms, pairs, CONFIDENCE)
    return {"alarms": alarms, "pairs": pairs, "rate": alarms / pairs, "interval": [low, high], "within": low <= alpha}


def measure(pairs: int) -> dict[str, Any]:
    """All designs, as many blocks of each as the pairs ask."""
    cases = [(design, classes, length) for design in DESIGNS for classes in CLASSES for length in LENGTHS]
    blocks = max(1, -(-pairs // (BLOCK * len(cases))))
    counts: dict[str, dict[tuple[str, int, int], int]] = {f"{alpha:g}": {} for alpha in ALPHAS}
    for case in cases:
        highest = np.concatenate([peaks(*case, seed) for seed in range(blocks)])
        for alpha in ALPHAS:
            counts[f"{alpha:g}"][case] = int(np.sum(highest >= -np.log2(alpha)))
    each, found = BLOCK * blocks, {}
    for alpha in ALPHAS:
        of_case = counts[f"{alpha:g}"]
        worst = max(of_case, key=lambda case: of_case[case])
        found[f"{alpha:g}"] = {
            "all": rates(sum(of_case.values()), each * len(cases), alpha),
            "worst": {"design": " ".join(map(str, worst)), **rates(of_case[worst], each, alpha)},
            "designs_above": [" ".join(map(str, c)) for c, n in of_case.items() if not rates(n, each, alpha)["within"]],
        }
    return {"designs": len(cases), "pairs": each * len(cases), "confidence": CONFIDENCE, "alphas": found}


def main(arguments: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--pairs", type=int, default=2_000_000)
    parser.add_argument("--small", action="store_true")
    options = parser.parse_args(arguments)
    record.write("null_pairs", measure(1 if options.small else options.pairs))


def rows(figures: dict[str, Any]) -> list[str]:
    rows = []
    for alpha, found in figures["alphas"].items():
        rates = "; ".join(
            "{}{:.2g} ({:.2g} to {:.2g})".format(what, one["rate"], *one["interval"])
            for what, one in (("", found["all"]), (f"worst, {found['worst']['design']}: ", found["worst"]))
        )
        what = f"false alarms of {figures['designs']} kinds of made-up innocents at alpha {alpha}"
        pairs = f"of {figures['pairs']:,} pairs; {len(found['designs_above'])} kinds above alpha"
        rows.append(fragment.row(what, rates, pairs, fragment.source(figures, __file__)))
    return rows


if __name__ == "__main__":
    main()
