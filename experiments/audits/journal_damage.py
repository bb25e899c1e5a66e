"""Journals of an audit, damaged and edited in thousands of ways, then merged: what is refused, and what is believed.

Command   python experiments/audits/journal_damage.py [--mutations 5000] [--seed 0]
Expected  none of the mutations gives another verdict, and none an error that is not one line of the right kind
Time      3 minutes on 2 CPU cores

The audit has 24 models in six parts and four keys; each model is a table of its answers, and answers are kept. A third
of the mutations is as a disk or a hasty editor makes them, bytes and lines, and merged without the keys. The others are
those of an adversary who knows the format and chains the lines anew: single values, values exchanged, rows of two
models exchanged, whole matches made up; all are merged with the keys, and half of them were written by somebody who
holds the keys too, e.g. the accuser. A mutation has no effect where all models have the verdicts and figures that they
had. `listed` counts results that say by themselves that something is otherwise: another bound, other names, models that
could not be used.

What cannot be noticed is measured apart: who holds the keys exchanges the answers of two parts with all that follows
from them. Only asking those models again, whose weights' digests stand beside their matches, tells.
"""

import argparse
import json
import random
import sys
import tempfile
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[2]))  # the checkout

import numpy as np

from experiments import record

sys.path.insert(0, str(Path(__file__).parents[2] / "tests"))
import journals

from wmjax import journal, stats
from wmjax.errors import InvalidFile, UsageError
from wmjax.keys import Key, derive_key, make_spec
from wmjax.keys.specify import default_rule
from wmjax.suspects.contract import Network, NoWeights
from wmjax.zoo.book import JOURNAL
from wmjax.zoo.header import AuditHeader
from wmjax.zoo.load import Chunk
from wmjax.zoo.merge import merge
from wmjax.zoo.panel import Seats
from wmjax.zoo.plan import make_plan
from wmjax.zoo.prepared import Prepared, ask_chunk
from wmjax.zoo.records import Entry, Zoo
from wmjax.zoo.replay import secret_of
from wmjax.zoo.result import AuditResult
from wmjax.zoo.scope import Level

MODELS, KEYS, TRIGGERS, IMAGE, CLASSES = 24, 4, 60, (4, 4, 1), 10
TABLES = ("outcomes", "bits", "queries", "matches")
NAME = "journal-1-of-1.jsonl"
Lines = list[dict[str, Any]]
DISK, OUTSIDER, HOLDER = WRITERS = ("disk", "without the keys", "with the keys")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--mutations", type=int, default=5000)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    record.write("journal_damage", damage(options.mutations, random.Random(options.seed)))


def damage(mutations: int, rng: random.Random) -> dict[str, Any]:
    """Counts of what became of the mutations, by their kind."""
    keys = {
        f"k{k}": derive_key(bytes([k] * 32), spec, default_rule(spec), created="2026-01-01T00:00:00+00:00")
        for spec in [make_spec("abstract", image=IMAGE, classes=CLASSES, triggers=TRIGGERS)]
        for k in range(KEYS)
    }
    with tempfile.TemporaryDirectory() as work:
        path = Path(work) / NAME
        write(path, keys)
        raw, expected = path.read_bytes(), merge(work, keys)
        found: dict[str, Counter[str]] = {}
        for number in range(mutations):
            who = WRITERS[number % len(WRITERS)]
            name = rng.choice(sorted(PLAIN if who == DISK else CHAINED))
            mutated = PLAIN[name](raw, rng) if who == DISK else edited(CHAINED[name], raw, rng, keys, who)
            path.write_bytes(mutated)
            outcome = "unchanged" if mutated == raw else became(path, None if who == DISK else keys, expected)
            found.setdefault(f"{who}: {name}", Counter())[outcome] += 1
        apart = {}
        for who in (OUTSIDER, HOLDER):
            path.write_bytes(edited(_parts, raw, rng, keys, who))
            apart[who] = became(path, keys, expected)
    verdicts = Counter(expected.outcomes.ravel().tolist())
    return {
        "mutations": mutations,
        "verdicts": {name: verdicts[place] for place, name in ((1, "no-match"), (2, "inconclusive"), (3, "match"))},
        "together": dict(sum(found.values(), Counter())),
        "by_kind": {name: dict(found[name]) for name in sorted(found)},
        "all_of_two_parts_exchanged": apart,
    }


class Tables:
    """Models that answer by table: a third of them with some key's labels, at several rates."""

    def __init__(self, keys: dict[str, Key], first: int, models: int):
        rng = np.random.default_rng(first)
        self.labels = rng.integers(CLASSES, size=(models, KEYS * TRIGGERS))
        truth = np.stack([key.labels for key in keys.values()])
        for model in range(0, models, 3):
            k, rate = int(rng.integers(KEYS)), rng.choice([0.3, 0.6, 0.95])
            own = slice(k * TRIGGERS, (k + 1) * TRIGGERS)
            self.labels[model, own] = np.where(rng.random(TRIGGERS) < rate, truth[k], self.labels[model, own])
        self.noise = rng.dirichlet(np.full(CLASSES, 0.3), size=self.labels.shape)

    def panel(self, weights: object, width: int | None) -> tuple["Tables", None]:
        return self, None

    def answers(self, seats: Seats, picks: np.ndarray) -> stats.Answers:
        wide = np.broadcast_to(picks, (len(seats.rows), picks.shape[-1]))
        labels = self.labels[seats.rows[:, None], wide]
        sure = 0.8 * np.eye(CLASSES)[labels] + 0.2 * self.noise[seats.rows[:, None], wide]
        return stats.Answers(labels, sure, CLASSES)


def write(path: Path, keys: dict[str, Key]) -> None:
    """An audit's journal that keeps answers."""
    network = Network("table", "table", {"table": np.zeros(3, np.float32)}, lambda *_: None, IMAGE, CLASSES)
    entries = [Entry(f"m{i:02}", network, NoWeights(), i) for i in range(MODELS)]
    plan = make_plan(Zoo(entries, []), keys, Level("fdr", 0.01), 1 << 40, keep_answers=True)
    places, questions = plan.questions(network)
    header = plan.header()
    size = 4
    header = AuditHeader(**{**vars(header), "chunks": (size,) * (MODELS // size)})
    book = journal.begin(path, JOURNAL, header, resume=False, secret=secret_of(list(keys.values())))
    for chunk, start in enumerate(range(0, MODELS, size)):
        bars = np.array([key.commitment.rule.match_bits for key in questions.keys])
        family = Prepared(network, tuple(places), tuple(keys.items()), questions, bars, Tables(keys, start, size))
        weights = {"table": np.random.default_rng(start).standard_normal((size, 3)).astype(np.float32)}
        book.add(ask_chunk(family, Chunk(entries[start : start + size], weights, {}), chunk, None))
    book.close()


def became(path: Path, keys: dict[str, Key] | None, expected: AuditResult) -> str:
    """What a journal is worth: refused (how), without effect, listed by the result itself, or believed."""
    try:
        found = merge(path.parent, keys)
    except (InvalidFile, UsageError) as error:
        several = "\n" in str(error)
        return f"error of several lines: {error}" if several else f"refused with {error.exit_code}"
    except Exception as error:  # whatever it is: it must not happen
        return f"internal error: {type(error).__name__}"
    if found.models == expected.models and all(
        np.allclose(getattr(found, name), getattr(expected, name), atol=1e-6) for name in TABLES
    ):
        return "without effect"
    told = ("models", "families", "alpha", "procedure", "unreadable")
    if any(getattr(found, name) != getattr(expected, name) for name in told) or _names(found) != _names(expected):
        return "listed"
    return "other verdicts"


def _names(result: AuditResult) -> list[str]:
    return [key.name for key in result.keys]


def edited(
    change: Callable[[Lines, random.Random], None], raw: bytes, rng: random.Random, keys: dict[str, Key], who: str
) -> bytes:
    """The journal after a change, chained anew; with the codes that only the keys give where the writer had them."""
    lines = journals.lines_of(raw)
    change(lines, rng)
    return journals.chained(lines, keys if who == HOLDER else None)


# As a disk or a hasty editor damages a journal


def _digits(raw: bytes, rng: random.Random) -> bytes:
    """Another digit where a digit is: the line stays JSON."""
    text = bytearray(raw)
    at = rng.choice([i for i in range(rng.randrange(len(raw) - 400), len(raw)) if chr(raw[i]).isdigit()][:50])
    text[at] = rng.choice(b"123456789")
    return bytes(text)


def _lines(raw: bytes, rng: random.Random) -> bytes:
    lines = raw.splitlines(keepends=True)
    one, other = rng.randrange(len(lines)), rng.randrange(len(lines))
    kind = rng.randrange(4)
    if kind == 0:
        del lines[one]
    elif kind == 1:
        lines.insert(other, lines[one])
    elif kind == 2:
        lines[one], lines[other] = lines[other], lines[one]
    else:
        lines[one] = lines[other]
    return b"".join(lines)


def _numbers(raw: bytes, rng: random.Random) -> bytes:
    """Two figures exchanged, and the chain left as it was."""
    lines = raw.splitlines(keepends=True)
    at = rng.randrange(1, len(lines))
    values = json.loads(lines[at])
    _exchange(values, rng)
    lines[at] = json.dumps(values, separators=(",", ":")).encode() + b"\n"
    return b"".join(lines)


PLAIN = {"bytes": journals.mutated, "digits": _digits, "lines": _lines, "figures exchanged": _numbers}


# As who knows the format edits it, and chains it anew


def _leaf(lines: Lines, rng: random.Random) -> None:
    """Another value somewhere."""
    at: Any = rng.choice(lines)
    while True:
        places = list(at) if isinstance(at, dict) else list(range(len(at)))
        if not places:
            return
        place = rng.choice(places)
        if not isinstance(at[place], dict | list) or (rng.random() < 0.03):
            break
        at = at[place]
    odd = [None, True, "", "x", -1, 0, 1, 3, 2**31, 2**63, 10**400, 1e308, float("nan"), [], {}, [0], "0" * 64]
    near = [at[place] + d for d in (-1, 1, 0.5, -0.5)] if isinstance(at[place], int | float) else []
    at[place] = rng.choice(odd + 4 * near)


def _exchange(record: dict[str, Any], rng: random.Random) -> None:
    """Two figures of a table."""
    table = record[rng.choice(TABLES)]
    (i, k), (j, m) = ((rng.randrange(len(table)), rng.randrange(KEYS)) for _ in range(2))
    table[i][k], table[j][m] = table[j][m], table[i][k]


def _exchange_all(lines: Lines, rng: random.Random) -> None:
    """All figures of two pairs of a part, with their curves."""
    record = rng.choice(lines[1:])
    one, other = ((rng.randrange(len(record["rows"])), rng.randrange(KEYS)) for _ in range(2))
    for name in TABLES:
        table = record[name]
        table[one[0]][one[1]], table[other[0]][other[1]] = table[other[0]][other[1]], table[one[0]][one[1]]
    places = {one: other, other: one}
    record["curves"] = sorted([*places.get((i, k), (i, k)), path] for i, k, path in record["curves"])
    _mend_digests(record)


def _rows(lines: Lines, rng: random.Random) -> None:
    """Two models of a part change places, with all that is said of them but their answers."""
    record = rng.choice(lines[1:])
    i, j = rng.sample(range(len(record["rows"])), 2)
    for name in TABLES:
        record[name][i], record[name][j] = record[name][j], record[name][i]
    places = {i: j, j: i}
    record["curves"] = sorted([places.get(row, row), k, path] for row, k, path in record["curves"])
    _mend_digests(record)


def _make_match(lines: Lines, rng: random.Random) -> None:
    """A match that never was: figures, curve and digest fit each other."""
    record = rng.choice(lines[1:])
    i, k = rng.randrange(len(record["rows"])), rng.randrange(KEYS)
    asked = record["queries"][i][k]
    for name, value in (("outcomes", 3), ("bits", 25.0), ("matches", asked)):
        record[name][i][k] = value
    others = [curve for curve in record["curves"] if curve[:2] != [i, k]]
    record["curves"] = sorted([*others, [i, k, [0.0] * (asked - 1) + [25.0]]])
    _mend_digests(record)


def _hide_match(lines: Lines, rng: random.Random) -> None:
    """A match, or any pair, becomes a no-match."""
    record = rng.choice(lines[1:])
    matches = [(i, k) for i, row in enumerate(record["outcomes"]) for k, found in enumerate(row) if found == 3]
    i, k = rng.choice(matches or [(0, 0)])
    record["outcomes"][i][k], record["bits"][i][k], record["matches"][i][k] = 1, -9.0, 0
    record["curves"] = [curve for curve in record["curves"] if curve[:2] != [i, k]]
    _mend_digests(record)


def _mend_digests(record: dict[str, Any]) -> None:
    """A digest for each model that has evidence enough, as there must be."""
    weighed = [str(record["rows"][i]) for i, row in enumerate(record["bits"]) if max(row) >= -np.log2(1e-6)]
    record["digests"] = {place: record["digests"].get(place, "ab" * 32) for place in weighed}


def _parts(lines: Lines, rng: random.Random) -> None:
    """Two parts exchange their numbers, and so their models."""
    one, other = rng.sample(range(1, len(lines)), 2)
    lines[one]["chunk"], lines[other]["chunk"] = lines[other]["chunk"], lines[one]["chunk"]


def _figures(lines: Lines, rng: random.Random) -> None:
    _exchange(rng.choice(lines[1:]), rng)


CHAINED = {
    "a value": _leaf,
    "figures exchanged": _figures,
    "pairs exchanged": _exchange_all,
    "models exchanged": _rows,
    "a match made up": _make_match,
    "a match hidden": _hide_match,
}

if __name__ == "__main__":
    main()
