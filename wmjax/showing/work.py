"""What commands leave behind: runs, checkpoints, journals, documents, pages."""

import html
import re
from collections.abc import Mapping, Sequence
from itertools import islice
from typing import Any

from wmjax import journal
from wmjax.errors import AccessError
from wmjax.files import read_bytes
from wmjax.orbax import CHECKPOINT
from wmjax.showing.contract import Facts, Glimpse, Kind, parsed, said
from wmjax.suspects.within import beside

_JOURNALS = {
    journal.AUDIT: "an audit",
    journal.ATTACK: "an attack suite",
    journal.CLAIM: "a claim: show it to nobody but the judge",
}
_SHOWN = 3  # names of other models
_SMALL = 16 << 20  # bytes of a JSON file in a folder


def _document(path: Any) -> dict[str, Any]:
    """A small JSON file of a folder; empty where there is none."""
    try:
        return parsed(read_bytes(path)) if path.is_file() and path.stat().st_size <= _SMALL else {}
    except (OSError, AccessError):
        return {}


def _steps(seen: Glimpse) -> list[Any]:
    """A run's checkpoints, oldest first: of fewer steps the number is shorter, or less."""
    found = [one for one in seen.path.glob("step-*") if (one / CHECKPOINT).is_file()] if seen.folder else []
    return sorted(found, key=lambda one: (len(one.name), one.name))


def _is_run(seen: Glimpse) -> bool:
    return seen.folder and (seen.path / "run.json").is_file()


def _run(seen: Glimpse) -> Facts:
    settings, steps = _document(seen.path / "run.json"), _steps(seen)
    facts: dict[str, Any] = {name: said(settings[name]) for name in ("data", "seed", "epochs") if name in settings}
    newest = _of_checkpoint(_document(steps[-1] / CHECKPOINT)) if steps else {}
    return {**facts, "checkpoints": [step.name for step in steps], **newest, **_others(seen, steps)}


def _is_checkpoint(seen: Glimpse) -> bool:
    return seen.folder and (seen.path / CHECKPOINT).is_file()


def _checkpoint(seen: Glimpse) -> Facts:
    own = _of_checkpoint(_document(seen.path / CHECKPOINT)) or {"made_by": "another program, with Orbax"}
    return {**own, **_others(seen, [seen.path])}


def _others(seen: Glimpse, checkpoints: Sequence[Any]) -> Facts:
    """The first of what else in its folder may be a model: whoever names the folder is told to name one."""
    others = [said(str(path.relative_to(seen.path))) for path in islice(beside(seen.path, checkpoints), _SHOWN)]
    return {"may_be_other_models": others} if others else {}


def _of_checkpoint(document: Mapping[str, Any]) -> dict[str, Any]:
    """What wmjax's checkpoint says of its network and keys; empty for another's."""
    values = document.get("custom_metadata")
    if not isinstance(values, dict) or not str(values.get("format")).startswith("wmjax-checkpoint"):
        return {}
    model, keys = values["model"], values["keys"]
    return {
        "network": said(model["name"]),
        "image": "x".join(str(int(side)) for side in model["image"]),
        "classes": said(model["classes"]),
        "step": said(values["step"]),
        "sealed_keys": [said(str(key["commitment_id"])) for key in keys],
        "for_publication": "yes" if not keys else "no: `wmjax export` leaves the sealed keys out",
    }


def _journal(seen: Glimpse) -> Facts:
    """Whether its lines are those that were written, each behind the one before."""
    first, records = journal.outline(seen.path)
    facts = {"of": _JOURNALS[first["format"]], "chain": "holds", "records": records}
    told = ("suspect", "suite", "data", "models", "keys")
    return {**facts, **{name: said(first[name]) for name in told if name in first}}


def _audit(seen: Glimpse) -> Facts:
    values = seen.values
    names = ("models", "keys", "matches", "inconclusive", "unreadable", "procedure", "alpha", "seconds")
    pairs = [f"{said(one.get('model'))} and {said(one.get('key'))}" for one in values["matches"][:5]]
    return {**{name: said(values.get(name)) for name in names}, "first_matches": pairs}


def _attack(seen: Glimpse) -> Facts:
    names = ("suite", "data", "model", "keys", "points", "leaks", "skipped", "match_bits", "seconds")
    return {name: said(seen.values.get(name)) for name in names}


def _page(seen: Glimpse) -> Facts:
    title = re.search(rb"<title>(.*?)</title>", seen.head, re.DOTALL)
    return {"title": said(html.unescape(title[1].decode("utf-8", "replace"))) if title else None, "size": seen.size}


def _has(*names: str) -> Any:
    return lambda seen: seen.values.keys() >= set(names)


KINDS = (
    Kind("run", "a training run", _is_run, _run),
    Kind("checkpoint", "a checkpoint", _is_checkpoint, _checkpoint),
    Kind("journal", "a journal", lambda seen: seen.lines_of in _JOURNALS, _journal),
    Kind("audit", "an audit's document", _has("matches", "inconclusive", "procedure"), _audit),
    Kind("attack", "an attack suite's document", _has("suite", "points", "attackers"), _attack),
    Kind("report", "a page of wmjax", lambda seen: b'<meta name="generator" content="wmjax">' in seen.head, _page),
)
