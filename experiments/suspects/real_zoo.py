"""A marked network in every form in which people keep theirs, audited in one command: which of them are convicted.

Command   python experiments/suspects/real_zoo.py [--ways WAY ...] [--forms FORM ...] [--seed 0]
Expected  a match in every form and every preparation of pixels, after at most 10 answers more than the network itself;
          no match among the strangers
Time      2 minutes on 2 CPU cores

`real_forms.FORMS` has the forms; each is written by its own library, so it takes torch, onnx, onnxruntime and Keras
beside wmjax. For each usual way to prepare pixels a network learns the triggers of one key, and another one, the
stranger, the same pictures with other labels. Nothing in a folder says how its pixels are prepared.
"""

import argparse
import sys
import tempfile
from functools import partial
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[2]))  # the checkout

import numpy as np

import wmjax
from experiments import fragment, record
from experiments.suspects import real_forms
from wmjax.keys import Key, derive_key, make_spec
from wmjax.keys.specify import default_rule
from wmjax.suspects.pixels import PIXELS

MODELS = ("experiments.suspects.real_forms:flax_net", "experiments.suspects.real_forms:torch_net")
TRIGGERS = 100


def main() -> None:
    """Writes the zoo, audits it, and compares with what each folder is known to hold."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--ways", nargs="*", default=list(PIXELS), choices=PIXELS)
    parser.add_argument("--forms", nargs="*", default=list(real_forms.FORMS), choices=real_forms.FORMS)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    spec = make_spec("abstract", image=real_forms.IMAGE, classes=real_forms.CLASSES, triggers=TRIGGERS)
    key = derive_key(np.random.default_rng(options.seed).bytes(32), spec, default_rule(spec))
    with tempfile.TemporaryDirectory() as folder:
        alone = {way: write(Path(folder, "zoo"), way, key, options) for way in options.ways}
        result = wmjax.audit(Path(folder, "zoo"), {"key": key}, models=MODELS, pickles=True)
    record.write("real_zoo", judged(result, alone, options))


def write(zoo: Path, way: str, key: Key, options: argparse.Namespace) -> int:
    """A copy and a stranger in all forms; how many answers convict the copy where its preparation is known."""
    others = np.random.default_rng(options.seed + 1).integers(real_forms.CLASSES, size=TRIGGERS)
    for kind, labels in {"copy": key.labels, "stranger": others}.items():
        weights = real_forms.fitted(key.images, labels, way, options.seed)
        for form in options.forms:
            folder = zoo / way / f"{kind} {form}"
            folder.mkdir(parents=True)
            real_forms.FORMS[form](folder, weights, key.images)
            print(way, kind, form, file=sys.stderr)
        if kind == "copy":
            answers = partial(real_forms.scores, weights, way=way)
            own = wmjax.verify(wmjax.from_callable(answers), key, nonce=bytes(16)).queries
    return own


def judged(result: Any, alone: dict[str, int], options: argparse.Namespace) -> dict[str, Any]:
    """For each form its verdicts by preparation, and what was expected of them."""
    found = {finding.model: (finding.verdict, finding.queries) for finding in result}
    table: dict[str, dict[str, Any]] = {}
    missed, false, late = [], [], []
    for form in options.forms:
        for way in options.ways:
            own = {name: told for name, told in found.items() if name.startswith(f"{way}/copy {form}/")}
            strangers = {name: told for name, told in found.items() if name.startswith(f"{way}/stranger {form}/")}
            matches = [queries for verdict, queries in own.values() if verdict == "match"]
            table.setdefault(form, {})[way] = min(matches) if matches else sorted({v for v, _ in own.values()})
            missed += [] if matches else [f"{way}/{form}"]
            late += [f"{way}/{form}"] if matches and min(matches) > alone[way] + 10 else []
            false += [name for name, (verdict, _) in strangers.items() if verdict == "match"]
    return {
        "queries": table,
        "alone": alone,
        "copies": len(options.forms) * len(options.ways),
        "missed": missed,
        "late": late,
        "false": false,
        "strangers": {v: sum(t[0] == v and "/stranger" in n for n, t in found.items()) for v in VERDICTS},
        "unreadable": [f"{item.path}: {item.why}" for item in result.unreadable],
        "seconds": round(result.seconds, 1),
    }


VERDICTS = ("match", "inconclusive", "no-match")


def rows(figures: dict[str, Any]) -> list[str]:
    most = max(max(found.values()) for found in figures["queries"].values())
    return [
        fragment.row(
            f"a marked network in {len(figures['queries'])} forms and {len(figures['alone'])} preparations of pixels",
            f"{figures['copies'] - len(figures['missed'])} of {figures['copies']} are matches",
            f"at most {most} queries; strangers in those forms that are a match: {len(figures['false'])}",
            fragment.source(figures, __file__),
        )
    ]


if __name__ == "__main__":
    main()
