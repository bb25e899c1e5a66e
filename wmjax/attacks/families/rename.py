"""Servers that give the classes other names: the network does as well as before, and no answer is the owner's label.

The owner is not told the names: their keys are asked as they are. Accuracy is measured under the new names.
"""

from collections.abc import Callable

import numpy as np

from wmjax.attacks.contract import Attack, Served, Thief, answer, untouched
from wmjax.errors import UsageError

Names = Callable[[Served], np.ndarray]


def _renamed(network: Served) -> np.ndarray:
    """A share of the classes, drawn at random, pass their names on in a circle, so that each of them changes."""
    rng, classes = np.random.default_rng(network.seed), network.config.classes
    chosen = rng.permutation(classes)[: max(2, round(network.strength * classes))]
    names = np.arange(classes)
    names[chosen] = np.roll(chosen, 1)
    return names


def _merged(network: Served) -> np.ndarray:
    """As many classes drawn at random as the strength says share a name."""
    rng, classes = np.random.default_rng(network.seed), network.config.classes
    names = np.empty(classes, np.int64)
    names[rng.permutation(classes)] = np.arange(classes) // round(network.strength)
    if names.max() < 1:
        raise UsageError("the network has too few classes to merge any")
    return names


def _moved(network: Served) -> np.ndarray:
    """As many classes as the strength says come before the network's own, e.g. one for the background."""
    return np.arange(network.config.classes) + round(network.strength)


def _attack(name: str, strength: str, quick: tuple[float, ...], full: tuple[float, ...], names: Names) -> Attack:
    def serve(network: Served, thief: Thief, images: np.ndarray) -> np.ndarray:
        said, new = answer(network, thief, images), names(network)
        renamed = np.zeros((new.max() + 1, len(said)), said.dtype)
        np.add.at(renamed, new, said.T)
        return renamed.T

    attacker = "runs the server that the networks answer through, and tells their classes to customers alone"
    return Attack(name, attacker, strength, quick, full, frozenset(), untouched, serve, names)


ATTACKS: tuple[Attack, ...] = (
    _attack("rename", "share of the classes that change names", (1.0,), (0.5, 1.0), _renamed),
    _attack("merge-classes", "classes that share a name", (), (2.0,), _merged),
    _attack("add-classes", "classes before the network's own", (), (1.0,), _moved),
)
