"""The verbs for many models."""

import argparse
import json
import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

from wmjax import journal, stores
from wmjax.cli.openers import unlocks, use_all_cores
from wmjax.cli.terminal import EXIT_CODES, placed, say
from wmjax.errors import AccessError, UsageError, WmjaxError
from wmjax.programs import load_jax

if TYPE_CHECKING:
    from wmjax.zoo.plan import AuditPlan
    from wmjax.zoo.result import AuditResult

_MERGING = {"merge", "out", "png", "json", "quiet", "verbose", "keys", "identity", "passphrase"}


def audit(options: argparse.Namespace) -> int:
    """Asks every model of a zoo about every key, or puts the shards of an audit together."""
    if options.merge:
        return _merge(options)
    if options.zoo is None or options.keys is None:
        raise UsageError("audit needs `zoo`, a folder of models, and `keys`, a folder of key files")
    options.out = options.out or Path("wmjax-audit")
    journal.check_out(options.out, journal.AUDIT)
    if options.ray:
        return _on_ray(options)
    for name in ("parts", "each"):
        if getattr(options, name) != options.parser.get_default(name):
            raise UsageError(f"`{name}` goes with `ray`: without a cluster use `shard`")
    result = _asked(options)
    if options.shard[1] > 1:  # verdicts need the bound over all of them
        name = "{}/{}".format(*options.shard)
        line = f"shard {name} is done, {len(result.models)} models; when all are: wmjax audit --merge {options.out}"
        say(options, {"version": 1, "shard": name, "models": len(result.models), "seconds": result.seconds}, line)
        return 0
    return _tell(options, result)


def _asked(options: argparse.Namespace) -> "AuditResult":
    """Asks one shard, with the options of the command."""
    use_all_cores()
    from wmjax.keys.memory import Beside
    from wmjax.zoo import audit as room

    told = {"out": options.out, "resume": options.resume, "shard": options.shard, "asked": Beside(options.keys)}
    return room.audit(options.zoo, **_what(options), **told)


def _what(options: argparse.Namespace) -> dict[str, Any]:
    """What an audit asks, by the library's names."""
    from wmjax.keys import open_keys
    from wmjax.zoo.records import Unreadable

    keys, closed = open_keys(options.keys, unlocks(options))
    if closed and not keys:
        raise UsageError("no key can be opened: {}: {}".format(*next(iter(closed.items()))))
    same = ("pixels", "pickles", "suspects", "fdr", "fwer", "nulls", "memory", "keep_answers", "max_queries")
    return {
        "keys": keys,
        "closed": [Unreadable(path, why) for path, why in closed.items()],
        "models": tuple(options.models),
        **{name: getattr(options, name) for name in same},
    }


def _on_ray(options: argparse.Namespace) -> int:
    """Has a Ray cluster ask all shards, and puts them together."""
    from wmjax.devices import host_bytes
    from wmjax.journal import EXISTS
    from wmjax.keys import open_keys
    from wmjax.zoo.merge import merge, written
    from wmjax.zoo.on_ray import RETRIES, remote, run_parts

    if options.shard != (1, 1):
        raise UsageError("`ray` judges all parts: leave out `shard`")
    if not options.resume and (there := written(options.out)):
        raise UsageError(EXISTS.format(there[0]))
    keys, _ = open_keys(options.keys, unlocks(options))  # what is wrong with them is said here, and once
    at_a_time = max(1, int(os.cpu_count() or 1))
    options.memory = options.memory or int(host_bytes() / 4 / at_a_time)  # the same everywhere: portions follow from it
    told = {name: _named(value) for name, value in vars(options).items()}
    values = {name: value for name, value in told.items() if name not in ("verb", "parser", "shard", "resume")}
    again = RETRIES if options.max_queries is None else 0  # a part that is done again counts its questions anew
    run_parts(remote(ask_part, values, os.getcwd()), options.ray, options.each, options.parts, again)
    stores.forget()  # or the workers' journals would not be seen
    options = argparse.Namespace(**told)
    placed(options)
    return _tell(options, merge(options.out, keys))


def _named(value: Any) -> Any:
    """An option without what stands for objects of stores on this machine: on others something else does."""
    if isinstance(value, list):
        return [_named(one) for one in value]
    return Path(stores.unmirrored(str(value))) if isinstance(value, Path) else value


_begun: list[tuple[dict[str, Any], "AuditPlan"]] = []  # the audit that this worker of Ray has done a part of


def ask_part(values: dict[str, Any], folder: str, part: int, parts: int) -> None:
    """Asks one shard where Ray runs it: in the same folder, with the same options, after what is in its journal.

    A worker that has done another part of the audit neither walks through the zoo again nor opens the keys.
    """
    os.environ.setdefault("JAX_NUM_CPU_DEVICES", str(max(1, int(values["each"].get("CPU", 1)))))
    use_all_cores()
    from wmjax.keys.memory import Beside
    from wmjax.zoo import audit as room

    try:
        os.chdir(folder)
    except OSError as error:
        raise AccessError(f"{folder} is not on every host: start the audit in a folder that all see") from error
    try:
        stores.renew(values["out"])
        options = argparse.Namespace(**values)
        placed(options)
        if not _begun or _begun[0][0] != values:
            _begun[:] = [(values, room.plan_audit(options.zoo, **_what(options)))]
        room.ask_shard(_begun[0][1], options.out, (part, parts), resume=True, asked=Beside(options.keys))
    except WmjaxError:  # whoever tries again begins anew
        _begun.clear()
        stores.forget()
        raise


def _merge(options: argparse.Namespace) -> int:
    """Puts the shards of an audit together."""
    from wmjax.zoo.merge import merge

    usual = {name: options.parser.get_default(name) for name in vars(options)}
    others = [name for name, value in vars(options).items() if value != usual[name] and name not in _MERGING]
    if others:
        raise UsageError(f"`merge` goes without `{others[0]}`: the journals say what was asked")
    options.out = options.out or options.merge[0]
    journal.check_out(options.out, journal.AUDIT)
    keys = None
    if options.keys is not None:
        from wmjax.keys import open_keys

        keys, _ = open_keys(options.keys, unlocks(options))
    return _tell(options, merge(options.merge, keys))


def _tell(options: argparse.Namespace, result: "AuditResult") -> int:
    """Writes report and document, prints one of them, and gives the exit code.

    Without a match that is `inconclusive` where a pair is, and where something could not be asked, or about no key.
    """
    from wmjax.files import write_bytes
    from wmjax.report.audit import audit_table, write_audit_report

    document = result.to_json()
    write_audit_report(options.out / "report.html", result)
    write_bytes(options.out / "audit.json", json.dumps(document, indent=1).encode() + b"\n")
    if options.png:
        from wmjax.report.curves import of_audit
        from wmjax.report.picture import write_picture

        write_picture(options.png, [of_audit(result)])
    say(options, document, *audit_table(result), f"report: {options.out / 'report.html'}")
    if document["matches"]:
        return EXIT_CODES["match"]
    asked = bool(result.models and (result.outcomes > 0).any(axis=1).all()) and not result.unreadable
    return EXIT_CODES["inconclusive" if document["inconclusive"] or not asked else "no-match"]


def pack(options: argparse.Namespace) -> int:
    """Stacks the models of a zoo into one file a family."""
    load_jax()
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
