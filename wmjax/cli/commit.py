"""The verb that publishes: time stamps, and statements about released models."""

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from wmjax.cli.openers import passphrase
from wmjax.cli.terminal import say, warn
from wmjax.errors import UsageError
from wmjax.stores import place

if TYPE_CHECKING:
    from wmjax.evidence.authority import Authority
    from wmjax.keys import SignedCommitment


def commit(options: argparse.Namespace) -> int:
    """Has a commitment time-stamped, or signs one that names a released model."""
    from wmjax.keys import read_commitment

    public = read_commitment(options.commitment)
    if options.model:
        files = _release(options, public)
    elif options.timestamp:
        files = stamp(options.commitment, options.timestamp, authorities(options.authorities))
    else:
        raise UsageError("nothing to do: --timestamp URL has it time-stamped, --release MODEL names a released model")
    document = {"version": 1, "key_id": public.commitment.id, "files": [str(file) for file in files]}
    say(options, document, f"key {public.commitment.id[:12]}", *(f"  wrote {file}" for file in files))
    return 0


def _release(options: argparse.Namespace, public: "SignedCommitment") -> list[Path]:
    """Signs that a model carries the key: in a file, or in the model's folder with all other files of that."""
    from wmjax.evidence.release import sign_release
    from wmjax.files import write_new
    from wmjax.keys import open_signer, sign_commitment
    from wmjax.suspects import Wanted
    from wmjax.suspects.stored import describe, find

    if not options.signer:
        raise UsageError("--release needs --signer, the key that signed the commitment")
    signer, trusted = open_signer(options.signer, passphrase(options.passphrase)), authorities(options.authorities)
    if signer.owner != public.owner:
        raise UsageError(f"{options.signer} is not the key that signed {options.commitment}")
    stored = find(options.model, Wanted.by([public.commitment.spec], options.models))
    statement = sign_commitment(public.commitment, signer, describe(stored))
    if options.out:
        write_new(options.out, statement)
        return [options.out, *stamp(options.out, options.timestamp, trusted)]
    folder, path = place(options.model), stored.path.resolve()
    if not folder.is_dir() or folder.resolve() != (path.parent if path.is_file() else path):
        raise UsageError(
            f"{folder} is not the folder of one released model: `wmjax export` makes such a folder; "
            "or give --out FILE.commitment.json"
        )
    _warn_unchecked(options.timestamp, trusted)
    return sign_release(folder, statement, signer, options.timestamp, trusted)


def authorities(paths: Sequence[Path]) -> "list[Authority]":
    """The time-stamping authorities that --tsa names."""
    from wmjax.evidence.authority import read_authority

    return [read_authority(path) for path in paths]


def stamp(commitment: Path, urls: Sequence[str], trusted: "Sequence[Authority]") -> list[Path]:
    """Obtains a time stamp from each URL; gives the files that were written beside the commitment."""
    from wmjax.evidence.timestamps import embedded_certificates, obtain
    from wmjax.files import read_bytes, write_new

    written = []
    for url in urls:
        token = obtain(url, read_bytes(commitment), trusted)
        number = next(n for n in range(1, 1000) if not commitment.with_suffix(f".{n}.tsr").exists())
        for end, data in (("tsr", token), ("tsa.pem", embedded_certificates(token))):
            written.append(commitment.with_suffix(f".{number}.{end}"))
            write_new(written[-1], data)
    _warn_unchecked(urls, trusted)
    return written


def _warn_unchecked(urls: Sequence[str], trusted: "Sequence[Authority]") -> None:
    if urls and not trusted:
        warn("the time stamps were not checked against an authority that you trust: --tsa FILE.pem does")
