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
import re
from collections import Counter
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from wmjax.orbax import Tensors
from wmjax.zarr import FLOATS

_Place = tuple[str, ...]
_Found = dict[_Place, dict[str, str]]  # stored name by the network's, at each place
_LEAVES = {"value", "raw_value"}  # what `nnx.State` and `nnx.Variable` put below a tensor's name
_COLLECTIONS = {"params", "stats", "batch_stats"}  # what a network's own names may begin with
_PLAIN = {"params", "param", "batch", "stats", "state", "states", "variables", "vars", "weights", "rest"}
_AVERAGES = {"ema", "swa", "avg", "average", "averaged", "polyak"}
_KEPT = {"ema", "swa", "polyak"}  # averages of weights, also where an optimiser keeps them
_STATES = {"opt_state", "optimizer_state", "optimizer_states", "param_states"}
_MOMENTS = (
    {"mu", "nu", "trace", "momentum", "velocity", "momentum_buffer", "exp_avg", "exp_avg_sq"}
    | {"grads", "gradients", "acc_grads"}
)  # fmt: skip
_OPTIMISERS = {"opt", "optim", "optimizer", "optimiser"}  # older ones hold the model, too
_MODELS = {"model", "target"}
_ADAPTERS = (  # how PEFT and others call the tensors of adapters
    "(lora|hada|lokr|b?oft|ia3|vera|fourierft|vblora|randlora|hra|shira|adapters?)"
)
_CHANGES = re.compile(  # what in a layer changes the others' meaning: no network leaves it out
    r"weight|kernel|bias|(weight|kernel|bias)_(scale|scale_inv|scales|zero_point|mask|absmax)|scales?|zero_points?|qzeros"
    rf"|{_ADAPTERS}(_.*)?"
)
_STATISTICS = {"mean", "var", "running_mean", "running_var"}
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
    own = {name for name, leaf in shapes.items() if name.split("/")[-1] in _STATISTICS or leaf.dtype.kind not in "fV"}
    whole = [fit for fit in theirs if not fit.lacks]
    found = usual + [fit for fit in whole if kept or own or not _is_state(tuple(fit.place.split("/")))]
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


def _changes(stored: Iterable[str]) -> dict[_Place, list[_Place]]:
    """Tensors that change what others mean, by the layers that they lie in."""
    found: dict[_Place, list[_Place]] = {}
    for parts in map(parts_of, stored):
        for at, part in enumerate(parts):
            if _CHANGES.fullmatch(part):
                found.setdefault(parts[:at], []).append(parts)
    return found


def _changed(used: Iterable[str], changes: Mapping[_Place, Sequence[_Place]]) -> str:
    """What lies in a network's own layers and changes what they compute, though the network does not use it."""
    own = set(map(parts_of, used))
    for layer in sorted({parts[:-1] for parts in own}):
        if other := next((parts for parts in changes.get(layer, ()) if parts not in own), None):
            return f"{'.'.join(other):.100} is in one of its layers, and it has none: another network is meant"
    return ""


def _places(shapes: Mapping[str, Any], stored: Tensors, *, kept: bool) -> dict[int, _Found]:
    """By replicas: at which places tensors of these names, shapes and types are."""
    found: dict[int, _Found] = {}
    met: Counter[tuple[int, _Place, str]] = Counter()
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
) -> Iterable[tuple[str, _Place, str]]:
    """A network's tensor, a place and a stored name, wherever the names agree: of an optimiser's, `kept`, or others."""
    cores = _cores(shapes)
    lengths = sorted({len(core) for core in cores})
    for there in stored:
        parts = parts_of(there)
        for length in lengths:
            core, place = parts[-length:], parts[:-length]
            if len(parts) >= length and core in cores and _is_optimiser(place) is kept:
                yield cores[core], place, there


def _cores(names: Iterable[str]) -> dict[tuple[str, ...], str]:
    """A network's names without their collection, where that leaves them distinct."""
    split = {name: tuple(name.split("/")) for name in names}
    short = {name: parts[1:] if len(parts) > 1 and parts[0] in _COLLECTIONS else parts for name, parts in split.items()}
    count = Counter(short.values())
    return {core if count[core] == 1 else split[name]: name for name, core in short.items()}


def parts_of(name: str) -> tuple[str, ...]:
    """A stored name's parts, without what Flax puts below a tensor.

    >>> parts_of("model/params/convs/0/kernel/value"), parts_of("convs.0.kernel")
    (('model', 'params', 'convs', '0', 'kernel'), ('convs', '0', 'kernel'))
    """
    parts = re.split(r"[./]", name)
    return tuple(parts[:-1] if len(parts) > 1 and parts[-1] in _LEAVES else parts)


def _is_optimiser(place: _Place) -> bool:
    """Whether what lies there is called as an optimiser's own."""
    return not _MOMENTS.isdisjoint(place) or _is_state(place)


def _is_state(place: _Place) -> bool:
    """Whether it lies in what is called an optimiser's state, and is no average of weights."""
    pairs = zip(place, (*place[1:], ""), strict=False)
    if any(_KEPT & set(re.split("[_-]", part.lower())) for part in place):
        return False
    return any(part in _STATES or (part in _OPTIMISERS and after not in _MODELS) for part, after in pairs)


def left_over(fits: Iterable[Fit], stored: Tensors, classes: Collection[int] = ()) -> str:
    """What lies beside a file's models and may be another one, or change them, in words; empty where nothing does.

    Little says nothing, unless it is an adapter's, lies in one of a model's own layers, is called as a tensor of its,
    has the sides of one, or may be another head; nor does an optimiser's.

    >>> weights = {"w": ((3, 2), "float32"), "ema.0": ((3, 2), "float32")}
    >>> left_over([Fit(".", {"w": "w"})], weights)
    '1 tensor beside its models is of none of them: first ema.0'

    Args:
      fits: its models.
      stored: shapes and dtypes by name.
      classes: that its models tell apart.
    """
    fits = list(fits)
    numbers = {name: math.prod(shape) for name, (shape, _) in stored.items()}
    used = [[numbers.get(name, 0) for name in fit.names.values()] for fit in fits]
    taken = {name for fit in fits for name in fit.names.values()}
    left = [name for name in numbers if name not in taken and not _is_optimiser(parts_of(name))]
    if not left:
        return ""
    changing = [name for name in left if is_adapter([name])] or list(_changing(left, fits, stored, classes))
    if not changing and 2 * sum(_held(*stored[name]) for name in left) < max(map(sum, used), default=0):
        return ""
    first = min(changing or left, key=lambda name: (-numbers[name], name))
    many = f"{len(left)} tensors beside its models are" if len(left) > 1 else "1 tensor beside its models is"
    return f"{many} of none of them: first {first:.100}"


def _held(shape: tuple[int, ...], dtype: str) -> int:
    """How many weights a tensor may hold: one of complex or whole numbers of 64 bits may be another one's bytes.

    >>> _held((3, 2), "float32"), _held((3, 2), "complex128"), _held((3, 2), "an unknown type")
    (6, 24, 6)
    """
    try:
        wide = np.dtype(dtype).itemsize // 4
    except TypeError:  # e.g. of four bits
        wide = 1
    return math.prod(shape) * max(1, wide)


def _changing(left: Sequence[str], fits: Sequence[Fit], stored: Tensors, classes: Collection[int]) -> Iterator[str]:
    """Of what is left the tensors that may change one of the models, or take a place in it."""
    layers = {parts_of(there)[:-1] for fit in fits for there in fit.names.values()} - {()}
    cores: dict[_Place, set[tuple[int, ...]]] = {}
    for fit in fits:
        for core, name in _cores(fit.names).items():
            cores.setdefault(core, set()).add(stored.get(fit.names[name], ((), ""))[0])
    lengths = {len(core) for core in cores}
    sizes = {_sides(stored[there][0]) for fit in fits for there in fit.names.values() if there in stored} - {()}
    for name in left:
        parts, (shape, dtype) = parts_of(name), stored[name]
        sides = _sides(shape)
        called = any(shape in cores.get(parts[-length:], ()) for length in lengths)
        head = len(sides) == 2 and not set(classes).isdisjoint(sides)
        alike = sides in sizes  # a bias by another name, too
        if dtype in FLOATS and (parts[:-1] in layers or called or head or alike):
            yield name


def _sides(shape: tuple[int, ...]) -> tuple[int, ...]:
    """Lengths of a tensor's sides, whichever way it is turned."""
    return tuple(sorted(side for side in shape if side != 1))


def is_adapter(names: Iterable[str]) -> bool:
    """Whether tensors are changes of another model's weights, by how adapters call them.

    >>> is_adapter(["base_model.model.q.lora_A.weight"]), is_adapter(["q.weight"])
    (True, False)
    """
    return any(re.fullmatch(f"{_ADAPTERS}_.*|adapters?", part) for name in names for part in parts_of(name))


def _is_type(stored: str, wanted: str) -> bool:
    """Whether numbers are read as a network's: JAX has int32 for PyTorch's int64."""
    return stored == wanted or (stored in FLOATS and wanted in FLOATS) or (stored, wanted) == ("int64", "int32")


def _completed(
    main: _Place, places: _Found, owners: Mapping[_Place, Sequence[_Place]], missing: Iterable[str]
) -> tuple[dict[str, str], bool]:
    """The tensors that a place lacks, from places that are its own; an average's batch statistics may be its model's.

    A place belongs to those sets that are called as it is (`ema_params`, `ema_batch_stats`) and lie nearest. Whether
    any are borrowed from another is told, too.
    """
    found, borrowed = {}, False
    average = any(_AVERAGES & set(re.split("[_-]", part.lower())) for part in main)
    for name in missing:
        others = [place for place in owners if name in places[place]]
        own = [place for place in others if main in owners[place]]
        if len(nearest := _nearest(main, own or (others if average else []))) == 1:
            found[name] = places[nearest[0]][name]
            borrowed |= not own
    return found, borrowed


def _nearest(place: _Place, others: Sequence[_Place]) -> list[_Place]:
    """Those that are called as a place is, if there are any, and share most of the way to it."""

    def near(other: _Place) -> tuple[bool, bool, int]:
        shared = next((i for i, (a, b) in enumerate(zip(place, other, strict=False)) if a != b), len(other))
        return _tag(other) == _tag(place), not _tag(other), shared

    most = max(map(near, others), default=None)
    return [other for other in others if near(other) == most]


def _tag(place: _Place) -> tuple[str, ...]:
    """What tells a set from others: `ema_params` and `ema_batch_stats` are both of `ema`."""
    parts = ["_".join(word for word in re.split("[_-]", part.lower()) if word not in _PLAIN) for part in place]
    return tuple(part for part in parts if part)


def _named(fits: Sequence[Fit]) -> list[Fit]:
    """The sets with places that can be typed: `state` for `state/params`, where that is no other one."""
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
