"""Weights that do not say of what network they are, tried as those that a user names."""

import contextlib
import dataclasses
import hashlib
from collections.abc import Iterator, Mapping, Sequence
from functools import lru_cache
from typing import NamedTuple

from wmjax.errors import InvalidFile, UsageError
from wmjax.models import FAMILIES
from wmjax.orbax import Tensors
from wmjax.suspects.adapt import adaptation, same_task
from wmjax.suspects.contract import Image, Network, Wanted
from wmjax.suspects.named import is_named, networks_named
from wmjax.suspects.sets import Fit, Misfit, misfit, sets_of
from wmjax.suspects.tensor_names import parts_of
from wmjax.text import by

_MOST_HEADS = 8  # numbers of classes that are tried; where there are more, nobody is acquitted by some of them
_MOST_TOLD = 3  # architectures of which is said why they do not fit


Tried = tuple[Image, Network, list[Fit]]  # a key's image, what is meant there, and which sets are its


class Match(NamedTuple):
    """A model among stored tensors.

    Attributes:
      network: its family's.
      fit: which of the tensors are its.
      name: of its set, its number of classes and its image's size, where there are several of these; empty else.
    """

    network: Network
    fit: Fit
    name: str


def matching(stored: Tensors, wanted: Wanted) -> tuple[Match, ...]:
    """The models among stored tensors: of each architecture that any fits, all sets, in exact shapes.

    Where several are, all are meant: they may compute otherwise with the same tensors. A network that takes images of
    any size is one for each size of the keys' images, and asked about keys of that size.

    Args:
      stored: shapes and dtypes by name.
      wanted: the architectures and images that may be meant.

    Raises:
      InvalidFile: none fits.
    """
    return _matching(tuple(sorted(stored.items())), wanted)


@lru_cache(maxsize=256)  # thousands of models have the same tensors
def _matching(stored: tuple[tuple[str, tuple[tuple[int, ...], str]], ...], wanted: Wanted) -> tuple[Match, ...]:
    tensors, misfits = dict(stored), []
    meant: dict[str, list[Match]] = {}
    for model in dict.fromkeys(wanted.models):
        found = list(_fits(model, tensors, wanted))
        if whole := [(image, network, fits) for image, network, fits in found if fits]:
            meant[model] = list(matches(whole, wanted.images))
        misfits += [(network, misfit(network.shapes, tensors)) for _, network, fits in found if not fits]
    if not meant:
        raise InvalidFile(_told(misfits, wanted))
    if len(meant) == 1:
        return tuple(match for found in meant.values() for match in found)
    return tuple(
        match._replace(name=":".join(part for part in (match.name, model) if part))
        for model, found in meant.items()
        for match in found
    )


def _fits(model: str, tensors: Tensors, wanted: Wanted) -> Iterator[Tried]:
    """For each image the networks that a name may mean there, and the sets that are theirs.

    A network of colour is tried where the keys are grey, and the other way round: their triggers can be made so.
    """
    for image in wanted.images:
        for shape in (image, (*image[:2], 4 - image[2])) if image[2] in (1, 3) else (image,):
            tried = [
                (image, network, sets_of(network.shapes, tensors, kept=wanted.kept))
                for network in _means(model, shape, tensors, wanted)
            ]
            yield from tried
            if any(fits for *_, fits in tried):
                break


def _means(model: str, image: Image, tensors: Tensors, wanted: Wanted) -> list[Network]:
    """The networks that a name may mean for images of this shape; of wmjax's own for each head that is there."""
    counts = [wanted.classes]
    if model in FAMILIES:
        stored = sorted(tensors.items())
        heads = [shape[-1] for name, (shape, _) in stored if parts_of(name)[-2:] == ("head", "bias") and shape]
        counts = _counts(heads, wanted)
    elif is_named(model):
        from wmjax.suspects.formats.torch_named import classes_of

        counts = _counts(classes_of(model, tensors), wanted)
    found = []
    for classes in counts:
        with contextlib.suppress(UsageError, InvalidFile):  # none of this size: `recognise.check` tells more
            found += networks_named(model, (image,), classes, wanted.pixels)
    return found


def _counts(heads: Sequence[int], wanted: Wanted) -> list[tuple[int, ...]]:
    """The numbers of classes that heads have, each once: of those that keys apply to, where any does.

    Raises:
      InvalidFile: they are too many to be tried.
    """
    meant = [count for count in heads if any(same_task(count, ours) for ours in wanted.classes)] or heads
    counts = list(dict.fromkeys(meant))
    if len(counts) > _MOST_HEADS:
        raise InvalidFile(f"its heads have {len(counts)} numbers of classes: more than {_MOST_HEADS} are not tried")
    return [(count,) for count in counts]


def matches(found: Sequence[Tried], images: Sequence[Image]) -> Iterator[Match]:
    """Each set of weights, with each number of classes that it tells apart, at each size that it takes.

    Args:
      found: networks that the weights fit, each with the image of a key that it was made for.
      images: of all keys.
    """
    models: dict[tuple[str, int], dict[int, dict[Image, Network]]] = {}
    sets: dict[tuple[str, int], Fit] = {}
    for image, network, fits in found:
        for fit in fits:
            at = fit.place, fit.replicas
            sets.setdefault(at, fit)
            models.setdefault(at, {}).setdefault(network.classes, {})[image] = network
    for at, outputs in models.items():
        for classes, own in outputs.items():
            name = ([at[0]] if len(models) > 1 else []) + ([f"{classes}-classes"] if len(outputs) > 1 else [])
            for network in (sized := _sized(own, images)):
                size = [by(network.image)] if len(sized) > 1 else []
                yield Match(network, sets[at], ":".join(name + size))


def _sized(own: Mapping[Image, Network], images: Sequence[Image]) -> list[Network]:
    """One model's networks of the sizes that it takes, each asked about its share of the keys' images."""
    networks = list(dict.fromkeys(own.values()))
    if len(networks) == 1:
        return networks
    asked = {network: [image for image in own if own[image] is network] for network in networks}
    for image in images:
        near = [network for network in networks if adaptation(image, network.image) is not None]
        if image not in own and near:
            asked[near[0]].append(image)
    return [_only(network, tuple(shapes)) for network, shapes in asked.items()]


@lru_cache(maxsize=256)
def _only(network: Network, images: tuple[Image, ...]) -> Network:
    """The network, asked about keys of these images alone; the same object for all of its models."""
    told = f"{network.fingerprint} {images}"
    return dataclasses.replace(network, fingerprint=hashlib.sha256(told.encode()).hexdigest(), only=images)


def sizes(network: Network, wanted: Wanted) -> list[Network]:
    """A user's module for each size of the keys' images that its tensors fit as they are; itself where it is no such.

    Args:
      network: of weights that are known to be its.
      wanted: the images that may be meant.
    """
    description = network.description or {}
    if "module" not in description:
        return [network]
    stored = {name: (tuple(leaf.shape), str(leaf.dtype)) for name, leaf in network.shapes.items()}
    wanted = dataclasses.replace(wanted, pixels=description.get("pixels", ""), classes=(network.classes,))
    tried = _fits(description["module"], stored, wanted)
    found = [(image, one, fits) for image, one, fits in tried if fits and one.classes == network.classes]
    return [match.network for match in matches(found, wanted.images)] or [network]


def fitting(network: Network, stored: Tensors, *, kept: bool = False) -> list[Match]:
    """The sets of weights that are a known network's.

    Args:
      network: which.
      stored: shapes and dtypes by name.
      kept: as of `sets_of`.

    Raises:
      InvalidFile: there is none.
    """
    fits = sets_of(network.shapes, stored, kept=kept)
    if not fits:
        raise InvalidFile(f"it is not {network.name}: {misfit(network.shapes, stored).text}")
    return [Match(network, fit, fit.place if len(fits) > 1 else "") for fit in fits]


def _told(misfits: Sequence[tuple[Network, Misfit]], wanted: Wanted) -> str:
    """Why no architecture fits, the nearest first and each once."""
    if not wanted.images:
        return "`models` needs `images` here"
    best: dict[str, tuple[Network, Misfit]] = {}
    for network, why in misfits:
        model = network.name.partition(" ")[0]
        best[model] = min(best.get(model, (network, why)), (network, why), key=lambda item: _share(*item))
    said = [
        f"it is not {network.name}: {why.text}"
        for network, why in sorted(best.values(), key=lambda item: _share(*item))
    ]
    for model in wanted.models:
        if model not in best and model in FAMILIES:
            said.append(f"it is not {model}: there is no head/bias")
        elif model not in best:
            said.append(f"as {model} it does not take the keys' images")
    more = f"; and {len(said) - _MOST_TOLD} more do not fit" if len(said) > _MOST_TOLD else ""
    return "; ".join(said[:_MOST_TOLD]) + more


def _share(network: Network, why: Misfit) -> float:
    """Share of a network's tensors that do not fit."""
    return why.tensors / max(1, len(network.shapes))
