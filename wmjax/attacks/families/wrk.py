"""WRK: the boundaries that a mark shaped are moved, under a new last layer that may not grow back (Xiao et al. 2026).

Xiao et al., "Class-feature Watermark", AAAI 2026 (arXiv 2511.07947), who found that it removes the marks made for
extraction. Their thief has a twentieth of the owner's images. They move them over the nearest boundaries by steps
along the gradient's sign, give what comes out random labels, and train on both; the last layer is drawn anew and pushed
away from the stolen one. Theirs is pushed by a term of the loss; here, before each round of training, each class gives
up what it has in common with its stolen weights.
"""

import dataclasses
from collections.abc import Sequence
from functools import partial

import numpy as np

from wmjax.attacks.contract import Attack, Attacked, Stolen, Thief
from wmjax.attacks.families.adversarial import adversaries
from wmjax.attacks.families.finetune import fresh_heads, tune
from wmjax.data.dataset import Dataset
from wmjax.models import Config, Variables, accuracy, one

RADII = (8.0, 16.0, 32.0, 64.0)  # grey levels that a pixel may move: the least that takes half of the images across
ROUNDS = 10  # of training, each from rest


def pushed(variables: Variables, stolen: Variables) -> Variables:
    """Networks whose last layers have given up what points the way of the stolen ones, class by class.

    Args:
      variables: theirs, arrays [networks, ...].
      stolen: the networks as they were.
    """
    kernel, old = variables.params["head"]["kernel"], stolen.params["head"]["kernel"]
    along = np.maximum(0.0, np.sum(kernel * old, axis=1, keepdims=True))
    along = along / np.maximum(np.sum(old * old, axis=1, keepdims=True), np.finfo(np.float32).tiny)
    head = {**variables.params["head"], "kernel": np.asarray(kernel - along * old, np.float32)}
    return Variables({**variables.params, "head": head}, variables.stats)


def across(config: Config, variables: Variables, few: Dataset, seeds: Sequence[int]) -> np.ndarray:
    """Images moved by steps along the gradient's sign, by each network's least radius at which it errs on half of them.

    Args:
      config: of all networks.
      variables: theirs, arrays [networks, ...].
      few: images and their true labels.
      seeds: one a network.

    Returns:
      uint8 [networks, images, H, W, C].
    """
    found = np.empty((len(seeds), *few.images.shape), np.uint8)
    left = np.ones(len(seeds), bool)
    for radius in RADII:
        radii = np.full(len(seeds), radius, np.float32)
        moved = np.asarray(adversaries(config, variables, few.images, few.labels, radii, np.array(seeds, np.int32)))
        found[left] = moved[left]
        for i in np.flatnonzero(left):
            left[i] = accuracy(config, one(variables, int(i)), moved[i], few.labels) > 0.5
    return found


def _examples(stolen: Stolen, few: Dataset) -> tuple[Dataset, np.ndarray]:
    """The few images, and for each network as many beyond its boundaries under random labels; rows of each network."""
    count = len(few)
    moved = across(stolen.config, stolen.variables, few, stolen.seeds)
    drawn = [np.random.default_rng([seed, 0x3B4]).integers(few.classes, size=count) for seed in stolen.seeds]
    images = np.concatenate([few.images, moved.reshape(-1, *stolen.config.image)])
    labels = np.concatenate([few.labels, *drawn]).astype(np.int32)
    rows = np.arange(len(images)).reshape(-1, count)
    return Dataset(images, labels, few.classes), np.stack([np.concatenate([rows[0], own]) for own in rows[1:]])


def _wrk(stolen: Stolen, thief: Thief, *, share: float) -> Attacked:
    """Rounds of fine-tuning on a share of the thief's images, at the learning rate `strength`."""
    own, config = thief.owned(), stolen.config
    count = max(1, round(share * len(own)))
    few = own[np.random.default_rng(0x3B4).permutation(len(own))[:count]]
    data, rows = _examples(stolen, few)
    # all rounds together see as many images as a fine-tuning, and each round sees its own at least once
    epochs = max(1, round(thief.tuning_epochs * len(own) / (ROUNDS * rows.shape[1])))
    recipe = dataclasses.replace(thief.recipe, epochs=epochs)
    variables = fresh_heads(config, stolen.variables, stolen.seeds)
    for turn in range(ROUNDS):
        seeds = [int(np.random.default_rng([seed, turn, 0x3B4]).integers(2**31)) for seed in stolen.seeds]
        start, title = pushed(variables, stolen.variables), f"boundaries moved {turn + 1}/{ROUNDS}"
        variables = tune(config, start, data, recipe, seeds, stolen.strengths, rows=rows, title=title)
    return Attacked(config, variables)


def _attack(name: str, share: float, who: str, quick: tuple[float, ...]) -> Attack:
    attacker = f"has the weights and {who}; moves the boundaries around them under a new last layer"
    rates = (0.01, 0.03, 0.1)
    return Attack(name, attacker, "learning rate", quick, rates, frozenset({"images"}), partial(_wrk, share=share))


ATTACKS: tuple[Attack, ...] = (
    _attack("wrk", 0.05, "few labelled images of the task, a twentieth of the thief's", (0.03,)),
    _attack("wrk-all", 1.0, "all the thief's labelled images of the task", (0.03, 0.1)),
)
