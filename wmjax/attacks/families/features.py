"""What a network's last layer sees."""

import dataclasses

import numpy as np

from wmjax.models import Config, Variables
from wmjax.models.predict import logits


def features(config: Config, variables: Variables, images: np.ndarray) -> np.ndarray:
    """Penultimate features: the answers of the same network whose head is the identity.

    Args:
      config: the network.
      variables: its weights.
      images: uint8 [n, H, W, C].

    Returns:
      float32 [n, d], d the inputs of the head; exact where the device multiplies matrices in float32.
    """
    size = np.shape(variables.params["head"]["kernel"])[0]
    identity = {"kernel": np.eye(size, dtype=np.float32), "bias": np.zeros(size, np.float32)}
    headless = Variables(variables.params | {"head": identity}, variables.stats)
    return logits(dataclasses.replace(config, classes=size), headless, images)
