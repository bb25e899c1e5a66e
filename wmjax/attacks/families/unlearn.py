"""Unlearning: the thief guesses what the network was taught to answer oddly, and teaches it otherwise.

Both attacks first recover something that may resemble triggers, then fine-tune on it with other labels. `cleanse` looks
for one small stamp that sends every image to one class (Neural Cleanse, Wang et al. 2019), as the triggers of fixed
labels do. `dehydra` recovers pictures of every class from noise, whatever the triggers look like (after Lu et al. 2024,
whose further steps, splitting what was recovered and doing without any data, are left out).
"""

import hashlib
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jax import Array, lax

from wmjax.attacks.contract import Attack, Attacked, Stolen, Thief
from wmjax.attacks.families.descent import RATE, each_network, invert
from wmjax.attacks.families.finetune import tune
from wmjax.data.dataset import Dataset
from wmjax.devices import briefly
from wmjax.models import Config, Variables, apply

STEPS = 200  # of Adam for each stamp
BATCH = 32  # images under the stamp in a step
SUCCESS = 0.95  # share of images that a stamp must send to its class
OUTLIER = 2.0  # anomaly index from which on a class is suspected (Wang et al. 2019)
SHARE = 5  # one in so many of the thief's images carries a stamp
DREAMS = 10  # pictures recovered of each class
DREAM_STEPS = 50
DREAMT_AT_ONCE = 100  # pictures of a network: memory does not grow with the classes


class Stamps(NamedTuple):
    """The smallest stamp found for each class of each network.

    Attributes:
      masks: how much of a pixel the pattern replaces, float32 [networks, classes, H, W, 1] in 0..1.
      patterns: float32 [networks, classes, H, W, C], grey levels in 0..255.
    """

    masks: Array
    patterns: Array


def stamped(images: Array, mask: Array, pattern: Array) -> Array:
    """Images [N, H, W, C] under a stamp, float32."""
    return images.astype(jnp.float32) * (1.0 - mask[None]) + (mask * pattern)[None]


@partial(briefly, static_argnums=0)
def find_stamps(config: Config, variables: Variables, images: Array) -> Stamps:
    """For every class the smallest mask and pattern that send images of all classes to it (Wang et al. 2019, 4).

    Adam on the cross-entropy plus a weight times the mask's sum; the weight rises while the stamp works and falls while
    it does not. The smallest mask that worked is taken, the last one where none did.

    Args:
      config: of all networks.
      variables: theirs, arrays [networks, ...].
      images: uint8 [N, H, W, C].
    """

    def of_class(own: Variables, target: Array) -> tuple[Array, Array]:
        def loss(logits: Any, picked: Array, weight: Array) -> tuple[Array, tuple[Array, Array]]:
            mask, pattern = _read(logits)
            answers, _ = apply(config, own, stamped(picked, mask, pattern))
            worked = jnp.mean((answers.argmax(-1) == target).astype(jnp.float32))
            missed = -jnp.mean(jax.nn.log_softmax(answers)[:, target])
            return missed + weight * mask.sum(), (worked, mask.sum())

        def step(state: Any, key: Array) -> tuple[Any, None]:
            logits, moments, weight, best, smallest = state
            picked = images[jax.random.randint(key, (BATCH,), 0, len(images))]
            slope, (worked, size) = jax.grad(loss, has_aux=True)(logits, picked, weight)
            better = (worked >= SUCCESS) & (size < smallest)
            best = jax.tree.map(lambda new, old: jnp.where(better, new, old), logits, best)
            with jax.numpy_dtype_promotion("standard"):  # Optax raises a float to its integer step count
                updates, moments = adam.update(slope, moments)
            weight = weight * jnp.where(worked >= SUCCESS, 1.1, 1 / 1.1)
            smallest = jnp.where(better, size, smallest)
            return (optax.apply_updates(logits, updates), moments, weight, best, smallest), None

        height, width, channels = config.image
        places, *keys = jax.random.split(jax.random.fold_in(jax.random.key(0), target), 3)
        shapes = {"mask": (height, width, 1), "pattern": (height, width, channels)}
        logits = {name: jax.random.normal(key, shape) for key, (name, shape) in zip(keys, shapes.items(), strict=True)}
        state = (logits, adam.init(logits), jnp.float32(1e-2), logits, jnp.float32(jnp.inf))
        (last, _, _, best, smallest), _ = lax.scan(step, state, jax.random.split(places, STEPS))
        return _read(jax.tree.map(lambda a, b: jnp.where(jnp.isfinite(smallest), a, b), best, last))

    def of_network(own: Variables) -> tuple[Array, Array]:
        # one class after another: a batch of each is work enough, and memory does not grow with the classes
        return lax.map(partial(of_class, own), jnp.arange(config.classes))

    adam = optax.adam(0.1, b1=0.5, b2=0.9)
    return Stamps(*each_network(of_network, variables))


def _read(logits: dict[str, Array]) -> tuple[Array, Array]:
    """Mask and pattern; an empty mask where weights that are not numbers spoilt them."""
    mask, pattern = jax.nn.sigmoid(logits["mask"]), 255.0 * jax.nn.sigmoid(logits["pattern"])
    return jnp.nan_to_num(mask), jnp.nan_to_num(pattern)


def suspected(sizes: np.ndarray) -> np.ndarray:
    """Classes whose stamps are oddly small: the anomaly index of Wang et al. 2019; the smallest one where none is.

    >>> suspected(np.array([9.0, 10, 11, 10, 1, 12])).tolist(), suspected(np.array([9.0, 10, 11])).tolist()
    ([4], [0])

    Args:
      sizes: sum of each class's mask, float [classes].

    Returns:
      int [suspected].
    """
    below = np.median(sizes) - sizes
    spread = 1.4826 * np.median(np.abs(below))  # that of a normal distribution is its standard deviation
    found = np.flatnonzero(below > OUTLIER * spread)
    return found if len(found) else np.array([sizes.argmin()])


def _cleanse(stolen: Stolen, thief: Thief) -> Attacked:
    """Fine-tunes on the thief's images, some of them under the stamps of suspected classes but with their own labels.

    Every batch is drawn from both; where several classes are suspected, their stamps take turns.
    """
    own = thief.owned()
    firsts, same = _distinct(stolen.variables, len(stolen.seeds))
    stamps = find_stamps(stolen.config, jax.tree.map(lambda leaf: leaf[firsts], stolen.variables), own.images)
    masks, patterns = np.asarray(stamps.masks)[same], np.asarray(stamps.patterns)[same]
    size = len(own) // SHARE
    images, labels, rows = [own.images], [own.labels], []
    for i, seed in enumerate(stolen.seeds):
        order = np.random.default_rng([seed, 0xC1EA]).permutation(len(own))
        marked, plain = order[:size], order[size:]
        classes = np.resize(suspected(masks[i].sum(axis=(1, 2, 3))), size)
        mask = masks[i][classes]
        images.append((own.images[marked] * (1 - mask) + patterns[i][classes] * mask).round().astype(np.uint8))
        labels.append(own.labels[marked])
        rows.append(np.concatenate([plain, len(own) + i * size + np.arange(size)]))
    data = Dataset(np.concatenate(images), np.concatenate(labels), own.classes)
    return _tune(stolen, thief, data, np.stack(rows))


def _distinct(variables: Variables, count: int) -> tuple[np.ndarray, np.ndarray]:
    """Where each different network comes first, and which of those each is: stamps do not depend on strengths."""
    leaves = jax.tree.leaves(variables)
    digests = [hashlib.sha256(b"".join(leaf[i].tobytes() for leaf in leaves)).hexdigest() for i in range(count)]
    _, firsts, same = np.unique(digests, return_index=True, return_inverse=True)
    return firsts, same


def _dehydra(stolen: Stolen, thief: Thief) -> Attacked:
    """Fine-tunes on the thief's images, and as a fifth of the whole on pictures of each class under random labels."""
    own, config = thief.owned(), stolen.config
    count = DREAMS * config.classes
    rngs = [np.random.default_rng([seed, 0xDE4D]) for seed in stolen.seeds]
    images = _dream(stolen, rngs).reshape(-1, *config.image)
    labels = [rng.integers(config.classes, size=count, dtype=np.int32) for rng in rngs]
    turns = np.arange(max(1, len(own) // (SHARE - 1))) % count
    rows = [np.concatenate([np.arange(len(own)), len(own) + i * count + turns]) for i in range(len(rngs))]
    data = Dataset(np.concatenate([own.images, images]), np.concatenate([own.labels, *labels]), own.classes)
    return _tune(stolen, thief, data, np.stack(rows))


def _dream(stolen: Stolen, rngs: list[np.random.Generator]) -> np.ndarray:
    """`DREAMS` pictures of every class, from noise, that each network takes for that class.

    Args:
      stolen: the networks.
      rngs: of the noise, one a network.

    Returns:
      uint8 [networks, DREAMS * classes, H, W, C], class by class.
    """
    config, parts = stolen.config, []
    targets = np.repeat(np.arange(config.classes, dtype=np.int32), DREAMS)
    for first in range(0, len(targets), DREAMT_AT_ONCE):
        asked = np.tile(targets[first : first + DREAMT_AT_ONCE], (len(rngs), 1))
        shape = (asked.shape[1], *config.image)
        starts = np.stack([rng.uniform(0, 255, shape).astype(np.float32) for rng in rngs])
        dreams = invert(config, stolen.variables, starts, asked, DREAM_STEPS, RATE)
        parts.append(np.asarray(dreams).round().astype(np.uint8))
    return np.concatenate(parts, axis=1)


def _tune(stolen: Stolen, thief: Thief, data: Dataset, rows: np.ndarray) -> Attacked:
    """Fine-tunes each network on its own rows, at the rate that is its strength."""
    tuned = tune(
        stolen.config,
        stolen.variables,
        data,
        thief.tuning(),
        stolen.seeds,
        stolen.strengths,
        rows=rows,
        title="unlearning",
    )
    return Attacked(stolen.config, tuned)


_RATES = (0.001, 0.005, 0.02, 0.05)

ATTACKS: tuple[Attack, ...] = (
    Attack(
        "cleanse",
        "knows the weights, owns images of the task; guesses that a small stamp sends any image to one class",
        "learning rate of the fine-tuning",
        quick=(0.01,),
        full=_RATES,
        needs=frozenset({"images"}),
        run=_cleanse,
    ),
    Attack(
        "dehydra",
        "knows the weights, owns images of the task; takes inverted pictures of every class for possible triggers",
        "learning rate of the fine-tuning",
        quick=(0.01,),
        full=_RATES,
        needs=frozenset({"images"}),
        run=_dehydra,
    ),
)
