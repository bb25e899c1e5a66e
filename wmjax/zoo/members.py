"""Members of a zoo that a list names: weights whose architecture it tells, and suspects that can only be asked."""

import dataclasses
import hashlib
import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import TypeVar

from wmjax.errors import AccessError, UsageError, WmjaxError
from wmjax.keys import Key
from wmjax.models import FAMILIES
from wmjax.suspects.contract import Askable, Image, Network, NoWeights, Suspect, Wanted, no_logits
from wmjax.suspects.grounds import AskedGround
from wmjax.suspects.links import absolute
from wmjax.suspects.listing import Listed, read_list
from wmjax.suspects.process import start
from wmjax.suspects.recognise import located
from wmjax.suspects.stored import find_kinds
from wmjax.text import by
from wmjax.zoo.records import Entry, Unreadable, stamp

_Value = TypeVar("_Value")
_GIVE_IT = "it is imported only from a list that you name yourself: give this one by `suspects`"


@dataclasses.dataclass(frozen=True)
class Members:
    """What a list adds to a zoo.

    Attributes:
      entries: its members.
      unreadable: those that cannot be used.
      claimed: files and folders that are its members' and no others.
    """

    entries: tuple[Entry, ...] = ()
    unreadable: tuple[Unreadable, ...] = ()
    claimed: frozenset[Path] = frozenset()


def read_members(
    file: Path, name: str, wanted: Wanted, keys: Mapping[str, Key] | None = None, max_queries: int | None = None
) -> Members:
    """The members that a list names; one that cannot be used is a line of its own.

    Args:
      file: the list.
      name: of the list, as members are called after it: `NAME:MEMBER`.
      wanted: what files do not say; a module is imported only where the user named it.
      keys: what members will be asked, where the user named the list; None where a walk found it: then nothing that it
        names is imported.
      max_queries: questions that a member may be asked in this run, where it can only be asked.

    Raises:
      AccessError, UsageError: as `read_list`.
    """
    entries, unreadable, claimed = [], [], {file.resolve()}
    for listed in read_list(file):
        called = f"{name}:{listed.name}"
        try:
            if listed.kind == "path":
                found, own = _stored(file.resolve().parent, listed, called, wanted, trusted=keys is not None)
                entries += found
                claimed |= own
            else:
                entries.append(_askable(file.resolve().parent, listed, called, keys, max_queries))
        except WmjaxError as error:
            unreadable.append(Unreadable(called, str(error)))
        except OSError as error:  # a path that the system does not take
            unreadable.append(Unreadable(called, f"cannot be read: {error.strerror or type(error).__name__}"))
    return Members(tuple(entries), tuple(unreadable), frozenset(claimed))


def _stored(
    folder: Path, listed: Listed, called: str, wanted: Wanted, *, trusted: bool
) -> tuple[list[Entry], set[Path]]:
    """A member that lies in files, in each of its kinds, and what of the folder is its alone: nothing hides there."""
    path, member = located(str(folder / listed.path))
    if not path.resolve().is_relative_to(folder) or path.resolve() == folder:
        raise UsageError(f"{listed.path:.200} is not in the folder of its list: copy it there")
    if listed.model and not trusted and listed.model not in (*FAMILIES, *wanted.models):
        raise UsageError(f"it is of {listed.model:.80}: {_GIVE_IT}")
    try:
        named = str(absolute(path)) + (f":{member}" if member else "")
        others = () if trusted and listed.model else wanted.models  # a stranger's list does not choose among yours
        models = tuple(dict.fromkeys((listed.model, *others))) if listed.model else others
        images = (listed.image,) if listed.image else wanted.images
        found = find_kinds(named, dataclasses.replace(wanted, models=models, images=images))
    except WmjaxError as error:
        raise error.saying(str(error).replace(f"{folder}/", "")) from error
    alone = not member and all(stored.path == absolute(path) for stored in found)
    entries = []
    for stored in found:
        named = f"{called}:{stored.name.removeprefix(f'{member}:')}" if len(found) > 1 else called
        stamped = stamp(stored.held, *stored.parts)
        entries.append(Entry(named, stored.network, stored.source, stored.row, stored.digest, stamped))
    return entries, {absolute(path), path.resolve()} if alone else set()


def _askable(folder: Path, listed: Listed, called: str, keys: Mapping[str, Key] | None, most: int | None) -> Entry:
    """A member that can only be asked: a family of its own, without weights."""
    if keys is None:
        raise UsageError(f"{listed.call or listed.service}: {_GIVE_IT}")
    specs = [key.spec for key in keys.values()]
    image = listed.image or _only({spec.image for spec in specs}, "images of several sizes", "image = [32, 32, 3]")
    classes = listed.classes or _only({spec.classes for spec in specs}, "several numbers of classes", "classes = 10")
    if listed.service:
        suspect, timeout = _served(folder, listed, image, classes)
    else:
        timeout = listed.timeout
        ask = start(listed.call, listed.name, timeout=timeout, first=timeout, at_once=listed.concurrency)
        suspect = Suspect(listed.name, ask, image, classes, note=AskedGround.ASKED)
    told = json.dumps({**dataclasses.asdict(listed), "image": image, "classes": classes})
    sha256 = hashlib.sha256(told.encode()).hexdigest()
    askable = Askable(suspect, timeout, listed.concurrency, listed.call or listed.service, most)
    network = Network(f"asked {by(image)}", sha256, {}, no_logits, image, classes, note=suspect.note, askable=askable)
    return Entry(called, network, NoWeights(), stamp=sha256)


def _served(folder: Path, listed: Listed, image: Image, classes: int) -> tuple[Suspect, float]:
    """A service of a list, met with a plain picture if it is there, and the seconds that a question may take in all."""
    from wmjax.suspects.services.labels import read_labels
    from wmjax.suspects.services.service import Service

    labels = read_labels(folder / listed.labels) if listed.labels else ()
    token = os.environ.get(listed.token, "") if listed.token else ""
    if listed.token and not token:
        raise UsageError(f"the variable {listed.token}, which holds its token, is not set")
    known = Wanted(images=(image,), classes=(classes,), pixels=listed.pixels, labels=labels, token=token)
    service = Service(listed.service, known, listed.timeout, listed.concurrency)
    try:
        service.meet(image)
    except AccessError:  # the audit begins; it is told as one that could not be asked, unless it is there by then
        service.exactly()
    suspect = dataclasses.replace(service.suspect(), name=listed.name, image=image, classes=classes, reading="")
    return suspect, service.limit


def _only(values: set[_Value], several: str, said: str) -> _Value:
    """The one value that all keys have."""
    if len(values) != 1:
        raise UsageError(f"the keys are for {several}: say in the list which it has, e.g. {said}")
    return next(iter(values))
