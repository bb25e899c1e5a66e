"""The verbs of a dispute: claim, judge."""

import argparse
import datetime
from collections.abc import Collection, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from wmjax.cli.commit import authorities
from wmjax.cli.hints import journal_of
from wmjax.cli.openers import passphrase, unlock, wanted
from wmjax.cli.openers import suspect as accused
from wmjax.cli.terminal import EXIT_CODES, say, warn
from wmjax.errors import InvalidFile, UsageError
from wmjax.stores import place

if TYPE_CHECKING:
    from wmjax.data import Dataset
    from wmjax.evidence.claim import Claim
    from wmjax.evidence.facts import Court
    from wmjax.evidence.hearing import Hearing
    from wmjax.evidence.judgement import Judgement, Refused, Settlement
    from wmjax.evidence.release import Release
    from wmjax.evidence.timestamps import Authority
    from wmjax.suspects.contract import Suspect


def claim(options: argparse.Namespace) -> int:
    """Asks a suspect the questions that a challenger's nonce picks, and writes a signed claim."""
    from wmjax.evidence.claim import read_claim
    from wmjax.evidence.judge import judge as check
    from wmjax.files import alone, check_room, write_bytes
    from wmjax.keys.files import check_sealed
    from wmjax.report.evidence import judgement_page

    page_path = options.out.with_suffix(".html")
    if page_path == options.out:
        raise UsageError(f"--out {options.out}: name the claim's file, e.g. claim.json; its page is then claim.html")
    check_room(options.out.parent, 1 << 26)
    _check_out(options, page_path)
    check_sealed(options.key)  # what is not a key is told before what is not beside it
    public = _companion(options.key, ".commitment.json")
    with alone(public):  # two claims at once would ask the same triggers
        raw, spent = _asked(options, public)
    made = read_claim(raw, str(options.out))
    # Both show triggers: they are for the judge, and for whom else the owner gives them to.
    checked = [check(made)]
    write_bytes(page_path, judgement_page(checked, title="A claim"), mode=0o600)
    _draw(options, checked)
    write_bytes(options.out, raw, mode=0o600)
    left = made.commitment.spec.triggers - len(spent | {row.index for row in made.rows})
    return _tell_claim(options, made, page_path, left)


def _check_out(options: argparse.Namespace, page_path: Path) -> None:
    """A claim is written over only by itself: with its journal, when it is resumed."""
    journal = journal_of(options.out)
    if options.resume and journal.exists():
        return
    for path in (options.out, page_path):
        if path.exists():
            raise UsageError(f"{path} already exists: claims are never overwritten, choose another `out`")


def _companion(key: Path, end: str) -> Path:
    """NAME.end beside NAME.age: beside the file itself, or beside a link to it where only the link has one."""
    beside = key.resolve().with_suffix(end)
    return beside if beside.exists() else key.with_suffix(end)


def _tell_claim(options: argparse.Namespace, made: "Claim", page_path: Path, left: int) -> int:
    from wmjax.text import quoted

    stated = made.stated
    repeated = f"{stated['matches']} of {stated['queries']} answers match, {stated['evidence_bits']:.1f} bits"
    if made.commitment.spec.policy.revealed:
        repeated = f"{stated['queries']} answers"
        if made.truth is not None:
            repeated += f", {stated['matches']} coins agree, {stated['evidence_bits']:.1f} bits"
    document = {"version": 1, "key_id": made.commitment.id, "out": str(options.out), "sha256": made.sha256, **stated}
    say(
        options,
        {
            **document,
            "triggers_left": left,
            "revealed": made.secret is not None,
            "journal": str(journal_of(options.out)),
        },
        f"{stated['verdict']}: {quoted(made.suspect)} and key {made.commitment.id[:12]}, by the committed rule",
        f"  {repeated}; these triggers are spent now, {left} of {made.commitment.spec.triggers} are left",
        f"  wrote {options.out} and {page_path}; a judge decides what they prove",
    )
    if made.secret:
        warn(f"{options.out} holds the key's secret: hand it to the judge alone, e.g. by `age -r THEIR_KEY`")
    elif options.reveal:
        warn("the secret is not in the claim: no judge would say match by these answers (--resume --anyway puts it in)")
    else:
        warn(
            "a notice proves nothing, and has spent triggers that a claim for another nonce will lack; for this nonce "
            "--resume --reveal makes the claim of it"
        )
    return EXIT_CODES[stated["verdict"]]


def _asked(options: argparse.Namespace, public: Path) -> tuple[bytes, frozenset[int]]:
    """The claim's file, and the triggers that were spent before."""
    from wmjax.evidence.claim import attach, read_nonce
    from wmjax.evidence.claimant import claim as make
    from wmjax.keys import open_key, open_signer, spend
    from wmjax.keys.keyset import limit
    from wmjax.keys.memory import remember

    opener = unlock(options)
    key = open_key(options.key, opener)
    suspect = accused(options, wanted(options, key.spec), limit(key, options.max_queries))

    def mark(triggers: Collection[int]) -> None:
        """As spent, and as shown: in a later verification they clear this suspect no more."""
        spend(options.key, opener, triggers)
        if suspect.remembers:
            remember(options.key, suspect.name, triggers)

    signer = open_signer(options.signer or _companion(options.key, ".signer.pem"), passphrase(options.passphrase))
    commitments = [attach(path) for path in (public, *options.commitments)]
    made = make(
        suspect,
        key,
        signer,
        commitments,
        read_nonce(options.nonce),
        mark,
        whole=options.whole,
        reveal=options.reveal,
        anyway=options.anyway,
        journal=journal_of(options.out),
        resume=options.resume,
        max_queries=options.max_queries,
    )
    return made, key.spent


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
    if readable:
        court, originals = _court(options, readable)
    else:
        court, originals = Court(), []
    return _tell(options, hear(claims, court, originals), written)


def _court(options: argparse.Namespace, claims: "Sequence[Claim]") -> "tuple[Court, list[Suspect]]":
    """What the judge has, and what the parties call their originals."""
    from wmjax.evidence.claim import read_nonce
    from wmjax.evidence.facts import Court
    from wmjax.evidence.judge_asking import FRESH
    from wmjax.suspects import open_suspect

    known = wanted(options, *(claim.commitment.spec for claim in claims))
    questions = sum(len(claim.rows) + FRESH for claim in claims)
    if options.max_queries is not None and options.max_queries < questions:
        raise UsageError(f"judging this may take {questions} questions, more than `max_queries` allows")
    trusted = authorities(options.authorities)
    releases, spoilt = _releases([options.suspect, *options.originals], trusted)
    court = Court(
        nonce=read_nonce(options.nonce) if options.nonce else None,
        suspect=accused(options, known, questions) if options.suspect else None,
        sources=_sources(options, claims),
        authorities=trusted,
        since=options.since,
        alpha=options.alpha,
        releases=releases,
        spoilt=spoilt,
    )
    return court, [open_suspect(name, known) for name in options.originals]


def _releases(names: Sequence[str | None], trusted: "Sequence[Authority]") -> "tuple[list[Release], dict[str, str]]":
    """The released folders among the judge's models, and why others that look like one are none."""
    from wmjax.digest import BUNDLE
    from wmjax.evidence.release import read_release

    releases, spoilt = [], {}
    for name in dict.fromkeys(names):
        if name and (place(name) / BUNDLE).exists():
            try:
                releases.append(read_release(name, trusted))
            except InvalidFile as error:
                spoilt[name] = str(error)
    return releases, spoilt


def _sources(options: argparse.Namespace, claims: "Sequence[Claim]") -> "list[Dataset]":
    """The splits that the claims' keys start from, each once, of all sets that the judge has."""
    from wmjax.data import load_source
    from wmjax.keys.specify import split_of

    specs = [claim.commitment.spec for claim in claims]
    parts = dict.fromkeys((spec.image, split_of(spec)) for spec in specs)
    return [load_source(name, options.data_dir, *part) for name in options.sources for part in parts]


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
    document["settlement"] = settlement and wording.settlement_document(settlement)
    if written:
        _write(written, document, judgements, settlement)
    _draw(options, judgements)
    lines = []
    for path, one in zip(options.claims, judgements, strict=True):
        lines += [f"{one.code}: {path}: {one.reason}"] if isinstance(one, Refused) else judgement_lines(one)
    if settlement:
        head, *words = wording.sentences([settlement.headline, *settlement.grounds])
        lines += [head, *(f"  - {sentence}" for sentence in words)]
    if written:
        lines.append("  wrote {} and {}".format(*written))
    say(options, document, *lines)
    refused = {one.code: one.exit_code for one in judgements if isinstance(one, Refused)}
    return {**refused, **EXIT_CODES}[hearing.outcome]


def _draw(options: argparse.Namespace, judgements: "Sequence[Judgement | Refused]") -> None:
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
    """OUT.json and OUT.html; raises `UsageError` if one exists: it may be the claim itself."""
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
