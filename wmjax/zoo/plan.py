"""What an audit asks of whom: fixed before the first question, and written at the head of its journal."""

import dataclasses
import hashlib
import json
import math
from collections import Counter
from collections.abc import Mapping, Sequence
from functools import cached_property

import jax
import numpy as np

from wmjax.devices import on_cpu
from wmjax.errors import UsageError
from wmjax.grounds import Ground
from wmjax.keys import Key
from wmjax.suspects.adapt import adapt
from wmjax.suspects.contract import Network
from wmjax.suspects.ways import outputs_of
from wmjax.text import by
from wmjax.verification.order import Order, draw_order
from wmjax.zoo.header import AuditHeader
from wmjax.zoo.load import cut_chunks
from wmjax.zoo.records import Entry, Unreadable, Zoo
from wmjax.zoo.rounds import FIRST, Questions
from wmjax.zoo.scope import Asked, AskedFamily, Level, adapted, may_clear, stop_bits

_CPU_BYTES = 256 << 20  # of weights read at once; smaller portions lose time to Python
_ACCELERATOR_BYTES = 1 << 30
_MOST_ROWS = 512
_COPIES = 8  # of a chunk in memory: two being read, one being scored, and what scoring takes


@dataclasses.dataclass(frozen=True, eq=False)
class AuditPlan:
    """An audit before it begins.

    Attributes:
      entries: the models, in the order of family and name; null models behind them.
      suspects: how many of the entries are not null models.
      keys: by name.
      level: the bound.
      unreadable: what could not be used so far.
      memory: bytes that models may take.
      keep_answers: whether the journal holds what was answered.
      others: what was passed over, by kind.
      spent: as of `AuditHeader`.
    """

    entries: list[Entry]
    suspects: int
    keys: Mapping[str, Key]
    level: Level
    unreadable: list[Unreadable]
    memory: int
    keep_answers: bool
    others: Mapping[str, int]
    spent: tuple[tuple[int, ...], ...]

    @cached_property
    def families(self) -> list[Network]:
        """The networks, in the order of their first model."""
        return list(dict.fromkeys(entry.network for entry in self.entries))

    @property
    def calibrated(self) -> bool:
        """Whether there are null models, so that keys without exact evidence can match."""
        return self.suspects < len(self.entries)

    def adapted(self, network: Network) -> list[tuple[Ground, ...] | None]:
        """For each key what must be said of how its triggers become the network's images; None: not applicable."""
        return [adapted(key.spec, network) for key in self.keys.values()]

    @cached_property
    def tests(self) -> int:
        """Pairs that may become a match."""
        able = [self.calibrated or key.spec.policy.exact for key in self.keys.values()]
        counts = {
            network: sum(a and how is not None for a, how in zip(able, self.adapted(network), strict=True))
            for network in self.families
        }
        return sum(counts[entry.network] for entry in self.entries[: self.suspects])

    @cached_property
    def counts(self) -> Counter[Network]:
        """Models of each family, null models among them."""
        return Counter(entry.network for entry in self.entries)

    def questions(self, network: Network, *, null: bool = False) -> tuple[list[int], Questions]:
        """What a family is asked, and which keys that are; null models only about keys without exact evidence."""
        places, keys, images, starts, at = [], [], [], [], 0
        for place, (key, how) in enumerate(zip(self.keys.values(), self.adapted(network), strict=True)):
            if how is None or (null and key.spec.policy.exact):
                continue
            places.append(place)
            keys.append(key)
            images.append(adapt(key.images, network.image))
            starts.append(at)
            at += len(key.images)
        return places, Questions(
            keys,
            np.concatenate(images) if images else np.empty((0, *network.image), np.uint8),
            np.array(starts, np.int64),
            np.array([key.commitment.limit for key in keys], np.int64),
            np.array([stop_bits(key.commitment.rule, self.tests, self.level) for key in keys]),
            len(network.readings),
            outputs_of(network.readings),
            self.keep_answers,
            [self._order(place, key) for place, key in zip(places, keys, strict=True)] if any(self.spent) else (),
            withheld=[column for column, key in enumerate(keys) if not may_clear(key.spec, network)],
        )

    def _order(self, place: int, key: Key) -> Order:
        """In which order those are asked about a key who remember nothing: first what was never shown to anybody."""
        return draw_order(key, None, key.commitment.limit, self.spent[place])

    def rows(self, network: Network) -> int:
        """Models of a family in a chunk: a power of two, the same on every machine of a kind with enough memory."""
        count = self.counts[network]
        usual = _CPU_BYTES if on_cpu() else _ACCELERATOR_BYTES
        fitting = min(usual, self.memory // _COPIES) // max(1, network.bytes)
        most = max(1, min(fitting, _MOST_ROWS))
        return min(1 << (most.bit_length() - 1), 1 << (count - 1).bit_length())

    def chunks(self) -> list[list[Entry]]:
        """The entries in the order and in the portions in which they are read and judged."""
        parts = self.entries[: self.suspects], self.entries[self.suspects :]
        return [chunk for part in parts for chunk in cut_chunks(part, self.rows)]

    def header(self) -> AuditHeader:
        """The plan without secrets: what a journal must agree with to be resumed or merged."""
        places = {network: place for place, network in enumerate(self.families)}
        named = Counter(network.name for network in self.families)
        stamps = json.dumps([entry.stamp for entry in self.entries])
        return AuditHeader(
            models=tuple(entry.name for entry in self.entries),
            nulls=len(self.entries) - self.suspects,
            weights=hashlib.sha256(stamps.encode()).hexdigest(),
            keys=tuple(Asked(name, key.commitment) for name, key in self.keys.items()),
            family=tuple(places[entry.network] for entry in self.entries),
            families=tuple(
                AskedFamily(
                    network.name if named[network.name] == 1 else f"{network.name} {network.fingerprint[:8]}",
                    network.fingerprint,
                    network.image,
                    network.classes,
                    network.readings,
                    network.note,
                    network.only,
                )
                for network in self.families
            ),
            level=self.level,
            tests=self.tests,
            chunks=tuple(len(chunk) for chunk in self.chunks()),
            unreadable=tuple(self.unreadable),
            keep_answers=self.keep_answers,
            others=self.others,
            spent=self.spent,
        )


def make_plan(
    zoo: Zoo,
    keys: Mapping[str, Key],
    level: Level,
    memory: int,
    nulls: Sequence[Entry] = (),
    *,
    keep_answers: bool = False,
) -> AuditPlan:
    """A plan for a zoo; what is too large for the memory is listed, not asked. It may hold no model at all.

    Raises:
      UsageError: there is no key.
    """
    if not keys:
        raise UsageError("no key can be opened: give a folder with *.age files, and the identities that open them")
    suspects, too_large = _fitting(zoo.entries, keys, memory)
    innocent, too_large_nulls = _fitting(nulls, keys, memory)
    unreadable = [*zoo.unreadable, *too_large, *too_large_nulls]
    entries = [*suspects, *innocent] if suspects else []  # null models alone calibrate nothing
    spent = tuple(tuple(sorted(key.spent)) for key in keys.values())
    return AuditPlan(entries, len(suspects), keys, level, unreadable, memory, keep_answers, zoo.others, spent)


def _fitting(entries: Sequence[Entry], keys: Mapping[str, Key], memory: int) -> tuple[list[Entry], list[Unreadable]]:
    """The models that the memory allows, and the others with what they need."""
    needs = {network: _needs(network, keys, memory) for network in {entry.network for entry in entries}}
    too_large = [
        Unreadable(entry.name, f"{needs[entry.network]}, `memory` allows {memory >> 20}")
        for entry in entries
        if needs[entry.network]
    ]
    return [entry for entry in entries if not needs[entry.network]], too_large


def _needs(network: Network, keys: Mapping[str, Key], memory: int) -> str:
    """What of a family is more than the memory allows; empty where nothing is."""
    weights = network.bytes * _COPIES
    if weights > memory:
        return f"{network.bytes >> 20} MiB of weights need {weights >> 20} MiB"
    asked = [key.spec.triggers for key in keys.values() if adapted(key.spec, network) is not None]
    images = sum(asked) * math.prod(network.image)  # a hostile model may say that it takes images of any size
    working = 2 * FIRST * min(4, len(keys)) * network.largest * jax.local_device_count()
    if images + working > memory:
        size = by(network.image)
        return f"triggers as images of {size}, and what is computed of them, need {(images + working) >> 20} MiB"
    return ""
