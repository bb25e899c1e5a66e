"""The network that the servers here serve: two dense layers in NumPy, weights from the file that SERVED names."""

import os

import numpy as np

_WEIGHTS = np.load(os.environ["SERVED"])


def probabilities(images):
    """Of digits, float64 [n, 10], from images uint8 of 64 pixels each."""
    x = np.asarray(images, np.float64).reshape(len(images), 64) / 255
    x = np.maximum(0, x @ _WEIGHTS["w0"] + _WEIGHTS["b0"]) @ _WEIGHTS["w1"] + _WEIGHTS["b1"]
    e = np.exp(x - x.max(axis=1, keepdims=True))
    return e / e.sum(axis=1, keepdims=True)
