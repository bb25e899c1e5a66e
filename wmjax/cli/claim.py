"""The verb of a claimant: `claim`."""

import argparse
from collections.abc import Collection
from pathlib import Path
from typing import TYPE_CHECKING

from wmjax.cli.hints import journal_of
from wmjax.cli.judge import draw
from wmjax.cli.openers import passphrase, suspect, unlock, wanted
from wmjax.cli.terminal import EXIT_CODES, say, warn
from wmjax.errors import UsageError

if TYPE_CHECKING:
    from wmjax.evidence.claim import Claim


def claim(options: argparse.Namespace) -> int:
    """Asks a suspect the questions that a challenger's nonce picks, and writes a signed claim."""
    from wmjax.evidence.claim_file import read_claim
    from wmjax.evidence.judge import judge as check
    from wmjax.files import alone, check_room, write_bytes
    from wmjax.keys.files import check_sealed
    from wmjax.report.evidence import judgement_page

    page_path = options.out.with_suffix(".html") if options.out.name else options.out
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
    draw(options, checked)
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
    from wmjax.evidence.claim import read_nonce
    from wmjax.evidence.claim_file import attach
    from wmjax.evidence.claimant import claim as make
    from wmjax.keys import open_key, open_signer, spend
    from wmjax.keys.keyset import limit
    from wmjax.keys.memory import remember

    opener = unlock(options)
    key = open_key(options.key, opener)
    accused = suspect(options, wanted(options, key.spec), limit(key, options.max_queries))

    def mark(triggers: Collection[int]) -> None:
        """As spent, and as shown: in a later verification they clear this suspect no more."""
        spend(options.key, opener, triggers)
        if accused.remembers:
            remember(options.key, accused.name, triggers)

    signer = open_signer(options.signer or _companion(options.key, ".signer.pem"), passphrase(options.passphrase))
    commitments = [attach(path) for path in (public, *options.commitments)]
    made = make(
        accused,
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
