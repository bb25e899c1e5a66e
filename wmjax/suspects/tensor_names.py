"""What the names of stored tensors say: which are a network's own, whose they are, and what an optimiser keeps."""

import re
from collections import Counter
from collections.abc import Iterable

Place = tuple[str, ...]  # what comes before a network's own name

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
_CHANGES = re.compile(
    r"weight|kernel|bias|(weight|kernel|bias)_(scale|scale_inv|scales|zero_point|mask|absmax)|scales?|zero_points?|qzeros"
    rf"|{_ADAPTERS}(_.*)?"
)
_STATISTICS = {"mean", "var", "running_mean", "running_var"}


def parts_of(name: str) -> tuple[str, ...]:
    """A stored name's parts, without what Flax puts below a tensor.

    >>> parts_of("model/params/convs/0/kernel/value"), parts_of("convs.0.kernel")
    (('model', 'params', 'convs', '0', 'kernel'), ('convs', '0', 'kernel'))
    """
    parts = re.split(r"[./]", name)
    return tuple(parts[:-1] if len(parts) > 1 and parts[-1] in _LEAVES else parts)


def is_optimiser(place: Place) -> bool:
    """Whether what lies there is called as an optimiser's own."""
    return not _MOMENTS.isdisjoint(place) or is_state(place)


def is_state(place: Place) -> bool:
    """Whether it lies in what is called an optimiser's state, and is not an average of weights."""
    pairs = zip(place, (*place[1:], ""), strict=False)
    if any(_KEPT & set(re.split("[_-]", part.lower())) for part in place):
        return False
    return any(part in _STATES or (part in _OPTIMISERS and after not in _MODELS) for part, after in pairs)


def cores_of(names: Iterable[str]) -> dict[tuple[str, ...], str]:
    """A network's names without their collection, where that leaves them distinct."""
    split = {name: tuple(name.split("/")) for name in names}
    short = {name: parts[1:] if len(parts) > 1 and parts[0] in _COLLECTIONS else parts for name, parts in split.items()}
    count = Counter(short.values())
    return {core if count[core] == 1 else split[name]: name for name, core in short.items()}


def is_average(place: Place) -> bool:
    """Whether what lies there is called as an average of weights."""
    return any(_AVERAGES & set(re.split("[_-]", part.lower())) for part in place)


def is_statistic(name: str) -> bool:
    """Whether a network's own name is that of a batch's statistics."""
    return name.split("/")[-1] in _STATISTICS


def changes_others(part: str) -> bool:
    """Whether a part of a name is that of what changes the others' meaning: no network leaves it out."""
    return bool(_CHANGES.fullmatch(part))


def is_adapter(names: Iterable[str]) -> bool:
    """Whether tensors are changes of another model's weights, by how adapters call them.

    >>> is_adapter(["base_model.model.q.lora_A.weight"]), is_adapter(["q.weight"])
    (True, False)
    """
    return any(re.fullmatch(f"{_ADAPTERS}_.*|adapters?", part) for name in names for part in parts_of(name))


def tag_of(place: Place) -> tuple[str, ...]:
    """What tells a set from others: `ema_params` and `ema_batch_stats` are both of `ema`."""
    parts = ["_".join(word for word in re.split("[_-]", part.lower()) if word not in _PLAIN) for part in place]
    return tuple(part for part in parts if part)
