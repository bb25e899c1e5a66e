"""Commands killed at random moments, resumed, and compared with what they come to when nobody disturbs them.

Command   python experiments/claims/kill_loops.py --verb claim|audit --kills 100
Expected  the key file opens after every kill; no question is asked twice; a kill costs one trigger at most, the one
          whose answer was on its way, and no answer that was recorded; the verdict is the undisturbed claim's, and so
          is every row that was not lost. The journal of an audit keeps every line that was whole, its figures and
          its document are the undisturbed audit's, and nothing else is left in its folder
Time      about 6 minutes for 100 kills of claims on 2 CPU cores, most of it starting Python;
          of audits about 10, or 30 where the machine is shared
Kills are SIGKILL, and a claim or an audit is killed up to eight times, then resumed until it ends by itself. Of a claim
one kill in five comes at a moment of the first two seconds, which is about what starting takes; the others after as
many further questions as were drawn, and a pause of up to two questions; the next claim begins with a fresh key. An
audit is killed after as many further lines of its journal as were drawn, and a pause of up to two portions, or, one in
five, at any moment of the time that it takes undisturbed. Most moments are thus counted in what was done, so that a
busy machine does not move them. Audits are of 96 random networks, one of which knows a key, in 48 portions; every
second one keeps answers. Figures go to results/kill_loops.json, each verb's beside those that are there.
"""

import argparse
import json
import os
import random
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

sys.path.insert(0, str(Path(__file__).parents[2]))  # the checkout

import numpy as np

from experiments import fragment, record
from experiments.audits import zoos
from wmjax.evidence.claim import Claim
from wmjax.evidence.claim_file import read_claim
from wmjax.keys import Key, Unlock, derive_key, make_spec, open_key, write_key
from wmjax.keys.specify import default_rule
from wmjax.models import Config
from wmjax.suspects.contract import Network, Weights
from wmjax.suspects.network import from_config
from wmjax.zoo.merge import merge
from wmjax.zoo.pack import write_packs
from wmjax.zoo.records import Entry, Zoo

CONFIG = Config("cnn", (8, 8, 1), 10, (8,), (130,))

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
PORTION = 0.01  # seconds that a portion of an audit takes


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
    told = {"commit": record.environment()["commit"], "date": record.environment()["date"], **figures}
    record.write("kill_loops", kept | {options.verb: told})


def started(command: list[str], folder: Path) -> subprocess.Popen[str]:
    words = [sys.executable, "-m", "wmjax", *command]
    return subprocess.Popen(words, cwd=folder, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def killed(command: list[str], folder: Path, after: float) -> tuple[bool, int, str]:
    """Starts a command and kills it after so many seconds: whether that was in time, its exit code, its last words."""
    process = started(command, folder)
    try:
        _, said = process.communicate(timeout=after)
        return False, process.returncode, said
    except subprocess.TimeoutExpired:
        return ended(process)


def killed_working(
    command: list[str], folder: Path, done: Callable[[], int], more: int, pause: float
) -> tuple[bool, int, str]:
    """Starts a command and kills it when so much more is done, and a pause later; as `killed`."""
    begun = done()
    process = started(command, folder)
    while process.poll() is None and done() < begun + more:
        time.sleep(0.002)
    time.sleep(pause)
    return ended(process)


def moment(rng: random.Random, most: int, pace: float, seconds: float) -> tuple[int, float]:
    """How much more is done before a kill, and the pause; one in five comes at any moment of so many seconds."""
    early = rng.random() < 0.2
    return (0, rng.uniform(0, seconds)) if early else (rng.randint(1, most), rng.uniform(0, 2 * pace))


def ended(process: subprocess.Popen[str]) -> tuple[bool, int, str]:
    process.send_signal(signal.SIGKILL)
    _, said = process.communicate()
    return process.returncode == -signal.SIGKILL, process.returncode, said


def asked(folder: Path) -> list[str]:
    """What the service was asked so far."""
    return (folder / "asked.txt").read_text().split() if (folder / "asked.txt").exists() else []


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
    _, code, said = killed(command(), folder, after=600)
    if code != 0:
        raise SystemExit(f"the undisturbed claim ended with {code}: {said}")
    return read_claim((folder / "claim.json").read_bytes())


def resumed(folder: Path, most: int, rng: random.Random) -> tuple[Claim | None, Counter[str]]:
    """One claim, killed at most so many times, then resumed until it ends by itself; None if it ends in an error."""
    prepare(folder)
    done: Counter[str] = Counter()
    in_time, code, said = True, 0, ""
    while in_time and done["kills"] < most:
        when = moment(rng, 11, PACE, 2.0)
        in_time, code, said = killed_working(command("--resume"), folder, lambda: len(asked(folder)), *when)
        done["kills"] += in_time
        try:
            opened(folder)
        except Exception:  # whatever it is: it must not happen
            done["keys_that_do_not_open"] += 1
    if in_time:
        _, code, said = killed(command("--resume"), folder, after=600)
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


def audits(kills: int, rng: random.Random) -> dict[str, Any]:
    """Audits of small networks, with a journal."""
    totals: Counter[str] = Counter()
    with tempfile.TemporaryDirectory() as work:
        os.environ["XDG_CACHE_HOME"] = work  # one compilation for all
        memory = prepare_zoo(Path(work))
        run = partial(audit_command, Path(work), memory)
        expected = {keep: audited(run(f"whole{keep}", keep=keep)) for keep in (False, True)}
        began = time.monotonic()
        audited(run("again"))  # all is compiled
        seconds = time.monotonic() - began
        if len(expected[False].document["matches"]) != 1:
            raise SystemExit("the thief was not found")
        while totals["kills"] < kills:
            keep = totals["audits"] % 2 == 1
            command = run(f"killed{totals['audits']}", "--resume", keep=keep)
            most = min(kills - totals["kills"], rng.randint(1, 8))
            totals += one_audit(command, expected[keep], most, partial(moment, rng, 16, PORTION, seconds))
            totals["audits"] += 1
            print(json.dumps(totals), file=sys.stderr, flush=True)
    names = ("kills", "with_some_parts_done", "audits", "lines_lost", "other_results", "other_exit_codes")
    return {**{name: totals[name] for name in (*names, "left_over_files")}, "seconds_undisturbed": round(seconds, 2)}


class Audited(NamedTuple):
    """What an audit came to: the document but for times and what it rests on, and all figures."""

    document: dict[str, Any]
    figures: dict[str, Any]


def prepare_zoo(work: Path) -> int:
    """A pack of random networks, one of which has learned a key by heart, and two keys; the memory for two at once."""
    network = from_config(CONFIG)
    keys = zoos.write_keys(work / "keys", CONFIG.image, 2, 60)
    entries = [Entry(f"{row:03d}", network, zoos.Drawn(network), row) for row in range(95)]
    entries.append(Entry("thief", network, zoos.Drawn(network, by_heart(network, keys[0])), 0))
    write_packs(Zoo(entries, []), work / "zoo")
    return 8 * 2 * network.bytes


def by_heart(network: Network, key: Key) -> Weights:
    """Random weights under a head that is fitted to a key's labels."""
    weights = zoos.draw(network, 1000)
    head = next(name for name, leaf in weights.items() if leaf.shape == (CONFIG.dense[-1], 10))
    eye = np.eye(CONFIG.dense[-1], dtype=np.float32)
    parts = [
        np.asarray(network.logits(weights | {head: eye[:, at : at + 10]}, key.images)) for at in range(0, len(eye), 10)
    ]
    features = np.concatenate(parts, axis=1)
    fitted = np.linalg.lstsq(features.astype(np.float64), 9.0 * np.eye(10)[key.labels], rcond=None)[0]
    return weights | {head: fitted.astype(np.float32)}


def audit_command(work: Path, memory: int, out: str, *more: str, keep: bool = False) -> tuple[list[str], Path]:
    """The words of an audit, and the folder of its journal."""
    words = ["audit", str(work / "zoo"), "--keys", str(work / "keys"), "--memory", f"{memory / 1000}KB", "--json"]
    return [*words, "--out", str(work / out), *more, *(["--keep-answers"] if keep else [])], work / out


def audited(run: tuple[list[str], Path]) -> Audited:
    """An audit that nobody kills."""
    command, folder = run
    _, code, said = killed(command, folder.parent, after=600)
    if code != 0:
        raise SystemExit(f"an audit ended with {code}: {said}")
    return result_of(folder)


def result_of(folder: Path) -> Audited:
    document = json.loads((folder / "audit.json").read_text())
    found = merge(folder)
    figures = {name: getattr(found, name).tolist() for name in ("outcomes", "bits", "queries", "matches")}
    told = {name: value for name, value in document.items() if name not in ("seconds", "basis")}
    return Audited(told, {**figures, "curves": found.curves})


def one_audit(
    run: tuple[list[str], Path], expected: Audited, most: int, draw: Callable[[], tuple[int, float]]
) -> Counter[str]:
    """One audit, killed at most so many times, until it ends by itself: what was lost."""
    command, folder = run
    path, done, before, in_time = folder / "journal-1-of-1.jsonl", Counter[str](), b"", True
    while in_time:
        if done["kills"] < most:
            in_time, code, said = killed_working(command, folder.parent, lambda: lines(path), *draw())
        else:
            in_time, code, said = killed(command, folder.parent, after=600)
        raw = path.read_bytes() if path.exists() else b""
        whole = raw[: raw.rfind(b"\n") + 1]
        done["lines_lost"] += not whole.startswith(before)
        before = whole
        done["kills"] += in_time
        done["with_some_parts_done"] += in_time and whole.count(b"\n") > 1
    if code != 0:
        print(said, file=sys.stderr)
        done["other_exit_codes"] += 1
        return done
    done["other_results"] = int(result_of(folder) != expected)
    done["left_over_files"] = len({file.name for file in folder.iterdir()} - {path.name, "audit.json", "report.html"})
    return done


def lines(path: Path) -> int:
    return path.read_bytes().count(b"\n") if path.exists() else 0


VERBS: dict[str, Callable[[int, random.Random], dict[str, Any]]] = {"claim": claims, "audit": audits}


def rows(figures: dict[str, Any]) -> list[str]:
    """Of commands that are killed at random moments."""
    rows = []
    if claim := figures.get("claim"):
        rows.append(
            fragment.row(
                f"`wmjax claim` killed {claim['kills']} times at random moments and resumed, {claim['claims']} claims",
                f"{claim['triggers_lost']} triggers lost, at most one a kill; {claim['answers_lost']} answers",
                f"{claim['asked_twice']} questions asked twice, {claim['other_verdicts']} other verdicts, "
                f"{claim['other_rows']} other rows, {claim['keys_that_do_not_open']} keys that do not open",
                f"{claim['kills']} kills; {fragment.source(figures, __file__, commit=claim['commit'])}",
            )
        )
    if audit := figures.get("audit"):
        shared = f", {audit['note']}" if "note" in audit else ""
        rows.append(
            fragment.row(
                f"`wmjax audit` killed {audit['kills']} times at random moments and resumed, {audit['audits']} audits",
                f"{audit['lines_lost']} lines of journals lost",
                f"{audit['other_results']} other results, {audit['other_exit_codes']} other exit codes",
                f"{audit['kills']} kills{shared}; {fragment.source(figures, __file__, commit=audit['commit'])}",
            )
        )
    return rows


if __name__ == "__main__":
    main()
