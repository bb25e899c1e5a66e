"""The verbs for many models."""

import argparse
import json
from pathlib import Path
from typing import TYPE_CHECKING

from wmjax.cli.terminal import EXIT_CODES, say, unlocks, use_all_cores
from wmjax.errors import UsageError

if TYPE_CHECKING:
    from wmjax.zoo.result import AuditResult

_MERGING = {"merge", "out", "json", "keys", "identity", "passphrase"}


def audit(options: argparse.Namespace) -> int:
    """Asks every model of a zoo about every key, or puts the shards of an audit together."""
    if options.merge:
        return _merge(options)
    if options.zoo is None or options.keys is None:
        raise UsageError("audit needs `zoo`, a folder of models, and `keys`, a folder of key files")
    options.out = options.out or Path("wmjax-audit")
    use_all_cores()
    from wmjax.keys import open_keys
    from wmjax.keys.asked import Beside
    from wmjax.zoo import audit as room
    from wmjax.zoo.records import Unreadable

    keys, closed = open_keys(options.keys, unlocks(options))
    result = room.audit(
        options.zoo,
        keys,
        closed=[Unreadable(path, why) for path, why in closed.items()],
        models=tuple(options.models),
        pixels=options.pixels,
        pickles=options.pickles,
        suspects=options.suspects,
        fdr=options.fdr,
        fwer=options.fwer,
        nulls=options.nulls,
        memory=options.memory,
        out=options.out,
        resume=options.resume,
        shard=options.shard,
        keep_answers=options.keep_answers,
        asked=Beside(options.keys),
        max_queries=options.max_queries,
    )
    if options.shard[1] > 1:  # verdicts need the bound over all of them
        name = "{}/{}".format(*options.shard)
        line = f"shard {name} is done, {len(result.models)} models; when all are: wmjax audit --merge {options.out}"
        say(options, {"version": 1, "shard": name, "models": len(result.models), "seconds": result.seconds}, line)
        return 0
    return _tell(options, result)


def _merge(options: argparse.Namespace) -> int:
    """Puts the shards of an audit together."""
    from wmjax.zoo.audit import merge

    usual = {name: options.parser.get_default(name) for name in vars(options)}
    others = [name for name, value in vars(options).items() if value != usual[name] and name not in _MERGING]
    if others:
        raise UsageError(f"`merge` goes without `{others[0]}`: the journals say what was asked")
    options.out = options.out or options.merge[0]
    keys = None
    if options.keys is not None:
        from wmjax.keys import open_keys

        keys, _ = open_keys(options.keys, unlocks(options))
    return _tell(options, merge(options.merge, keys))


def _tell(options: argparse.Namespace, result: "AuditResult") -> int:
    """Writes report and document, prints one of them, and gives the exit code.

    Without a match that is `inconclusive` where a pair is, and where something could not be asked.
    """
    from wmjax.files import write_bytes
    from wmjax.report.audit import audit_table, write_audit_report

    document = result.to_json()
    write_audit_report(options.out / "report.html", result)
    write_bytes(options.out / "audit.json", json.dumps(document, indent=1).encode() + b"\n")
    say(options, document, *audit_table(result), f"report: {options.out / 'report.html'}")
    if document["matches"]:
        return EXIT_CODES["match"]
    asked = bool((result.outcomes > 0).any()) and not result.unreadable
    return EXIT_CODES["inconclusive" if document["inconclusive"] or not asked else "no-match"]


def pack(options: argparse.Namespace) -> int:
    """Stacks the models of a zoo into one file a family."""
    from wmjax.zoo.pack import pack as stack

    report = stack(
        options.zoo,
        options.out,
        models=options.models,
        images=options.images,
        pixels=options.pixels,
        pickles=options.pickles,
    )
    document = {
        "version": 1,
        "files": [str(path) for path in report.files],
        "models": report.models,
        "skipped": [{"path": item.path, "why": item.why} for item in report.skipped],
    }
    lines = [f"packed {report.models} models"]
    lines += [f"  wrote {path}" for path in report.files]
    lines += [f"  skipped {item.path}: {item.why}" for item in report.skipped]
    say(options, document, *lines)
    return 0 if report.files else EXIT_CODES["no-match"]
