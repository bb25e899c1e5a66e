"""What a zoo holds: a walk over a folder that recognises models and reports everything else that looks like one.

Links are followed to files of the zoo alone, each file is one model under the first name that it is met by, and nothing
that the walk meets stops it.
"""

import contextlib
import os
import re
from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from wmjax import checkpoint, orbax
from wmjax.errors import AccessError, WmjaxError
from wmjax.stores import check, unmirrored
from wmjax.suspects import recognise
from wmjax.suspects.contract import Stored, Wanted
from wmjax.suspects.described import configurations
from wmjax.suspects.files import in_file
from wmjax.suspects.formats.orbax_items import AGGREGATE
from wmjax.suspects.kinds import Format, parts
from wmjax.suspects.links import absolute, bounds, target
from wmjax.suspects.listing import FILE
from wmjax.suspects.sniff import NEVER_THERE, kind_of
from wmjax.suspects.within import DOCUMENTS, is_small, strangers
from wmjax.zoo.members import Members, read_members
from wmjax.zoo.records import Entry, Unreadable, Zoo, stamp

_KEPT = "of an optimiser's, with weights' shapes"
_OLDER = "of runs' older checkpoints, which are asked where they are named"
_PART = "with what a model keeps beside it"
_BLOBS = "blobs"
_TENSOR = (".zarray", "zarr.json")
_PARTS = {"orbax.checkpoint", "manifest.ocdbt"}  # of an Orbax folder that lacks its description


def discover(folder: Path, wanted: Wanted, members: Members | None = None) -> Zoo:
    """Finds the models of a zoo; no weight is read.

    Args:
      folder: of the zoo; a checkpoint or file is a zoo of one.
      wanted: what files do not say of themselves.
      members: those of a list that the user named.

    Raises:
      UsageError: one of its models is not an architecture.
      AccessError: the folder does not exist.
    """
    recognise.check(wanted)
    if not folder.exists():
        raise AccessError(f"{folder} does not exist: give a folder of models")
    walk = _Walk(folder, wanted)
    if members:
        walk.join(members)
    walk.run()
    check()
    return walk.zoo()


def shown(name: str) -> str:
    """A path fit for a line of text; two that differ stay different.

    >>> shown("a\\nb\\udc80")
    'a\\\\nb\\\\x80'
    """
    return "".join(c if c.isprintable() and c != "\\" else _escaped(c) for c in name)


def _escaped(c: str) -> str:
    if 0xDC80 <= ord(c) <= 0xDCFF:  # a byte of the name that is not UTF-8
        return f"\\x{ord(c) - 0xDC00:02x}"
    return c.encode("unicode_escape", "surrogatepass").decode()


class _Walk:
    """A walk and what it has found: entries with the path that holds them."""

    def __init__(self, named: Path, wanted: Wanted):
        self.wanted, self.called = wanted, absolute(named).name
        self.root = named.resolve() if named.is_dir() else absolute(named)  # who names a path answers for it
        self.bounds = bounds(self.root)
        self.found: list[tuple[str, Entry]] = []
        self.unreadable: list[Unreadable] = []
        self.refused: list[tuple[Path, str]] = []
        self.plain: list[Path] = []  # files that are not models
        self.older = 0  # checkpoints of runs that are passed over
        self.passed: dict[str, int] = {}  # sets of weights that an optimiser keeps, by their path
        self.claimed: set[Path] = set()  # by lists: files and checkpoints that are asked already
        self.parts: set[Path] = set()  # of models of several files
        self.shards: set[Path] = set()  # those of which an index names every tensor
        self.described: set[Path] = set()  # configurations of models
        self.looked: set[str] = set()  # paths without links
        self.told: set[tuple[str, ...]] = set()  # and what lay beside them that says more
        self.joint: set[str] = set()  # those that were a model together with parts
        self.models: set[tuple[str, ...]] = set()  # a file and its parts

    def join(self, members: Members) -> None:
        """Adds what a list names."""
        self.found += [(entry.name, entry) for entry in members.entries]
        self.unreadable += members.unreadable
        self.claimed |= members.claimed
        self.looked |= set(map(str, members.claimed))

    def run(self) -> None:
        if not self.root.is_dir():
            self._guard(self.root, self._file, self.root, os.path.realpath(self.root))
            return
        folders = [self.root]
        while folders:  # a stack: folders may be nested deeper than Python's calls
            folder = folders.pop()
            self._guard(folder, self._folder, folder, folders)

    def zoo(self) -> Zoo:
        """What was found, in order."""
        found = sorted(self.found, key=lambda at: (at[1].network.name, at[1].network.fingerprint, at[0], at[1].row))
        refused = [Unreadable(self._name(path), why) for path, why in self.refused if not self._is_part(path)]
        names = Counter(entry.name for _, entry in self.found)
        alike = [Unreadable(name, f"{n} models are called so: rename a file") for name, n in names.items() if n > 1]
        unreadable = sorted([*self.unreadable, *refused, *alike], key=lambda item: item.path)
        known = self.parts | self.described
        others = Counter(_ending(path) for path in self.plain if path not in known)
        others.update({_KEPT: passed} if (passed := sum(self.passed.values())) else {})
        others.update({_OLDER: self.older} if self.older else {})
        parts = sum(path not in self.shards and self._is_part(path) for path, _ in self.refused)
        others.update({_PART: parts} if parts else {})  # of which may be read what little a model names
        return Zoo([entry for _, entry in found], unreadable, dict(sorted(others.items())))

    def _is_part(self, path: Path) -> bool:
        """Whether a file is part of a model, and nothing that could be another one."""
        if path in self.parts:
            with contextlib.suppress(WmjaxError):
                return kind_of(path) is Format.UNKNOWN or path in self.shards
        return False

    def _name(self, path: Path) -> str:
        return shown(str(path.relative_to(self.root)) if path != self.root else self.called)

    def _refuse(self, path: Path, why: str) -> None:
        self.refused.append((path, why))

    def _guard(self, path: Path, look: Callable[..., None], *arguments: Any) -> None:
        """What cannot be used is a line of its own, under the name of `path`."""
        try:
            look(*arguments)
        except WmjaxError as error:
            why = unmirrored(str(error).removeprefix(str(arguments[0])))
            self._refuse(path, shown(re.sub("^:? (is )?", "", why)))
        except OSError as error:
            self._refuse(path, f"cannot be read: {error.strerror or type(error).__name__}")

    def _folder(self, folder: Path, later: list[Path]) -> None:
        """Looks at one folder; those within that are to be walked go on top of the stack `later`."""
        with os.scandir(folder) as scanned:
            entries = {entry.name: entry for entry in sorted(scanned, key=lambda entry: entry.name)}
        files = {name for name, entry in entries.items() if entry.is_file(follow_symlinks=False)}
        if FILE in files and folder / FILE not in self.claimed:
            self._guard(folder / FILE, self._list, folder / FILE)
        entries = {
            name: entry
            for name, entry in entries.items()
            if folder / name not in self.claimed or entry.is_dir(follow_symlinks=False)  # there more may lie beside
        }
        files &= entries.keys()
        if recognise.TEMPORARY in folder.name:
            self._refuse(folder, recognise.INTERRUPTED)
            return
        folders = [folder / name for name, entry in entries.items() if entry.is_dir(follow_symlinks=False)]
        told = entries.keys() & {orbax.CHECKPOINT, orbax.ITEM, *_PARTS}
        parts = {name for name in told if os.path.isfile(folder / name)}  # a cache's are links
        if parts & {orbax.CHECKPOINT, orbax.ITEM}:
            self.described |= {folder / name for name in DOCUMENTS}
            if folder not in self.claimed:
                self._guard(folder, self._checkpoint, folder, folder)
            folders = self._beside(folder, folders, later)
            if orbax.ITEM in parts:  # it has been looked at as the checkpoint's
                entries.pop(AGGREGATE, None)
        elif parts & _PARTS:
            self._refuse(folder, "a half-written or damaged checkpoint: its description is missing")
            folders = self._beside(folder, folders, later)
        steps = sorted((path for path in folders if recognise.is_step(path)), key=checkpoint.step_of)
        if steps and checkpoint.is_run(folder) and all(map(recognise.is_wmjax, steps)):
            for step in steps:
                self._within(step, later, checkpoints=False)
            folders = [path for path in folders if path not in steps]
            self.older += len(steps) - 1
            self._guard(folder, self._checkpoint, steps[-1], folder)
        for name, entry in entries.items():
            path = folder / name
            if entry.is_symlink():
                self._guard(path, self._link, path)
            elif name in files:
                if path not in self.described or not is_small(path):
                    self._guard(path, self._file, path, str(path))
            elif not entry.is_dir():
                self._refuse(path, "not a regular file")
        if "snapshots" in entries and folder / _BLOBS in folders:  # of a Hugging Face cache: links name them
            folders.remove(folder / _BLOBS)
            later.insert(0, folder / _BLOBS)
        later.extend(reversed(folders))

    def _beside(self, folder: Path, folders: Sequence[Path], later: list[Path]) -> list[Path]:
        """Subfolders of a checkpoint that are to be walked; in those of its own only what is not part of it."""
        beside = _beside_checkpoint(folder, folders)
        for own in sorted(set(folders) - set(beside)):
            self._within(own, later, checkpoints=True)
        return beside

    def _within(self, folder: Path, later: list[Path], *, checkpoints: bool) -> None:
        for path in strangers(folder, checkpoints=checkpoints):
            if path.is_symlink():
                self._guard(path, self._link, path)
            elif path.is_dir():
                later.append(path)
            else:
                self._guard(path, self._file, path, str(path))

    def _link(self, path: Path) -> None:
        """A link to a file of the zoo is looked at; folders of the zoo are walked under their own names."""
        real = target(path)
        if real.is_dir() and path.is_relative_to(real):
            self._refuse(path, "a link to a folder that it lies in")
        elif not real.is_relative_to(self.root if real.is_dir() else self.bounds):
            self._refuse(path, "a link out of the zoo: put what it points to into the zoo")
        elif not real.is_dir():
            self._file(path, str(real))

    def _list(self, file: Path) -> None:
        self.join(read_members(file, self._name(file), self.wanted))

    def _checkpoint(self, path: Path, named: Path) -> None:
        """An Orbax checkpoint, under the name of the folder `named`."""
        for stored in recognise.in_checkpoint(path, self.wanted):
            self._add(named, stored)

    def _file(self, path: Path, real: str) -> None:
        """Looks at a file once; at one that `path` links to again where files there say more, or are its parts."""
        beside = [os.path.realpath(other) for other in configurations(path) if other.exists()]
        told = (real, *beside)
        same = (told in self.told or not beside) and (real == str(path) or real not in self.joint)
        if real in self.looked and (same or Path(real) in self.claimed):
            return
        self.looked.add(real)
        self.told.add(told)
        try:
            found = in_file(path, self.wanted)
        except WmjaxError:
            self.parts |= set(parts(path, kind_of(path)))
            if real != str(path) and Path(real).parent.name != _BLOBS:
                self.looked.discard(real)  # under its own name it may have its parts beside it
            raise
        own = {part for stored in found for part in stored.parts}
        model = (*told, *sorted(os.path.realpath(part) for part in own))
        for stored in found if model not in self.models else []:
            self._add(path, stored)
        self.models.add(model)
        self.parts |= own
        if own:
            self.joint.add(real)
            self.shards |= own if kind_of(path) is Format.INDEX else set()
        if found:
            self.described.update(configurations(path))
        elif path == self.root:
            self._refuse(path, "no model")
        else:
            self.plain.append(path)

    def _add(self, path: Path, stored: Stored) -> None:
        folder = self._name(path)
        self.passed[folder] = stored.passed
        if stored.left and (path, stored.left) not in self.refused:
            self._refuse(path, shown(stored.left))
        name = f"{folder}:{stored.name}" if stored.name else folder
        entry = Entry(name, stored.network, stored.source, stored.row, stored.digest, stamp(stored.held, *stored.parts))
        self.found.append((folder, entry))


def _beside_checkpoint(folder: Path, folders: Sequence[Path]) -> list[Path]:
    """Subfolders of a foreign checkpoint that do not belong to it; they may contain models."""
    parts = {path.name for path in orbax.items(folder)} | {"d", "array_metadatas"}
    return [
        path
        for path in folders
        if path.name not in parts and not path.name.startswith("ocdbt.process_") and not _is_tensor(path)
    ]


def _is_tensor(folder: Path) -> bool:
    """Whether a folder is one tensor of a checkpoint."""
    return any((folder / name).is_file() for name in _TENSOR)


def _ending(path: Path) -> str:
    """A file's ending where it is a usual one."""
    if NEVER_THERE in path.parts:
        return "empty"
    if ending := path.suffix.lower():
        return ending if re.fullmatch(r"\.[a-z0-9_+-]{1,12}", ending) else "with another ending"
    return "without an ending"
