"""A dispute played through: an owner, a thief who fine-tunes, a thief who marks anew, two false accusers, and a judge.

Command   python experiments/claims/dispute.py
Expected  the fine-tuned copy is a match; a key that was searched for and one whose labels were fitted to an innocent
          network are not; of two marks in one network the original tells whose was first
Time      about 4 minutes on 2 CPU cores, most of it training
The time-stamping authority is the tests' own, on this machine. What every party types and is told goes to
results/dispute.json; tables.py puts it into the documentation.
"""

import argparse
import datetime
import os
import re
import shlex
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[2]))  # the checkout

import numpy as np

from experiments import fragment, record
from wmjax.evidence.claim import picks
from wmjax.evidence.claim_file import attach, read_claim, write_claim
from wmjax.evidence.transcript import Opening, Row, state
from wmjax.keys import Commitment, generate, make_spec, new_signer, sign_commitment, write_key
from wmjax.keys.commitment import leaves
from wmjax.keys.derive import Stream
from wmjax.keys.keyset import derive_key
from wmjax.keys.merkle import Tree
from wmjax.keys.schemes.contract import value_noise
from wmjax.keys.specify import default_rule
from wmjax.suspects import from_checkpoint
from wmjax.suspects.query import query

sys.path.insert(0, str(Path(__file__).parents[2] / "tests"))
from tsa import LocalTsa

NETWORK = ["--data", "digits", "--model", "cnn", "--epochs", "45"]
TRIES, SEARCHED = 1 << 18, 5  # secrets that the searching accuser tries, for a key of so many triggers


class Play:
    """What has been said and done.

    Attributes:
      steps: one for each command.
    """

    def __init__(self) -> None:
        self.steps: list[dict[str, Any]] = []

    def run(self, who: str, *command: object) -> int:
        """Runs a wmjax command as a party types it, and remembers it."""
        words = [str(word) for word in command]
        done = subprocess.run([sys.executable, "-m", "wmjax", *words], capture_output=True, text=True, check=False)
        told = done.stdout.splitlines() or [line for line in done.stderr.splitlines() if line.startswith("wmjax: ")]
        typed = shlex.join(["wmjax", *words])
        self.steps.append({"who": who, "command": typed, "exit_code": done.returncode, "told": told})
        print(f"{who}$ {typed}\n" + "\n".join(told[:2]), flush=True)
        return done.returncode

    def tell(self, who: str, words: str) -> None:
        """Remembers what a party does without a command."""
        self.steps.append({"who": who, "words": words})
        print(f"{who}: {words}", flush=True)


def main() -> None:
    argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter).parse_args()
    play, tomorrow = Play(), datetime.date.today() + datetime.timedelta(days=1)
    with LocalTsa(Path("tsa")) as tsa:
        url = tsa.url
        stamp = ["--timestamp", url, "--tsa", "tsa/authority.pem"]
        play.run(
            "owner", "keygen", "--image", "8x8x1", "--classes", "10", "--triggers", "200", "--out", "owner", *stamp
        )
        opened = ["--key", "owner.age", "--identity", "owner.identity"]
        play.run("owner", "embed", *NETWORK, "--out", "original", *opened)
        release = ["--release", "original", "--signer", "owner.signer.pem", "--out", "release.commitment.json"]
        play.run("owner", "commit", "owner.commitment.json", *release, *stamp)
        play.run("thief", "embed", *NETWORK[:4], "--epochs", "5", "--from", "original", "--out", "stolen")
        nonce = os.urandom(32).hex()
        play.tell("judge", "draws a nonce for the owner (openssl rand -hex 32)")
        play.run("owner", "claim", *opened, "stolen", "--nonce-from", nonce, "--reveal", "--out", "claim.json")
        court = ["--tsa", "tsa/authority.pem", "--suspect-since", tomorrow]
        play.run("judge", "judge", "claim.json", "--nonce-from", nonce, "--suspect", "stolen", *court)
        accuse(play, court)
        overwrite(play, court, opened, stamp)
    steps = [
        {key: value.replace(url, "TSA") if key == "command" else value for key, value in step.items()}
        for step in play.steps
    ]
    record.write("dispute", {"steps": steps, "searched_secrets": TRIES})


def accuse(play: Play, court: list[object]) -> None:
    """Two who never trained the network that they accuse; each signs for a key that he made after it."""
    play.run("innocent", "embed", *NETWORK, "--seed", "7", "--out", "innocent")
    nonce = os.urandom(32).hex()
    fit_labels(nonce)
    play.tell("accuser", "makes a key whose secret labels are what the innocent network answers, and dates it 2020")
    play.run("judge", "judge", "fitted.json", "--nonce-from", nonce, "--suspect", "innocent", *court)
    search()
    play.tell("accuser", f"tries {TRIES:,} secrets for a key of {SEARCHED} triggers and keeps the one that fits best")
    key = ["--key", "searched.age", "--identity", "searched.identity"]
    all_of_it = ["--all", "--reveal", "--anyway"]  # no judge would say match by five triggers, and the tool says so
    play.run("accuser", "claim", *key, "innocent", "--nonce-from", nonce, *all_of_it, "--out", "searched.json")
    play.run("judge", "judge", "searched.json", "--nonce-from", nonce, "--suspect", "innocent", *court)


def fit_labels(nonce: str) -> None:
    """Writes fitted.json: a claim over leaves with the suspect's own answers, properly signed."""
    suspect, signer = from_checkpoint("innocent"), new_signer()
    key = generate(make_spec("abstract", image=(8, 8, 1), classes=10, triggers=100))
    labels = query(suspect, key.images, 10).labels.astype(np.int32)
    entries = leaves(key.secret, key.images, labels)
    tree = Tree([leaf.entry for leaf in entries])
    commitment = Commitment(key.spec, key.commitment.rule, tree.root.hex(), "2020-01-01T00:00:00+00:00")
    Path("fitted.commitment.json").write_bytes(sign_commitment(commitment, signer))
    at = datetime.datetime.now(datetime.UTC).isoformat(timespec="milliseconds")
    attempt = {"at": at, "outcome": "answered", "detail": {}}
    rows = [
        Row(i, (attempt,), int(labels[i]), Opening(entries[i], key.images[i], tuple(tree.proof(i))))
        for i in picks(commitment, bytes.fromhex(nonce), 100)
    ]
    raw = write_claim(
        [attach(Path("fitted.commitment.json"))],
        signer,
        rows,
        state(rows, commitment.rule, key.spec),
        suspect="innocent",
        model=None,
        nonce=bytes.fromhex(nonce),
        secret=key.secret,
    )
    read_claim(raw, "fitted.json")  # its form is in order
    Path("fitted.json").write_bytes(raw)


def search() -> None:
    """Writes searched.age: of many keys one whose every label an innocent network answers, with a generous rule."""
    suspect = from_checkpoint("innocent")
    spec = make_spec("abstract", image=(8, 8, 1), classes=10, triggers=SEARCHED)
    alive = [Stream(bytes(32), "try", number).octets(32).tobytes() for number in range(TRIES)]
    for i in range(SEARCHED):  # trigger by trigger: nine of ten secrets drop out at each
        images = np.stack([value_noise(Stream(secret, "image/abstract", i), 8, 8, 1, 4) for secret in alive])
        answers = query(suspect, images, 10).labels
        labels = [int(Stream(secret, "label", i).integers(10, 1)[0]) for secret in alive]
        repeated = [secret for secret, answer, label in zip(alive, answers, labels, strict=True) if answer == label]
        alive = repeated or alive
    key = derive_key(alive[0], spec, default_rule(spec, 1e-3))
    write_key(key, "searched", recipients=[], passphrase=None)


def overwrite(play: Play, court: list[object], opened: list[str], stamp: list[str]) -> None:
    """A thief who puts a mark of his own on the owner's network; each names the model that he calls his original."""
    play.run("thief", "keygen", "--image", "8x8x1", "--classes", "10", "--out", "thief", *stamp)
    gentle = ["--epochs", "16", "--learning-rate", "0.006"]
    theirs = ["--key", "thief.age", "--identity", "thief.identity"]
    play.run("thief", "embed", *NETWORK[:4], *gentle, "--from", "original", "--out", "remarked", *theirs)
    nonce = os.urandom(32).hex()
    released = ["--released", "release.commitment.json"]
    for who, key, out in (("owner", [*opened, *released], "first.json"), ("thief", theirs, "second.json")):
        play.run(who, "claim", *key, "remarked", "--nonce-from", nonce, "--reveal", "--out", out)
    both = ["first.json", "second.json", "--nonce-from", nonce, "--suspect", "remarked"]
    play.run("judge", "judge", *both, *court, "--original", "original", "--original", "remarked")


def text(figures: dict[str, Any]) -> str:
    """What the parties of the played dispute typed and were told, as a Markdown block."""
    lines: list[str] = []
    for step in figures["steps"]:
        typed = re.sub(r"[0-9a-f]{64}", "NONCE", step.get("command", ""))
        lines.append(f"\n{step['who']}$ {typed}" if typed else f"\n{step['who']} {step['words']}")
        whole = False  # whether what follows is shown, down to the single sentences
        for line in step.get("told", ()):
            whole = whole or line.startswith(("  missing:", "2 claims:"))
            if whole or not line.startswith("  ") or "match; " in line:
                lines.append(line)
    return "\n".join(["```text", "\n".join(lines).lstrip(), "```", "", f"{fragment.source(figures, __file__)}.", ""])


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as folder:
        os.chdir(folder)
        main()
