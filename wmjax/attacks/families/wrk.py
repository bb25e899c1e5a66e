"""WRK: the boundaries that a mark shaped are moved, under a new last layer that may not grow back (Xiao et al. 2026).

Xiao et al., "Class-feature Watermark", AAAI 2026 (arXiv 2511.07947), who found that it removes the marks made for
extraction. The thief has few labelled images. He moves them over the nearest boundaries by steps along the gradient's
sign, gives what comes out random labels, and trains on both; the last layer is drawn anew and pushed away from the
stolen one. Theirs is pushed by a term of the loss; here, before each round of training, each class gives up what it has
in common with its stolen weights.
"""

import dataclasses

import jax
import numpy as np

from wmjax.attacks.contract import Attack, Attacked, Stolen, Thief
from wmjax.attacks.families.adversarial import adversaries
from wmjax.attacks.families.finetune import fresh_heads, tune
from wmjax.data.dataset import Dataset
from wmjax.models import Config, Variables

SHARE = 0.05  # of his images are enough for him
RADIUS = 8.0  # grey levels that a pixel may move
ROUNDS = 10  # on a tenth as many images as a fine-tuning sees: the two cost the same


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


def crossed(config: Config, variables: Variables, few: Dataset, seeds: list[int]) -> tuple[Dataset, np.ndarray]:
    """The thief's few images, and for each network as many beyond its boundaries, under random labels.

    Args:
      config: of all networks.
      variables: theirs, arrays [networks, ...].
      few: his images and their true labels.
      seeds: one a network.

    Returns:
      all of them, and the rows of each network, int [networks, twice as many].
    """
    networks, count = len(seeds), len(few)
    radii = np.full(networks, RADIUS, np.float32)
    moved = adversaries(config, variables, few.images, few.labels, radii, np.array(seeds, np.int32))
    drawn = [np.random.default_rng([seed, 0x3B4]).integers(few.classes, size=count) for seed in seeds]
    images = np.concatenate([few.images, np.asarray(moved).reshape(-1, *config.image)])
    labels = np.concatenate([few.labels, *drawn]).astype(np.int32)
    rows = np.arange(count * (networks + 1)).reshape(networks + 1, count)
    return Dataset(images, labels, few.classes), np.stack([np.concatenate([rows[0], own]) for own in rows[1:]])


def _wrk(stolen: Stolen, thief: Thief) -> Attacked:
    """Rounds of fine-tuning at the learning rate `strength`; momentum starts each of them at rest."""
    own, seeds = thief.owned(), list(stolen.seeds)
    few = own[np.random.default_rng(0x3B4).permutation(len(own))[: max(1, round(SHARE * len(own)))]]
    data, rows = crossed(stolen.config, stolen.variables, few, seeds)
    recipe = dataclasses.replace(thief.recipe, epochs=thief.tuning_epochs)
    variables = fresh_heads(stolen.config, stolen.variables, seeds)
    for turn in range(ROUNDS):
        drawn = [int(np.random.default_rng([seed, turn, 0x3B4]).integers(2**31)) for seed in seeds]
        start, title = pushed(variables, stolen.variables), f"boundaries moved {turn + 1}/{ROUNDS}"
        variables = tune(stolen.config, start, data, recipe, drawn, stolen.strengths, rows=rows, title=title)
    return Attacked(stolen.config, jax.tree.map(np.asarray, variables))


ATTACKS: tuple[Attack, ...] = (
    Attack(
        "wrk",
        f"has the weights and few images of the task, {SHARE:.0%} of the thief's; moves the boundaries around them "
        "under a new last layer",
        "learning rate",
        (0.03,),
        (0.003, 0.01, 0.03, 0.1),
        frozenset({"images"}),
        _wrk,
    ),
)
