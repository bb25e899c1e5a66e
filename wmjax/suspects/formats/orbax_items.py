"""The tensors of an Orbax checkpoint over all of its items, and of the aggregate files of older ones.

An item is a tree; `params` and `batch_stats` may be items of their own. Orbax before 0.5 wrote small tensors, or all,
into a file `checkpoint` of the item, in Flax's msgpack; the others lie beside it.
"""

import math
from collections.abc import Mapping
from pathlib import Path

from wmjax import orbax
from wmjax.errors import InvalidFile, WmjaxError
from wmjax.orbax import Tensors
from wmjax.suspects.contract import Source
from wmjax.suspects.formats.msgpack import read_msgpack
from wmjax.suspects.formats.safetensors import File, Header
from wmjax.suspects.sources import Joined

AGGREGATE = "checkpoint"


class Items:
    """The tensors of a checkpoint's items.

    Attributes:
      tensors: shapes and dtypes by name, below their item's where there are several.
      holed: names of those of which chunks are not there: of zeros, which older Orbax does not write, or lost.
      damaged: why one of the items could not be read; None where all can.
    """

    def __init__(self, items: list[Path]):
        self.tensors: Tensors = {}
        self.holed: set[str] = set()
        self.damaged: WmjaxError | None = None
        self._places: dict[str, tuple[Path, str]] = {}  # item, and name within it
        self._aggregates: dict[Path, Header] = {}
        self._sizes: dict[Path, int] = {}
        self._seen: dict[Path, str] = {}
        for item in items:
            try:
                self._add(item, f"{item.name}/" if len(items) > 1 else "")
            except WmjaxError as error:
                self.damaged = self.damaged or error

    def _add(self, item: Path, before: str) -> None:
        self._seen[item] = orbax.stamp(item)
        found, holed = orbax.tensors(item)
        self.holed |= {before + name for name in holed}
        self._sizes[item] = sum(8 * math.prod(shape) for shape, _ in found.values())
        self._note(item, before, found)
        file = item / AGGREGATE
        if file.is_file():
            self._aggregates[file] = header = read_msgpack(file)
            own = {name: (tensor.shape, str(tensor.dtype)) for name, tensor in header.tensors.items()}
            self._note(file, before, own)

    def _note(self, place: Path, before: str, tensors: Tensors) -> None:
        for name, described in tensors.items():
            if before + name in self.tensors:  # one of them would hide the other
                raise InvalidFile(f"two of its tensors are called {before + name:.80}: rename one of its items")
            self.tensors[before + name] = described
            self._places[before + name] = place, name

    def source(self, names: Mapping[str, str]) -> Source:
        """Of the model whose tensors have these stored names."""
        parts: dict[Path, dict[str, str]] = {}
        for name, stored in names.items():
            place, within = self._places[stored]
            parts.setdefault(place, {})[name] = within
        sources = [(self._part(place, own), tuple(own)) for place, own in parts.items()]
        return sources[0][0] if len(sources) == 1 else Joined(sources)

    def _part(self, place: Path, names: Mapping[str, str]) -> Source:
        if place in self._aggregates:
            return File(place, self._aggregates[place], names, stacked=False)
        return orbax.Folder(place, names, self._sizes[place], seen=self._seen[place])

    def folder(self, checkpoint: Path) -> Path:
        """The folder of which each change may mean other weights: the only item's, or the whole checkpoint's."""
        return next(iter(self._seen)) if len(self._seen) == 1 else checkpoint

    def check(self) -> None:
        """Raises what is wrong with the items, where something is."""
        if self.damaged:
            raise self.damaged
        if not self.tensors:
            raise InvalidFile("it holds no tensors")
