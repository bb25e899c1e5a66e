"""Vectors of journals: an audit's and a claim's, as they are, damaged, edited and foreign, with what comes of them.

Evidence in an audit's journal is in floats of 64 bits, whose last digits may differ from machine to machine: the good
journals are frozen, and the others made from them.
"""

import dataclasses
import tempfile
from collections.abc import Callable
from functools import lru_cache
from pathlib import Path
from typing import Any

import audit_worker as worker
import forger
import journals
import numpy as np

from wmjax.errors import InvalidFile, UsageError
from wmjax.evidence import claim_journal
from wmjax.evidence.claim_journal import Head
from wmjax.evidence.transcript import Row
from wmjax.keys import Key, derive_key, make_spec
from wmjax.zoo.merge import merge
from wmjax.zoo.records import Zoo
from wmjax.zoo.result import OUTCOMES

ABOUT = """\
Each file of an audit is merged as the only journal of its audit, with its `secrets` (hex) or without them (null). \
`found` is `invalid`; `unfinished` where parts are missing, and the audit can be resumed; or the verdict of each model \
about each key, and on what it rests (`basis`). Each file of a claim is resumed with the same key, nonce and suspect: \
`found` is `invalid`, also where it is another claim's; or the number of rows that are kept."""
SECRETS = bytes(range(32)), bytes(range(7, 39))
NONCE = b"n" * 32

Lines = list[dict[str, Any]]


@lru_cache
def audit_keys() -> dict[str, Key]:
    spec = make_spec("abstract", image=(4, 4, 1), classes=10, triggers=30)
    made = (derive_key(secret, spec, forger.rule(spec), created="2026-01-01T00:00:00+00:00") for secret in SECRETS)
    return {f"k{number}": key for number, key in enumerate(made)}


def audited(seed: int) -> bytes:
    """The journal of an audit that keeps answers: four tables of answers, two of which know a key, in two parts."""
    keys, rng = audit_keys(), np.random.default_rng(seed)
    logits = rng.standard_normal((4, 1 << 16, 10)).astype(np.float32)
    for model, (key, share) in {0: ("k0", 1.0), 2: ("k1", 0.6)}.items():
        pixels = keys[key].images.reshape(30, -1).astype(int)
        knows = rng.random(30) < share
        logits[model, (pixels[:, 0] + 256 * pixels[:, 1])[knows], keys[key].labels[knows]] += 6
    family = worker.network(1 << 16, image=(4, 4, 1))
    zoo = Zoo([dataclasses.replace(entry, network=family) for entry in worker.zoo(logits).entries], [])
    with tempfile.TemporaryDirectory() as out:
        worker.audited(zoo, keys, out=out, keep_answers=True, memory=worker.portions(zoo, 2))
        lines = journals.values_of(Path(out) / "journal-1-of-1.jsonl")
    for line in lines[1:]:
        line["seconds"] = 0.0
    return journals.chained(lines, keys)


def claimed(nonce: bytes = NONCE, rows: int = 6) -> bytes:
    """The journal of a claim after so many questions."""
    key = audit_keys()["k0"]
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "claim.json.journal.jsonl"
        order = forger.order(key, nonce)
        book = claim_journal.begin(path, Head(key.commitment, nonce, "suspect", (), None), order, resume=False)
        for index in order[:rows]:
            attempts, answer = forger.answered(int(key.labels[index]))
            book.add(Row(index, attempts, answer))
        book.close()
        return path.read_bytes()


def frozen() -> dict[str, bytes]:
    """What is made once."""
    return {"journals/audit.jsonl": audited(1), "journals/audit-other.jsonl": audited(2)}


def _lines(raw: bytes, *order: int) -> bytes:
    lines = raw.splitlines(keepends=True)
    return b"".join(lines[place] for place in order)


def _flip(raw: bytes) -> bytes:
    """A digit of a figure in the second line."""
    at = raw.index(b'"bits":[[') + 10
    return raw[:at] + (b"1" if raw[at : at + 1] != b"1" else b"2") + raw[at + 1 :]


def _edited(raw: bytes, change: Callable[[Lines], None], keys: dict[str, Key] | None) -> bytes:
    lines = journals.lines_of(raw)
    change(lines)
    return journals.chained(lines, keys)


def _match(lines: Lines) -> None:
    """The second model becomes a match of the second key: figures, curve and digest fit each other."""
    record = lines[1]
    asked = record["queries"][1][1]
    for name, value in (("outcomes", 3), ("bits", 25.0), ("matches", asked)):
        record[name][1][1] = value
    record["curves"] = sorted([*record["curves"], [1, 1, [0.0] * (asked - 1) + [25.0]]])
    record["digests"]["1"] = "ab" * 32


def _answer(lines: Lines) -> None:
    lines[1]["answer"]["label"] = (lines[1]["answer"]["label"] + 1) % 10


def _swap(lines: Lines) -> None:
    lines[1], lines[2] = lines[2], lines[1]


def derived(kept: dict[str, bytes]) -> dict[str, bytes]:
    """All others, by name."""
    audit, other = kept["journals/audit.jsonl"], kept["journals/audit-other.jsonl"]
    claim, theirs = claimed(), claimed(b"o" * 32)
    made = {
        "audit-damaged": _flip(audit),
        "audit-moved": _lines(audit, 0, 2, 1),
        "audit-foreign-line": _lines(audit, 0, 1) + _lines(other, 2),
        "audit-killed": audit[:-200],
        "audit-without-last": _lines(audit, 0, 1),
        "audit-edited": _edited(audit, _match, None),
        "audit-edited-with-keys": _edited(audit, _match, audit_keys()),
        "claim": claim,
        "claim-damaged": claim.replace(b'"outcome":"answered"', b'"outcome":"answereD"', 1),
        "claim-moved": _lines(claim, 0, 2, 1, 3, 4, 5, 6),
        "claim-foreign-line": _lines(claim, 0, 1) + _lines(theirs, 2),
        "claim-other": theirs,
        "claim-killed": claim[:-20],
        "claim-edited": _edited(claim, _answer, None),
        "claim-edited-order": _edited(claim, _swap, None),
    }
    return {f"journals/{name}.jsonl": raw for name, raw in made.items()}


def expected(name: str, raw: bytes, secrets: list[str] | None) -> Any:
    """What this project makes of a journal."""
    with tempfile.TemporaryDirectory() as folder:
        try:
            if Path(name).name.startswith("claim"):
                path = Path(folder) / "claim.json.journal.jsonl"
                path.write_bytes(raw)
                return _claim_rows(path)
            (Path(folder) / "journal-1-of-1.jsonl").write_bytes(raw)
            found = merge(folder, None if secrets is None else audit_keys())
        except InvalidFile:
            return "invalid"
        except UsageError:
            return "unfinished"
    return {"basis": str(found.basis), "verdicts": [[OUTCOMES[one] for one in row] for row in found.outcomes]}


def _claim_rows(path: Path) -> int:
    key = audit_keys()["k0"]
    head = Head(key.commitment, NONCE, "suspect", (), None)
    book = claim_journal.begin(path, head, forger.order(key, NONCE), resume=True)
    book.close()
    return len(book.records)


def cases(files: dict[str, bytes]) -> list[dict[str, Any]]:
    """Each journal, an audit's with and without the keys."""
    opened = [secret.hex() for secret in SECRETS]
    return [
        {"file": name, "secrets": secrets, "found": expected(name, raw, secrets)}
        for name, raw in files.items()
        for secrets in ([None] if Path(name).name.startswith("claim") else [opened, None])
    ]
