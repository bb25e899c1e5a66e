"""The audit's answer on the made zoo, beside the truth.

Command   python experiments/audits/made_zoo.py --out DIR, then
          python experiments/audits/audit_truth.py DIR
Expected  every marked, fine-tuned and pruned network a match with its own key, no network a match with another's;
          distilled ones inconclusive or no match (the open problem); every hostile entry listed
Time      about a minute on 2 CPU cores, most of it compiling
"""

import argparse
import json
import subprocess
import sys
import tempfile
from collections import Counter
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[2]))  # the checkout

from experiments import fragment, record
from wmjax.keys import read_commitment


def main(folder: Path) -> None:
    truth = json.loads((folder / "truth.json").read_text())
    paths = folder.glob("keys/*.commitment.json")
    keys = {read_commitment(path).commitment.id: path.name.split(".")[0] for path in paths}
    with tempfile.TemporaryDirectory() as out:
        command = ["audit", str(folder / "zoo"), "--keys", str(folder / "keys"), "--out", f"{out}/audit", "--json"]
        done = subprocess.run([sys.executable, "-m", "wmjax", *command], stdout=subprocess.PIPE, check=False)
    record.write("audit_truth", compare(truth, json.loads(done.stdout), keys) | {"exit_code": done.returncode})


def compare(truth: dict[str, Any], answer: dict[str, Any], keys: dict[str, str]) -> dict[str, Any]:
    """Verdicts counted by how each network was made.

    Args:
      truth: as made_zoo.py wrote it.
      answer: the audit's document.
      keys: names by id.
    """
    verdicts = {
        (pair["model"], keys[pair["key"]]): pair["verdict"] for pair in answer["matches"] + answer["inconclusive"]
    }
    table: dict[str, Counter[str]] = {}
    false = []
    for model, made in truth["models"].items():
        own = made["key"]
        outcome = verdicts.get((model, own), "no-match") if own else "no key of ours"
        table.setdefault(made["how"], Counter())[outcome] += 1
        false += [[model, key] for key in keys.values() if key != own and verdicts.get((model, key)) == "match"]
    listed = {item["path"] for item in answer["unreadable"]}
    return {
        "models": answer["models"],
        "keys": answer["keys"],
        "verdicts": {how: dict(counts) for how, counts in sorted(table.items())},
        "false_matches": false,
        "hostile": len(truth["hostile"]),
        "hostile_not_listed": sorted(set(truth["hostile"]) - listed),
        "innocent_pairs_inconclusive": sum(
            verdict == "inconclusive" and truth["models"][model]["key"] != key
            for (model, key), verdict in verdicts.items()
        ),
        "seconds": answer["seconds"],
    }


def rows(figures: dict[str, Any]) -> list[str]:
    ways = [
        f"{how}: {', '.join(f'{count} {verdict}' for verdict, count in sorted(verdicts.items()))}"
        for how, verdicts in figures["verdicts"].items()
    ]
    listed = figures["hostile"] - len(figures["hostile_not_listed"])
    return [
        fragment.row(
            f"audit of the made zoo against the truth, {figures['models']} models, {figures['keys']} keys",
            f"{len(figures['false_matches'])} false matches; {'; '.join(ways)}",
            f"{listed} of {figures['hostile']} hostile entries listed; {figures['seconds']:.0f} s",
            fragment.source(figures, __file__),
        )
    ]


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    main(parser.parse_args().folder)
