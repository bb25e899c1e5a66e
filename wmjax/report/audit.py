"""An audit for people: one self-contained HTML page, and a table for the terminal."""

import base64
import json
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from wmjax import stats
from wmjax.files import write_bytes
from wmjax.grounds import Ground
from wmjax.report.html import page, typed
from wmjax.text import counted, cut, visible
from wmjax.zoo.grounds import Basis
from wmjax.zoo.result import INCONCLUSIVE, MATCH, OUTCOMES, AuditResult
from wmjax.zoo.wording import WORDS, name_of, promise, told

SHOWN = 200  # inconclusive pairs in the page's table; the map shows all of them
LINES = 20  # inconclusive pairs, reasons, and unreadable files, in the terminal's table
MAILED = 10  # matches in the summary for a mail
_NAMES = 3  # keys or models of a line, where more share its reason


def write_audit_report(path: Path, result: AuditResult) -> None:
    """Writes the page: heat map of models by keys, evidence curves and tables, nothing loaded from elsewhere.

    Without a script the tables are still there. Every name that came from the zoo is escaped, and characters that
    cannot be seen are spelt out.

    Args:
      path: of the HTML file.
      result: to show.

    Raises:
      AccessError: the file cannot be written.
    """
    inconclusive, unasked = _pairs(result, INCONCLUSIVE), _unasked(result)
    raw = page(
        "audit.html",
        title="wmjax: whose models are these?",
        sheets=("audit.css",),
        script="audit.js",
        summary=[*_figures(result), *_found(result), promise(result.procedure, result.alpha)],
        data=_embedded(result),
        result=result,
        keys=[
            {"asked": key, "name": visible(key.name), "matches": int(np.sum(result.outcomes[:, k] == MATCH))}
            for k, key in enumerate(result.keys)
        ],
        inexact=sum(not key.spec.policy.exact for key in result.keys),
        counts=_counts(result),
        guarantee=promise(result.procedure, result.alpha),
        procedure=name_of(result.procedure),
        basis=WORDS[result.basis],
        match_bits=result.match_bits,
        found=_pairs(result, MATCH),
        inconclusive=inconclusive[:SHOWN],
        more_inconclusive=len(inconclusive) - len(inconclusive[:SHOWN]),
        unasked=unasked[:SHOWN],
        more_unasked=len(unasked) - len(unasked[:SHOWN]),
        others=_others(result),
        unreadable=[(visible(item.path), typed(visible(item.why))) for item in result.unreadable],
        families=_families(result),
    )
    write_bytes(path, raw)


def audit_table(result: AuditResult) -> list[str]:
    """The audit as lines for a terminal, matches first; long lists end in how many more there are.

    Args:
      result: to show.

    Returns:
      Lines of printable characters.
    """
    counts = _counts(result)
    lines = [
        *_figures(result),
        *([] if result.models else ["no model could be asked"]),
        *([] if result.basis == Basis.ASKED else [WORDS[result.basis]]),
    ]
    for title, place, limit in (("match", MATCH, None), ("inconclusive", INCONCLUSIVE, LINES)):
        pairs = _pairs(result, place)
        reasons = _reasons(pairs)
        if pairs:
            lines += ["", f"{title:<12} {'evidence, bits':>14} {'queries':>8}  key, model"]
        for pair in pairs[:limit]:
            bits = "-" if pair["bits"] is None else f"{pair['bits']:.1f}"
            why = "".join(f" [{list(reasons).index(reason) + 1}]" for reason in pair["why"])
            named = f"{cut(pair['key'], 24)}, {cut(pair['model'])}"
            lines.append(f"{title:<12} {bits:>14} {pair['queries']:>8}  {named}{why}")
        lines += _rest(len(pairs[limit:]) if limit else 0)
        numbered = enumerate(list(reasons.items())[:LINES], 1)
        lines += [f"[{number}] {counted(count, 'pair')}: {words}" for number, ((_, words), count) in numbered]
        lines += _rest(len(reasons) - LINES)
    if counts["inconclusive"]:
        lines.append('inconclusive never means "not stolen"')
    if unasked := _unasked(result):
        together: dict[tuple[str, str], list[str]] = {}
        for model, keys, why in unasked:
            together.setdefault((keys, why), []).append(cut(model))
        lines += ["", "not applicable"]
        told = [f"  {_listed(models)}: {cut(keys)}: {why}" for (keys, why), models in together.items()]
        lines += [*told[:LINES], *_rest(len(told) - LINES)]
    if result.unreadable:
        lines += ["", "unreadable"]
        lines += [f"  {cut(visible(item.path))}: {cut(visible(item.why), 240)}" for item in result.unreadable[:LINES]]
        lines += _rest(len(result.unreadable[LINES:]))
    return [*lines, *([f"passed over: {others}"] if (others := _others(result)) else [])]


def _figures(result: AuditResult) -> list[str]:
    """How many pairs came to which verdict, and by which procedure."""
    counts = _counts(result)
    return [
        f"{counted(len(result.models), 'model')}, {counted(len(result.keys), 'key')}, {result.seconds:.1f} s: "
        + ", ".join(f"{counts[outcome]} {outcome}" for outcome in reversed(OUTCOMES))
        + f", {len(result.unreadable)} unreadable",
        f"{name_of(result.procedure)} at {result.alpha:g}",
    ]


def _reasons(pairs: Sequence[dict[str, Any]]) -> Counter[tuple[str, str]]:
    """Why pairs are inconclusive, and how many of them; that of most first."""
    return Counter(dict(Counter(reason for pair in pairs for reason in pair["why"]).most_common()))


def _found(result: AuditResult) -> list[str]:
    """The strongest matches, a line each."""
    pairs = _pairs(result, MATCH)
    told = [f"match: {cut(one['model'])} and {cut(one['key'], 40)}, {_bits(one)}" for one in pairs[:MAILED]]
    return told + ([f"... and {len(pairs) - MAILED} more matches"] if len(pairs) > MAILED else [])


def _bits(pair: dict[str, Any]) -> str:
    return "no exact evidence" if pair["bits"] is None else f"{pair['bits']:.1f} bits"


def _others(result: AuditResult) -> str:
    """What else lies in the zoo and was passed over, counted by kind; empty where nothing does."""
    kinds = sorted(result.others.items(), key=lambda item: (-item[1], item[0]))
    return ", ".join(f"{count} {visible(ending)}" for ending, count in kinds)


def _rest(more: int) -> list[str]:
    return [f"... and {more} more: see the report"] if more > 0 else []


def _counts(result: AuditResult) -> dict[str, int]:
    return {outcome: int(np.sum(result.outcomes == place)) for place, outcome in enumerate(OUTCOMES)}


def _pairs(result: AuditResult, outcome: int) -> list[dict[str, Any]]:
    """The pairs with this outcome, strongest evidence first, names made visible."""
    rows, columns = np.nonzero(result.outcomes == outcome)
    bits = result.bits[rows, columns].astype(np.float64)
    reasons = result.reasons if outcome == INCONCLUSIVE else {}
    order = np.argsort(-np.where(np.isnan(bits), -np.inf, bits), kind="stable")
    return [
        {
            "row": int(i),
            "column": int(k),
            "model": visible(result.models[i]),
            "family": visible(result.families[i]),
            "key": visible(result.keys[k].name),
            "bits": None if np.isnan(b) else float(b),
            "queries": int(result.queries[i, k]),
            "matches": int(result.matches[i, k]),
            "why": why,
            "notes": list(dict.fromkeys([*why, *map(_note, result.grounds.get((int(i), int(k)), ()))])),
        }
        for i, k, b in zip(rows[order], columns[order], bits[order], strict=True)
        for why in [[_note(ground) for ground in reasons.get((int(i), int(k)), ())]]
    ]


def _note(ground: Ground) -> tuple[str, str]:
    """What makes a note the same as another, and its words."""
    return f"{ground.code} {ground.values}", typed(visible(told(ground)))


def _unasked(result: AuditResult) -> list[tuple[str, str, str]]:
    """Each model that was not asked about some keys, with their names and the reason."""
    return [
        (visible(model), keys, visible(told(item.why)))
        for item in result.not_applicable()
        for keys in [_listed([visible(key.name) for key in item.keys])]
        for model in item.models
    ]


def _listed(names: Sequence[str]) -> str:
    more = len(names) - _NAMES
    return ", ".join(names[:_NAMES]) + (f" and {more} more" if more > 0 else "")


def _families(result: AuditResult) -> list[tuple[str, int, int, str]]:
    """Name, models, models with a match, and how it was asked, of each family, the largest first."""
    matched = (result.outcomes == MATCH).any(axis=1)
    models = Counter(result.families)
    found = Counter(family for family, match in zip(result.families, matched, strict=True) if match)
    remarks = {family: "; ".join(_remark(*about) for about in said) for family, said in result.remarks.items()}
    return [(visible(name), n, found[name], typed(visible(remarks.get(name, "")))) for name, n in models.most_common()]


def _remark(key: str, ground: Ground) -> str:
    return f"{key}: {told(ground)}" if key else told(ground)


def _packed(values: np.ndarray) -> dict[str, str]:
    """An array as the script reads it: little-endian, in the narrowest type that holds it."""
    if values.dtype.kind == "f":
        values = values.astype("<f4")
    else:
        most = int(values.max(initial=0))
        values = values.astype("u1" if most < 1 << 8 else "<u2" if most < 1 << 16 else "<u4")
    return {"type": values.dtype.name, "base64": base64.b64encode(values.tobytes()).decode()}


def _embedded(result: AuditResult) -> str:
    """What the script draws, as JSON that cannot end its element."""
    families = sorted(set(result.families))
    places = {family: place for place, family in enumerate(families)}
    values = {
        "models": [visible(name) for name in result.models],
        "families": [visible(family) for family in families],
        "family": _packed(np.array([places[family] for family in result.families], np.int64)),
        "keys": [
            {
                "name": visible(key.name),
                "id": key.id,
                "exact": key.spec.policy.exact,
                "triggers": key.spec.triggers,
                "matches": "secret labels repeated" if stats.kind_of(key.rule).coins is None else "coins agree",
            }
            for key in result.keys
        ],
        "outcomes": _packed(result.outcomes),
        "bits": _packed(result.bits),
        "queries": _packed(result.queries),
        "matches": _packed(result.matches),
        "curves": [
            [int(i), int(k), [round(float(b), 2) if np.isfinite(b) else None for b in curve]]
            for (i, k), curve in result.curves.items()
        ],
        "notes": [[i, k, [visible(told(ground)) for ground in grounds]] for (i, k), grounds in result.grounds.items()],
        "match_bits": result.match_bits,
    }
    text = json.dumps(values, separators=(",", ":"), allow_nan=False)
    return text.replace("<", "\\u003c").replace(">", "\\u003e").replace("&", "\\u0026")
