"""The options of every verb; each one's `dest` is the name of the library's parameter that it sets."""

import argparse
from pathlib import Path
from typing import Any

from wmjax.cli import attack, claim, commit, completion, doctor, judge, keygen, show, verbs, verify, zoo
from wmjax.cli.arguments import (
    OWN,
    SUSPECT,
    data_dir_option,
    images_option,
    keys_options,
    model_option,
    png_option,
    reading_options,
    service_options,
    unlock_options,
)
from wmjax.cli.dispute_options import claim_options, commit_options, judge_options
from wmjax.cli.examples import epilog
from wmjax.cli.owner_options import embed_options, keygen_options
from wmjax.cli.parser import Parser, Version
from wmjax.cli.zoo_options import audit_options, pack_options


def make_parser() -> argparse.ArgumentParser:
    """The parser of the whole command line."""
    parser = Parser(prog="wmjax", description="Prove whose a neural network is.")
    parser.add_argument("--version", action=Version, nargs=0, dest=argparse.SUPPRESS, help="show the version")
    subparsers = parser.add_subparsers(metavar="VERB", required=True)

    def verb(name: str, run: Any, text: str) -> Parser:
        end, form = epilog(name), argparse.RawDescriptionHelpFormatter
        added = subparsers.add_parser(name, help=text, description=text, epilog=end, formatter_class=form)
        added.set_defaults(verb=run, parser=added)
        added.add_argument("--json", action="store_true", help="print one JSON document on stdout")
        loud = added.add_mutually_exclusive_group()
        loud.add_argument("--quiet", action="store_true", help="tell errors and warnings alone on stderr")
        loud.add_argument("--verbose", action="store_true", help="tell progress more often, and where errors come from")
        return added

    _demo_options(verb("demo", verbs.demo, "the whole story on a small data set, in about a minute"))
    verb("keygen", keygen.keygen, "make a watermark key and its public commitment").more = keygen_options
    embed_options(verb("embed", verbs.embed, "train a model with (or without) a key mixed in"))
    _verify_options(verb("verify", verify.verify, "ask a suspect model about a key"))
    audit_options(verb("audit", zoo.audit, "ask every model of a zoo about every key"))
    _attack_options(verb("attack", attack.attack, "try to rid your own run of its mark, and tell what it survives"))
    commit_options(verb("commit", commit.commit, "have a commitment time-stamped, or name a released model in it"))
    claim_options(verb("claim", claim.claim, "ask a suspect what a challenger's nonce picks, and sign a claim"))
    judge_options(verb("judge", judge.judge, "check a claim again, believing nobody, and say what it proves"))
    pack_options(
        verb("pack", zoo.pack, "stack the models of a zoo, one file per family, to be read at the disk's speed")
    )
    _export_options(verb("export", verbs.export, "copy a model for publication, without the sealed key"))
    _prepare_options(verb("prepare", verbs.prepare, "download a data set and prepare it without TensorFlow"))
    look = verb("show", show.show, "say what a file or folder is, without a secret")
    look.add_argument("path", type=Path, metavar="FILE", help="any file or folder")
    data_dir_option(verb("doctor", doctor.doctor, "say what is installed, and what this machine has"))
    shell = verb("completion", completion.completion, "print what completes command lines in a shell")
    shell.add_argument("shell", choices=completion.SHELLS, help="shell")
    return parser


def _demo_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--out", type=Path, default=Path("wmjax-demo"), help="folder for the report (default %(default)s)"
    )
    parser.add_argument("--seed", type=int, default=0, help="seed of the trainings (default %(default)s)")
    png_option(parser)


def _export_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("source", metavar="RUN", help=OWN)
    parser.add_argument("out", type=Path, metavar="OUT", help="new folder")
    model_option(parser)
    images_option(parser)


def _prepare_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("name", choices=["cifar10"], help="data set")
    parser.add_argument("--url", help="where the original archive is, instead of its home page")
    parser.add_argument("--sha256", help="digest of that archive, instead of the original's")
    data_dir_option(parser)


def _verify_options(parser: argparse.ArgumentParser) -> None:
    keys_options(parser, required=True)
    parser.add_argument("suspect", metavar="SUSPECT", help=SUSPECT)
    reading_options(parser)
    service_options(parser)
    parser.add_argument("--alpha", type=float, help="bound on false matches, instead of the committed one")
    parser.add_argument("--all", dest="whole", action="store_true", help="ask about the whole key, even when decided")
    parser.add_argument(
        "--null",
        dest="nulls",
        action="append",
        default=[],
        metavar="MODEL",
        help="model known to be innocent; repeatable",
    )
    parser.add_argument("--decoys", type=int, default=99, help="decoy keys, which calibrate (default %(default)s)")
    parser.add_argument(
        "--regenerate", dest="source", action="store_true", help="make the triggers again from the key's data set"
    )
    parser.add_argument(
        "--cover", type=int, default=0, metavar="N", help="ordinary images to ask in between (default %(default)s)"
    )
    parser.add_argument("--cover-from", metavar="DATA", help="data set of those images (default: the key's own)")
    parser.add_argument("--nonce", metavar="HEX", help="order of the questions (default: drawn anew)")
    png_option(parser)
    data_dir_option(parser)


def _attack_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("run", metavar="RUN", help=OWN)
    model_option(parser)
    unlock_options(parser)
    parser.add_argument(
        "--suite",
        default="quick",
        metavar="quick|full|NAME[,NAME...]",
        help="which attacks (default %(default)s); a wrong name lists them all",
    )
    parser.add_argument("--out", type=Path, required=True, help="folder of report and journal")
    png_option(parser)
    parser.add_argument("--resume", action="store_true", help="continue the attacks in OUT")
    parser.add_argument("--data", help="data set of the task (default: the one that RUN was trained on)")
    parser.add_argument("--queries", metavar="NAME", help="another data set, whose images the thief has too")
    for name, text in (
        ("--images", "training images that the thief has, 0 for none (default: all; quick: at most 5000)"),
        ("--epochs", "epochs of the thief's trainings from scratch; fine-tunings take a quarter"),
        ("--batch", "images in a step of the thief's trainings"),
    ):
        parser.add_argument(name, type=int, help=text)
    parser.add_argument("--seed", type=int, default=0, help="seed of all random choices (default %(default)s)")
    data_dir_option(parser)
