"""The verb of a judge: `judge`."""

import argparse
import datetime
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from wmjax.cli.commit import authorities
from wmjax.cli.openers import suspect, wanted
from wmjax.cli.terminal import EXIT_CODES, say
from wmjax.errors import InvalidFile, UsageError
from wmjax.stores import place

if TYPE_CHECKING:
    from wmjax.data import Dataset
    from wmjax.evidence.authority import Authority
    from wmjax.evidence.claim import Claim
    from wmjax.evidence.facts import Court
    from wmjax.evidence.hearing import Hearing
    from wmjax.evidence.judgement import Judgement, Refused, Settlement
    from wmjax.evidence.release import Release
    from wmjax.suspects.contract import Suspect


def judge(options: argparse.Namespace) -> int:
    """Checks claims again and says what they prove."""
    from wmjax.evidence.claim import Claim
    from wmjax.evidence.facts import Court
    from wmjax.evidence.hearing import hear, read_all
    from wmjax.files import read_bytes

    written = _verdict_paths(options.out) if options.out else None
    claims = read_all([(str(path), read_bytes(path)) for path in options.claims])
    readable = [one for one in claims if isinstance(one, Claim)]
    owners = {one.owner for one in readable}
    if options.originals and (len(options.originals), len(claims)) != (2, 2):
        raise UsageError("`originals`: two, with two claims, in the order of the claims")
    if options.originals and len(readable) == 2 != len(owners):
        raise UsageError("`originals`: two claims by one signer leave nothing to settle")
    if not readable:
        return _tell(options, hear(claims, Court()), written)
    court, originals = _court(options, readable)
    return _tell(options, hear(claims, court, originals, at_hand=_at_hand(options)), written)


def _court(options: argparse.Namespace, claims: "Sequence[Claim]") -> "tuple[Court, list[Suspect]]":
    """What the judge has, and what the parties call their originals."""
    from wmjax.evidence.claim import read_nonce
    from wmjax.evidence.facts import Court
    from wmjax.evidence.judge_asking import FRESH
    from wmjax.suspects import open_suspect

    questions = sum(len(claim.rows) + FRESH for claim in claims)
    if options.max_queries is not None and options.max_queries < questions:
        raise UsageError(f"judging this may take {questions} questions, more than `max_queries` allows")
    if not any(claim.commitment.spec.source for claim in claims):
        _check_sources(options)
    trusted = authorities(options.authorities)
    releases, spoilt = _releases([options.suspect, *options.originals], trusted)
    court = Court(
        nonce=read_nonce(options.nonce) if options.nonce else None,
        authorities=trusted,
        since=options.since,
        alpha=options.alpha,
        releases=releases,
        spoilt=spoilt,
    )
    known = wanted(options, *(claim.commitment.spec for claim in claims))
    return court, [open_suspect(name, known) for name in options.originals]


def _at_hand(options: argparse.Namespace) -> "Callable[[Claim], tuple[Suspect | None, Sequence[Dataset]]]":
    """For each claim the suspect, opened for its images alone, and the splits that its key may start from.

    So what one claim says of its images changes nothing for the others.
    """
    from wmjax.data import load_source
    from wmjax.evidence.judge_asking import FRESH
    from wmjax.keys import SCHEMES
    from wmjax.keys.specify import split_of

    suspects: dict[Any, Suspect | None] = {}
    splits: dict[Any, list[Dataset]] = {}

    def at_hand(claim: "Claim") -> "tuple[Suspect | None, Sequence[Dataset]]":
        spec = claim.commitment.spec
        takes = spec.image, spec.classes
        if takes not in suspects:
            known, questions = wanted(options, spec), len(claim.rows) + FRESH
            suspects[takes] = suspect(options, known, questions) if options.suspect else None
        if spec.source is None or spec.scheme not in SCHEMES:
            return suspects[takes], []
        part = spec.image, split_of(spec)
        if part not in splits:
            splits[part] = [load_source(name, options.data_dir, *part) for name in options.sources]
        return suspects[takes], splits[part]

    return at_hand


def _check_sources(options: argparse.Namespace) -> None:
    """Opens data sets that no key starts from: one that is not there is told all the same."""
    from wmjax.data.folder import is_folder
    from wmjax.data.source import open_source

    for name in options.sources:
        if not is_folder(Path(name)):
            open_source(name, options.data_dir)


def _releases(names: Sequence[str | None], trusted: "Sequence[Authority]") -> "tuple[list[Release], dict[str, str]]":
    """The released folders among the judge's models, and why others that look like one are none."""
    from wmjax.digest import BUNDLE
    from wmjax.evidence.release import read_release

    releases, spoilt = [], {}
    for name in dict.fromkeys(names):
        if name and (place(name) / BUNDLE).is_file():
            try:
                releases.append(read_release(name, trusted))
            except InvalidFile as error:
                spoilt[name] = str(error)
    return releases, spoilt


def _tell(options: argparse.Namespace, hearing: "Hearing", written: tuple[Path, Path] | None) -> int:
    """Prints the outcome, and writes document and page where they are asked for; gives the exit code."""
    from wmjax.evidence import wording
    from wmjax.evidence.judgement import Refused

    judgements, settlement = hearing.judgements, hearing.settlement
    if len(judgements) == 1 and isinstance(judgements[0], Refused):
        raise judgements[0].error(str(options.claims[0]))
    documents = [
        {"version": 2, **one.to_json(), "exit_code": one.exit_code}
        if isinstance(one, Refused)
        else {**wording.document(one), "exit_code": EXIT_CODES[one.verdict]}
        for one in judgements
    ]
    document: dict[str, Any] = {"version": 2, "judgements": documents}
    document["settlement"] = settlement and wording.settlement_document(settlement, judgements)
    if written:
        _write(written, document, judgements, settlement)
    draw(options, judgements)
    lines = []
    for path, one in zip(options.claims, judgements, strict=True):
        if isinstance(one, Refused):
            lines.append(f"{one.code}: {one.reason if one.reason.startswith(str(path)) else f'{path}: {one.reason}'}")
        else:
            lines += judgement_lines(one)
    if settlement:
        head, *words = wording.sentences([settlement.headline, *settlement.grounds])
        lines += [head, *(f"  - {sentence}" for sentence in words)]
    if written:
        lines.append("  wrote {} and {}".format(*written))
    say(options, document, *lines)
    refused = {one.code: one.exit_code for one in judgements if isinstance(one, Refused)}
    return {**refused, **EXIT_CODES}[hearing.outcome]


def draw(options: argparse.Namespace, judgements: "Sequence[Judgement | Refused]") -> None:
    """The evidence as a picture, where one is asked for; it shows no trigger."""
    from wmjax.report.evidence import evidence_plots
    from wmjax.report.picture import write_picture

    if options.png and (plots := evidence_plots(judgements)):
        write_picture(options.png, plots)


def _write(
    paths: tuple[Path, Path],
    document: Any,
    judgements: "Sequence[Judgement | Refused]",
    settlement: "Settlement | None",
) -> None:
    from wmjax.canonical import write_canonical
    from wmjax.files import write_new
    from wmjax.report.evidence import judgement_page

    title = "A dispute" if len(judgements) > 1 else "A verdict"
    json_path, page_path = paths
    write_new(json_path, write_canonical(document))
    write_new(page_path, judgement_page(judgements, settlement, title=title), mode=0o600)  # it shows triggers


def _verdict_paths(out: Path) -> tuple[Path, Path]:
    """OUT.json and OUT.html; raises `UsageError` if one exists, which may be the claim itself, or OUT is a folder's."""
    if out.name in ("", ".."):
        raise UsageError(f"--out {out}: a folder's name; give the verdict's own with it, e.g. {out / 'verdict'}")
    paths = Path(f"{out}.json"), Path(f"{out}.html")
    for path in paths:
        if path.exists():
            raise UsageError(f"{path} already exists: choose another --out")
    return paths


def judgement_lines(one: "Judgement") -> list[str]:
    """A judgement for people, on a terminal."""
    from wmjax.evidence import wording

    asked = "answers to you" if one.asked_by == "judge" else "answers to the claimant"
    bits = f"{one.evidence_bits:.1f} bits, a match needs {one.needed_bits:.1f}"
    found = f"{one.matches} of {one.queries} {asked} are the key's"
    if one.coins is not None:
        found = f"{one.matches} of {one.coins} coins agree after {one.queries} {asked}"
    lines = [f"{one.verdict}: {wording.headline(one)}", f"  {found}; {bits}"]
    for title, grounds in (
        ("proven", one.proven),
        ("taken on trust", one.assumed),
        ("missing", one.missing),
    ):
        if grounds:
            lines += [f"  {title}:", *(f"  - {sentence}" for sentence in wording.sentences(grounds))]
    return lines


def since(text: str) -> datetime.datetime:
    """A date, or a time with its offset from UTC. By one to come, any time stamp would be from before the suspect."""
    try:
        when = datetime.datetime.fromisoformat(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(f"{text!r} is not a date; use e.g. 2026-01-31") from error
    when = when if when.tzinfo else when.replace(tzinfo=datetime.UTC)
    if when > datetime.datetime.now(datetime.UTC) + datetime.timedelta(days=1):  # somewhere it is tomorrow already
        raise argparse.ArgumentTypeError(f"{text!r} is in the future: say when the suspect first appeared")
    return when
