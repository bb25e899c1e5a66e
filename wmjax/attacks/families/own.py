"""Thieves who train a network of their own beside the stolen one, on their own labels, and play one against the other.

Neither knows the key. Averaging dilutes what the owner's network says and theirs does not (the defence that CosWM,
Charette et al. 2022, is tried against); subtracting takes away what is easiest to tell of the difference.
"""

import numpy as np

from wmjax.attacks.contract import Attack, Attacked, Served, Stolen, Thief, untouched
from wmjax.attacks.families.extract import each, rng_of, students
from wmjax.attacks.families.features import features
from wmjax.data.dataset import Dataset
from wmjax.errors import UsageError
from wmjax.models import Config, Variables, one, predict, stack
from wmjax.models.predict import logits

RIDGE = 0.1  # of the variance of a feature: few images must not explain everything


def own_networks(stolen: Stolen, thief: Thief, rows: np.ndarray | None = None) -> Variables:
    """Networks of the thief's own, one for each stolen one, trained from scratch on their labels.

    Args:
      stolen: their architecture and seeds count.
      thief: their images and recipe.
      rows: int [networks, images], the part that each sees; by default all of it.
    """
    return students(stolen, thief.recipe, thief.owned(), rows).variables


def _averaged(network: Served, thief: Thief, images: np.ndarray) -> np.ndarray:
    """The mean of what the stolen network and the thief's own say; theirs has the weight `strength`."""
    alone = Stolen(network.config, stack([network.variables]), [network.strength], [network.seed])
    said = predict(network.config, network.variables, images)
    own = predict(network.config, one(own_networks(alone, thief), 0), images)
    return (1 - network.strength) * said + network.strength * own


def difference(seen: np.ndarray, gap: np.ndarray, rank: int) -> np.ndarray:
    """The affine map of so low a rank that best tells a gap between logits from features (reduced-rank regression).

    Args:
      seen: features, float [n, d], of one image at least.
      gap: between the logits of two networks, float [n, classes].
      rank: of the map.

    Returns:
      float64 [d + 1, classes]; the last row is the intercept. Zero where anything is not a number.
    """
    seen, gap = seen.astype(np.float64), gap.astype(np.float64)
    if not (np.isfinite(seen).all() and np.isfinite(gap).all()):
        return np.zeros((seen.shape[1] + 1, gap.shape[1]))
    mean, middle = seen.mean(axis=0), gap.mean(axis=0)
    centred = seen - mean
    square = centred.T @ centred
    pull = RIDGE * np.trace(square) / len(square) or 1.0  # 1: features that never vary
    slopes = np.linalg.solve(square + pull * np.eye(len(square)), centred.T @ (gap - middle))
    _, _, directions = np.linalg.svd(centred @ slopes, full_matrices=False)
    slopes = slopes @ directions[:rank].T @ directions[:rank]
    return np.vstack([slopes, middle - mean @ slopes])


def _told(config: Config, variables: Variables, images: np.ndarray) -> np.ndarray:
    """Logits without what all classes share."""
    said = logits(config, variables, images)
    return said - said.mean(axis=1, keepdims=True)


def _subtracted(stolen: Stolen, thief: Thief) -> Attacked:
    """Takes from each last layer what tells its network from one that the thief trains on half of their images.

    The other half shows the difference: on the first their own network knows the answers by heart.
    """
    own = thief.owned()
    if len(own) < 2:
        raise UsageError(f"telling two networks apart needs 2 images or more, the thief has {len(own)}")
    orders = np.stack([rng_of(seed, 6).permutation(len(own)) for seed in stolen.seeds])
    half = -(-len(own) // 2)
    others = own_networks(stolen, thief, orders[:, :half])
    changed = []
    for i, network in enumerate(each(stolen)):
        asked: Dataset = own[orders[i, half:]]
        gap = _told(network.config, network.variables, asked.images)
        gap = gap - _told(network.config, one(others, i), asked.images)
        seen = features(network.config, network.variables, asked.images)
        changed.append(without(network.variables, difference(seen, gap, round(network.strength))))
    return Attacked(stolen.config, stack(changed))


def without(variables: Variables, affine: np.ndarray) -> Variables:
    """A network from whose logits an affine map of its penultimate features is taken, float [d + 1, classes]."""
    head = variables.params["head"]
    moved = {"kernel": head["kernel"] - affine[:-1], "bias": head["bias"] - affine[-1]}
    head = {**head, **{name: np.asarray(leaf, np.float32) for name, leaf in moved.items()}}
    return Variables({**variables.params, "head": head}, variables.stats)


_WHO = "has the weights and labelled images of the task, on which they train a network of their own"

ATTACKS: tuple[Attack, ...] = (
    Attack(
        "average",
        f"{_WHO}; their server answers with the mean of both",
        "weight of their own network's answers",
        (),
        (0.25, 0.5, 0.75),
        frozenset({"images"}),
        untouched,
        _averaged,
    ),
    Attack(
        "subtract",
        f"{_WHO}; estimates how the two differ from the stolen one's features, and takes that away",
        "rank of the difference that they estimate",
        (),
        (1, 2, 4, 8),
        frozenset({"images"}),
        _subtracted,
    ),
)
