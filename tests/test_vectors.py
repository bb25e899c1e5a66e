"""The vectors for other implementations: they are what the script makes, the judge says what they say, and so does a
second implementation in another language, written from the documents.
"""

import json
import shutil
import subprocess
from pathlib import Path
from typing import Any

import make_vectors
import pytest

HERE = make_vectors.FOLDER
CASES = json.loads((HERE / "claims.v1.json").read_text())["cases"]
TRANSCRIPTS = json.loads((HERE / "transcripts.v1.json").read_text())["transcripts"]
KEYS = {key["commitment"]["id"]: key for key in json.loads((HERE / "keys.v1.json").read_text())["keys"]}


def test_they_are_what_the_script_makes():
    """After a change of the standard: PYTHONPATH=tests python tests/make_vectors.py."""
    made = make_vectors.written()
    assert {path.name for path in (HERE / "claims").iterdir()} == {
        Path(n).name for n in made if n.startswith("claims/")
    }
    for name, raw in made.items():
        assert (HERE / name).read_bytes() == raw, name


@pytest.mark.parametrize("case", CASES, ids=lambda case: f"{case['file'][7:-5]}-{bool(case['nonce'])}-{case['asked']}")
def test_the_judge_says_what_they_say(case):
    told = make_vectors.expected((HERE / case["file"]).read_bytes(), case["nonce"], case["asked"])
    assert {"file": case["file"], "nonce": case["nonce"], "asked": case["asked"], **told} == case
    assert case["verdict"] == "invalid" or not case["file"].startswith("claims/invalid-")


def test_there_is_a_claim_of_each_kind():
    assert {case["verdict"] for case in CASES} == {"match", "no-match", "inconclusive", "invalid"}
    assert len({case["file"] for case in CASES if case["verdict"] == "invalid"}) >= 12


@pytest.fixture(scope="module")
def second() -> dict[str, Any]:
    """What the second implementation makes of them."""
    if not shutil.which("node"):
        pytest.skip("node is not here: the second implementation is in JavaScript")
    script = Path(__file__).parent / "second.mjs"
    done = subprocess.run(["node", script, HERE], capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def test_a_second_implementation_derives_the_same_keys(second):
    assert len(second["keys"]) >= 1
    for key in second["keys"]:
        expected = KEYS[key.pop("id")]
        assert key == {
            "labels": expected["labels"],
            "first_leaf": expected["first_leaf"],
            "root": expected["commitment"]["root"],
            "images_sha256": expected["images_sha256"],
        }


def test_a_second_implementation_gives_the_same_bits(second):
    for told, expected in zip(second["transcripts"], TRANSCRIPTS, strict=True):
        assert told["bits"] == pytest.approx(expected["bits"], abs=1e-5), told["name"]
        assert told["acquittal"] == pytest.approx(expected["acquittal"], abs=1e-5), told["name"]
        assert told["outcome"] == expected["outcome"]


def test_a_second_implementation_reaches_the_same_judgements(second):
    for told, case in zip(second["claims"], CASES, strict=True):
        assert told["verdict"] == case["verdict"], case["file"]
        if case["verdict"] != "invalid":
            assert told["lacks"] == case["lacks"]
            assert told["bits"] == pytest.approx(case["bits"], abs=2e-3)
            assert told["needed"] == pytest.approx(case["needed"], abs=2e-3)
