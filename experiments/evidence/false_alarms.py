"""False alarms on innocent networks against the alpha that keys promise, and false discoveries of e-BH.

Command   JAX_NUM_CPU_DEVICES=2 python experiments/evidence/false_alarms.py --zoo DIR [--zoo2 DIR] [--keys 100]
          [--small]
          a folder is what `null_models.py --out` wrote, of digits and of CIFAR-10
Expected  at most a share alpha of the pairs ever reaches log2(1/alpha) bits, for 0.01, 0.001 and 0.0001; the mean
          share of false discoveries at most the level
Time      about 10 minutes on 2 CPU cores for 1,000 networks

Each network is asked about random keys of each scheme, 100 triggers, as an audit asks: until the pair is decided. The
evidence at which asking stops is that of the strictest question here; until a pair reaches less, a laxer key's walk is
the same, so that one walk's running maximum answers for every alpha. Blend keys come from digits and are resized for
larger networks as the audit does it. Pairs of one key are not independent, keys are: besides the exact interval that
takes pairs as independent there is one from resampling keys. For e-BH a few marked networks, all with one key, stand
among the innocent, and each draw asks all of them about that key and nine others.
"""

import argparse
import dataclasses
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[2]))  # the checkout

import numpy as np

from experiments import fragment, record
from experiments.audits import zoos
from wmjax import stats
from wmjax.data import load
from wmjax.keys import Key, generate, make_spec
from wmjax.models import Config
from wmjax.suspects.adapt import adapt
from wmjax.suspects.contract import Network, Wanted
from wmjax.suspects.network import from_config
from wmjax.train import Recipe, fit
from wmjax.zoo.discover import discover
from wmjax.zoo.load import cut_chunks, read_ahead
from wmjax.zoo.panel import Loaded
from wmjax.zoo.records import Entry
from wmjax.zoo.rounds import Questions, ask_all
from wmjax.zoo.score import Scorer, mesh_for

ALPHAS = (1e-2, 1e-3, 1e-4)
LEVELS = (0.01, 0.1, 0.5)
GROUP, TRIGGERS = 10, 100
ROWS = 64  # models judged at once
MARKING = Recipe(epochs=20, batch=64, learning_rate=0.05, key_per_batch=8)


@dataclasses.dataclass(frozen=True)
class Settings:
    """Random keys of each scheme; marked networks among the innocent, and what they are."""

    keys: int
    thieves: int
    marked: Config


SMALL = Settings(GROUP - 1, 1, zoos.TINY)


def draw_keys(scheme: str, image: tuple[int, int, int], count: int) -> list[Key]:
    """Random keys, blend ones over digits whatever the network's images."""
    if scheme == "abstract":
        return [generate(make_spec("abstract", image=image, classes=10, triggers=TRIGGERS)) for _ in range(count)]
    digits = load("digits").train
    spec = make_spec("blend", image=digits.image, classes=10, triggers=TRIGGERS, source=("digits", digits))
    return [generate(spec, digits) for _ in range(count)]


def ask(entries: Sequence[Entry], keys: Sequence[Key], match_bits: float) -> tuple[np.ndarray, np.ndarray]:
    """Evidence where asking stopped, and its running maximum, float64 [models, keys] each."""
    bits, highest = np.empty((2, len(entries), len(keys)))
    at = 0
    for chunk in read_ahead(cut_chunks(entries, lambda network: ROWS), lambda network: ROWS):
        assert not chunk.failures, chunk.failures
        rows = np.arange(len(chunk.entries))
        scorer = scorer_of(chunk.entries[0].network)
        weights = scorer.place(chunk.weights)
        for first in range(0, len(keys), GROUP):
            questions = questions_of(scorer.network, keys[first : first + GROUP], match_bits)
            verdicts = ask_all(Loaded(scorer, weights, scorer.replicate(questions.images)), questions, rows)
            assert not verdicts.failures, verdicts.failures
            bits[at : at + len(rows), first : first + GROUP] = verdicts.bits
            for (model, key), path in verdicts.paths.items():
                highest[at + model, first + key] = max(float(bits.max()) for bits in path)
        at += len(rows)
    return bits, highest


def scorer_of(network: Network) -> Scorer:
    """One model after another on each device: what is fastest on CPUs."""
    return Scorer(network, mesh_for(ROWS))


def questions_of(network: Network, keys: Sequence[Key], match_bits: float) -> Questions:
    """The whole keys, one after another."""
    images = np.concatenate([adapt(key.images, network.image) for key in keys])
    starts = TRIGGERS * np.arange(len(keys))
    return Questions(keys, images, starts, np.full(len(keys), TRIGGERS), np.full(len(keys), match_bits))


def rates(highest: np.ndarray) -> dict[str, Any]:
    """For each alpha how many pairs ever reached its evidence."""
    figures, draws = {}, np.random.default_rng(0).integers(0, highest.shape[1], (2000, highest.shape[1]))
    for alpha in ALPHAS:
        alarms = highest >= -np.log2(alpha)
        count, by_key = int(alarms.sum()), alarms.mean(axis=0)
        figures[f"{alpha:g}"] = {
            "false_alarms": count,
            "rate": count / alarms.size,
            "interval_exact": stats.clopper_pearson(count, alarms.size),
            "interval_by_key": np.percentile(by_key[draws].mean(axis=1), [2.5, 97.5]).tolist(),
            "keys_with_any": int((by_key > 0).sum()),
            "largest_rate_of_a_key": float(by_key.max()),
        }
    return figures


def discoveries(
    entries: Sequence[Entry], keys: Sequence[Key], bits: np.ndarray, match_bits: float, settings: Settings
) -> dict[str, Any]:
    """What e-BH says of marked networks among the innocent: each draw has the mark's key and nine random ones.

    Args:
      entries: the innocent.
      keys: random ones that they were asked about.
      bits: of those pairs.
      match_bits: at which asking stops.
      settings: the marked networks.
    """
    digits, network = load("digits").train, from_config(settings.marked)
    (key,) = draw_keys("abstract", digits.image, 1)
    thieves = []
    for seed in range(settings.thieves):
        recipe = dataclasses.replace(MARKING, seed=seed)
        weights = zoos.flatten(fit(settings.marked, recipe, digits, [key], title=f"thief {seed}"))
        thieves.append(Entry(f"thief-{seed}", network, zoos.Drawn(network, weights)))
    innocent_of_mark, _ = ask(entries, [key], match_bits)
    of_thieves, _ = ask(thieves, [key, *keys], match_bits)
    shares: dict[str, list[float]] = {f"{level:g}": [] for level in LEVELS}
    found: dict[str, list[int]] = {f"{level:g}": [] for level in LEVELS}
    for first in range(0, len(keys) - GROUP + 2, GROUP - 1):
        others = slice(first, first + GROUP - 1)
        table = np.block([[of_thieves[:, :1], of_thieves[:, 1:][:, others]], [innocent_of_mark, bits[:, others]]])
        for level in LEVELS:
            rejected = stats.e_bh(table, table.size, level)
            true = int(rejected[: len(thieves), 0].sum())
            found[f"{level:g}"].append(true)
            shares[f"{level:g}"].append((int(rejected.sum()) - true) / max(1, int(rejected.sum())))
    return {
        level: {
            "draws": len(shares[level]),
            "thieves": len(thieves),
            "thieves_found_mean": float(np.mean(found[level])),
            "false_share_mean": float(np.mean(shares[level])),
            "false_share_largest": float(np.max(shares[level])),
        }
        for level in shares
    }


def measure(zoo: Path, settings: Settings) -> dict[str, Any]:
    """Everything about one zoo; e-BH where it is asked about the keys as they are, on digits."""
    found = discover(zoo, Wanted())
    assert found.entries, f"{zoo} holds no network"
    assert not found.unreadable, found.unreadable[0]
    (image,) = {entry.network.image for entry in found.entries}
    match_bits = float(np.log2((len(found.entries) + settings.thieves) * GROUP / min(LEVELS)))
    figures: dict[str, Any] = {
        "models": len(found.entries),
        "image": image,
        "keys": settings.keys,
        "triggers": TRIGGERS,
        "match_bits": match_bits,
    }
    for scheme in ("abstract", "blend"):
        keys = draw_keys(scheme, image, settings.keys)
        bits, highest = ask(found.entries, keys, max(match_bits, -np.log2(min(ALPHAS))))
        figures[scheme] = {"pairs": highest.size, "alarms": rates(highest)}
        if scheme == "abstract" and image == settings.marked.image:
            figures["e_bh"] = discoveries(found.entries, keys, bits, match_bits, settings)
    return figures


def main(arguments: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--zoo", type=Path, required=True, help="innocent networks on digits")
    parser.add_argument("--zoo2", type=Path, help="innocent networks on CIFAR-10")
    parser.add_argument("--keys", type=int, default=100, help="of each scheme")
    parser.add_argument("--small", action="store_true")
    options = parser.parse_args(arguments)
    zoos_asked = {"digits": options.zoo, **({"cifar10": options.zoo2} if options.zoo2 else {})}
    settings = SMALL if options.small else Settings(options.keys, 4, Config("cnn", (8, 8, 1), 10, (16, 32), (64,)))
    record.write("false_alarms", {name: measure(zoo, settings) for name, zoo in zoos_asked.items()})


def rows(figures: dict[str, Any]) -> list[str]:
    made_by, rows = fragment.source(figures, __file__), []
    for zoo, own in figures.items():
        if zoo == "environment":
            continue
        for scheme in ("abstract", "blend"):
            told = [
                f"alpha {alpha}: {found['false_alarms']} (rate {found['rate']:.2g}, by keys "
                "{:.2g} to {:.2g})".format(*found["interval_by_key"])
                for alpha, found in own[scheme]["alarms"].items()
            ]
            what = f"false alarms, {own['models']} innocents on {zoo}, {own['keys']} {scheme} keys"
            rows.append(fragment.row(what, "; ".join(told), f"of {own[scheme]['pairs']:,} pairs", made_by))
        if found := own.get("e_bh", {}).get("0.01"):
            what = f"e-BH at 0.01, {found['thieves']} thieves among {own['models']} innocents, 10 keys"
            false = f"{found['false_share_mean']:.2g} false among the matches in the mean"
            thieves = f"{found['thieves_found_mean']:.1f} thieves found"
            rows.append(fragment.row(what, false, thieves, f"{found['draws']} draws of keys; {made_by}"))
    return rows


if __name__ == "__main__":
    main()
