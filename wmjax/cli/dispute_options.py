"""The options of what a dispute takes: statements in public, claims, judgements."""

import argparse
from pathlib import Path

from wmjax.cli import judge
from wmjax.cli.arguments import (
    FILE,
    SUSPECT,
    data_dir_option,
    model_option,
    png_option,
    reading_options,
    service_options,
    stamp_options,
    tsa_option,
    unlock_options,
)


def commit_options(parser: argparse.ArgumentParser) -> None:
    """Adds what a commitment is published with."""
    parser.add_argument("commitment", type=Path, metavar="COMMITMENT", help="NAME.commitment.json")
    parser.add_argument("--release", dest="model", metavar="MODEL", help=f"released model that carries the key: {FILE}")
    model_option(parser)
    parser.add_argument("--signer", type=Path, help="with --release: the key that signed it, e.g. NAME.signer.pem")
    parser.add_argument(
        "--out",
        type=Path,
        help="with --release: the file to write, e.g. RELEASE.commitment.json (default: it is put into the model's "
        "folder, all of which is signed in model.sig)",
    )
    parser.add_argument(
        "--passphrase-file", dest="passphrase", type=Path, help="what opens --signer (or set WMJAX_PASSPHRASE)"
    )
    stamp_options(parser)


def claim_options(parser: argparse.ArgumentParser) -> None:
    """Adds what a claim is made with."""
    unlock_options(parser)
    parser.add_argument("suspect", metavar="SUSPECT", help=SUSPECT)
    reading_options(parser)
    service_options(parser)
    parser.add_argument(
        "--nonce-from",
        dest="nonce",
        required=True,
        metavar="NONCE",
        help="the challenger's nonce: 16 to 64 bytes in hex, or a file that holds it",
    )
    parser.add_argument("--out", type=Path, required=True, help="claim file, e.g. claim.json; its page is claim.html")
    png_option(parser)
    parser.add_argument("--signer", type=Path, help="signing key (default: NAME.signer.pem beside NAME.age)")
    parser.add_argument(
        "--released",
        dest="commitments",
        type=Path,
        action="append",
        default=[],
        metavar="FILE",
        help="commitment that names a released model; repeatable",
    )
    parser.add_argument("--all", dest="whole", action="store_true", help="ask the whole key, even when decided")
    parser.add_argument(
        "--reveal",
        action="store_true",
        help="hand over the secret: without it nothing can be proven, and triggers are spent all the same",
    )
    parser.add_argument("--resume", action="store_true", help="continue a claim that was cut short, with its journal")
    parser.add_argument(
        "--anyway", action="store_true", help="ask, and reveal, even if it cannot become what a judge demands"
    )


def judge_options(parser: argparse.ArgumentParser) -> None:
    """Adds what a claim is judged with."""
    parser.add_argument(
        "claims", type=Path, nargs="+", metavar="CLAIM", help="claim file; several of one owner, or two in a dispute"
    )
    parser.add_argument("--nonce-from", dest="nonce", metavar="NONCE", help="the nonce that you drew for this claim")
    parser.add_argument("--suspect", metavar="MODEL", help=f"model to ask again: {SUSPECT}")
    reading_options(parser)
    service_options(parser)
    parser.add_argument(
        "--suspect-since",
        dest="since",
        type=judge.since,
        metavar="DATE",
        help="when the suspect first appeared, e.g. 2026-01-31",
    )
    parser.add_argument(
        "--source",
        dest="sources",
        action="append",
        default=[],
        metavar="DATA",
        help="your own copy of the data set that a key starts from; may be repeated",
    )
    parser.add_argument(
        "--original",
        dest="originals",
        action="append",
        default=[],
        metavar="MODEL",
        help="the model each party calls its original; give it twice, in the order of the claims",
    )
    parser.add_argument(
        "--alpha", type=float, default=1e-6, help="largest chance of a false match to accept (default %(default)s)"
    )
    parser.add_argument("--out", type=Path, help="writes OUT.json and OUT.html")
    png_option(parser)
    tsa_option(parser)
    data_dir_option(parser)
