"""The judge where nothing is installed but what wmjax itself needs, no extra: it works there, and no JAX is near."""

import datetime
import importlib
import importlib.metadata
import json
import os
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path
from typing import Any

import numpy as np
import owner
import pytest
from packaging.requirements import Requirement
from PIL import Image
from tsa import LocalTsa

import wmjax
from wmjax.cli.hints import installing
from wmjax.data import load_source
from wmjax.evidence import claimant
from wmjax.evidence.claim_file import attach
from wmjax.keys import derive_key, generate, make_spec, new_signer, sign_commitment
from wmjax.keys.specify import default_rule
from wmjax.stats.spread import perfect
from wmjax.suspects import from_callable

ROOT = Path(__file__).parent.parent
VECTORS = ROOT / "wmjax" / "evidence" / "vectors"
NONCE = bytes(range(32))
PROJECT = (ROOT / "pyproject.toml").read_text()
NEEDED = [Requirement(line) for line in tomllib.loads(PROJECT)["project"]["dependencies"]]

# Several commands in one process, which costs less: what each ended with, and what was imported in the end.
PROGRAM = """
import contextlib, importlib.util, io, json, os, sys
from wmjax.cli import main

def run(*arguments):
    out, err = io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        code = main(arguments)
    return [code, out.getvalue(), err.getvalue()]

found = {name: run(*arguments) for name, arguments in json.loads(sys.argv[1]).items()}
found["jax"] = importlib.util.find_spec("jax") is not None
found["imported"] = sorted({name.partition(".")[0] for name in sys.modules})
print(json.dumps(found))
"""


COINED = """
import numpy as np

def ask(images):
    with np.load("coined.npz") as stored:
        known = dict(zip([image.tobytes() for image in stored["images"]], stored["table"]))
    return np.stack([known[image.tobytes()] for image in images])
"""


def distributions(needed: list[Requirement]) -> set[str]:
    """Names of these distributions and of all that they require."""
    names: set[str] = set()
    todo = list(needed)
    while todo:
        one = todo.pop()
        extras = one.extras or {""}
        if one.name in names and not one.extras:
            continue
        names.add(one.name)
        for text in importlib.metadata.requires(one.name) or []:
            requirement = Requirement(text)
            if not requirement.marker or any(requirement.marker.evaluate({"extra": extra}) for extra in extras):
                todo.append(requirement)
    return names


def links(folder: Path) -> Path:
    """A folder that imports see as if only the light installation were there."""
    folder.mkdir()
    (folder / "wmjax").symlink_to(Path(wmjax.__file__).parent)
    for name in distributions(NEEDED):
        distribution = importlib.metadata.distribution(name)
        for top in {file.parts[0] for file in distribution.files or [] if file.parts[0] not in ("..", "__pycache__")}:
            if not (folder / top).exists():
                (folder / top).symlink_to(Path(str(distribution.locate_file(top))))
    return folder


def write_coins(folder: Path) -> None:
    """A claim by a key of coins over a folder of pictures, and a suspect that shows them."""
    (folder / "pictures" / "test" / "all").mkdir(parents=True)
    for number, image in enumerate(owner.source_of("spread").images):
        Image.fromarray(image[..., 0]).save(folder / "pictures" / "test" / "all" / f"{number:03}.png")
    data = load_source(f"{folder}/pictures", image=(8, 8, 1), split="test")
    material = owner.material_of("spread", 100, features=24)
    spec = make_spec("spread", classes=10, triggers=100, source=("pictures", data), material=material)
    key = derive_key(owner.SECRET, spec, default_rule(spec), data, owner.MADE, material)
    table = perfect(key.truth(slice(None)), 10).probabilities
    np.savez(folder / "coined.npz", images=key.images, table=table)
    (folder / "coined.py").write_text(COINED)
    signer = new_signer()
    suspect = from_callable(owner.looking_up(key, table))
    raw = claimant.claim(suspect, key, signer, [owner.attached(key, signer)], NONCE, lambda asked: None, reveal=True)
    (folder / "coins.json").write_bytes(raw)


@pytest.fixture(scope="module")
def found(tmp_path_factory) -> dict[str, Any]:
    """What the commands said in such a place."""
    folder = tmp_path_factory.mktemp("light")
    key, signer = generate(make_spec("abstract", image=(8, 8, 1), classes=10, triggers=60)), new_signer()
    path = folder / "my.commitment.json"
    path.write_bytes(sign_commitment(key.commitment, signer))
    stamp = LocalTsa(folder).stamp(path.read_bytes(), datetime.datetime(2025, 1, 1))
    (folder / "my.commitment.1.tsr").write_bytes(stamp)
    known = {image.tobytes(): int(label) for image, label in zip(key.images, key.labels, strict=True)}
    (folder / "copied.py").write_text(
        f"def ask(images):\n    return [{known!r}[image.tobytes()] for image in images]\n"
    )
    suspect = from_callable(lambda images: np.array([known[image.tobytes()] for image in images]))
    raw = claimant.claim(suspect, key, signer, [attach(path)], NONCE, lambda asked: None, whole=True, reveal=True)
    (folder / "claim.json").write_bytes(raw)
    nonce = ["--nonce-from", NONCE.hex()]
    commands = {
        "all": [*nonce, "--suspect", "copied:ask", "--suspect-since", "2026-01-01", "--tsa", "authority.pem"],
        "bare": [],
        "checkpoint": ["--suspect", "run"],
        "digits": ["--source", "digits"],
        "cifar10": ["--source", "cifar10"],
    }
    commands["all"] += ["--out", "verdict", "--json"]
    commands = {name: ["judge", "claim.json", *arguments] for name, arguments in commands.items()}
    write_coins(folder)
    commands["coins"] = ["judge", "coins.json", *nonce, "--suspect", "coined:ask", "--source", "./pictures", "--json"]
    (folder / "run").mkdir()
    (folder / "audit").mkdir()
    shutil.copy(VECTORS / "journals" / "audit.jsonl", folder / "audit" / "journal-1-of-1.jsonl")
    commands["merge"] = ["audit", "--merge", "audit", "--json"]
    commands["show"] = ["show", "claim.json"]
    commands["doctor"] = ["doctor"]
    commands["keygen"] = ["keygen", "--image", "4x4x1", "--classes", "4", "--triggers", "20", "--out", "new"]
    commands["embed"] = ["embed", "--data", "digits", "--out", "trained"]
    environment = {name: value for name, value in os.environ.items() if not name.startswith("PYTHON")}
    environment["PYTHONPATH"] = str(links(folder / "packages"))
    ended = subprocess.run(
        [sys.executable, "-S", "-s", "-c", PROGRAM, json.dumps(commands)],
        cwd=folder,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )
    assert ended.returncode == 0, ended.stderr
    return {**json.loads(ended.stdout), "folder": folder}


def test_it_judges_and_writes_its_page(found):
    code, out, err = found["all"]
    (judgement,) = json.loads(out)["judgements"]
    assert (code, judgement["verdict"], judgement["lacks"], err) == (0, "match", [], "")
    assert judgement["matches"] == judgement["queries"] == 60
    assert [one["authority"] for one in judgement["proofs"] if one["code"] == "committed-by"] == ["Test time stamps"]
    assert len(judgement["proven"]) == len(judgement["proofs"])  # the sentences beside the codes
    assert b"knows the secret key" in (found["folder"] / "verdict.html").read_bytes()


def test_it_reads_coins_off_all_answers(found):
    code, out, err = found["coins"]
    (judgement,) = json.loads(out)["judgements"]
    assert (code, judgement["verdict"], judgement["lacks"], err) == (0, "match", [], "")
    assert (judgement["coins"], judgement["queries"]) == (9 * 24, 100)


def test_it_judges_with_nothing_at_hand(found):
    code, out, _ = found["bare"]
    assert code == 3
    assert out.startswith("inconclusive")


def test_an_audit_that_was_made_elsewhere_is_put_together(found):
    code, out, err = found["merge"]
    assert (code, err) == (0, "")
    assert json.loads(out)["matches"]
    assert (found["folder"] / "audit" / "report.html").exists()


def test_keys_are_made_and_files_told_apart(found):
    assert [found[name][0] for name in ("keygen", "show", "doctor")] == [0, 0, 0], found["show"]
    assert found["show"][1].startswith("claim.json: a claim on a suspect\n")


@pytest.mark.parametrize(
    ("command", "package"),
    [("checkpoint", "jax"), ("digits", "sklearn"), ("cifar10", "tensorflow_datasets"), ("embed", "jax")],
)
def test_what_needs_the_whole_of_wmjax_says_so(found, command, package):
    code, out, err = found[command]
    assert (code, out) == (2, "")
    assert err == f"wmjax: the package {package} is missing\nhint: {installing(package)}\n"


def test_nothing_heavy_is_there(found):
    assert not found["jax"]
    heavy = {
        "jax",
        "jaxlib",
        "flax",
        "optax",
        "orbax",
        "sklearn",
        "tensorflow_datasets",
        "tensorstore",
        "grain",
        "torch",
    }
    assert not heavy & set(found["imported"])
    assert {"numpy", "rfc3161_client", "securesystemslib"} <= set(found["imported"])


def test_each_dependency_says_what_it_is_for():
    lists = PROJECT[PROJECT.index("dependencies = [") : PROJECT.index("[project.scripts]")]
    lines = [line for line in lists.splitlines() if line.startswith('    "')]
    assert len(lines) > 40
    assert [line for line in lines if not line.partition(" # ")[2].strip()] == []


def test_what_is_needed_without_jax_is_no_extra_s(found):
    """Nothing of the extra `jax` is required by what wmjax itself requires."""
    extra = [Requirement(line) for line in tomllib.loads(PROJECT)["project"]["optional-dependencies"]["jax"]]
    assert not {one.name for one in extra} & distributions(NEEDED)


def test_the_judges_cost_is_measured_without_jax(tmp_path, monkeypatch):
    from experiments import record
    from experiments.claims import judge_cost

    monkeypatch.setattr(record, "RESULTS", tmp_path / "results")
    judge_cost.main(["--small"])
    row = next(row for row in judge_cost.rows(record.read("judge_cost")) if "60 openings" in row)
    assert "match; JAX was never imported" in row
    assert "60 openings, 8x8x1 labels" in row
    assert "experiments/claims/judge_cost.py" in row


def test_keys_and_statistics_import_no_jax():
    program = (
        "import sys, wmjax.keys, wmjax.stats; print(sorted({'jax', 'jaxlib', 'flax', 'sklearn'} & set(sys.modules)))"
    )
    found = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True, timeout=120)
    assert found.stdout.strip() == "[]"
