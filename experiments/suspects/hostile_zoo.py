"""Files of all forms, damaged at random: no damage stops an audit, and none takes more time or memory than it may.

Command   python experiments/suspects/hostile_zoo.py [--mutations 2000] [--seed 0]
Expected  every audit ends with its report; every damaged file is audited or listed; nothing beyond the memory limit
Time      10 minutes on 2 CPU cores

The files are those of `real_forms`, of a small network in each; one file of each folder is damaged: bytes changed,
zeroed, cut or doubled, or numbers in the first KB made huge. 100 folders are a zoo, audited by the command line in a
process of its own, whose memory and time are measured.
"""

import argparse
import json
import os
import random
import resource
import shutil
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[2]))  # the checkout

import numpy as np

from experiments import fragment, record
from experiments.suspects import real_forms
from wmjax.keys import derive_key, make_spec, write_key
from wmjax.keys.specify import default_rule

FOLDERS, SECONDS, GIBIBYTES = 100, 600, 8  # in a zoo; that an audit may take
Damage = Callable[[bytearray, random.Random], bytes]


def _changed(data: bytearray, rng: random.Random) -> bytes:
    for _ in range(rng.choice((1, 4, 64))):
        data[rng.randrange(len(data))] = rng.randrange(256)
    return bytes(data)


def _head_changed(data: bytearray, rng: random.Random) -> bytes:
    for _ in range(rng.choice((1, 2, 8))):
        data[rng.randrange(min(1024, len(data)))] = rng.choice((0, 1, 127, 128, 255, rng.randrange(256)))
    return bytes(data)


def _zeroed(data: bytearray, rng: random.Random) -> bytes:
    at = rng.randrange(len(data))
    data[at : at + rng.choice((8, 512, 1 << 16))] = b"\0" * min(8, len(data) - at)
    return bytes(data)


def _huge(data: bytearray, rng: random.Random) -> bytes:
    at = rng.randrange(min(1024, len(data)))
    data[at : at + 8] = rng.choice((b"\xff" * 8, b"\xff" * 7 + b"\x7f", b"\0\0\0\0\0\0\0\x40"))
    return bytes(data)


DAMAGES: dict[str, Damage] = {
    "changed": _changed,
    "head changed": _head_changed,
    "zeroed": _zeroed,
    "huge number": _huge,
    "cut": lambda data, rng: bytes(data[: rng.randrange(len(data))]),
    "doubled": lambda data, rng: bytes(data + data),
    "emptied": lambda data, rng: b"",
}


def main() -> None:
    """Makes the files, damages copies of them, audits these, and counts."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--mutations", type=int, default=2000)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    rng = random.Random(options.seed)
    counts, peak, slowest, stopped = Counter[str](), 0, 0.0, []
    with tempfile.TemporaryDirectory() as place:
        home = Path(place)
        sound = forms(home / "sound" / "0..1", options.seed)
        write_keys(home / "keys", options.seed)
        for start in range(0, options.mutations, FOLDERS):
            told = [damaged(sound, home / "zoo" / f"{start + i}", rng) for i in range(FOLDERS)]
            seconds, kibibytes, code, document = audit(home)
            peak, slowest = max(peak, kibibytes), max(slowest, seconds)
            if document is None or code not in (0, 1, 3):
                stopped.append({"start": start, "code": code, "damages": told})
            else:
                listed = {item["path"].split("/")[0] for item in document["unreadable"]}
                counts += Counter({"listed": len(listed), "audited alone": FOLDERS - len(listed)})
                counts["matches"] += len(document["matches"])
            shutil.rmtree(home / "zoo")
            print(start, round(seconds, 1), kibibytes >> 10, "MiB", dict(counts), file=sys.stderr, flush=True)
    figures = {"mutations": options.mutations, "stopped": stopped, **counts}
    record.write("hostile_zoo", {**figures, "slowest_audit_s": round(slowest, 1), "peak_mib": peak >> 10})


def forms(folder: Path, seed: int) -> list[Path]:
    """A folder for each form, sound."""
    rng = np.random.default_rng(seed)
    images = rng.integers(0, 256, (8, *real_forms.IMAGE), np.uint8)
    weights = real_forms.fitted(images, rng.integers(real_forms.CLASSES, size=8), "0..1", seed, steps=2)
    made = []
    for form, write in real_forms.FORMS.items():
        (folder / form).mkdir(parents=True)
        write(folder / form, weights, images)
        made.append(folder / form)
    return made


def write_keys(folder: Path, seed: int) -> None:
    """One key for pictures of that size."""
    spec = make_spec("abstract", image=real_forms.IMAGE, classes=real_forms.CLASSES, triggers=40)
    folder.mkdir()
    key = derive_key(np.random.default_rng(seed).bytes(32), spec, default_rule(spec))
    write_key(key, folder / "my", recipients=[], passphrase=None)


def damaged(sound: list[Path], out: Path, rng: random.Random) -> str:
    """A copy of a form with one of its files damaged; what was done."""
    form, (name, damage) = rng.choice(sound), rng.choice(list(DAMAGES.items()))
    shutil.copytree(form, out)
    file = rng.choice(sorted(path for path in out.rglob("*") if path.is_file() and path.stat().st_size))
    file.write_bytes(damage(bytearray(file.read_bytes()), rng))
    return f"{form.name}: {file.relative_to(out)} {name}"


def audit(home: Path) -> tuple[float, int, int, Any]:
    """Seconds, peak memory in KiB, exit code and document of an audit; no document where it did not end well."""
    forms = "experiments.suspects.real_forms"
    models = ("--model", f"{forms}:flax_net", "--model", f"{forms}:torch_net")
    command = [sys.executable, "-m", "wmjax", "audit", str(home / "zoo"), "--keys", str(home / "keys"), "--json"]
    limits = lambda: resource.setrlimit(resource.RLIMIT_DATA, (GIBIBYTES << 30, GIBIBYTES << 30))  # noqa: E731
    began = time.perf_counter()
    process = subprocess.Popen(
        [*command, *models, "--allow-pickles", "--out", str(home / "audit")],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        preexec_fn=limits,
        env={**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])},
    )
    try:
        out, err = process.communicate(timeout=SECONDS)
    except subprocess.TimeoutExpired:
        process.kill()
        out, err = process.communicate()
    peak = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss
    shutil.rmtree(home / "audit", ignore_errors=True)
    if "Traceback" in err:
        print(err[-3000:], file=sys.stderr)
    try:
        document = json.loads(out) if "Traceback" not in err else None
    except ValueError:
        document = None
    return time.perf_counter() - began, peak, process.returncode, document


def rows(figures: dict[str, Any]) -> list[str]:
    return [
        fragment.row(
            f"files of all forms, damaged at random {figures['mutations']:,} times, that stop an audit",
            str(len(figures["stopped"])),
            f"at most {figures['peak_mib'] / 1024:.1f} GiB of memory, and {figures['slowest_audit_s']:.0f} s for a "
            "hundred folders",
            fragment.source(figures, __file__),
        )
    ]


if __name__ == "__main__":
    main()
