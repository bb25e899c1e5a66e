"""Coins over natural-looking probes, and suspects that have learned some of them; nothing is trained."""

import numpy as np

from wmjax.stats import Answers, Rule
from wmjax.stats.correlations import UNIT, Coins

RULE = Rule(alpha=1e-6, beta=1e-3, rate=0.65, max_queries=10_000, evidence="spread/1")


def softmax(logits: np.ndarray) -> np.ndarray:
    odds = np.exp(logits - logits.max(axis=-1, keepdims=True))
    return odds / odds.sum(axis=-1, keepdims=True)


class World:
    """An unmarked network's logits on probes, its features, and coins."""

    def __init__(self, probes: int = 1_500, classes: int = 6, features: int = 12, seed: int = 0):
        rng = np.random.default_rng(seed)
        self.logits = 3.0 * rng.standard_normal((probes, classes))
        self.u = np.clip(rng.standard_normal((probes, features)), -3, 3)
        helmert = np.tril(np.ones((classes - 1, classes), np.int64))
        helmert[np.arange(classes - 1), np.arange(1, classes)] = -np.arange(1, classes)
        coins = (2 * rng.integers(2, size=(classes - 1, features)) - 1).astype(np.int8)
        quantised, other = np.rint(40 * self.u).astype(np.int8), rng.standard_normal(self.logits.shape)
        references = np.rint(UNIT * softmax(np.stack([self.logits, 0.8 * self.logits + 0.3 * other]))).astype(np.uint16)
        self.truth = Coins(np.arange(probes), quantised, references, coins, helmert)

    def suspect(self, strength: float, noise: float = 1.0, seed: int = 1) -> Answers:
        """One whose logits are shifted by the coins, and by something of its own."""
        rng = np.random.default_rng(seed)
        norms = np.sqrt((self.truth.contrasts**2).sum(axis=1))[:, None]
        own = rng.standard_normal(self.truth.coins.shape)
        pattern = (strength * self.truth.coins + noise * own).T @ (self.truth.contrasts / norms)
        shift = self.u @ pattern / np.sqrt(self.truth.coins.shape[1])
        probabilities = softmax(self.logits + shift + 0.3 * rng.standard_normal(self.logits.shape))
        return Answers(probabilities.argmax(axis=1), probabilities, probabilities.shape[1])


def labels_of(answers: Answers) -> Answers:
    return Answers(answers.labels, None, answers.classes)
