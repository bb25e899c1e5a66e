"""Seconds and memory of judging a claim of coins that all answers tell, the whole command from start to exit.

Command   python experiments/claims/judge_coins.py [--repeats 7] [--small]
Expected  288 coins over 3,000 probes of 32x32x3: under 3 s of the process's time and 300 MB
          (met: memory; missed: 10 s on a machine where it took 5.7 at a82b9ed9, which asked about all probes at once:
          3,000 questions one after another take 5, the source's 10,000 JPEG images 3, reading the claim 2)
Time      a minute on 2 CPU cores

The probes are of CIFAR-10's test split, which the judge reads from its own copy to make them again. Features and
references are drawn at random, and the suspect's answers shifted by the coins: nothing is trained, and to the judge it
is all one.
"""

import argparse
import sys
import tempfile
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[2]))  # the checkout

import numpy as np

from experiments import fragment
from experiments.claims.judge_cost import NONCE, judged
from wmjax.data import load_source
from wmjax.evidence import claimant
from wmjax.evidence.claim import Attached
from wmjax.keys import Key, derive_key, make_spec, new_signer, sign_commitment
from wmjax.keys.material import Material
from wmjax.keys.specify import default_rule
from wmjax.keys.statement import parse_commitment
from wmjax.stats.correlations import UNIT
from wmjax.stats.spread import perfect
from wmjax.suspects import from_callable

FEATURES, REFERENCES = 32, 3


def key_of(source: str, probes: int) -> Key:
    """A key over a data set's test split."""
    data, rng = load_source(source, split="test"), np.random.default_rng(0)
    features = np.rint(40 * np.clip(rng.standard_normal((probes, FEATURES)), -3, 3)).astype(np.int8)
    references = rng.dirichlet(np.full(data.classes, 0.3), size=(REFERENCES, probes))
    material = Material({"features": features, "references": np.rint(UNIT * references).astype(np.uint16)})
    spec = make_spec("spread", triggers=probes, source=(source, data), material=material)
    return derive_key(bytes(range(32)), spec, default_rule(spec), data, material=material)


def known(folder: Path) -> Any:
    """A suspect that looks its answers up."""
    with np.load(folder / "copy.npz") as stored:
        table = {image.tobytes(): told for image, told in zip(stored["images"], stored["table"], strict=True)}
    return lambda images: np.stack([table[image.tobytes()] for image in images])


_LOADED: list[Any] = []


def ask(images: np.ndarray) -> np.ndarray:
    """As `--suspect judge_coins:ask`, in the claim's folder."""
    if not _LOADED:
        _LOADED.append(known(Path.cwd()))
    return np.asarray(_LOADED[0](images))


def write_claim(folder: Path, key: Key) -> None:
    """A claim on who shows every coin, with all probes opened."""
    table = perfect(key.truth(slice(None)), key.spec.classes).probabilities
    assert table is not None
    np.savez(folder / "copy.npz", images=key.images, table=table)
    signer = new_signer()
    public = parse_commitment(sign_commitment(key.commitment, signer), "the commitment")
    suspect = from_callable(known(folder))
    raw = claimant.claim(
        suspect, key, signer, [Attached(public, ())], NONCE, lambda asked: None, whole=True, reveal=True
    )
    (folder / "claim.json").write_bytes(raw)


def main(arguments: list[str] | None = None) -> None:
    from experiments import record
    from experiments.timing import quartiles

    parser = argparse.ArgumentParser()
    parser.add_argument("--repeats", type=int, default=7)
    parser.add_argument("--small", action="store_true")
    options = parser.parse_args(arguments)
    source, probes, repeats = ("digits", 300, 1) if options.small else ("cifar10", 3_000, options.repeats)
    with tempfile.TemporaryDirectory() as work:
        key = key_of(source, probes)
        write_claim(Path(work), key)
        found = [judged(Path(work), "judge_coins:ask", "--source", source) for _ in range(repeats)]
        size = (Path(work) / "claim.json").stat().st_size
    figures: dict[str, Any] = {
        "probes": probes,
        "coins": int(key.truth(slice(None)).coins.size),
        "claim_bytes": size,
        "repeats": repeats,
        "verdicts": sorted({one["verdict"] for one in found}),
        "jax_imported": any(one["jax"] for one in found),
    }
    for what, digits in (("seconds", 3), ("cpu_seconds", 3), ("peak_mb", 1)):
        values = np.array([one[what] for one in found])
        figures[what] = {**quartiles(values, digits), "most": round(float(values.max()), digits)}
    record.write("judge_coins", figures)


def rows(figures: dict[str, Any]) -> list[str]:
    """Of judging a claim of coins that all answers tell."""
    case = figures
    return [
        fragment.row(
            f"`wmjax judge`, a claim of {case['coins']} coins over {case['probes']:,} probes of 32x32x3",
            f"{fragment.median(case['seconds'])} s; {fragment.median(case['cpu_seconds'])} s of all cores together",
            f"{fragment.median(case['peak_mb'], 0)} MB; {', '.join(case['verdicts'])}; JAX was "
            f"{'imported' if case['jax_imported'] else 'never imported'}",
            f"{case['repeats']} repeats; {fragment.source(figures, __file__)}",
        )
    ]


if __name__ == "__main__":
    main()
