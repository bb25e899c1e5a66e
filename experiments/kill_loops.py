"""Commands killed at random moments, resumed, and compared with what they come to when nobody disturbs them.

Command   python experiments/kill_loops.py --verb claim --kills 100
Expected  the key file opens after every kill; no question is asked twice; a kill costs one trigger at most, the one
          whose answer was on its way, and no answer that was recorded; the verdict is the undisturbed claim's, and so
          is every row that was not lost
Time      about 6 minutes for 100 kills on 2 CPU cores, most of it starting Python
Kills are SIGKILL. One in five comes at a moment of the first two seconds, which is about what starting takes; the
others after as many further questions as were drawn, and a pause of up to two questions. A claim is killed up to eight
times, then resumed until it ends by itself, and the next one begins with a fresh key. Figures go to
results/kill_loops.json, each verb's beside those that are there.
"""

import argparse
import json
import random
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import record

from wmjax.evidence.claim import Claim, read_claim
from wmjax.keys import Key, Unlock, derive_key, make_spec, open_key, write_key
from wmjax.keys.keyset import default_rule

SHOP = """
import json, time, numpy as np
_KNOWN = json.load(open("known.json"))

def service(images):
    with open("asked.txt", "a") as file:
        file.write("".join(image.tobytes().hex() + "\\n" for image in images))
    time.sleep(PACE)
    return np.array([_KNOWN[image.tobytes().hex()] for image in images])
"""
NONCE = "5a" * 32
PACE = 0.03  # seconds that an answer takes


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--verb", choices=VERBS, required=True)
    parser.add_argument("--kills", type=int, default=100)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    figures = VERBS[options.verb](options.kills, random.Random(options.seed))
    there = record.RESULTS / "kill_loops.json"
    known = json.loads(there.read_text()) if there.exists() else {}
    kept = {verb: known[verb] for verb in VERBS if verb in known}
    told = {"commit": record.ENVIRONMENT["commit"], "date": record.ENVIRONMENT["date"], **figures}
    record.write("kill_loops", kept | {options.verb: told})


def killed(command: list[str], folder: Path, rng: random.Random) -> tuple[bool, int, str]:
    """Starts a command and kills it: whether that was before its end, its exit code, its last words."""
    words = [sys.executable, "-m", "wmjax.cli", *command]
    begun, early, more = asked(folder), rng.random() < 0.2, rng.randrange(1, 12)
    process = subprocess.Popen(words, cwd=folder, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    while not early and process.poll() is None and len(asked(folder)) < len(begun) + more:
        time.sleep(0.002)
    time.sleep(rng.uniform(0, 2.0 if early else 2 * PACE))
    process.send_signal(signal.SIGKILL)
    _, said = process.communicate()
    return process.returncode == -signal.SIGKILL, process.returncode, said


def asked(folder: Path) -> list[str]:
    """What the service was asked so far."""
    return (folder / "asked.txt").read_text().split() if (folder / "asked.txt").exists() else []


def finished(command: list[str], folder: Path) -> tuple[int, str]:
    """Runs a command to its end: its exit code and its last words."""
    words = [sys.executable, "-m", "wmjax.cli", *command]
    done = subprocess.run(words, cwd=folder, capture_output=True, text=True, check=False)
    return done.returncode, done.stderr


def claims(kills: int, rng: random.Random) -> dict[str, Any]:
    """Claims with keys of 200 triggers on a service that knows every label and takes 30 ms to answer."""
    totals: Counter[str] = Counter()
    with tempfile.TemporaryDirectory() as work:
        expected = undisturbed(Path(work) / "undisturbed")
        while totals["kills"] < kills:
            folder = Path(work) / str(totals["claims"])
            made, done = resumed(folder, min(kills - totals["kills"], rng.randint(1, 8)), rng)
            totals += compare(folder, made, expected, done)
            totals["claims"] += 1
            print(json.dumps(totals), file=sys.stderr, flush=True)
    names = ("kills", "claims", "questions", "triggers_lost", "answers_lost", "asked_twice", "unspent_but_asked")
    rest = ("more_lost_than_kills", "keys_that_do_not_open", "other_verdicts", "other_rows", "other_exit_codes")
    return {name: totals[name] for name in (*names, *rest, "left_over_files")}


def prepare(folder: Path) -> Key:
    """A folder with the same key each time, and a service that knows it."""
    folder.mkdir(parents=True)
    spec = make_spec("abstract", image=(8, 8, 1), classes=10, triggers=200)
    key = derive_key(bytes(range(32)), spec, default_rule(spec), created="2026-01-01T00:00:00+00:00")
    write_key(key, folder / "my", recipients=[], passphrase=None)
    known = {image.tobytes().hex(): int(label) for image, label in zip(key.images, key.labels, strict=True)}
    (folder / "known.json").write_text(json.dumps(known))
    (folder / "shop.py").write_text(SHOP.replace("PACE", str(PACE)))
    return key


def command(*more: str) -> list[str]:
    key = ["--key", "my.age", "--identity", "my.identity"]
    return ["claim", *key, "shop:service", "--nonce-from", NONCE, "--reveal", "--out", "claim.json", *more]


def undisturbed(folder: Path) -> Claim:
    """The claim that nobody kills."""
    prepare(folder)
    code, said = finished(command(), folder)
    if code != 0:
        raise SystemExit(f"the undisturbed claim ended with {code}: {said}")
    return read_claim((folder / "claim.json").read_bytes())


def resumed(folder: Path, most: int, rng: random.Random) -> tuple[Claim | None, Counter[str]]:
    """One claim, killed at most so many times, then resumed until it ends by itself; None if it ends in an error."""
    prepare(folder)
    done: Counter[str] = Counter()
    in_time, code, said = True, 0, ""
    while in_time and done["kills"] < most:
        in_time, code, said = killed(command("--resume"), folder, rng)
        done["kills"] += in_time
        try:
            opened(folder)
        except Exception:  # whatever it is: it must not happen
            done["keys_that_do_not_open"] += 1
    if in_time:
        code, said = finished(command("--resume"), folder)
    if code != 0:
        print(said, file=sys.stderr)
        done["other_exit_codes"] += 1
        return None, done
    return read_claim((folder / "claim.json").read_bytes()), done


def opened(folder: Path) -> Key:
    return open_key(folder / "my.age", Unlock(identity=(folder / "my.identity").read_text()))


def compare(folder: Path, made: Claim | None, expected: Claim, done: Counter[str]) -> Counter[str]:
    """What was lost, of one claim that was killed `done["kills"]` times."""
    if made is None:
        return done
    key = opened(folder)
    numbers = {image.tobytes().hex(): i for i, image in enumerate(key.images)}
    questions = [numbers[image] for image in asked(folder)]
    answered = {row.index: row.answer for row in made.rows if row.attempts}
    lines = (folder / "claim.json.journal.jsonl").read_text().splitlines()[1:]
    recorded = {json.loads(line)["index"] for line in lines}
    ours = {row.index: row.answer for row in expected.rows}
    done["questions"] = len(questions)
    done["triggers_lost"] = len(key.spent - answered.keys())
    done["answers_lost"] = len(recorded - answered.keys())
    done["asked_twice"] = len(questions) - len(set(questions))
    done["unspent_but_asked"] = len(set(questions) - key.spent)
    done["other_verdicts"] = int(made.stated["verdict"] != expected.stated["verdict"] or made.secret != expected.secret)
    done["other_rows"] = sum(ours[i] != answer for i, answer in answered.items() if i in ours)
    left = {path.name for path in folder.iterdir()} - {path.name for path in (folder.parent / "undisturbed").iterdir()}
    done["left_over_files"] = len(left)
    done["more_lost_than_kills"] = int(done["triggers_lost"] > done["kills"])
    return done


VERBS: dict[str, Callable[[int, random.Random], dict[str, Any]]] = {"claim": claims}

if __name__ == "__main__":
    main()
