"""Students of the stolen network and of something else: the truth, a network of one's own, another owner's network.

Extraction that mixes its sources dilutes what comes from each. Where two networks are asked, the student learns the
mean of their answers (their ensemble). It learns it from labels that are drawn from that mean, several for each image:
cross-entropy is linear in its targets, so that on average this is distilling at temperature 1.
"""

import dataclasses
from collections.abc import Callable

import numpy as np

from wmjax.attacks.contract import Attack, Attacked, Stolen, Thief
from wmjax.attacks.families.extract import each, labelled, rng_of, side_by_side, students
from wmjax.attacks.families.overwrite import overwrite
from wmjax.attacks.families.own import own_networks
from wmjax.data.dataset import Dataset
from wmjax.models import Variables, one, predict

DRAWS = 4  # labels of each image, one after another
RATE = 0.03  # at which another owner's mark is embedded


def retrain_true(stolen: Stolen, thief: Thief) -> Attacked:
    """Trains on the thief's images, a share `strength` under true labels, the others under the network's top-1.

    The images are kept once for each network.
    """
    own = thief.owned()
    answered = []
    for network in each(stolen):
        theirs = labelled(own.images, predict(network.config, network.variables, own.images))
        true = rng_of(network.seed, 8).permutation(len(own)) < network.strength * len(own)
        answered.append(dataclasses.replace(theirs, labels=np.where(true, own.labels, theirs.labels)))
    return students(stolen, thief.recipe, *side_by_side(answered))


def drawn(images: np.ndarray, said: np.ndarray, rng: np.random.Generator) -> Dataset:
    """Each image `DRAWS` times, under labels drawn from what was said of it.

    Args:
      images: uint8 [n, H, W, C].
      said: probabilities, float [n, classes]; where they are not numbers the label is 0.
      rng: of the labels.

    Returns:
      `DRAWS` * n examples.
    """
    reached = np.cumsum(said, axis=1, dtype=np.float64)
    points = rng.random((DRAWS, len(said), 1)) * reached[:, -1:]
    labels = np.minimum(np.sum(reached <= points, axis=2), said.shape[1] - 1)
    return Dataset(np.concatenate([images] * DRAWS), labels.reshape(-1).astype(np.int32), said.shape[1])


def _ensemble(stolen: Stolen, thief: Thief, others: Variables) -> Attacked:
    """Students of the mean of two networks' answers on the thief's images; the other's weight is `strength`.

    The images are kept `DRAWS` times for each network; a student sees as many as any other.
    """
    own, asked = thief.owned(), list[Dataset]()
    for i, network in enumerate(each(stolen)):
        said = predict(network.config, network.variables, own.images)
        other = predict(network.config, one(others, i), own.images)
        mean = (1 - network.strength) * said + network.strength * other
        asked.append(drawn(own.images, mean, rng_of(network.seed, 9)))
    recipe = dataclasses.replace(thief.recipe, epochs=max(1, round(thief.recipe.epochs / DRAWS)))
    return students(stolen, recipe, *side_by_side(asked))


def distil_own(stolen: Stolen, thief: Thief) -> Attacked:
    """The other network is the thief's own, trained on their labels: it has no mark."""
    return _ensemble(stolen, thief, own_networks(stolen, thief))


def distil_two(stolen: Stolen, thief: Thief) -> Attacked:
    """The other network is another owner's: as good, and marked with a key of theirs."""
    unmarked = stolen._replace(variables=own_networks(stolen, thief), strengths=[RATE] * len(stolen.seeds))
    return _ensemble(stolen, thief, overwrite(unmarked, thief).variables)


_CAN = "can ask the network for probabilities"


def _attack(name: str, attacker: str, strength: str, run: Callable[[Stolen, Thief], Attacked]) -> Attack:
    return Attack(name, attacker, strength, (), (0.25, 0.5, 0.75), frozenset({"images"}), run)


ATTACKS: tuple[Attack, ...] = (
    _attack(
        "retrain-true",
        "can ask the network for labels, and has labelled images of the task",
        "share of their images that they label themselves",
        retrain_true,
    ),
    _attack(
        "distil-own",
        f"{_CAN}, and has labelled images of the task; teaches a student the mean of both networks' answers",
        "weight of their own network's answers",
        distil_own,
    ),
    _attack(
        "distil-two",
        f"{_CAN}, and a network of another owner with a mark of theirs; teaches a student the mean of both",
        "weight of the other network's answers",
        distil_two,
    ),
)
