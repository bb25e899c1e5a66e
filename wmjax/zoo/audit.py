"""The audit: which models of a zoo answer to which keys, with one bound on false matches over all of them."""

import contextlib
import dataclasses
import functools
import os
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import numpy as np

from wmjax import journal
from wmjax.devices import host_bytes
from wmjax.errors import InvalidFile, UsageError
from wmjax.keys import Key, open_keys
from wmjax.keys.memory import Beside, Memory
from wmjax.progress import progress
from wmjax.stores import check, place
from wmjax.suspects.contract import Wanted
from wmjax.zoo.book import JOURNAL, AuditJournal
from wmjax.zoo.conclude import conclude_audit
from wmjax.zoo.discover import discover, shown
from wmjax.zoo.grounds import Basis
from wmjax.zoo.header import AuditHeader, joined
from wmjax.zoo.load import read_ahead
from wmjax.zoo.members import read_members
from wmjax.zoo.merge import basis_of, written
from wmjax.zoo.plan import AuditPlan, make_plan
from wmjax.zoo.prepared import Prepared, ask_chunk, compile_ahead, prepare
from wmjax.zoo.records import Entry, Unreadable, Zoo
from wmjax.zoo.replay import keys_of, secret_of
from wmjax.zoo.result import AuditResult
from wmjax.zoo.scope import Level
from wmjax.zoo.turns import Turns

_MEMORY = 0.25  # share of the host's memory that models may take where nothing else is said


def audit(
    zoo: str | os.PathLike[str],
    keys: str | os.PathLike[str] | Mapping[str, Key],
    *,
    closed: Sequence[Unreadable] = (),
    models: Sequence[str] = (),
    pixels: str = "",
    pickles: bool = False,
    suspects: str | os.PathLike[str] | None = None,
    fdr: float | None = None,
    fwer: float | None = None,
    nulls: str | os.PathLike[str] | None = None,
    memory: int | None = None,
    out: str | os.PathLike[str] | None = None,
    resume: bool = False,
    shard: tuple[int, int] = (1, 1),
    keep_answers: bool = False,
    asked: Memory | None = None,
    nonce: bytes | None = None,
    max_queries: int | None = None,
) -> AuditResult:
    """Asks every model of a zoo about every key, in one pass.

    Guarantee, for keys with random labels: with `fdr`, the expected share of false ones among the matches is at most
    that; with `fwer`, the chance of any false match is. Each match also meets the alpha that its key committed to.

    Example:

        for finding in wmjax.audit("zoo", "keys", fdr=0.01):
            print(finding.model, finding.key, finding.verdict, finding.evidence_bits)

    Args:
      zoo: folder of checkpoints, or one checkpoint or file.
      keys: opened keys by name, or a folder of NAME.age with NAME.identity beside.
      closed: keys that could not be opened, for the list of what was not asked.
      models: architectures of bare parameter trees: names of wmjax's families, `timm:NAME`, `torchvision:NAME` or
        `module:factory`.
      pixels: how pixels are prepared, a name of `wmjax.suspects.pixels.PIXELS`, or `stated`: as files say, where they
        do; by default files are asked in all of these ways.
      pickles: open PyTorch files too, which are pickles, if tensors are all they hold.
      suspects: a list of members that only you can name, e.g. functions (`wmjax.suspects.listing` says what it holds);
        what it names is imported.
      fdr: bound on the false discovery rate; 0.01 where neither is given.
      fwer: bound on the family-wise error rate, instead.
      nulls: folder of models known to be innocent, which calibrate keys without exact evidence.
      memory: bytes that models may take; a quarter of the host's by default.
      out: folder of the journal; none is written by default.
      resume: continue with the journal in `out`.
      shard: (i, n): judge the i-th of n parts, from 1; `merge` puts them together.
      keep_answers: write every answer into the journal, so that who resumes or merges it with the keys plays the
        evidence again and believes no figure that does not follow. Scores are then bet on as float32.
      asked: remembers which triggers members that can only be asked were shown (`wmjax.keys.memory.Beside`): in later
        audits those clear nobody. Beside the key files where `keys` is a folder; nowhere by default else.
      nonce: from which and the secrets the order follows in which such members are asked; drawn for each by default.
      max_queries: questions that each such member may be asked in this run.

    It runs on all devices of this process. On a CPU `jax.config.update("jax_num_cpu_devices", CORES)`, before anything
    else, makes one of each core, which is faster for small networks; the command line does that. A program that is
    still being compiled when ONNX Runtime has answered keeps the process from ending until it is done.

    Returns:
      Verdicts of this shard; iterating gives one `AuditFinding` a pair, strongest evidence first.

    Raises:
      UsageError: there is no key, or the options contradict each other.
      InvalidFile: the journal is damaged, was edited, or is of another audit.
      AccessError: the zoo or the journal cannot be read or written.
    """
    began = time.monotonic()
    path = _journal(out, shard)
    if path and path.exists() and not resume:  # said before the walk, which may take long
        raise UsageError(journal.EXISTS.format(path))
    if not isinstance(keys, Mapping):
        asked = asked or Beside(place(keys))
        keys, sealed = open_keys(keys)
        closed = [*closed, *(Unreadable(file, why) for file, why in sealed.items())]
    plan = plan_audit(
        zoo,
        keys,
        closed=closed,
        models=models,
        pixels=pixels,
        pickles=pickles,
        suspects=suspects,
        fdr=fdr,
        fwer=fwer,
        nulls=nulls,
        memory=memory,
        keep_answers=keep_answers,
        max_queries=max_queries,
    )
    return ask_shard(plan, out, shard, resume=resume, asked=asked, nonce=nonce, began=began)


def plan_audit(
    zoo: str | os.PathLike[str],
    keys: Mapping[str, Key],
    *,
    closed: Sequence[Unreadable] = (),
    models: Sequence[str] = (),
    pixels: str = "",
    pickles: bool = False,
    suspects: str | os.PathLike[str] | None = None,
    fdr: float | None = None,
    fwer: float | None = None,
    nulls: str | os.PathLike[str] | None = None,
    memory: int | None = None,
    keep_answers: bool = False,
    max_queries: int | None = None,
) -> AuditPlan:
    """What an audit with these arguments of `audit` asks, of which `ask_shard` asks a part; raises as `audit` does."""
    level = _level(fdr, fwer)
    if max_queries is not None and max_queries < 1:
        raise UsageError("`max_queries` must be 1 at least")
    listed = None if suspects is None else place(suspects)
    wanted = Wanted.by((key.spec for key in keys.values()), models, pixels, pickles=pickles)
    found, innocent = _found(place(zoo), None if nulls is None else place(nulls), wanted, keys, listed, max_queries)
    found.unreadable.extend(closed)
    memory = int(_MEMORY * host_bytes()) if memory is None else memory
    return make_plan(found, keys, level, memory, innocent, keep_answers=keep_answers)


def ask_shard(
    plan: AuditPlan,
    out: str | os.PathLike[str] | None,
    shard: tuple[int, int],
    *,
    resume: bool,
    asked: Memory | None,
    nonce: bytes | None = None,
    began: float | None = None,
) -> AuditResult:
    """Asks one part of a plan; arguments, result and errors are those of `audit`, `began` is when it was called."""
    began = time.monotonic() if began is None else began
    path, header = _journal(out, shard), plan.header()
    if path:
        _check_siblings(path, header)
    book = journal.begin(path, JOURNAL, header, resume=resume, secret=secret_of(keys_of(header, plan.keys)))
    try:
        basis = basis_of(path, book, plan.keys) if book.records else Basis.ASKED
        begin = functools.partial(Turns, book, memory=asked, nonce=nonce)
        plan = dataclasses.replace(plan, spent=book.header.spent)  # as it began: the models are those of then, too
        _carry_out(plan, book, shard, began, begin)
    finally:
        book.close()
    return conclude_audit(joined([book.header, header]), list(book.records.chunks.values()), basis)


def _journal(out: str | os.PathLike[str] | None, shard: tuple[int, int]) -> Path | None:
    if not 1 <= shard[0] <= shard[1]:
        raise UsageError(f"`shard` {shard[0]}/{shard[1]}: the first number must be from 1 to the second")
    return place(out) / f"journal-{shard[0]}-of-{shard[1]}.jsonl" if out else None


def _level(fdr: float | None, fwer: float | None) -> Level:
    if fdr is not None and fwer is not None:
        raise UsageError("`fdr` and `fwer`: choose one bound")
    if fwer is not None:
        return Level("fwer", fwer)
    return Level("fdr", 0.01 if fdr is None else fdr)


def _found(
    zoo: Path,
    nulls: Path | None,
    wanted: Wanted,
    keys: Mapping[str, Key],
    listed: Path | None,
    max_queries: int | None,
) -> tuple[Zoo, Sequence[Entry]]:
    """The zoo, with all that could not be read in it or among the null models, and the null models."""
    members = read_members(listed, shown(listed.name), wanted, keys, max_queries) if listed else None
    found = discover(zoo, wanted, members)
    if nulls is None:
        return found, ()
    innocent = discover(nulls, wanted)
    found.unreadable.extend(Unreadable(f"{nulls}/{item.path}", item.why) for item in innocent.unreadable)
    return found, innocent.entries


def _check_siblings(path: Path, header: AuditHeader) -> None:
    """Raises `InvalidFile` where another shard's journal in the same folder is of another audit."""
    for sibling in written(path.parent):
        other = journal.read_header(sibling, JOURNAL) if sibling != path else None
        if other and (differing := journal.difference(other, header)):
            raise InvalidFile(f"{sibling} is of an audit with other {differing}: choose another `out`")


def _carry_out(
    plan: AuditPlan,
    book: AuditJournal,
    shard: tuple[int, int],
    began: float,
    begin: Callable[..., Turns],
) -> None:
    """Judges the chunks of this shard that the journal does not hold."""
    chunks, records = plan.chunks(), dict(book.records.chunks)
    done = {chunk for chunk, record in records.items() if not record.again}
    todo = [i for i in range(shard[0] - 1, len(chunks), shard[1]) if i not in done]
    ends = np.cumsum([len(chunk) for chunk in chunks])
    widths = {record.family: record.width for record in records.values() if record.width}
    prepared = functools.lru_cache(maxsize=1)(
        functools.partial(prepare, plan)
    )  # an earlier family's leaves the devices

    def family_of(i: int) -> Prepared:
        return prepared(chunks[i][0].network, null=bool(ends[i] > plan.suspects))

    matches, models, start = sum(record.found for record in records.values()), 0, time.monotonic()
    run = 0
    with (
        progress("auditing", sum(len(chunks[i]) for i in todo)) as advance,
        contextlib.closing(read_ahead([chunks[i] for i in todo], plan.rows)) as read,
    ):
        for i in todo[:1]:
            family = family_of(i)
            if width := compile_ahead(family, chunks[i], widths.get(family.network.fingerprint)):
                widths[family.network.fingerprint] = width
        for i, chunk in zip(todo, read, strict=True):
            family = family_of(i)
            record = ask_chunk(family, chunk, i, widths.get(family.network.fingerprint), functools.partial(begin, i))
            if record.width:
                widths[record.family] = record.width
            check()  # or what could not be read would stay so, as something damaged
            now = time.monotonic()
            book.add(dataclasses.replace(record, seconds=round(now - began, 3)))
            began = now
            matches, models = matches + record.found, models + len(chunk.entries)
            run += len(chunk.entries) if record.run else 0
            told = f", {run} by ONNX Runtime" if run else ""
            advance(len(chunk.entries), f"{models / (now - start):.1f} models/s, {matches} matches{told}")
