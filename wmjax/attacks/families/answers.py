"""Servers that tell less than they know, or tell it differently: rounded, the best classes alone, hotter or colder.

The network's top-1 stays what it was. Labels alone need no attack of their own: every attack is also judged by them.
"""

from collections.abc import Callable

import numpy as np
from scipy import special

from wmjax.attacks.contract import Attack, Served, Thief, answer, untouched

Distortion = Callable[[np.ndarray, float], np.ndarray]  # of probabilities [n, classes], by strength


def rounded(said: np.ndarray, decimals: float) -> np.ndarray:
    """Probabilities as a server writes them: they need not add up to 1 any more.

    >>> rounded(np.array([[0.66, 0.34]]), 1).tolist()
    [[0.7, 0.3]]

    Args:
      said: probabilities, float [n, classes].
      decimals: that are left.
    """
    return np.round(said, round(decimals))


def best(said: np.ndarray, count: float) -> np.ndarray:
    """The `count` most probable classes share what there is; the others get nothing.

    >>> best(np.array([[0.5, 0.25, 0.25]]), 1).tolist()
    [[1.0, 0.0, 0.0]]

    Args:
      said: probabilities, float [n, classes].
      count: classes that are told.
    """
    order = np.argsort(-said, axis=1, kind="stable")
    ranks = np.argsort(order, axis=1)
    kept = np.where(ranks < count, said, 0)
    return kept / kept.sum(axis=1, keepdims=True)


def tempered(said: np.ndarray, temperature: float) -> np.ndarray:
    """Probabilities at another temperature: above 1 flatter, below 1 sharper.

    >>> tempered(np.array([[0.8, 0.2]]), 0.5).round(3).tolist()
    [[0.941, 0.059]]

    Args:
      said: probabilities, float [n, classes].
      temperature: that logits are divided by.
    """
    return np.asarray(special.softmax(np.log(np.maximum(said, np.finfo(np.float32).tiny)) / temperature, axis=1))


def _attack(name: str, strength: str, quick: tuple[float, ...], full: tuple[float, ...], distort: Distortion) -> Attack:
    def serve(network: Served, thief: Thief, images: np.ndarray) -> np.ndarray:
        return distort(answer(network, thief, images), network.strength)

    attacker = "runs the server that the networks answer through; owns no data, and changes what is told, not the top-1"
    return Attack(name, attacker, strength, quick, full, frozenset(), untouched, serve)


ATTACKS: tuple[Attack, ...] = (
    _attack("round", "decimals left of each probability", (1,), (3, 2, 1), rounded),
    _attack("top", "most probable classes that are told", (1,), (5, 3, 1), best),
    _attack("temper", "temperature of the answers", (4,), (0.5, 2, 4, 16), tempered),
)
