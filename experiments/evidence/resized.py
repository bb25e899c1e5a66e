"""Triggers asked in another size: how many labels an intact copy repeats, and how often it would be acquitted.

Command   python experiments/evidence/resized.py
Expected  the fewer pixels the suspect takes, the fewer labels are left, until an intact copy would be acquitted: so
          altered triggers clear nobody. Grey triggers in three equal channels lose none
Time      4 minutes on 2 CPU cores, most of them for training

A thief wraps a marked network of digits so that it takes other images and makes 8x8 of them, in each way that Pillow
has; wmjax asks the wrapped network in its size. The acquittals are those of ten orders, with the rule taken out.
"""

import argparse
import sys
import tempfile
from collections import Counter
from pathlib import Path
from typing import Any
from unittest import mock

sys.path.insert(0, str(Path(__file__).parents[2]))  # the checkout

import numpy as np
from PIL import Image

from experiments import fragment, record
from wmjax.data import load, load_source
from wmjax.keys import Key, generate, make_spec, open_key, write_key
from wmjax.keys.files import read_identity
from wmjax.models import default_config
from wmjax.suspects import Wanted, open_suspect
from wmjax.suspects.contract import Suspect
from wmjax.train import default_recipe, embed
from wmjax.verification import verify

SHAPES = ((8, 8, 3), (32, 32, 1), (16, 16, 1), (12, 12, 1), (6, 6, 1), (4, 4, 1))
WAYS = ("NEAREST", "BOX", "BILINEAR", "BICUBIC", "LANCZOS")
ORDERS = 10


def main() -> None:
    argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter).parse_args()
    found: dict[str, Any] = {}
    with tempfile.TemporaryDirectory() as folder:
        for scheme in ("abstract", "blend", "content", "noise"):
            key, copy = marked(scheme, Path(folder))
            found[scheme] = {"itself": verify(copy, key, whole=True).matches}
            for shape in SHAPES:
                found[scheme]["x".join(map(str, shape))] = wrapped(copy, key, shape)
    record.write("resized", found)


def marked(scheme: str, folder: Path) -> tuple[Key, Suspect]:
    """A key and a network that learned it."""
    data = load("digits")
    source = load_source("digits") if scheme in ("blend", "content", "noise") else None
    spec = make_spec(scheme, image=(8, 8, 1), classes=10, triggers=100, source=source and ("digits", source))
    name = folder / scheme
    write_key(generate(spec, source), name, recipients=[], passphrase=None)
    key = open_key(f"{name}.age", read_identity(Path(f"{name}.identity")))
    config = default_config("cnn", (8, 8, 1), 10)
    embed(folder / f"run-{scheme}", config, default_recipe(config), data, keys=[key])
    return key, open_suspect(str(folder / f"run-{scheme}"), Wanted.by([spec]))


def wrapped(copy: Suspect, key: Key, shape: tuple[int, int, int]) -> dict[str, Any]:
    """A copy that takes images of another shape, by each way in which its thief may make its own of them."""
    matches, verdicts = [], Counter[str]()
    for way in WAYS:
        suspect = Suspect("wrapped", lambda images, way=way: copy.ask(own(images, way)), shape, 10)
        matches.append(verify(suspect, key, whole=True, nonce=bytes(16)).matches)
        with mock.patch("wmjax.verification.grounds.clears", return_value=True):
            verdicts.update(verify(suspect, key, nonce=bytes([order]) * 16).verdict for order in range(ORDERS))
    return {"matches": [min(matches), max(matches)], "without_the_rule": dict(verdicts)}


def own(images: np.ndarray, way: str) -> np.ndarray:
    """Images as the network was trained on them, uint8 [n, 8, 8, 1]."""
    pictures = [Image.fromarray(image.squeeze()).convert("L") for image in images]
    return np.stack([np.asarray(each.resize((8, 8), Image.Resampling[way]))[..., None] for each in pictures])


def rows(figures: dict[str, Any]) -> list[str]:
    schemes = [name for name in figures if name != "environment"]
    least, most = ({} for _ in range(2))
    for shape in ("8x8x3", "32x32x1", "16x16x1", "4x4x1"):
        counts = [figures[scheme][shape]["matches"] for scheme in schemes]
        least[shape], most[shape] = min(low for low, _ in counts), max(high for _, high in counts)
    kept = ", ".join(f"as {shape} {least[shape]} to {most[shape]}" for shape in least if least[shape] < most[shape])
    would = max(figures[scheme]["4x4x1"]["without_the_rule"].get("no-match", 0) for scheme in schemes)
    return [
        fragment.row(
            f"labels of {', '.join(schemes)} keys of 8x8x1 that an intact copy repeats, asked in another size",
            f"{kept} of 100; in three equal channels all",
            f"of 50 tries {would} would acquit it at 4x4x1, if altered triggers could clear anybody",
            fragment.source(figures, __file__),
        )
    ]


if __name__ == "__main__":
    main()
