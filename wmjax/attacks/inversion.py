"""Model inversion: what a network's weights tell about the pictures that it was trained on (Fredrikson et al. 2015).

Zhang et al. 2018 (5.5) invert marked networks and look at the pictures: blurs, no readable mark. Here the look is a
test: what inversion adds to its starts is correlated with what the key stamps on its images, and with what decoy keys
would have stamped.

It is not an `Attack`: the networks stay as they are, and what it finds is a `Leak`. A suite tries it beside its grid.
"""

import time
from collections.abc import Iterator, Sequence
from typing import NamedTuple

import jax
import numpy as np

from wmjax import stats
from wmjax.attacks.attempt import Attempt
from wmjax.attacks.case import Case, keys_of, seed_of
from wmjax.attacks.contract import Thief
from wmjax.attacks.families.descent import RATE, invert
from wmjax.attacks.result import Leak
from wmjax.data.dataset import Dataset
from wmjax.devices import ran_out
from wmjax.errors import UsageError
from wmjax.keys.keyset import Key, draw_decoys
from wmjax.keys.schemes import SCHEMES
from wmjax.keys.spec import Spec
from wmjax.keys.specify import is_self_derived
from wmjax.models import Config, Variables

STEPS = 100
PICTURES = 4  # inverted from each kind of start: what they have in common is the network's, not the start's
DECOYS = 99


def inverted(case: Case) -> Attempt:
    """Model inversion of every victim for every key; where it cannot be tried, why."""
    began, found, why = time.monotonic(), list[Leak](), None
    seeds = [seed_of(case, "inversion", 0, number) for number in range(len(case.victims))]
    try:
        for name, key in sorted(keys_of(case).items()):
            asked = [(v.name, v.variables, seed) for v, seed in zip(case.victims, seeds, strict=True) if name in v.keys]
            found += leaks(name, case.config, asked, key, case.thief, case.sources.get(name))
    except UsageError as error:
        found, why = [], str(error)
    except (MemoryError, jax.errors.JaxRuntimeError) as error:
        if not ran_out(error):
            raise
        found, why = [], "does not fit in memory"
    return Attempt("inversion", (), tuple(found), (), why, round(time.monotonic() - began, 1))


def leaks(
    key_name: str,
    config: Config,
    networks: Sequence[tuple[str, Variables, int]],
    key: Key,
    thief: Thief,
    source: Dataset | None,
) -> list[Leak]:
    """What inversion recovers of a key's stamp: for each kind of start, against decoy keys where they can be made.

    The thief is told the key's target class, as in Zhang et al. 2018: that of fixed labels, else the most frequent one.
    Decoys are made one after another, once for all networks: together their stamps may not fit in memory.

    Args:
      key_name: name of the key.
      config: of all networks.
      networks: the name of each, its variables, and the seed of its starts, non-negative.
      key: whose stamp is looked for.
      thief: their images, where they have some, are starts too.
      source: the key's source images: for the decoys of keys that are not self-derived.

    Returns:
      Network by network, for each kind of start.

    Raises:
      InvalidFile: the source is not the one that the key was made from.
    """
    target = int(key.labels[of_target(key.labels)][0])
    inverted = [_invert(config, variables, thief, target, seed) for _, variables, seed in networks]
    background = _background(key.spec, thief.images if source is None else source)
    stamps = stamps_of(key.spec, key.images, key.labels, background)
    chance = [[fit(decoy, one.moves) for one in inverted] for decoy in _decoy_stamps(key, source, background)]
    found = []
    for i, ((name, _, _), one) in enumerate(zip(networks, inverted, strict=True)):
        own, others = fit(stamps, one.moves), np.array([fits[i] for fits in chance]).reshape(-1, len(one.starts))
        for j, start in enumerate(one.starts):
            found.append(_leak(name, key_name, start, float(own[j]), np.abs(others[:, j]), one.pictures[j]))
    return found


def _leak(name: str, key_name: str, start: str, own: float, others: np.ndarray, picture: np.ndarray) -> Leak:
    """How the fit of a key's stamp ranks among those of decoys, float64 [decoys] in size."""
    limit = float(np.quantile(others, 0.95)) if len(others) else None
    p = stats.calibrated_p(abs(own) - 1e-9, others) if len(others) else None  # ties are ties, however summed
    return Leak(name, key_name, start, own, limit, p, picture.tolist())


def of_target(labels: np.ndarray) -> np.ndarray:
    """Which triggers have the most frequent label, bool [triggers].

    Of labels equally frequent the one that comes first: which triggers it has then tells nothing about its name, so
    those of a key and those of its decoys are draws from one distribution whatever class the network is asked about.

    >>> of_target(np.array([7, 2, 2, 7, 5])).tolist()
    [True, False, False, True, False]
    """
    return labels == labels[np.argmax(np.bincount(labels)[labels])]


def stamps_of(spec: Spec, images: np.ndarray, labels: np.ndarray, background: np.ndarray) -> np.ndarray:
    """What inversion may recover of a key: a stamp that all triggers carry, or any one of the triggers.

    Of schemes that stamp that is the mean of the triggers of the most frequent label less the background. Other
    keys' triggers have nothing in common: each of that label may be found. Decoys are treated in just the same way,
    each with its own most frequent label.

    Args:
      spec: of the key.
      images: its triggers, uint8 [triggers, H, W, C].
      labels: theirs, int [triggers].
      background: float64 [H, W, C], what the triggers have without a stamp.

    Returns:
      float32 [stamps, pixels].
    """
    stamps = images[of_target(labels)].astype(np.float64) - background
    if SCHEMES[spec.scheme].stamp:
        stamps = stamps.mean(axis=0, keepdims=True)
    return stamps.reshape(len(stamps), -1).astype(np.float32)


def fit(stamps: np.ndarray, moves: np.ndarray) -> np.ndarray:
    """Pearson correlation of what was recovered with the stamp that it fits best.

    Args:
      stamps: float32 [stamps, pixels].
      moves: float [recovered, pixels], what was recovered less its start.

    Returns:
      float64 [recovered], of the correlations the one largest in size; 0 where either side is flat.
    """
    fits = _standardised(moves) @ _standardised(stamps).T
    return np.take_along_axis(fits, np.abs(fits).argmax(axis=1)[:, None], axis=1)[:, 0]


def _standardised(rows: np.ndarray) -> np.ndarray:
    """Rows with mean 0 and length 1, or all 0: float64 [rows, pixels]."""
    centred = rows.astype(np.float64) - rows.mean(axis=1, dtype=np.float64, keepdims=True)
    lengths = np.linalg.norm(centred, axis=1, keepdims=True)
    return np.where(lengths > 1e-6, centred / np.maximum(lengths, 1e-6), 0.0)


class _Inverted(NamedTuple):
    """What inverting a network gave.

    Attributes:
      starts: the kinds of starts.
      moves: the mean of what was added to the pictures of each kind, float32 [kinds, pixels].
      pictures: the first of each kind, uint8 [kinds, H, W, C].
    """

    starts: list[str]
    moves: np.ndarray
    pictures: np.ndarray


def _invert(config: Config, variables: Variables, thief: Thief, target: int, seed: int) -> _Inverted:
    """Inverts one network from every kind of start."""
    starts = _starts(config, thief, target, seed)
    begun = np.concatenate(list(starts.values()))
    many = jax.tree.map(lambda leaf: np.asarray(leaf)[None], variables)
    targets = np.full((1, len(begun)), target, np.int32)
    recovered = np.asarray(invert(config, many, begun[None], targets, STEPS, RATE))[0]
    moves = (recovered - begun).reshape(len(starts), PICTURES, -1).mean(axis=1)
    return _Inverted(list(starts), moves, recovered[::PICTURES].round().astype(np.uint8))


def _starts(config: Config, thief: Thief, target: int, seed: int) -> dict[str, np.ndarray]:
    """Where inversion begins, float32 [PICTURES, H, W, C] of each kind: images of other classes, shades, noise."""
    shape = (PICTURES, *config.image)
    rng = np.random.default_rng([seed, 0x1417E47])
    shades = np.linspace(0, 255, PICTURES + 2)[1:-1, None, None, None]
    starts = {"blank": np.broadcast_to(shades, shape), "noise": rng.uniform(0, 255, shape)}
    if thief.images is not None:
        others = np.flatnonzero(thief.images.labels != target)
        starts = {"image": thief.images.images[rng.choice(others, PICTURES)], **starts} if len(others) else starts
    return {name: pictures.astype(np.float32) for name, pictures in starts.items()}


def _background(spec: Spec, images: Dataset | None) -> np.ndarray:
    """What triggers made from a data set's images have in common without a stamp, float64 [H, W, C].

    The same for a key and its decoys; 0 for keys whose pictures are no such images, and where there are none.
    """
    if images is None or not SCHEMES[spec.scheme].own_shape:
        return np.zeros(spec.image)
    used = images.images if spec.paper is None else images.images[images.labels == spec.paper.source_class]
    return used.mean(axis=0, dtype=np.float64) if len(used) else np.zeros(spec.image)


def _decoy_stamps(key: Key, source: Dataset | None, background: np.ndarray) -> Iterator[np.ndarray]:
    """`stamps_of` each decoy key, one after another; none where they cannot be made."""
    spec = key.spec
    if source is None and not is_self_derived(spec):
        return
    for decoy in draw_decoys(key, source, DECOYS):
        yield stamps_of(spec, decoy.images, decoy.labels, background)
