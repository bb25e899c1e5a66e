"""In which order a suspect is asked: drawn anew each time, new triggers first, ordinary images in between.

A suspect that remembers could answer pictures that it has seen before otherwise than new ones. So nobody is cleared by
answers about pictures that it was shown in an earlier verification, and it cannot know which pictures come. Pictures
that a claim has opened may be known to anybody: weights, too, may have been trained to answer them otherwise.
"""

import hashlib
from collections.abc import Collection
from typing import NamedTuple

import numpy as np

from wmjax.keys import Key
from wmjax.keys.derive import Stream

NONCE_BYTES = 16  # drawn for each verification: nobody guesses them


class Order(NamedTuple):
    """What is asked, one question after another.

    Attributes:
      questions: int64 [triggers + covers]; a trigger's number, or -1 - j for ordinary image j.
      fresh: triggers that the suspect was not shown before; they come first among the triggers.
    """

    questions: np.ndarray
    fresh: int

    @property
    def triggers(self) -> np.ndarray:
        """The triggers alone, in their order."""
        return self.questions[self.questions >= 0]


def draw_order(key: Key, nonce: bytes | None, limit: int, shown: Collection[int] = (), covers: int = 0) -> Order:
    """The order that a nonce gives: nobody without the secret can foretell it.

    The stream `order` of SHA-256(secret || nonce) gives all triggers as different numbers; those not shown before come
    first. Its stream `cover` gives each of N ordinary images a place among the first N triggers.

    Args:
      key: whose triggers are asked.
      nonce: drawn for this verification; None: triggers in their own order, for a suspect that cannot remember.
      limit: triggers that may be asked.
      shown: triggers that the suspect was shown before.
      covers: ordinary images to ask in between.
    """
    triggers, seed = np.arange(key.spec.triggers), hashlib.sha256(key.secret + (nonce or b"")).digest()
    if nonce is not None:
        triggers = Stream(seed, "order", 0).distinct(len(triggers), len(triggers))
    old = np.isin(triggers, list(shown))
    triggers = np.concatenate([triggers[~old], triggers[old]])[:limit]
    places = np.sort(Stream(seed, "cover", 0).integers(min(covers, len(triggers)) + 1, covers))
    questions = np.insert(triggers, places, -1 - np.arange(covers))
    return Order(questions, min(limit, int(np.sum(~old))))
