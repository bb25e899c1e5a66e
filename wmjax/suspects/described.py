"""Stored tensors as models: of the network that is described with them, or of those that the user names."""

import contextlib
import dataclasses
import hashlib
import json
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any

from wmjax.errors import InvalidFile, UsageError
from wmjax.models import Config, read_config
from wmjax.orbax import Tensors
from wmjax.suspects.contract import Network, Source, Stored, Suspect, Wanted
from wmjax.suspects.formats.torch_hub import CONFIG, PIXELS, of_hub, read_hub
from wmjax.suspects.grounds import AskedGround
from wmjax.suspects.guarded import small_json
from wmjax.suspects.left_over import left_over
from wmjax.suspects.matching import Match, fitting, matching
from wmjax.suspects.meant import as_described
from wmjax.suspects.network import from_config
from wmjax.suspects.sets import sets_of
from wmjax.suspects.sources import Partial, one_by_one
from wmjax.suspects.tensor_names import is_adapter
from wmjax.suspects.unfinished import unfinished

NAME_IT = "bare weights do not say what network they belong to: name it with `models`"
SourceOf = Callable[[Mapping[str, str]], Source]
_ADAPTER_CONFIG = "adapter_config.json"
_ADAPTED = (
    "an adapter: changes of another model's weights, no model: merge it into that one (peft's merge_and_unload), "
    "and give what is saved then"
)
_PYTORCH = (
    "its tensors have PyTorch's names: say what network they belong to with `models` timm:NAME, torchvision:NAME or "
    "module:factory, or put its config.json of transformers or timm beside them"
)


def by_description(
    path: Path,
    tensors: Tensors,
    configs: Sequence[Config],
    source_of: SourceOf,
    wanted: Wanted,
    parts: tuple[Path, ...] = (),
) -> list[Stored]:
    """The models of a file's tensors: of the network that it describes, and of those that the user names."""
    described = ""
    try:
        if configs:
            fits = fitting(_of_all(configs, tensors), tensors, kept=wanted.kept)
            found = stored_models(path, path, fits, source_of, tensors, parts)
        else:
            found = _of_hub(path, tensors, source_of, wanted, parts)
        if found:
            return beside_named(found, tensors, source_of, wanted)
    except InvalidFile as error:  # the file may be another than the one that is described beside it
        if not wanted.models:
            raise
        described = f"as it is described {error}"
    if is_adapter(tensors):
        other = _ADAPTED
    else:
        other = _PYTORCH if any(name.endswith((".weight", ".running_mean")) for name in tensors) else ""
    if not wanted.models:
        raise InvalidFile(other) if other else UsageError(NAME_IT)
    try:
        return stored_models(path, path, matching(tensors, wanted), source_of, tensors, parts)
    except InvalidFile as error:
        told = (other,) if other is _ADAPTED else (str(error), described or other)
        raise InvalidFile("; ".join(part for part in told if part)) from error


def _of_all(configs: Sequence[Config], tensors: Tensors) -> Network:
    """The network of those descriptions that fit the tensors: which of them its holder goes by, nobody says."""
    fit = []
    for config in configs if len(configs) > 1 else ():
        with contextlib.suppress(InvalidFile):
            fit += [config] if sets_of(from_config(config).shapes, tensors) else []
    return as_described(tuple(fit or configs[:1]))


def beside_named(found: Sequence[Stored], tensors: Tensors, source_of: SourceOf, wanted: Wanted) -> list[Stored]:
    """What a file describes and, where the user means another network by the same tensors, that too.

    A stranger's description does not decide alone: the network that it names may answer like a stranger's.
    """
    first, networks = found[0], {_computed(stored.network) for stored in found}
    others: list[Stored] = []
    for model in dict.fromkeys(wanted.models):
        with contextlib.suppress(InvalidFile):
            matches = matching(tensors, dataclasses.replace(wanted, models=(model,)))
            named = stored_models(first.path, first.held, matches, source_of, tensors, first.parts)
            others += [_called(stored, model) for stored in named if _computed(stored.network) not in networks]
    return [*(_called(stored, "described") if others else stored for stored in found), *others]


def rows_as_named(rows: Sequence[Stored], tensors: Tensors, source_of: SourceOf, wanted: Wanted) -> list[Stored]:
    """What a pack describes and, where the user means another network by the same tensors, its rows as that too.

    Args:
      rows: as they are described.
      tensors: of one row.
      source_of: of all rows.
      wanted: what the user names.
    """
    first = [stored for stored in rows if stored.row == rows[0].row]
    others = [
        dataclasses.replace(one, name=f"{stored.name}:{one.name}", row=stored.row, left=stored.left or one.left)
        for one in beside_named(first, tensors, source_of, wanted)[len(first) :]
        for stored in {stored.row: stored for stored in rows}.values()
    ]
    return [*(_called(stored, "described") if others else stored for stored in rows), *others]


def _called(stored: Stored, network: str) -> Stored:
    """A model whose name says also as what network it is asked."""
    return dataclasses.replace(stored, name=":".join(filter(None, (stored.name, network))))


def _computed(network: Network) -> str:
    """What a network computes: to that dropout, which only training has, makes no difference."""
    config = (network.description or {}).get("config")
    return json.dumps(config | {"dropout": 0}) if config else network.fingerprint


def _of_hub(path: Path, tensors: Tensors, source_of: SourceOf, wanted: Wanted, parts: tuple[Path, ...]) -> list[Stored]:
    """The models of a file's tensors by a config.json of transformers or timm beside it; none where there is none."""
    config, processor = (small_json(path.with_name(name)) for name in (CONFIG, PIXELS))
    hub = read_hub(config, processor)
    if hub is None:
        return []
    matches, source_of = of_hub(hub, tensors, source_of, wanted)
    found = stored_models(path, path, matches, source_of, tensors, parts)
    if any(isinstance(said, dict) and said.get("auto_map") for said in (config, processor)):  # code, which may run
        without = AskedGround.WEIGHTS_ALONE
        found = [dataclasses.replace(stored, network=noted(stored.network, without)) for stored in found]
    return [dataclasses.replace(stored, class_names=hub.class_names) for stored in found]


def stored_models(
    path: Path,
    held: Path,
    matches: Sequence[Match],
    source_of: SourceOf,
    tensors: Tensors,
    parts: tuple[Path, ...] = (),
    holed: Collection[str] = (),
) -> list[Stored]:
    """What was found at a path: a set of weights that lacks something is there, and cannot be asked.

    Beside what may be another model nobody is cleared; nor is an average that has another's statistics of batches: its
    own may be found anew.
    """
    found: list[Stored] = []
    classes = {match.network.classes for match in matches}
    left = left_over([match.fit for match in matches], tensors, classes) or _adapter_beside(held)
    left = left or unfinished(path, held, *parts) or _holes(matches, holed)
    sources: dict[int, list[tuple[str, Source]]] = {}
    for network, fit, name in matches:
        network = noted(network, AskedGround.IN_PART) if left or fit.borrowed else network
        if id(fit) not in sources:
            source = Partial(fit.lacks) if fit.lacks else source_of(fit.names)
            several = fit.replicas and not fit.lacks
            sources[id(fit)] = one_by_one(source, network.shapes, fit.replicas) if several else [("", source)]
        for replica, source in sources[id(fit)]:
            whole = ":".join(part for part in (name, replica) if part)
            found.append(Stored(network, source, path, held, whole, parts=parts, passed=fit.passed, left=left))
    return found


def _adapter_beside(held: Path) -> str:
    """That an adapter is beside a file, or in a folder, with which its library loads it; empty where none does."""
    if not ((held if held.is_dir() else held.parent) / _ADAPTER_CONFIG).exists():
        return ""
    return f"{_ADAPTER_CONFIG} is beside it: its library would change its weights by that adapter"


def _holes(matches: Sequence[Match], holed: Collection[str]) -> str:
    """That chunks of the models' own tensors are not there; empty where all are."""
    own = {there for match in matches for there in match.fit.names.values()}.intersection(holed)
    return f"{len(own)} of its tensors lack chunks: of zeros, or lost; first {min(own):.100}" if own else ""


def in_part(found: Sequence[Stored], left: str) -> list[Stored]:
    """Models as such that are not cleared.

    Args:
      found: at one path.
      left: why, in words; where it is empty they stay as they are.
    """
    if not left:
        return list(found)
    note = AskedGround.IN_PART
    return [dataclasses.replace(stored, network=noted(stored.network, note), left=left) for stored in found]


@lru_cache(maxsize=256)
def noted(network: Network, note: AskedGround) -> Network:
    """A network that is asked without something of its file; the same object for all such files. It is not packed."""
    told, askable = hashlib.sha256(f"{network.fingerprint} {note}".encode()).hexdigest(), network.askable
    if askable:
        suspects = [dataclasses.replace(each, note=note, readings=()) for each in askable.suspect.asked]
        askable = dataclasses.replace(askable, suspect=Suspect.of(suspects))
    return dataclasses.replace(network, fingerprint=told, note=note, description=None, askable=askable)


def configurations(path: Path) -> tuple[Path, ...]:
    """Where what says more of a model in a file would lie, beside it."""
    return path.with_suffix(".json"), *(path.with_name(name) for name in (CONFIG, PIXELS))


def read_configurations(path: Path, metadata: Mapping[str, str]) -> tuple[Config, ...]:
    """The configurations of a safetensors file that are wmjax's: within it, beside it, and its folder's; each once."""
    found: dict[Config, None] = {}
    for values in _configs(path, metadata):
        with contextlib.suppress(InvalidFile, AttributeError):
            found[read_config(values)] = None
    return tuple(found)


def _configs(path: Path, metadata: Mapping[str, str]) -> Iterator[Any]:
    try:
        yield json.loads(metadata.get("config", "null"))
    except (ValueError, RecursionError):
        yield None
    yield small_json(path.with_suffix(".json"))
    yield small_json(path.with_name("config.json"))
