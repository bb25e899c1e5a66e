"""Sets of weights: which of the tensors that a file stores together are one model, and which are another. No JAX.

A checkpoint may hold several models: parameters and their moving average, the best and the last, student and teacher,
replicas. Names agree up to what frameworks put around a network's own: `model/params/convs/0/kernel/value` and
`convs.0.kernel` are the same tensor, and what comes before its own name is its place. Tensors at one place are one set;
so are those of two places beside each other that complete each other, e.g. `params` and `batch_stats`. Tensors of two
sets are never put together. What an optimiser keeps has the shapes of weights, and is none: it has no statistics of
batches, and no whole numbers. What has all of these is a network's, whatever it is called; so is what is called as an
average of gradients, `mu`, but lies in no optimiser's state; so is an average of weights, `ema`, wherever it lies.
Where a layer holds more than the network uses, factors of low rank or scales, another network is meant.
"""

import math
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple

from wmjax.orbax import Tensors
from wmjax.suspects.tensor_names import (
    Place,
    changes_others,
    cores_of,
    is_average,
    is_optimiser,
    is_state,
    is_statistic,
    parts_of,
    tag_of,
)
from wmjax.zarr import FLOATS

_Found = dict[Place, dict[str, str]]  # stored name by the network's, at each place
_MOST_REPLICAS = 256
_MOST_PAIRS = 1 << 12  # of a set and a place beside it: of more, which a hostile file may have, none is completed


class Fit(NamedTuple):
    """A set of weights that is a network's.

    Attributes:
      place: what all its names begin with, as `ema_params`; `.` where nothing.
      names: stored name of each of the network's tensors.
      replicas: length of a leading axis that all tensors have and the network's have not; 0 where there is none.
      lacks: what of the network is not there, or of what is there not the network's, in words; empty where it is whole.
      passed: how many sets beside all of these are taken for an optimiser's, and not asked.
      borrowed: whether some of its tensors are another set's: an average without statistics of its own.
    """

    place: str
    names: Mapping[str, str]
    replicas: int = 0
    lacks: str = ""
    passed: int = 0
    borrowed: bool = False


def sets_of(shapes: Mapping[str, Any], stored: Tensors, *, kept: bool = False) -> list[Fit]:
    """The sets of weights that fit a network, in the order of their places; no whole one: none.

    >>> import numpy as np
    >>> weights = {"w": np.zeros((3, 2), np.float32), "b": np.zeros(2, np.float32)}
    >>> stored = {"ema.w": ((3, 2), "float32"), "ema.b": ((2,), "float32"), "w": ((3, 2), "float32")}
    >>> sets_of(weights, stored)
    [Fit(place='ema', names={'w': 'ema.w', 'b': 'ema.b'}, replicas=0, lacks='', passed=0, borrowed=False)]

    Args:
      shapes: of the network's tensors, by name.
      stored: shapes and dtypes by name.
      kept: whether sets count that are called as an optimiser's.
    """
    usual, theirs = _fits(shapes, stored, kept=False), _fits(shapes, stored, kept=True)
    own = {name for name, leaf in shapes.items() if is_statistic(name) or leaf.dtype.kind not in "fV"}
    whole = [fit for fit in theirs if not fit.lacks]
    found = usual + [fit for fit in whole if kept or own or not is_state(tuple(fit.place.split("/")))]
    if not any(len(fit.names) == len(shapes) for fit in found):
        return []
    passed = sum(fit not in found and not (shapes.keys() - own - fit.names.keys()) for fit in theirs)
    return [fit._replace(passed=passed) for fit in _named(found)]


def _fits(shapes: Mapping[str, Any], stored: Tensors, *, kept: bool) -> list[Fit]:
    """The sets of weights, whole or nearly: of what has an optimiser's names, `kept`, or of all else."""
    found: list[Fit] = []
    changes = _changes(stored)
    for replicas, places in sorted(_places(shapes, stored, kept=kept).items()):
        anchor = max(shapes, key=lambda name: (math.prod(shapes[name].shape), name))  # a kernel, which every set has
        mains = sorted(place for place, tensors in places.items() if anchor in tensors)
        beside = [place for place, tensors in places.items() if anchor not in tensors]
        if len(mains) * len(beside) > _MOST_PAIRS:
            beside = []
        owners = {place: _nearest(place, mains) for place in beside}
        for place in mains:
            more, borrowed = _completed(place, places, owners, shapes.keys() - places[place].keys())
            names = places[place] | more
            lacks = _changed(names.values(), changes)
            if missing := sorted(shapes.keys() - names.keys()):
                lacks = f"{len(missing)} of its {len(shapes)} tensors are not with it: first {missing[0]}"
            if not missing or 2 * len(names) > len(shapes):
                whole = {name: names[name] for name in shapes if name in names}
                found.append(Fit("/".join(place), whole, replicas, lacks, borrowed=borrowed))
    return found


def _changes(stored: Iterable[str]) -> dict[Place, list[Place]]:
    """Tensors that change what others mean, by the layers that they lie in."""
    found: dict[Place, list[Place]] = {}
    for parts in map(parts_of, stored):
        for at, part in enumerate(parts):
            if changes_others(part):
                found.setdefault(parts[:at], []).append(parts)
    return found


def _changed(used: Iterable[str], changes: Mapping[Place, Sequence[Place]]) -> str:
    """What lies in a network's own layers and changes what they compute, though the network does not use it."""
    own = set(map(parts_of, used))
    for layer in sorted({parts[:-1] for parts in own}):
        if other := next((parts for parts in changes.get(layer, ()) if parts not in own), None):
            return f"{'.'.join(other):.100} is in one of its layers, and it has none: another network is meant"
    return ""


def _places(shapes: Mapping[str, Any], stored: Tensors, *, kept: bool) -> dict[int, _Found]:
    """By replicas: at which places tensors of these names, shapes and types are."""
    found: dict[int, _Found] = {}
    met: Counter[tuple[int, Place, str]] = Counter()
    for name, place, there in _candidates(shapes, stored, kept=kept):
        shape, dtype = stored[there]
        wanted, own = tuple(shapes[name].shape), str(shapes[name].dtype)
        if not _is_type(dtype, own) or shape[len(shape) - len(wanted) :] != wanted:
            continue
        replicas = 0 if shape == wanted else shape[0]
        if shape == wanted or (len(shape) == len(wanted) + 1 and 0 < replicas <= _MOST_REPLICAS):
            met[at := (replicas, place, name)] += 1  # `a.b` and `a/b` are the same name: one of them is of another set
            again = () if met[at] == 1 else (f"again-{met[at]}",)
            found.setdefault(replicas, {}).setdefault((*place, *again), {})[name] = there
    return found


def _candidates(
    shapes: Iterable[str], stored: Iterable[str], *, kept: bool = False
) -> Iterable[tuple[str, Place, str]]:
    """A network's tensor, a place and a stored name, wherever the names agree: of an optimiser's, `kept`, or others."""
    cores = cores_of(shapes)
    lengths = sorted({len(core) for core in cores})
    for there in stored:
        parts = parts_of(there)
        for length in lengths:
            core, place = parts[-length:], parts[:-length]
            if len(parts) >= length and core in cores and is_optimiser(place) is kept:
                yield cores[core], place, there


def _is_type(stored: str, wanted: str) -> bool:
    """Whether numbers are read as a network's: JAX has int32 for PyTorch's int64."""
    return stored == wanted or (stored in FLOATS and wanted in FLOATS) or (stored, wanted) == ("int64", "int32")


def _completed(
    main: Place, places: _Found, owners: Mapping[Place, Sequence[Place]], missing: Iterable[str]
) -> tuple[dict[str, str], bool]:
    """The tensors that a place lacks, from places that are its own; an average's batch statistics may be its model's.

    A place belongs to those sets that are called as it is (`ema_params`, `ema_batch_stats`) and lie nearest. Whether
    any are borrowed from another is told, too.
    """
    found, borrowed = {}, False
    for name in missing:
        others = [place for place in owners if name in places[place]]
        own = [place for place in others if main in owners[place]]
        if len(nearest := _nearest(main, own or (others if is_average(main) else []))) == 1:
            found[name] = places[nearest[0]][name]
            borrowed |= not own
    return found, borrowed


def _nearest(place: Place, others: Sequence[Place]) -> list[Place]:
    """Those that are called as a place is, if there are any, and share most of the way to it."""

    def near(other: Place) -> tuple[bool, bool, int]:
        shared = next((i for i, (a, b) in enumerate(zip(place, other, strict=False)) if a != b), len(other))
        return tag_of(other) == tag_of(place), not tag_of(other), shared

    most = max(map(near, others), default=None)
    return [other for other in others if near(other) == most]


def _named(fits: Sequence[Fit]) -> list[Fit]:
    """The sets with places that can be typed: `state` for `state/params`, where that is not another one."""
    short = [fit.place.removesuffix("/params") or "." for fit in fits]
    count = Counter(short)
    return [
        fit._replace(place=name if count[name] == 1 else fit.place or ".")
        for fit, name in zip(fits, short, strict=True)
    ]


class Misfit(NamedTuple):
    """Why no set of weights is a network's.

    Attributes:
      tensors: of the network that do not fit.
      text: which do not, in one line.
    """

    tensors: int
    text: str


def misfit(shapes: Mapping[str, Any], stored: Tensors) -> Misfit:
    """What keeps the most fitting place from being a network's: absent tensors, other shapes, other types."""
    best: dict[str, tuple[int, str]] = {}
    for name, _, there in _candidates(shapes, stored):
        shape, dtype = stored[there]
        wanted, own = tuple(shapes[name].shape), str(shapes[name].dtype)
        if shape != wanted:
            how = 1, f"of shape {list(shape)}, not {list(wanted)}"
        else:
            how = (3, "") if _is_type(dtype, own) else (2, f"of type {dtype}, not {own}")
        best[name] = max(best.get(name, how), how, key=lambda item: item[0])
    groups: dict[int, list[str]] = {}
    for name in shapes:
        groups.setdefault(best.get(name, (0, ""))[0], []).append(name)
    said = []
    for kind, what in ((1, "of another shape"), (2, "of another type"), (0, "not there")):
        if names := groups.get(kind):
            first = f"{names[0]} is {best[names[0]][1]}" if kind else f"first {names[0]}"
            said.append(f"{len(names)} {'is' if len(names) == 1 else 'are'} {what} ({first})")
    text = f"of its {len(shapes)} tensors {', '.join(said)}" if said else "its tensors lie in sets, none of them whole"
    return Misfit(len(shapes) - len(groups.get(3, [])), text)
