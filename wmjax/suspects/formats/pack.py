"""Reading packs: a family of models in one safetensors file, `[N, ...]` a tensor, as `wmjax.zoo.pack` writes it.

The header's metadata hold `format` (`wmjax-pack/1`) and, as JSON, `network` (what remakes it), `models` (a name a row)
and `sha256` (`digest` a row). A row that is null in both lists holds no model: it could not be read when its turn came.
"""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

from wmjax.errors import InvalidFile
from wmjax.suspects.contract import Network, Stored
from wmjax.suspects.formats.safetensors import File, Header
from wmjax.text import by, is_sha256

FORMAT = "wmjax-pack/1"
LARGEST_MODEL = 4 << 30  # bytes; a sparse file costs its maker nothing, and would cost us all memory


def open_pack(path: Path, header: Header, networks_of: Callable[[dict[str, Any]], list[Network]]) -> list[Stored]:
    """The models of a pack, row by row.

    Nothing that the file names is imported here: what a description may refer to is for `networks_of` to decide.

    Args:
      path: of the pack.
      header: as `read_header` gave it.
      networks_of: remakes a network from its description, or several of the same weights that take images of other
        sizes; raises `WmjaxError` where it cannot or must not.

    Raises:
      InvalidFile: it is not a pack, or its parts contradict each other.
    """
    if header.metadata.get("format") != FORMAT:
        raise InvalidFile(f"{path}: format {header.metadata.get('format')!r:.40}, this version reads {FORMAT}")
    try:
        description, names, digests = (json.loads(header.metadata[name]) for name in ("network", "models", "sha256"))
    except (KeyError, ValueError, RecursionError) as error:
        raise InvalidFile(f"{path} is a damaged pack: its metadata cannot be read") from error
    if not isinstance(description, dict) or not _rows_agree(names, digests):
        raise InvalidFile(f"{path} is a damaged pack: its names and digests are not a proper one each a row")
    networks = networks_of(description)
    network = networks[0]
    stored = {name: (tensor.shape, tensor.dtype) for name, tensor in header.tensors.items()}
    if stored != {name: ((len(names), *leaf.shape), leaf.dtype) for name, leaf in network.shapes.items()}:
        raise InvalidFile(f"{path} is a damaged pack: its tensors are not {len(names)} models of {network.name}")
    if network.bytes > LARGEST_MODEL:
        raise InvalidFile(f"{path}: models of {network.bytes >> 30} GiB are larger than any that wmjax reads")
    file = File(path, header, {name: name for name in network.shapes}, stacked=True)
    none = names.count(None)
    left = f"{none} of its {len(names)} rows {'are' if none > 1 else 'is'} said to hold no model" if none else ""
    several = len({network.classes for network in networks}) > 1
    return [
        Stored(network, file, path, path, name + _kind(network, several=several), row, sha256, left=left)
        for network in networks
        for row, (name, sha256) in enumerate(zip(names, digests, strict=True))
        if name is not None
    ]


def _kind(network: Network, *, several: bool) -> str:
    """What tells a model's networks apart, to follow its name."""
    classes, size = f":{network.classes}-classes", f":{by(network.image)}"
    return (classes if several else "") + (size if network.only else "")


def is_name(name: Any) -> bool:
    """Whether it is a name that a table can show."""
    return isinstance(name, str) and name.isprintable() and name != ""


def _rows_agree(names: Any, digests: Any) -> bool:
    """Whether these are equally long lists of distinct names and of digests, null in the same rows."""
    if not isinstance(names, list) or not isinstance(digests, list) or len(names) != len(digests):
        return False
    for name, sha256 in zip(names, digests, strict=True):
        if not (name is None and sha256 is None) and not (is_name(name) and is_sha256(sha256)):
            return False
    named = [name for name in names if name is not None]
    return len(set(named)) == len(named)
