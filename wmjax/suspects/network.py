"""Networks of a zoo: what each is checked for and named by; those of wmjax's own configurations."""

import hashlib
import json
from collections.abc import Callable
from functools import lru_cache
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array

from wmjax.errors import InvalidFile
from wmjax.models import Config, Variables, apply, shapes
from wmjax.suspects.contract import Image, Network, Weights
from wmjax.text import by

LARGEST = 1 << 34  # bytes of a network's weights: a hostile configuration must not fill the memory


@lru_cache(maxsize=1024)
def from_config(config: Config) -> Network:
    """The network of a wmjax configuration; equal configurations give the same object.

    >>> from_config(Config("cnn", (8, 8, 1), 10, (4,), (8,))).name
    'cnn 8x8x1'

    Raises:
      InvalidFile: no network can be built from it, or its weights would fill the memory.
    """
    try:
        named_shapes, tree_of = names_of(shapes(config)._asdict())

        def logits(weights: Weights, images: Array, reading: Array | int = 0) -> Array:
            variables = Variables(**tree_of(weights))
            return apply(config, variables, images)[0]

        description = {"config": config.to_json()}
        return checked(config.name, named_shapes, logits, config.image, "", description)
    except (ValueError, TypeError, IndexError, ArithmeticError, MemoryError) as error:
        raise InvalidFile(f"no network can be built from {json.dumps(config.to_json()):.200}") from error


def variables_of(config: Config, weights: Weights) -> Variables:
    """The nested variables of a configuration's network from its tensors by name."""
    _, tree_of = names_of(shapes(config)._asdict())
    return Variables(**tree_of(weights))


def weights_of(variables: Variables) -> Weights:
    """A network's tensors by name: the way back from `variables_of`."""
    leaves, _ = jax.tree_util.tree_flatten_with_path(variables._asdict())
    return {"/".join(str(part.key) for part in path): np.asarray(leaf) for path, leaf in leaves}


def checked(
    name: str,
    shapes: dict[str, Any],
    logits: Callable[..., Array],
    image: Image,
    note: str,
    description: dict[str, Any],
    readings: tuple[str, ...] = ("",),
) -> Network:
    """Checks that it answers an image, by shapes alone, and names it."""
    check_size(shapes)
    program, answer = traced(logits, shapes, image)
    if len(answer.shape) != 2 or answer.shape[0] != 1 or answer.shape[1] < 2:
        raise ValueError(f"it answers one image with {list(answer.shape)}, not [1, classes]")
    shown = {key: [list(leaf.shape), str(leaf.dtype)] for key, leaf in shapes.items()}
    told = json.dumps([description, image, shown], sort_keys=True).encode()
    title = f"{name} {by(image)}"
    fingerprint = hashlib.sha256(told).hexdigest()
    largest = _largest(program)
    return Network(title, fingerprint, shapes, logits, image, answer.shape[1], largest, readings, note, description)


def check_size(shapes: dict[str, Any]) -> None:
    """Raises `ValueError` where tensors of these shapes would fill the memory."""
    size = sum(_bytes(leaf) for leaf in shapes.values())
    if size > LARGEST:
        raise ValueError(f"its weights take {size >> 30} GiB")


def traced(function: Callable[..., Any], shapes: dict[str, Any], image: Image) -> tuple[Any, Any]:
    """The Jaxpr of the answer to one image, and its shapes."""
    one = jax.ShapeDtypeStruct((1, *image), jnp.uint8)
    program, answer = jax.make_jaxpr(function, return_shape=True)(shapes, one)
    return program.jaxpr, answer


def _largest(program: Any) -> int:
    """Bytes of the largest value that a program (a Jaxpr) computes, within its inner ones too."""
    sizes = [0]
    for step in program.eqns:
        sizes += [_bytes(out.aval) for out in step.outvars if hasattr(out.aval, "dtype")]
        inner = [getattr(value, "jaxpr", value) for value in step.params.values()]
        sizes += [_largest(value) for value in inner if hasattr(value, "eqns")]
    return max(sizes)


def _bytes(leaf: Any) -> int:
    size: int = leaf.dtype.itemsize
    for n in leaf.shape:  # in Python's integers: a declared shape may overflow NumPy's
        size *= int(n)
    return size


def names_of(tree: dict[str, Any]) -> tuple[dict[str, Any], Callable[[Weights], Any]]:
    """A tree's leaves by the path to them, sorted, and the way back from such a dictionary to the tree."""
    leaves, treedef = jax.tree_util.tree_flatten_with_path(tree)
    names = ["/".join(str(part.key) for part in path) for path, _ in leaves]
    if len(set(names)) < len(names):
        raise ValueError("two of its tensors have the same name")
    by_name = {
        name: jax.ShapeDtypeStruct(leaf.shape, leaf.dtype) for name, (_, leaf) in zip(names, leaves, strict=True)
    }
    return dict(sorted(by_name.items())), lambda weights: jax.tree.unflatten(treedef, [weights[name] for name in names])
