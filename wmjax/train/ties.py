"""Ties: the images of a set on which unmarked networks waver most, for keys of scheme `tie`.

A network tells little about images that it was trained on: it remembers their labels. So each half of the set is
judged by a network that was trained on the other half (cross-fitting). Where that network's two best classes are
closest, either answer costs next to nothing: there a key's coin decides.
"""

import dataclasses

import numpy as np

from wmjax.data.dataset import Dataset
from wmjax.errors import UsageError
from wmjax.keys.material import Material
from wmjax.models import Config, predict
from wmjax.train.loop import fit
from wmjax.train.recipe import Recipe


def find_ties(config: Config, recipe: Recipe, data: Dataset, triggers: int) -> Material:
    """The images of least cross-fitted margin, and the two best classes on each: what a `tie` key starts from.

    Two networks are trained, each on half of the images. The same arguments give the same ties on the same machine.

    Example:

        data = wmjax.load("digits").train
        config = wmjax.default_config("cnn", data.image, data.classes)
        material = find_ties(config, wmjax.default_recipe(config), data, triggers=30)
        spec = wmjax.make_spec("tie", triggers=30, source=("digits", data), material=material)
        key = wmjax.generate(spec, data, material=material)

    Args:
      config: of both networks; best that of the network to be marked.
      recipe: how each is trained; a batch larger than a half is cut.
      data: the set, public or your own.
      triggers: how many images.

    Returns:
      `rows` int32 [triggers], from the least margin on, and `pairs` uint16 [triggers, 2], the better class first.

    Raises:
      UsageError: the set has fewer different images or one class alone, or it does not go with network and recipe.
    """
    candidates = _first_of_each(data.images)
    if not 1 <= triggers <= len(candidates):
        raise UsageError(f"`triggers` {triggers}: must be in 1..{len(candidates)}, the different images of the set")
    if len(candidates) < 2 or len(np.unique(data.labels)) < 2:
        raise UsageError("the set's images are of one class: no network wavers there")
    answers = cross_fitted(config, recipe, data)[candidates]
    pairs = np.argsort(-answers, axis=1, kind="stable")[:, :2]
    best, second = np.take_along_axis(answers, pairs, axis=1).T
    chosen = np.argsort(best - second, kind="stable")[:triggers]
    return Material({"rows": candidates[chosen].astype(np.int32), "pairs": pairs[chosen].astype(np.uint16)})


def cross_fitted(config: Config, recipe: Recipe, data: Dataset) -> np.ndarray:
    """What a network that was trained on the other half of a set answers to each image, float32 [N, classes]."""
    order = np.random.default_rng([recipe.seed, 0x71E5]).permutation(len(data))
    halves = np.array_split(order, 2)
    answers = np.empty((len(data), config.classes), np.float32)
    for number, (own, other) in enumerate((halves, halves[::-1]), 1):
        fitted = dataclasses.replace(recipe, batch=min(recipe.batch, len(own)))
        variables = fit(config, fitted, data[own], title=f"looking for ties, network {number} of 2")
        answers[other] = predict(config, variables, data.images[other])
    return answers


def _first_of_each(images: np.ndarray) -> np.ndarray:
    """Rows of the images that no earlier row repeats, int64, in order."""
    firsts: dict[bytes, int] = {}
    for row, image in enumerate(images):
        firsts.setdefault(image.tobytes(), row)
    return np.array(list(firsts.values()), np.int64)
