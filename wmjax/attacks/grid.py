"""The grid: attacks x strengths x victims, the networks of an attack at once; what is done is kept in a journal."""

import dataclasses
import time
import zlib
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import jax

from wmjax import journal
from wmjax.attacks.attempt import Attempt, GridHeader
from wmjax.attacks.case import Case, keys_of, seed_of
from wmjax.attacks.contract import CUT, Attack, Attacked, Served, Stolen, Thief, untouched
from wmjax.attacks.inversion import inverted
from wmjax.attacks.measure import measure
from wmjax.attacks.result import AttackResult, Point
from wmjax.attacks.suite import Suite
from wmjax.devices import ran_out
from wmjax.digest import digest
from wmjax.errors import InvalidFile, UsageError
from wmjax.grounds import Ground
from wmjax.keys import Key
from wmjax.models import Config, one, stack
from wmjax.progress import left
from wmjax.suspects.network import weights_of
from wmjax.text import by
from wmjax.train.check import check_seed

JOURNAL = journal.Kind(journal.ATTACK, GridHeader.from_json, Attempt.from_json, list[Attempt])
NONE = Attack("none", "does nothing", "", (), (), frozenset(), untouched)


def try_suite(
    suite: Suite, case: Case, *, out: Path | None = None, resume: bool = False, say: Callable[[str], None] | None = None
) -> AttackResult:
    """Tries every attack of a suite on every victim.

    Args:
      suite: attacks and their strengths.
      case: who and on what.
      out: folder of the journal; none is written by default.
      resume: continue with the journal in `out`.
      say: told a line about each attack that is done.

    Raises:
      UsageError: the journal is there and not to be resumed; two keys have one name; the seed cannot be.
      InvalidFile: the journal is damaged, or of another grid.
      AccessError: the journal cannot be written.
    """
    check_seed(case.seed)
    path = out and out / journal.FILES[journal.ATTACK]
    book = journal.begin(path, JOURNAL, _header(suite, case), resume=resume)
    try:
        known = {attempt.attack for attempt in book.records}
        if len(known) < len(book.records):
            raise InvalidFile(f"{path} is damaged: an attack is there twice")
        for attack, strengths in [(NONE, (0.0,)), *suite.attacks]:
            if attack.name not in known:
                book.add(_try(attack, strengths, case))
                if say:
                    say(f"{_told(book.records[-1])}; {_rest(suite, book.records)}")
        if suite.inversion and "inversion" not in known:
            book.add(inverted(case))
            if say:
                say(f"{_told(book.records[-1])}; {_rest(suite, book.records)}")
    finally:
        book.close()
    return _result(suite, case, book.records)


def _try(attack: Attack, strengths: Sequence[float], case: Case) -> Attempt:
    """One attack at all its strengths on all victims; where it cannot be tried, why."""
    began, notes, points, why = time.monotonic(), list[Ground](), list[Point](), None
    places = [(s, v) for s in range(len(strengths)) for v in range(len(case.victims))]
    stolen = Stolen(
        case.config,
        stack([case.victims[v].variables for _, v in places]),
        [strengths[s] for s, _ in places],
        [seed_of(case, attack.name, s, v) for s, v in places],
    )
    try:
        _check_needs(attack, case.thief)
        number = 0
        for attacked in _in_memory(attack, stolen, case.thief, notes):
            for i in range(len(jax.tree.leaves(attacked.variables)[0])):
                variables = one(attacked.variables, i)
                network = Served(attacked.config, variables, stolen.strengths[number], stolen.seeds[number])
                victim = case.victims[places[number][1]]
                points += measure(attack, network, attacked.kept, victim, case.thief, case.test)
                number += 1
    except UsageError as error:
        points, why = [], str(error)
    return Attempt(attack.name, tuple(points), (), tuple(notes), why, round(time.monotonic() - began, 1))


def _in_memory(attack: Attack, stolen: Stolen, thief: Thief, notes: list[Ground]) -> Iterator[Attacked]:
    """The attacked networks; half of them at a time, and so on, where they do not fit in memory together."""
    attacked = _run(attack, stolen, thief)
    if attacked is not None:
        yield attacked
        return
    half = -(-len(stolen.seeds) // 2)
    notes.append(Ground(CUT, {"attack": attack.name, "networks": len(stolen.seeds), "part": half}))
    for part in (slice(0, half), slice(half, None)):
        variables = jax.tree.map(lambda leaf, part=part: leaf[part], stolen.variables)
        smaller = Stolen(stolen.config, variables, stolen.strengths[part], stolen.seeds[part])
        yield from _in_memory(attack, smaller, thief, notes)


def _run(attack: Attack, stolen: Stolen, thief: Thief) -> Attacked | None:
    """The attacked networks; None where they do not fit in memory together: what was tried is then let go of.

    Raises:
      UsageError: not even one fits.
    """
    try:
        return attack.run(stolen, thief)
    except (MemoryError, jax.errors.JaxRuntimeError) as error:
        if not ran_out(error):
            raise
        if len(stolen.seeds) == 1:
            raise UsageError("one network does not fit in memory with this attack: use a smaller `batch`") from error
        return None


def _check_needs(attack: Attack, thief: Thief) -> None:
    if "images" in attack.needs and thief.images is None:
        raise UsageError("needs labelled images of the task, and the thief has none")
    if "queries" in attack.needs and thief.queries is None:
        raise UsageError("needs images of another data set: name one with `queries`")


def _told(attempt: Attempt) -> str:
    """A line about an attack that is done."""
    if attempt.why is not None:
        return f"{attempt.attack}: skipped, {attempt.why}"
    bits = [
        f"{point.bits:.0f}" for point in sorted(attempt.points, key=lambda p: p.bits or 0.0) if point.bits is not None
    ]
    kept = f", {' to '.join(dict.fromkeys((bits[0], bits[-1])))} bits left" if bits else ""
    return f"{attempt.attack}: {len(attempt.points) or len(attempt.leaks)} tried{kept}, {attempt.seconds:.0f} s"


def _rest(suite: Suite, done: Sequence[Attempt]) -> str:
    """How many attacks are done, and how long the others take if each strength takes as long as those so far."""
    strengths = {NONE.name: 1, **{attack.name: len(chosen) for attack, chosen in suite.attacks}}
    if suite.inversion:
        strengths["inversion"] = 1
    tried, seconds = sum(strengths[one.attack] for one in done), sum(one.seconds for one in done)
    return f"{len(done)} of {len(strengths)} attacks{left(tried, sum(strengths.values()), seconds)}"


def _header(suite: Suite, case: Case) -> GridHeader:
    """What a journal must agree with to be resumed; digests alone, no secret."""
    thief = case.thief
    return GridHeader(
        suite={attack.name: list(strengths) for attack, strengths in suite.attacks},
        inversion=suite.inversion,
        model=case.config.to_json(),
        victims=[digest(weights_of(victim.variables)) for victim in case.victims],
        keys={name: key.commitment.id for name, key in keys_of(case).items()},
        sources=sorted(case.sources),
        images=thief.images.fingerprint() if thief.images else None,
        queries=None if thief.queries is None else zlib.crc32(thief.queries.tobytes()),
        recipe={**dataclasses.asdict(thief.recipe), "tuning_epochs": thief.tuning_epochs},
        test=case.test.fingerprint(),
        seed=case.seed,
    )


def _result(suite: Suite, case: Case, attempts: Sequence[Attempt]) -> AttackResult:
    keys = keys_of(case)
    tried = [attack for attack, _ in suite.attacks]
    return AttackResult(
        suite=suite.name,
        data=case.data,
        model=_words(case.config),
        keys={name: _key_words(key) for name, key in keys.items()},
        match_bits=max(key.commitment.rule.match_bits for key in keys.values()),
        thief=_thief_words(case.thief),
        attackers={attack.name: attack.attacker for attack in tried},
        strengths={attack.name: attack.strength for attack in tried},
        points=[point for attempt in attempts for point in attempt.points],
        leaks=[leak for attempt in attempts for leak in attempt.leaks],
        skipped={attempt.attack: attempt.why for attempt in attempts if attempt.why is not None},
        notes=tuple(note for attempt in attempts for note in attempt.notes),
        seconds=round(sum(attempt.seconds for attempt in attempts), 1),
    )


def _words(config: Config) -> str:
    shape = by(config.image)
    return f"{config.name} {'-'.join(map(str, config.widths))} for {shape} and {config.classes} classes"


def _key_words(key: Key) -> dict[str, Any]:
    spec = key.spec
    return {"scheme": spec.scheme, "labels": spec.labels, "triggers": spec.triggers, "id": key.commitment.id}


def _thief_words(thief: Thief) -> list[str]:
    recipe = thief.recipe
    return [
        f"{len(thief.images):,} labelled images of the task" if thief.images else "no images of the task",
        "no other images" if thief.queries is None else f"{len(thief.queries):,} images of another data set",
        f"{recipe.epochs} epochs from scratch, {thief.tuning_epochs} of fine-tuning, batches of {recipe.batch}",
    ]
