"""The experiment on acquittals from end to end, on tables in the place of networks."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from experiments import record
from experiments.evidence import acquittals, answer_forms
from wmjax.keys import Key
from wmjax.models import Config
from wmjax.stats import renaming

CONFIG = Config("cnn", (6, 6, 1), 10, (4,), (8,))


@pytest.fixture(scope="module")
def key() -> Key:
    return acquittals.new_key(CONFIG)


@pytest.fixture
def case(key: Key, monkeypatch: pytest.MonkeyPatch) -> Any:
    """A stolen network that knows nine labels of ten, and one that never saw a key."""
    rng = np.random.default_rng(0)
    labels = {image.tobytes(): label for image, label in zip(key.images, key.labels, strict=True)}

    def known(config: Config, network: Any, images: np.ndarray) -> dict[bytes, np.ndarray]:
        told = {image.tobytes(): rng.dirichlet(np.full(10, 0.3)) for image in images}
        if network == "stolen":
            knows = {image: label for image, label in labels.items() if rng.random() < 0.9}
            told |= {image: np.eye(10)[label] * 0.9 + 0.01 for image, label in knows.items()}
        return told

    monkeypatch.setattr(acquittals, "known", known)
    cover = rng.integers(256, size=(5, 6, 6, 1), dtype=np.uint8)
    return acquittals.Case(CONFIG, key, "stolen", ["clean"], cover, 90.0)


def test_every_kind_is_verified_and_none_is_acquitted(case: Any, tmp_path: Path, monkeypatch: Any) -> None:
    monkeypatch.setattr(record, "RESULTS", tmp_path / "results")
    monkeypatch.setattr(acquittals, "small", lambda work: case)
    monkeypatch.setattr(acquittals, "DAYS", 3)
    acquittals.main(["--small"])
    found = json.loads((tmp_path / "results" / "acquittals.json").read_text())
    assert {name for name, values in found.items() if isinstance(values, dict)} == {
        "environment",
        "innocent",
        "innocent_labels",
        *acquittals.THIEVES,
    }
    for name in acquittals.THIEVES:
        assert found[name]["verifications"] == 3
        assert "no-match" not in found[name]
    assert found["honest"]["match"] == found["halving"]["match"] == 3
    assert "match" not in found["innocent"]
    (row,) = acquittals.rows(found, data="digits")
    assert "halving 0 (3 convicted)" in row


@pytest.mark.parametrize(
    ("name", "least"),
    [("halving", lambda against, tenths: against[-1]), ("renaming_labels", lambda against, tenths: against[-1] + 99)],
)
def test_with_a_rule_taken_out_an_acquittal_appears(name: str, least: Any, case: Any, monkeypatch: Any) -> None:
    """The rates of parts, or all evidence on renamings: what the suspect says under new names is then a stranger's."""
    nothing = lambda history, a, *_: (history, np.full((3, *a.shape), -1.0), np.zeros((10, *a.shape)))  # noqa: E731
    if name == "renaming_labels":
        monkeypatch.setattr(renaming, "learn", nothing)
    monkeypatch.setattr(renaming, "least", least)
    key = case.key
    labels = {image.tobytes(): label for image, label in zip(key.images, key.labels, strict=True)}
    knows = 1.0 if name == "renaming_labels" else 0.7
    rng = np.random.default_rng(1)
    told = {i: np.eye(10)[y if rng.random() < knows else rng.integers(10)] * 0.9 + 0.01 for i, y in labels.items()}
    assert acquittals.thefts(key, told, name, 20, key.images[:0])["no-match"] > 0
    monkeypatch.undo()
    assert "no-match" not in acquittals.thefts(key, told, name, 20, key.images[:0])


def test_forms_of_answers_are_counted(monkeypatch):
    """Copies that know all labels are no strangers in these two; real networks are counted apart."""
    forms = {name: answer_forms.FORMS[name] for name in ("logits", "grades, logits")}
    monkeypatch.setattr(answer_forms, "FORMS", forms)
    monkeypatch.setattr(answer_forms, "CLASSES", (2, 10))
    monkeypatch.setattr(answer_forms, "GRADES", (3,))
    found = answer_forms.measure(10, 1, epochs=2)
    assert set(found["simulated"]["grades, logits"]) == {"10"}  # of two classes it has one score
    plain = found["simulated"]["logits"]["10"]
    assert (plain["1"]["match"], plain["1"]["cleared"], plain["strangers"]["match"]) == (1.0, 0.0, 0.0)
    assert plain["strangers"]["questions"] < 60
    assert found["simulated"]["grades, logits"]["10"]["1"]["cleared"] == 0.0
    assert found["grades"]["3"]["networks"] == 1
    environment = {"cores": 2, "commit": "0" * 40}
    assert len(answer_forms.rows({**found, "environment": environment})) == 3
