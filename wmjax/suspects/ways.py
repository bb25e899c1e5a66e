"""The readings of a file by name: each way to prepare its pixels with each output that may hold its scores."""

from collections.abc import Sequence

_OUTPUT = "output "  # in no name of a way


def readings(ways: Sequence[str], outputs: Sequence[str]) -> tuple[str, ...]:
    """The names of each way to prepare pixels with each of the outputs.

    >>> readings(["0..1"], ["logits", "aux"]), readings(["0..1", "0..255"], ["logits"])
    (('0..1, output logits', '0..1, output aux'), ('0..1', '0..255'))
    """
    if len(outputs) == 1:
        return tuple(ways)
    return tuple(f"{way}, {_OUTPUT}{name}".removeprefix(", ") for way in ways for name in outputs)


def outputs_of(readings: Sequence[str]) -> int:
    """How many outputs readings are of; after each way come all of them.

    The ways are counted, since their names are ours; those of outputs are a stranger's.

    >>> outputs_of(readings(["0..1", "0..255"], ["logits", "logits"])), outputs_of(["0..1", "0..255"]), outputs_of([""])
    (2, 1, 1)
    """
    return len(readings) // len({name.partition(_OUTPUT)[0] for name in readings})
