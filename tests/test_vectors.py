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

from wmjax.evidence.claim_file import read_claim

HERE = make_vectors.FOLDER
CASES = json.loads((HERE / "claims.v1.json").read_text())["cases"]
STAMPED = json.loads((HERE / "stamped.v1.json").read_text())["cases"]
JOURNALS = json.loads((HERE / "journals.v1.json").read_text())["cases"]
GOOD = ("journals/audit.jsonl", "journals/audit-other.jsonl")
MATERIAL = json.loads((HERE / "material.v1.json").read_text())
TRANSCRIPTS = json.loads((HERE / "transcripts.v1.json").read_text())["transcripts"]
KEYS = {key["commitment"]["id"]: key for key in json.loads((HERE / "keys.v1.json").read_text())["keys"]}


def test_they_are_what_the_script_makes():
    """After a change of the standard: PYTHONPATH=tests python tests/make_vectors.py."""
    made = make_vectors.written()
    there = {str(path.relative_to(HERE)) for path in HERE.rglob("*") if path.is_file()}
    frozen = {"keys.v1.json", *make_vectors.kept("stamped/*.tsr", "stamped/*.pem", "material/*.json", *GOOD)}
    assert there == {*made, *frozen}
    for name, raw in made.items():
        assert (HERE / name).read_bytes() == raw, name


@pytest.mark.parametrize("case", CASES, ids=lambda case: f"{case['file'][7:-5]}-{bool(case['nonce'])}-{case['asked']}")
def test_the_judge_says_what_they_say(case):
    told = make_vectors.expected((HERE / case["file"]).read_bytes(), case["nonce"], case["asked"])
    assert {"file": case["file"], "nonce": case["nonce"], "asked": case["asked"], **told} == case
    assert case["verdict"] == "invalid" or not case["file"].startswith("claims/invalid-")


@pytest.mark.parametrize("case", STAMPED, ids=lambda case: f"{case['file'][8:-5]}-{case['since']}")
def test_the_judge_says_what_they_say_of_time_stamps(case):
    asked = [case[name] for name in ("nonce", "asked", "authorities", "since")]
    told = make_vectors.expected((HERE / case["file"]).read_bytes(), *asked)
    assert {name: case[name] for name in told} == told


def test_a_time_stamp_decides_only_where_it_can():
    """The same evidence: a match where a trusted stamp is older than the suspect, and nowhere else."""
    matched = [case for case in STAMPED if case["verdict"] == "match"]
    assert [(case["file"], case["since"][:4]) for case in matched] == [("stamped/of-2020.json", "2026")]
    assert {case["verdict"] for case in STAMPED if case["file"] == "stamped/of-other-data.json"} == {"invalid"}


@pytest.mark.parametrize("case", JOURNALS, ids=lambda case: f"{case['file'][9:-6]}-{bool(case['secrets'])}")
def test_journals_are_believed_as_they_say(case):
    found = make_vectors.journal_vectors.expected(case["file"], (HERE / case["file"]).read_bytes(), case["secrets"])
    assert found == case["found"]


def test_an_edited_journal_is_believed_only_without_its_keys():
    found = {(case["file"], bool(case["secrets"])): case["found"] for case in JOURNALS}
    good = found["journals/audit.jsonl", True]
    assert good["basis"] == "replayed"
    for edited in ("journals/audit-edited.jsonl", "journals/audit-edited-with-keys.jsonl"):
        assert found[edited, True] == "invalid"
        assert found[edited, False]["verdicts"] != good["verdicts"]


def test_a_key_with_material_matches_only_before_a_judge_with_the_data_set():
    """All cases were judged again in `test_they_are_what_the_script_makes`."""
    for scheme in make_vectors.COINED:
        found = {
            (case["nonce"] is None, case["asked"], case["source"]): case["verdict"]
            for case in MATERIAL["cases"]
            if case["file"] == f"material/match-{scheme}.json"
        }
        assert found[False, True, "digits"] == found[True, True, "digits"] == "match"
        assert found[False, True, None] == found[False, False, "digits"] == "inconclusive"
    told = {case["file"]: case["verdict"] for case in MATERIAL["cases"]}
    assert {told[f"material/invalid-other-{scheme}.json"] for scheme in make_vectors.COINED} == {"invalid"}


def test_frozen_material_is_that_of_the_frozen_keys():
    for key in MATERIAL["keys"]:
        raw = (HERE / f"material/match-{key['commitment']['spec']['scheme']}.json").read_bytes()
        claim = read_claim(raw)
        assert claim.commitment.to_json() == key["commitment"]
        assert claim.material.sha256 == key["commitment"]["spec"]["material"]


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
    assert {KEYS[key["id"]]["commitment"]["spec"]["labels"] for key in second["keys"]} == {"random", "fixed"}
    assert {KEYS[key["id"]]["commitment"]["spec"]["classes"] for key in second["keys"]} == {2, 7, 10, 1000, 1 << 20}
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
