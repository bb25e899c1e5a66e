"""Networks of transformers and timm, built from their configurations: no code and no name of a file is followed.

A configuration is a stranger's. It is built without memory first, and no larger than the tensors beside it allow;
nothing is downloaded, and no module but the libraries' own is imported.
"""

import contextlib
import math
from collections.abc import Iterator, Mapping
from typing import Any

from wmjax.errors import InvalidFile, UsageError
from wmjax.orbax import Tensors
from wmjax.suspects.network import LARGEST
from wmjax.suspects.torch_module import lock, needs_torch, quiet, stored_tensors
from wmjax.text import first_line
from wmjax.zarr import FLOATS

Values = dict[str, Any]  # what a configuration says

_LARGEST_NUMBER = 1 << 20  # a width, a number of layers or of classes
_SPARE = 1 << 20  # weights that may be missing: what is, is told by name
_LARGEST_BUFFERS = 1 << 30  # bytes of constants, e.g. of the windows of a Swin network
_MOST_TENSORS = 4096  # of a network that only a pack describes
_TRANSFORMERS = "its config.json"
_MODULES = 64  # for each tensor that is stored
_EPSILON = 0.1  # a larger one in a normalisation hides what its network has learned
_FORBIDDEN = ("quantization_config", "backbone", "backbone_config", "fusion_config", "transformers_weights")
_NO_FAMILY = {
    # who made the file and how, what classes are called, and what `AutoModel` would import
    *("_name_or_path", "transformers_version", "torch_dtype", "dtype", "auto_map", "id2label", "label2id"),
    *(
        "num_labels",
        "_attn_implementation",
        "attn_implementation",
        "_commit_hash",
        "problem_type",
        "task_specific_params",
    ),
}
_PRETRAINED = ("input_size", "fixed_input_size", "num_classes", "pool_size", "mean", "std", "first_conv", "classifier")
_NO_ARGUMENT = ("pretrained", "checkpoint", "cache", "features", "scriptable", "exportable", "no_jit", "out_indices")


def transformers_family(values: Values) -> Values:
    """What of a transformers' configuration makes the family: all but the names of its classes.

    Raises:
      InvalidFile: it needs more than a configuration and weights.
    """
    labels = values.get("id2label")
    classes = len(labels) if isinstance(labels, dict) else values.get("num_labels", 2)
    if values.get("model_type") == "timm_wrapper" or any(values.get(name) for name in _FORBIDDEN):
        raise InvalidFile("its configuration refers to another network, or to quantised weights: export it to ONNX")
    family = {name: value for name, value in values.items() if name not in _NO_FAMILY} | {"num_labels": classes}
    _check_numbers(family)
    return family


def timm_family(values: Values) -> Values:
    """What of a timm's configuration makes the family: architecture, its arguments, and how pixels are prepared."""
    said = values.get("pretrained_cfg", values)
    arguments = values.get("model_args") or {}
    if not isinstance(said, dict) or not isinstance(arguments, dict):
        raise InvalidFile("its config.json is not one of timm's")
    if hidden := [name for name in arguments if name.startswith(_NO_ARGUMENT)]:
        raise InvalidFile(f"its config.json sets {hidden[0]:.40}: no classifier's weights need that")
    pretrained = {name: said[name] for name in _PRETRAINED if said.get(name) is not None}
    if "num_classes" in values:
        pretrained["num_classes"] = values["num_classes"]
    family = {"architecture": values["architecture"], "model_args": arguments, "pretrained_cfg": pretrained}
    _check_numbers(family)
    return family


def _check_numbers(value: Any) -> None:
    """Raises `InvalidFile` where a number would take all memory, or all time."""
    if isinstance(value, dict | list):
        for name, item in value.items() if isinstance(value, dict) else enumerate(value):
            _check_numbers(item)
            if "eps" in str(name) and isinstance(item, int | float) and not 0 <= item <= _EPSILON:
                raise InvalidFile(f"its config.json sets {name:.40} to {item!s:.20}: no network learns with that")
    elif isinstance(value, int) and not isinstance(value, bool) and abs(value) > _LARGEST_NUMBER:
        raise InvalidFile(f"its config.json has a number that no image classifier needs: {value!s:.20}")


def transformers_module(family: Values, stored: Tensors) -> tuple[Any, Mapping[str, str] | None, frozenset[str]]:
    """A classifier of transformers, filled by its own loading, where each of its tensors is stored, and what is unused.

    transformers renames tensors while it loads them, and joins some. Which name became which is seen here from empty
    tensors in their places.

    Args:
      family: as of `transformers_family`.
      stored: tensors that are there.

    Returns:
      The module, whose weights are zeros; the stored name of each tensor, or None where some are joined or split; and
      the names of those that it does not take.

    Raises:
      InvalidFile: it is not an image classifier, or its weights are not there.
    """
    import torch

    empty = {
        name: torch.zeros(shape, dtype=torch.float32 if dtype in FLOATS else getattr(torch, dtype))
        for name, (shape, dtype) in stored.items()
    }
    places = {tensor.data_ptr(): name for name, tensor in empty.items() if tensor.numel()}
    module, unused = loaded(family, empty, stored)
    names = {name: places.get(tensor.data_ptr()) for name, tensor in module.state_dict().items()}
    shapes = {name: tuple(tensor.shape) for name, tensor in module.state_dict().items()}
    plain = {name: at for name, at in names.items() if at is not None and stored[at][0] == shapes[name]}
    return module, plain if all(name in plain for name in stored_tensors(module)) else None, unused


def loaded(family: Values, tensors: Mapping[str, Any], stored: Tensors) -> tuple[Any, frozenset[str]]:
    """A classifier of transformers with these tensors, and which it does not take.

    It is checked: none of its own is missing or has another shape.
    """
    with building(_TRANSFORMERS):
        import torch

        network, config = _classifier(family)
        with torch.device("meta"), _limited(len(stored)):
            _check_size(network(config), stored)
        module, report = network.from_pretrained(
            None,
            config=config,
            state_dict=dict(tensors),
            output_loading_info=True,
            dtype=torch.float32,
            attn_implementation="eager",
        )
        _check_report(report, module)
        return module, frozenset(map(str, report["unexpected_keys"]))


def _check_report(report: Mapping[str, Any], module: Any) -> None:
    """Raises `InvalidFile` where transformers fills a tensor at random, or leaves one of a layer in use aside."""
    layers = {name.rpartition(".")[0] for name in module.state_dict()}
    if unused := [name for name in map(str, report["unexpected_keys"]) if name.rpartition(".")[0] in layers]:
        raise InvalidFile(f"its config.json leaves a tensor aside that belongs to its network: {min(unused):.100}")
    for what in ("missing_keys", "mismatched_keys", "error_msgs"):
        if report[what]:
            first = min(map(str, report[what]))
            raise InvalidFile(f"its tensors are not those of its config.json: {what[:-5]} {first:.100}")


def own_tensors(family: Values) -> Tensors:
    """The tensors of a classifier of transformers as it calls them itself; raises as `loaded`."""
    with building(_TRANSFORMERS):
        import torch

        network, config = _classifier(family)
        with torch.device("meta"), _limited(_MOST_TENSORS):
            made = network(config)
        _check_size(made)
        return {name: (tuple(t.shape), str(t.dtype).removeprefix("torch.")) for name, t in made.state_dict().items()}


def _classifier(family: Values) -> tuple[Any, Any]:
    """The class that a configuration is for, and the configuration as that library's."""
    from transformers import CONFIG_MAPPING, MODEL_FOR_IMAGE_CLASSIFICATION_MAPPING

    kind = family.get("model_type")
    if kind not in CONFIG_MAPPING:
        raise InvalidFile(f"it is of {kind!r:.60}, which this version of transformers does not know")
    config = CONFIG_MAPPING[kind].from_dict({name: value for name, value in family.items() if name != "model_type"})
    config._attn_implementation = "eager"
    known = MODEL_FOR_IMAGE_CLASSIFICATION_MAPPING.get(type(config), ())
    classes = known if isinstance(known, tuple | list) else (known,)
    architectures = family.get("architectures") or [kind.__name__ for kind in classes]
    for network in classes:
        if network.__name__ in architectures:
            return network, config
    raise InvalidFile(f"it is {', '.join(map(str, architectures)):.80}: no image classifier of transformers")


def timm_module(family: Values, stored: Tensors | None = None) -> Any:
    """A network of timm, its weights at random.

    Args:
      family: as of `timm_family`.
      stored: tensors that are there; None of a pack, whose are compared later.

    Raises:
      InvalidFile: timm has no such network.
      UsageError: there is no timm.
    """
    with building("its config.json"):
        import timm
        import torch

        name = family["architecture"]
        if not isinstance(name, str) or ":" in name or not timm.is_model(name):
            raise InvalidFile(f"it is of {name!r:.60}, which this version of timm does not know")

        def make() -> Any:
            said = dict(family["pretrained_cfg"])
            return timm.create_model(name, pretrained=False, pretrained_cfg=said, **family["model_args"])

        with torch.device("meta"), _limited(_MOST_TENSORS if stored is None else len(stored)):
            _check_size(make(), stored)
        return make()


def _check_size(module: Any, stored: Tensors | None = None) -> None:
    """Raises `InvalidFile` where a module, built without memory, would take too much of it, or more than is stored."""
    weights, constants = (
        sum(tensor.numel() * tensor.element_size() for tensor in tensors)
        for tensors in (module.parameters(), module.buffers())
    )
    if weights > LARGEST or constants > _LARGEST_BUFFERS:
        raise InvalidFile(f"a network by its config.json takes {(weights + constants) >> 20} MiB")
    numbers = sum(tensor.numel() for tensor in module.parameters())
    if stored is not None and numbers > 2 * sum(math.prod(shape) for shape, _ in stored.values()) + _SPARE:
        raise InvalidFile(f"a network by its config.json has {numbers:,} weights: far more than the file")


@contextlib.contextmanager
def _limited(tensors: int) -> Iterator[None]:
    """No module is made of many more parts than there are tensors to fill them."""
    from torch.nn.modules import module as hooks

    left = _MODULES * (tensors + _MODULES)

    def count(*_: Any) -> None:
        nonlocal left
        left -= 1
        if left < 0:
            raise InvalidFile("its config.json describes more layers than there are tensors")

    handle = hooks.register_module_module_registration_hook(count)
    try:
        yield
    finally:
        handle.remove()


@contextlib.contextmanager
def building(what: str, wrong: str = "no network can be built by its config.json") -> Iterator[None]:
    """Libraries build in here, one thread at a time: quietly, and without a network; an error is one line.

    Args:
      what: how the line begins where a library is missing.
      wrong: how it begins for whatever else a library raises.

    Raises:
      UsageError: a library is missing.
      InvalidFile: the configuration is none that the library can build or run.
    """
    needs_torch(what)
    with lock, quiet(), contextlib.ExitStack() as stack:
        try:
            stack.enter_context(_offline())
            yield
        except ImportError as error:
            raise UsageError(f"{what} needs the torch packages: pip install 'wmjax[torch]'") from error
        except InvalidFile:
            raise
        except Exception as error:  # a stranger's configuration: whatever the library makes of it
            raise InvalidFile(f"{wrong}: {type(error).__name__} {first_line(error)}") from error


@contextlib.contextmanager
def _offline() -> Iterator[None]:
    """The libraries' own switches: nothing is fetched, and nothing is told on stderr."""
    from huggingface_hub import constants
    from transformers.utils import logging

    before = constants.HF_HUB_OFFLINE, logging.get_verbosity(), logging.is_progress_bar_enabled()
    constants.HF_HUB_OFFLINE = True
    logging.set_verbosity(logging.CRITICAL)
    logging.disable_progress_bar()
    try:
        yield
    finally:
        constants.HF_HUB_OFFLINE = before[0]
        logging.set_verbosity(before[1])
        if before[2]:
            logging.enable_progress_bar()
