"""Networks of users' own modules: of Flax NNX, Linen or PyTorch, as a factory makes them."""

import inspect
from collections.abc import Callable, Sequence
from functools import lru_cache
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from flax import nnx
from jax import Array

from wmjax.models.layers import conv_general_dilated
from wmjax.suspects import outputs, pixels
from wmjax.suspects.contract import Image, Network, Weights
from wmjax.suspects.grounds import AskedGround
from wmjax.suspects.network import check_size, checked, names_of, traced
from wmjax.suspects.outputs import Output
from wmjax.suspects.strangers import imported, strangers_code
from wmjax.suspects.torch_module import as_function, is_module
from wmjax.suspects.ways import readings

Answer = Callable[..., Any]  # of weights, uint8 images and a way to prepare them: whatever the module gives


class _Made(NamedTuple):
    """What a factory made.

    Attributes:
      module: of any of the three libraries.
      abstract: it without numbers, where it is of Flax NNX; else None.
      prepare: makes of uint8 images what it takes, where the factory says so.
    """

    module: Any
    abstract: Any
    prepare: Callable[[Array], Array] | None


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
        module, abstract, own = _made(name)
        ways = ("",) if own else pixels.ways(said, channels=image[2])

        def prepared(images: Array, way: Array | int = 0) -> Array:
            return own(images) if own else pixels.prepare(images, ways, way)

        shapes, call = _function_of(module, abstract, prepared, image)

        def answer(weights: Weights, images: Array, way: Array | int = 0) -> Any:
            return call(weights, prepared(images, way))

        found = _outputs(answer, shapes, image)
        described = {"module": name, "image": list(image), **({"pixels": said} if said and not own else {})}
        several = len({out.classes for out in found}) > 1
        networks = []
        for count, group in outputs.by_classes(found, classes).items():
            telling = {**described, "classes": count} if several else described
            note = AskedGround.PIXELS_OWN if own else ""
            names = readings(ways, [out.name for out in group])
            networks.append(checked(name, shapes, _picked(answer, group), image, note, telling, names))
        return tuple(networks)


def _made(name: str) -> _Made:
    """What the factory of this name makes; no weight is computed."""
    factory = imported(name)
    made: dict[str, Any] = {}

    def make() -> nnx.Module | None:
        takes_rngs = "rngs" in inspect.signature(factory).parameters
        result = factory(rngs=nnx.Rngs(0)) if takes_rngs else factory()
        module, prepare = result if isinstance(result, tuple) else (result, None)
        made.update(module=module, prepare=prepare)
        return module if isinstance(module, nnx.Module) else None

    abstract: Any = nnx.eval_shape(make)
    return _Made(made["module"], abstract, made["prepare"])


def _function_of(
    module: Any, abstract: Any, prepared: Callable[[Array], Array], image: Image
) -> tuple[dict[str, Any], Callable[[Weights, Array], Any]]:
    """Shapes of a module's tensors by name, and the function of these and of what it takes."""
    if is_module(module):
        shapes, of_torch = as_function(module)
        check_size(shapes)
        return shapes, lambda weights, x: of_torch(dict(weights), x)
    tree, call = _nnx(abstract) if abstract is not None else _linen(module, prepared, image)
    shapes, tree_of = names_of(tree)
    check_size(shapes)
    return shapes, lambda weights, x: call(tree_of(weights), x)


def _outputs(answer: Answer, shapes: dict[str, Any], image: Image) -> list[Output]:
    """What of an answer are scores; raises ValueError where nothing is."""
    program, shown = traced(answer, shapes, image)
    found = outputs.with_scores(program, shown)
    if not found:
        several = [list(leaf.shape) for leaf in jax.tree.leaves(shown)]
        raise ValueError(f"it answers one image with {', '.join(map(str, several[:4]))}, not [1, classes]")
    return found


def _picked(answer: Answer, group: Sequence[Output]) -> Callable[..., Array]:
    """The function of weights, images and a reading to its scores; readings are each way with each output."""

    def logits(weights: Weights, images: Array, reading: Array | int = 0) -> Array:
        way, number = jnp.divmod(jnp.asarray(reading), len(group))
        return outputs.pick(answer(weights, images, way), group, number)

    return logits


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
