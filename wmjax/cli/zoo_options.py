"""The options of whoever has many models: of `audit` and `pack`."""

import argparse
from pathlib import Path

from wmjax.cli.arguments import (
    images_option,
    needs,
    openers_options,
    png_option,
    queries_option,
    reading_options,
    shard,
    size,
)


def audit_options(parser: argparse.ArgumentParser) -> None:
    """Adds those of `audit`."""
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


def pack_options(parser: argparse.ArgumentParser) -> None:
    """Adds those of `pack`."""
    parser.add_argument("zoo", type=Path, metavar="ZOO", help="folder of models")
    parser.add_argument("out", type=Path, metavar="OUT", help="folder of the packs")
    reading_options(parser)
    images_option(parser)
