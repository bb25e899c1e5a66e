"""Averages of weights: a marked network with the base that it was marked from, and with others that come from it.

Command   python experiments/attacks/averages.py
Expected  a mark that was fine-tuned into a base fades as that base is averaged in, at no loss of accuracy; the mean of
          several networks that were fine-tuned from a marked one keeps more of its mark than each of them
Time      2 minutes on 2 CPU cores

The owner of a network of digits fine-tunes it with an abstract key; a thief who has both takes `SHARES` of the marked
one and the rest of its base. Beside it three seeds fine-tune one that was marked from scratch, at two rates.
"""

import argparse
import dataclasses
import sys
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[2]))  # the checkout

import jax
import numpy as np

from experiments import fragment, record
from wmjax.data import Dataset, load
from wmjax.keys import Key, generate, make_spec
from wmjax.models import Variables, accuracy, default_config, predict
from wmjax.suspects import Suspect
from wmjax.train import default_recipe, fit
from wmjax.train.mapping import over
from wmjax.train.step import first_state
from wmjax.verification import verify

IMAGE = (8, 8, 1)
SHARES = (0.1, 0.3, 0.5, 0.7, 1.0)
RATES = (0.03, 0.06)
TUNED = 3
MARKING, TUNING = 0.03, 10  # rate of a mark that is fine-tuned in; epochs of a thief's fine-tuning
CONFIG = default_config("cnn", IMAGE, 10)
Found = dict[str, float]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, default=3)
    found = [measured(seed) for seed in range(parser.parse_args().seeds)]
    record.write("averages", {"seeds": found})


def measured(seed: int) -> dict[str, Any]:
    """Bits and accuracy of all averages, of networks that begin with a seed."""
    digits = load("digits")
    mine = np.arange(len(digits.train)) % 5 < 3
    owned, stolen = digits.train[mine], digits.train[~mine]
    key = generate(make_spec("abstract", image=IMAGE, classes=10, triggers=200))
    says = partial(said, key=key, test=digits.test)
    base = trained(owned, seed)
    marked = trained(owned, seed, [key], base=base, rate=MARKING, epochs=20)
    scratch = trained(owned, seed + 100, [key])
    tuned = {
        rate: [trained(stolen, seed + 200 + i, base=scratch, rate=rate, epochs=TUNING) for i in range(TUNED)]
        for rate in RATES
    }
    return {
        "base": {str(share): says(average([base, marked], [1 - share, share])) for share in SHARES},
        "scratch": says(scratch),
        "tuned": {str(rate): [says(each) for each in tuned[rate]] for rate in RATES},
        "mean": {str(rate): says(average(tuned[rate], [1 / TUNED] * TUNED)) for rate in RATES},
    }


def trained(
    data: Dataset,
    seed: int,
    keys: Sequence[Key] = (),
    *,
    base: Variables | None = None,
    rate: float | None = None,
    epochs: int = 40,
) -> Variables:
    """A network that is trained with keys mixed in, from a base where one is given."""
    usual = default_recipe(CONFIG)
    recipe = dataclasses.replace(
        usual, seed=seed, epochs=epochs, learning_rate=rate or usual.learning_rate, key_per_batch=6
    )
    state = None if base is None else first_state(base)
    made: Variables = jax.device_get(
        fit(CONFIG, recipe, data, list(keys), state=state, mapping=over(jax.local_devices()[:1]))
    )
    return made


def average(networks: Sequence[Variables], shares: Sequence[float]) -> Variables:
    """Weights of several networks, each in its share."""
    mean: Variables = jax.tree.map(
        lambda *leaves: sum(np.float32(share) * leaf for share, leaf in zip(shares, leaves, strict=True)), *networks
    )
    return mean


def said(variables: Variables, key: Key, test: Dataset) -> Found:
    """What a key says of a network, and how well it knows its task."""
    suspect = Suspect("average", partial(predict, CONFIG, variables), IMAGE, 10, remembers=False)
    verdict = verify(suspect, key, whole=True)
    assert verdict.evidence_bits is not None
    right = float(accuracy(CONFIG, variables, test.images, test.labels))
    return {"bits": verdict.evidence_bits, "matches": verdict.matches, "accuracy": right}


def rows(figures: dict[str, Any]) -> list[str]:
    seeds, made_by = figures["seeds"], f"{len(figures['seeds'])} seeds; {fragment.source(figures, __file__)}"
    shares = ", ".join(f"{share:.0%} {_bits([one['base'][str(share)] for one in seeds])}" for share in SHARES)
    mixed = [one["base"][str(share)] for one in seeds for share in SHARES]
    tuned = [found for one in seeds for rate in RATES for found in one["tuned"][str(rate)]]
    means = [one["mean"][str(rate)] for one in seeds for rate in RATES]
    each = "; ".join(
        f"at {rate} {_bits([found for one in seeds for found in one['tuned'][str(rate)]])} each, "
        f"{_bits([one['mean'][str(rate)] for one in seeds])} their mean"
        for rate in RATES
    )
    return [
        fragment.row("a base, and a share of the network that was marked from it", shares, _right(mixed), made_by),
        fragment.row(
            f"a network marked from scratch ({_bits([one['scratch'] for one in seeds])}), fine-tuned by {TUNED} seeds",
            each,
            _right([*tuned, *means]),
            made_by,
        ),
    ]


def _bits(found: Sequence[Found]) -> str:
    low, high = min(one["bits"] for one in found), max(one["bits"] for one in found)
    return f"{low:.0f} to {high:.0f} bits"


def _right(found: Sequence[Found]) -> str:
    return f"{min(one['accuracy'] for one in found):.1%} to {max(one['accuracy'] for one in found):.1%}"


if __name__ == "__main__":
    main()
