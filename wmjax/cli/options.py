"""The options of every verb; each one's `dest` is the name of the library's parameter that it sets."""

import argparse
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from wmjax.cli import attack, claim, commit, completion, doctor, judge, keygen, show, verbs, zoo
from wmjax.cli.arguments import (
    OWN,
    SUSPECT,
    Families,
    data_dir_option,
    image,
    images_option,
    keys_options,
    model_option,
    needs,
    openers_options,
    png_option,
    queries_option,
    reading_options,
    service_options,
    shard,
    size,
    stamp_options,
    unlock_options,
)
from wmjax.cli.dispute_options import claim_options, commit_options, judge_options
from wmjax.cli.examples import epilog
from wmjax.cli.parser import Parser, Version


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
    verb("keygen", keygen.keygen, "make a watermark key and its public commitment").more = _keygen_options
    _embed_options(verb("embed", verbs.embed, "train a model with (or without) a key mixed in"))
    _verify_options(verb("verify", verbs.verify, "ask a suspect model about a key"))
    _audit_options(verb("audit", zoo.audit, "ask every model of a zoo about every key"))
    _attack_options(verb("attack", attack.attack, "try to rid your own run of its mark, and tell what it survives"))
    commit_options(verb("commit", commit.commit, "have a commitment time-stamped, or name a released model in it"))
    claim_options(verb("claim", claim.claim, "ask a suspect what a challenger's nonce picks, and sign a claim"))
    judge_options(verb("judge", judge.judge, "check a claim again, believing nobody, and say what it proves"))
    _pack_options(
        verb("pack", zoo.pack, "stack the models of a zoo, one file per family, to be read at the disk's speed")
    )
    export = verb("export", verbs.export, "copy a model for publication, without the sealed key")
    export.add_argument("source", metavar="RUN", help=OWN)
    export.add_argument("out", type=Path, metavar="OUT", help="new folder")
    model_option(export)
    images_option(export)
    prepare = verb("prepare", verbs.prepare, "download a data set and prepare it without TensorFlow")
    prepare.add_argument("name", choices=["cifar10"], help="data set")
    prepare.add_argument("--url", help="where the original archive is, instead of its home page")
    prepare.add_argument("--sha256", help="digest of that archive, instead of the original's")
    data_dir_option(prepare)
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


def _keygen_options(parser: argparse.ArgumentParser) -> None:
    from wmjax.keys import SCHEMES

    parser.add_argument("--out", required=True, help="writes OUT.age, OUT.commitment.json, and what opens and signs")
    parser.add_argument("--scheme", default="abstract", help=f"{_either(SCHEMES)} (default %(default)s)")
    parser.add_argument("--image", type=image, help="height x width x channels, e.g. 32x32x3 (default: the source's)")
    parser.add_argument("--classes", type=int, help="classes of the model (default: the source's)")
    parser.add_argument("--triggers", type=int, help="images in the key (default 100; scheme spread: up to 3000)")
    _scheme_options(parser)
    parser.add_argument("--model", help=Families("scheme tie: %(families)s, of the network to be marked"))
    parser.add_argument("--epochs", type=int, help="scheme tie: of each of two unmarked networks (default: as embed)")
    parser.add_argument("--base", metavar="RUN", help=f"scheme spread: the trained network that it is for: {OWN}")
    parser.add_argument("--rehearsals", type=int, help="scheme spread: pairs of students to train (default 2)")
    parser.add_argument(
        "--alpha", type=float, default=1e-6, help="committed bound on false matches (default %(default)s)"
    )
    parser.add_argument(
        "--recipient",
        dest="recipients",
        action="append",
        default=[],
        metavar="age1...",
        help="who can open the key; repeatable",
    )
    parser.add_argument(
        "--passphrase-file",
        dest="passphrase",
        type=Path,
        help="seal with this passphrase instead (or set WMJAX_PASSPHRASE)",
    )
    parser.add_argument("--signer", type=Path, help="Ed25519 key in PEM that signs (default: a new OUT.signer.pem)")
    parser.add_argument(
        "--pledge", metavar="URL", help="RFC 3161 authority from whose stamp the secret follows: claims need fewer bits"
    )
    stamp_options(parser)
    data_dir_option(parser)


def _scheme_options(parser: argparse.ArgumentParser) -> None:
    """What the records of schemes and label policies declare."""
    from wmjax.keys import POLICIES, SCHEMES, Paper
    from wmjax.keys.policies import default_policy

    policies = "; ".join(f"{policy.name}: {policy.words}" for policy in POLICIES.values())
    usual = " (default: {}, with --paper {})".format(*(default_policy(paper).name for paper in (False, True)))
    parser.add_argument("--labels", choices=list(POLICIES), help=policies + usual)
    parser.add_argument("--source", metavar="NAME", help="data set whose images the scheme starts from")
    words: dict[str, list[str]] = {}
    for scheme in SCHEMES.values():
        for parameter in scheme.parameters:
            words.setdefault(parameter.name, []).append(f"scheme {scheme.name}: {parameter.words}")
    for name, told in words.items():
        parser.add_argument(f"--{name.replace('_', '-')}", dest=name, help="; ".join(told))
    known = _either([name for name, scheme in SCHEMES.items() if scheme.paper])
    parser.add_argument("--paper", action="store_true", help=f"Zhang et al.'s exact variant of {known}")
    for option, text in (
        ("--source-class", f"class of the marked images (default {Paper.source_class})"),
        ("--target-class", f"label of all triggers (default {Paper.target_class})"),
        ("--share", f"percent of the source class to mark (default {Paper.share_percent})"),
    ):
        dest = "share_percent" if option == "--share" else None
        parser.add_argument(option, dest=dest, type=int, help=f"with --paper: {text}")


def _either(names: Iterable[str]) -> str:
    """Names in a sentence: the last after an "or"."""
    *others, last = names
    return f"{', '.join(others)} or {last}" if others else last


def _embed_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--data", required=True, help="digits, or the name of a TFDS set such as cifar10")
    parser.add_argument("--model", default="cnn", help=Families("%(families)s (default %(default)s)"))
    parser.add_argument("--out", type=Path, required=True, help="run folder")
    keys_options(parser, required=False)
    parser.add_argument("--from", dest="begin_with", metavar="RUN", help="begin with the weights of this run or file")
    parser.add_argument("--teacher", metavar="RUN", help="distil this model instead of learning the labels")
    for name, kind, text in (
        ("--epochs", int, "passes over the training split (default, also of the batch and the rate: by network)"),
        ("--batch", int, "images in a step, triggers included"),
        ("--seed", int, "seed of weights, order, augmentation and dropout"),
        ("--learning-rate", float, "peak learning rate"),
        ("--label-smoothing", float, "share of each label spread over all classes (default 0)"),
        ("--key-per-batch", int, "triggers in each batch"),
        ("--sigma", float, "how far a spread key moves answers, in logits (default 1; up to 2 for keys of few images)"),
        (
            "--band",
            float,
            "how close two classes are where a spread key may change the answer, in logits (default .25)",
        ),
    ):
        parser.add_argument(name, type=kind, help=text)
    parser.add_argument(
        "--augment", choices=["none", "crop", "flip+crop"], help="default: flip+crop for colour pictures"
    )
    parser.add_argument("--image", type=image, help="fit all pictures to HEIGHTxWIDTHxCHANNELS (default: as they are)")
    parser.add_argument("--resume", action="store_true", help="continue the run in OUT after its newest checkpoint")
    parser.add_argument("--save-every", type=int, metavar="STEPS", help="save within an epoch too")
    parser.add_argument(
        "--stream",
        dest="streamed",
        action="store_true",
        help="read images as they are needed (default: where they do not fit)",
    )
    parser.add_argument(
        "--precision",
        choices=["float32", "bfloat16"],
        default="float32",
        help="precision of arithmetic (default %(default)s)",
    )
    parser.add_argument(
        "--mapping", choices=["jit", "pmap"], default="jit", help="how to use several devices (default %(default)s)"
    )
    _hosts_options(parser)
    data_dir_option(parser)


def _hosts_options(parser: argparse.ArgumentParser) -> None:
    text = "run as one of several processes; TPU pods and Slurm steps are found without these options"
    group = parser.add_argument_group("many hosts", text)
    group.add_argument("--coordinator", metavar="HOST:PORT", help="where process 0 listens")
    group.add_argument("--processes", type=int, metavar="N", help="processes in all")
    group.add_argument("--process-id", type=int, metavar="I", help="number of this process, from 0")
    group.add_argument(
        "--wait", type=int, default=300, metavar="SECONDS", help="how long to wait for the others (default %(default)s)"
    )


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


def _audit_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("zoo", nargs="?", metavar="ZOO", help="folder of models")
    parser.add_argument("--keys", type=Path, help="folder of NAME.age; NAME.identity beside opens it")
    openers_options(parser)
    reading_options(parser)
    parser.add_argument(
        "--suspects",
        type=Path,
        metavar="FILE",
        help="list of members that only you can name, e.g. module:function or a service",
    )
    queries_option(parser)
    parser.add_argument("--fdr", type=float, help="bound on the false discovery rate (default 0.01)")
    parser.add_argument("--fwer", type=float, help="bound on the chance of any false match, instead")
    parser.add_argument(
        "--null",
        dest="nulls",
        type=Path,
        metavar="ZOO",
        help="folder of innocent models, which calibrate keys",
    )
    parser.add_argument(
        "--memory", type=size, help="memory that models may use, e.g. 4GB (default: a quarter of the host's)"
    )
    parser.add_argument("--out", type=Path, help="folder of report and journal (default wmjax-audit)")
    png_option(parser)
    parser.add_argument("--resume", action="store_true", help="continue the audit in OUT")
    parser.add_argument(
        "--keep-answers", action="store_true", help="write every answer into the journal, to be checked with the keys"
    )
    _parts_options(parser)


def _parts_options(parser: argparse.ArgumentParser) -> None:
    """Adds how an audit is divided among machines."""
    parser.add_argument(
        "--shard",
        type=shard,
        default=(1, 1),
        metavar="I/N",
        help="judge the I-th of N parts only; auto: which, says the array of Slurm, Kubernetes or another batch system",
    )
    parser.add_argument(
        "--ray", metavar="ADDRESS", help="have a Ray cluster judge all parts, e.g. auto, ray://HOST:10001 or local"
    )
    parser.add_argument("--parts", type=int, metavar="N", help="with --ray: how many (default: 4 for each at a time)")
    parser.add_argument(
        "--each",
        type=needs,
        default={"CPU": 1.0},
        metavar="NAME=AMOUNT",
        help="with --ray: what one part takes, e.g. CPU=4,GPU=1 (default CPU=1)",
    )
    parser.add_argument(
        "--merge",
        nargs="+",
        type=Path,
        metavar="FOLDER",
        help="put the shards together whose journals these folders hold",
    )


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


def _pack_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("zoo", type=Path, metavar="ZOO", help="folder of models")
    parser.add_argument("out", type=Path, metavar="OUT", help="folder of the packs")
    reading_options(parser)
    images_option(parser)
