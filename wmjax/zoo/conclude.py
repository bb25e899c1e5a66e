"""From a journal to verdicts: the bound over all pairs, and what each match rests on. Host only, NumPy float64."""

import math
from typing import Any

import numpy as np

from wmjax import stats
from wmjax.grounds import Ground
from wmjax.suspects.wording import WORDS
from wmjax.zoo.plan import Level
from wmjax.zoo.records import Unreadable
from wmjax.zoo.result import INCONCLUSIVE, MATCH, NOT_APPLICABLE, Asked, Result


def conclude(header: dict[str, Any], records: list[dict[str, Any]]) -> Result:
    """The verdicts that the records of an audit give; the same for a judge who has nothing but its journals.

    Args:
      header: of the journal.
      records: of chunks; of one that was asked again the last counts.
    """
    level = Level(**header["level"])
    keys = [Asked(**{**key, "image": tuple(key["image"])}) for key in header["keys"]]
    tables = _Tables(len(header["models"]), len(keys))
    for record in {record["chunk"]: record for record in records}.values():  # the last of each
        tables.fill(record, sum(header["chunks"][: record["chunk"]]), header["models"])
    suspects = len(header["models"]) - header["nulls"]
    seen = [i for i in range(suspects) if tables.seen[i]]
    calibrated = _calibrated(tables, header, keys)
    held = _held(_evidence(tables, keys, calibrated, suspects), keys, level, header["tests"])
    tables.outcomes[(tables.outcomes == MATCH) & ~held] = INCONCLUSIVE
    tables.outcomes[held] = MATCH
    fixed = [key.labels == "fixed" for key in keys]
    tables.bits[:, fixed] = np.nan
    place = {i: at for at, i in enumerate(seen)}
    curves = {(place[i], k): path for (i, k), path in tables.curves.items() if i in place and not fixed[k]}
    open_to_doubt = np.where(fixed, INCONCLUSIVE, MATCH)  # a fixed key's figures say little by themselves
    rows, columns = np.nonzero(tables.outcomes[seen] >= open_to_doubt)
    noted = curves.keys() | set(zip(rows.tolist(), columns.tolist(), strict=True))
    notes = {(i, k): _notes(header, tables, keys, seen[i], k, calibrated, level) for i, k in sorted(noted)}
    return Result(
        models=[header["models"][i] for i in seen],
        families=[header["families"][header["family"][i]]["name"] for i in seen],
        keys=keys,
        outcomes=tables.outcomes[seen],
        bits=tables.bits[seen],
        queries=tables.queries[seen],
        matches=tables.matches[seen],
        curves=curves,
        notes=notes,
        remarks={family["name"]: _remarks(family, keys) for family in header["families"]},
        unreadable=[Unreadable(**item) for item in header["unreadable"]] + tables.unreadable,
        alpha=level.value,
        procedure=level.procedure,
        match_bits=_needed(tables.outcomes[seen], header["tests"], level, keys),
        seconds=sum(record["seconds"] for record in records),
    )


class _Tables:
    """Figures of all models, by their places in the header."""

    def __init__(self, models: int, keys: int):
        self.outcomes = np.zeros((models, keys), np.int8)
        self.bits = np.full((models, keys), np.nan)
        self.queries = np.zeros((models, keys), np.int32)
        self.matches = np.zeros((models, keys), np.int32)
        self.seen = np.zeros(models, bool)
        self.curves: dict[tuple[int, int], list[float]] = {}
        self.digests: dict[int, str] = {}
        self.unreadable: list[Unreadable] = []

    def fill(self, record: dict[str, Any], start: int, names: list[str]) -> None:
        """Adds a chunk whose first model is number `start`."""
        for row, why in record["failures"].items():
            self.unreadable.append(Unreadable(names[start + int(row)], why))
        self.digests |= {start + int(row): sha256 for row, sha256 in record["digests"].items()}
        rows, columns = start + np.array(record["rows"], np.int64), np.array(record["keys"], np.int64)
        self.seen[rows] = True
        for table in ("outcomes", "bits", "queries", "matches"):
            figures = np.array(record[table], np.float64).reshape(len(rows), len(columns))
            getattr(self, table)[np.ix_(rows, columns)] = figures
        self.curves |= {(int(rows[row]), record["keys"][key]): path for row, key, path in record["curves"]}


def _calibrated(tables: _Tables, header: dict[str, Any], keys: list[Asked]) -> dict[tuple[int, int], tuple[float, int]]:
    """For keys with fixed labels the calibrated p-value of each model, and the number of null models behind it.

    A model is ranked among null models of its own family: others are asked otherwise and answer otherwise.
    """
    found = {}
    suspects, family = len(header["models"]) - header["nulls"], np.array(header["family"])
    for k in (k for k, key in enumerate(keys) if key.labels == "fixed"):
        asked = np.flatnonzero((tables.outcomes[:, k] != NOT_APPLICABLE) & tables.seen)
        nulls = asked[asked >= suspects]
        for i in asked[asked < suspects]:
            alike = tables.matches[nulls[family[nulls] == family[i]], k]
            if len(alike):
                found[int(i), k] = stats.calibrated_p(int(tables.matches[i, k]), alike), len(alike)
    return found


def _evidence(
    tables: _Tables, keys: list[Asked], calibrated: dict[tuple[int, int], tuple[float, int]], suspects: int
) -> np.ndarray:
    """Evidence in bits of every pair, NaN where it cannot become a match.

    A calibrated p-value is worth 1 / alpha where it is at most the alpha that the key committed to, else nothing: under
    the null that is 1 on average, at most.
    """
    bits = np.where(tables.outcomes == NOT_APPLICABLE, np.nan, tables.bits)
    bits[~tables.seen] = np.nan
    bits[suspects:] = np.nan
    bits[:, [key.labels == "fixed" for key in keys]] = np.nan
    for (i, k), (p, _) in calibrated.items():
        bits[i, k] = -np.log2(keys[k].alpha) if p <= keys[k].alpha else -np.inf
    return bits


def _held(bits: np.ndarray, keys: list[Asked], level: Level, tests: int) -> np.ndarray:
    """Which pairs are matches: by the alpha of their own key, and by the bound over all of them.

    Evidence short of its own key's alpha counts as none before e-BH looks at it: what is discarded afterwards would
    have made room for others.
    """
    own = bits >= np.array([-np.log2(key.alpha) for key in keys])
    counted = np.where(own | np.isnan(bits), bits, -np.inf)
    if level.name == "fdr":
        return own & stats.e_bh(counted, tests, level.value)
    return own & (counted >= np.log2(max(tests, 1) / level.value))


def _needed(outcomes: np.ndarray, tests: int, level: Level, keys: list[Asked]) -> float:
    """Evidence in bits that made a match here: what the bound and the least strict key ask."""
    found = max(1, int(np.sum(outcomes == MATCH))) if level.name == "fdr" else 1
    own = min(-np.log2(key.alpha) for key in keys)
    return float(max(own, np.log2(max(tests, 1) / (level.value * found))))


def _remarks(family: dict[str, Any], keys: list[Asked]) -> list[str]:
    """How a family was asked, where not with the keys' own triggers as they are."""
    changed = [f"{key.name}: {line}" for k, key in enumerate(keys) for line in _adapted(family, k)]
    return [*_prepared(family), *changed]


def _prepared(family: dict[str, Any]) -> list[str]:
    """How pixels were prepared for a family, where not as wmjax does."""
    return [WORDS[family["note"]]] if family["note"] else []


def _adapted(family: dict[str, Any], k: int) -> list[str]:
    """How a key's triggers were changed for a family."""
    return [Ground.from_json(ground).told(WORDS) for ground in family["adapted"][k] or ()]


def _notes(
    header: dict[str, Any],
    tables: _Tables,
    keys: list[Asked],
    i: int,
    k: int,
    calibrated: dict[tuple[int, int], tuple[float, int]],
    level: Level,
) -> list[str]:
    """What the verdict on model i and key k rests on."""
    family = header["families"][header["family"][i]]
    notes = [*header["assumptions"][k]]
    notes += [*_prepared(family), *_adapted(family, k)]
    if (i, k) in calibrated:
        p, nulls = calibrated[i, k]
        needed = min(keys[k].alpha, level.value / header["tests"])
        notes.append(
            f"{tables.matches[i, k]} of {tables.queries[i, k]} labels repeated: p {p:.3g} among {nulls} null models of "
            "its family, assumed independent of the key and trained like the suspect; a match by itself needs p, and "
            f"the key's alpha ({keys[k].alpha:g}), at most {needed:.2g}: {math.ceil(1 / needed) - 1} null models serve"
        )
    elif keys[k].labels == "fixed":
        notes.append("no null models of its family calibrate it: name a folder of innocent ones with --null")
    notes.append(f"{level.procedure} at {level.value:g} over {header['tests']} pairs of a model and a key")
    if i in tables.digests:
        notes.append(f"weights with sha256 {tables.digests[i]}")
    return notes
