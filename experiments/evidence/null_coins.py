"""False alarms of `spread` keys: suspects with strong patterns of their own, under coins drawn anew again and again.

Command   python experiments/evidence/null_coins.py [--suspects 300] [--coins 2000] [--probes 3000]
Expected  no rate above alpha at 1e-1, 1e-2, 1e-3 beyond chance, whatever suspect and references are: noise, students of
          other markings, networks that are sure of all they answer, references that are the suspect's own answers, or
          a mirror of them, or nothing; probabilities and labels alone. The gambler does reach alpha 1e-1 now and then.
Time      a minute on 2 CPU cores
"""

import argparse
import sys
from pathlib import Path
from typing import Any, NamedTuple

sys.path.insert(0, str(Path(__file__).parents[2]))  # the checkout

import numpy as np
from scipy import special

from experiments import fragment, record
from wmjax import stats
from wmjax.keys.coins import contrasts_of
from wmjax.stats.correlations import UNIT, Coins, expected, quantised, statistics
from wmjax.stats.spread import drawn_wealths, stage_shares, stages

CLASSES, FEATURES = 10, 32
ALPHAS = (1e-1, 1e-2, 1e-3)


class Suspect(NamedTuple):
    """Somebody who never saw the coins.

    Attributes:
      name: what is wrong with it, or with the references.
      answers: probabilities [probes, classes].
      references: probabilities [references, probes, classes], fixed before the coins, honest or not.
    """

    name: str
    answers: np.ndarray
    references: np.ndarray


def suspect(number: int, probes: int, features: np.ndarray, contrasts: np.ndarray) -> Suspect:
    """One of seven kinds, drawn by its number."""
    rng = np.random.default_rng([number, 0xC01])
    norms = np.sqrt((contrasts**2).sum(axis=1))[:, None]
    base = 3.0 * rng.standard_normal((probes, CLASSES))
    own = rng.standard_normal((len(contrasts), FEATURES))
    if number % 7 in (1, 2):  # marked by somebody else, with coins too
        own = np.sign(own)
    strength = rng.choice([0.1, 0.5, 2.0])
    pattern = strength * features @ own.T @ (contrasts / norms) / np.sqrt(FEATURES)
    logits = base + pattern + 0.5 * rng.standard_normal(base.shape)
    answers = special.softmax(logits, axis=1)
    students = [special.softmax(base + 0.5 * rng.standard_normal(base.shape), axis=1) for _ in range(3)]
    honest = np.stack([special.softmax(base, axis=1), *students[:2]])
    kinds = {
        0: ("noise of its own", answers, honest),
        1: ("marked by somebody else", answers, honest),
        2: ("mean of two, one marked by somebody else", (answers + students[2]) / 2, honest),
        3: ("references are its own answers", answers, np.stack([answers, students[0], answers])),
        4: (
            "references are the reverse of its answers",
            answers,
            np.stack([answers[:, ::-1], honest[1], answers[::-1]]),
        ),
        5: ("answers one class but for a few", 0.98 * np.eye(CLASSES)[np.zeros(probes, int)] + 0.02 * answers, honest),
        6: ("sure of each answer", special.softmax(6 * logits, axis=1), honest),
    }
    return Suspect(*kinds[number % 7])


def finals(told: list[np.ndarray], coins: np.ndarray) -> np.ndarray:
    """The wealth after the last stage, which is the most it ever is, float64 [draws].

    Args:
      told: of each stage T by every statistic, [statistics, M, K].
      coins: 0 or 1, [draws, M K].
    """
    total = np.zeros(len(coins))
    for each, share in zip(told, stage_shares(len(told)), strict=True):
        total += share * np.exp2(drawn_wealths(each, coins)).mean(axis=0)
    return total


def main(suspects: int, draws: int, probes: int) -> None:
    rng = np.random.default_rng(0)
    features = np.clip(rng.standard_normal((probes, FEATURES)), -3, 3)
    contrasts = contrasts_of(bytes(32), CLASSES)
    rounded = np.rint(40 * features).astype(np.int8)
    wealths: dict[str, list[np.ndarray]] = {}
    for number in range(suspects):
        one = suspect(number, probes, features, contrasts)
        references = np.rint(UNIT * one.references).astype(np.uint16)
        truth = Coins(np.arange(probes), rounded, references, np.ones((len(contrasts), FEATURES), np.int8), contrasts)
        coins = np.random.default_rng([number, 1]).integers(2, size=(draws, truth.coins.size)).astype(float)
        labels = one.answers.argmax(axis=1)[:, None]
        seen = {stop: expected(np.arange(stop), truth) for stop in stages(probes)}
        for form, given in (("probabilities", quantised(one.answers)), ("labels", 1 + labels)):
            whole = given.astype(np.uint16)
            told = [statistics(whole[:stop], beside, truth) for stop, beside in seen.items()]
            wealths.setdefault(f"{one.name}, {form}", []).append(finals(told, coins))
    record.write("null_coins", {"probes": probes, "coins": int(truth.coins.size), "pairs": rates(wealths)})


def rates(wealths: dict[str, list[np.ndarray]]) -> dict[str, Any]:
    """For each kind and for all: how often alpha was reached, and the chance of as many."""
    found = {}
    everything = [part for parts in wealths.values() for part in parts]
    for name, own in [*wealths.items(), ("all", everything)]:
        values = np.concatenate(own)
        reached = {f"{alpha:g}": int(np.sum(values >= 1 / alpha)) for alpha in ALPHAS}
        lowest = [stats.clopper_pearson(reached[f"{alpha:g}"], len(values))[0] <= alpha for alpha in ALPHAS]
        most = round(float(np.log2(values.max())), 1)
        found[name] = {"pairs": len(values), "reached": reached, "within": all(lowest), "most_bits": most}
    return found


def rows(figures: dict[str, Any]) -> list[str]:
    """False alarms of `spread` keys."""
    everything = figures["pairs"]["all"]
    told = ", ".join(
        f"alpha {alpha}: {reached / everything['pairs']:.1e}" for alpha, reached in everything["reached"].items()
    )
    what = (
        f"spread key, {figures['coins']} coins, {figures['probes']} images: {everything['pairs']:,} pairs of the null"
    )
    return [fragment.row(what, told, f"most {everything['most_bits']} bits", fragment.source(figures, __file__))]


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("--suspects", type=int, default=300)
    parser.add_argument("--coins", type=int, default=2_000)
    parser.add_argument("--probes", type=int, default=3_000)
    options = parser.parse_args()
    main(options.suspects, options.coins, options.probes)
