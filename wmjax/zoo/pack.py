"""Packing a zoo: a family of models in one safetensors file, read at the speed of the disk.

`wmjax.suspects.formats.pack` reads them, and says what is in them.
"""

import contextlib
import dataclasses
import json
import os
import re
from collections.abc import Callable, Sequence
from itertools import groupby
from pathlib import Path

from wmjax.digest import digest
from wmjax.errors import UsageError
from wmjax.progress import progress
from wmjax.stores import place
from wmjax.suspects.contract import Image, Network, Wanted
from wmjax.suspects.formats.pack import FORMAT, is_name
from wmjax.suspects.formats.safetensors import DTYPES
from wmjax.text import by
from wmjax.zoo.discover import discover
from wmjax.zoo.load import cut_chunks, read_ahead
from wmjax.zoo.records import Entry, Unreadable, Zoo
from wmjax.zoo.writer import write_stacked

_LARGEST_DESCRIPTION = 16 << 20  # characters: a header has room for twice as many, and holds them as text in text


@dataclasses.dataclass(frozen=True)
class PackReport:
    """What `pack` did.

    Attributes:
      files: that were written.
      models: packed in them.
      skipped: models that are in no pack; what could not be read of the zoo is among them.
    """

    files: list[Path]
    models: int
    skipped: list[Unreadable]


def pack(
    zoo: str | os.PathLike[str],
    out: str | os.PathLike[str],
    *,
    models: Sequence[str] = (),
    images: Sequence[Image] = (),
    pixels: str = "",
    pickles: bool = False,
) -> PackReport:
    """Stacks the models of a zoo, one file per family, so that an audit reads them at the speed of the disk.

    Example:

        report = wmjax.pack("zoo", "packs")
        wmjax.audit("packs", keys)

    Args:
      zoo: folder of models.
      out: folder of the packs; made if it does not exist.
      models: architectures of bare weights: names of wmjax's families, `timm:NAME`, `torchvision:NAME` or
        `module:factory`.
      images: height, width and channels that those take.
      pixels: as of `wmjax.audit`.
      pickles: as of `wmjax.audit`.

    Raises:
      UsageError: models without images, one of the models is not an architecture, or a file already exists.
      AccessError: the zoo does not exist, or a file cannot be written.
    """
    if models and not images:
        raise UsageError("`models` needs `images`: height, width and channels that the model takes")
    wanted = Wanted(tuple(models), tuple(images), pixels=pixels, pickles=pickles)
    return write_packs(discover(place(zoo), wanted), place(out))


def write_packs(zoo: Zoo, out: Path) -> PackReport:
    """Writes one `NAME-FINGERPRINT.safetensors` a family into a folder; one chunk of models is in memory at a time.

    Args:
      zoo: what a walk found.
      out: the folder; made where it is not there.

    Raises:
      UsageError: a file to be written already exists.
      AccessError: a file cannot be written.
    """
    skipped, families = list(zoo.unreadable), {}
    for network, group in groupby(_once(zoo.entries), key=lambda entry: entry.network):
        entries = list(group)
        if network.description is None or any(leaf.dtype not in DTYPES.values() for leaf in network.shapes.values()):
            why = (
                "it has no weights that can be stacked, and is asked where it is"
                if network.askable
                else "these networks cannot be packed"
            )
            skipped += [Unreadable(entry.name, f"{network.name}: {why}") for entry in entries]
            continue
        if len(json.dumps(network.description)) > _LARGEST_DESCRIPTION:
            skipped += [
                Unreadable(entry.name, "its graph is too large for a pack: it is asked where it is")
                for entry in entries
            ]
            continue
        path = out / _file_name(network)
        if path in families or path.exists():
            raise UsageError(f"{path} already exists: choose another `out`")
        families[path] = entries
    files, models = [], 0
    with progress("packing", sum(map(len, families.values()))) as advance:
        for path, entries in families.items():
            failed = _write_pack(path, entries, advance)
            skipped += failed
            models += len(entries) - len(failed)
            files += [path] if len(failed) < len(entries) else []
    return PackReport(files, models, skipped)


def _once(entries: Sequence[Entry]) -> list[Entry]:
    """The entries; of weights at several sizes the first, and of ONNX's at several numbers of classes.

    A pack's are tried at each again.
    """
    classes: dict[tuple[int, int], set[int]] = {}
    for entry in entries:
        classes.setdefault((id(entry.source), entry.row), set()).add(entry.network.classes)
    kept, seen = [], set[tuple[int, int, int]]()
    for entry in entries:
        description, model = entry.network.description or {}, (id(entry.source), entry.row)
        several = "onnx" in description and len(classes[model]) > 1
        if several or (entry.network.only and not {"module", "onnx"}.isdisjoint(description)):
            told = *model, 0 if several else entry.network.classes
            if told in seen:
                continue
            seen.add(told)
            size = f":{by(entry.network.image)}" if entry.network.only else ""
            name = entry.name.removesuffix(size)
            entry = dataclasses.replace(
                entry, name=name.removesuffix(f":{entry.network.classes}-classes") if several else name
            )
        kept.append(entry)
    return kept


def _file_name(network: Network) -> str:
    """A name without anything that a file system or a shell reads differently."""
    name = re.sub(r"[^A-Za-z0-9._-]+", "-", network.name).lstrip(".-")[:80]
    return f"{name}-{network.fingerprint[:8]}.safetensors"


def _write_pack(path: Path, entries: Sequence[Entry], advance: Callable[..., None]) -> list[Unreadable]:
    """Writes one family; what of it was skipped. Without any model that can be read there is no file."""
    network, names = entries[0].network, [entry.name for entry in entries]
    digests: list[str | None] = []
    skipped = []
    largest = _metadata(network, names, ["0" * 64] * len(names))
    with (
        write_stacked(path, network.shapes, len(entries), len(json.dumps(largest))) as writer,
        contextlib.closing(read_ahead(cut_chunks(entries))) as chunks,
    ):
        for chunk in chunks:
            writer.write(len(digests), {name: rows[: len(chunk.entries)] for name, rows in chunk.weights.items()})
            for row, entry in enumerate(chunk.entries):
                found = digest({name: rows[row] for name, rows in chunk.weights.items()})
                why = chunk.failures.get(row) or _objection(entry, found)
                digests.append(None if why else found)
                skipped += [Unreadable(entry.name, why)] if why else []
            advance(len(chunk.entries))
        if len(skipped) < len(entries):
            kept = [name if sha256 else None for name, sha256 in zip(names, digests, strict=True)]
            writer.finish(_metadata(network, kept, digests))
    return skipped


def _objection(entry: Entry, found: str) -> str:
    """Why a model that was read is not packed all the same; empty where it is."""
    if not is_name(entry.name):
        return "its name has characters that cannot be printed: rename it"
    if entry.digest and entry.digest != found:
        return "its weights are not those that its pack recorded: it was damaged or altered"
    return ""


def _metadata(network: Network, names: Sequence[str | None], digests: Sequence[str | None]) -> dict[str, str]:
    lists = {"network": network.description, "models": names, "sha256": digests}
    return {"format": FORMAT} | {name: json.dumps(value) for name, value in lists.items()}
