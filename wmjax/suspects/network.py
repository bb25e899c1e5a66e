"""Networks of a zoo: from wmjax's configurations, and from a user's own module."""

import hashlib
import inspect
import json
import re
from collections.abc import Callable, Sequence
from functools import lru_cache
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx
from jax import Array

from wmjax.errors import InvalidFile, UsageError
from wmjax.models import FAMILIES, Config, Variables, apply, default_config, shapes
from wmjax.models.layers import conv_general_dilated
from wmjax.suspects import outputs, pixels
from wmjax.suspects.contract import Image, Network, Weights
from wmjax.suspects.grounds import AskedGround
from wmjax.suspects.outputs import Output
from wmjax.suspects.strangers import NAME, imported, strangers_code
from wmjax.suspects.torch_module import as_function, is_module
from wmjax.suspects.ways import readings as names_of
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
        named_shapes, tree_of = _names(shapes(config)._asdict())

        def logits(weights: Weights, images: Array, reading: Array | int = 0) -> Array:
            variables = Variables(**tree_of(weights))
            return apply(config, variables, images)[0]

        description = {"config": config.to_json()}
        return checked(config.name, named_shapes, logits, config.image, "", description)
    except (ValueError, TypeError, IndexError, ArithmeticError, MemoryError) as error:
        raise InvalidFile(f"no network can be built from {json.dumps(config.to_json()):.200}") from error


def variables_of(config: Config, weights: Weights) -> Variables:
    """The nested variables of a configuration's network from its tensors by name."""
    _, tree_of = _names(shapes(config)._asdict())
    return Variables(**tree_of(weights))


def weights_of(variables: Variables) -> Weights:
    """A network's tensors by name: the way back from `variables_of`."""
    leaves, _ = jax.tree_util.tree_flatten_with_path(variables._asdict())
    return {"/".join(str(part.key) for part in path): np.asarray(leaf) for path, leaf in leaves}


def from_module(name: str, image: Image, said: str = "", classes: tuple[int, ...] = ()) -> Network:
    """The first of the networks that `module_networks` gives; the same object each time."""
    return module_networks(name, image, said, classes)[0]


@lru_cache(maxsize=64)
def module_networks(name: str, image: Image, said: str = "", classes: tuple[int, ...] = ()) -> tuple[Network, ...]:
    """The networks of a user's own module, named `module:factory`; no weight is computed.

    The factory takes nothing, or `rngs`, and returns an `nnx.Module`, a `flax.linen.Module`, a `torch.nn.Module`, or a
    pair of one and a function that maps uint8 images [n, H, W, C] to what it takes; without that it takes float32,
    prepared in one of the usual ways (`pixels`). Channels come last there; a PyTorch module is given them first. Where
    the module returns several arrays of scores, there is a network for each number of classes that they have, whose
    readings are the outputs of so many.

    Args:
      name: as the user typed it.
      image: height, width and channels of the keys' images.
      said: how pixels are prepared, where the factory does not say it; empty: in any usual way.
      classes: outputs of so many are the only ones, where there are any.

    Raises:
      UsageError: there is no such factory, or what it makes does not answer such images.
    """
    with strangers_code(f"`models` {name}"):
        factory = imported(name)
        made: dict[str, Any] = {}

        def make() -> nnx.Module | None:
            takes_rngs = "rngs" in inspect.signature(factory).parameters
            result = factory(rngs=nnx.Rngs(0)) if takes_rngs else factory()
            module, prepare = result if isinstance(result, tuple) else (result, None)
            made.update(module=module, prepare=prepare)
            return module if isinstance(module, nnx.Module) else None

        abstract: Any = nnx.eval_shape(make)
        own = made["prepare"]
        ways = ("",) if own else pixels.ways(said, channels=image[2])

        def prepared(images: Array, way: Array | int = 0) -> Array:
            return own(images) if own else pixels.prepare(images, ways, way)

        if is_module(made["module"]):
            named_shapes, call = as_function(made["module"])
            tree_of: Callable[[Weights], Any] = dict
        else:
            tree, call = _nnx(abstract) if abstract is not None else _linen(made["module"], prepared, image)
            named_shapes, tree_of = _names(tree)
        _check_size(named_shapes)

        def answer(weights: Weights, images: Array, way: Array | int = 0) -> Any:
            return call(tree_of(weights), prepared(images, way))

        program, shown = _traced(answer, named_shapes, image)
        found = outputs.with_scores(program, shown)
        if not found:
            shapes = [list(leaf.shape) for leaf in jax.tree.leaves(shown)]
            raise ValueError(f"it answers one image with {', '.join(map(str, shapes[:4]))}, not [1, classes]")
        described = {"module": name, "image": list(image), **({"pixels": said} if said and not own else {})}
        several = len({out.classes for out in found}) > 1
        networks = []
        for count, group in outputs.by_classes(found, classes).items():

            def logits(
                weights: Weights, images: Array, reading: Array | int = 0, group: Sequence[Output] = tuple(group)
            ) -> Array:
                way, number = jnp.divmod(jnp.asarray(reading), len(group))
                return outputs.pick(answer(weights, images, way), group, number)

            telling = {**described, "classes": count} if several else described
            note = AskedGround.PIXELS_OWN if own else ""
            names = names_of(ways, [out.name for out in group])
            networks.append(checked(name, named_shapes, logits, image, note, telling, names))
        return tuple(networks)


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
    _check_size(shapes)
    program, answer = _traced(logits, shapes, image)
    if len(answer.shape) != 2 or answer.shape[0] != 1 or answer.shape[1] < 2:
        raise ValueError(f"it answers one image with {list(answer.shape)}, not [1, classes]")
    shown = {key: [list(leaf.shape), str(leaf.dtype)] for key, leaf in shapes.items()}
    told = json.dumps([description, image, shown], sort_keys=True).encode()
    title = f"{name} {by(image)}"
    fingerprint = hashlib.sha256(told).hexdigest()
    largest = _largest(program)
    return Network(title, fingerprint, shapes, logits, image, answer.shape[1], largest, readings, note, description)


def _check_size(shapes: dict[str, Any]) -> None:
    size = sum(_bytes(leaf) for leaf in shapes.values())
    if size > LARGEST:
        raise ValueError(f"its weights take {size >> 30} GiB")


def _traced(function: Callable[..., Any], shapes: dict[str, Any], image: Image) -> tuple[Any, Any]:
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


def _names(tree: dict[str, Any]) -> tuple[dict[str, Any], Callable[[Weights], Any]]:
    """A tree's leaves by the path to them, sorted, and the way back from such a dictionary to the tree."""
    leaves, treedef = jax.tree_util.tree_flatten_with_path(tree)
    names = ["/".join(str(part.key) for part in path) for path, _ in leaves]
    if len(set(names)) < len(names):
        raise ValueError("two of its tensors have the same name")
    by_name = {
        name: jax.ShapeDtypeStruct(leaf.shape, leaf.dtype) for name, (_, leaf) in zip(names, leaves, strict=True)
    }
    return dict(sorted(by_name.items())), lambda weights: jax.tree.unflatten(treedef, [weights[name] for name in names])


def _nnx(module: Any) -> tuple[dict[str, Any], Callable[[Any, Array], Array]]:
    """Abstract tensors of an NNX module as it answers, but for streams of random bits, and the function of them."""
    module.eval()
    _through_our_conv(module)
    parts: Any = nnx.split(module, nnx.RngState, ...)
    graph, random, state = parts
    return nnx.to_pure_dict(state), lambda tree, x: nnx.merge(graph, random, tree)(x)


def _through_our_conv(module: Any) -> None:
    """Sends plain convolutions through `wmjax.kernels.conv`, which serves loops on a CPU and many models at once."""
    for _, layer in nnx.iter_modules(module):
        if not isinstance(layer, nnx.Conv) or len(layer.kernel_size) != 2 or layer.feature_group_count != 1:
            continue
        if all(_both(n) == (1, 1) for n in (layer.kernel_dilation, layer.input_dilation)):
            layer.conv_general_dilated = conv_general_dilated


def _both(n: Any) -> tuple[int, int]:
    """A setting of both sides, which Flax takes as one number, two, or None for one."""
    return (n or 1, n or 1) if n is None or isinstance(n, int) else (n[0], n[-1])


def _linen(
    module: Any, prepare: Callable[[Array], Array], image: Image
) -> tuple[dict[str, Any], Callable[[Any, Array], Array]]:
    """Abstract variables of a Linen module, and the function of them that answers."""
    from flax import linen

    if not isinstance(module, linen.Module):
        raise TypeError(f"the factory returned {type(module).__name__}, not a Flax module")
    taken = inspect.signature(type(module).__call__).parameters
    evaluate: dict[str, Any] = {key: value for key, value in _EVALUATE.items() if key in taken}

    def variables() -> Any:
        key, images = jax.random.key(0), jnp.zeros((1, *image), jnp.uint8)
        return module.init({"params": key, "dropout": key}, prepare(images), **evaluate)

    answer: Any = module.apply  # of several types, by its arguments
    return jax.eval_shape(variables), lambda tree, x: answer(tree, x, **evaluate)


_EVALUATE = {
    "train": False,
    "training": False,
    "is_training": False,
    "deterministic": True,
    "use_running_average": True,
}


def is_named(name: str) -> bool:
    """Whether a name is meant for timm or torchvision.

    >>> is_named("timm:resnet18"), is_named("their_timm:resnet18")
    (True, False)
    """
    return re.fullmatch(r"(timm|torchvision):[A-Za-z_][\w.]*", name) is not None


def _of_library(name: str, image: Image, classes: int, said: str) -> Network:
    from wmjax.suspects.formats.torch_named import from_name

    return from_name(name, image, classes, said)


def networks_named(name: str, images: Sequence[Image], classes: Sequence[int], said: str = "") -> list[Network]:
    """The networks that a name may mean: wmjax's families at their usual size, those of libraries, `module:factory`.

    Args:
      name: as the user typed it.
      images: height, width and channels of the keys' images; networks for each that it can take.
      classes: of wmjax's own networks and of libraries', each; of a module's outputs those that are meant, where it has
        several.
      said: as of `module_networks`.

    Raises:
      UsageError: the name is none of these, or its network takes none of the images.
    """
    if name not in FAMILIES and not is_named(name) and not NAME.fullmatch(name):
        raise UsageError(f"`models` {name}: give {', '.join(FAMILIES)}, timm:NAME, torchvision:NAME or module:factory")
    networks: list[Network] = []
    failure = None
    for image in images:
        try:
            if name in FAMILIES:
                networks += [from_config(default_config(name, image, count)) for count in classes]
            elif is_named(name):
                networks += [_of_library(name, image, count, said) for count in classes]
            else:
                networks += module_networks(name, image, said, tuple(classes))
        except UsageError as error:
            failure = error
    if failure and not networks:
        raise failure
    return networks
