"""A thief's own random shift: what a smooth mark on natural images looks like, drawn by somebody without the key.

Their shift is an affine map of the penultimate features, whitened and without what the logits tell already, so it lies
where an owner's smooth mark would lie, and drowns it if it is strong enough. It is folded into the last layer. With
`own-shift-kept` the server adds only as much of it as leaves the top-1 what it was: that costs no accuracy.
"""

import numpy as np
from scipy import special

from wmjax.attacks.contract import Attack, Attacked, Served, Stolen, Thief, untouched
from wmjax.attacks.families.extract import each, rng_of
from wmjax.attacks.families.features import features
from wmjax.attacks.families.own import without
from wmjax.data.dataset import Dataset
from wmjax.models import Variables, stack
from wmjax.models.predict import logits

MOST = 5000  # images that they look at
DIRECTIONS = 32  # of the features, the widest that are left
LEFT = 1e-3  # of the widest feature's deviation: what is less is rounding
SHY = 0.97  # of the shift that would change the top-1


def whitened(seen: np.ndarray, said: np.ndarray) -> np.ndarray:
    """The affine map to the widest directions of features that logits do not tell, each of unit variance.

    Args:
      seen: features, float [n, d].
      said: logits, float [n, classes].

    Returns:
      float64 [d + 1, directions], the last row the intercept; no direction where logits tell all, or nothing is finite.
    """
    if not (np.isfinite(seen).all() and np.isfinite(said).all()):
        return np.zeros((seen.shape[1] + 1, 0))
    mean = seen.mean(axis=0, dtype=np.float64)
    centred, told = seen - mean, said.astype(np.float64) - said.mean(axis=0, dtype=np.float64)
    rest = centred - told @ np.linalg.lstsq(told, centred, rcond=1e-6)[0]
    _, sizes, ways = np.linalg.svd(rest, full_matrices=False)
    wide = np.flatnonzero(sizes > LEFT * np.linalg.norm(centred, 2))[:DIRECTIONS]
    # an affine map of the features alone: logits are one, so the residual is one too
    slopes = np.linalg.lstsq(centred, rest, rcond=1e-6)[0] @ ways[wide].T / sizes[wide] * np.sqrt(len(seen))
    return np.vstack([slopes, -mean @ slopes])


def own_shift(network: Served, own: Dataset) -> Variables:
    """The network with a random shift of its logits, of root mean square `strength` in each of them."""
    rng = rng_of(network.seed, 7)
    images = own.images[rng.permutation(len(own))[:MOST]]
    seen = features(network.config, network.variables, images)
    map_ = whitened(seen, logits(network.config, network.variables, images))
    signs = rng.choice([-1.0, 1.0], size=(map_.shape[1], network.config.classes))
    signs -= signs.mean(axis=1, keepdims=True)  # what all classes share changes nothing
    size = np.sqrt(np.mean(np.sum(signs**2, axis=0))) or 1.0
    return without(network.variables, -network.strength / size * map_ @ signs)


def _shifted(stolen: Stolen, thief: Thief) -> Attacked:
    own = thief.owned()
    return Attacked(stolen.config, stack([own_shift(network, own) for network in each(stolen)]))


def kept(before: np.ndarray, after: np.ndarray) -> np.ndarray:
    """Logits moved as far as the top-1 stays what it was.

    >>> kept(np.array([[2.0, 1.0]]), np.array([[1.0, 2.0]])).round(3).tolist()
    [[1.515, 1.485]]

    Args:
      before: logits, float [n, classes].
      after: where they shall go.
    """
    top = before.argmax(axis=1)[:, None]
    ahead = np.take_along_axis(before, top, axis=1) - before
    lost = ahead - (np.take_along_axis(after, top, axis=1) - after)
    with np.errstate(divide="ignore", invalid="ignore"):
        reach = np.where(lost > ahead, ahead / lost, np.inf).min(axis=1, keepdims=True)
    return before + np.where(reach < 1, SHY * reach, 1.0) * (after - before)


def _kept(network: Served, thief: Thief, images: np.ndarray) -> np.ndarray:
    """Answers under the thief's shift, cut where it would change the top-1."""
    moved = own_shift(network, thief.owned())
    said = kept(*(logits(network.config, own, images) for own in (network.variables, moved)))
    return np.asarray(special.softmax(said, axis=1))


_STRENGTH = "root mean square of the shift, in logits"
_FULL = (0.5, 1, 2, 4)

ATTACKS: tuple[Attack, ...] = (
    Attack(
        "own-shift",
        "has the weights and images of the task; adds a random smooth shift of their own to the logits",
        _STRENGTH,
        (1,),
        _FULL,
        frozenset({"images"}),
        _shifted,
    ),
    Attack(
        "own-shift-kept",
        "has the weights and images of the task; their server adds a random smooth shift that changes no top-1",
        _STRENGTH,
        (2,),
        _FULL,
        frozenset({"images"}),
        untouched,
        _kept,
    ),
)
