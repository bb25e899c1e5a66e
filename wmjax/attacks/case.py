"""A case: who is attacked, by whom, and on what it is judged."""

import zlib
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from wmjax.attacks.contract import Thief
from wmjax.attacks.measure import Victim
from wmjax.data import Dataset
from wmjax.errors import UsageError
from wmjax.keys import Key
from wmjax.models import Config, Variables, predict


class Case(NamedTuple):
    """Who is attacked, by whom, and on what it is judged.

    Attributes:
      data: name of the data set.
      config: of all victims.
      victims: asked about their keys.
      thief: who attacks.
      test: images of the task that neither owner nor thief trained on.
      sources: source images of the keys, by key name, where they are at hand; for decoy keys.
      seed: of all random choices.
    """

    data: str
    config: Config
    victims: Sequence[Victim]
    thief: Thief
    test: Dataset
    sources: dict[str, Dataset]
    seed: int


def make_victim(name: str, config: Config, variables: Variables, keys: dict[str, Key], test: Dataset) -> Victim:
    """A network as it was stolen, and what it answers on the test images.

    Raises:
      UsageError: a key is for other images or classes than the network.
    """
    for key_name, key in keys.items():
        for what, theirs, ours in (
            ("images", config.image, key.spec.image),
            ("classes", config.classes, key.spec.classes),
        ):
            if theirs != ours:
                raise UsageError(f"key {key_name} is for {what} {ours}, {name} has {theirs}: it cannot carry this key")
    return Victim(name, variables, predict(config, variables, test.images), keys)


def keys_of(case: Case) -> dict[str, Key]:
    """All keys by name; raises `UsageError` where two have the same."""
    keys: dict[str, Key] = {}
    for victim in case.victims:
        for name, key in victim.keys.items():
            if keys.setdefault(name, key).commitment != key.commitment:
                raise UsageError(f"two different keys are called {name}: give each a name of its own")
    return keys


def seed_of(case: Case, attack: str, strength: int, victim: int) -> int:
    """Seed for one network, from its place in the attack's grid; independent of every other network and attack."""
    return int(np.random.default_rng([case.seed, zlib.crc32(attack.encode()), strength, victim]).integers(2**31))
