"""The second route of FORMAT.md, as it stands there: shell commands that check a claim without wmjax."""

import base64
import datetime
import hashlib
import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from tsa import LocalTsa

from wmjax.evidence import claimant
from wmjax.evidence.claim import picks
from wmjax.evidence.claim_file import attach, read_claim, write_claim
from wmjax.keys import generate, make_spec, new_signer, sign_commitment
from wmjax.suspects import from_callable

TOOLS = ("bash", "openssl", "sha256sum", "base64", "cmp", "sed")
FORMAT = Path(__file__).parent.parent / "wmjax" / "evidence" / "FORMAT.md"
HELPERS, COMMITMENT, CLAIM, STAMP, LEAF = re.findall(r"^```sh\n(.*?)^```", FORMAT.read_text(), re.DOTALL | re.MULTILINE)
NONCE = bytes(range(16))


def lacking() -> str:
    """What of the tools is not here."""
    missing = [tool for tool in TOOLS if shutil.which(tool) is None]
    if not missing:
        version = subprocess.run(["openssl", "version"], capture_output=True, text=True, check=True).stdout
        missing = [] if re.match(r"OpenSSL [3-9]", version) else ["OpenSSL 3"]
    return ", ".join(missing)


LACKING = lacking()
pytestmark = pytest.mark.skipif(bool(LACKING), reason=f"not installed: {LACKING}")


def make(folder: Path, triggers: int, first: int | None = None) -> None:
    """What a judge has: claim, published commitment, and the authority's certificates; `first` is asked first."""
    key, signer = generate(make_spec("abstract", image=(8, 8, 1), classes=10, triggers=triggers)), new_signer()
    path = folder / "my.commitment.json"
    path.write_bytes(sign_commitment(key.commitment, signer))
    stamp = LocalTsa(folder).stamp(path.read_bytes(), datetime.datetime(2025, 1, 1))
    (folder / "my.commitment.1.tsr").write_bytes(stamp)
    nonces = (number.to_bytes(16) for number in range(1000))
    nonce = NONCE if first is None else next(n for n in nonces if picks(key.commitment, n, 1) == [first])
    known = {image.tobytes(): int(label) for image, label in zip(key.images, key.labels, strict=True)}
    suspect = from_callable(lambda images: np.array([known[image.tobytes()] for image in images]))
    raw = claimant.claim(suspect, key, signer, [attach(path)], nonce, lambda asked: None, anyway=True)
    (folder / "claim.json").write_bytes(raw)


@pytest.fixture(scope="module")
def honest(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("honest")
    make(folder, 13)
    return folder


@pytest.fixture
def folder(honest, tmp_path) -> Path:
    return Path(shutil.copytree(honest, tmp_path / "copy"))


def run(folder: Path, *blocks: str) -> subprocess.CompletedProcess:
    script = "\n".join((HELPERS, *blocks))
    command = ["bash", "-euo", "pipefail", "-c", script]
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"  # the python3 that runs this test
    env = {**os.environ, "PATH": path}
    return subprocess.run(command, cwd=folder, env=env, capture_output=True, text=True, check=False, timeout=60)


def flip(raw: bytes, at: int) -> bytes:
    return raw[:at] + bytes([raw[at] ^ 1]) + raw[at + 1 :]


def change(folder: Path, of: Callable[[dict], tuple[dict, str]], alter: Callable[[bytes], bytes]) -> None:
    """Alters the bytes behind a field of claim.json that is base64; `of` gives what holds the field, and its name."""
    claim = json.loads((folder / "claim.json").read_bytes())
    holder, name = of(claim)
    holder[name] = base64.b64encode(alter(base64.b64decode(holder[name]))).decode()
    (folder / "claim.json").write_text(json.dumps(claim))


def alone(folder: Path, alter: Callable[[dict], None] = lambda row: None) -> subprocess.CompletedProcess:
    """Runs (d) alone, on what (a) and (b) leave, with the first row altered: no signature helps it."""
    claim = json.loads((folder / "claim.json").read_bytes())
    statement = json.loads(base64.b64decode(claim["claim"]["payload"]))
    alter(statement["predicate"]["transcript"][0])
    (folder / "statement.claim.payload").write_text(json.dumps(statement))
    (folder / "commitment.payload").write_bytes(base64.b64decode(claim["commitments"][0]["statement"]["payload"]))
    return run(folder, LEAF)


def test_an_honest_claim_passes_every_block(folder):
    done = run(folder, COMMITMENT, CLAIM, STAMP, LEAF)
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("Signature Verified Successfully") == 2
    assert "Verification: OK" in done.stdout
    assert "Time stamp: Jan  1 00:00:00 2025 GMT" in done.stdout
    assert read_claim((folder / "claim.json").read_bytes(), "it").sha256


@pytest.mark.parametrize(("triggers", "first"), [(13, 12), (11, 8), (8, 5)])
def test_every_turn_of_a_proof_is_found(tmp_path, triggers, first):
    make(tmp_path, triggers, first)
    done = alone(tmp_path)
    assert done.returncode == 0, done.stderr


def test_a_byte_of_the_published_commitment(folder):
    path = folder / "my.commitment.json"
    path.write_bytes(flip(path.read_bytes(), 100))
    assert "differ" in run(folder, COMMITMENT).stdout


@pytest.mark.parametrize("part", ["payload", "sig"])
def test_a_byte_of_the_commitment(folder, part):
    def of(claim: dict) -> tuple[dict, str]:
        envelope = claim["commitments"][0]["statement"]
        return (envelope, part) if part == "payload" else (envelope["signatures"][0], part)

    change(folder, of, lambda raw: flip(raw, raw.index(b'"root":"') + 9 if part == "payload" else 33))
    without_cmp = COMMITMENT.replace("cmp commitment.json my.commitment.json\n", "")
    assert without_cmp != COMMITMENT
    assert "Signature Verification Failure" in (done := run(folder, without_cmp)).stdout
    assert done.returncode != 0


def test_a_byte_of_an_image(folder):
    def of(claim: dict) -> tuple[dict, str]:
        return claim["claim"], "payload"

    change(folder, of, lambda raw: flip(raw, raw.index(b'"input":"') + 12))
    done = run(folder, COMMITMENT, CLAIM)
    assert done.stdout.split("\n")[:2] == ["Signature Verified Successfully", "Signature Verification Failure"]
    assert done.returncode != 0
    assert alone(folder).returncode != 0


@pytest.mark.parametrize("field", ["index", "label", "salt", "proof"])
def test_a_field_of_an_opening(folder, field):
    def alter(row: dict) -> None:
        opening = row["opening"]
        other = {"label": opening["label"] ^ 1, "salt": opening["salt"][::-1], "proof": opening["proof"][:-1]}
        if field == "index":
            row["index"] ^= 1
        else:
            opening[field] = other[field]

    assert alone(folder, alter).returncode != 0


@pytest.mark.parametrize("field", ["index", "triggers"])
def test_words_in_the_place_of_numbers_are_not_executed(folder, field):
    words = "BASH_VERSINFO[$(touch executed)]"
    if field == "index":
        done = alone(folder, lambda row: row.update(index=words))
    else:
        alone(folder)
        statement = json.loads((folder / "commitment.payload").read_bytes())
        statement["predicate"]["spec"]["triggers"] = words
        (folder / "commitment.payload").write_text(json.dumps(statement))
        done = run(folder, LEAF)
    assert done.returncode != 0
    assert not (folder / "executed").exists()


@pytest.mark.parametrize("part", ["imprint", "time", "signature"])
def test_a_byte_of_the_token(folder, part):
    def of(claim: dict) -> tuple[dict, int]:
        return claim["commitments"][0]["timestamps"], 0

    def alter(raw: bytes) -> bytes:
        imprint = hashlib.sha256((folder / "my.commitment.json").read_bytes()).digest()
        at = {"imprint": raw.index(imprint), "time": raw.index(b"20250101") + 3, "signature": len(raw) - 5}
        return flip(raw, at[part])

    change(folder, of, alter)
    shutil.copy(folder / "my.commitment.json", folder / "commitment.json")
    assert run(folder, STAMP).returncode != 0


def test_a_token_that_the_claim_did_not_come_with(folder):
    def of(claim: dict) -> tuple[dict, int]:
        return claim["commitments"][0]["timestamps"], 0

    change(folder, of, lambda raw: flip(raw, len(raw) // 2))
    done = run(folder, COMMITMENT, CLAIM)
    assert done.stdout.count("Signature Verified Successfully") == 2
    assert done.returncode != 0


def test_a_token_of_another_authority(folder, tmp_path):
    other = LocalTsa(tmp_path / "other")
    shutil.copy(other.root_file, folder / "root.pem")
    shutil.copy(folder / "my.commitment.json", folder / "commitment.json")
    assert run(folder, STAMP).returncode != 0


def test_a_claim_by_another_than_the_owner(folder):
    stranger, claim = new_signer(), read_claim((folder / "claim.json").read_bytes(), "it")
    raw = write_claim(claim.commitments, stranger, claim.rows, claim.stated, suspect="x", model=None, nonce=claim.nonce)
    (folder / "claim.json").write_bytes(raw)
    assert "Signature Verification Failure" in run(folder, COMMITMENT, CLAIM).stdout
