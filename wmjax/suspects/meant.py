"""What a stranger's description leaves to be meant: what no tensor shows is asked as is usual, too.

How many heads attention has can be read off no tensor, and with another number a copy answers like a stranger. Whoever
hands over a file writes its description; the network that `wmjax embed` trains has the usual number.
"""

import contextlib
import dataclasses
import hashlib
from functools import lru_cache

import jax
from jax import Array

from wmjax.errors import InvalidFile
from wmjax.models import Config, as_usual
from wmjax.suspects.contract import Network, Weights
from wmjax.suspects.network import from_config


@lru_cache(maxsize=1024)
def as_described(configs: tuple[Config, ...]) -> Network:
    """The network of a file's descriptions, read in each way in which they and what is usual differ.

    >>> vit = Config("vit", (8, 8, 1), 10, (64,), (128,), parameters=(("depth", 1), ("heads", 2), ("patch", 2)))
    >>> as_described((vit,)).readings
    ('vit of depth 1, heads 2, patch 2', 'vit of depth 1, heads 4, patch 2')

    Args:
      configs: each description by which the tensors are a network's, one at least.

    Raises:
      InvalidFile: as of `from_config`, of the first.
    """
    first, meant = from_config(configs[0]), dict[str, Network]()
    for config in (*configs, *map(as_usual, configs)):
        with contextlib.suppress(InvalidFile):
            network = from_config(config)
            if (network.shapes, network.image) == (first.shapes, first.image):
                meant.setdefault(_name(config), network)
    if len(meant) == 1:
        return first
    networks = tuple(meant.values())

    def logits(weights: Weights, images: Array, reading: Array | int = 0) -> Array:
        answers: Array = jax.lax.switch(reading, [network.logits for network in networks], weights, images)
        return answers

    return dataclasses.replace(
        first,
        fingerprint=hashlib.sha256(" ".join(network.fingerprint for network in networks).encode()).hexdigest(),
        logits=logits,
        largest=max(network.largest for network in networks),
        readings=tuple(meant),
        description=first.description if len(set(map(_name, configs))) == 1 else None,
    )


def _name(config: Config) -> str:
    """What differs between networks of tensors of the same shapes."""
    return f"{config.name} of {', '.join(f'{name} {value}' for name, value in config.parameters)}".removesuffix(" of ")
