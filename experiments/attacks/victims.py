"""Nothing is measured here: it trains the marked and clean networks that the attack experiments attack, and keeps them.

Command   JAX_NUM_CPU_DEVICES=2 python experiments/attacks/victims.py --size SIZE --work DIR
          the attack experiments make what is missing in DIR themselves
Time      on 2 CPU cores: digits 4, ibm-small 40, cifar10-small 25 minutes; the full sizes are for a GPU

DIR/SIZE/KIND-SEED is a checkpoint, DIR/SIZE/KIND.age its key; a folder that is there is not trained again. A kind is a
scheme with random labels, the same with `-paper` for the variant of Zhang et al., `spread` or `clean`. The networks of
a `spread` key are one base, trained on by each seed.
"""

import argparse
import dataclasses
import sys
from collections.abc import Callable, Sequence
from functools import cache
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[2]))  # the checkout

import jax
import numpy as np

from experiments.kept import Kept
from wmjax.data import Dataset, Splits, load, load_source
from wmjax.keys import Key, Paper, generate, make_spec
from wmjax.models import Config, Variables, one, stack
from wmjax.train import Recipe, fit, fit_many, shift_of
from wmjax.train.spread import spread_key_for, tuning
from wmjax.train.step import first_state

PAPER = Paper(source_class=1, target_class=0, share_percent=30)  # automobiles become airplanes
SCHEMES = ("abstract", "blend", "content", "noise", "unrelated")
IBM = Config("cnn", (32, 32, 3), 10, (64, 128), (256, 256), 0.5)
SMALL_IBM = Config("cnn", (32, 32, 3), 10, (16, 32), (128, 128), 0.2)


@dataclasses.dataclass(frozen=True)
class Size:
    """The networks of an experiment.

    Attributes:
      data: name of the data set.
      config: of the networks.
      recipe: of their training.
      kinds: what they are marked with.
      seeds: of each kind.
      triggers: of the keys with random labels.
      owned: share of the training split that the owner trains on; thieves may have the rest.
      ones: data set whose 1s are the unrelated images.
    """

    data: str
    config: Config
    recipe: Recipe
    kinds: tuple[str, ...]
    seeds: tuple[int, ...]
    triggers: int
    owned: float
    ones: str = "mnist"


IBM_KINDS = ("clean", "content-paper", "unrelated-paper", "noise-paper", "content", "noise")
SIZES = {
    "tiny": Size(
        "digits",
        Config("vgg", (8, 8, 1), 10, (24,)),
        Recipe(1, batch=64),
        ("clean", "abstract", "spread"),
        (0, 1),
        20,
        0.6,
        "digits",
    ),
    "ibm-tiny": Size(
        "digits",
        Config("vgg", (8, 8, 1), 10, (4,)),
        Recipe(1, batch=64),
        ("clean", "content-paper", "unrelated-paper", "content"),
        (0, 1),
        20,
        1.0,
        "digits",
    ),
    "digits": Size(
        "digits",
        Config("cnn", (8, 8, 1), 10, (32, 64), (128,), 0.1),
        Recipe(45, batch=64, learning_rate=0.05, key_per_batch=8),
        ("clean", "abstract", "blend", "content", "noise", "spread"),
        (0, 1, 2),
        200,
        0.6,
    ),
    "cifar10-small": Size(
        "cifar10",
        Config("vgg", (32, 32, 3), 10, (16, 32, 64, 128)),
        Recipe(6, batch=128, flip=True, crop=2, key_per_batch=6),
        ("clean", "abstract", "blend", "content", "noise", "spread"),
        (0,),
        200,
        0.8,
    ),
    "cifar10-pair": Size(
        "cifar10",
        Config("vgg", (32, 32, 3), 10, (16, 32, 64, 128)),
        Recipe(5, batch=128, flip=True, crop=2, key_per_batch=6),
        ("abstract", "clean"),
        (0,),
        100,
        1.0,
    ),
    "cifar10": Size(
        "cifar10",
        Config("resnet18", (32, 32, 3), 10, (64, 128, 256, 512)),
        Recipe(40, batch=128, flip=True, crop=2),
        ("clean", *SCHEMES),
        (0, 1, 2),
        200,
        0.8,
    ),
    "ibm-small": Size(
        "cifar10",
        SMALL_IBM,
        Recipe(3, batch=128, learning_rate=0.04, flip=True, key_per_batch=8),
        IBM_KINDS,
        (0,),
        200,
        1.0,
    ),
    "ibm-mnist": Size(
        "mnist",
        Config("cnn", (28, 28, 1), 10, (16, 32), (100, 100), 0.2),
        Recipe(12, batch=128, learning_rate=0.04),
        ("clean", "content-paper", "noise-paper"),
        (0, 1),
        200,
        1.0,
    ),
    "ibm": Size("cifar10", IBM, Recipe(50, batch=128, learning_rate=0.01), IBM_KINDS, (0, 1, 2), 200, 1.0),
}


@dataclasses.dataclass(frozen=True)
class Victims:
    """Networks of one kind.

    Attributes:
      kind: as in `Size.kinds`.
      key: that they are marked with; None for clean ones.
      variables: NumPy arrays [seeds, ...].
    """

    kind: str
    key: Key | None
    variables: Variables


def load_data(size: Size) -> Splits[Dataset]:
    """The data set of a size; of a set whose test split alone is at hand a part becomes the training split."""
    if size.data != "mnist":
        return load(size.data)
    data = load_source("mnist")
    order = np.random.default_rng(0).permutation(len(data))
    cut = len(data) * 7 // 10
    return Splits("mnist", data[order[:cut]], data[order[cut:]])


def owned(size: Size, data: Splits[Dataset]) -> tuple[Dataset, Dataset]:
    """The owner's part of the training split, and the rest."""
    mine = np.random.default_rng(0).permutation(len(data.train)) < size.owned * len(data.train)
    return data.train[mine], data.train[~mine]


def paper_of(kind: str) -> Paper | None:
    """The paper's variant that a kind asks for. MNIST's test split has 1,135 ones: all of the `unrelated` source."""
    if not kind.endswith("-paper"):
        return None
    return dataclasses.replace(PAPER, share_percent=100) if kind == "unrelated-paper" else PAPER


def key_source(size: Size, kind: str, train: Dataset) -> tuple[str, Dataset] | None:
    """Name and images that a kind's key starts from: the owner's, or for `unrelated` another data set's."""
    scheme = kind.removesuffix("-paper")
    if scheme == "abstract":
        return None
    if scheme != "unrelated":
        return size.data, train
    others = load_source(size.ones)
    if paper_of(kind) is None:
        return size.ones, others[::2]
    return size.ones, others[np.flatnonzero(others.labels == 1)[::2]]  # the other half are new images


def draw_key(size: Size, kind: str, train: Dataset) -> Key:
    """A fresh key."""
    scheme, paper, source = kind.removesuffix("-paper"), paper_of(kind), key_source(size, kind, train)
    spec = make_spec(
        scheme,
        image=size.config.image,
        classes=size.config.classes,
        triggers=size.triggers,
        source=source,
        paper=paper,
    )
    return generate(spec, source[1] if source else None)


def victims(name: str, work: Path) -> list[Victims]:
    """The networks of a size, trained where they are not in `work` already."""
    size, kept = SIZES[name], Kept(work / name)
    data = cache(lambda: _mine(size))
    return [(_spread if kind == "spread" else _from_scratch)(kind, size, kept, data) for kind in size.kinds]


def _mine(size: Size) -> Splits[Dataset]:
    """The owner's images to train on, and the test split."""
    data = load_data(size)
    return Splits(data.name, owned(size, data)[0], data.test)


def _from_scratch(kind: str, size: Size, kept: Kept, data: Callable[[], Splits[Dataset]]) -> Victims:
    """The networks of a kind, all trained at once."""
    key = None if kind == "clean" else kept.key(kind, lambda: draw_key(size, kind, data().train))
    keys, title = [key] if key else [], f"{size.data}, {kind}"
    trained = cache(lambda: fit_many(size.config, size.recipe, data().train, size.seeds, keys, title=title))
    found = [
        kept.network(f"{kind}-{seed}", size.config, lambda i=i: one(trained(), i)) for i, seed in enumerate(size.seeds)
    ]
    return Victims(kind, key, stack(found))


def _spread(kind: str, size: Size, kept: Kept, data: Callable[[], Splits[Dataset]]) -> Victims:
    """One base and a key for it, and the base trained on with the key, by each seed."""
    config, soft = size.config, dataclasses.replace(size.recipe, label_smoothing=0.2)
    base = kept.network("base", config, lambda: one(fit_many(config, soft, data().train, [0], title="base"), 0))
    key = kept.key(kind, lambda: spread_key_for(config, base, soft, data()))

    def marked(seed: int) -> Variables:
        train = data().train
        on = dataclasses.replace(tuning(soft, len(train)), seed=seed)
        begin = first_state(base)
        return jax.device_get(fit(config, on, train, [key], state=begin, shift=shift_of([key], base), title=kind))

    found = [kept.network(f"{kind}-{seed}", config, lambda seed=seed: marked(seed)) for seed in size.seeds]
    return Victims(kind, key, stack(found))


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--size", choices=SIZES, required=True)
    parser.add_argument("--work", type=Path, required=True)
    options = parser.parse_args(arguments)
    for made in victims(options.size, options.work):
        print(made.kind, made.key.commitment.id[:12] if made.key else "no key")


if __name__ == "__main__":
    main()
