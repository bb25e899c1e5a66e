"""The experiments about attacks, on networks that were never trained; the tables made of their results."""

import json
from pathlib import Path

import pytest

import wmjax.models
from experiments import record
from experiments.attacks import ibm_tables, robustness, victims
from wmjax.attacks.result import Point


def untrained(config, recipe, train, seeds, key=None, **ignored):
    """In the place of `fit_many`: the networks before their first step."""
    return wmjax.models.stack([wmjax.models.init(config, seed) for seed in seeds])


@pytest.fixture
def results(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where the experiments write."""
    monkeypatch.setattr(record, "RESULTS", tmp_path / "results")
    monkeypatch.setattr(victims, "fit_many", untrained)
    monkeypatch.setattr(victims, "fit", lambda *_, state, **ignored: state.variables)
    return tmp_path / "results"


def test_robustness(results, tmp_path, monkeypatch):
    command = ["--size", "tiny", "--work", str(tmp_path / "work"), "--suite", "prune,flip"]
    robustness.main(command)
    found = json.loads((results / "robustness_tiny.json").read_text())
    assert [row["attack"] for row in found["rows"]] == 2 * ["none", *["prune"] * 10, "flip"]
    assert all(row["networks"] == 2 for row in found["rows"])
    assert [cell["attack"] for cell in found["worst"]] == 2 * ["none", "prune", "flip"]
    assert found["innocent"]["cases"] == 48  # two clean networks, asked about both keys after each attack
    assert found["innocent"]["matches"] == 0
    assert "bits left" in (results / "robustness_tiny.svg").read_text()
    assert (results / "frontier_tiny.svg").read_text().startswith("<svg")
    for train in ("fit_many", "fit"):
        monkeypatch.setattr(victims, train, None)  # the victims are there
    robustness.main(command)
    again = json.loads((results / "robustness_tiny.json").read_text())
    assert again["rows"] == found["rows"]
    assert " | not learnt by these networks, so not attacked | " in robustness.rows(found)[0]  # after one epoch
    for cell in found["worst"]:
        cell["bits"]["mean"] += 100 * (cell["attack"] == "none")
    scheme, spread, innocent = robustness.rows(found)
    assert spread.startswith("| digits, spread key of 360, 2 attacks<br>")
    assert scheme.startswith("| digits, abstract key of 20, 2 attacks<br>")
    assert " | removed by 2 at under 5 points" in scheme
    assert innocent.startswith("| digits, the same attacks on clean networks<br>")
    assert " | 0 matches in 48 cases |" in innocent


def test_both_rules():
    """One network keeps its mark; the other loses it at a strength that is cheap, and again at one that is not."""

    def point(victim, strength, lost, bits, matches, attack="a"):
        return Point(attack, strength, victim, "s", 0.9, lost, 10, 100, matches, bits, bits, "match")

    points = [
        *(point(victim, 1, 1.0, 90.0, 90) for victim in ("s-0", "s-1")),
        point("s-0", 2, 4.9, 15.0, 30),
        point("s-1", 2, 4.9, 60.0, 50),
        *(point(victim, 3, 5.0, -5.0, 1) for victim in ("s-0", "s-1")),
        point("other-0", 1, 0.0, -9.0, 1),
        *(point(victim, 1, 9.0, -5.0, 1, "b") for victim in ("s-0", "s-1")),
        point("s-0", 1, 0.0, 21.0, 15, "c"),
    ]
    worst = robustness._worst("s", "a", points)
    assert (worst["networks"], worst["cheap"], worst["strengths"]) == (2, 2, [2])
    assert (worst["bits"]["mean"], worst["removed_by_ours"], worst["removed_by_sok"]) == (37.5, 1, 0)
    assert robustness._worst("s", "b", points) == {"scheme": "s", "attack": "b", "networks": 2, "cheap": 0}
    few = robustness._worst("s", "c", points)
    assert (few["removed_by_ours"], few["removed_by_sok"]) == (0, 1)
    assert robustness._chance(100, 10) == 0.16  # 16 of 100 have chance 5 %
    assert robustness._chance(100, 5) > 0.25


def test_ibm(results, tmp_path, monkeypatch):
    monkeypatch.setattr(ibm_tables, "tune", lambda config, variables, *rest, **ignored: variables)
    ibm_tables.main(["--size", "ibm-tiny", "--work", str(tmp_path / "work")])
    found = json.loads((results / "ibm_tiny.json").read_text())
    clean, paper, unrelated, provable = found["rows"]
    assert set(clean["pruned"]) == {f"{share:g}" for share in ibm_tables.SHARES}
    assert "trained" not in clean
    assert "new" in paper
    assert "new" in unrelated
    assert "bits" in provable
    assert "new" not in provable
    assert {leak["key"] for leak in found["inversion"]} == {"content-paper", "unrelated-paper", "content"}
    lines = ibm_tables.text(found).splitlines()
    assert "`experiments/attacks/ibm_tables.py`, " in lines[0]
    assert [line.count("|") for line in lines] == [0, 0, *[5] * 6, 0, 0, 0, *[7] * 6]


def test_new_images_carry_the_same_mark():
    """The pixels that all triggers have in common, the text, are the same on images that no network saw."""
    size = victims.SIZES["ibm-tiny"]
    data = victims.load_data(size)
    key = victims.draw_key(size, "content-paper", data.train)
    fresh = ibm_tables.new_images(size, key, data)
    stamp = (key.images == key.images[0]).all(axis=0)
    assert stamp.any()
    assert len(fresh) == (data.test.labels == 1).sum()
    assert (fresh[:, stamp] == key.images[0][stamp]).mean() > 0.95
