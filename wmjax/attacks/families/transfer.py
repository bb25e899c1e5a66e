"""Transfer learning: a stolen network is put to a task with fewer classes, under a new head.

Evidence stays exact where every new class is made of equally many old ones. A key's labels are drawn uniformly from the
old classes, independently of every model that never saw the key; those whose class is kept are uniform over the kept
classes, and mapped k to one they are uniform over the new ones. A trigger whose class was given up is not asked about:
whether it was given up follows from its label alone, which the network's answer does not depend on under the null.
"""

import dataclasses
from collections.abc import Sequence

import numpy as np

from wmjax.attacks.contract import Attack, Attacked, Stolen, Thief
from wmjax.attacks.families.extract import fresh_seeds
from wmjax.attacks.families.finetune import fresh_heads, tune
from wmjax.data.dataset import Dataset
from wmjax.errors import UsageError

RATE = 0.2  # of the learning rate from scratch: what is learnt anew is the head, what is kept must move slowly


def transfer_fewer(stolen: Stolen, thief: Thief) -> Attacked:
    """Keeps the first `strength` share of the classes, and fine-tunes on the thief's images of them.

    Raises:
      UsageError: shares that keep different numbers of classes: what is returned has one architecture.
    """
    classes = stolen.config.classes
    counts = {min(classes, max(2, round(strength * classes))) for strength in stolen.strengths}
    if len(counts) != 1:
        raise UsageError("networks that keep different numbers of classes differ in shape: attack them one by one")
    kept = np.arange(classes)
    kept[kept >= counts.pop()] = -1
    return tuned(stolen, thief, kept, [RATE * thief.recipe.learning_rate] * len(stolen.seeds))


def transfer_merged(stolen: Stolen, thief: Thief) -> Attacked:
    """Merges classes 2i and 2i + 1 into class i, and fine-tunes at the learning rate `strength`.

    The last of an odd number of classes is given up: alone it would be a new class of one old one.
    """
    classes = stolen.config.classes
    if classes < 4:
        raise UsageError(f"{classes} classes cannot be merged in pairs: two classes must be left")
    kept = np.arange(classes) // 2
    kept[classes // 2 * 2 :] = -1
    return tuned(stolen, thief, kept, stolen.strengths)


def tuned(stolen: Stolen, thief: Thief, kept: np.ndarray, rates: Sequence[float]) -> Attacked:
    """Networks with fresh heads for the new classes, all layers fine-tuned on the thief's images of these.

    Args:
      stolen: the networks; their strengths are not looked at.
      thief: their images and epochs of fine-tuning.
      kept: int [classes], which new class each class becomes; -1 where it is given up.
      rates: peak learning rates, one a network.
    """
    config = dataclasses.replace(stolen.config, classes=int(kept.max()) + 1)
    train = _relabelled(thief.owned(), kept)
    if len(train) == 0:
        raise UsageError("the thief has no image of the classes that are kept")
    seeds = fresh_seeds(stolen.seeds)
    start = fresh_heads(config, stolen.variables, seeds)
    trained = tune(config, start, train, thief.tuning(), seeds, rates, title="transfer learning")
    return Attacked(config, trained, kept)


def _relabelled(data: Dataset, kept: np.ndarray) -> Dataset:
    rows = kept[data.labels] >= 0
    return Dataset(data.images[rows], kept[data.labels[rows]].astype(np.int32), int(kept.max()) + 1)


ATTACKS = (
    Attack(
        "transfer-fewer",
        "knows the weights, and has labelled images of the classes that they need",
        "share of the classes that they keep",
        (0.5,),
        (0.5,),
        frozenset({"images"}),
        transfer_fewer,
    ),
    Attack(
        "transfer-merged",
        "knows the weights, and has images with coarser labels, two classes in one",
        "learning rate of the fine-tuning",
        (0.01,),
        (0.001, 0.01, 0.03, 0.1),
        frozenset({"images"}),
        transfer_merged,
    ),
)
