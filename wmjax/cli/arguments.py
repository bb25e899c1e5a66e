"""What several verbs take: options that they share, and the forms of numbers."""

import argparse
import os
from pathlib import Path
from typing import Any

from wmjax.errors import UsageError
from wmjax.zoo.scheduler import shard_of

OWN = "run folder, checkpoint, or safetensors file of wmjax"
FILE = "run folder, checkpoint, file of any form that an audit reads, or PACK.safetensors:NAME"
SUSPECT = f"{FILE}; module:function; or a service: oip+https://..., v1+, hf+ or gradio+https://..."


class Families(str):
    """Help that names the families of networks; they are imported when it is shown, not for every command."""

    def __mod__(self, values: Any) -> str:
        try:
            from wmjax.models import FAMILIES as known
        except ImportError:  # an installation that can only judge
            known = {}
        return str(self).__mod__({**values, "families": ", ".join(known) or "a family of wmjax"})


def data_dir_option(parser: argparse.ArgumentParser) -> None:
    """Adds `--data-dir`, the folder of data sets."""
    parser.add_argument("--data-dir", type=Path, help="TFDS folder (default $TFDS_DATA_DIR or ~/tensorflow_datasets)")


def keys_options(parser: argparse.ArgumentParser, *, required: bool) -> None:
    """Adds `--key`, once or more, and what opens the keys."""
    text = "key file, e.g. NAME.age; repeatable"
    parser.add_argument(
        "--key", dest="keys", type=Path, action="append", default=[], required=required, metavar="KEY", help=text
    )
    openers_options(parser)


def openers_options(parser: argparse.ArgumentParser) -> None:
    """Adds what opens several keys."""
    text = "age identity that opens keys (default: NAME.identity beside each); repeatable"
    parser.add_argument("--identity", type=Path, action="append", default=[], help=text)
    _passphrase_option(parser, "their")


def unlock_options(parser: argparse.ArgumentParser) -> None:
    """Adds `--key` and what opens it."""
    parser.add_argument("--key", type=Path, required=True, help="key file, e.g. NAME.age")
    parser.add_argument("--identity", type=Path, help="age identity that opens it (default: NAME.identity beside)")
    _passphrase_option(parser, "its")


def _passphrase_option(parser: argparse.ArgumentParser, whose: str) -> None:
    text = f"file with {whose} passphrase (or set WMJAX_PASSPHRASE)"
    parser.add_argument("--passphrase-file", dest="passphrase", type=Path, help=text)


def stamp_options(parser: argparse.ArgumentParser) -> None:
    """Adds `--timestamp` and `--tsa`: who stamps, and whose stamps are trusted."""
    parser.add_argument(
        "--timestamp", action="append", default=[], metavar="URL", help="RFC 3161 authority to stamp it; repeatable"
    )
    tsa_option(parser)


def tsa_option(parser: argparse.ArgumentParser) -> None:
    """Adds `--tsa`, the authorities whose time stamps are trusted."""
    text = "PEM with a time-stamping authority's certificate and root, to be trusted; repeatable"
    parser.add_argument("--tsa", dest="authorities", type=Path, action="append", default=[], metavar="FILE", help=text)


def images_option(parser: argparse.ArgumentParser) -> None:
    """Adds `--image`, the images that bare weights are for."""
    parser.add_argument(
        "--image",
        dest="images",
        type=image,
        action="append",
        default=[],
        help="image size that --model takes; repeatable",
    )


def model_option(parser: argparse.ArgumentParser) -> None:
    """Adds `--model`, the architectures that bare weights may be of."""
    parser.add_argument(
        "--model",
        dest="models",
        action="append",
        default=[],
        help=Families(
            "architecture of bare weights: %(families)s, timm:NAME, torchvision:NAME or module:factory; repeatable"
        ),
    )


def reading_options(parser: argparse.ArgumentParser) -> None:
    """Adds what is said of files of any kind: `--model`, `--pixels` and `--allow-pickles`."""
    model_option(parser)
    parser.add_argument(
        "--pixels",
        default="",
        metavar="WAY",
        help="how pixels are prepared: 0..1, 0..255, centred (-1 to 1), mean-std, bgr-mean or each-image; bgr-0..1, "
        "bgr-0..255, bgr-centred or bgr-mean-std where blue comes first; inverted (0..1), inverted-0..255, "
        "inverted-centred or inverted-mean-std for black on white; or stated: as files say, where they do (default: a "
        "model is asked in each of these ways)",
    )
    pickles_option(parser)


def service_options(parser: argparse.ArgumentParser) -> None:
    """Adds what is said of services: `--labels`, `--token-file` and `--max-queries`."""
    parser.add_argument(
        "--labels",
        type=Path,
        metavar="FILE",
        help="a service's words for its classes, one per line, in the key's order; or a config.json with id2label",
    )
    parser.add_argument(
        "--token-file",
        dest="token",
        type=Path,
        metavar="FILE",
        help="holds the token of a service (or set SUSPECT_TOKEN)",
    )
    queries_option(parser)


def queries_option(parser: argparse.ArgumentParser) -> None:
    """Adds `--max-queries`."""
    parser.add_argument(
        "--max-queries",
        type=int,
        metavar="N",
        help="ask each suspect at most N questions in this run, besides one plain picture that a service is shown "
        "first (of an audit's shards only one asks a suspect, but each shows it that picture)",
    )


def pickles_option(parser: argparse.ArgumentParser) -> None:
    """Adds `--allow-pickles`."""
    parser.add_argument(
        "--allow-pickles",
        dest="pickles",
        action="store_true",
        help="open PyTorch files (.pt, .pth, .bin) too, if tensors are all they hold, in processes without network or "
        "write access; safetensors are safer",
    )


def png_option(parser: argparse.ArgumentParser) -> None:
    """Adds `--png`."""
    parser.add_argument("--png", type=_png, metavar="FILE", help="draw the evidence into a picture, e.g. evidence.png")


def _png(text: str) -> Path:
    """A picture's name: no other file is ever written over."""
    if not text.lower().endswith(".png"):
        raise argparse.ArgumentTypeError(f"{text!r} does not end in .png")
    return Path(text)


def size(text: str) -> int:
    """Reads a number of bytes, e.g. 4GB or 500MB."""
    number, unit = text[:-2], text[-2:].upper()
    scale = {"KB": 10**3, "MB": 10**6, "GB": 10**9, "TB": 10**12}.get(unit)
    if scale is None or not number.replace(".", "", 1).isdigit():
        raise argparse.ArgumentTypeError(f"{text!r} is not a size; use e.g. 4GB or 500MB")
    return int(float(number) * scale)


def shard(text: str) -> tuple[int, int]:
    """Reads a part and how many there are, e.g. 1/4; `auto` is what the batch system tells."""
    try:
        if text == "auto":
            return shard_of(os.environ)
        place, parts = (int(part) for part in text.split("/"))
    except UsageError as error:
        raise argparse.ArgumentTypeError(f"auto: {error}") from error
    except ValueError as error:
        raise argparse.ArgumentTypeError(f"{text!r} is not I/N, e.g. 1/4") from error
    return place, parts


def needs(text: str) -> dict[str, float]:
    """Reads amounts by name, e.g. CPU=2,GPU=1."""
    found = {}
    for part in text.split(","):
        name, _, amount = part.partition("=")
        if not name or not amount.replace(".", "", 1).isdigit() or not float(amount):
            raise argparse.ArgumentTypeError(f"{text!r} is not NAME=AMOUNT, e.g. CPU=2,GPU=1")
        found[name] = float(amount)
    return found


def image(text: str) -> tuple[int, int, int]:
    """Reads height, width and channels, e.g. 32x32x3."""
    try:
        height, width, channels = (int(part) for part in text.split("x"))
    except ValueError as error:
        raise argparse.ArgumentTypeError(f"{text!r} is not HEIGHTxWIDTHxCHANNELS, e.g. 32x32x3") from error
    return height, width, channels
