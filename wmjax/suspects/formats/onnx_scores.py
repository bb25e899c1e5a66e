"""Which outputs of an ONNX graph are scores of classes, and the function that computes these."""

from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
from jax import Array

from wmjax.errors import InvalidFile
from wmjax.suspects.formats.answering import scores_of
from wmjax.suspects.formats.onnx_graph import Graph
from wmjax.suspects.formats.onnx_run import Unread, run, shapes

_BATCH = 64  # images that a file may insist on taking at once


def plan(graph: Graph, path: Path) -> tuple[int, dict[int, int]]:
    """Images that go through the graph at once, and the classes of each output that has scores.

    Where the number is open each goes alone: what a graph says of one may follow from those beside it, as a mean over
    all or a scale of whole numbers, and a copy would answer as a stranger there.
    """
    declared = max(graph.batch, 1)
    at_once = declared if declared <= _BATCH else 1
    try:
        counts = _classes(graph, at_once)
        if max(counts.values(), default=1) == 1:
            found = shapes(graph, at_once)[:4]
            raise InvalidFile(f"{path}: its outputs have shapes {found}, none of them [images, classes]")
    except Unread:
        raise
    except ValueError as error:
        many = f"{path} takes {declared} images at once: export it with a free batch axis"
        raise InvalidFile(many if declared > _BATCH else f"{path}: {error}") from error
    return at_once, counts


def _classes(graph: Graph, n: int) -> dict[int, int]:
    """Of n images: how many scores an image each output has that may be a classifier's; 1 of one that tells a class."""
    return {i: scores_of(shape, n) for i, shape in enumerate(shapes(graph, n)) if scores_of(shape, n)}


def scores(graph: Graph, batch: int, places: list[int], classes: int) -> Callable[[Mapping[str, Any], Array], Array]:
    """The function of weights and pixels [n, H, W, C], as the graph takes them, to float32 [places, n, classes].

    Args:
      graph: bound to the images' shape.
      batch: images that go through it at once.
      places: of the outputs that have `classes` scores.
      classes: how many.
    """

    def once(weights: Mapping[str, Any], group: Array) -> Array:
        found = run(graph, weights, group)
        return jnp.stack([_scores(found[i], batch, classes) for i in places])

    def ask(weights: Mapping[str, Any], pixels: Array) -> Array:
        filled = jnp.pad(pixels, ((0, -len(pixels) % batch), (0, 0), (0, 0), (0, 0)))
        groups = filled.reshape(-1, batch, *pixels.shape[1:])
        found = jax.vmap(partial(once, weights), out_axes=1)(groups)
        return found.reshape(len(places), -1, classes)[:, : len(pixels)]

    return ask


def _scores(value: Array, n: int, classes: int) -> Array:
    """An output's scores [n, classes]; of one that tells the class itself, which may be turned round, 1 for that.

    They are not numbers where it tells none: a copy that counts otherwise is not a stranger.
    """
    if value.size == n * classes:
        return value.reshape(n, classes)
    told = (jnp.abs(jnp.rint(value.reshape(n, 1))) == jnp.arange(classes, dtype=jnp.float32)[None]).astype(jnp.float32)
    return jnp.where(told.any(1, keepdims=True), told, jnp.nan)
