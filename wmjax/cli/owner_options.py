"""The options of whoever marks a network: of `keygen` and `embed`."""

import argparse
from collections.abc import Iterable
from pathlib import Path

from wmjax.cli.arguments import (
    OWN,
    Families,
    data_dir_option,
    image,
    keys_options,
    stamp_options,
)


def keygen_options(parser: argparse.ArgumentParser) -> None:
    """Adds those of `keygen`, what schemes and policies declare among them."""
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


def embed_options(parser: argparse.ArgumentParser) -> None:
    """Adds those of `embed`."""
    parser.add_argument("--data", required=True, help="digits, or the name of a TFDS set such as cifar10")
    parser.add_argument("--model", default="cnn", help=Families("%(families)s (default %(default)s)"))
    parser.add_argument("--out", type=Path, required=True, help="run folder")
    keys_options(parser, required=False)
    parser.add_argument("--from", dest="begin_with", metavar="RUN", help="begin with the weights of this run or file")
    parser.add_argument("--teacher", metavar="RUN", help="distil this model instead of learning the labels")
    _recipe_options(parser)
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


def _recipe_options(parser: argparse.ArgumentParser) -> None:
    """How the network is trained, and marked."""
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


def _hosts_options(parser: argparse.ArgumentParser) -> None:
    text = "run as one of several processes; TPU pods and Slurm steps are found without these options"
    group = parser.add_argument_group("many hosts", text)
    group.add_argument("--coordinator", metavar="HOST:PORT", help="where process 0 listens")
    group.add_argument("--processes", type=int, metavar="N", help="processes in all")
    group.add_argument("--process-id", type=int, metavar="I", help="number of this process, from 0")
    group.add_argument(
        "--wait", type=int, default=300, metavar="SECONDS", help="how long to wait for the others (default %(default)s)"
    )
