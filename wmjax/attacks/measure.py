"""What an attacked network still does: accuracy on the task, and evidence of the owner's key from labels and scores."""

import dataclasses
from typing import Any

import jax
import numpy as np

from wmjax import stats
from wmjax.attacks.contract import Attack, Served, Thief
from wmjax.attacks.result import Point
from wmjax.data import Dataset
from wmjax.errors import UsageError
from wmjax.keys import Key
from wmjax.keys.specify import default_rate
from wmjax.models import Variables
from wmjax.stats.contract import Truth
from wmjax.stats.pairs import Pairs


@dataclasses.dataclass(frozen=True)
class Victim:
    """A network that thieves stole, and the keys that are asked of it.

    Attributes:
      name: of the network.
      variables: its own.
      answers: its probabilities on the test images, float32 [n, classes].
      keys: by name; for an innocent network those of others.
    """

    name: str
    variables: Variables
    answers: np.ndarray
    keys: dict[str, Key]


def measure(
    attack: Attack, network: Served, kept: np.ndarray | None, victim: Victim, thief: Thief, test: Dataset
) -> list[Point]:
    """One point for each key of the victim.

    Args:
      attack: what was done.
      network: what became of the victim.
      kept: as in `Attacked`.
      victim: asked about.
      thief: who did it.
      test: images of the task that neither owner nor thief trained on.
    """
    kept = np.arange(test.classes) if kept is None else kept
    left = kept[test.labels] >= 0
    right = kept[test.labels[left]]
    asked = {name: _asked(key, kept) for name, key in victim.keys.items()}
    if not left.any():
        raise UsageError("no test image is of a class that this attack keeps")
    classes = network.config.classes
    common: dict[str, Any] = {"attack": attack.name, "strength": network.strength, "victim": victim.name}
    common["classes"] = classes
    if not all(np.isfinite(leaf).all() for leaf in jax.tree.leaves(network.variables)):
        return [_diverged(common, name, len(rows)) for name, (rows, _) in asked.items()]
    # one call for all images: a server may have much to prepare
    parts = [test.images[left], *(key.images[asked[name][0]] for name, key in victim.keys.items())]
    raw = attack.serve(network, thief, np.concatenate(parts))
    answers = stats.read_answers(raw, len(raw), classes, victim.name)
    at = len(right)
    if not (answers.labels[:at] >= 0).any():
        return [_diverged(common, name, len(rows)) for name, (rows, _) in asked.items()]
    names = attack.names(network)
    accuracy = float(np.mean(answers.labels[:at] == names[right]))
    knew = _merged(victim.answers[left], kept, classes).argmax(axis=1)
    before = float(np.mean(names[knew] == names[right]))
    common |= {"accuracy": round(accuracy, 6), "lost": round(100 * (before - accuracy), 4)}
    points = []
    for (name, (_, truth)), part in zip(asked.items(), parts[1:], strict=True):
        points.append(_point(common, name, victim.keys[name], truth, answers[at : at + len(part)]))
        at += len(part)
    return points


def _asked(key: Key, kept: np.ndarray) -> tuple[np.ndarray, Truth]:
    """Which triggers can be asked where only these classes are left, and what the secret says about them there."""
    rows = np.arange(key.spec.triggers)
    if key.answers is None:
        return rows, key.truth(rows)
    rows = rows[kept[key.answers] >= 0]
    truth = key.truth(rows)
    if not isinstance(truth, Pairs):
        return rows, kept[truth]
    left = (kept[truth.classes] >= 0).all(axis=1)
    return rows[left], Pairs(truth.coins[left], kept[truth.classes[left]])


def _merged(answers: np.ndarray, kept: np.ndarray, classes: int) -> np.ndarray:
    """Probabilities of the classes that are left, [n, classes]: what the victim can tell apart of the smaller task."""
    return np.stack([answers[:, kept == c].sum(axis=1) for c in range(classes)], axis=1)


def _diverged(common: dict[str, Any], key: str, asked: int) -> Point:
    common = {**common, "accuracy": None, "lost": None}
    return Point(**common, key=key, asked=asked, matches=0, label_bits=None, bits=None, outcome="diverged")


def _point(common: dict[str, Any], name: str, key: Key, truth: Truth, answers: stats.Answers) -> Point:
    """Weighs the answers to all triggers whose class is left."""
    found: dict[str, Any] = {**common, "key": name, "asked": len(answers)}
    if not len(answers):
        if key.spec.policy.exact:
            return Point(**found, matches=0, label_bits=0.0, bits=0.0, outcome="inconclusive")
        return Point(**found, matches=0, label_bits=None, bits=None, outcome="uncalibrated")
    alone = stats.Answers(answers.labels, None, answers.classes)
    rule = key.commitment.rule
    if answers.classes != key.spec.classes and key.material is None:
        rule = dataclasses.replace(rule, rate=default_rate(answers.classes))
    path = stats.play(rule, answers, truth)
    found["matches"] = int(path.matches[-1])
    if coins := stats.kind_of(rule).coins:
        found["asked"] = coins(truth)
    if not key.spec.policy.exact:
        return Point(**found, label_bits=None, bits=None, outcome="uncalibrated")
    asked = stats.Path(*(figures[: rule.max_queries] for figures in path))
    return Point(
        **found,
        label_bits=round(float(stats.play(rule, alone, truth).evidence[-1]), 3),
        bits=round(float(path.evidence[-1]), 3),
        outcome=stats.decide(asked, rule, stop=True).outcome,
    )
