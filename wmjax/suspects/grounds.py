"""What must be said of how a suspect was asked, as codes with values."""

import math
from collections.abc import Sequence
from enum import StrEnum
from typing import Any

from wmjax.grounds import Ground
from wmjax.text import is_name


class AskedGround(StrEnum):
    """How a suspect was asked, where not with the key's own triggers as wmjax's own networks are.

    ADAPTED (`from`, `to`: shapes of triggers and of what was asked): resized, or without their colours, which clears
    nobody; COLOURED (the same): grey, in three equal channels; OTHER_CLASSES (`theirs`, `ours`: how many it tells
    apart, and the key); MORE_CLASSES (the same): by two or more, which clears nobody; OTHER_NAMES (`names`: how
    many it used that are not classes of the key's); ASKED: through a function, not its weights; SERVED: over a
    network, as a service; SERVED_JPEG: as one that takes JPEG alone, which clears nobody; RUN: by the library that
    runs its file, in a process of its own; WEIGHTS_ALONE: of a file that holds a program by its tensors, in the
    network that the user named, which clears nobody; IN_PART: by some of its file's outputs or weights, or by one
    file of a folder, while others may hold a copy, or beside other images of a batch alone, on which its answers may
    rest, or by rows of numbers or whole numbers that are not bytes, which may stand for something else, which clears
    nobody; RUN_IN_PART: RUN and that; OPEN_SIZE: at the key's size, since its file leaves open for
    which it is meant, which clears nobody; PIXELS_OWN: prepared as the module itself says; READ_AS (`reading`): in
    this one of several ways; WAYS (`ways`, `cost`): in all that it may be meant to be, since the user did not say how;
    READINGS (`ways`, `reading`): of them one shows the most evidence.
    """

    ADAPTED = "adapted"
    COLOURED = "coloured"
    OTHER_CLASSES = "other-classes"
    MORE_CLASSES = "more-classes"
    OTHER_NAMES = "other-names"
    ASKED = "asked"
    SERVED = "served"
    SERVED_JPEG = "served-jpeg"
    RUN = "run"
    WEIGHTS_ALONE = "weights-alone"
    IN_PART = "in-part"
    RUN_IN_PART = "run-in-part"
    OPEN_SIZE = "open-size"
    PIXELS_OWN = "pixels-own"
    READ_AS = "read-as"
    WAYS = "ways"
    READINGS = "readings"


SPOKEN = (AskedGround.ASKED, AskedGround.SERVED, AskedGround.SERVED_JPEG)
"""Of suspects that can only be asked, picture by picture."""
RAN = (AskedGround.RUN, AskedGround.RUN_IN_PART)
"""Of suspects whose files another program runs: no weight of theirs is read."""
_CLEARS_NOBODY = (
    *(AskedGround.SERVED_JPEG, AskedGround.ADAPTED),  # pictures were altered
    *(AskedGround.WEIGHTS_ALONE, AskedGround.IN_PART, AskedGround.RUN_IN_PART),  # something was left out
    AskedGround.OPEN_SIZE,  # its users may show it larger pictures
    AskedGround.MORE_CLASSES,  # by any kind of evidence: another network's may be among them
)


def clears(code: str) -> bool:
    """Whether a suspect that is asked so may be cleared: not where its pictures were altered, or some of it left out.

    Nor where their size is a guess: a graph of any size may average 3x3 pixels first, and expect three times as many.

    How many labels a copy loses by that is nobody's to say beforehand, so that it would pass for a stranger: of a noise
    key's triggers of 8x8, asked as 4x4, an intact copy repeats 14 to 16 of 100, and every other time would be acquitted
    (`experiments/evidence/resized.py`). A program may have its weights elsewhere, and strangers' tensors beside them; a
    graph its answers in another output than that which looks like them.
    """
    return code not in _CLEARS_NOBODY


def clears_all(grounds: Sequence[Ground]) -> bool:
    """Whether a suspect may be cleared that is asked with all this said of it."""
    return all(clears(ground.code) for ground in grounds)


_NOTES = (
    *(*SPOKEN, *RAN, AskedGround.WEIGHTS_ALONE, AskedGround.IN_PART),
    *(AskedGround.OPEN_SIZE, AskedGround.PIXELS_OWN),
)
_TOLD: dict[str, set[str]] = {  # names of values, by code
    **{note: set() for note in _NOTES},
    AskedGround.ADAPTED: {"from", "to"},
    AskedGround.COLOURED: {"from", "to"},
    AskedGround.READ_AS: {"reading"},
}


def read_told(values: Any) -> tuple[Ground, ...]:
    """What a file says of how a suspect was asked in one way, read back.

    >>> read_told([{"code": "served-jpeg"}, {"code": "read-as", "reading": "0..1"}])[1].values
    {'reading': '0..1'}

    Args:
      values: of the JSON document.

    Raises:
      ValueError: it is none of what `Suspect.grounds` gives.
    """
    if type(values) is not list or len({value.get("code") for value in values}) < len(values):
        raise ValueError("no list of different grounds")
    grounds = tuple(map(Ground.from_json, values))
    for ground in grounds:
        if _TOLD.get(ground.code) != set(ground.values) or not all(map(is_name, ground.values.values())):
            raise ValueError("no such ground")
    return grounds


def asked_as(note: str, ways: Sequence[str]) -> tuple[Ground, ...]:
    """What must be said of how a network is asked.

    >>> [ground.code for ground in asked_as("", ["0..1"])], asked_as("", [""])
    ([<AskedGround.READ_AS: 'read-as'>], ())

    Args:
      note: code of its own, empty where there is none.
      ways: in which it is asked; a single empty one where there is no doubt.
    """
    noted = [Ground(AskedGround(note))] if note else []
    if len(ways) > 1:
        noted.append(Ground(AskedGround.WAYS, {"ways": len(ways), "cost": round(math.log2(len(ways)), 3)}))
    elif ways[0]:
        noted.append(Ground(AskedGround.READ_AS, {"reading": ways[0]}))
    return tuple(noted)


def readings(ways: Sequence[str], reading: int) -> tuple[Ground, ...]:
    """What must be said of the answers of a suspect that was asked in several ways.

    >>> readings(["0..1", "0..255"], 1)[0].to_json()
    {'code': 'readings', 'ways': 2, 'reading': '0..255'}

    Args:
      ways: in which it was asked.
      reading: which of them shows the most evidence.
    """
    if len(ways) < 2:
        return ()
    return (Ground(AskedGround.READINGS, {"ways": len(ways), "reading": ways[reading]}),)
